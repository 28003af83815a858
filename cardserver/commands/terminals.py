"""`cardserver terminals states`: what terminals last said of themselves over the broker."""

import asyncio
import time
from typing import Annotated

import typer
from msgspec import json, structs, to_builtins
from rich.markup import escape
from rich.table import Table

from cardserver.commands.database import ConfigFile, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.wide_console import wide_console
from cardserver.config import Config, load_config
from cardserver.telemetry.terminal_states_store import SLOW_MS, TerminalView, terminal_states
from protocol.telemetry.messages import Presence

app = typer.Typer(help="What terminals say of themselves. 终端状态")

_PRESENCE = {
    Presence.SIGNED_ON: "[green]在岗 signed on[/]",
    Presence.SIGNED_OFF: "签退 signed off",
    Presence.LOST: "[red]失联 lost[/]",
}
_READERS = {
    "unknown": "",
    "absent": "[red]无 absent[/]",
    "empty": "空 empty",
    "card": "有卡 card",
    "faulty": "[red]故障 faulty[/]",
}
_SKEW_SHOWN_MS = 2_000


@app.callback()
def terminals() -> None:
    """Be a group."""


@app.command("states")
@fail_clearly
def states(
    config_file: ConfigFile,
    *,
    offline: Annotated[
        bool, typer.Option("--offline", help="Only those that went without a word.")
    ] = False,
    slow: Annotated[
        bool, typer.Option("--slow", help="Only those whose cashiers wait too long, or in vain.")
    ] = False,
    slow_ms: Annotated[
        int, typer.Option(min=1, help="Too long: 95 of 100 answers take this or more.")
    ] = SLOW_MS,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show each terminal's last state: presence, reader, what its cashier felt, doubts, versions.

    显示各终端最近状态：在岗、读卡器、响应时间、未决交易、版本。
    """
    now_ms = time.time_ns() // 1_000_000
    wanted = [
        view
        for view in asyncio.run(_views(load_config(config_file)))
        if (not offline or view.is_offline(now_ms)) and (not slow or view.is_slow(slow_ms))
    ]
    if as_json:
        said = [_plain(view, now_ms, slow_ms) for view in wanted]
        typer.echo(json.format(json.encode(said)).decode())
        return
    _show(wanted, now_ms)


async def _views(config: Config) -> list[TerminalView]:
    async with open_database(config) as database:
        return await terminal_states(database)


def _plain(view: TerminalView, now_ms: int, slow_ms: int) -> dict[str, object]:
    return {
        "institution": view.name.institution,
        "terminal": view.name.code,
        "institution_name": view.institution_name,
        "is_enrolled": view.is_enrolled,
        "is_offline": view.is_offline(now_ms),
        "is_slow": view.is_slow(slow_ms),
        "changed_time_ms": view.changed_time_ms,
        "heard_time_ms": view.heard_time_ms,
        "clock_skew_ms": view.clock_skew_ms,
        "state": to_builtins(structs.asdict(view.state)),
    }


def _show(views: list[TerminalView], now_ms: int) -> None:
    table = Table(
        "机构 institution", "终端 terminal", "状态 presence", "读卡器 reader",
        "响应 felt p50/p95/max ms", "未决 doubts", "名单 list", "时钟 clock", "最近 heard",
    )  # fmt: skip
    for view in views:
        state, felt = view.state, view.state.felt
        presence = _PRESENCE[state.presence]
        if view.is_silent(now_ms):
            presence = "[yellow]无声 silent[/]"
        unanswered = f" [red]+{felt.unanswered} 无应答 unanswered[/]" if felt.unanswered else ""
        is_skewed = abs(view.clock_skew_ms) > _SKEW_SHOWN_MS
        skew = f"[red]{view.clock_skew_ms / 1000:+.0f} s[/]" if is_skewed else ""
        table.add_row(
            f"{view.name.institution} {escape(view.institution_name)}",
            view.name.code if view.is_enrolled else f"[red]{view.name.code} 未登记 not enrolled[/]",
            presence,
            _READERS[state.reader.state.value],
            f"{felt.p50_ms}/{felt.p95_ms}/{felt.max_ms}{unanswered}",
            str(state.outbox.open_count or ""),
            str(state.versions.revocations or ""),
            skew,
            f"{max(0, now_ms - view.heard_time_ms) / 1000:.0f} s",
        )
    console = wide_console()
    console.print(table)
    console.print(f"{len(views)} 台终端 terminals")
