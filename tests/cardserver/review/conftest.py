"""A fund with a counter and reviewers, on both databases."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cardserver.benefits.policy import PolicyBook, load_policy
from cardserver.claims.claims_store import claims_participants
from cardserver.claims.values import ClaimsWriter, Rules
from cardserver.funding.acts import open_fund_acts
from cardserver.review.desk_store import ReviewDesk
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
from tests.cardserver.review.office import Office


@pytest.fixture(scope="session")
def rules() -> Rules:
    folder = Path(__file__).parents[3] / "cardserver" / "benefits" / "policies"
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.toml"))]
    return Rules(PolicyBook([load_policy(text) for text in texts]), CATALOGUE)


@pytest.fixture
async def office(database: Database, rules: Rules) -> AsyncIterator[Office]:
    clock = TestClock()
    await fill(database)
    await open_personal_accounts(database, {PERSON: 100_000, RETIRED: 50_000}, clock)
    writer: ClaimsWriter = GroupWriter(
        database, claims_participants(), clock=clock, timezone=SHANGHAI
    )
    await writer.start()
    async with open_fund_acts(database, SHANGHAI, clock) as acts:
        desk = ReviewDesk(database, acts, clock=clock, timezone=SHANGHAI)
        opened = Office(Counter(writer, database, rules, clock), desk)
        await opened.fill()
        yield opened
    await writer.stop()
