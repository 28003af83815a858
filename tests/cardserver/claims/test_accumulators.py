"""Accumulators as rows: taken over once, however often."""

from cardserver.benefits.values import Accumulated
from cardserver.claims.accumulators_store import open_accumulators
from cardserver.claims.claims_store import accumulators
from cardserver.claims.values import AccumulatorKey
from ledger.database_store import Database
from tests.cardserver.claims.fund import PERSON, RETIRED, Counter, bill

OUTPATIENT = AccumulatorKey(PERSON, 2026, "310", "outpatient")
OPENING = (100_000, 150_000, 40_000, 0, 0)


async def take_over(database: Database, *rows: tuple[object, ...]) -> tuple[int, list[object]]:
    opened, differing = await database.transact(lambda: open_accumulators(rows))
    return opened, list(differing)


async def used(database: Database) -> Accumulated:
    ((_, amounts),) = (await accumulators(database, [PERSON], 2026))[PERSON]
    return amounts


async def test_opening_amounts_are_taken_over_once(counter: Counter) -> None:
    database = counter.database
    await counter.settle(bill(("A1", 50_000)))
    row = (*OUTPATIENT, *OPENING)
    assert await take_over(database, row, (RETIRED, *row[1:])) == (2, [])
    assert await used(database) == Accumulated(150_000, 200_000, 40_000, 0, 0)
    assert await take_over(database, row) == (0, [])
    other = (*OUTPATIENT, 1, 2, 3, 0, 0)
    assert await take_over(database, other) == (0, [other])
    assert await used(database) == Accumulated(150_000, 200_000, 40_000, 0, 0)


async def test_a_settlement_goes_on_where_the_opening_amounts_end(counter: Counter) -> None:
    await take_over(counter.database, (*OUTPATIENT, 180_000, 200_000, 14_000, 0, 0))
    await counter.settle(bill(("A1", 10_000)))
    assert await used(counter.database) == Accumulated(180_000, 210_000, 21_000, 0, 0)
