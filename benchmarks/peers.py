"""Writers to compare the posting writer with: a bare one, and one transaction each. No benchmark.

Both write rows that are ready: copies of those that our writer left for one settlement, under
numbers, persons, institutions and msgids of their own, as wide as ours, into the same tables with
the same indexes. They look nothing up, lock, decide, check, hash and answer nothing.

- `BareWriter` shares commits among what waits, as ours does, and writes what a group of ours
  writes: all rows of its settlements, the totals of its institutions, a seal as long as ours and
  the writer's slot.
- One transaction each is the usual way: a connection a client, a statement a row, and the fund's
  balance in one row that every settlement updates; instead of totals, seal and slot.
"""

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import Table, make_url

from cardserver.claims import tables as claims
from ledger import tables as ledger
from ledger.bulk_store import Row, Statement, add, insert, plain, put, update
from ledger.database_store import Database
from ledger.entries import entry_number
from ledger.months import slots_of

Submit = Callable[[int], Awaitable[None]]

GROUP_MAX = 128
# Beyond those of the city, so that no key is ours; `PERSONS_FROM` on have accounts.
PERSONS_FROM = 1_000_000
_PLACES_FROM = 1_000
_PLACES = 20
_SEALED_TABLES = 5  # entries, requests, claims, audit; postings are counted apart
_CHECK_SIZE = 4


def msgid_of(number: int, place: int) -> str:
    """Make a msgid: institution, day, number."""
    return f"H{place:011d}20261121{number:010d}"


def _names(table: Table) -> list[str]:
    return [column.name for column in table.columns]


_ENTRIES = insert(ledger.entry, _names(ledger.entry))
_POSTINGS = insert(ledger.posting, _names(ledger.posting))
_BALANCES = put(ledger.account_balance, set=("balance_fen",), by=("owner", "account"))
_CLAIMS = insert(claims.claim, _names(claims.claim))
_ACCUMULATORS = put(
    claims.accumulator,
    set=("deductible_fen", "in_scope_fen", "pool_fen", "large_amount_fen", "admissions"),
    by=("person_no", "year", "insutype", "scheme"),
)
_AUDIT = insert(claims.audit, _names(claims.audit))
_REQUESTS = insert(ledger.request, _names(ledger.request))
_TOTALS = add(
    ledger.period_total,
    sums=("debit_fen", "credit_fen", "count"),
    by=("slot", "business_date", "period", "account", "institution_no", "clearing_type", "kind"),
)
_SEALS = insert(ledger.seal, _names(ledger.seal))
_SLOTS = update(ledger.writer_slot, set=("sequence", "chain_head"), by=("slot", "sequence"))

STATEMENTS: tuple[Statement, ...] = (
    _BALANCES, _REQUESTS, _AUDIT, _CLAIMS, _ACCUMULATORS, _ENTRIES, _POSTINGS,
)  # fmt: skip
GROUP_STATEMENTS: tuple[Statement, ...] = (_TOTALS, _SEALS, _SLOTS)

_FUND = "peer_fund"
_MAKE_FUND = f"CREATE TABLE {_FUND} (fund integer PRIMARY KEY, balance_fen bigint NOT NULL)"
_FILL_FUND = f"INSERT INTO {_FUND} VALUES (310, 0)"


@dataclass(frozen=True)
class Template:
    """The rows that one settlement of ours left, by table, and its group's totals."""

    balance: Row
    request: Row
    audit: Row
    claim: Row
    accumulators: tuple[Row, ...]
    entry: Row
    postings: tuple[Row, ...]
    totals: tuple[Row, ...]

    @property
    def slot(self) -> int:
        """The last slot of our writer's month, so that rows are in the month's parts as ours."""
        return slots_of(self.entry[3])[-1]

    def rows(self, number: int) -> tuple[list[Row], ...]:
        """Return the rows of one settlement under a number of its own, as `STATEMENTS` wants."""
        entry_no = entry_number(slot=self.slot, sequence=number)
        person = PERSONS_FROM + number
        place = _PLACES_FROM + number % _PLACES
        month = self.request[0]
        msgid = msgid_of(number, place)
        return (
            [(person, *self.balance[1:])],
            [(month, place, place, msgid, *self.request[4:8], entry_no, *self.request[9:])],
            [(entry_no, 1, self.audit[2], place, place, *self.audit[5:])],
            [(entry_no, person, place, place, msgid, *self.claim[5:])],
            [(person, *row[1:]) for row in self.accumulators],
            [(entry_no, person, *self.entry[2:5], place, *self.entry[6:])],
            [(entry_no, *row[1:]) for row in self.postings],
        )

    def group_rows(self, first: int, numbers: Sequence[int]) -> tuple[list[Row], ...]:
        """Return the rows that a group leaves beside, as `GROUP_STATEMENTS` wants."""
        places = {number % _PLACES for number in numbers}
        last = first + len(numbers)
        rows_count = (_SEALED_TABLES - 1 + len(self.postings)) * len(numbers)
        return (
            [
                (self.slot, *row[1:4], _PLACES_FROM + place, *row[5:])
                for place in sorted(places)
                for row in self.totals
            ],
            [(self.slot, last, first + 1, bytes(32), bytes(_CHECK_SIZE * rows_count))],
            [(last, bytes(32), self.slot, first)],
        )


