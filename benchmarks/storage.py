"""How many bytes does a settlement take, by table and index, and what do ten years of a city take?

A made month (`month_data.py`) is measured on both databases, before and after its replies expire;
the rows of ten years are counted from it. On PostgreSQL also what free room in the pages of rows
that change is worth.
"""

import argparse
import asyncio
import random
import time
from functools import partial

from rich.table import Table
from sqlalchemy import Connection, text

from benchmarks.month_data import databases, make_month
from benchmarks.report import console, print_machine
from cardserver.claims import tables as claims
from cardserver.migrations.schema import migrate
from cardserver.storage.expiry_store import KEPT_MS, expire_replies
from cardserver.storage.sizes_store import TableSize, read_sizes
from ledger.bulk_store import put
from ledger.calendar import SystemClock
from ledger.database_store import Database
from ledger.period_store import close_period

PERIOD = 202610
CITY_PERSONS = 500_000
SETTLEMENTS_A_PERSON_MONTH = 3
YEARS = 10
GIB = 1 << 30
# What grows with settlements; the other tables grow with persons, or not at all.
GROWING = (
    "claim", "request", "posting", "entry", "audit", "seal", "period_total", "undoing",
    "request_stage", "request_felt",
)  # fmt: skip
NOTES = ("request_stage", "request_felt")  # kept for two months
# Rows of a whole month of 1,500,000 settlements and 300 institutions: they are sums, of which a
# smaller month has nearly as many.
TOTALS_A_MONTH = 201_832
FILLFACTORS = (100, 90, 80)
UPDATES, UPDATES_AT_ONCE = 60_000, 60


async def measure(name: str, url: str, persons: int, settlements: int) -> None:
    """Make a month on one database and print what it takes."""
    await migrate(url)
    database = Database.open(url)
    await database.start()
    try:
        made = await make_month(
            database, period=PERIOD, persons=persons, settlements=settlements, institutions=300,
            is_noted=True,
        )  # fmt: skip
        count = made.rows["claim"] - made.undone  # settlements; their undoings are of their cost
        before = await _sizes(database)
        clock = SystemClock()
        await database.transact(lambda: close_period(PERIOD, clock=clock))
        began = time.perf_counter()
        expired = await expire_replies(database, now_ms=clock.now_ms() + KEPT_MS)
        took_s = time.perf_counter() - began
        after = await _sizes(database)
        _print(name, count, before, after)
        console.print(f"{expired.replies:,} replies expired in {took_s:.1f} s")
        if database.dialect == "postgresql":
            await _print_fillfactors(database)
    finally:
        await database.close()


async def _sizes(database: Database) -> dict[str, TableSize]:
    if database.dialect == "postgresql":  # what is dead after expiry or a move counts as free
        await database.administer(lambda connection: connection.execute(text("ANALYZE")))
    return {one.table: one for one in await read_sizes(database)}


def _print(
    name: str, count: int, before: dict[str, TableSize], after: dict[str, TableSize]
) -> None:
    table = Table(title=f"{name}: bytes a settlement, of {count:,}")
    table.add_column("table")
    for heading in ("rows", "bytes", "of it its rows", "its indexes", "replies expired"):
        table.add_column(heading, justify="right")
    for one in sorted((before[each] for each in GROWING), key=lambda size: -size.whole):
        later = after[one.table]
        indexes = ", ".join(
            f"{index.removeprefix(one.table + '_')} {size / count:.0f}"
            for index, size in sorted(one.indexes.items())
        )
        table.add_row(
            one.table,
            f"{one.rows / count:.2f}",
            f"{one.whole / count:.0f}",
            f"{one.size / count:.0f}",
            indexes,
            f"{later.whole / count:.0f}",
        )
    console.print(table)
    _print_years(count, before, after)


