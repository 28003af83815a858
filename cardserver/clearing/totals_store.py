"""A month's sums: as the writers kept them, and recomputed from every posting of the month.

Both are read in one snapshot, and must agree before anything is cleared. The database makes the
sums; what comes back is as many rows as there are institutions. Not here: what they come to
(`calculation.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, text

from cardserver.clearing.calculation import MonthTotals
from ledger.accounts import Account
from ledger.entries import SEQUENCE_BITS, EntryKind
from ledger.period_store import numbers_of_period
from ledger.verify_findings import NAMED_MAX, Difference, key_of

_PAYABLE = int(Account.INSTITUTION_PAYABLE)
_PERSONAL = int(Account.PERSONAL_ACCOUNT)
_BENEFITS_FROM = int(Account.POOL_BENEFIT)
_UNDOING = (EntryKind.CANCELLATION, EntryKind.REVERSAL, EntryKind.REFUND)
_AFTER_CLEARING = frozenset(
    {
        EntryKind.CLEARING,
        EntryKind.PAYMENT,
        EntryKind.PAYMENT_RETURNED,
        EntryKind.DEPOSIT_RELEASED,
    }
)
"""Kinds that move what was cleared before; payments answer for them."""
_KEYS = ("slot", "business_date", "account", "institution_no", "clearing_type", "kind")

Place = tuple[int, int]
"""An institution's number and a clearing type."""


@dataclass(frozen=True, slots=True)
class Sum:
    """What the payables of one place were debited and credited by one kind of entry."""

    debit_fen: int
    credit_fen: int
    count: int


@dataclass(slots=True)
class Recomputed:
    """A month as its postings say.

    Attributes:
        totals: By place.
        funds_fen: By place, what each insurance bears; personal accounts are insurance 0.
        postings_count: On payables.
        owed_fen: Payables' credits less debits.
        differences: Rows that the writers kept and the postings contradict, or the other way.
        differences_count: How many there are; only the first are named.
    """

    totals: dict[Place, MonthTotals] = field(default_factory=dict)
    funds_fen: dict[Place, dict[int, int]] = field(default_factory=dict)
    postings_count: int = 0
    owed_fen: int = 0
    differences: list[Difference] = field(default_factory=list)
    differences_count: int = 0


def kept_totals(
    connection: Connection, month: int, *, institution_no: int | None = None
) -> dict[Place, MonthTotals]:
    """Return a month's sums as the writers kept them; `earlier_fen` is not among them.

    Args:
        connection: In a snapshot.
        month: YYYYMM.
        institution_no: One institution's; None: everyone's.
    """
    narrow = "" if institution_no is None else " AND institution_no = :institution_no"
    parameters = {"month": month}
    if institution_no is not None:
        parameters["institution_no"] = institution_no
    statement = (
        "SELECT institution_no, clearing_type, kind, CAST(sum(debit_fen) AS BIGINT),"  # noqa: S608
        " CAST(sum(credit_fen) AS BIGINT), CAST(sum(count) AS BIGINT) FROM period_total"
        f" WHERE period = :month AND account = {_PAYABLE}{narrow}"
        " GROUP BY institution_no, clearing_type, kind"
    )
    rows = connection.execute(text(statement), parameters)
    sums: dict[Place, dict[int, Sum]] = {}
    for number, clearing_type, kind, debit_fen, credit_fen, count in rows:
        of_place = sums.setdefault((number, clearing_type), {})
        of_place[kind] = Sum(debit_fen, credit_fen, count)
    return {place: _totals(of_place, 0) for place, of_place in sums.items() if _counts(of_place)}


def recompute(connection: Connection, month: int) -> Recomputed:
    """Sum up every posting of a month, and compare with the sums that were kept."""
    found = Recomputed()
    sums: dict[Place, dict[int, Sum]] = {}
    numbers = numbers_of_period(connection, month)
    for part, *row in connection.execute(text(_recompute_text(numbers)), {"month": month}):
        if part == 0:
            found.differences.append(_difference(month, row))
            found.differences_count = row[-1]
            continue
        _, _, account, number, clearing_type, kind, fund, debit_fen, credit_fen, count, *_ = row
        place = (number, clearing_type)
        if account == _PAYABLE:
            sums.setdefault(place, {})[kind] = Sum(debit_fen, credit_fen, count)
            found.postings_count += count
            found.owed_fen += credit_fen - debit_fen
        elif kind == EntryKind.SETTLEMENT or kind in _UNDOING:
            of_place = found.funds_fen.setdefault(place, {})
            of_place[fund] = of_place.get(fund, 0) + debit_fen - credit_fen
    earlier = _earlier(connection, month, numbers)
    found.totals = {
        place: _totals(of_place, earlier.get(place, 0))
        for place, of_place in sums.items()
        if _counts(of_place)
    }
    return found


def _counts(sums: Mapping[int, Sum]) -> bool:
    return any(kind not in _AFTER_CLEARING for kind in sums)


