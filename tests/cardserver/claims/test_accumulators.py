"""Accumulators as rows: taken over once, however often; rebuilt from claims; repaired."""

import datetime as dt
import sqlite3

import pytest
from msgspec import json
from sqlalchemy import make_url
from typer.testing import CliRunner

from cardserver.benefits.values import Accumulated
from cardserver.claims import accumulators_check_store, tables
from cardserver.claims.accumulators_check_store import (
    Checked,
    Difference,
    check_accumulators,
    repair_person,
)
from cardserver.claims.accumulators_store import open_accumulators
from cardserver.claims.claims_store import accumulators
from cardserver.claims.values import AccumulatorKey
from cardserver.cli import app
from cardserver.config import load_config
from ledger.bulk_store import plain, put
from ledger.database_store import Database
from simulators.centre_process import City
from tests.cardserver.claims.fund import CHILD, PERSON, RETIRED, Counter, bill
from tests.cardserver.claims.refunds import ONE_E4, refund

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


async def differences(database: Database, year: int = 0) -> tuple[list[Difference], Checked]:
    found: list[Difference] = []
    done = await check_accumulators(database, year=year, on_difference=found.append)
    return found, done


async def work_a_while(counter: Counter) -> None:
    """Settle, cancel and refund for several persons, of this year and the last."""
    row = (*OUTPATIENT, *OPENING)
    await take_over(counter.database, row, (RETIRED, 2024, "310", "inpatient", 1, 2, 3, 4, 5))
    last_year = bill(("A1", 900_000), med_type="21", admitted=dt.date(2025, 12, 1),
                     discharged=dt.date(2025, 12, 20))  # fmt: skip
    for person in (PERSON, RETIRED, CHILD):
        first = await counter.settle(bill(("A1", 300_000), ("B1", 20_000)), person)
        await counter.settle(last_year, person)
        await counter.settle(bill(("X", 1_000)), person)
        await refund(counter, str(first.entry_no), [(2, ONE_E4)])
    cancelled = await counter.settle(bill(("A1", 5_000)), CHILD)
    await counter.cancel(str(cancelled.entry_no))


@pytest.mark.parametrize("rows_at_once", [1, 4, 5_000])
async def test_accumulators_are_what_the_claims_come_to(
    counter: Counter, monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    monkeypatch.setattr(accumulators_check_store, "_ROWS_MAX", rows_at_once)
    await work_a_while(counter)
    found, done = await differences(counter.database)
    assert found == []
    # Three settlements, one refunded (two claims), of three persons; and one cancelled.
    assert (done.claims, done.persons) == (3 * 5 + 2, 3)
    assert (await differences(counter.database, 2025))[0] == []


PUT = put(
    tables.accumulator,
    set=("deductible_fen", "in_scope_fen", "pool_fen", "large_amount_fen", "admissions"),
    by=("person_no", "year", "insutype", "scheme"),
)


async def test_what_a_hand_changed_is_named_and_repaired(counter: Counter) -> None:
    await work_a_while(counter)
    database = counter.database
    before = await used(database)
    stray = AccumulatorKey(CHILD, 2023, "390", "inpatient")
    await database.execute(PUT([(*OUTPATIENT, 1, 2, 3, 0, 0), (*stray, 7, 7, 7, 7, 7)]))
    amounts = (
        before.deductible_fen, before.in_scope_fen, before.pool_fen, before.large_amount_fen,
        before.admissions,
    )  # fmt: skip
    expected = [
        Difference(OUTPATIENT, (1, 2, 3, 0, 0), amounts),
        Difference(stray, (7, 7, 7, 7, 7), (0, 0, 0, 0, 0)),
    ]
    assert (await differences(database))[0] == expected
    assert (await differences(database, 2026))[0] == expected[:1]
    for person in (PERSON, RETIRED, CHILD):
        changed = await repair_person(database, person, year=0, who="admin", now_ms=5)
        assert changed == [one for one in expected if one.key.person_no == person]
    assert (await differences(database))[0] == []
    assert await used(database) == before
    read = "SELECT subject, detail FROM audit WHERE action = 'repair_accumulator' ORDER BY subject"
    rows = await database.fetch(plain("audit", postgresql=read, sqlite=read)())
    assert rows[0][0] == f"{PERSON} 2026 310 outpatient"
    assert rows[0][1].startswith("1/2/3/0/0 -> ")
    assert rows[0][1].endswith(" by admin")
    assert rows[1] == (f"{CHILD} 2023 390 inpatient", "7/7/7/7/7 -> 0/0/0/0/0 by admin")


def run_check(city: City, *more: str, answer: str = "") -> tuple[int, str]:
    done = CliRunner().invoke(
        app,
        ["accumulators", "check", "--config", str(city.config_file), *more],
        input=answer,
    )
    return done.exit_code, done.stdout


def test_the_command_names_repairs_and_then_agrees(city: City) -> None:
    assert run_check(city)[0] == 0
    path = make_url(load_config(city.config_file).database_url).database
    assert path is not None
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(
            "INSERT INTO accumulator SELECT person_no, 2026, '310', 'other', 1, 2, 3, 4, 5"
            " FROM person ORDER BY person_no LIMIT 1"
        )
    connection.close()
    status, printed = run_check(city)
    assert status == 1
    assert "310 other: stored 现值 1/2/3/4/5, rebuilt 重建 0/0/0/0/0" in " ".join(printed.split())
    status, printed = run_check(city, "--json", "--year", "2025")
    assert (status, json.decode(printed)["is_equal"]) == (0, True)
    status, printed = run_check(city, "--repair", answer="n\n")
    assert status == 1
    status, printed = run_check(city, "--repair", "--json", "--yes")
    document = json.decode(printed)
    assert (status, document["differences_count"], document["repaired"]) == (0, 1, 1)
    assert document["differences"][0]["stored"]["pool_fen"] == 3
    assert run_check(city)[0] == 0
