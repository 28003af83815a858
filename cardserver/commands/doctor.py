"""`cardserver doctor`: what of the centre and its machine is not as it must be."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Callable
from typing import Annotated

import typer
from msgspec import json
from rich.console import Console
from rich.markup import escape

from cardserver.commands.database import ConfigFile
from cardserver.commands.faults import fail_clearly
from cardserver.config import Config, load_config
from cardserver.doctor.findings import Finding, Level, worst
from cardserver.when_called import when_called

_MARKS = {
    Level.FINE: "[green]ok[/]",
    Level.WARNING: "[yellow]warning[/]",
    Level.FAULT: "[bold red]FAULT[/]",
}
_examine: Callable[[Config, str], AsyncIterator[Finding]] = when_called(
    "cardserver.doctor.examination:examine"
)
_NTP = re.compile(r"[A-Za-z0-9.-]{1,253}(:\d{1,5})?", re.ASCII)


@fail_clearly
def doctor(
    config_file: ConfigFile,
    *,
    ntp: Annotated[
        str, typer.Option(metavar="HOST[:PORT]", help="A time server to compare the clock with.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check clock, disk, files, database, ports, readers and broker, and say what to do.

    Exit status: 0 all is fine, 1 there are warnings, 2 the centre can't or must not run like this.

    检查时钟、磁盘、证书、密钥、数据库、端口、读卡器与消息代理，并给出处理办法。
    """
    if ntp and _NTP.fullmatch(ntp) is None:
        raise typer.BadParameter(f"--ntp {ntp}: expected HOST or HOST:PORT")
    config = load_config(config_file)
    screen = Console(highlight=False, soft_wrap=True)

    async def run() -> list[Finding]:
        found: list[Finding] = []
        async for finding in _examine(config, ntp):
            found.append(finding)
            if not as_json:
                _print(screen, finding)
        return found

    found = asyncio.run(run())
    if as_json:
        rows = [
            {
                "check": one.check,
                "level": one.level.name.lower(),
                "text_zh": one.text_zh,
                "text_en": one.text_en,
                "advice_zh": one.advice_zh,
                "advice_en": one.advice_en,
            }
            for one in found
        ]
        sys.stdout.write(json.format(json.encode(rows), indent=2).decode() + "\n")
    raise typer.Exit(int(worst(found)))


def _print(screen: Console, finding: Finding) -> None:
    screen.print(
        f"{_MARKS[finding.level]} [bold]{finding.check}[/]"
        f"  {escape(finding.text_zh)} / {escape(finding.text_en)}"
    )
    if finding.advice_en:
        screen.print(f"    -> {escape(finding.advice_zh)} / {escape(finding.advice_en)}")
