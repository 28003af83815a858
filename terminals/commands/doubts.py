"""`cardterminal outbox`: this terminal's attempts, and following those in doubt to their end."""

import datetime as dt
from typing import Annotated, Final
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from terminals.commands.attempt_words import ENDED_BY, EVENTS, STATES, TYPES
from terminals.commands.desk import DEFAULT_CONFIG, AsJSON, ConfigFile, Desk, now_ms, run
from terminals.commands.result import ExitStatus, Result, fault
from terminals.outbox import Attempt

_LATEST_MAX: Final = 50


def outbox(
    *,
    resolve: Annotated[
        bool, typer.Option("--resolve", help="逐笔查明 Follow every one in doubt to its end.")
    ] = False,
    prefer_reversal: Annotated[
        bool, typer.Option("--reverse", help="未见即冲正 Reverse what the centre has not seen.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="最近 50 笔 The latest 50, ended ones too.")
    ] = False,
    events: Annotated[str, typer.Option(help="经过 What happened to one msgid.")] = "",
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJSON = False,
) -> None:
    """未决交易 List attempts in doubt (exit status 2 while there is one), and resolve them."""

    async def act(desk: Desk) -> Result:
        if events:
            return _events_result(desk, events)
        resolved = []
        if resolve or prefer_reversal:
            resolved = await desk.runner.resolve_all(prefers_reversal=prefer_reversal)
        still_open = desk.outbox.open_attempts()
        listed = desk.outbox.latest(_LATEST_MAX) if everything else list(still_open)
        names = {attempt.msgid for attempt in listed}
        listed += [one.attempt for one in resolved if one.attempt.msgid not in names]
        expiry_ms = now_ms() - desk.config.outbox.expiry_ms
        values = {
            "open": len(still_open),
            "resolved": [one.attempt.msgid for one in resolved if not one.attempt.state.is_open],
            "attempts": [_values(attempt, expiry_ms) for attempt in listed],
            "reasons": {one.attempt.msgid: one.reason for one in resolved if one.reason},
        }

        def render(console: Console) -> None:
            _render(console, listed, ZoneInfo(desk.config.terminal.time_zone), expiry_ms)
            for one in resolved:
                if one.reason:
                    console.print(f"[yellow]{one.attempt.msgid}[/]: {escape(one.reason)}")

        return Result(
            status=ExitStatus.UNKNOWN if still_open else ExitStatus.APPROVED,
            text_zh=f"{len(still_open)} 笔未决" if still_open else "无未决交易",
            text_en=f"{len(still_open)} in doubt" if still_open else "nothing in doubt",
            took_ms=sum(one.took_ms for one in resolved),
            values=values,
            render=render,
        )

    run("outbox", config, act, as_json=as_json)


def _events_result(desk: Desk, msgid: str) -> Result:
    events = desk.outbox.events(msgid)
    if not events:
        return fault("本机无此交易", "this terminal has no such attempt", msgid)
    zone = ZoneInfo(desk.config.terminal.time_zone)

    def render(console: Console) -> None:
        for event in events:
            what = EVENTS.get(event.what, event.what)
            console.print(f"{_time(event.time_ms, zone)}  {what}  {escape(event.detail)}")

    values = {
        "events": [
            {"time_ms": event.time_ms, "what": event.what, "detail": event.detail}
            for event in events
        ]
    }
    return Result(status=ExitStatus.APPROVED, msgid=msgid, values=values, render=render)


def _values(attempt: Attempt, expiry_ms: int) -> dict[str, object]:
    return {
        "msgid": attempt.msgid,
        "type": attempt.type.name.lower(),
        "state": attempt.state.value,
        "code": attempt.code,
        "created_ms": attempt.created_ms,
        "sends": attempt.sends,
        "sends_unanswered": attempt.sends_unanswered,
        "looks": attempt.looks,
        "setl_id": attempt.setl_id,
        "original": attempt.original,
        "ended_by": attempt.ended_by,
        "prints": attempt.prints,
        "needs_person": _needs_person(attempt, expiry_ms),
    }


def _render(console: Console, attempts: list[Attempt], zone: ZoneInfo, expiry_ms: int) -> None:
    if not attempts:
        return
    table = Table(box=None, pad_edge=False)
    for heading in (
        "报文标识 msgid",
        "类型 type",
        "状态 state",
        "代码 code",
        "时间 written",
        "发送 sent",
        "查询 looks",
        "结算 settlement",
        "依据 by",
    ):
        table.add_column(heading)
    for attempt in attempts:
        table.add_row(
            attempt.msgid,
            TYPES.get(attempt.type, attempt.type.name.lower()),
            STATES[attempt.state],
            str(attempt.code) if attempt.code >= 0 else "",
            _time(attempt.created_ms, zone),
            str(attempt.sends),
            str(attempt.looks),
            attempt.setl_id,
            ENDED_BY.get(attempt.ended_by, attempt.ended_by),
        )
    console.print(table)
    for attempt in attempts:
        if _needs_person(attempt, expiry_ms):
            console.print(
                f"[bold red]{attempt.msgid}: 逾期未决，请联系基金中心人工处理"
                " in doubt for too long: have the fund settle it by hand[/]"
            )


def _needs_person(attempt: Attempt, expiry_ms: int) -> bool:
    return attempt.state.is_open and attempt.created_ms < expiry_ms


def _time(time_ms: int, zone: ZoneInfo) -> str:
    return f"{dt.datetime.fromtimestamp(time_ms / 1000, tz=zone):%Y-%m-%d %H:%M:%S}"
