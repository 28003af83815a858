"""SQLite: a writing connection with a thread of its own, and a reading one in the loop's thread.

A point read takes five microseconds in the loop's thread and a hundred through another one; a
commit waits for the disk and must not hold up the loop.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from msgspec import json
from sqlalchemy import URL, Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from ledger.bulk_store import Query, Row
from ledger.scripts import Script, run_script
from ledger.store_errors import (
    CommitUnknownError,
    ConflictError,
    ConstraintError,
    StoreError,
    StoreUnavailableError,
    UnsafeDatabaseError,
)

T = TypeVar("T")

# How long to wait for another process (administration writes in transactions under 50 ms).
_BUSY_TIMEOUT_S = 5.0
_ATTEMPTS_MAX = 5
# From here on one query with a JSON array of keys is faster than one query a key (measured: 2.7
# against 13 microseconds a key of two or four columns at 64).
_MANY_MIN = 4
_SYNCHRONOUS = ("OFF", "NORMAL", "FULL", "EXTRA")  # as SQLite numbers them


class SQLiteStore:
    """A SQLite file.

    `?synchronous=` and `?journal_mode=` in the URL are applied, and then refused when unsafe: so
    that a wish for less is answered and not overheard.
    """

    def __init__(self, url: URL) -> None:
        self._path = url.database or ":memory:"
        self._synchronous = str(url.query.get("synchronous", "FULL")).upper()
        self._journal_mode = str(url.query.get("journal_mode", "WAL")).upper()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-writer")
        self._reader: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None
        self._engine: Engine = create_engine(
            f"sqlite:///{self._path}",
            poolclass=NullPool,
            # The driver would begin transactions by itself, and not before the schema is changed.
            connect_args={"timeout": _BUSY_TIMEOUT_S, "isolation_level": None},
        )

    async def start(self) -> None:
        """Connect and check the settings."""
        try:
            await self._in_thread(self._open_writer)
            self._reader = self._connect()
        except sqlite3.Error as error:
            raise _translated(error) from error

    async def close(self) -> None:
        """Finish what is under way and disconnect."""
        await self._in_thread(self._close_writer)
        self._thread.shutdown()
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._engine.dispose()

    def connections(self) -> dict[str, tuple[int, int]]:
        """Count nothing: one connection reads, one writes."""
        return {}

    async def fetch(self, query: Query) -> list[Row]:
        """Read what is committed."""
        reader = self._reader
        assert reader is not None, "fetch before start"
        try:
            return _execute(reader, query)
        except sqlite3.Error as error:
            raise _translated(error) from error

    async def transact(self, script_factory: Callable[[], Script[T]]) -> T:
        """Run one write transaction."""
        return await self._in_thread(lambda: self._transact(script_factory))

    async def administer(self, work: Callable[[Connection], T]) -> T:
        """Run work with a SQLAlchemy connection."""

        def in_transaction() -> T:
            with _named(), self._engine.begin() as connection:
                connection.exec_driver_sql("BEGIN")
                return work(connection)

        return await self._in_thread(in_transaction)

    async def report(self, work: Callable[[Connection], T]) -> T:
        """Read with a SQLAlchemy connection, in one snapshot."""

        def in_snapshot() -> T:
            with _named(), self._engine.connect() as connection:
                connection.exec_driver_sql("BEGIN")
                return work(connection)

        # Not in the writing thread, which settlements wait for.
        return await asyncio.to_thread(in_snapshot)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        # Shielded: the thread can't be interrupted, so its work is never said to have ended.
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, work))

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, cached_statements=512
        )
        connection.execute("PRAGMA cache_size = -65536")
        return connection

    def _open_writer(self) -> None:
        writer = self._connect()
        try:
            (mode,) = writer.execute(f"PRAGMA journal_mode = {self._journal_mode}").fetchone()
            writer.execute(f"PRAGMA synchronous = {self._synchronous}")
            (level,) = writer.execute("PRAGMA synchronous").fetchone()
            _check_settings(str(mode).upper(), _SYNCHRONOUS[level])
        except BaseException:
            writer.close()
            raise
        self._writer = writer

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _transact(self, script_factory: Callable[[], Script[T]]) -> T:
        for attempt in range(1, _ATTEMPTS_MAX + 1):
            try:
                return self._transact_once(script_factory())
            except ConflictError:
                if attempt == _ATTEMPTS_MAX:
                    raise
        raise AssertionError

    def _transact_once(self, script: Script[T]) -> T:
        writer = self._writer
        assert writer is not None, "transact before start"
        try:
            writer.execute("BEGIN IMMEDIATE")
            result = run_script(script, lambda query: _execute(writer, query))
        except sqlite3.Error as error:
            _roll_back(writer)
            raise _translated(error) from error
        except BaseException:
            _roll_back(writer)
            raise
        try:
            writer.execute("COMMIT")
        except sqlite3.Error as error:
            # Where the disk is full the commit's own frame could not be written, and SQLite has
            # rolled back by itself; where the transaction is still open the commit never began.
            is_known = writer.in_transaction or _code_of(error) == sqlite3.SQLITE_FULL
            _roll_back(writer)
            if is_known:  # Nothing was recorded.
                raise _translated(error) from error
            raise CommitUnknownError(str(error)) from error
        return result


def _check_settings(journal_mode: str, synchronous: str) -> None:
    if journal_mode != "WAL":
        raise UnsafeDatabaseError("journal_mode", journal_mode, "WAL")
    if synchronous not in {"FULL", "EXTRA"}:
        raise UnsafeDatabaseError("synchronous", synchronous, "FULL")


def _execute(connection: sqlite3.Connection, query: Query) -> list[Row]:
    statement, rows = query
    found: list[Row] = []
    if statement.reads:
        return [
            tuple(_execute(connection, Query(one, some)))
            for one, some in zip(statement.reads, rows, strict=True)
        ]
    if statement.parts:
        for part, part_rows in zip(statement.parts, rows, strict=True):
            found = _execute(connection, Query(part, part_rows))
        return found
    text = statement.sqlite
    if statement.is_plain:
        assert len(rows) <= 1, "a plain statement takes one row of parameters"
        return connection.execute(text, rows[0] if rows else ()).fetchall()
    if not statement.has_result:
        connection.executemany(text, rows)
        return []
    if statement.key_count and len(rows) > 1:
        rows = list(dict.fromkeys(rows))
        if statement.sqlite_many and len(rows) >= _MANY_MIN:
            keys = json.encode(rows).decode()
            return connection.execute(statement.sqlite_many, (keys,)).fetchall()
    found = []
    for row in rows:
        found.extend(connection.execute(text, row).fetchall())
    return found


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


@contextmanager
def _named() -> Iterator[None]:
    """Name SQLAlchemy's errors, which are around SQLite's own, in our words."""
    try:
        yield
    except DBAPIError as error:
        if not isinstance(error.orig, sqlite3.Error):
            raise
        raise _translated(error.orig) from error


def _translated(error: sqlite3.Error) -> StoreError:
    match _code_of(error):
        case sqlite3.SQLITE_CONSTRAINT:
            return ConstraintError(str(error))
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return ConflictError(str(error))
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR | sqlite3.SQLITE_CANTOPEN:
            return StoreUnavailableError(str(error))
        case _:
            return StoreError(str(error))


def _code_of(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
