"""The steps of the schema's history lead to the tables that the code uses."""

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from cardserver.migrations.schema import METADATAS, is_current, upgrade
from ledger.database_store import Database
from simulators.postgres import PostgreSQLCluster


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(
        connection, opts={"target_metadata": list(METADATAS), "compare_type": True}
    )
    return list(compare_metadata(context, list(METADATAS)))


async def test_the_migrated_schema_is_the_one_that_the_code_uses(database: Database) -> None:
    assert await database.administer(differences) == []
    assert await database.administer(is_current)


async def test_to_migrate_again_changes_nothing(database: Database) -> None:
    await database.administer(upgrade)
    assert await database.administer(differences) == []


async def test_an_empty_database_is_not_current(postgres_cluster: PostgreSQLCluster) -> None:
    database = Database.open(postgres_cluster.create_database("not_migrated"))
    assert not await database.administer(is_current)
    await database.close()
