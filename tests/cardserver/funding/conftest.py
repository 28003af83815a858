"""A fund with two employers and some persons, on both databases."""

import pytest

from ledger.database_store import Database
from tests.cardserver.claims.fund import TestClock
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