def _totals(sums: Mapping[int, Sum], earlier_fen: int) -> MonthTotals:
    nothing = Sum(0, 0, 0)
    settled = sums.get(EntryKind.SETTLEMENT, nothing)
    undone = [sums.get(kind, nothing) for kind in _UNDOING]
    review = sums.get(EntryKind.REVIEW_DEDUCTION, nothing)
    known = {EntryKind.SETTLEMENT, EntryKind.REVIEW_DEDUCTION, *_UNDOING, *_AFTER_CLEARING}
    return MonthTotals(
        settled_count=settled.count,
        settled_fen=settled.credit_fen - settled.debit_fen,
        undone_count=sum(one.count for one in undone),
        undone_fen=sum(one.credit_fen - one.debit_fen for one in undone),
        earlier_fen=earlier_fen,
        review_fen=review.debit_fen - review.credit_fen,
        other_fen=sum(
            one.credit_fen - one.debit_fen for kind, one in sums.items() if kind not in known
        ),
    )


def _earlier(
    connection: Connection, month: int, numbers: Sequence[tuple[int, int]]
) -> dict[Place, int]:
    """Return what the month took back of settlements of earlier months."""
    rows = connection.execute(
        text(
            f"""
            SELECT u.institution_no, u.clearing_type, CAST(-sum(p.amount_fen) AS BIGINT)
            FROM entry u JOIN entry o ON o.entry_no = u.undoes
            JOIN posting p ON p.entry_no = u.entry_no AND p.account = {_PAYABLE}
            WHERE {_among("u", numbers)} AND u.period = :month AND u.undoes IS NOT NULL
            AND o.period < :month AND u.kind IN ({", ".join(str(int(kind)) for kind in _UNDOING)})
            GROUP BY u.institution_no, u.clearing_type
            """  # noqa: S608 - numbers of our own
        ),
        {"month": month},
    )
    return {(row[0], row[1]): row[2] for row in rows}


def _difference(month: int, row: list[int]) -> Difference:
    key = dict(zip(_KEYS, row[:6], strict=True))
    kept, made, is_kept, is_made = row[7:10], row[10:13], row[13], row[14]
    return Difference(
        "period_total",
        key_of(period=month, **key),
        "debit_fen, credit_fen, count",
        ", ".join(map(str, kept)) if is_kept else "no such row",
        ", ".join(map(str, made)) if is_made else "no such row",
    )


def _among(table: str, numbers: Sequence[tuple[int, int]]) -> str:
    """Say of a table that its entry number is in one of the ranges."""
    ranges = [f"{table}.entry_no BETWEEN {first} AND {last}" for first, last in numbers]
    return f"({' OR '.join(ranges)})" if ranges else "1 = 0"


def _recompute_text(numbers: Sequence[tuple[int, int]]) -> str:
    keys = ", ".join(_KEYS)
    differ = " OR ".join(f"sum(k{index}) <> sum(r{index})" for index in range(3))
    sums = ", ".join(
        f"CAST(sum({side}{index}) AS BIGINT) AS {side}{index}"
        for side in "kr"
        for index in range(3)
    )
    # One reading of the postings serves both parts: the fine sums are compared with the kept ones,
    # and added up to those of places. Part 0 comes first, so that a difference is told first.
    return f"""
        WITH fine AS MATERIALIZED (
            SELECT CAST(e.entry_no >> {SEQUENCE_BITS} AS INTEGER) AS slot, e.business_date,
                   p.account, e.institution_no, e.clearing_type, e.kind,
                   CASE WHEN p.account >= {_BENEFITS_FROM} THEN p.owner ELSE 0 END AS fund,
                   sum(CASE WHEN p.amount_fen > 0 THEN p.amount_fen ELSE 0 END) AS debit_fen,
                   sum(CASE WHEN p.amount_fen < 0 THEN -p.amount_fen ELSE 0 END) AS credit_fen,
                   count(*) AS count
            FROM entry e JOIN posting p ON p.entry_no = e.entry_no
            WHERE {_among("e", numbers)} AND {_among("p", numbers)} AND e.period = :month
            GROUP BY 1, 2, 3, 4, 5, 6, 7
        )
        SELECT * FROM (
            SELECT 0 AS part, {keys}, 0 AS fund, {sums}, max(is_kept) AS is_kept,
                   max(is_made) AS is_made, count(*) OVER () AS differing
            FROM (
                SELECT {keys}, debit_fen AS k0, credit_fen AS k1, count AS k2, 0 AS r0, 0 AS r1,
                       0 AS r2, 1 AS is_kept, 0 AS is_made
                FROM period_total WHERE period = :month
                UNION ALL
                SELECT {keys}, 0, 0, 0, debit_fen, credit_fen, count, 0, 1 FROM fine
            ) both_sides GROUP BY {keys}
            HAVING max(is_kept) = 0 OR max(is_made) = 0 OR {differ}
            ORDER BY {keys} LIMIT {NAMED_MAX}
        ) differing
        UNION ALL
        SELECT 1, 0, 0, account, institution_no, clearing_type, kind, fund,
               CAST(sum(debit_fen) AS BIGINT), CAST(sum(credit_fen) AS BIGINT),
               CAST(sum(count) AS BIGINT), 0, 0, 0, 0, 0, 0
        FROM fine
        WHERE institution_no <> 0 AND (account = {_PAYABLE} OR account = {_PERSONAL}
              OR account >= {_BENEFITS_FROM})
        GROUP BY account, institution_no, clearing_type, kind, fund
        """  # noqa: S608 - numbers of our own
