"""How long does a month's clearing take, and does twice the month take twice as long?

A city's month is made in bulk (`month_data.py`), half of it and whole, on both databases; then it
is closed and cleared in a process of its own, as `cardserver period close` and `clearing run` do
it: read and recomputed from every posting in one snapshot, compared, posted. The peak is that of
the clearing process. Statements (CSV of all institutions, PDFs of some) are timed apart.
"""

import argparse
import asyncio
import itertools
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from rich.table import Table
from sqlalchemy import Connection

from benchmarks.month_data import make_month
from benchmarks.month_settlements import institution_code
from benchmarks.report import console, print_machine
from cardserver.clearing.clearing_store import activate_terms, stored_clearings
from cardserver.clearing.closing import ClosingWish, close
from cardserver.clearing.run import RunWish, read_month, run
from cardserver.clearing.statement_store import day_sums, statement_entries
from cardserver.clearing.statements import (
    Place,
    by_institution,
    statement_pdf,
    write_entries_csv,
)
from cardserver.funding.acts import open_fund_acts
from cardserver.migrations.schema import migrate
from cardserver.registry.values import Actor
from ledger.calendar import SystemClock, business_date
from ledger.database_store import Database
from simulators.postgres import PostgreSQLCluster

MONTH = 202610
PRINTED = 20
SHANGHAI = ZoneInfo("Asia/Shanghai")
_SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "8GB", "maintenance_work_mem": "256MB"}


@dataclass(frozen=True)
class Measured:
    """Seconds of each step, and what came of it."""

    settlements: int
    made_s: float
    close_s: float
    recompute_s: float
    run_s: float
    again_s: float
    cleared: int
    postings: int
    entries_s: float
    entries: int
    pdf_s: float
    peak_mib: float


def terms_text(institutions: int) -> str:
    """Return terms with an account for everyone, and a cap on some."""
    lines = [
        "begins = 2026-01-01",
        'sources = ["made up"]',
        "deposit_percent = 5",
        "two_signatures_above = 1000000",
        'payer = { name = "医疗保障基金", account = "1", bank = "102100099996" }',
    ]
    for number in range(1, institutions + 1):
        code = institution_code(number)
        holder = f'name = "第{number}机构", account = "9{number:09d}", bank = "103100000026"'
        lines += ["[[institutions]]", f'code = "{code}"', f"account = {{ {holder} }}"]
    for number in range(1, institutions + 1, 10):
        code = institution_code(number)
        lines += ["[[caps]]", f'institution = "{code}"', "clearing_type = 11", 'per = "month"',
                  "amount = 100000"]  # fmt: skip
    return "\n".join(lines)


