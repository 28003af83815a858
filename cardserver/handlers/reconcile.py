"""RECONCILE and RECONCILE_DETAIL: an institution's day beside the centre's.

Not here: what is compared and kept (`cardserver/reconciliation`).
"""

from cardserver.centre import Answer, Exchange
from cardserver.claims.values import claim_number
from cardserver.observe.stages import Stage
from cardserver.reconciliation.comparison import key_of
from cardserver.reconciliation.day_store import Scope
from cardserver.reconciliation.reconciling import (
    CLEARING_TYPES,
    Page,
    is_under_way,
    reconcile_page,
)
from cardserver.reconciliation.reconciling import reconcile as reconcile_totals
from cardserver.reconciliation.record_store import find_run, last_run
from cardserver.reconciliation.values import Origin, Run, Source
from cardserver.registry.roles import Role
from ledger.calendar import day_number
from protocol.terminal import msgid
from protocol.terminal.codes import ResponseCode
from protocol.terminal.errors import RemoteProtocolError
from protocol.terminal.messages import (
    Reconcile,
    ReconcileDetail,
    ReconcileRow,
    ReconcileScope,
    RowKey,
)


async def reconcile(exchange: Exchange, body: Reconcile) -> Answer:
    """RECONCILE (3201): compare a day's totals; of a day that is not over, provisionally."""
    centre = exchange.centre
    if not _may_ask(exchange, body.scope):
        return Answer(ResponseCode.OPERATOR_NOT_PERMITTED)
    day = day_number(body.business_date)
    if day > day_number(centre.today()):
        return Answer(ResponseCode.RECONCILE_DAY_NOT_VALID)
    _check_totals(body)
    scope = Scope(
        exchange.session.institution.institution_no,
        exchange.session.terminal.terminal_no if body.scope is ReconcileScope.TERMINAL else 0,
        day,
    )
    told = await reconcile_totals(
        centre.database,
        scope,
        body.totals,
        _origin(exchange),
        is_provisional=is_under_way(day, centre.clock.now_ms(), centre.config.timezone),
    )
    exchange.clock.end(Stage.LOOKUP)
    return Answer(ResponseCode.APPROVED, told)


async def reconcile_detail(exchange: Exchange, body: ReconcileDetail) -> Answer:
    """RECONCILE_DETAIL (3202): compare a page of a day's rows, and say what to do about each."""
    centre = exchange.centre
    run = await _run_of(exchange, body.reconcile_id)
    if run is None:
        return Answer(ResponseCode.RECONCILIATION_NOT_FOUND)
    scope = ReconcileScope.TERMINAL if run.terminal_no else ReconcileScope.INSTITUTION
    if not _may_ask(exchange, scope):
        return Answer(ResponseCode.OPERATOR_NOT_PERMITTED)
    _check_rows(exchange, run, body)
    page = Page(None if body.after is None else key_of(body.after), body.rows, body.is_last)
    told = await reconcile_page(centre.database, run, page, now_ms=centre.clock.now_ms())
    exchange.clock.end(Stage.LOOKUP)
    return Answer(ResponseCode.APPROVED, told)


def _may_ask(exchange: Exchange, scope: ReconcileScope) -> bool:
    """Tell whether the operator may speak for what the scope covers."""
    if scope is ReconcileScope.TERMINAL:
        return True
    return exchange.operator is not None and exchange.operator.role == Role.SUPERVISOR


def _origin(exchange: Exchange) -> Origin:
    assert exchange.operator is not None
    return Origin(Source.MESSAGE, exchange.operator.operator_no, exchange.centre.clock.now_ms())


async def _run_of(exchange: Exchange, reconcile_id: str) -> Run | None:
    """Find a comparison of the asking institution's, or terminal's, that still counts."""
    database, session = exchange.centre.database, exchange.session
    run = await find_run(database, claim_number(reconcile_id))
    if (
        run is None
        or run.institution_no != session.institution.institution_no
        or run.terminal_no not in {0, session.terminal.terminal_no}
    ):
        return None
    scope = Scope(run.institution_no, run.terminal_no, run.business_date)
    last = await last_run(database, scope)
    return run if last is not None and last.run_no == run.run_no else None


def _check_totals(body: Reconcile) -> None:
    """Refuse totals that can't be compared.

    Raises:
        RemoteProtocolError: INVALID_FIELD, with which and why.
    """
    seen: set[tuple[int, bool]] = set()
    for number, total in enumerate(body.totals, 1):
        key = (total.clearing_type, total.is_refund)
        if total.clearing_type not in CLEARING_TYPES:
            raise _invalid(f"totals, {number}: no clearing type {total.clearing_type}")
        if key in seen:
            raise _invalid(f"totals, {number}: clearing type and is_refund came before")
        seen.add(key)


def _check_rows(exchange: Exchange, run: Run, body: ReconcileDetail) -> None:
    """Refuse rows that can't be compared.

    Raises:
        RemoteProtocolError: INVALID_FIELD or INVALID_MSGID, with which and why.
    """
    if not body.rows and not body.is_last:
        raise _invalid("rows: none, and more to come")
    session = exchange.session
    before = body.after
    for number, row in enumerate(body.rows, 1):
        _check_msgid(row.msgid, session.institution.code, f"rows, {number}")
        if row.clearing_type not in CLEARING_TYPES:
            raise _invalid(f"rows, {number}: no clearing type {row.clearing_type}")
        if run.terminal_no and row.terminal != session.terminal.code:
            raise _invalid(f"rows, {number}: of another terminal, in a terminal's own day")
        if before is not None and key_of(row) <= key_of(before):
            raise _invalid(
                f"rows, {number}: not after the row before by msgid, terminal, is_refund"
            )
        before = _row_key(row)


def _check_msgid(text: str, institution: str, where: str) -> None:
    if msgid.parse(text).institution != institution:
        raise RemoteProtocolError(
            ResponseCode.INVALID_MSGID, f"{where}: the msgid begins with another institution's code"
        )


def _row_key(row: ReconcileRow) -> RowKey:
    return RowKey(row.msgid, row.terminal, row.is_refund)


def _invalid(detail: str) -> RemoteProtocolError:
    return RemoteProtocolError(ResponseCode.INVALID_FIELD, detail)
