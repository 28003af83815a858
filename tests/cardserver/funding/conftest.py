"""A fund with two employers and some persons, and one with a counter, on both databases."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from cardserver.benefits.policy import PolicyBook, load_policy
from cardserver.claims.claims_store import claims_participants
from cardserver.claims.values import ClaimsWriter, Rules
from cardserver.migrations.schema import migrate
from ledger.database_store import Database
from ledger.writer import GroupWriter
from simulators.postgres import PostgreSQLCluster
from tests.cardserver.claims import fund as claims_fund
from tests.cardserver.claims.fund import SHANGHAI, Counter, TestClock
from tests.cardserver.funding.fund import Fund, fill, insurance_row, person_row, shipped

ACTIVE, OTHER, RETIRED, OLD, DEAD, RESIDENT = 1, 2, 3, 4, 5, 6


@pytest.fixture
async def fund(database: Database) -> Fund:
    await fill(
        database,
        [
            person_row(ACTIVE), person_row(OTHER), person_row(RETIRED, 19620101),
            person_row(OLD, 19500101), person_row(DEAD, dead=20260930), person_row(RESIDENT),
        ],
        [
            insurance_row(ACTIVE), insurance_row(OTHER), insurance_row(RETIRED, "12"),
            insurance_row(OLD, "12"), insurance_row(DEAD), insurance_row(RESIDENT, "14", "390"),
        ],
    )  # fmt: skip
    return Fund(database, TestClock(), shipped())


@pytest.fixture
def copied_sqlite(sqlite_template: bytes) -> Callable[[Path], str]:
    """Makes a database of its own for each example."""

    def make(folder: Path) -> str:
        path = folder / "cardserver.db"
        path.write_bytes(sqlite_template)
        return f"sqlite:///{path}"

    return make


@pytest.fixture
def emptied_postgresql(postgres_cluster: PostgreSQLCluster) -> Callable[[], str]:
    """Makes a database of its own for each example."""
    numbers = itertools.count(1)

    def make() -> str:
        url = postgres_cluster.create_database(f"funding_{next(numbers)}")
        asyncio.run(migrate(url))
        return url

    return make


@pytest.fixture
async def counter(database: Database) -> AsyncIterator[Counter]:
    """A counter of another fund, whose persons have balances."""
    folder = Path(__file__).parents[3] / "cardserver" / "benefits" / "policies"
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.toml"))]
    rules = Rules(PolicyBook([load_policy(text) for text in texts]), claims_fund.CATALOGUE)
    clock = TestClock()
    await claims_fund.fill(database)
    await claims_fund.open_personal_accounts(
        database, {claims_fund.PERSON: 100_000, claims_fund.RETIRED: 50_000}, clock
    )
    writer: ClaimsWriter = GroupWriter(
        database, claims_participants(), clock=clock, timezone=SHANGHAI
    )
    await writer.start()
    yield Counter(writer, database, rules, clock)
    await writer.stop()
