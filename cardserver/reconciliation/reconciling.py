"""A day reconciled: totals first, then row by row, and what is to be done about each difference.

Both steps may come as often as one likes; what they say is what is true now. Not here: how the
institution's side came (`handlers/reconcile.py`, `importing.py`).
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from cardserver.claims.values import request_key
from cardserver.reconciliation.comparison import (
    Key,
    Unlike,
    compare_totals,
    key_of,
    overall,
    unlike_rows,
)
from cardserver.reconciliation.day_store import Scope, day_rows, day_totals, terminals_of
from cardserver.reconciliation.known_store import Known, known_of
from cardserver.reconciliation.record_store import count_open, keep_differences, record_run
from cardserver.reconciliation.values import Origin, Run
from ledger.calendar import business_date
from ledger.database_store import Database
from ledger.ledger_store import RequestKey
from protocol.terminal.messages import (
    RECONCILE_ROWS_MAX,
    DayTotal,
    DifferenceKind,
    ReconcileAdvice,
    Reconciled,
    ReconcileDetailed,
    ReconcileOutcome,
    ReconcileRow,
    RowDifference,
    RowKey,
    RowState,
    StatusState,
)

DAY_ENDS_AFTER_MS = 60_000
"""A day's last group commits well within a minute after midnight; then its sums stand."""
CLEARING_TYPES = frozenset({11, 21, 41})


def is_under_way(day: int, now_ms: int, timezone: dt.tzinfo) -> bool:
    """Tell whether something may still be done on a day (YYYYMMDD)."""
    return day >= business_date(now_ms - DAY_ENDS_AFTER_MS, timezone)


@dataclass(frozen=True, slots=True)
class Page:
    """An institution's rows from one of them on.

    Attributes:
        after: The row after which they come; None: with the first.
        rows: In the order of their keys, none left out between them.
        is_last: Whether no more come after them.
    """

    after: Key | None
    rows: Sequence[ReconcileRow]
    is_last: bool


async def reconcile(
    database: Database,
    scope: Scope,
    totals: Iterable[DayTotal],
    origin: Origin,
    *,
    is_provisional: bool,
) -> Reconciled:
    """Compare totals, keep what came of it, and say whether rows are to follow."""
    compared = compare_totals(await day_totals(database, scope), totals)
    outcome = overall(compared)
    run_no, open_count = await record_run(
        database, scope, origin, compared, outcome=outcome, is_provisional=is_provisional
    )
    return Reconciled(
        reconcile_id=str(run_no),
        outcome=outcome,
        is_provisional=is_provisional,
        wants_detail=outcome is not ReconcileOutcome.EQUAL or open_count > 0,
        compared=compared,
        open_count=open_count,
    )


async def reconcile_page(
    database: Database, run: Run, page: Page, *, now_ms: int
) -> ReconcileDetailed:
    """Compare a page of rows with the centre's of the same range; keep what differs.

    Of a day that is not over nothing is kept: what is under way is no difference yet.
    """
    scope = Scope(run.institution_no, run.terminal_no, run.business_date)
    centre = await database.report(
        lambda connection: list(
            day_rows(connection, scope, after=page.after, limit=RECONCILE_ROWS_MAX + 1)
        )
    )
    # Up to which row both sides are known; None: to the end.
    until = None if page.is_last else key_of(page.rows[-1])
    if len(centre) > RECONCILE_ROWS_MAX:
        centre = centre[:RECONCILE_ROWS_MAX]
        last = key_of(centre[-1].row)
        until = last if until is None else min(until, last)
    unlike = list(
        unlike_rows(
            (one for one in centre if until is None or key_of(one.row) <= until),
            (one for one in page.rows if until is None or key_of(one) <= until),
            is_one_terminals=scope.is_one_terminals,
        )
    )
    advised = await advise(database, scope, unlike, is_provisional=run.is_provisional)
    if run.is_provisional:
        open_count = await count_open(database, scope)
    else:
        open_count = await keep_differences(
            database,
            run,
            list(zip(unlike, advised, strict=True)),
            now_ms=now_ms,
            after=page.after,
            until=until,
        )
    return ReconcileDetailed(
        differences=tuple(advised),
        next_after=None if until is None else RowKey(*until),
        open_count=open_count,
    )


async def advise(
    database: Database, scope: Scope, unlike: Sequence[Unlike], *, is_provisional: bool
) -> list[RowDifference]:
    """Say of each difference what the institution does next."""
    wanted: dict[int, RequestKey] = {}
    if any(one.kind is DifferenceKind.ONLY_INSTITUTION for one in unlike):
        terminals = await terminals_of(database, scope.institution_no)
        for index, one in enumerate(unlike):
            row = one.institution
            if one.kind is DifferenceKind.ONLY_INSTITUTION and row and row.terminal in terminals:
                wanted[index] = request_key(
                    scope.institution_no, terminals[row.terminal], row.msgid
                )
    known: Mapping[RequestKey, Known] = {}
    if wanted:
        known = await database.fetch_script(known_of(wanted.values()))
    return [
        _advised(
            one, scope, known.get(wanted[index], Known()) if index in wanted else None,
            is_provisional=is_provisional,
        )
        for index, one in enumerate(unlike)
    ]  # fmt: skip


def _advised(
    unlike: Unlike, scope: Scope, known: Known | None, *, is_provisional: bool
) -> RowDifference:
    match unlike.kind:
        case DifferenceKind.ONLY_CENTRE:
            advice = ReconcileAdvice.STATUS
        case DifferenceKind.AMOUNTS_DIFFER:
            assert unlike.centre is not None
            assert unlike.institution is not None
            has_other_number = unlike.institution.setl_id not in {"", unlike.centre.setl_id}
            advice = ReconcileAdvice.ASK_FUND if has_other_number else ReconcileAdvice.STATUS
        case DifferenceKind.STATE_DIFFERS:
            assert unlike.centre is not None
            is_undone = unlike.centre.state is RowState.UNDONE
            advice = ReconcileAdvice.STATUS if is_undone else ReconcileAdvice.REVERSE
        case DifferenceKind.ONLY_INSTITUTION:
            return _advised_unknown(unlike, scope, known, is_provisional=is_provisional)
        case _:
            assert_never(unlike.kind)
    return RowDifference(unlike.kind, advice, unlike.centre, unlike.institution)


def _advised_unknown(
    unlike: Unlike, scope: Scope, known: Known | None, *, is_provisional: bool
) -> RowDifference:
    """Advise on a row that only the institution has, by what became of its msgid here."""
    assert unlike.institution is not None
    if known is None:  # of a terminal that nobody enrolled
        return RowDifference(unlike.kind, ReconcileAdvice.ASK_FUND, None, unlike.institution)
    if known.state is StatusState.NOT_SEEN:
        # An undoing is repeated until it is answered; a settlement of a day that is over has no
        # patient any more, and its reversal makes sure that it won't come late.
        repeats = unlike.institution.is_refund or is_provisional
        advice = ReconcileAdvice.REPEAT if repeats else ReconcileAdvice.REVERSE
    elif known.is_settlement and known.business_date == scope.day:
        advice = ReconcileAdvice.ASK_FUND
    else:
        advice = ReconcileAdvice.CORRECT
    return RowDifference(
        unlike.kind, advice, None, unlike.institution, known.state, known.code, known.date
    )
