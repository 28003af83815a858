"""Databases for every room's tests: real ones, each empty and private to its test."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cardserver.migrations.schema import migrate
from ledger.database_store import Database
from simulators.postgres import PostgreSQLCluster

_TEMPLATE = "migrated"
_names = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[PostgreSQLCluster]:
    """A PostgreSQL server of this test run, with safe settings."""
    with PostgreSQLCluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def postgres_url(postgres_cluster: PostgreSQLCluster) -> str:
    """The URL of an empty database, the same for the whole run."""
    return postgres_cluster.create_database("empty")


@pytest.fixture(scope="session")
def postgres_template(postgres_cluster: PostgreSQLCluster) -> str:
    """The name of a migrated database to copy; nobody else may connect to it."""
    asyncio.run(migrate(postgres_cluster.create_database(_TEMPLATE)))
    return _TEMPLATE


@pytest.fixture
def fresh_postgres_url(
    postgres_cluster: PostgreSQLCluster, postgres_template: str
) -> Iterator[str]:
    """The URL of a migrated, empty database of this test."""
    name = f"test_{next(_names)}"
    yield postgres_cluster.create_database(name, template=postgres_template)
    postgres_cluster.drop_database(name)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a migrated SQLite file."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    asyncio.run(migrate(f"sqlite:///{path}"))
    return path.read_bytes()


@pytest.fixture
def fresh_sqlite_url(sqlite_template: bytes, tmp_path: Path) -> str:
    """The URL of a migrated, empty SQLite file of this test."""
    path = tmp_path / "cardserver.db"
    path.write_bytes(sqlite_template)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated, empty database of either kind."""
    name = "fresh_sqlite_url" if request.param == "sqlite" else "fresh_postgres_url"
    url: str = request.getfixturevalue(name)
    return url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A started database of either kind, migrated and empty."""
    opened = Database.open(database_url)
    await opened.start()
    yield opened
    await opened.close()
