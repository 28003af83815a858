"""Balances of a moment or a period's end, from postings: folded forward from snapshots.

A snapshot holds what each account's owners held at the end of a closed period. A balance of a
moment is the last snapshot before it plus the postings since, so that no history is read twice.
Nothing is locked: a closed period doesn't change any more, and settlements go on.
"""

import struct
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import IO

from msgspec import msgpack
from sqlalchemy import Connection, text

from ledger.accounts import ACCOUNTS
from ledger.bulk_store import Row, insert, plain
from ledger.calendar import Clock
from ledger.database_store import Database
from ledger.entries import SEQUENCE_BITS
from ledger.tables import balance_snapshot, balance_snapshot_period, balance_snapshot_slot
from ledger.verify_findings import NAMED_MAX, Difference, Findings, key_of

# Of one transaction: SQLite's writer is held up for a few milliseconds.
_ROWS_A_STEP = 2_000
_ROWS_READ = 5_000

_INSERT_ROWS = insert(
    balance_snapshot, ("period", "account", "owner", "balance_fen"), ignore_existing=True
)
_INSERT_SLOTS = insert(balance_snapshot_slot, ("period", "slot", "sequence"), ignore_existing=True)
_INSERT_PERIOD = insert(balance_snapshot_period, ("period", "made_time_ms"), ignore_existing=True)
_PERIODS = plain(
    "closed periods without a snapshot",
    postgresql=(
        "SELECT period FROM period p WHERE is_closed = 1 AND NOT EXISTS (SELECT 1 FROM"
        " balance_snapshot_period s WHERE s.period = p.period) ORDER BY period"
    ),
    sqlite=(
        "SELECT period FROM period p WHERE is_closed = 1 AND NOT EXISTS (SELECT 1 FROM"
        " balance_snapshot_period s WHERE s.period = p.period) ORDER BY period"
    ),
)


@dataclass(frozen=True, slots=True)
class Balance:
    """What one owner's account holds.

    Attributes:
        account: An `Account`.
        owner: Person, institution or insurance number, as the account is divided.
        balance_fen: On the account's own side: positive where it holds what such an account does.
    """

    account: int
    owner: int
    balance_fen: int


@dataclass(frozen=True, slots=True)
class AsOf:
    """Of when balances are wanted: up to a period's end, or a moment.

    Attributes:
        period: The last period, YYYYMM; None: whatever its period.
        time_ms: The moment up to which, included; None: whatever its time.
    """

    period: int | None = None
    time_ms: int | None = None


def balances_as_of(
    connection: Connection,
    wanted: AsOf,
    *,
    accounts: Collection[int] = (),
    owner: int | None = None,
) -> Iterator[Balance]:
    """Return balances by account and owner, those of zero left out; for `Database.report`.

    Args:
        connection: In one snapshot.
        wanted: Of when.
        accounts: Which ones; none: all.
        owner: Whose; None: everybody's.
    """
    postings, parameters = _postings(connection, wanted, accounts, owner)
    rows = connection.execution_options(yield_per=_ROWS_READ).execute(
        text(
            f"""
            SELECT account, owner, CAST(sum(fen) AS BIGINT) FROM ({postings}) b
            GROUP BY account, owner HAVING sum(fen) <> 0 ORDER BY account, owner
            """  # noqa: S608 - numbers of our own
        ),
        parameters,
    )
    for number, of_owner, fen in rows:
        yield Balance(number, of_owner, fen * ACCOUNTS[number].side)


def sums_as_of(
    connection: Connection, wanted: AsOf, *, accounts: Collection[int] = ()
) -> list[Balance]:
    """Return each account's balance, with the count of owners that hold something as `owner`."""
    postings, parameters = _postings(connection, wanted, accounts, None)
    rows = connection.execute(
        text(
            f"""
            SELECT account, count(*), CAST(sum(held) AS BIGINT) FROM (
                SELECT account, owner, sum(fen) AS held FROM ({postings}) b
                GROUP BY account, owner HAVING sum(fen) <> 0
            ) o GROUP BY account ORDER BY account
            """  # noqa: S608 - numbers of our own
        ),
        parameters,
    )
    return [Balance(number, owners, fen * ACCOUNTS[number].side) for number, owners, fen in rows]


async def make_snapshots(
    database: Database, clock: Clock, on_progress: Callable[[int, int], None]
) -> list[int]:
    """Make the snapshots of all closed periods that have none, in order; one done is left alone.

    It may be broken off and begun again: rows that are there already are what would be written.

    Args:
        database: Started.
        clock: The world's time.
        on_progress: Told of each period how many rows it has by now.

    Returns:
        The periods.
    """
    periods = [row[0] for row in await database.fetch(_PERIODS())]
    for period in periods:
        await _make_snapshot(database, period, clock.now_ms(), on_progress)
    return periods