async def read_template(database: Database) -> Template:
    """Read what the first settlement of our writer left, and make room for the peers."""

    async def read(table: Table, where: str) -> tuple[Row, ...]:
        names = ", ".join(f'"{name}"' for name in _names(table))
        return tuple(await database.fetch(_query(f'SELECT {names} FROM "{table.name}" {where}')))

    ((number, person_no),) = await database.fetch(
        _query("SELECT entry_no, person_no FROM claim ORDER BY entry_no LIMIT 1")
    )
    one, person = f"WHERE entry_no = {number}", f"= {person_no}"
    (balance,) = await read(ledger.account_balance, f"WHERE owner {person}")
    (request,) = await read(ledger.request, one)
    (audit,) = await read(claims.audit, f"WHERE subject = '{number}'")
    (claim,) = await read(claims.claim, one)
    (entry,) = await read(ledger.entry, one)
    template = Template(
        balance, request, audit, claim,
        await read(claims.accumulator, f"WHERE person_no {person}"),
        entry,
        await read(ledger.posting, one),
        await read(ledger.period_total, ""),
    )  # fmt: skip
    slot = insert(ledger.writer_slot, _names(ledger.writer_slot))
    await database.execute(
        slot([(template.slot, "peer", 2**62, 0, bytes(32))]), _query(_MAKE_FUND), _query(_FILL_FUND)
    )
    return template


def _query(text: str) -> Any:  # noqa: ANN401 - a Query
    return plain(text, postgresql=text, sqlite=text)()


# --- sharing commits -------------------------------------------------------------------------

Write = Callable[[Sequence[Statement], Sequence[Sequence[Row]]], Awaitable[None]]


class BareWriter:
    """Shares commits as ours does, and does nothing else."""

    def __init__(self, template: Template, write: Write) -> None:
        self._template = template
        self._write = write
        self._queue: list[tuple[int, tuple[list[Row], ...], asyncio.Future[None]]] = []
        self._sequence = 0
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def submit(self, number: int) -> None:
        """Write one settlement's rows."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((number, self._template.rows(number), future))
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
            group, self._queue = self._queue[:GROUP_MAX], self._queue[GROUP_MAX:]
            if self._queue:
                self._wake.set()
            tables = [
                list(itertools.chain.from_iterable(rows[index] for _, rows, _ in group))
                for index in range(len(STATEMENTS))
            ]
            numbers = [number for number, _, _ in group]
            tables += self._template.group_rows(self._sequence, numbers)
            await self._write((*STATEMENTS, *GROUP_STATEMENTS), tables)
            self._sequence += len(group)
            for _, _, future in group:
                future.set_result(None)


async def connect(url: str) -> Any:  # noqa: ANN401 - asyncpg ships no types
    """Connect by asyncpg alone."""
    parsed = make_url(url)
    return await asyncpg.connect(
        host=parsed.query["host"], user=parsed.username, database=parsed.database
    )


@asynccontextmanager
async def bare_postgresql(url: str, template: Template) -> AsyncIterator[Submit]:
    """Start asyncpg alone: a prepared statement a table, one array a column."""
    connection = await connect(url)

    async def write(statements: Sequence[Statement], tables: Sequence[Sequence[Row]]) -> None:
        await connection.execute("BEGIN")
        for statement, rows in zip(statements, tables, strict=True):
            await connection.fetch(statement.postgresql, *map(list, zip(*rows, strict=True)))
        await connection.execute("COMMIT")

    writer = BareWriter(template, write)
    yield writer.submit
    await writer.stop()
    await connection.close()


def _open_sqlite(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


@asynccontextmanager
async def bare_sqlite(path: Path, template: Template) -> AsyncIterator[Submit]:
    """Start sqlite3 alone, in a thread."""
    connection = _open_sqlite(path)
    thread = ThreadPoolExecutor(1)

    def work(statements: Sequence[Statement], tables: Sequence[Sequence[Row]]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        for statement, rows in zip(statements, tables, strict=True):
            if statement.has_result:
                connection.execute(statement.sqlite, rows[0]).fetchall()
            else:
                connection.executemany(statement.sqlite, rows)
        connection.execute("COMMIT")

    async def write(statements: Sequence[Statement], tables: Sequence[Sequence[Row]]) -> None:
        await asyncio.get_running_loop().run_in_executor(thread, work, statements, tables)

    writer = BareWriter(template, write)
    yield writer.submit
    await writer.stop()
    thread.shutdown()
    connection.close()


# --- one transaction each --------------------------------------------------------------------


@asynccontextmanager
async def singly_postgresql(
    url: str, template: Template, connections_max: int
) -> AsyncIterator[Submit]:
    """Start a pool of connections, each of which writes one settlement at a time."""
    idle: asyncio.Queue[Any] = asyncio.Queue()  # asyncpg ships no types
    for _ in range(connections_max):
        idle.put_nowait(await connect(url))

    async def submit(number: int) -> None:
        tables = template.rows(number)
        connection = await idle.get()
        try:
            async with connection.transaction():
                for statement, rows in zip(STATEMENTS, tables, strict=True):
                    columns = map(list, zip(*rows, strict=True))
                    await connection.fetch(statement.postgresql, *columns)
                await connection.execute(
                    f"UPDATE {_FUND} SET balance_fen = balance_fen - $1 WHERE fund = 310", 1
                )
        finally:
            idle.put_nowait(connection)

    yield submit
    while not idle.empty():
        await idle.get_nowait().close()


@asynccontextmanager
async def singly_sqlite(path: Path, template: Template) -> AsyncIterator[Submit]:
    """Start sqlite3 in a thread, which writes one settlement at a time."""
    connection = _open_sqlite(path)
    thread = ThreadPoolExecutor(1)

    def work(tables: Sequence[Sequence[Row]]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        for statement, rows in zip(STATEMENTS, tables, strict=True):
            connection.executemany(statement.sqlite, rows)
        connection.execute(f"UPDATE {_FUND} SET balance_fen = balance_fen - 1 WHERE fund = 310")
        connection.execute("COMMIT")

    async def submit(number: int) -> None:
        await asyncio.get_running_loop().run_in_executor(thread, work, template.rows(number))

    yield submit
    thread.shutdown()
    connection.close()
