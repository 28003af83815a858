"""A fund with a counter for visits, on both databases."""

from collections.abc import AsyncIterator

import pytest

from cardserver.claims.claims_store import claims_participants
from cardserver.claims.values import ClaimsWriter, Rules
from ledger.database_store import Database
from ledger.writer import GroupWriter
from tests.cardserver.claims.conftest import rules
from tests.cardserver.claims.fund import (
    PERSON,
    RETIRED,
    SHANGHAI,
    TestClock,
    fill,
    open_personal_accounts,
)
from tests.cardserver.visits.ward import Ward

__all__ = ["rules"]


@pytest.fixture
async def ward(database: Database, rules: Rules) -> AsyncIterator[Ward]:
    clock = TestClock()
    await fill(database)
    await open_personal_accounts(database, {PERSON: 10_000_000, RETIRED: 50_000}, clock)
    writer: ClaimsWriter = GroupWriter(
        database, claims_participants(), clock=clock, timezone=SHANGHAI
    )
    await writer.start()
    yield Ward(writer, database, rules, clock)
    await writer.stop()
