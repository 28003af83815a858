"""`cardserver console`: the page of those on duty, reviewers and registrars."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from cardserver.commands.database import ConfigFile
from cardserver.commands.faults import fail_clearly
from cardserver.config import Config, load_config
from cardserver.observe.logs import configure_logs
from cardserver.when_called import when_called

_run_console: Callable[[Config, Path | None], None] = when_called(
    "cardserver.console.opening:run_console"
)


@fail_clearly
def console(
    config_file: ConfigFile,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Overrides [console] port.")
    ] = None,
    watch: Annotated[
        list[str] | None,
        typer.Option(help="A worker's [observe] page, http://HOST:PORT; repeatable."),
    ] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="Written once the page can be opened: its port, as JSON.")
    ] = None,
) -> None:
    """Serve the console until a signal: operators of the fund sign on with number and password.

    值班台：实时监测、拒付查询、单笔追踪、审核、对账、清算；用基金中心工号登录。
    """
    config = load_config(config_file)
    section = config.console
    if port is not None:
        section = msgspec.structs.replace(section, port=port)
    if watch:
        section = msgspec.structs.replace(section, watches=tuple(watch))
    config = msgspec.structs.replace(config, console=section)
    configure_logs(
        level=config.observe.log_level,
        log_format=config.observe.log_format,
        events_a_second=config.observe.log_events_a_second,
    )
    _run_console(config, ready_file)
