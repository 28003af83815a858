"""The attempts that must not be forgotten: written to the disk before they are sent.

SQLite in WAL mode with `synchronous=FULL`, so that what was written before a sending is there
after any crash. An attempt is never deleted. Not here: what is done about one in doubt
(`attempts.py`).
"""

import datetime as dt
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum, unique
from pathlib import Path
from typing import Final, Self

from msgspec import Struct, convert

from protocol.terminal.messages import MessageType, Reply

SCHEMA_VERSION: Final = 1
_BUSY_TIMEOUT_S: Final = 5.0
_FULL: Final = 2

_SCHEMA: Final = (
    """CREATE TABLE msgid_block (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        position_end INTEGER NOT NULL
    ) STRICT""",
    "INSERT INTO msgid_block VALUES (1, 0)",
    """CREATE TABLE attempt (
        msgid TEXT PRIMARY KEY,
        type INTEGER NOT NULL,
        body BLOB NOT NULL,
        card_session BLOB NOT NULL,
        psn_no TEXT NOT NULL,
        holder TEXT NOT NULL,
        original TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        state TEXT NOT NULL,
        sends INTEGER NOT NULL,
        sends_unanswered INTEGER NOT NULL,
        looks INTEGER NOT NULL,
        worked_until_ms INTEGER NOT NULL,
        code INTEGER NOT NULL,
        reply_body BLOB NOT NULL,
        setl_id TEXT NOT NULL,
        business_date TEXT NOT NULL,
        ended_by TEXT NOT NULL,
        ended_ms INTEGER NOT NULL,
        prints INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX attempt_open ON attempt (created_ms) WHERE state IN ('pending', 'unknown')",
    "CREATE INDEX attempt_setl_id ON attempt (setl_id) WHERE setl_id <> ''",
    """CREATE TABLE event (
        msgid TEXT NOT NULL,
        time_ms INTEGER NOT NULL,
        what TEXT NOT NULL,
        detail TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX event_msgid ON event (msgid)",
)

# What a later version added; made where it is missing, and of no concern to an earlier one.
_ADDED: Final = (
    "CREATE INDEX IF NOT EXISTS attempt_day ON attempt (business_date)",
    """CREATE INDEX IF NOT EXISTS attempt_undated ON attempt (msgid)
        WHERE business_date = '' AND state IN ('settled', 'reversed')""",
    """CREATE TABLE IF NOT EXISTS reconciled_day (
        business_date TEXT PRIMARY KEY,
        outcome INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
)


class OutboxError(Exception):
    """The outbox cannot be used; nothing may be sent without it."""


@unique
class AttemptState(Enum):
    """What is known of an attempt."""

    PENDING = "pending"
    """Written, perhaps sent; its first answer is still awaited."""
    UNKNOWN = "unknown"
    """Sent, and its answer was lost: the centre may have acted on it."""
    SETTLED = "settled"
    """The centre did it."""
    REFUSED = "refused"
    """The centre did not do it, and no copy of it is on its way."""
    REVERSED = "reversed"
    """Whatever became of it, it does not stand."""

    @property
    def is_open(self) -> bool:
        """Whether something must still be done about it."""
        return self in {AttemptState.PENDING, AttemptState.UNKNOWN}


class Attempt(Struct, frozen=True, kw_only=True):
    """One attempt as the disk holds it.

    Attributes:
        msgid: Its name, the same on every repetition.
        type: Its `MessageType`.
        body: Its body's bytes, the same on every repetition.
        card_session: What it was sent with; a later one may take its place.
        psn_no: Whose card it is, where that is known.
        holder: Their masked name, for the receipt.
        original: The msgid that a REVERSE undoes; else empty.
        created_ms: The terminal's clock when it was written.
        state: What is known.
        sends: Copies sent, counted before each sending.
        sends_unanswered: Copies that may still be on their way.
        looks: How often its doubt was looked into.
        worked_until_ms: Until when a process is busy with it.
        code: Its final `ResponseCode`, or the last one that left it open; -1 none.
        reply_body: The reply's body.
        setl_id: Its settlement, if it made one.
        business_date: The fund's day, ISO 8601; empty while open.
        ended_by: `reply`, `late reply`, `status`, `repetition`, `reversal`, `cancel`, `refund`
            or `not sent`; empty while open.
        ended_ms: The terminal's clock when it ended.
        prints: How often its receipt was begun to be printed.
    """

    msgid: str
    type: MessageType
    body: bytes
    card_session: bytes = b""
    psn_no: str = ""
    holder: str = ""
    original: str = ""
    created_ms: int
    state: AttemptState = AttemptState.PENDING
    sends: int = 1
    sends_unanswered: int = 1
    looks: int = 0
    worked_until_ms: int = 0
    code: int = -1
    reply_body: bytes = b""
    setl_id: str = ""
    business_date: str = ""
    ended_by: str = ""
    ended_ms: int = 0
    prints: int = 0


class Ending(Struct, frozen=True, kw_only=True):
    """What ended an attempt.

    Attributes:
        state: SETTLED, REFUSED or REVERSED.
        code: Its `ResponseCode`.
        reply_body: The reply's body; empty where none is known.
        setl_id: Its settlement, if it made one.
        business_date: The fund's day.
        by: As `Attempt.ended_by`.
    """

    state: AttemptState
    code: int
    by: str
    reply_body: bytes = b""
    setl_id: str = ""
    business_date: dt.date | None = None


class Event(Struct, frozen=True):
    """One thing that happened to an attempt."""

    time_ms: int
    what: str
    detail: str


_COLUMNS: Final = Attempt.__struct_fields__
_SELECT: Final = f"SELECT {', '.join(_COLUMNS)} FROM attempt"  # noqa: S608 - our own names
_INSERT: Final = (
    f"INSERT INTO attempt ({', '.join(_COLUMNS)})"  # noqa: S608 - our own names
    f" VALUES ({', '.join('?' * len(_COLUMNS))})"
)


class Outbox:
    """The attempts of one terminal; several processes may share the file."""

    def __init__(self, file: Path) -> None:
        """Open the outbox, and make it where there is none.

        Raises:
            OutboxError: The file cannot be used safely.
        """
        self._file = file
        try:
            file.touch(mode=0o600)
            self._database = sqlite3.connect(file, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            raise OutboxError(f"{file}: {error}") from error

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    # --- msgids -------------------------------------------------------------------------------

    def reserve_msgids(self, position: int, count: int) -> int:
        """Reserve msgid positions for ever, none before `position` (see `msgids.py`)."""
        with self._transaction() as database:
            ((end,),) = database.execute("SELECT position_end FROM msgid_block").fetchall()
            start = max(int(end), position)
            database.execute("UPDATE msgid_block SET position_end = ?", (start + count,))
        return start

    # --- the life of an attempt ---------------------------------------------------------------

    def add(self, attempt: Attempt) -> None:
        """Write a new attempt; on return it is on the disk and may be sent once."""
        values = [_plain(getattr(attempt, column)) for column in _COLUMNS]
        with self._transaction() as database:
            database.execute(_INSERT, values)
            _note(database, attempt.msgid, attempt.created_ms, "written", attempt.type.name)

    def note_send(self, msgid: str, now_ms: int) -> None:
        """Count a repetition before it is sent."""
        with self._transaction() as database:
            database.execute(
                "UPDATE attempt SET sends = sends + 1, sends_unanswered = sends_unanswered + 1"
                " WHERE msgid = ?",
                (msgid,),
            )
            _note(database, msgid, now_ms, "sent again", "")

    def note_refused_copy(self, msgid: str, now_ms: int, reply: Reply) -> None:
        """Record that a copy was answered, by a code that says nothing of other copies."""
        with self._transaction() as database:
            database.execute(
                "UPDATE attempt SET sends_unanswered = max(0, sends_unanswered - 1), code = ?"
                " WHERE msgid = ?",
                (reply.code, msgid),
            )
            _note(database, msgid, now_ms, "copy refused", str(reply.code))

    def note_unsent(self, msgid: str, now_ms: int, reason: str) -> None:
        """Record that the copy counted last never left this terminal."""
        with self._transaction() as database:
            database.execute(
                "UPDATE attempt SET sends = max(0, sends - 1),"
                " sends_unanswered = max(0, sends_unanswered - 1) WHERE msgid = ?",
                (msgid,),
            )
            _note(database, msgid, now_ms, "not sent", reason)

    def note_doubt(self, msgid: str, now_ms: int, reason: str) -> None:
        """Record that its answer was lost."""
        with self._transaction() as database:
            database.execute(
                "UPDATE attempt SET state = 'unknown', looks = looks + 1"
                " WHERE msgid = ? AND state IN ('pending', 'unknown')",
                (msgid,),
            )
            _note(database, msgid, now_ms, "in doubt", reason)

    def end(self, msgid: str, now_ms: int, ending: Ending) -> Attempt:
        """Record what ended it. A settlement may still become REVERSED; nothing else changes."""
        assert not ending.state.is_open
        business_date = ending.business_date.isoformat() if ending.business_date else ""
        with self._transaction() as database:
            before = self._get(msgid)
            if before.state.is_open or ending.state is AttemptState.REVERSED:
                database.execute(
                    "UPDATE attempt SET state = ?, code = ?, reply_body = ?, setl_id = ?,"
                    " business_date = ?, ended_by = ?, ended_ms = ?, sends_unanswered = 0,"
                    " worked_until_ms = 0 WHERE msgid = ?",
                    (
                        ending.state.value,
                        ending.code,
                        ending.reply_body or before.reply_body,
                        ending.setl_id or before.setl_id,
                        business_date or before.business_date,
                        ending.by,
                        now_ms,
                        msgid,
                    ),
                )
                _note(database, msgid, now_ms, ending.state.value, f"{ending.code} {ending.by}")
        return self.get(msgid)

    def claim(self, msgid: str, now_ms: int, until_ms: int) -> bool:
        """Take an open attempt to work on, unless another process has it."""
        with self._transaction() as database:
            changed = database.execute(
                "UPDATE attempt SET worked_until_ms = ? WHERE msgid = ?"
                " AND state IN ('pending', 'unknown')"
                # A claim that ends twice as far off as this one is of before a clock was set back.
                " AND (worked_until_ms <= ? OR worked_until_ms > ?)",
                (until_ms, msgid, now_ms, 2 * until_ms - now_ms),
            ).rowcount
        return changed == 1

    def release(self, msgid: str) -> None:
        """Give it back."""
        with self._transaction() as database:
            database.execute("UPDATE attempt SET worked_until_ms = 0 WHERE msgid = ?", (msgid,))

    def use_card_session(self, msgid: str, card_session: bytes) -> None:
        """Repeat it with a newer card session from now on."""
        with self._transaction() as database:
            database.execute(
                "UPDATE attempt SET card_session = ? WHERE msgid = ?", (card_session, msgid)
            )

    def begin_print(self, msgid: str, now_ms: int) -> int:
        """Count a print before it begins; give how many were begun before."""
        with self._transaction() as database:
            prints = self._get(msgid).prints
            database.execute("UPDATE attempt SET prints = prints + 1 WHERE msgid = ?", (msgid,))
            _note(database, msgid, now_ms, "print begun", f"{prints} before")
        return prints

    def note_reconciled(self, business_date: str, outcome: int) -> None:
        """Record that a day is over and nothing of it is open any more."""
        with self._transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO reconciled_day VALUES (?, ?)", (business_date, outcome)
            )

    # --- looking ------------------------------------------------------------------------------

    def get(self, msgid: str) -> Attempt:
        """Give one attempt.

        Raises:
            KeyError: There is none of this msgid.
        """
        with self._faults():
            return self._get(msgid)

    def find(self, name: str) -> Attempt | None:
        """Find an attempt by msgid or by the number of the settlement that it made."""
        with self._faults():
            row = self._database.execute(
                f"{_SELECT} WHERE msgid = ?"
                # Said twice, for the index holds only those that have a number.
                f" UNION ALL {_SELECT} WHERE setl_id = ? AND setl_id <> '' LIMIT 1",
                (name, name),
            ).fetchone()
        return None if row is None else _attempt(row)

    def newest(self, types: Sequence[MessageType], *, settled_only: bool = False) -> Attempt | None:
        """Give the attempt written last among some types, by msgids: the clock may be set back."""
        marks = ", ".join("?" * len(types))
        settled = "AND state = 'settled'" if settled_only else ""
        with self._faults():
            row = self._database.execute(
                f"{_SELECT} WHERE type IN ({marks}) {settled} ORDER BY msgid DESC LIMIT 1",
                [type_.value for type_ in types],
            ).fetchone()
        return None if row is None else _attempt(row)

    def settled_since(self, type_: MessageType, psn_no: str, business_date: str) -> list[Attempt]:
        """Give what stands of a person since a day, the newest first."""
        with self._faults():
            rows = self._database.execute(
                f"{_SELECT} WHERE business_date >= ? AND type = ? AND psn_no = ?"
                " AND state = 'settled' ORDER BY msgid DESC",
                (business_date, type_.value, psn_no),
            ).fetchall()
        return [_attempt(row) for row in rows]

    def open_attempts(self) -> list[Attempt]:
        """Give all about which something must still be done, the oldest first."""
        with self._faults():
            rows = self._database.execute(
                f"{_SELECT} WHERE state IN ('pending', 'unknown') ORDER BY created_ms, msgid"
            ).fetchall()
        return [_attempt(row) for row in rows]

    def depth(self, but: str = "") -> tuple[int, int]:
        """Say about how many something must still be done, and when the oldest was written.

        Args:
            but: Of an attempt that is left out, as it is being sent.
        """
        with self._faults():
            ((count, oldest_ms),) = self._database.execute(
                "SELECT count(*), coalesce(min(created_ms), 0) FROM attempt"
                " WHERE state IN ('pending', 'unknown') AND msgid <> ?",
                (but,),
            ).fetchall()
        return int(count), int(oldest_ms)

    def latest(self, count: int) -> list[Attempt]:
        """Give the attempts written last, the newest first."""
        with self._faults():
            rows = self._database.execute(
                f"{_SELECT} ORDER BY msgid DESC LIMIT ?", (count,)
            ).fetchall()
        return [_attempt(row) for row in rows]

    def of_day(self, business_date: str, types: Sequence[int]) -> list[Attempt]:
        """Give what the centre did on a day, and what it did on one that was never heard."""
        marks = ", ".join("?" * len(types))
        with self._faults():
            rows = self._database.execute(
                f"{_SELECT} WHERE business_date = ? AND type IN ({marks})"
                " AND state IN ('settled', 'reversed')"
                # Named, for SQLite would look through all refusals, which have no day either.
                f" UNION ALL {_SELECT} INDEXED BY attempt_undated"
                f" WHERE business_date = '' AND type IN ({marks})"
                " AND state IN ('settled', 'reversed') ORDER BY msgid",
                [business_date, *types, *types],
            ).fetchall()
        return [_attempt(row) for row in rows]

    def days_to_reconcile(self, types: Sequence[int], *, first: str) -> list[str]:
        """Give the days on which the centre did something and that did not agree yet, in order.

        Args:
            types: Of which attempts.
            first: No day before this one, ISO 8601.
        """
        marks = ", ".join("?" * len(types))
        with self._faults():
            rows = self._database.execute(
                f"SELECT DISTINCT business_date FROM attempt WHERE type IN ({marks})"  # noqa: S608
                " AND state IN ('settled', 'reversed') AND business_date >= ?"
                " AND business_date NOT IN (SELECT business_date FROM reconciled_day)"
                " ORDER BY business_date",
                [*types, first],
            ).fetchall()
        return [row[0] for row in rows]

    def events(self, msgid: str) -> list[Event]:
        """Give what happened to an attempt, in order."""
        with self._faults():
            rows = self._database.execute(
                "SELECT time_ms, what, detail FROM event WHERE msgid = ? ORDER BY rowid", (msgid,)
            ).fetchall()
        return [Event(*row) for row in rows]

    # --- private ------------------------------------------------------------------------------

    def _prepare(self) -> None:
        database = self._database
        ((mode,),) = database.execute("PRAGMA journal_mode = WAL").fetchall()
        database.execute("PRAGMA synchronous = FULL")
        ((synchronous,),) = database.execute("PRAGMA synchronous").fetchall()
        if mode != "wal" or synchronous != _FULL:
            raise OutboxError(f"{self._file}: SQLite refuses WAL with synchronous=FULL here")
        with self._transaction():
            ((version,),) = database.execute("PRAGMA user_version").fetchall()
            if version == 0:
                for statement in _SCHEMA:
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            elif version != SCHEMA_VERSION:
                raise OutboxError(
                    f"{self._file}: made by a version of another layout ({version}),"
                    f" this one knows {SCHEMA_VERSION}"
                )
            for statement in _ADDED:
                database.execute(statement)

    def _get(self, msgid: str) -> Attempt:
        row = self._database.execute(f"{_SELECT} WHERE msgid = ?", (msgid,)).fetchone()
        if row is None:
            raise KeyError(msgid)
        return _attempt(row)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._faults():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # a full disk has ended it already
                    self._database.execute("ROLLBACK")
                raise

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise OutboxError(f"{self._file}: {error}") from error


def _note(database: sqlite3.Connection, msgid: str, time_ms: int, what: str, detail: str) -> None:
    database.execute("INSERT INTO event VALUES (?, ?, ?, ?)", (msgid, time_ms, what, detail))


def _plain(value: str | bytes | int | AttemptState) -> str | bytes | int:
    return value.value if isinstance(value, AttemptState) else value


def _attempt(row: Sequence[object]) -> Attempt:
    return convert(dict(zip(_COLUMNS, row, strict=True)), Attempt)
