"""PostgreSQL through asyncpg: pinned connections, reads of one moment shared.

A pooled connection is reset at each return, which costs two thirds of a point read; ours stay with
one owner. Reads queue by statement, and a free connection takes all that wait for one statement
with one `= ANY`.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import URL, Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from ledger.bulk_store import Query, Row, Statement, arrays_count, queries_of
from ledger.months import Span
from ledger.postgresql_arrays import ARRAY_TYPES
from ledger.scripts import Script
from ledger.store_errors import (
    CommitUnknownError,
    ConflictError,
    ConstraintError,
    StoreError,
    StoreUnavailableError,
    UnsafeDatabaseError,
)

T = TypeVar("T")

_WRITERS_MAX = 4
_REPORTS_MAX = 8  # each has a connection of its own, of which a server has a hundred or so
_CONNECT_TIMEOUT_S = 10.0
_STATEMENT_TIMEOUT_S = 60.0
_ATTEMPTS_MAX = 10
_KEYS_MAX = 4096  # of one shared read
_NO_SPAN: Span = (0, 0)
_BAD_ARGUMENT = "invalid input for query argument"  # the driver's own words, before the value

APPLICATION_NAME = "cardserver"
"""By which a centre's connections are known in `pg_stat_activity`."""

# Statements here read by key. A plan made for an empty table must not stay a sequential scan or
# a hash join when the table has grown, and planning anew each time costs more than it gives.
_SETTINGS = {
    "application_name": APPLICATION_NAME,
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
_SAFE = {"fsync": ("on",), "full_page_writes": ("on",)}
_SAFE_COMMITS = ("on", "local", "remote_write", "remote_apply")

# asyncpg ships no types.
_Asyncpg = Any
_Waiter = tuple[Query, asyncio.Future[list[Row]]]


class PostgreSQLStore:
    """A PostgreSQL database."""

    def __init__(self, url: URL, readers_max: int) -> None:
        self._readers_max = readers_max
        self._engine: AsyncEngine = create_async_engine(url, poolclass=NullPool)
        _, self._connect_arguments = self._engine.dialect.create_connect_args(url)
        self._idle_readers: list[_Asyncpg] = []
        self._idle_writers: list[_Asyncpg] = []
        self._readers_count = 0
        self._writing_count = 0
        self._writer_places = asyncio.Semaphore(_WRITERS_MAX)
        self._report_places = asyncio.Semaphore(_REPORTS_MAX)
        self._waiting: dict[Statement, deque[_Waiter]] = {}
        self._is_pump_due = False
        self._tasks: set[asyncio.Task[Any]] = set()  # of any result
        self._is_closing = False

    async def start(self) -> None:
        """Connect and check the settings."""
        self._idle_writers.append(await self._connect())
        self._idle_readers.append(await self._connect())
        self._readers_count = 1

    async def close(self) -> None:
        """Finish what is under way and disconnect."""
        self._is_closing = True
        while self._tasks:
            await asyncio.wait(set(self._tasks))
        for connection in [*self._idle_readers, *self._idle_writers]:
            if not connection.is_closed():
                try:
                    await connection.close(timeout=_CONNECT_TIMEOUT_S)
                except (OSError, asyncpg.PostgresError, TimeoutError):
                    connection.terminate()
        self._idle_readers.clear()
        self._idle_writers.clear()
        await self._engine.dispose()

    def connections(self) -> dict[str, tuple[int, int]]:
        """Count the connections for reading and for writing: at work and idle."""
        readers, writers = len(self._idle_readers), len(self._idle_writers)
        return {
            "read": (self._readers_count - readers, readers),
            "write": (self._writing_count, writers),
        }

    async def fetch(self, query: Query) -> list[Row]:
        """Read what is committed."""
        future: asyncio.Future[list[Row]] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(query.statement, deque()).append((query, future))
        if not self._is_pump_due:
            self._is_pump_due = True
            asyncio.get_running_loop().call_soon(self._pump)
        return await future

    async def transact(self, script_factory: Callable[[], Script[T]]) -> T:
        """Run one write transaction."""
        # Shielded: a request that is given up does not leave half a transaction behind.
        return await asyncio.shield(self._task(self._transact(script_factory)))

    async def administer(self, work: Callable[[Connection], T]) -> T:
        """Run work with a SQLAlchemy connection."""

        async def in_transaction() -> T:
            async with self._engine.begin() as connection:
                return await connection.run_sync(work)

        return await _guard(in_transaction())

    async def report(self, work: Callable[[Connection], T]) -> T:
        """Read with a SQLAlchemy connection, in one snapshot."""
        engine = self._engine.execution_options(isolation_level="REPEATABLE READ")

        async def in_snapshot() -> T:
            async with self._report_places, engine.connect() as connection:
                return await connection.run_sync(work)

        return await _guard(in_snapshot())

    async def _connect(self) -> _Asyncpg:
        try:
            connection = await asyncpg.connect(
                **self._connect_arguments,
                timeout=_CONNECT_TIMEOUT_S,
                command_timeout=_STATEMENT_TIMEOUT_S,
                statement_cache_size=512,
                max_cached_statement_lifetime=0,
                server_settings=_SETTINGS,
            )
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise StoreUnavailableError(f"cannot connect: {error}") from error
        try:
            _use_our_arrays(connection)
            await _check_settings(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    def _task(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:  # as asyncio types them
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- reading ---------------------------------------------------------------------------

    def _pump(self) -> None:
        """Give what waits to the connections that are free."""
        self._is_pump_due = False
        while self._waiting and (self._idle_readers or self._readers_count < self._readers_max):
            statement = next(iter(self._waiting))
            waiters = self._waiting[statement]
            batch = _take(waiters, statement)
            # What is left goes to the end, so that no statement starves another.
            del self._waiting[statement]
            if waiters:
                self._waiting[statement] = waiters
            connection = self._idle_readers.pop() if self._idle_readers else None
            if connection is None:
                self._readers_count += 1
            self._task(self._read(connection, statement, batch))

    async def _read(
        self, connection: _Asyncpg | None, statement: Statement, batch: list[_Waiter]
    ) -> None:
        try:
            for attempt in (1, 2):
                try:
                    if connection is None or connection.is_closed():
                        connection = await self._connect()
                    await _share(connection, statement, batch)
                    break
                except StoreUnavailableError:
                    if connection is not None:
                        connection.terminate()
                    # A connection that died idle: one fresh one is tried.
                    if attempt == 2:  # noqa: PLR2004 - the last
                        raise
        except Exception as error:  # noqa: BLE001 - whatever it is, someone waits for it
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
        finally:
            if connection is None or connection.is_closed():
                self._readers_count -= 1
            else:
                self._idle_readers.append(connection)
            self._pump()

    # --- writing ---------------------------------------------------------------------------

    async def _transact(self, script_factory: Callable[[], Script[T]]) -> T:
        async with self._writer_places:
            connection = self._idle_writers.pop() if self._idle_writers else None
            is_proven = False  # An idle connection may have died unseen.
            self._writing_count += 1
            try:
                for attempt in range(1, _ATTEMPTS_MAX + 1):
                    if connection is None or connection.is_closed():
                        connection = await self._connect()
                        is_proven = True
                    try:
                        return await _transact_once(connection, script_factory())
                    except ConflictError:
                        is_proven = True
                        if attempt == _ATTEMPTS_MAX:
                            raise
                        await asyncio.sleep(0.001 * attempt)
                    except StoreUnavailableError:
                        if is_proven:
                            raise
                        connection.terminate()
                raise AssertionError
            finally:
                self._writing_count -= 1
                if connection is not None and not connection.is_closed():
                    self._idle_writers.append(connection)


def _use_our_arrays(connection: _Asyncpg) -> None:
    """Have columns packed by `postgresql_arrays`; the driver's own call takes no array types."""
    settings = connection._protocol.get_settings()  # noqa: SLF001 - what `set_type_codec` calls
    for array in ARRAY_TYPES:
        settings.add_python_codec(
            array.oid, array.name, "pg_catalog", [], "scalar", array.encode, array.decode, "binary"
        )


async def _check_settings(connection: _Asyncpg) -> None:
    for setting, safe in {**_SAFE, "synchronous_commit": _SAFE_COMMITS}.items():
        found = await connection.fetchval(f"SHOW {setting}")
        if found not in safe:
            raise UnsafeDatabaseError(setting, found, "on")


def _take(waiters: deque[_Waiter], statement: Statement) -> list[_Waiter]:
    """Take what one round trip may answer; a plain statement's queries are not shared."""
    if not statement.key_count:
        return [waiters.popleft()]
    batch: list[_Waiter] = []
    keys = 0
    while waiters and (not batch or keys + len(waiters[0][0].rows) <= _KEYS_MAX):
        batch.append(waiters.popleft())
        keys += len(batch[-1][0].rows)
    return batch


async def _share(connection: _Asyncpg, statement: Statement, batch: list[_Waiter]) -> None:
    if len(batch) == 1:
        query, future = batch[0]
        found = await _execute(connection, query)
        if not future.done():
            future.set_result(found)
        return
    if statement.reads:
        await _share_at_once(connection, statement, batch)
        return
    rows = [row for query, _ in batch for row in query.rows]
    found = await _execute(connection, Query(statement, rows))
    by_key: dict[Row, list[Row]] = {}
    for row in found:
        by_key.setdefault(row[: statement.key_count], []).append(row)
    for query, future in batch:
        if not future.done():
            keys = dict.fromkeys(query.rows)
            future.set_result([row for key in keys for row in by_key.get(key, ())])


async def _share_at_once(connection: _Asyncpg, statement: Statement, batch: list[_Waiter]) -> None:
    places = range(len(statement.reads))
    rows = [[row for query, _ in batch for row in query.rows[place]] for place in places]
    found = await _execute(connection, Query(statement, list(map(tuple, rows))))
    by_key: list[dict[Row, list[Row]]] = []
    for one, some in zip(statement.reads, found, strict=True):
        keyed: dict[Row, list[Row]] = {}
        for row in some:
            keyed.setdefault(row[: one.key_count], []).append(row)
        by_key.append(keyed)
    for query, future in batch:
        if not future.done():
            future.set_result([
                found[place]  # a plain one has no keys, and the same rows for all
                if statement.reads[place].is_plain
                else tuple(
                    row
                    for key in dict.fromkeys(query.rows[place])
                    for row in by_key[place].get(key, ())
                )
                for place in places
            ])  # fmt: skip


async def _transact_once(connection: _Asyncpg, script: Script[T]) -> T:
    try:
        result = await _run(connection, script)
    except BaseException:
        await _roll_back(connection)
        raise
    try:
        await _guard(connection.execute("COMMIT"))
    except StoreUnavailableError as error:
        connection.terminate()
        raise CommitUnknownError(str(error)) from error
    return result


async def _run(connection: _Asyncpg, script: Script[T]) -> T:
    """Begin a transaction and run the script in it; a first query that `opens` goes with BEGIN."""
    try:
        query = next(script)
        if query.statement.opens:
            await _guard(connection.execute(f"BEGIN; {query.statement.postgresql}"))
            query = script.send([])
        else:
            await _guard(connection.execute("BEGIN"))
        while True:
            query = script.send(await _execute(connection, query))
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        script.close()


async def _roll_back(connection: _Asyncpg) -> None:
    if connection.is_closed():
        return
    try:
        await _guard(connection.execute("ROLLBACK"))
    except StoreError:
        connection.terminate()


async def _execute(connection: _Asyncpg, query: Query) -> list[Row]:
    statement, rows = query
    if statement.is_plain:
        assert len(rows) <= 1, "a plain statement takes one row of parameters"
        arguments = rows[0] if rows else ()
        found = await _guard(connection.fetch(statement.postgresql, *arguments))
        return list(map(tuple, found))
    if statement.reads:
        return await _execute_at_once(connection, query)
    if not rows:
        return []
    if statement.key_count and len(rows) > 1:
        rows = list(dict.fromkeys(rows))
    if statement.span_of is not None:
        return await _execute_by_month(connection, statement, statement.span_of, rows)
    columns = [
        list(column)
        for part_rows in (rows if statement.parts else (rows,))
        for column in zip(*part_rows, strict=True)
    ]
    found = await _guard(connection.fetch(statement.postgresql, *columns))
    return list(map(tuple, found))


async def _execute_at_once(connection: _Asyncpg, query: Query) -> list[Row]:
    arguments: list[Any] = []  # of whatever types they have
    for one, rows in zip(query.statement.reads, query.rows, strict=True):
        spans = {one.span_of(row) for row in rows} if one.span_of is not None else set()
        if len(spans) > 1:
            return [tuple(await _execute(connection, some)) for some in queries_of(query)]
        if rows:
            arguments += map(list, zip(*dict.fromkeys(rows), strict=True))
        else:
            arguments += [[]] * arrays_count(one)
        if one.span_of is not None:  # in the text the arrays come first, and so they do here
            arguments += spans.pop() if spans else _NO_SPAN
    found: list[list[Row]] = [[] for _ in query.statement.reads]
    for number, row in await _guard(connection.fetch(query.statement.postgresql, *arguments)):
        found[number].append(row)
    return list(map(tuple, found))


async def _execute_by_month(
    connection: _Asyncpg,
    statement: Statement,
    span_of: Callable[[Row], Span],
    rows: Sequence[Row],
) -> list[Row]:
    """Read from one month's part at a time; the rows of a query are hardly ever of two."""
    by_span: dict[Span, list[Row]] = {}
    for row in rows:
        by_span.setdefault(span_of(row), []).append(row)
    found: list[Row] = []
    for span, some in by_span.items():
        columns = map(list, zip(*some, strict=True))
        found += map(tuple, await _guard(connection.fetch(statement.postgresql, *span, *columns)))
    return found


async def _guard(work: Coroutine[Any, Any, T]) -> T:  # as asyncio types them
    """Await the driver, and name its errors in our words."""
    try:
        return await work
    except DBAPIError as error:  # SQLAlchemy's, around the driver's own
        named = _in_our_words(error.orig and error.orig.__cause__)
        raise named or StoreError(type(error.orig).__name__) from error
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InternalClientError,
            asyncpg.InterfaceError) as error:  # fmt: skip
        raise _in_our_words(error) or StoreError(type(error).__name__) from error


def _in_our_words(error: BaseException | None) -> StoreError | None:
    """Name an error of the driver; None where it is none that we know."""
    match error:
        case asyncpg.SerializationError() | asyncpg.DeadlockDetectedError():
            return ConflictError(_said(error))
        case asyncpg.exceptions.DataError():  # before InterfaceError, which a part of it is
            return StoreError(_said(error))
        case asyncpg.IntegrityConstraintViolationError():
            return ConstraintError(_said(error))
        case (
            OSError()
            | TimeoutError()
            | asyncpg.InterfaceError()
            | asyncpg.InternalClientError()  # as of a connection ended by the server while idle
            | asyncpg.PostgresConnectionError()
            | asyncpg.OperatorInterventionError()
            | asyncpg.InsufficientResourcesError()
            | asyncpg.CannotConnectNowError()
            | asyncpg.ReadOnlySQLTransactionError()
        ):
            return StoreUnavailableError(_said(error))
        case asyncpg.PostgresError():
            return StoreError(_said(error))
        case _:
            return None


def _said(error: BaseException) -> str:
    """Say what the driver said, without the row that it was said of: rows hold people."""
    if isinstance(error, asyncpg.PostgresError) and error.args:
        said = str(error.args[0])  # its text would go on with DETAIL, the whole row at times
        return said.partition(": ")[0] if said.startswith(_BAD_ARGUMENT) else said
    return str(error) or type(error).__name__
