"""Stored replies expire two months after their month was closed; keys and outcomes stay for ever.

Of a reply its hash is left, by which its seal is still recomputed (`ledger/sealing.py`). STATUS
then tells state and settlement number, a repeated request its code without a body. On SQLite some
rows a transaction are changed, beside settlements; on PostgreSQL the part of a month is written
anew, which gives the room back, and put in the old one's place. The fund's own acts keep theirs.

What was noted of where requests' time went (`request_stage`, `request_felt`) goes after the same
time, whatever is closed: it is a quarter of a settlement's bytes, and nobody asks for it any more.
"""

# ruff: noqa: S608 - names of the schema's own, and numbers

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection, text

from ledger.bulk_store import Row, plain
from ledger.calendar import period_after
from ledger.database_store import Database
from ledger.entries import SEQUENCE_BITS
from ledger.partitions_store import list_parts, replace_part
from ledger.scripts import Script
from ledger.sealing import EXPIRED, EXPIRED_SIZE, OUTCOME, expired
from ledger.store_errors import StoreError, StoreUnavailableError
from ledger.tables import request

KEPT_MS = 62 * 86_400_000
"""How long replies are kept after their month was closed: two months, however long these are."""
_ROWS_A_STEP = 500  # of one transaction on SQLite: a few milliseconds
_LAST_DAY = 31
# The seal's checks name what it covers: text of MessagePack, its length before it.
_MARK = (bytes([0xA0 | len(OUTCOME)]) + OUTCOME.encode()).hex()
_OF_SEAL = (
    f"s.slot = (r.seal_no >> {SEQUENCE_BITS})"
    f" AND s.last_sequence = (r.seal_no & {(1 << SEQUENCE_BITS) - 1})"
)
_WIDE = f"r.institution_no > 0 AND length(r.body) > {EXPIRED_SIZE}"

_LAST_CLEARED = plain(
    "last period closed long enough ago",
    postgresql="SELECT max(period) FROM period WHERE is_closed = 1 AND closed_time_ms <= $1",
    sqlite="SELECT max(period) FROM period WHERE is_closed = 1 AND closed_time_ms <= ?",
)
_SOME = plain(
    "replies to expire",
    postgresql="",
    sqlite=(
        f"SELECT r.rowid, r.body FROM request r JOIN seal s ON {_OF_SEAL}"
        f" WHERE r.rowid > ? AND r.business_date <= ? AND {_WIDE}"
        f" AND instr(s.checks, x'{_MARK}') > 0 ORDER BY r.rowid LIMIT {_ROWS_A_STEP}"
    ),
)
_NOTES_A_STEP = 2_000
_NOTES = [
    plain(
        f"drop old rows of {table}",
        postgresql=(
            f"DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table}"
            f" WHERE recorded_time_ms < $1 LIMIT {_NOTES_A_STEP})) RETURNING 1"
        ),
        sqlite=(
            f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table}"
            f" WHERE recorded_time_ms < ? LIMIT {_NOTES_A_STEP}) RETURNING 1"
        ),
    )
    for table in ("request_stage", "request_felt")
]
_EXPIRE = plain(
    "expire a reply", postgresql="", sqlite="UPDATE request SET body = ? WHERE rowid = ?"
)


@dataclass(frozen=True, slots=True)
class Expired:
    """What became of it.

    Attributes:
        until: The last business day whose replies may go; 0 none yet.
        replies: How many expired now.
        notes: How many rows of where time went were dropped.
        waiting: Parts that something held; they are tried again the next time.
    """

    until: int
    replies: int
    notes: int = 0
    waiting: tuple[str, ...] = ()


async def expire_replies(
    database: Database, *, now_ms: int, on_progress: Callable[[int], None] = lambda _: None
) -> Expired:
    """Let go of the replies whose time is over; done again it finds nothing.

    Args:
        database: Started.
        now_ms: The time.
        on_progress: Told how many have expired by now.
    """
    notes = await _drop_notes(database, now_ms - KEPT_MS)
    ((last,),) = await database.fetch(_LAST_CLEARED([(now_ms - KEPT_MS,)]))
    if last is None:
        return Expired(0, 0, notes)
    until = last * 100 + _LAST_DAY
    if database.dialect == "sqlite":
        return Expired(until, await _expire_rows(database, until, on_progress), notes)
    replies, waiting = await _expire_parts(database, last, until, on_progress)
    return Expired(until, replies, notes, waiting)


async def _drop_notes(database: Database, before_ms: int) -> int:
    dropped = 0
    for statement in _NOTES:
        while rows := (await database.execute(statement([(before_ms,)])))[0]:
            dropped += len(rows)
    return dropped


async def _expire_rows(database: Database, until: int, on_progress: Callable[[int], None]) -> int:
    done = last = 0
    while True:
        after = last

        def script(after: int = after) -> Script[list[Row]]:
            rows = yield _SOME([(after, until)])
            for number, body in rows:
                yield _EXPIRE([(expired(body), number)])
            return rows

        rows = await database.transact(script)
        if not rows:
            return done
        done += len(rows)
        last = rows[-1][0]
        on_progress(done)


async def _expire_parts(
    database: Database, last: int, until: int, on_progress: Callable[[int], None]
) -> tuple[int, tuple[str, ...]]:
    parts = await database.report(lambda connection: list_parts(connection, [request]))
    done, waiting = 0, []
    for part in parts:
        month = part.name.rsplit("_", 1)[1]
        if not month.isdecimal() or int(month) >= period_after(last):
            continue
        try:
            done += await database.administer(partial(_expire_part, part=part.name, until=until))
        except StoreUnavailableError:
            raise
        except StoreError:
            waiting.append(part.name)
        on_progress(done)
    return done, tuple(waiting)


def _expire_part(connection: Connection, *, part: str, until: int) -> int:
    """Write a part anew, with hashes in place of the replies whose time is over."""
    over = (
        f"r.business_date <= {until} AND {_WIDE} AND position('\\x{_MARK}'::bytea in s.checks) > 0"
    )
    count: int = connection.execute(
        text(f"SELECT count(*) FROM {part} r JOIN seal s ON {_OF_SEAL} WHERE {over}")
    ).scalar_one()
    if count:
        columns = ", ".join(
            f"CASE WHEN {over} THEN '\\x{EXPIRED.hex()}'::bytea || sha256(r.body) ELSE r.body END"
            if column.name == "body"
            else f"r.{column.name}"
            for column in request.columns
        )
        replace_part(
            connection,
            request,
            part,
            f"SELECT {columns} FROM {part} r LEFT JOIN seal s ON {_OF_SEAL}",
        )
    return count
