"""A fund with its counter, on both databases."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cardserver.benefits.policy import PolicyBook, load_policy
from cardserver.claims.claims_store import claims_participants
from cardserver.claims.values import ClaimsWriter, Rules
from cardserver.migrations.schema import migrate
from ledger.database_store import Database
from ledger.writer import GroupWriter
from simulators.postgres import PostgreSQLCluster
from tests.cardserver.claims.books import (
    Books,
    Numbers,
    config_for,
    copy_file,
    make_books,
    run_sql,
    table_names,
)
from tests.cardserver.claims.fund import (
    CATALOGUE,
    PERSON,
    RETIRED,
    SHANGHAI,
    Counter,
    TestClock,
    fill,
    open_personal_accounts,
)


@pytest.fixture(scope="session")
def rules() -> Rules:
    folder = Path(__file__).parents[3] / "cardserver" / "benefits" / "policies"
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.toml"))]
    return Rules(PolicyBook([load_policy(text) for text in texts]), CATALOGUE)


@pytest.fixture
async def counter(database: Database, rules: Rules) -> AsyncIterator[Counter]:
    clock = TestClock()
    await fill(database)
    await open_personal_accounts(database, {PERSON: 100_000, RETIRED: 50_000}, clock)
    writer: ClaimsWriter = GroupWriter(
        database, claims_participants(), clock=clock, timezone=SHANGHAI
    )
    await writer.start()
    yield Counter(writer, database, rules, clock)
    await writer.stop()


@pytest.fixture(scope="session")
def sqlite_books(
    sqlite_template: bytes, rules: Rules, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Numbers]:
    """A ledger that tests copy."""
    path = tmp_path_factory.mktemp("books") / "books.db"
    path.write_bytes(sqlite_template)
    return path, asyncio.run(make_books(f"sqlite:///{path}", rules))


@pytest.fixture(scope="session")
def postgresql_books(postgres_cluster: PostgreSQLCluster, rules: Rules) -> tuple[str, Numbers]:
    """The URL of a database that tests use one after the other, with copies of its tables."""
    url = postgres_cluster.create_database("books")
    asyncio.run(migrate(url))
    numbers = asyncio.run(make_books(url, rules))
    asyncio.run(run_sql(url, "CREATE SCHEMA kept", *(
        f'CREATE TABLE kept."{name}" AS TABLE public."{name}"' for name in table_names()
    )))  # fmt: skip
    return url, numbers


@pytest.fixture(params=["sqlite", "postgresql"])
def books(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Books]:
    """A ledger of the test's own, on either database."""
    folder = tmp_path / "centre"
    if request.param == "sqlite":
        template, numbers = request.getfixturevalue("sqlite_books")
        yield Books(config_for(copy_file(template, folder), folder), numbers)
        return
    url, numbers = request.getfixturevalue("postgresql_books")
    yield Books(config_for(url, folder), numbers)
    names = table_names()
    # Not TRUNCATE, which makes every file anew and takes seconds.
    asyncio.run(run_sql(
        url,
        "SET session_replication_role = replica",  # the audit's trigger refuses to be emptied
        *(f'DELETE FROM public."{name}"' for name in names),
        *(f'INSERT INTO public."{name}" SELECT * FROM kept."{name}"' for name in names),
        "ALTER TABLE public.audit ENABLE TRIGGER audit_append_only",
    ))  # fmt: skip
