"""How many settlements a second does posting alone reach, beside a bare writer of the same rows?

Both share commits. The bare writer takes rows that are ready and writes them by the driver alone:
no look-ups, locks, decisions, replies, chain or checks. Durable settings on both databases;
clients, writer and server share the machine's processors, so trust the ratios.
"""

import asyncio
import itertools
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import uvloop
from sqlalchemy import make_url

from cardserver.benefits.policy import PolicyBook, load_policy
from cardserver.catalogue.catalogue import Catalogue
from cardserver.catalogue.values import CatalogueRow
from cardserver.claims import tables as claims
from cardserver.claims.claims_store import claims_participants, preview
from cardserver.claims.settlement import settle_work
from cardserver.claims.values import Attempt, ClaimsWork, ClaimsWriter, Presented, Rules
from cardserver.migrations.schema import migrate
from cardserver.registry import tables as registry
from ledger import tables as ledger
from ledger.accounts import Account
from ledger.bulk_store import Row, Statement, insert, plain
from ledger.calendar import SystemClock, business_date
from ledger.database_store import Database
from ledger.decisions import Outcome
from ledger.ledger_store import OPEN_BALANCES, PUT_BALANCES, GroupTime
from ledger.writer import GroupWriter
from protocol.terminal import messages
from simulators.postgres import PostgreSQLCluster

TIMEZONE = ZoneInfo("Asia/Shanghai")
SECONDS = 0.7  # a round
ROUNDS = 3  # ours and the bare one take turns, so that other load hits both
IN_FLIGHT = (1, 16, 64)
PERSONS = 80_000
LINES = 10
BALANCE_FEN = 10_000_000
INSTITUTIONS = 20
FOREVER = 99991231
POLICIES = Path(__file__).parents[1] / "cardserver" / "benefits" / "policies"

Submit = Callable[[int], Awaitable[None]]


@dataclass(frozen=True)
class Measured:
    """One run."""

    per_second: float
    p50_ms: float
    p99_ms: float


class Run:
    """Rounds of one kind at one number in flight."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._took = 0.0

    async def round(self, submit: Submit, numbers: Iterator[int], in_flight: int) -> None:
        """Let clients submit one after the other for a while."""
        began = time.perf_counter()
        ends = began + SECONDS

        async def client() -> None:
            at = time.perf_counter()
            while at < ends:
                await submit(next(numbers))
                before, at = at, time.perf_counter()
                self._times.append(at - before)

        await asyncio.gather(*(client() for _ in range(in_flight)))
        self._took += time.perf_counter() - began

    def measured(self) -> Measured:
        """Return all rounds together."""
        times = sorted(self._times)
        return Measured(
            len(times) / self._took,
            times[len(times) // 2] * 1000,
            times[int(len(times) * 0.99)] * 1000,
        )


# --- ours ------------------------------------------------------------------------------------


async def fill(database: Database) -> None:
    """Make a city: every person has an account, every settlement another person."""

    def everything(table_name: str) -> Statement:
        table = registry.metadata.tables[table_name]
        return insert(table, [column.name for column in table.columns])

    persons = range(1, PERSONS + 1)
    for start in range(0, PERSONS, 5_000):
        some = persons[start : start + 5_000]
        await database.execute(
            everything("person")(
                [(n, f"{n:018d}", "张三", 1, 19810101, None, 0, 0) for n in some]
            ),
            everything("insurance")(
                [(n, "310", 20200101, FOREVER, 1, "11", "110105") for n in some]
            ),
            everything("card")([
                (n, "social_security", n.to_bytes(8, "big"), "110000", f"T{n:08d}", bytes(16),
                 n, "3.00", 3, "3", bytes(12), 20200101, 20991231, 1)
                for n in some
            ]),
            OPEN_BALANCES([(n, int(Account.PERSONAL_ACCOUNT), BALANCE_FEN) for n in some]),
        )  # fmt: skip
    places = range(1, INSTITUTIONS + 1)
    await database.execute(
        everything("institution")(
            [(n, f"H{n:011d}", "医院", 1, 3, 1, 20200101, FOREVER) for n in places]
        ),
        everything("terminal")([(n, n, "T1", bytes(32), 1) for n in places]),
    )
    analyze = plain("analyze", postgresql="ANALYZE", sqlite="ANALYZE")
    await database.execute(analyze())


def make_rules() -> Rules:
    """Take the shipped policies and a catalogue of ten items."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(POLICIES.glob("*.toml"))]
    catalogue = Catalogue.of(
        CatalogueRow(f"I{n}", 20200101, FOREVER, "药", 1 + n % 2, n % 2 * 1000)
        for n in range(LINES)
    )
    return Rules(PolicyBook([load_policy(text) for text in texts]), catalogue)