async def _make(url: str, settlements: int, given: argparse.Namespace) -> float:
    await migrate(url)
    database = Database.open(url)
    await database.start()
    try:
        made = await make_month(
            database,
            period=MONTH,
            persons=max(settlements * given.persons // given.settlements, 1),
            settlements=settlements,
            institutions=given.institutions,
        )
        await activate_terms(database, terms_text(given.institutions), Actor("benchmark", 1))
    finally:
        await database.close()
    return made.seconds


def _measure(url: str, settlements: int, made_s: float) -> Measured:
    return asyncio.run(_clear(url, settlements, made_s))


async def _clear(url: str, settlements: int, made_s: float) -> Measured:
    database = Database.open(url)
    await database.start()
    clock = SystemClock()
    actor = Actor("benchmark", clock.now_ms())
    today = business_date(clock.now_ms(), SHANGHAI)
    before, wish = (ClosingWish(month, today, "a benchmark") for month in (MONTH - 1, MONTH))
    try:
        # The opening balances are of the month before.
        await close(database, before, actor, clock, lambda _, __: None)
        moments = [time.perf_counter()]
        await close(database, wish, actor, clock, lambda _, __: None)
        moments.append(time.perf_counter())
        async with open_fund_acts(database, SHANGHAI) as acts:
            nobody = lambda _, __: None  # noqa: E731 - a progress that nobody watches
            report = await run(database, acts, RunWish(MONTH, "a benchmark"), actor, nobody)
            moments.append(time.perf_counter())
            await run(database, acts, RunWish(MONTH, "a benchmark"), actor, nobody)
            moments.append(time.perf_counter())
        await read_month(database, MONTH)
        moments.append(time.perf_counter())
        entries_s, entries = await _write_entries(database)
        pdf_s = await _print_some(database)
    finally:
        await database.close()
    close_s, run_s, again_s, recompute_s = (
        end - begin for begin, end in itertools.pairwise(moments)
    )
    return Measured(
        settlements,
        made_s,
        close_s,
        recompute_s,
        run_s,
        again_s,
        report.cleared_count,
        report.read.books.recomputed.postings_count,
        entries_s,
        entries,
        pdf_s,
        _peak_mib(),
    )


def _peak_mib() -> float:
    """Return this process' own peak; what `getrusage` says includes that of who started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(
        int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")
    )


async def _write_entries(database: Database) -> tuple[float, int]:
    """Write every entry of the month as CSV, streamed, a file an institution."""

    def write(connection: Connection) -> int:
        return sum(
            write_entries_csv(Path(folder), Place("", str(number), "", MONTH), some)
            for number, some in by_institution(statement_entries(connection, MONTH, None))
        )

    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="month-csv-") as folder:
        count = await database.report(write)
    return time.perf_counter() - began, count


async def _print_some(database: Database) -> float:
    """Print some institutions' statements; return the seconds of one."""
    cleared = await database.report(lambda one: stored_clearings(one, month=MONTH))
    days = await database.report(lambda one: day_sums(one, MONTH))
    numbers = sorted({one.clearing.institution_no for one in cleared})[:PRINTED]
    began = time.perf_counter()
    for number in numbers:
        of_one = [one for one in cleared if one.clearing.institution_no == number]
        statement_pdf(Place("医保", str(number), "机构", MONTH), of_one, days.get(number, []))
    return (time.perf_counter() - began) / len(numbers)


def _in_process(url: str, settlements: int, made_s: float) -> Measured:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_measure, url, settlements, made_s).result()


def _print(name: str, rows: list[Measured]) -> None:
    table = Table(name, "made s", "close s", "clear s", "recompute s", "again s", "peak MiB")
    for one in rows:
        table.add_row(
            f"{one.settlements:,}", f"{one.made_s:.1f}", f"{one.close_s:.1f}", f"{one.run_s:.1f}",
            f"{one.recompute_s:.1f}", f"{one.again_s:.1f}", f"{one.peak_mib:.0f}",
        )  # fmt: skip
    console.print(table)
    last = rows[-1]
    console.print(
        f"{last.cleared:,} clearings of {last.postings:,} postings on payables; statements:"
        f" {last.entries:,} entries as CSV in {last.entries_s:.1f} s, {1 / last.pdf_s:.1f} PDFs/s"
    )
    if len(rows) > 1:
        console.print(
            f"{name}: twice as much takes {rows[-1].run_s / rows[0].run_s:.2f} times as long"
            " (at most 2.2)"
        )


def main() -> None:
    """Make, close and clear a month on each database."""
    parser = argparse.ArgumentParser(prog="benchmarks month", description=__doc__)
    parser.add_argument("--persons", type=int, default=500_000)
    parser.add_argument("--settlements", type=int, default=1_500_000)
    parser.add_argument("--institutions", type=int, default=300)
    parser.add_argument("--database", nargs="*", default=["sqlite", "postgresql"])
    parser.add_argument("--whole-only", action="store_true", help="leave half the month out")
    given = parser.parse_args()
    print_machine("How long does a month's clearing take?")
    sizes = [given.settlements] if given.whole_only else [given.settlements // 2, given.settlements]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="month-")))
        cluster = None
        if "postgresql" in given.database:
            cluster = stack.enter_context(PostgreSQLCluster(_SETTINGS))
        for name in given.database:
            rows: list[Measured] = []
            for size in sizes:
                if name == "sqlite" or cluster is None:
                    url = f"sqlite:///{folder}/month-{size}.db"
                else:
                    url = cluster.create_database(f"month_{size}")
                made_s = asyncio.run(_make(url, size, given))
                rows.append(_in_process(url, size, made_s))
                if name == "sqlite":
                    (folder / f"month-{size}.db").unlink()
            _print(name, rows)


if __name__ == "__main__":
    main()
