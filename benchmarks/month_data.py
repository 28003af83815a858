"""How long does a city's month take to make, and is it one that `verify-ledger` accepts?

`make_month` fills a migrated, empty database in bulk: COPY on PostgreSQL, on SQLite files of their
own that are taken over whole, by as many processes as there are processors. What is made, a centre
itself might have written (`month_settlements.py`).
"""

import argparse
import asyncio
import multiprocessing
import os
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.util import await_only

from benchmarks.month_settlements import (
    INSUTYPE,
    REGION,
    SlotMaker,
    SlotPlan,
    Tables,
    birth_date_of,
    institution_code,
    institution_of,
    person_of,
)
from cardserver.migrations.schema import migrate
from cardserver.migrations.tables import METADATAS
from cardserver.storage.parts_store import make_parts_ahead
from ledger.database_store import Database
from simulators.postgres import PostgreSQLCluster

SLOTS = 4
FOREVER = 99991231
_ROWS_A_COPY = 50_000
_POLL_S = 0.2

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class MonthMade:
    """What was made.

    Attributes:
        settlements: Attempts to settle, a few of which were refused.
        undone: Settlements cancelled or refunded, beside them.
        rows: By table.
        seconds: How long it took.
    """

    settlements: int
    undone: int
    rows: dict[str, int]
    seconds: float


async def make_month(  # noqa: PLR0913 - the sizes of a city, each with a name
    database: Database,
    *,
    period: int,
    persons: int,
    settlements: int,
    institutions: int,
    seed: int = 1,
    slots: int = SLOTS,
    jobs: int | None = None,
    is_noted: bool = False,
    progress: Progress = lambda _done, _of: None,
) -> MonthMade:
    """Fill a migrated, empty database with a month of a city.

    Persons have an insurance and an opened account, half of them took over accumulators; on the
    last day of the month before. Then the settlements follow, evenly over the month.

    Args:
        database: Started; on PostgreSQL one whose URL needs no password.
        period: The month, YYYYMM.
        persons: Numbered from 1.
        settlements: How many are attempted; 0.4 % are refused, 2.5 % undone again.
        institutions: Numbered from 1, each with a terminal a slot.
        seed: The same gives the same rows.
        slots: Writers that share the work.
        jobs: Processes; None: as many as there are processors.
        is_noted: Whether it is noted, too, where each request's time went.
        progress: Told how many settlements are there, of how many.
    """
    began = time.perf_counter()
    rows: Counter[str] = Counter()
    await make_parts_ahead(database, month=period)
    for tables in _registry(period, persons, institutions, slots):
        await _write(database, tables)
        rows.update({table: len(of_table) for table, of_table in tables.items()})
    plans = [
        SlotPlan(
            part, slots, period, persons,
            settlements // slots + (part <= settlements % slots), institutions, seed,
            is_noted,
        )
        for part in range(1, slots + 1)
    ]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="month-") as folder:
        made = await _make_slots(database, plans, Path(folder), jobs, settlements, progress)
    for one in made:
        rows.update(one.rows)
    await database.administer(lambda connection: connection.exec_driver_sql("ANALYZE"))
    return MonthMade(
        sum(one.settlements for one in made),
        sum(one.undone for one in made),
        dict(rows),
        time.perf_counter() - began,
    )


# --- the slots -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _SlotMade:
    settlements: int
    undone: int
    rows: dict[str, int]


async def _make_slots(
    database: Database,
    plans: list[SlotPlan],
    folder: Path,
    jobs: int | None,
    settlements: int,
    progress: Progress,
) -> list[_SlotMade]:
    context = multiprocessing.get_context("spawn")
    done: Synchronized[int] = context.Value("q", 0)
    is_file = database.dialect == "sqlite"
    made: list[_SlotMade] = []
    with ProcessPoolExecutor(
        jobs or os.cpu_count() or 1, mp_context=context, initializer=_share, initargs=(done,)
    ) as pool:
        loop = asyncio.get_running_loop()
        under_way = [
            loop.run_in_executor(
                pool, _make_slot, plan, "" if is_file else database.url, _part(folder, plan)
            )
            for plan in plans
        ]
        for plan, future in zip(plans, under_way, strict=True):
            while not future.done():
                await asyncio.wait({future}, timeout=_POLL_S)
                progress(done.value, settlements)
            made.append(await future)
            if is_file:
                await database.administer(partial(_take_over, path=_part(folder, plan)))
                _part(folder, plan).unlink()
    progress(settlements, settlements)
    return made


def _part(folder: Path, plan: SlotPlan) -> Path:
    return folder / f"slot-{plan.slot}.db"


_done: list[Any] = []  # of this process: the counter that the first one shows


def _share(done: object) -> None:
    _done.append(done)


def _make_slot(plan: SlotPlan, url: str, part: Path) -> _SlotMade:
    """Make a slot's rows in this process, and write them to the database or into a file."""
    maker = SlotMaker(plan)
    rows: Counter[str] = Counter()

    def every() -> Iterator[Tables]:
        for stage in (maker.opening(), maker.month(), (maker.last() for _ in "1")):
            before = maker.settlements
            for tables in stage:
                rows.update({table: len(of_table) for table, of_table in tables.items()})
                yield tables
                with _done[0].get_lock():
                    _done[0].value += maker.settlements - before
                before = maker.settlements

    if url:
        asyncio.run(_copy_all(url, every()))
    else:
        _fill_part(part, every())
    return _SlotMade(maker.settlements, maker.undone, dict(rows))


