"""Bring a database's schema up to date.

Not here: the steps themselves (`versions/`); the tables that they come to (`tables.py`).
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from ledger.database_store import Database


async def migrate(url: str, password: str = "") -> None:
    """Bring the database at this URL to the newest schema; does nothing where it is already.

    Args:
        url: As `Database.open` takes it.
        password: As there.
    """
    database = Database.open(url, password)
    try:
        await database.administer(upgrade)
    finally:
        await database.close()


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Run the steps that are missing on this connection, up to a revision."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def is_current(connection: Connection) -> bool:
    """Tell whether the database has the newest schema, so that a server may start on it."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    return MigrationContext.configure(connection).get_current_revision() == newest


def revision_of(connection: Connection) -> str:
    """Return the revision of a database's schema; empty where there is none."""
    return MigrationContext.configure(connection).get_current_revision() or ""


def is_known(revision: str) -> bool:
    """Tell whether this program has the steps from a revision to the newest."""
    steps = ScriptDirectory.from_config(_config()).walk_revisions()
    return any(step.revision == revision for step in steps)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
