"""CLEARING_APPLY, CLEARING_CANCEL, CLEARING_QUERY: an institution's month.

Not here: what is compared and kept (`cardserver/clearing/applications_store.py`).
"""

from cardserver.centre import Answer, Exchange
from cardserver.claims.values import claim_number
from cardserver.clearing.applications_store import (
    Applicant,
    ClearingRefusal,
    InstitutionMonth,
    Wanted,
    apply,
    cancel,
    read_institution_month,
)
from cardserver.clearing.calculation import MonthTotals
from cardserver.clearing.payments import PaymentState
from cardserver.clearing.terms_document import CLEARING_TYPES
from cardserver.observe.stages import Stage
from cardserver.outcomes import code_of_clearing
from cardserver.registry.roles import Role
from ledger.calendar import day_number
from protocol.terminal.codes import ResponseCode
from protocol.terminal.errors import RemoteProtocolError
from protocol.terminal.messages import (
    ClearingApplied,
    ClearingApply,
    ClearingCancel,
    ClearingCancelled,
    ClearingFound,
    ClearingQuery,
    ClearingsFound,
    ClearingState,
    ClearingTotal,
)

_NUMBER_MAX = 2**31 - 1  # of an application, as its column holds them
_MONTHS = range(1, 13)


async def clearing_apply(exchange: Exchange, body: ClearingApply) -> Answer:
    """CLEARING_APPLY (3203): compare the month's totals, and take the application if they agree."""
    if not _may_ask(exchange):
        return Answer(ResponseCode.OPERATOR_NOT_PERMITTED)
    _check_month(body.month)
    total = body.total
    if total.clearing_type not in CLEARING_TYPES:
        raise RemoteProtocolError(
            ResponseCode.INVALID_FIELD, f"total: no clearing type {total.clearing_type}"
        )
    centre = exchange.centre
    told = await apply(
        centre.database,
        _applicant(exchange),
        Wanted(body.month, total.clearing_type, _totals(total)),
        running_month=day_number(centre.today()) // 100,
    )
    exchange.clock.end(Stage.LOOKUP)
    if isinstance(told, ClearingRefusal):
        return Answer(code_of_clearing(told))
    applied = ClearingApplied(
        application_id=str(told.application_no or ""),
        centre=_total(total.clearing_type, told.centre),
        institution=total,
    )
    return Answer(ResponseCode.APPROVED, applied)


async def clearing_cancel(exchange: Exchange, body: ClearingCancel) -> Answer:
    """CLEARING_CANCEL (3204): take an application back."""
    if not _may_ask(exchange):
        return Answer(ResponseCode.OPERATOR_NOT_PERMITTED)
    number = claim_number(body.application_id)
    if not 0 < number <= _NUMBER_MAX:
        return Answer(ResponseCode.CLEARING_APPLICATION_UNKNOWN)
    told = await cancel(exchange.centre.database, _applicant(exchange), number)
    exchange.clock.end(Stage.LOOKUP)
    if isinstance(told, ClearingRefusal):
        return Answer(code_of_clearing(told))
    return Answer(ResponseCode.APPROVED, ClearingCancelled(str(told)))


async def clearing_query(exchange: Exchange, body: ClearingQuery) -> Answer:
    """CLEARING_QUERY (3205A): how far a month is, and what it comes to."""
    if not _may_ask(exchange):
        return Answer(ResponseCode.OPERATOR_NOT_PERMITTED)
    _check_month(body.month)
    number = exchange.session.institution.institution_no
    found = await exchange.centre.database.report(
        lambda connection: read_institution_month(connection, number, body.month)
    )
    exchange.clock.end(Stage.LOOKUP)
    types = sorted({*found.totals, *found.clearings, *found.applications})
    clearings = tuple(_found(found, one) for one in types)
    return Answer(ResponseCode.APPROVED, ClearingsFound(body.month, found.is_closed, clearings))


def _may_ask(exchange: Exchange) -> bool:
    """Tell whether the operator may speak for the whole institution."""
    return exchange.operator is not None and exchange.operator.role == Role.SUPERVISOR


def _applicant(exchange: Exchange) -> Applicant:
    assert exchange.operator is not None
    session = exchange.session
    return Applicant(
        institution_no=session.institution.institution_no,
        terminal_no=session.terminal.terminal_no,
        operator_no=exchange.operator.operator_no,
        msgid=exchange.request.msgid,
        now_ms=exchange.centre.clock.now_ms(),
    )


def _check_month(month: int) -> None:
    if month % 100 not in _MONTHS or month < 200_001:  # noqa: PLR2004 - January 2000
        raise RemoteProtocolError(ResponseCode.INVALID_FIELD, f"month: {month} is none")


def _totals(total: ClearingTotal) -> MonthTotals:
    return MonthTotals(
        settled_count=total.settled_count,
        settled_fen=total.settled_fen,
        undone_count=total.undone_count,
        undone_fen=total.undone_fen,
    )


def _total(clearing_type: int, totals: MonthTotals) -> ClearingTotal:
    return ClearingTotal(
        clearing_type,
        totals.settled_count,
        totals.settled_fen,
        totals.undone_count,
        totals.undone_fen,
    )


def _found(found: InstitutionMonth, clearing_type: int) -> ClearingFound:
    application = found.applications.get(clearing_type, 0)
    state, reason = _state(found, clearing_type)
    stored = found.clearings.get(clearing_type)
    totals = found.totals.get(clearing_type, MonthTotals())
    clearing = None if stored is None else stored.clearing
    result = None if clearing is None else clearing.result
    return ClearingFound(
        state=state,
        total=_total(clearing_type, totals),
        application_id=str(application or ""),
        clearing_id="" if stored is None else str(stored.clearing_no),
        brought_fen=0 if clearing is None else clearing.before.brought_fen,
        applied_fen=0 if result is None else result.applied_fen,
        review_fen=totals.review_fen,
        cap_fen=0 if result is None else result.cap_fen,
        withheld_fen=0 if result is None else result.withheld_fen,
        paid_fen=0 if result is None else result.paid_fen,
        carried_fen=0 if result is None else result.carried_fen,
        reason=reason,
    )


def _state(found: InstitutionMonth, clearing_type: int) -> tuple[ClearingState, str]:
    if clearing_type not in found.clearings:
        has_applied = clearing_type in found.applications
        return (ClearingState.APPLIED if has_applied else ClearingState.OPEN), ""
    payment = found.payments.get(clearing_type)
    if payment is None:
        return ClearingState.CLEARED, ""
    match payment[0]:
        case PaymentState.INSTRUCTED:
            return ClearingState.INSTRUCTED, ""
        case PaymentState.CONFIRMED:
            return ClearingState.PAID, ""
        case PaymentState.RETURNED:
            return ClearingState.RETURNED, payment[1]
