"""`cardserver`: the centre's command line. Commands live in `commands/`, one noun a file.

A command's file is imported when the command is called: spreadsheets, migrations and web pages that
one command needs would cost every other one, and every worker's start, a second and more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup


@dataclass(frozen=True, slots=True)
class _Noun:
    """Where a command is: `file:name` below `commands/`, and what joins it from other files."""

    place: str
    joined: Mapping[str, str] = field(default_factory=dict)


_NOUNS: Mapping[str, _Noun] = {
    "init": _Noun("init:init"),
    "serve": _Noun("serve:serve"),
    "upgrade": _Noun("upgrade:upgrade"),
    "dashboards": _Noun("dashboards:dashboards"),
    "rules": _Noun("dashboards:rules"),
    "audit": _Noun("audit:app"),
    "console": _Noun("console:console"),
    "top": _Noun("top:top"),
    "doctor": _Noun("doctor:doctor"),
    "enrol-terminal": _Noun("init:enrol_terminal"),
    "enrol-terminals": _Noun("enrolment:enrol_terminals"),
    "broker": _Noun("broker:app"),
    "terminals": _Noun("terminals:app"),
    "stop": _Noun("stop:app"),
    "adjudicate": _Noun("adjudicate:adjudicate"),
    "claim": _Noun("claim:claim"),
    "resolve": _Noun("resolve:resolve"),
    "trial-balance": _Noun("ledger:trial_balance"),
    "verify-ledger": _Noun("verify:verify_ledger"),
    "digest": _Noun("digest:app"),
    "reconciliation": _Noun("reconciliation:app"),
    "balances": _Noun("balances:app"),
    "storage": _Noun("storage:app"),
    "backup": _Noun("backup:backup"),
    "restore": _Noun("backup:restore"),
    "registry": _Noun("registry:app"),
    "card": _Noun("registry:card_app", {"read": "card_read:read_card"}),
    "keys": _Noun("keys:app"),
    "revocation": _Noun("revocation:app"),
    "policy": _Noun("policy:app", {"replay": "replay:replay"}),
    "accumulators": _Noun("accumulators:app"),
    "catalogue": _Noun("catalogue:app"),
    "funding": _Noun("funding:app"),
    "period": _Noun("period:app"),
    "clearing": _Noun("clearing:app"),
    "contributions": _Noun("contributions:app"),
    "allotment": _Noun("allotment:app"),
    "interest": _Noun("interest:app"),
    "account": _Noun("account:app"),
    "review": _Noun("review:app"),
    "workload": _Noun("workload:workload"),
    "checks": _Noun("checks:app", {"replay": "checks_replay:replay_checks"}),
}


# Contexts and commands are click's, which typer brings along under names that are its own affair.
_Click = Any


class _Commands(TyperGroup):
    """All nouns, each imported when it is asked for."""

    def list_commands(self, ctx: _Click) -> list[str]:  # noqa: ARG002 - as click calls it
        """Name the commands in the order of the table."""
        return list(_NOUNS)

    def get_command(self, ctx: _Click, cmd_name: str) -> _Click:  # noqa: ARG002
        """Import a command."""
        noun = _NOUNS.get(cmd_name)
        if noun is None:
            return None
        found = _imported(noun.place)
        if not isinstance(found, typer.Typer):
            only = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            only.command(cmd_name)(found)
            found = only
        for name, place in noun.joined.items():
            if name not in {command.name for command in found.registered_commands}:
                found.command(name)(_imported(place))
        command = typer.main.get_command(found)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=_Commands,
    help="A medical-insurance fund's card transaction centre. 医疗保障基金卡交易中心",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def cardserver() -> None:
    """Be a group, whatever the table holds."""


def _imported(place: str) -> Any:  # noqa: ANN401 - a command's function, or a group of them
    module, _, name = place.partition(":")
    return getattr(import_module(f"cardserver.commands.{module}"), name)
