"""Versioned lists in the database: rows that are only added, and published a version at a time.

Whoever changes a list claims it, adds the next version's rows in as many transactions as it takes,
and publishes them all at once; until then nobody reads them. What changed since a version is the
newest published rows above it, in an order in which one can go on from any of them. Not here:
what the rows say (`catalogue_store.py`, `mapping_store.py`), the files (`item_import.py`).
"""

# ruff: noqa: S608 - every name in a text is the schema's own, every value is a parameter

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Generic, NamedTuple, TypeVar

import msgspec
from msgspec import Struct
from sqlalchemy import Table

from cardserver.catalogue import tables
from cardserver.catalogue.values import ListNumber, ListVersion
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.values import Actor
from ledger.bulk_store import Query, Row, insert, plain
from ledger.calendar import Clock
from ledger.database_store import Database
from ledger.scripts import Script

R = TypeVar("R", bound=Struct)

# SQLite: transactions well under the 50 ms that administration may take while a centre runs.
# PostgreSQL: enough rows for the round trip not to count.
BATCH_ROWS = {"sqlite": 1_000, "postgresql": 10_000}
READ_ROWS = 5_000
# Whoever claimed a list and wrote nothing for so long has died.
CLAIM_LIFE_MS = 60_000
_CLAIM_PAUSE_S = 0.2
ACTOR_SIZE_MAX = 64
SOURCE_SIZE_MAX = 200

_CLAIM_COLUMNS = "version, claim, claimed_time_ms"
# Updating the one row locks it until commit: of two who claim at once, one comes first.
_LOCK_TEXT = (
    "INSERT INTO versioned_list (list_no, version, claim, claimed_time_ms) VALUES ({0}, 0, '', 0)"
    " ON CONFLICT (list_no) DO UPDATE SET version = versioned_list.version"
    f" RETURNING {_CLAIM_COLUMNS}"
)
_LOCK = plain(
    "lock a list", postgresql=_LOCK_TEXT.format("$1::smallint"), sqlite=_LOCK_TEXT.format("?1")
)
_CLAIM = plain(
    "claim a list",
    postgresql="UPDATE versioned_list SET claim = $2::text, claimed_time_ms = $3::bigint"
    " WHERE list_no = $1::smallint RETURNING version",
    sqlite="UPDATE versioned_list SET claim = ?2, claimed_time_ms = ?3 WHERE list_no = ?1"
    " RETURNING version",
)
_RENEW = plain(
    "renew a claim",
    postgresql="UPDATE versioned_list SET claimed_time_ms = $3::bigint"
    " WHERE list_no = $1::smallint AND claim = $2::text RETURNING version",
    sqlite="UPDATE versioned_list SET claimed_time_ms = ?3 WHERE list_no = ?1 AND claim = ?2"
    " RETURNING version",
)
_PUBLISH = plain(
    "publish a version",
    postgresql="UPDATE versioned_list SET version = $3::integer, claim = '', claimed_time_ms = 0"
    " WHERE list_no = $1::smallint AND claim = $2::text RETURNING version",
    sqlite="UPDATE versioned_list SET version = ?3, claim = '', claimed_time_ms = 0"
    " WHERE list_no = ?1 AND claim = ?2 RETURNING version",
)
_VERSION = plain(
    "version of a list",
    postgresql="SELECT version FROM versioned_list WHERE list_no = $1::smallint",
    sqlite="SELECT version FROM versioned_list WHERE list_no = ?1",
)
_ADD_VERSION = insert(tables.list_version, [one.name for one in tables.list_version.columns])
_VERSIONS = plain(
    "versions of a list",
    postgresql="SELECT version, made_time_ms, actor, source, added, changed FROM list_version"
    " WHERE list_no = $1::smallint ORDER BY version",
    sqlite="SELECT version, made_time_ms, actor, source, added, changed FROM list_version"
    " WHERE list_no = ?1 ORDER BY version",
)


class ListBusyError(AdministrationError):
    """Someone else is changing the list now."""


class Position(NamedTuple):
    """Up to where a list's changes were read: the last row's version, name and first day."""

    version: int
    name: str = ""
    begins: int = 0