BILL = messages.Bill(
    insutype="310",
    med_type="11",
    total_fen=LINES * 30_000,
    uses_account=True,
    invoice="I1",
    lines=tuple(
        messages.Line(f"I{n}", f"药品{n}", 30_000 * 10_000, 10_000, 30_000) for n in range(LINES)
    ),
)


@asynccontextmanager
async def ours(database: Database, rules: Rules) -> AsyncIterator[Submit]:
    """Start the posting writer."""
    clock = SystemClock()
    today = business_date(clock.now_ms(), TIMEZONE)
    shown = await preview(
        database, terminal_no=1, request=messages.Preview(BILL), presented=Presented(1, 1, 2),
        rules=rules, when=GroupTime(today, 0, clock.now_ms()),
    )  # fmt: skip
    assert isinstance(shown, messages.Previewed)
    split = shown.split
    body = messages.Settle(BILL, split.fund_pay_fen, split.account_pay_fen, split.cash_fen)

    def work(number: int) -> ClaimsWork:
        place = 1 + number % INSTITUTIONS
        attempt = Attempt(
            institution_no=place, terminal_no=place, operator_no=1,
            msgid=f"H{place:011d}20261121{number // 10_000:06d}{number % 10_000:04d}",
            request_hash=bytes(32), deadline_ms=clock.monotonic_ms() + 60_000,
        )  # fmt: skip
        return settle_work(attempt, body, Presented(number, number, 2), rules, today=today)

    writer: ClaimsWriter = GroupWriter(
        database, claims_participants(), clock=clock, timezone=TIMEZONE
    )
    await writer.start()

    async def submit(number: int) -> None:
        outcome = await writer.submit(work(number))
        assert isinstance(outcome, Outcome)
        assert outcome.code == 0, outcome

    yield submit
    await writer.stop()


# --- the bare writer -------------------------------------------------------------------------


@dataclass(frozen=True)
class BareRows:
    """The rows that one settlement left, to be written again under other numbers."""

    statements: tuple[Statement, ...]
    rows: tuple[tuple[Row, ...], ...]


_BARE_TABLES = (ledger.entry, ledger.posting, ledger.account_balance, claims.claim,
                claims.accumulator, claims.audit, ledger.request)  # fmt: skip
_BARE_SLOT = 4_000_000


async def bare_rows(database: Database) -> BareRows:
    """Read what the first settlement of our writer left."""
    statements, rows = [], []
    ((number,),) = await database.fetch(_query("SELECT min(entry_no) FROM claim"))
    for table in _BARE_TABLES:
        columns = [column.name for column in table.columns if column.name != "audit_no"]
        names = ", ".join(f'"{column}"' for column in columns)
        where = f"WHERE entry_no = {number}" if "entry_no" in table.columns else "LIMIT 1"
        found = await database.fetch(_query(f'SELECT {names} FROM "{table.name}" {where}'))
        statements.append(
            PUT_BALANCES if table is ledger.account_balance else insert(table, columns)
        )
        rows.append(tuple(found))
    return BareRows(tuple(statements), tuple(rows))


def _query(text: str) -> Any:  # noqa: ANN401 - a Query
    return plain(text, postgresql=text, sqlite=text)()


def renumbered(template: BareRows, number: int) -> list[list[Row]]:
    """Return the rows of one settlement under a number of its own, by table."""
    entry, posting, balance, claim, accumulator, audit, request = template.rows
    entry_no = (_BARE_SLOT << 40) + number
    return [
        [(entry_no, *row[1:]) for row in entry],
        [(entry_no, *row[1:]) for row in posting],
        [(number % PERSONS, *row[1:]) for row in balance],
        [(entry_no, entry_no, *row[2:]) for row in claim],
        [(entry_no, *row[1:]) for row in accumulator],
        list(audit),
        [(*row[:3], f"bare{number}", *row[4:]) for row in request],
    ]


