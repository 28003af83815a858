"""Is a database of this release? Without alembic, which a server has no other use for.

Not here: bringing it up to date (`schema.py`).
"""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from ledger.database_store import Database
from ledger.store_errors import StoreError


class SchemaError(StoreError):
    """The database's schema is another release's."""


async def require_current(database: Database) -> None:
    """See that the database has this program's schema.

    Raises:
        SchemaError: It has another one, or none; says what to do.
    """
    found, known = await database.report(_read_revision), revisions()
    if found == known[-1]:
        return
    if not found:
        raise SchemaError(
            "the database is empty: is it the right one? `cardserver restore` puts a backup into"
            " it, `cardserver init` makes a new centre"
        )
    if found not in known:
        raise SchemaError(
            f"the database has schema {found}, which a later release made: run that one"
        )
    raise SchemaError(
        f"the database has schema {found}, not this release's:"
        " `cardserver storage migrate` brings it up to date; make a backup before"
    )


def revisions() -> list[str]:
    """Return all steps of the schema's history, whose files begin with their names."""
    steps = Path(__file__).with_name("versions").glob("[0-9]*.py")
    return sorted(step.name.partition("_")[0] for step in steps)


def _read_revision(connection: Connection) -> str:
    if not inspect(connection).has_table("alembic_version"):
        return ""
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return str(found or "")