class VersionedList(Generic[R]):
    """One list's statements: of one table, whose columns are the fields of one type of row.

    Args:
        number: Which list.
        table: Where its rows are.
        row_type: What they are as values.
        name: The key's column beside `begins`.
        owner: The column that parts it into lists of their own, or empty.
    """

    def __init__(
        self, number: ListNumber, table: Table, row_type: type[R], *, name: str, owner: str = ""
    ) -> None:
        self.number = number
        self._row_type = row_type
        fields = row_type.__struct_fields__
        self.name_index = fields.index(name)
        self.begins_index = fields.index("begins")
        self._insert = insert(table, [*fields, "version"])
        keys = [one for one in (owner, name, "begins") if one]
        same = " AND ".join(f"n.{one} = c.{one}" for one in keys)
        of_owner = f"c.{owner} = {{5}} AND" if owner else ""
        text = (
            f"SELECT c.version, {', '.join(f'c.{one}' for one in fields)}"
            f" FROM {table.name} c WHERE {of_owner}"
            f" (c.version, c.{name}, c.begins) > ({{0}}, {{1}}, {{2}}) AND c.version <= {{3}}"
            f" AND NOT EXISTS (SELECT 1 FROM {table.name} n"
            f" WHERE {same} AND n.version > c.version AND n.version <= {{3}})"
            f" ORDER BY c.version, c.{name}, c.begins LIMIT {{4}}"
        )
        types = ("integer", "text", "integer", "integer", "integer", "integer")
        self._page = plain(
            f"changes of {table.name}",
            postgresql=text.format(*(f"${at}::{kind}" for at, kind in enumerate(types, 1))),
            sqlite=text.format(*(f"?{at}" for at in range(1, 7))),
        )
        where = " AND ".join(f"{one} = {{{at}}}" for at, one in enumerate(keys[:-1]))
        history = (
            f"SELECT version, {', '.join(fields)} FROM {table.name} WHERE {where}"
            " ORDER BY begins, version"
        )
        key_types = ("integer", "text") if owner else ("text",)
        self._history = plain(
            f"history of {table.name}",
            postgresql=history.format(*(f"${at}::{kind}" for at, kind in enumerate(key_types, 1))),
            sqlite=history.format(*(f"?{at}" for at in range(1, 3))),
        )
        shed = (
            f"DELETE FROM {table.name} WHERE ({', '.join(keys)}) IN (SELECT {', '.join(keys)}"
            f" FROM {table.name} WHERE version = {{0}} LIMIT {{1}}) AND version = {{0}} RETURNING 1"
        )
        self._shed = plain(
            f"shed unpublished rows of {table.name}",
            postgresql=shed.format("$1::integer", "$2::integer"),
            sqlite=shed.format("?1", "?2"),
        )

    async def newest(self, database: Database) -> int:
        """Return the newest published version; 0 before the first."""
        rows = await database.fetch(_VERSION([(int(self.number),)]))
        return rows[0][0] if rows else 0

    async def page(
        self,
        database: Database,
        after: Position,
        *,
        until: int,
        rows_max: int,
        owner_no: int | None = None,
    ) -> list[tuple[int, R]]:
        """Read the rows that come after a position, up to a version, each with its own.

        A row that a later one of the same key has replaced is left out: the later one comes in
        its own place.
        """
        parameters: tuple[object, ...] = (*after, until, rows_max)
        if owner_no is not None:
            parameters = (*parameters, owner_no)
        rows = await database.fetch(self._page([parameters]))
        make = self._row_type
        return [(row[0], make(*row[1:])) for row in rows]

    async def changes(self, database: Database, since: int, until: int) -> AsyncIterator[list[R]]:
        """Give what changed after a version up to another one, page by page."""
        after = Position(since + 1)
        while True:
            rows = await self.page(database, after, until=until, rows_max=READ_ROWS)
            if rows:
                after = self.position_of(*rows[-1])
                yield [row for _, row in rows]
            if len(rows) < READ_ROWS:
                return

    def position_of(self, version: int, row: R) -> Position:
        """Say where a row stands."""
        values = msgspec.structs.astuple(row)
        return Position(version, values[self.name_index], values[self.begins_index])

    async def history(self, database: Database, *key: object) -> list[tuple[int, R]]:
        """Read all that was ever published of a name, by first day and version."""
        newest = await self.newest(database)
        rows = await database.fetch(self._history([key]))
        make = self._row_type
        return [(row[0], make(*row[1:])) for row in rows if row[0] <= newest]

    async def versions(self, database: Database) -> list[ListVersion]:
        """Read who made which version, when and of what."""
        rows = await database.fetch(_VERSIONS([(int(self.number),)]))
        return [ListVersion(*row) for row in rows]

    # --- changing ------------------------------------------------------------------------------

    async def claim(self, database: Database, clock: Clock) -> "Claim[R]":
        """Begin the next version, and remove what one left that was never published.

        Raises:
            ListBusyError: Someone else is at it, and didn't finish within a minute.
        """
        token = secrets.token_hex(16)
        number = int(self.number)

        def script() -> Script[int | None]:
            ((version, claim, claimed_ms),) = yield _LOCK([(number,)])
            now_ms = clock.now_ms()
            if claim and now_ms - claimed_ms < CLAIM_LIFE_MS:
                return None
            yield _CLAIM([(number, token, now_ms)])
            found: int = version
            return found

        until_ms = clock.monotonic_ms() + CLAIM_LIFE_MS
        while (version := await database.transact(script)) is None:
            if clock.monotonic_ms() > until_ms:
                raise ListBusyError("another import of this list is under way: wait for it")
            await asyncio.sleep(_CLAIM_PAUSE_S)
        claim = Claim(self, database, token, version, clock)
        await claim.shed()
        return claim

    def add(self, rows: Sequence[R], version: int) -> Query:
        """Add rows to a version."""
        return self._insert([(*msgspec.structs.astuple(row), version) for row in rows])

    def remove(self, version: int, rows_max: int) -> Query:
        """Remove rows of a version that was never published."""
        return self._shed([(version, rows_max)])


