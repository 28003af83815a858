"""`cardserver console`: the page of those on duty, reviewers and registrars."""

from pathlib import Path
from typing import Annotated

import msgspec
import structlog
import typer

from cardserver.app import run_on_loop
from cardserver.commands.database import ConfigFile, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.config import Config, load_config
from cardserver.console.access import Sessions
from cardserver.console.clearing_runs import ClearingRuns
from cardserver.console.desk import ConsoleDesk
from cardserver.console.feed import Feed, watches
from cardserver.console.server import serve_console
from cardserver.console.window import Window
from cardserver.observe.logs import configure_logs
from cardserver.registry.registry_store import Registry
from ledger.calendar import SystemClock

log = structlog.get_logger("cardserver.console")


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
    configure_logs(level=config.observe.log_level, log_format=config.observe.log_format)
    run_on_loop(_run(config, ready_file))


async def _run(config: Config, ready_file: Path | None) -> None:
    clock = SystemClock()
    window = Window()
    async with open_database(config) as database:
        desk = ConsoleDesk(
            config=config,
            database=database,
            registry=Registry(database),
            sessions=Sessions(database, config, clock),
            feed=Feed(watches(config), window),
            window=window,
            clearing_runs=ClearingRuns(database, clock, config.timezone),
            clock=clock,
            timezone=config.timezone,
        )

        def on_ready(port: int) -> None:
            log.info("ready", port=port)
            if ready_file is not None:
                part = ready_file.with_suffix(".part")
                part.write_bytes(msgspec.json.encode({"port": port}))
                part.replace(ready_file)

        await serve_console(desk, config, on_ready=on_ready)