class BareWriter:
    """Shares commits as ours does, and does nothing else."""

    def __init__(
        self, template: BareRows, write: Callable[[Sequence[list[Row]]], Awaitable[None]]
    ) -> None:
        self._template = template
        self._write = write
        self._queue: list[tuple[list[list[Row]], asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def submit(self, number: int) -> None:
        """Write one settlement's rows."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((renumbered(self._template, number), future))
        self._wake.set()
        await future

    async def stop(self) -> None:
        """End the task."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            group, self._queue = self._queue[:128], self._queue[128:]
            if self._queue:
                self._wake.set()
            await self._write(
                [
                    list(itertools.chain.from_iterable(rows[index] for rows, _ in group))
                    for index in range(len(_BARE_TABLES))
                ]
            )
            for _, future in group:
                future.set_result(None)


@asynccontextmanager
async def bare_postgresql(url: str, template: BareRows) -> AsyncIterator[Submit]:
    """Start asyncpg alone."""
    parsed = make_url(url)
    connection = await asyncpg.connect(
        host=parsed.query["host"], user=parsed.username, database=parsed.database
    )

    async def write(tables: Sequence[list[Row]]) -> None:
        await connection.execute("BEGIN")
        for statement, rows in zip(template.statements, tables, strict=True):
            await connection.fetch(statement.postgresql, *map(list, zip(*rows, strict=True)))
        await connection.execute("COMMIT")

    writer = BareWriter(template, write)
    yield writer.submit
    await writer.stop()
    await connection.close()


@asynccontextmanager
async def bare_sqlite(path: Path, template: BareRows) -> AsyncIterator[Submit]:
    """Start sqlite3 alone, in a thread."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    thread = ThreadPoolExecutor(1)

    def work(tables: Sequence[list[Row]]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        for statement, rows in zip(template.statements, tables, strict=True):
            connection.executemany(statement.sqlite, rows)
        connection.execute("COMMIT")

    async def write(tables: Sequence[list[Row]]) -> None:
        await asyncio.get_running_loop().run_in_executor(thread, work, tables)

    writer = BareWriter(template, write)
    yield writer.submit
    await writer.stop()
    thread.shutdown()
    connection.close()


# --- both ------------------------------------------------------------------------------------


@contextmanager
def databases() -> Iterator[tuple[str, str, Path]]:
    """Give a URL for each database, and the SQLite file."""
    with tempfile.TemporaryDirectory(prefix="cardserver-bench-") as folder:
        path = Path(folder) / "bench.db"
        with PostgreSQLCluster({"shared_buffers": "256MB"}) as cluster:
            yield f"sqlite:///{path}", cluster.create_database("bench"), path


async def compare(url: str, path: Path) -> list[tuple[Measured, Measured]]:
    """Measure ours and the bare writer on one database, in turns."""
    await migrate(url)
    database = Database.open(url)
    await database.start()
    await fill(database)
    numbers, bare_numbers = itertools.count(2), itertools.count(1)
    results: list[tuple[Measured, Measured]] = []
    async with ours(database, make_rules()) as submit:
        await submit(1)
        template = await bare_rows(database)
        bare = bare_sqlite(path, template) if database.dialect == "sqlite" else (
            bare_postgresql(url, template)
        )  # fmt: skip
        async with bare as submit_bare:
            for in_flight in IN_FLIGHT:
                one, other = Run(), Run()
                for _ in range(ROUNDS):
                    await one.round(submit, numbers, in_flight)
                    await other.round(submit_bare, bare_numbers, in_flight)
                results.append((one.measured(), other.measured()))
    await database.close()
    return results


def main() -> None:
    """Measure and print."""
    with databases() as (sqlite_url, postgresql_url, path):
        for name, url in (("SQLite", sqlite_url), ("PostgreSQL", postgresql_url)):
            results = uvloop.run(compare(url, path))
            print(f"{name}: settlements a second, {LINES} lines each")
            print("  in flight      ours    p50 ms   p99 ms      bare    ratio")
            for in_flight, (one, other) in zip(IN_FLIGHT, results, strict=True):
                print(
                    f"  {in_flight:9}  {one.per_second:8,.0f}  {one.p50_ms:8.2f} {one.p99_ms:8.2f}"
                    f"  {other.per_second:8,.0f}  {one.per_second / other.per_second:7.2f}"
                )


if __name__ == "__main__":
    main()
