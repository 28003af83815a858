"""`cardserver top`: the console's live view in a terminal, for an operator on ssh."""

import asyncio
from collections.abc import Callable, Coroutine
from enum import Enum
from typing import Annotated

import msgspec
import typer

from cardserver.commands.database import ConfigFile
from cardserver.commands.faults import fail_clearly
from cardserver.config import load_config
from cardserver.when_called import when_called

_show: Callable[..., Coroutine[object, object, None]] = when_called(
    "cardserver.commands.top_screen:show"
)


class Dimension(Enum):
    """What times are told apart by, as typed."""

    STAGE = "stage"
    INSTITUTION = "institution"
    TERMINAL = "terminal"
    CARD = "card"
    TYPE = "type"
    FELT = "felt"


@fail_clearly
def top(
    config_file: ConfigFile,
    *,
    by: Annotated[
        Dimension, typer.Option(help="What to tell apart; felt: what cashiers waited.")
    ] = Dimension.STAGE,
    type_name: Annotated[
        str, typer.Option("--type", help="Only one type of message, as settle; empty: all.")
    ] = "settle",
    minutes: Annotated[int, typer.Option(min=1, max=10, help="Of how many last minutes.")] = 5,
    watch: Annotated[
        list[str] | None,
        typer.Option(help="A worker's [observe] page, http://HOST:PORT; repeatable."),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Print what is known after a look, and end.")
    ] = False,
    english: Annotated[bool, typer.Option("--english", help="In English only.")] = False,
) -> None:
    """Show live where each millisecond goes, what is refused, who is connected. Ctrl-C ends it.

    终端里的实时监测：各环节耗时、拒付、在线终端；按 Ctrl-C 结束。
    """
    config = load_config(config_file)
    if watch:
        section = msgspec.structs.replace(config.console, watches=tuple(watch))
        config = msgspec.structs.replace(config, console=section)
    asyncio.run(
        _show(
            config,
            by.name,
            type_name.strip().lower(),
            minutes,
            is_once=once,
            is_english=english,
        )
    )