def _print_years(count: int, before: dict[str, TableSize], after: dict[str, TableSize]) -> None:
    """Count a settlement and ten years of a city, sums and notes apart."""
    a_month = CITY_PERSONS * SETTLEMENTS_A_PERSON_MONTH
    apart = (*NOTES, "period_total")
    fresh = sum(before[each].whole for each in GROWING if each not in apart) / count
    old = sum(after[each].whole for each in GROWING if each not in apart) / count
    notes = sum(before[each].whole for each in NOTES) / count
    totals = before["period_total"].whole / before["period_total"].rows * TOTALS_A_MONTH
    months = YEARS * 12
    # This month, the one before that is being closed, and two until its replies expire.
    whole = a_month * (4 * (fresh + notes) + (months - 4) * old) + months * totals
    console.print(
        f"a settlement: {fresh:,.0f} bytes, {old:,.0f} once its reply has expired; besides "
        f"{notes:,.0f} of where its time went, for two months, and {totals / a_month:,.0f} of sums"
    )
    console.print(
        f"{YEARS} years of {CITY_PERSONS:,} persons, {SETTLEMENTS_A_PERSON_MONTH} settlements a "
        f"person and month: {a_month * months / 1e6:,.0f} million, {whole / GIB:,.0f} GiB; "
        f"a new month {(a_month * (fresh + notes) + totals) / GIB:,.1f} GiB"
    )


# --- free room in pages ----------------------------------------------------------------------


async def _print_fillfactors(database: Database) -> None:
    """Change accumulators as settlements do, with more and less free room in each page."""
    table = Table(title=f"PostgreSQL: {UPDATES:,} changes of accumulators")
    for heading in ("fillfactor", "within the page (HOT)", "MiB before", "after", "changes/s"):
        table.add_column(heading, justify="right")
    amounts = ("deductible_fen", "in_scope_fen", "pool_fen", "large_amount_fen", "admissions")
    change = put(claims.accumulator, set=amounts, by=("person_no", "year", "insutype", "scheme"))
    for fillfactor in FILLFACTORS:
        keys = await database.administer(partial(_prepare, fillfactor=fillfactor))
        before = (await _sizes(database))["accumulator"].whole
        hot, every = await database.administer(_updates)
        chance = random.Random(fillfactor)
        began = time.perf_counter()
        for _ in range(UPDATES // UPDATES_AT_ONCE):
            some = sorted(chance.sample(keys, UPDATES_AT_ONCE))
            await database.execute(change([(*key, 1, 2, 3, 4, 5) for key in some]))
        took_s = time.perf_counter() - began
        await asyncio.sleep(1.5)  # until the counters are written down
        hot_after, every_after = await database.administer(_updates)
        after = (await _sizes(database))["accumulator"].whole
        table.add_row(
            str(fillfactor),
            f"{(hot_after - hot) / max(every_after - every, 1):.0%}",
            f"{before / (1 << 20):.1f}",
            f"{after / (1 << 20):.1f}",
            f"{UPDATES / took_s:,.0f}",
        )
    console.print(table)


def _prepare(connection: Connection, *, fillfactor: int) -> list[tuple[int, int, str, str]]:
    connection.execute(text(f"ALTER TABLE accumulator SET (fillfactor = {fillfactor})"))
    connection.execute(text("CREATE TABLE accumulator_kept AS SELECT * FROM accumulator"))
    connection.execute(text("TRUNCATE accumulator"))
    connection.execute(text("INSERT INTO accumulator SELECT * FROM accumulator_kept"))
    connection.execute(text("DROP TABLE accumulator_kept"))
    rows = connection.execute(text("SELECT person_no, year, insutype, scheme FROM accumulator"))
    return [(row[0], row[1], row[2], row[3]) for row in rows]


def _updates(connection: Connection) -> tuple[int, int]:
    hot, every = connection.execute(
        text(
            "SELECT n_tup_hot_upd, n_tup_upd FROM pg_stat_user_tables WHERE relname = 'accumulator'"
        )
    ).one()
    return int(hot), int(every)


def main() -> None:
    """Measure both databases."""
    parser = argparse.ArgumentParser(prog="benchmarks storage", description=__doc__)
    parser.add_argument("--persons", type=int, default=50_000)
    parser.add_argument("--settlements", type=int, default=150_000)
    parser.add_argument("--database", nargs="*", default=["sqlite", "postgresql"])
    given = parser.parse_args()
    print_machine((__doc__ or "").splitlines()[0])
    with databases(given.database) as found:
        for name, url in found:
            asyncio.run(measure(name, url, given.persons, given.settlements))


if __name__ == "__main__":
    main()
