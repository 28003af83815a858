"""`cardserver`: the centre's command line. Commands live in `commands/`, one noun a file."""

from collections.abc import Mapping
from typing import ClassVar

import typer

from terminals.lazy_commands import LazyCommands, Noun


class CentreCommands(LazyCommands):
    """The centre's nouns."""

    package = "cardserver.commands"
    nouns: ClassVar[Mapping[str, Noun]] = {
        "init": Noun("init:init"),
        "serve": Noun("serve:serve"),
        "upgrade": Noun("upgrade:upgrade"),
        "dashboards": Noun("dashboards:dashboards"),
        "rules": Noun("dashboards:rules"),
        "audit": Noun("audit:app"),
        "console": Noun("console:console"),
        "top": Noun("top:top"),
        "doctor": Noun("doctor:doctor"),
        "certificate": Noun("certificate:app"),
        "enrol-terminal": Noun("init:enrol_terminal"),
        "enrol-terminals": Noun("enrolment:enrol_terminals"),
        "broker": Noun("broker:app"),
        "terminals": Noun("terminals:app"),
        "stop": Noun("stop:app"),
        "adjudicate": Noun("adjudicate:adjudicate"),
        "claim": Noun("claim:claim"),
        "resolve": Noun("resolve:resolve"),
        "trial-balance": Noun("ledger:trial_balance"),
        "verify-ledger": Noun("verify:verify_ledger"),
        "digest": Noun("digest:app"),
        "reconciliation": Noun("reconciliation:app"),
        "balances": Noun("balances:app"),
        "storage": Noun("storage:app"),
        "backup": Noun("backup:backup"),
        "restore": Noun("backup:restore"),
        "registry": Noun("registry:app"),
        "card": Noun("registry:card_app", {"read": "card_read:read_card"}),
        "keys": Noun("keys:app"),
        "revocation": Noun("revocation:app"),
        "policy": Noun("policy:app", {"replay": "replay:replay"}),
        "accumulators": Noun("accumulators:app"),
        "catalogue": Noun("catalogue:app"),
        "funding": Noun("funding:app"),
        "period": Noun("period:app"),
        "clearing": Noun("clearing:app"),
        "contributions": Noun("contributions:app"),
        "allotment": Noun("allotment:app"),
        "interest": Noun("interest:app"),
        "account": Noun("account:app"),
        "review": Noun("review:app"),
        "workload": Noun("workload:workload"),
        "checks": Noun("checks:app", {"replay": "checks_replay:replay_checks"}),
    }


app = typer.Typer(
    cls=CentreCommands,
    help="A medical-insurance fund's card transaction centre. 医疗保障基金卡交易中心",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def cardserver() -> None:
    """Be a group, whatever the table holds."""