async def _copy_all(url: str, every: Iterator[Tables]) -> None:
    database = Database.open(url)
    try:
        for tables in every:
            await _write(database, tables)
    finally:
        await database.close()


def _fill_part(path: Path, every: Iterator[Tables]) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    for tables in every:
        connection.execute("BEGIN")
        for table, rows in tables.items():
            names = ", ".join(_COLUMNS[table])
            connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({names})")
            marks = ", ".join("?" * len(_COLUMNS[table]))
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
        connection.execute("COMMIT")
    connection.close()


# --- into the database -----------------------------------------------------------------------

# What a group's statements write, in their order; `audit` and `change` number themselves.
_COLUMNS = {
    str(table.name): tuple(
        str(column.name) for column in table.columns if column.name != "audit_no"
    )
    for metadata in METADATAS
    for table in metadata.tables.values()
}


async def _write(database: Database, tables: Tables) -> None:
    await database.administer(
        partial(_write_with, tables=tables, is_file=database.dialect == "sqlite")
    )


def _write_with(connection: Connection, *, tables: Tables, is_file: bool) -> None:
    driver: Any = connection.connection.driver_connection  # as each driver has it
    for table, rows in tables.items():
        columns = _COLUMNS[table][: len(rows[0])] if rows else ()
        if is_file:
            marks = ", ".join("?" * len(columns))
            driver.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)
        else:
            await_only(driver.copy_records_to_table(table, records=rows, columns=columns))


def _take_over(connection: Connection, *, path: Path) -> None:
    """Take a file's tables over, as SQLite does by itself."""
    driver: Any = connection.connection.driver_connection  # SQLite's own
    driver.execute("PRAGMA cache_size = -524288")
    driver.execute("ATTACH ? AS part", (str(path),))
    tables = driver.execute("SELECT name FROM part.sqlite_schema").fetchall()
    for (table,) in tables:
        names = ", ".join(_COLUMNS[table])
        driver.execute(f"INSERT INTO main.{table} ({names}) SELECT {names} FROM part.{table}")
    driver.commit()
    driver.execute("DETACH part")


def _registry(period: int, persons: int, institutions: int, slots: int) -> Iterator[Tables]:
    numbers = range(1, institutions + 1)
    yield {
        "institution": [
            (n, institution_code(n), f"第{n}机构", *institution_of(n), 1, 20200101, FOREVER)
            for n in numbers
        ],
        "terminal": [
            ((slot - 1) * institutions + n, n, f"T{slot}", bytes(32), 1)
            for slot in range(1, slots + 1)
            for n in numbers
        ],
    }
    for start in range(1, persons + 1, _ROWS_A_COPY):
        some = range(start, min(start + _ROWS_A_COPY, persons + 1))
        made = [(n, person_of(n)) for n in some]
        yield {
            "person": [
                (n, f"{REGION}{n:012d}", "张三", 1 + n % 2, birth_date_of(one, period), None, 0, 0)
                for n, one in made
            ],
            "insurance": [
                (n, INSUTYPE, 20200101, FOREVER, 1, one.person_type, REGION) for n, one in made
            ],
        }


# --- alone -----------------------------------------------------------------------------------


@contextmanager
def databases(kinds: list[str]) -> Iterator[list[tuple[str, str]]]:
    """Give a name and a URL for each kind of database that is wanted, each empty."""
    with tempfile.TemporaryDirectory(prefix="month-") as folder:
        urls = [("SQLite", f"sqlite:///{folder}/month.db")] if "sqlite" in kinds else []
        if "postgresql" not in kinds:
            yield urls
            return
        settings = {"shared_buffers": "1GB", "max_wal_size": "8GB", "maintenance_work_mem": "256MB"}
        with PostgreSQLCluster(settings) as cluster:
            yield [*urls, ("PostgreSQL", cluster.create_database("month"))]


async def _make(url: str, given: argparse.Namespace) -> MonthMade:
    await migrate(url)
    database = Database.open(url)
    await database.start()
    try:
        return await make_month(
            database,
            period=given.period,
            persons=given.persons,
            settlements=given.settlements,
            institutions=given.institutions,
            seed=given.seed,
        )
    finally:
        await database.close()


def main() -> None:
    """Make a month on each database, and verify it."""
    parser = argparse.ArgumentParser(prog="benchmarks month-data", description=__doc__)
    parser.add_argument("--period", type=int, default=202610)
    parser.add_argument("--persons", type=int, default=500_000)
    parser.add_argument("--settlements", type=int, default=1_500_000)
    parser.add_argument("--institutions", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", nargs="*", default=["sqlite", "postgresql"])
    given = parser.parse_args()
    with databases(given.database) as found:
        for name, url in found:
            made = asyncio.run(_make(url, given))
            print(
                f"{name}: {made.settlements:,} settlements, {made.undone:,} undone, "
                f"{sum(made.rows.values()):,} rows in {made.seconds:.1f} s"
            )


if __name__ == "__main__":
    main()
