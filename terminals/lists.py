"""The lists that a terminal holds: revocations, catalogue, mapping, parameters, in a SQLite file.

Each page is taken whole, with the position after it, so that a download that was broken off goes
on where it stood. Losing the file loses nothing but time. Not here: downloading
(`list_updates.py`).
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum, unique
from pathlib import Path
from typing import Any, Final, Self

from msgspec import Struct, msgpack

from protocol.terminal.messages import (
    ItemRow,
    ListDownload,
    ListPage,
    ListVersion,
    MappingRow,
    Parameters,
)

SCHEMA_VERSION: Final = 1
FOREVER: Final = 99991231
_BUSY_TIMEOUT_S: Final = 5.0

_SCHEMA: Final = (
    """CREATE TABLE list (
        name TEXT PRIMARY KEY,
        version INTEGER NOT NULL,
        newest INTEGER NOT NULL,
        after BLOB NOT NULL,
        updated_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE revocation (
        kind INTEGER NOT NULL,
        subject BLOB NOT NULL,
        reason INTEGER NOT NULL,
        PRIMARY KEY (kind, subject)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE item (
        item TEXT NOT NULL,
        begins INTEGER NOT NULL,
        row BLOB NOT NULL,
        PRIMARY KEY (item, begins)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE mapping (
        local_item TEXT NOT NULL,
        begins INTEGER NOT NULL,
        row BLOB NOT NULL,
        PRIMARY KEY (local_item, begins)
    ) STRICT, WITHOUT ROWID""",
    "CREATE TABLE parameters (id INTEGER PRIMARY KEY CHECK (id = 1), row BLOB NOT NULL) STRICT",
)

# What a statement selects, which mypy can't see; whoever reads says what it is.
Row = tuple[Any, ...]

_ENCODER: Final = msgpack.Encoder()
_ITEM: Final = msgpack.Decoder(ItemRow)
_MAPPING: Final = msgpack.Decoder(MappingRow)
_PARAMETERS: Final = msgpack.Decoder(Parameters)


class ListsError(Exception):
    """The file of the lists cannot be used."""


@unique
class ListName(StrEnum):
    """The lists that there are, the most urgent first."""

    REVOCATIONS = "revocations"
    PARAMETERS = "parameters"
    MAPPING = "mapping"
    CATALOGUE = "catalogue"


_TABLES: Final = {
    ListName.REVOCATIONS: "revocation",
    ListName.PARAMETERS: "parameters",
    ListName.MAPPING: "mapping",
    ListName.CATALOGUE: "item",
}


class Held(Struct, frozen=True):
    """What is held of a list.

    Attributes:
        version: The version held whole; 0 none.
        newest: The newest one heard of.
        after: Where a download goes on; empty between two.
        updated_ms: When the last page came, by the terminal's clock; 0 never.
    """

    version: int = 0
    newest: int = 0
    after: bytes = b""
    updated_ms: int = 0

    @property
    def is_behind(self) -> bool:
        """Whether there is something to download."""
        return bool(self.after) or self.version != self.newest


NOTHING: Final = Held()


class Lists:
    """The lists of one terminal; several processes may use the file at once."""

    def __init__(self, file: Path) -> None:
        """Open the file, or make it.

        Raises:
            ListsError: It cannot be opened.
        """
        self._file = file
        try:
            file.touch(mode=0o600)
            self._connection = sqlite3.connect(file, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            raise ListsError(f"{file}: {error}; remove it, the lists come anew") from error

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    # --- what is held ---------------------------------------------------------------------------

    def held(self, name: ListName) -> Held:
        """Tell what is held of a list."""
        row = self._one("SELECT version, newest, after, updated_ms FROM list WHERE name = ?", name)
        return Held(*row) if row else NOTHING

    def count(self, name: ListName) -> int:
        """Count a list's rows."""
        row = self._one(f"SELECT count(*) FROM {_TABLES[name]}")  # noqa: S608 - a name of this file
        assert row is not None
        return int(row[0])

    def reason(self, kind: int, subject: bytes) -> int:
        """Tell why something is revoked; 0 it is not, as far as this list knows."""
        row = self._one(
            "SELECT reason FROM revocation WHERE kind = ? AND subject = ?", kind, subject
        )
        return int(row[0]) if row else 0

    def item(self, item: str, day: int) -> ItemRow | None:
        """Find what holds for an item on a day, YYYYMMDD."""
        row = self._one(
            "SELECT row FROM item WHERE item = ? AND begins <= ? ORDER BY begins DESC LIMIT 1",
            item,
            day,
        )
        found = _ITEM.decode(row[0]) if row else None
        return found if found is not None and found.ends >= day else None

    def mapped(self, local_item: str, day: int) -> MappingRow | None:
        """Find what the institution's own code stands for on a day, YYYYMMDD."""
        row = self._one(
            "SELECT row FROM mapping WHERE local_item = ? AND begins <= ?"
            " ORDER BY begins DESC LIMIT 1",
            local_item,
            day,
        )
        found = _MAPPING.decode(row[0]) if row else None
        return found if found is not None and found.ends >= day else None

    def parameters(self) -> Parameters | None:
        """Give the parameters; None before they were downloaded."""
        row = self._one("SELECT row FROM parameters")
        return _PARAMETERS.decode(row[0]) if row else None

    def limit_of(self, row: ItemRow) -> int | None:
        """Tell a price limit at this institution's level, in millionths of a yuan."""
        parameters = self.parameters()
        level = parameters.institution_level if parameters else 0
        if level < len(row.level_limits):
            return row.level_limits[level]
        return row.price_limit_microyuan

    # --- what is heard and taken ----------------------------------------------------------------

    @property
    def institution_level(self) -> int:
        """The level of institutions whose parameters are held; -1 without any."""
        parameters = self.parameters()
        return -1 if parameters is None else parameters.institution_level

    def hear(self, lists: tuple[ListVersion, ...]) -> None:
        """Note which versions are the newest; lists that this program does not know are ignored."""
        known = [(one.name, one.version) for one in lists if one.name in set(ListName)]
        with self._transaction() as connection:
            connection.executemany(
                "INSERT INTO list (name, version, newest, after, updated_ms)"
                " VALUES (?, 0, ?, x'', 0)"
                " ON CONFLICT (name) DO UPDATE SET newest = excluded.newest"
                " WHERE newest <> excluded.newest",
                known,
            )

    def request(self, name: ListName, size_max: int) -> ListDownload:
        """Say what to ask for next."""
        held = self.held(name)
        return ListDownload(name.value, held.version, held.after, size_max)

    def take(self, asked: ListDownload, page: ListPage, *, now_ms: int) -> bool:
        """Take a page, unless another process has gone on meanwhile; say whether it was taken."""
        name = ListName(page.name)
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT version, newest, after FROM list WHERE name = ?", (name,)
            ).fetchone()
            version, newest, after = row or (0, 0, b"")
            if (version, after) != (asked.version, asked.after):
                return False
            if not asked.after and page.based_on != asked.version:
                connection.execute(f"DELETE FROM {_TABLES[name]}")  # noqa: S608 - as above
                version = page.based_on
            _take_rows(connection, page)
            if page.is_last:
                version = page.version
                newest = version if name is ListName.PARAMETERS else max(newest, version)
                if page.based_on != asked.version:
                    newest = version  # the centre has begun anew
            connection.execute(
                "INSERT INTO list (name, version, newest, after, updated_ms) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET version = excluded.version,"
                " newest = excluded.newest, after = excluded.after,"
                " updated_ms = excluded.updated_ms",
                (name, version, newest, page.next, now_ms),
            )
        return True

    def forget_position(self, name: ListName) -> None:
        """Begin a list anew, where the centre does not know the position that was held."""
        with self._transaction() as connection:
            connection.execute("UPDATE list SET version = 0, after = x'' WHERE name = ?", (name,))
            connection.execute(f"DELETE FROM {_TABLES[name]}")  # noqa: S608 - as above

    # --- private --------------------------------------------------------------------------------

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")
        # What a power cut takes back is downloaded again; a page is never half there.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        with self._transaction() as connection:
            (found,) = connection.execute("PRAGMA user_version").fetchone()
            if found == 0:
                for statement in _SCHEMA:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            elif found != SCHEMA_VERSION:
                raise ListsError(
                    f"{self._file}: of layout {found}, this program knows {SCHEMA_VERSION};"
                    " remove it, the lists come anew"
                )

    def _one(self, text: str, *parameters: object) -> Row | None:
        try:
            row: Row | None = self._connection.execute(text, parameters).fetchone()
        except sqlite3.Error as error:
            raise ListsError(f"{self._file}: {error}") from error
        return row

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk has ended it already
                    self._connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise ListsError(f"{self._file}: {error}") from error


def _take_rows(connection: sqlite3.Connection, page: ListPage) -> None:
    connection.executemany(
        "DELETE FROM revocation WHERE kind = ? AND subject = ?",
        [(one.kind, one.subject) for one in page.revocations if not one.reason],
    )
    connection.executemany(
        "INSERT OR REPLACE INTO revocation VALUES (?, ?, ?)",
        [(one.kind, one.subject, one.reason) for one in page.revocations if one.reason],
    )
    connection.executemany(
        "DELETE FROM item WHERE item = ? AND begins = ?",
        [(one.item, one.begins) for one in page.items if one.is_struck],
    )
    connection.executemany(
        "INSERT OR REPLACE INTO item VALUES (?, ?, ?)",
        [(one.item, one.begins, _ENCODER.encode(one)) for one in page.items if not one.is_struck],
    )
    connection.executemany(
        "DELETE FROM mapping WHERE local_item = ? AND begins = ?",
        [(one.local_item, one.begins) for one in page.mappings if one.is_struck],
    )
    connection.executemany(
        "INSERT OR REPLACE INTO mapping VALUES (?, ?, ?)",
        [
            (one.local_item, one.begins, _ENCODER.encode(one))
            for one in page.mappings
            if not one.is_struck
        ],
    )
    if page.parameters is not None:
        connection.execute(
            "INSERT OR REPLACE INTO parameters VALUES (1, ?)", (_ENCODER.encode(page.parameters),)
        )
