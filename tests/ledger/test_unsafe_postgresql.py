"""A PostgreSQL that could lose what was answered is refused, whichever setting does it."""

import pytest
from sqlalchemy import Connection, text

from ledger.database_store import Database
from ledger.store_errors import StoreUnavailableError, UnsafeDatabaseError
from simulators.postgres import PostgreSQLCluster


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
async def test_a_server_that_does_not_sync_refuses(setting: str) -> None:
    with PostgreSQLCluster({setting: "off"}) as cluster:
        opened = Database.open(cluster.url())
        with pytest.raises(UnsafeDatabaseError, match=f"{setting} is off"):
            await opened.start()
        await opened.close()


async def test_a_database_that_answers_before_it_syncs_refuses(
    postgres_cluster: PostgreSQLCluster,
) -> None:
    url = postgres_cluster.create_database("hasty")
    administration = Database.open(url)

    def hasten(connection: Connection) -> None:
        connection.execute(text("ALTER DATABASE hasty SET synchronous_commit = off"))

    await administration.administer(hasten)
    opened = Database.open(url)
    with pytest.raises(UnsafeDatabaseError, match="synchronous_commit is off"):
        await opened.start()
    await opened.close()
    await administration.close()


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    opened = Database.open("postgresql+asyncpg://postgres@/postgres?host=/nonexistent")
    with pytest.raises(StoreUnavailableError):
        await opened.start()
    await opened.close()