class Claim(Generic[R]):
    """The right to make a list's next version.

    Attributes:
        version: The newest one published.
    """

    def __init__(
        self, of: VersionedList[R], database: Database, token: str, version: int, clock: Clock
    ) -> None:
        self._list = of
        self._database = database
        self._token = token
        self._clock = clock
        self.version = version

    async def shed(self) -> None:
        """Remove what another one added and never published."""
        size = BATCH_ROWS[self._database.dialect]

        def script() -> Script[list[Row]]:
            yield from self._renewed()
            return (yield self._list.remove(self.version + 1, size))

        while await self._database.transact(script):
            pass

    async def add(self, rows: Sequence[R]) -> None:
        """Add rows to the version to come, in a transaction of their own each batch."""
        size = BATCH_ROWS[self._database.dialect]
        for start in range(0, len(rows), size):

            def script(batch: Sequence[R] = rows[start : start + size]) -> Script[None]:
                yield from self._renewed()
                yield self._list.add(batch, self.version + 1)

            await self._database.transact(script)

    async def publish(self, actor: Actor, source: str, *, added: int, changed: int) -> int:
        """Make the version that all read from now on; return its number."""
        version = self.version + 1
        number = int(self._list.number)
        row = (
            number, version, actor.now_ms, actor.name[:ACTOR_SIZE_MAX], source[:SOURCE_SIZE_MAX],
            added, changed,
        )  # fmt: skip

        def script() -> Script[bool]:
            published = yield _PUBLISH([(number, self._token, version)])
            if published:
                yield _ADD_VERSION([row])
            return bool(published)

        if not await self._database.transact(script):
            raise ListBusyError("another import has taken the list over; nothing was published")
        return version

    async def release(self) -> None:
        """Give the claim back without a new version."""
        number = int(self._list.number)

        def script() -> Script[None]:
            yield _PUBLISH([(number, self._token, self.version)])

        await self._database.transact(script)

    def _renewed(self) -> Script[None]:
        number = int(self._list.number)
        if not (yield _RENEW([(number, self._token, self._clock.now_ms())])):
            raise ListBusyError("another import has taken the list over; nothing was published")
