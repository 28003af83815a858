"""A fund with its counter, on both databases."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cardserver.benefits.policy import PolicyBook, load_policy
from cardserver.claims.claims_store import claims_participants
from cardserver.claims.values import ClaimsWriter, Rules
from ledger.database_store import Database
from ledger.writer import GroupWriter
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


@pytest.fixture
async def counter(database: Database) -> AsyncIterator[Counter]:
    folder = Path(__file__).parents[3] / "cardserver" / "benefits" / "policies"
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.toml"))]
    rules = Rules(PolicyBook([load_policy(text) for text in texts]), CATALOGUE)
    clock = TestClock()
    await fill(database)
    await open_personal_accounts(database, {PERSON: 100_000, RETIRED: 50_000}, clock)
    writer: ClaimsWriter = GroupWriter(
        database, claims_participants(), clock=clock, timezone=SHANGHAI
    )
    await writer.start()
    yield Counter(writer, database, rules, clock)
    await writer.stop()
