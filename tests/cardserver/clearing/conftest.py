"""A fund that clears, on both databases."""

from collections.abc import AsyncIterator

import pytest

from ledger.database_store import Database
from tests.cardserver.clearing.month import Fund, open_fund


@pytest.fixture
async def fund(database: Database) -> AsyncIterator[Fund]:
    async with open_fund(database) as opened:
        yield opened
