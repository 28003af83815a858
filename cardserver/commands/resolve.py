"""`cardserver resolve`: two operators of the fund settle what a dead terminal left in doubt."""

import asyncio
import datetime as dt
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from msgspec import Struct, json, msgpack

from cardserver.claims.claims_store import StatusRecord, claims_participants, find_status
from cardserver.claims.undoing import print_ack_work, reverse_work
from cardserver.claims.values import Attempt, ClaimsWork, request_key
from cardserver.commands.database import ConfigFile, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.fund_operator import password_of, prove_operator
from cardserver.config import Config, load_config
from cardserver.outcomes import code_of_number
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.registry_store import Registry
from cardserver.registry.values import Operator, Terminal
from ledger.calendar import SystemClock
from ledger.database_store import Database
from ledger.decisions import NotTaken, Outcome
from ledger.writer import GroupWriter
from protocol.terminal import msgid as msgids
from protocol.terminal.bodies import encode_body, request_hash
from protocol.terminal.messages import (
    MessageType,
    PrintAck,
    Reverse,
    Reversed,
    StatusState,
)

_RESOLVER = "resolver"
_TIME_LEFT_MS = 30_000
_TRIES_MAX = 20
_REASON_MAX = 200  # as the message carries

PasswordFile = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="Holds the password; else it is asked for."),
]


class Decision(StrEnum):
    """What the two operators decide."""

    SHOW = "show"
    REVERSE = "reverse"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class _Doubt:
    """What is in doubt, and what is to be done about it."""

    msgid: str
    terminal: str
    decision: Decision
    reason: str

    @property
    def institution(self) -> str:
        return msgids.parse(self.msgid).institution


@dataclass(frozen=True, slots=True)
class _People:
    """The two who decide together."""

    first: str
    second: str
    first_password: str = field(repr=False)
    second_password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Remedy:
    """A message in the dead terminal's name, and the writer's work that it becomes."""

    institution: str
    type: MessageType
    body: Struct
    work: Callable[[Attempt], ClaimsWork]


@fail_clearly
def resolve(  # noqa: PLR0913 - one parameter an option
    config_file: ConfigFile,
    msgid: Annotated[str, typer.Argument(help="The doubtful request's msgid.")],
    *,
    terminal: Annotated[str, typer.Option(help="The terminal that sent it.")],
    decision: Annotated[
        Decision,
        typer.Option(
            help="show: only look. reverse: it shall not stand. keep: it stands, and can no longer "
            "be reversed, only cancelled."
        ),
    ] = Decision.SHOW,
    operator: Annotated[str, typer.Option(help="The first resolver's number.")],
    second: Annotated[str, typer.Option(help="The second resolver's number.")],
    reason: Annotated[str, typer.Option(help="For the audit.")],
    password_file: PasswordFile = None,
    second_password_file: PasswordFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Settle a dead terminal's doubt: two of the fund's resolvers, each with their password.

    终端失效后的存疑交易：两名处理人员共同裁定。
    """
    config = load_config(config_file)
    if operator == second:
        raise AdministrationError("the two operators must be two people 须为两名不同的操作员")
    people = _People(
        operator,
        second,
        password_of(operator, password_file),
        password_of(second, second_password_file),
    )
    said = asyncio.run(_resolve(config, _Doubt(msgid, terminal, decision, reason), people))
    if as_json:
        typer.echo(json.format(json.encode(said)).decode())
    else:
        for key, value in said.items():
            typer.echo(f"{key}: {value}")


async def _resolve(config: Config, doubt: _Doubt, people: _People) -> dict[str, str]:
    async with open_database(config) as database:
        registry = Registry(database)
        first = await prove_operator(registry, people.first, people.first_password, role=_RESOLVER)
        second = await prove_operator(
            registry, people.second, people.second_password, role=_RESOLVER
        )
        terminal = await _terminal(registry, doubt)
        key = request_key(terminal.institution_no, terminal.terminal_no, doubt.msgid)
        before = await find_status(database, key)
        said = {"msgid": doubt.msgid, "terminal": terminal.code, **_words(before)}
        if doubt.decision is Decision.SHOW:
            return said
        remedy = _remedy(doubt, terminal, before, f"{doubt.reason} (with {second.code})")
        outcome = await _post(config, database, terminal, first, remedy)
        after = await find_status(database, key)
        code = code_of_number(outcome.code)
        said |= {"decision": doubt.decision.value, "outcome": f"{code.value:03} {code.text_en}"}
        if doubt.decision is Decision.REVERSE and outcome.body:
            said["result"] = msgpack.decode(outcome.body, type=Reversed).result.name
        return {**said, "afterwards": after.state.name}


def _words(status: StatusRecord) -> dict[str, str]:
    words = {"state": status.state.name}
    if status.state is not StatusState.NOT_SEEN:
        code = code_of_number(status.code)
        words |= {
            "code": f"{code.value:03} {code.text_en}",
            "settlement": str(status.entry_no or ""),
        }
    return words


async def _terminal(registry: Registry, doubt: _Doubt) -> Terminal:
    institution = await registry.institution_by_code(doubt.institution)
    if institution is None:
        raise AdministrationError("the msgid begins with no institution's code")
    terminal = await registry.terminal(institution.institution_no, doubt.terminal)
    if terminal is None:
        raise AdministrationError(f"{institution.code} has no terminal {doubt.terminal}")
    return terminal


def _remedy(doubt: _Doubt, terminal: Terminal, status: StatusRecord, reason: str) -> _Remedy:
    if doubt.decision is Decision.REVERSE:
        reverse = Reverse(terminal.code, doubt.msgid, reason[:_REASON_MAX])
        return _Remedy(
            doubt.institution,
            MessageType.REVERSE,
            reverse,
            lambda attempt: reverse_work(
                attempt, reverse, original_terminal_no=terminal.terminal_no
            ),
        )
    if status.entry_no is None or status.state is not StatusState.SETTLED:
        raise AdministrationError("only a settlement that stands can be kept")
    printed = PrintAck(str(status.entry_no), is_printed=True)
    return _Remedy(
        doubt.institution,
        MessageType.PRINT_ACK,
        printed,
        lambda attempt: print_ack_work(attempt, printed),
    )


async def _post(
    config: Config, database: Database, terminal: Terminal, operator: Operator, remedy: _Remedy
) -> Outcome:
    """Post the remedy in the dead terminal's name, under a msgid of the centre's making."""
    clock = SystemClock()
    writer = GroupWriter(database, claims_participants(), clock=clock, timezone=config.timezone)
    await writer.start()
    try:
        for _ in range(_TRIES_MAX):
            attempt = Attempt(
                institution_no=terminal.institution_no,
                terminal_no=terminal.terminal_no,
                operator_no=operator.operator_no,
                msgid=msgids.make(
                    institution=remedy.institution,
                    time=dt.datetime.now(tz=config.timezone),
                    sequence=secrets.randbelow(msgids.SEQUENCE_MAX + 1),
                ),
                request_hash=request_hash(remedy.type, bytes(encode_body(remedy.body))),
                deadline_ms=clock.monotonic_ms() + _TIME_LEFT_MS,
            )
            outcome = await writer.submit(remedy.work(attempt))
            if isinstance(outcome, Outcome):
                return outcome
            if outcome is not NotTaken.MSGID_REUSED:
                raise AdministrationError(f"the centre did not take it: {outcome.value}; try again")
    finally:
        await writer.stop()
    raise AdministrationError("no free msgid was found; try again in a second")
