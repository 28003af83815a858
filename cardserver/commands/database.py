"""What commands share: the configuration option, the database of a configuration, who acts."""

import getpass
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer

from cardserver.config import Config
from cardserver.registry.values import Actor
from ledger.database_store import Database

ConfigFile = Annotated[Path, typer.Option("--config", help="The centre's cardserver.toml.")]


@asynccontextmanager
async def open_database(config: Config) -> AsyncIterator[Database]:
    """Open the database that a configuration names, for as long as a command takes."""
    database = Database.open(config.database_url, config.database_password)
    await database.start()
    try:
        yield database
    finally:
        await database.close()


def acting_user() -> Actor:
    """Say who runs this command, and that it is now."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # in a container, a number without a name
        name = "administrator"
    return Actor(name, time.time_ns() // 1_000_000)