async def _make_snapshot(
    database: Database, period: int, now_ms: int, on_progress: Callable[[int, int], None]
) -> None:
    # Through a file: what is read in one snapshot is written in many short transactions, and a
    # city's balances do not belong into memory.
    with tempfile.TemporaryFile(prefix="cardserver-snapshot-") as spool:

        def read(connection: Connection) -> list[Row]:
            rows: list[Row] = []
            for one in balances_as_of(connection, AsOf(period=period)):
                side = ACCOUNTS[one.account].side
                rows.append((period, one.account, one.owner, one.balance_fen * side))
                if len(rows) == _ROWS_A_STEP:
                    _spool(spool, rows)
                    rows = []
            _spool(spool, rows)
            return _ends(connection, period)

        slots = await database.report(read)
        spool.seek(0)
        done = 0
        for rows in _unspool(spool):
            await database.execute(_INSERT_ROWS(rows))
            done += len(rows)
            on_progress(period, done)
    queries = [_INSERT_PERIOD([(period, now_ms)])]
    if slots:
        queries.append(_INSERT_SLOTS(slots))
    await database.execute(*queries)


def check_snapshots(connection: Connection, *, from_period: int = 0) -> Findings:
    """Recompute each snapshot from the one before and the postings between them."""
    findings = Findings()
    rows = connection.execute(text("SELECT period FROM balance_snapshot_period ORDER BY period"))
    periods = [row[0] for row in rows]
    base = 0
    for period in periods:
        if period >= from_period:
            findings.take(_check_snapshot(connection, base, period))
        base = period
    findings.add(_check_ends(connection))
    findings.add(_check_closed(connection))
    known = ", ".join(map(str, periods)) or "0"
    strange = connection.execute(
        text(
            "SELECT period, account, owner, balance_fen FROM balance_snapshot"  # noqa: S608 - as above
            f" WHERE period NOT IN ({known})"
            " AND period NOT IN (SELECT period FROM period WHERE is_closed = 1)"
            f" ORDER BY period, account, owner LIMIT {NAMED_MAX}"
        )
    )
    findings.add(
        Difference(
            "balance_snapshot",
            key_of(period=period, account=account, owner=owner),
            "period", str(balance_fen), "a period that is closed",
        )
        for period, account, owner, balance_fen in strange
    )  # fmt: skip
    return findings


def _check_closed(connection: Connection) -> Iterator[Difference]:
    """See that what has a snapshot is closed: nothing else says that it may not be posted to."""
    rows = connection.execute(
        text(
            "SELECT s.period, p.is_closed FROM balance_snapshot_period s"
            " LEFT JOIN period p ON p.period = s.period"
            " WHERE p.is_closed IS NULL OR p.is_closed <> 1 ORDER BY s.period"
        )
    )
    for period, is_closed in rows:
        stored = "no such row" if is_closed is None else str(is_closed)
        yield Difference("period", key_of(period=period), "is_closed", stored, "1")


def _check_ends(connection: Connection) -> Iterator[Difference]:
    """See that before no slot's end in a snapshot there are entries of a later period."""
    rows = connection.execute(
        text(
            "SELECT s.period, s.slot, s.sequence, coalesce(w.sequence, 0)"
            " FROM balance_snapshot_slot s LEFT JOIN writer_slot w ON w.slot = s.slot"
            " ORDER BY s.period, s.slot"
        )
    ).fetchall()
    for period, slot, sequence, head in rows:
        if sequence > head:  # what the slot will post was not of the snapshot
            key = key_of(period=period, slot=slot)
            yield Difference(
                "balance_snapshot_slot", key, "sequence", str(sequence), f"{head} or below"
            )
            continue
        base = slot << SEQUENCE_BITS
        first_later = connection.execute(
            text(
                "SELECT min(entry_no) FROM entry"
                " WHERE entry_no > :base AND entry_no <= :end AND period > :period"
            ),
            {"base": base, "end": base + sequence, "period": period},
        ).scalar()
        if first_later is not None:
            yield Difference(
                "balance_snapshot_slot",
                key_of(period=period, slot=slot),
                "sequence",
                str(sequence),
                f"below {first_later - base}",
            )


def _check_snapshot(connection: Connection, base: int, period: int) -> Findings:
    rows = connection.execute(
        text(
            f"""
            SELECT account, owner, sum(stored), sum(fen), max(is_kept), count(*) OVER ()
            FROM (
                SELECT account, owner, balance_fen AS stored, 0 AS fen, 1 AS is_kept
                FROM balance_snapshot WHERE period = {period}
                UNION ALL
                SELECT account, owner, 0, balance_fen, 0
                FROM balance_snapshot WHERE period = {base}
                UNION ALL
                SELECT p.account, p.owner, 0, p.amount_fen, 0 FROM entry e
                JOIN posting p ON p.entry_no = e.entry_no
                WHERE e.period > {base} AND e.period <= {period}
            ) b GROUP BY account, owner
            HAVING sum(stored) <> sum(fen) OR (max(is_kept) = 1 AND sum(fen) = 0)
            ORDER BY account, owner LIMIT {NAMED_MAX}
            """  # noqa: S608 - numbers of our own
        )
    ).fetchall()
    findings = Findings()
    findings.add(
        Difference(
            "balance_snapshot",
            key_of(period=period, account=account, owner=owner),
            "balance_fen",
            str(stored) if is_kept else "no such row",
            str(recomputed) if recomputed else "no such row",
        )
        for account, owner, stored, recomputed, is_kept, _ in rows
    )
    if rows:
        findings.count = rows[0][-1]
    return findings


