"""What a backup reads of a database, and what a restore asks of the one that it goes into."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, exists, inspect, make_url, select, text

from cardserver.migrations.schema import revision_of
from cardserver.migrations.tables import METADATAS
from cardserver.registry.tables import person
from cardserver.storage.parts_store import DIVIDED
from ledger.database_store import Database
from ledger.digest import Digest
from ledger.digest_store import read_digest
from ledger.postgresql_store import APPLICATION_NAME
from ledger.store_errors import StoreError
from ledger.tables import entry, request, writer_slot

_DATA = (entry, request, person)


@dataclass(frozen=True, slots=True)
class Content:
    """What a database holds as it is copied.

    Attributes:
        schema: The revision of its schema.
        ledger: The chains' heads.
    """

    schema: str
    ledger: Digest


@dataclass(frozen=True, slots=True)
class Occupancy:
    """What is in the way of a restore.

    Attributes:
        has_tables: Whether there is a schema at all.
        has_data: Whether there are persons, entries or stored outcomes.
        served_by: How many writers hold a slot or, on PostgreSQL, how many connections of ours
            there are, as an idle writer's lease runs out: a centre is running.
    """

    has_tables: bool
    has_data: bool
    served_by: int


def read_content(connection: Connection, *, fund: str, day: int, now_ms: int) -> Content:
    """Read what a copy must hold; for `Database.report`."""
    digest = read_digest(connection, fund=fund, day=day, is_ended=False, now_ms=now_ms)
    return Content(revision_of(connection), digest)


def read_with_snapshot(
    connection: Connection, copy: Callable[[str], None], *, fund: str, day: int, now_ms: int
) -> Content:
    """Read the same, and let another program copy what this connection sees (PostgreSQL)."""
    # Before the snapshot is taken: a part of a month that is replaced after it, as when its replies
    # expire, would be copied as empty.
    names = ", ".join(str(table.name) for table in DIVIDED)
    connection.execute(text(f"LOCK TABLE {names} IN ACCESS SHARE MODE"))
    content = read_content(connection, fund=fund, day=day, now_ms=now_ms)
    copy(connection.execute(text("SELECT pg_export_snapshot()")).scalar_one())
    return content


async def occupancy_of(database: Database) -> Occupancy:
    """Read what is in the way of a restore; a damaged file is, and is what backups are for.

    Raises:
        StoreError: The database can't be read.
    """
    try:
        return await database.report(_read_occupancy)
    except StoreError as error:
        # Of the family itself is what no other name fits: a file that is damaged, or no database.
        if database.dialect != "sqlite" or type(error) is not StoreError:
            raise
        return Occupancy(has_tables=True, has_data=True, served_by=0)


def _read_occupancy(connection: Connection) -> Occupancy:
    names = set(inspect(connection).get_table_names())
    if writer_slot.name not in names:
        return Occupancy(has_tables=False, has_data=False, served_by=0)
    has_data = any(
        connection.execute(select(exists().select_from(table))).scalar_one() for table in _DATA
    )
    held = connection.execute(
        select(writer_slot.c.slot).where(
            writer_slot.c.lease_until_ms > time.time_ns() // 1_000_000, writer_slot.c.owner != ""
        )
    ).fetchall()
    served_by = len(held)
    if not served_by and connection.dialect.name == "postgresql":
        served_by = connection.execute(
            text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = :name AND pid <> pg_backend_pid()"
            ),
            {"name": APPLICATION_NAME},
        ).scalar_one()
    return Occupancy(has_tables=True, has_data=has_data, served_by=served_by)


def table_names() -> list[str]:
    """Name the tables of a copy."""
    return [str(name) for metadata in METADATAS for name in metadata.tables] + ["alembic_version"]


def libpq_environment(url: str, password: str) -> Mapping[str, str]:
    """Say to PostgreSQL's programs where the database is; no argument shows the password."""
    parsed = make_url(url)
    query = parsed.query.get("host", ())
    hosts = [query] if isinstance(query, str) else list(query)
    if not hosts and parsed.host:
        hosts = [parsed.host]
    names, ports = [], []
    for host in hosts:
        name, _, port = host.partition(":") if not host.startswith("/") else (host, "", "")
        names.append(name)
        ports.append(port or str(parsed.port or 5432))
    environment = {"PGDATABASE": parsed.database or ""}
    if names:
        environment |= {"PGHOST": ",".join(names), "PGPORT": ",".join(ports)}
    if len(names) > 1:
        environment["PGTARGETSESSIONATTRS"] = "read-write"
    if parsed.username:
        environment["PGUSER"] = parsed.username
    if password:
        environment["PGPASSWORD"] = password
    return environment


def sqlite_path(url: str) -> Path:
    """Return the file that a SQLite URL names."""
    return Path(make_url(url).database or "")
