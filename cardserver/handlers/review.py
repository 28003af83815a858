"""REVIEW_CASES and REVIEW_APPEAL: what an institution sees of its reviewed settlements.

Not here: how they are reviewed (`cardserver/review`).
"""

from cardserver.centre import Answer, Exchange
from cardserver.claims.values import claim_number
from cardserver.observe.stages import Stage
from cardserver.outcomes import code_of_appeal
from cardserver.registry.roles import Role
from cardserver.review.cases_store import Appeal
from cardserver.review.desk_store import MsgidReusedError, ReviewDesk
from cardserver.review.institution_view_store import institution_case, institution_cases
from cardserver.review.values import Refusal
from ledger.calendar import business_date
from protocol.terminal.bodies import request_hash
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import (
    ReviewAppeal,
    ReviewAppealed,
    ReviewCases,
    ReviewCasesFound,
)


async def review_cases(exchange: Exchange, body: ReviewCases) -> Answer:
    """REVIEW_CASES: a page of the institution's cases, or one of them in full."""
    database = exchange.centre.database
    institution_no = exchange.session.institution.institution_no
    if not body.case_no:
        after = claim_number(body.after)
        found = await institution_cases(database, institution_no, month=body.month, after=after)
        exchange.clock.end(Stage.LOOKUP)
        return Answer(ResponseCode.APPROVED, found)
    desk = _desk(exchange)
    case = await institution_case(database, desk, institution_no, claim_number(body.case_no))
    exchange.clock.end(Stage.LOOKUP)
    if case is None:
        return Answer(ResponseCode.REVIEW_CASE_UNKNOWN)
    return Answer(ResponseCode.APPROVED, ReviewCasesFound((case,)))


async def review_appeal(exchange: Exchange, body: ReviewAppeal) -> Answer:
    """REVIEW_APPEAL: a supervisor appeals; the same one again changes nothing."""
    if exchange.operator is None or exchange.operator.role != Role.SUPERVISOR:
        return Answer(
            ResponseCode.OPERATOR_NOT_PERMITTED,
            detail_zh="申诉须由主管提出",
            detail_en="an appeal is filed by a supervisor",
        )
    if not body.reason.strip():
        return Answer(
            ResponseCode.INVALID_FIELD,
            detail_zh="请说明申诉理由",
            detail_en="reason: say why",
        )
    centre, session = exchange.centre, exchange.session
    now_ms = centre.clock.now_ms()
    appeal = Appeal(
        institution_no=session.institution.institution_no,
        terminal_no=session.terminal.terminal_no,
        msgid=exchange.request.msgid,
        request_hash=request_hash(exchange.type, bytes(exchange.request.body)),
        operator_no=exchange.operator.operator_no,
        recorded_time_ms=now_ms,
        business_date=business_date(now_ms, centre.config.timezone),
        reason=body.reason.strip(),
    )
    desk = _desk(exchange)
    case_no = claim_number(body.case_no)
    try:
        filed = await desk.appeal(case_no, appeal)
    except MsgidReusedError:
        return Answer(ResponseCode.MSGID_REUSED)
    exchange.clock.end(Stage.COMMIT)
    if isinstance(filed, Refusal):
        return Answer(code_of_appeal(filed), detail_zh=filed.text_zh, detail_en=filed.text_en)
    case = await institution_case(centre.database, desk, appeal.institution_no, case_no)
    assert case is not None, "an appeal was just filed against it"
    return Answer(
        ResponseCode.APPROVED,
        ReviewAppealed(case, filed.filed_time_ms),
        is_duplicate=filed.is_duplicate,
    )


def _desk(exchange: Exchange) -> ReviewDesk:
    centre = exchange.centre
    return ReviewDesk(centre.database, None, clock=centre.clock, timezone=centre.config.timezone)