def _postings(
    connection: Connection, wanted: AsOf, accounts: Collection[int], owner: int | None
) -> tuple[str, dict[str, int]]:
    """Return a query of the last snapshot's balances and the postings since; its parameters."""
    parameters: dict[str, int] = {}
    base = _base(connection, wanted)
    narrow = ""
    if accounts:
        narrow += f" AND account IN ({', '.join(str(int(one)) for one in sorted(accounts))})"
    if owner is not None:
        narrow += " AND owner = :owner"
        parameters["owner"] = owner
    limits = [f"e.period > {base}"]
    if wanted.period is not None:
        limits.append("e.period <= :period")
        parameters["period"] = wanted.period
    if wanted.time_ms is not None:
        limits.append("e.recorded_time_ms <= :time_ms")
        parameters["time_ms"] = wanted.time_ms
    query = f"""
        SELECT account, owner, balance_fen AS fen FROM balance_snapshot
        WHERE period = {base}{narrow}
        UNION ALL
        SELECT p.account, p.owner, p.amount_fen FROM entry e
        JOIN posting p ON p.entry_no = e.entry_no
        WHERE ({_since(connection, base)}) AND {" AND ".join(limits)}{narrow}
    """  # noqa: S608 - numbers of our own
    return query, parameters


def _base(connection: Connection, wanted: AsOf) -> int:
    """Return the last snapshot all of whose postings are wanted; 0 where there is none."""
    limits, parameters = [], {}
    if wanted.period is not None:
        limits.append("s.period <= :period")
        parameters["period"] = wanted.period
    if wanted.time_ms is not None:
        limits.append("p.closed_time_ms <= :time_ms")
        parameters["time_ms"] = wanted.time_ms
    where = f" WHERE {' AND '.join(limits)}" if limits else ""
    last = connection.execute(
        text(
            "SELECT max(s.period) FROM balance_snapshot_period s"  # noqa: S608 - as above
            f" JOIN period p ON p.period = s.period AND p.is_closed = 1{where}"
        ),
        parameters,
    ).scalar()
    return last or 0


def _since(connection: Connection, base: int) -> str:
    """Return which entries may be of a later period than a snapshot's, by number."""
    rows = connection.execute(
        text(
            "SELECT w.slot, w.sequence, coalesce(s.sequence, 0) FROM writer_slot w"  # noqa: S608
            f" LEFT JOIN balance_snapshot_slot s ON s.slot = w.slot AND s.period = {base}"
            " ORDER BY w.slot"
        )
    )
    ranges = [
        f"e.entry_no BETWEEN {(slot << SEQUENCE_BITS) + first + 1}"
        f" AND {(slot << SEQUENCE_BITS) + last}"
        for slot, last, first in rows
        if last > first
    ]
    return " OR ".join(ranges) or "1 = 0"


def _ends(connection: Connection, period: int) -> list[Row]:
    """Return up to where each slot's entries are all of this period or before it."""
    ends: list[Row] = []
    for slot, sequence in connection.execute(
        text("SELECT slot, sequence FROM writer_slot ORDER BY slot")
    ).fetchall():
        base = slot << SEQUENCE_BITS
        before = connection.execute(
            text(
                "SELECT coalesce(max(sequence), 0) FROM balance_snapshot_slot"
                " WHERE slot = :slot AND period < :period"
            ),
            {"slot": slot, "period": period},
        ).scalar_one()
        first_later = connection.execute(
            text(
                "SELECT min(entry_no) FROM entry"
                " WHERE entry_no > :after AND entry_no <= :head AND period > :period"
            ),
            {"after": base + before, "head": base + sequence, "period": period},
        ).scalar()
        end = sequence if first_later is None else first_later - base - 1
        ends.append((period, slot, end))
    return ends


def _spool(spool: IO[bytes], rows: list[Row]) -> None:
    if rows:
        encoded = msgpack.encode(rows)
        spool.write(struct.pack(">I", len(encoded)) + encoded)


def _unspool(spool: IO[bytes]) -> Iterator[list[Row]]:
    while size := spool.read(4):
        yield [tuple(row) for row in msgpack.decode(spool.read(*struct.unpack(">I", size)))]
