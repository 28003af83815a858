"""A day as this terminal did it: rows of its attempts, as they are reconciled with the centre.

A row belongs to the business date of the reply that told of it. Pure; not here: where attempts are
kept (`outbox.py`), and how rows are compared (`reconciling.py`).
"""

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from msgspec.structs import replace

from protocol.terminal.bodies import decode_request_body
from protocol.terminal.messages import (
    DayTotal,
    MessageType,
    ReconcileRow,
    Refunded,
    Reverse,
    Reversed,
    ReverseResult,
    RowKey,
    RowState,
    Settled,
    Split,
)
from terminals.attempt_endings import reply_body_of
from terminals.outbox import Attempt, AttemptState

JOURNAL_TYPES: Final = (
    MessageType.SETTLE,
    MessageType.CANCEL,
    MessageType.REFUND,
    MessageType.REVERSE,
)
"""The types of the attempts that make rows."""


class DatedRow(NamedTuple):
    """A row and its business date, ISO 8601."""

    day: str
    row: ReconcileRow


def key_of(row: ReconcileRow | RowKey) -> tuple[str, str, bool]:
    """Return what names a row; rows are sent in the order of their keys."""
    return row.msgid, row.terminal, row.is_refund


def rows_of(
    attempt: Attempt, *, terminal: str, zone: dt.tzinfo, original: Settled | None = None
) -> Iterator[DatedRow]:
    """Give the rows that an attempt made: none, one, or of a refund two.

    Args:
        attempt: As the outbox has it.
        terminal: This terminal's code.
        zone: The fund's, for a reply that came without its business date.
        original: For a REVERSE the settlement that it undid.
    """
    if attempt.state not in {AttemptState.SETTLED, AttemptState.REVERSED}:
        return
    is_undone = attempt.state is AttemptState.REVERSED
    body = reply_body_of(attempt)
    state = RowState.UNDONE if is_undone else RowState.STANDS
    match body:
        case Settled():
            is_refund = bool(body.cancels)
            yield DatedRow(
                attempt.business_date or day_of(body.settled_time_ms, zone),
                _row(
                    attempt, terminal, body.setl_id, body.clearing_type, body.split,
                    RowState.STANDS if is_refund else state,
                    is_refund=is_refund,
                ),
            )  # fmt: skip
        case Refunded():
            day = attempt.business_date or day_of(body.settled_time_ms, zone)
            undone = _row(
                attempt, terminal, body.undo_setl_id, body.clearing_type, body.given_back,
                RowState.STANDS, is_refund=True,
            )  # fmt: skip
            undone = negative(undone)
            if body.remaining is not None:
                left = _row(
                    attempt, terminal, body.setl_id, body.clearing_type, body.remaining, state,
                    is_refund=False,
                )  # fmt: skip
                yield DatedRow(day, left)
                undone = _less(undone, left)
            yield DatedRow(day, undone)
        case Reversed(result=ReverseResult.REVERSED) if original is not None:
            undone = _row(
                attempt, terminal, body.undo_setl_id, original.clearing_type, original.split,
                RowState.STANDS, is_refund=True,
            )  # fmt: skip
            yield DatedRow(attempt.business_date, negative(undone))


def reversed_of(attempt: Attempt) -> Reverse | None:
    """Give what a REVERSE that undid something had asked for; None of any other attempt."""
    if attempt.type is not MessageType.REVERSE:
        return None
    body = reply_body_of(attempt)
    if not isinstance(body, Reversed) or body.result is not ReverseResult.REVERSED:
        return None
    asked = decode_request_body(attempt.type, attempt.body)
    assert isinstance(asked, Reverse)
    return asked


def negative(row: ReconcileRow) -> ReconcileRow:
    """Give the row with its amounts the other way round."""
    return replace(
        row,
        total_fen=-row.total_fen,
        fund_pay_fen=-row.fund_pay_fen,
        account_pay_fen=-row.account_pay_fen,
        cash_fen=-row.cash_fen,
    )


def totals_of(rows: Iterable[ReconcileRow]) -> tuple[DayTotal, ...]:
    """Add rows up by clearing type, undoings apart."""
    totals: dict[tuple[int, bool], DayTotal] = {}
    for row in rows:
        key = row.clearing_type, row.is_refund
        before = totals.get(key) or DayTotal(*key, 0, 0, 0, 0, 0)
        totals[key] = DayTotal(
            *key,
            before.count + 1,
            before.total_fen + row.total_fen,
            before.fund_pay_fen + row.fund_pay_fen,
            before.account_pay_fen + row.account_pay_fen,
            before.cash_fen + row.cash_fen,
        )
    return tuple(totals[key] for key in sorted(totals))


def day_of(time_ms: int, zone: dt.tzinfo) -> str:
    """Give the fund's day of a moment, ISO 8601."""
    return dt.datetime.fromtimestamp(time_ms / 1000, zone).date().isoformat()


def _row(
    attempt: Attempt,
    terminal: str,
    setl_id: str,
    clearing_type: int,
    split: Split,
    state: RowState,
    *,
    is_refund: bool,
) -> ReconcileRow:
    return ReconcileRow(
        msgid=attempt.msgid,
        terminal=terminal,
        is_refund=is_refund,
        setl_id=setl_id,
        clearing_type=clearing_type,
        total_fen=split.total_fen,
        fund_pay_fen=split.fund_pay_fen,
        account_pay_fen=split.account_pay_fen + split.mutual_aid_fen,
        cash_fen=split.cash_fen,
        state=state,
    )


def _less(row: ReconcileRow, left: ReconcileRow) -> ReconcileRow:
    """Give an undoing's row of what is given back and what is left: the whole of both."""
    return replace(
        row,
        total_fen=row.total_fen - left.total_fen,
        fund_pay_fen=row.fund_pay_fen - left.fund_pay_fen,
        account_pay_fen=row.account_pay_fen - left.account_pay_fen,
        cash_fen=row.cash_fen - left.cash_fen,
    )
