"""The console put together from its parts, and served until a signal.

Not here: the command (`cardserver/commands/console.py`), TLS and sessions (`server.py`).
"""

from pathlib import Path

import msgspec
import structlog

from cardserver.app import run_on_loop
from cardserver.commands.database import open_database
from cardserver.config import Config
from cardserver.console.access import Sessions
from cardserver.console.clearing_runs import ClearingRuns
from cardserver.console.desk import ConsoleDesk
from cardserver.console.feed import Feed, watches
from cardserver.console.server import serve_console
from cardserver.console.window import Window
from cardserver.registry.registry_store import Registry
from ledger.calendar import SystemClock

log = structlog.get_logger("cardserver.console")


def run_console(config: Config, ready_file: Path | None) -> None:
    """Serve the console until a signal.

    Args:
        config: The centre's.
        ready_file: Written once the page can be opened; None: none is.
    """
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
                part = ready_file.with_name(f"{ready_file.name}.part")
                part.write_bytes(msgspec.json.encode({"port": port}))
                part.replace(ready_file)

        await serve_console(desk, config, on_ready=on_ready)
