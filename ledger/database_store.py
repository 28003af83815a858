"""One database, SQLite or PostgreSQL, behind the same few calls.

Not here: how statements are worded (`bulk_store.py`); the two ways of running them
(`sqlite_store.py`, `postgresql_store.py`).
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Protocol, Self, TypeVar

from sqlalchemy import Connection, make_url

from ledger.bulk_store import Query, Row
from ledger.chain_store import chained
from ledger.scripts import Script
from ledger.sqlite_store import SQLiteStore

T = TypeVar("T")


class Store(Protocol):
    """What each kind of database offers; see `Database` for what the calls mean."""

    async def start(self) -> None:
        """Connect and check the settings."""
        ...

    async def close(self) -> None:
        """Finish what is under way and disconnect."""
        ...

    def connections(self) -> dict[str, tuple[int, int]]:
        """Count the connections of each pool."""
        ...

    async def fetch(self, query: Query) -> list[Row]:
        """Read what is committed."""
        ...

    async def transact(self, script_factory: Callable[[], Script[T]]) -> T:
        """Run one write transaction."""
        ...

    async def administer(self, work: Callable[[Connection], T]) -> T:
        """Run work with a SQLAlchemy connection."""
        ...

    async def report(self, work: Callable[[Connection], T]) -> T:
        """Read with a SQLAlchemy connection, in one snapshot."""
        ...


class Database:
    """A database, opened by its URL.

    Attributes:
        url: As given, without a password.
        dialect: "sqlite" or "postgresql".
    """

    def __init__(self, url: str, dialect: str, store: Store) -> None:
        self.url = url
        self.dialect = dialect
        self._store = store

    @classmethod
    def open(cls, url: str, password: str = "", *, readers_max: int = 4) -> Self:
        """Name a database; nothing is connected before `start`.

        Args:
            url: `sqlite:///path` or `postgresql+asyncpg://user@host/name`; `?host=/directory`
                names a Unix socket's directory, `?host=a:5432&host=b:5432` several servers.
            password: Kept apart from the URL, so that no log shows it.
            readers_max: Connections for reading; PostgreSQL only.
        """
        parsed = make_url(url)
        match parsed.get_backend_name():
            case "sqlite":
                return cls(url, "sqlite", SQLiteStore(parsed))
            case "postgresql":
                if password:
                    parsed = parsed.set(password=password)
                # asyncpg and what goes with it would cost every command on SQLite 0.2 s.
                store: Store = import_module("ledger.postgresql_store").PostgreSQLStore(
                    parsed, readers_max
                )
                return cls(url, "postgresql", store)
            case other:
                raise ValueError(f"a database of kind {other} is not served, in {url}")

    async def start(self) -> None:
        """Connect, and refuse settings that could lose what was answered.

        Raises:
            UnsafeDatabaseError: Naming the setting.
            StoreUnavailableError: If it can't be reached.
        """
        await self._store.start()

    def connections(self) -> dict[str, tuple[int, int]]:
        """Count the connections of each pool: at work and idle."""
        return self._store.connections()

    async def close(self) -> None:
        """Finish what is under way and disconnect."""
        await self._store.close()

    async def fetch(self, query: Query) -> list[Row]:
        """Read what is committed. Reads of one moment by the same statement share a round trip.

        Raises:
            StoreError: As the family says.
        """
        return await self._store.fetch(query)

    async def fetch_script(self, script: Script[T]) -> T:
        """Run a script of reads, each seeing what is committed by then."""
        try:
            query = next(script)
            while True:
                query = script.send(await self._store.fetch(query))
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            script.close()

    async def transact(self, script_factory: Callable[[], Script[T]]) -> T:
        """Run one write transaction; on return it is durable.

        It is begun again with a new script after a deadlock or a conflict, so the scripts must
        leave nothing behind but their result. It ends, also when the caller is cancelled. On
        SQLite the script runs in the writing thread. Rows to be numbered (`chain_store.py`) are
        chained at its end.

        Args:
            script_factory: Makes the generator that yields queries and is sent their rows.

        Raises:
            CommitUnknownError: If the connection ended during the commit.
            StoreError: As the family says; then nothing was recorded.
        """
        return await self._store.transact(lambda: chained(script_factory()))

    async def execute(self, *queries: Query) -> list[list[Row]]:
        """Run these in one write transaction; return each one's rows."""

        def script() -> Script[list[list[Row]]]:
            results: list[list[Row]] = [[] for _ in queries]
            for index, query in enumerate(queries):
                results[index] = yield query
            return results

        return await self.transact(script)

    async def administer(self, work: Callable[[Connection], T]) -> T:
        """Run work with a SQLAlchemy connection, in a transaction that is committed on return.

        For migrations and administration; while a centre runs on SQLite, it keeps to transactions
        under 50 ms.

        Raises:
            StoreError: As the family says; a commit whose connection ended may have been recorded.
        """
        return await self._store.administer(work)

    async def report(self, work: Callable[[Connection], T]) -> T:
        """Read with a SQLAlchemy connection, in one snapshot of what is committed.

        It may take its time: it holds up no settlement.

        Raises:
            StoreError: As the family says.
        """
        return await self._store.report(work)


def in_batches(rows: Sequence[Row], size_max: int) -> list[Sequence[Row]]:
    """Cut rows into batches for statements of a bounded size."""
    return [rows[start : start + size_max] for start in range(0, len(rows), size_max)]
