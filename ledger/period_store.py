"""Periods: which are closed, and the closing of one.

A period is closed under the day's lock, taken exclusively: no group is under way while it happens,
and whatever comes later posts to the next open period (`calendar.open_period`). Not here: whether
it may be closed (`cardserver/clearing/closing.py`), the balances at its end (`balances_store.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from ledger.bulk_store import Query, plain, put
from ledger.calendar import Clock
from ledger.entries import SEQUENCE_BITS
from ledger.ledger_store import DAY_LOCK, last_closed_period
from ledger.scripts import Script
from ledger.tables import period

_LOCK_DAY_ALONE = plain(
    "lock the day alone",
    postgresql=f"SELECT pg_advisory_xact_lock({DAY_LOCK})",
    sqlite="SELECT 1",
)
_PUT_PERIOD = put(period, set=("is_closed", "closed_time_ms"), by=("period",))


@dataclass(frozen=True, slots=True)
class Period:
    """One period of which something is known.

    Attributes:
        period: YYYYMM.
        closed_time_ms: When it was closed; None while it is open.
        postings_count: How many postings it has.
        debit_fen: What they debit, which is what they credit.
    """

    period: int
    closed_time_ms: int | None
    postings_count: int
    debit_fen: int

    @property
    def is_closed(self) -> bool:
        """Whether nothing is posted to it any more."""
        return self.closed_time_ms is not None


def read_periods(connection: Connection) -> list[Period]:
    """Return the periods that have postings or are closed, in order; for `Database.report`.

    One that was passed over, because nothing was in it, is as closed as the one after it.
    """
    closed = {
        row[0]: row[1] or 0
        for row in connection.execute(
            text("SELECT period, closed_time_ms FROM period WHERE is_closed = 1")
        )
    }
    sums = {
        row[0]: (row[1], row[2])
        for row in connection.execute(
            text(
                "SELECT period, CAST(sum(count) AS BIGINT), CAST(sum(debit_fen) AS BIGINT)"
                " FROM period_total GROUP BY period"
            )
        )
    }
    last = max(closed, default=0)
    return [
        Period(
            number,
            closed.get(number, closed[last] if number < last else None),
            *sums.get(number, (0, 0)),
        )
        for number in sorted({*closed, *sums})
    ]


def numbers_of_period(connection: Connection, number: int) -> list[tuple[int, int]]:
    """Return between which entry numbers, both included, all entries of a period are.

    They lie behind each slot's end at the last snapshot of before, so that a month is read without
    reading all that was before it. Entries of later periods may be among them, and of a writer
    whose clock was behind another's also after those: the period decides.
    """
    base = connection.execute(
        text("SELECT max(period) FROM balance_snapshot_period WHERE period < :number"),
        {"number": number},
    ).scalar()
    rows = connection.execute(
        text(
            "SELECT w.slot, coalesce(b.sequence, 0), w.sequence FROM writer_slot w"
            " LEFT JOIN balance_snapshot_slot b ON b.slot = w.slot AND b.period = :base"
            " ORDER BY w.slot"
        ),
        {"base": base or 0},
    )
    return [
        ((slot << SEQUENCE_BITS) + first + 1, (slot << SEQUENCE_BITS) + last)
        for slot, first, last in rows
        if last > first
    ]


def close_period(number: int, *, clock: Clock, also: Sequence[Query] = ()) -> Script[bool]:
    """Close a period, alone among all groups; tell whether it was still open.

    Args:
        number: YYYYMM.
        clock: Tells the moment, once no group is under way that could record a later one.
        also: Written along when it is closed now.
    """
    yield _LOCK_DAY_ALONE()
    last = yield from last_closed_period()
    if last is not None and number <= last:
        return False
    for query in (_PUT_PERIOD([(number, 1, clock.now_ms())]), *also):
        _ = yield query
    return True
