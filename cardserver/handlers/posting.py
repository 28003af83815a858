"""Handing a request to the ledger's writer: the attempt that it is, and the answer it came to."""

from cardserver.centre import Answer, Exchange
from cardserver.claims.values import Attempt, ClaimsWork
from cardserver.outcomes import code_of_not_taken, code_of_number
from ledger.decisions import NotTaken
from protocol.terminal.bodies import request_hash


def attempt_of(exchange: Exchange) -> Attempt:
    """Name the attempt that a request of a signed-on operator is."""
    assert exchange.operator is not None
    request = exchange.request
    return Attempt(
        institution_no=exchange.session.institution.institution_no,
        terminal_no=exchange.session.terminal.terminal_no,
        operator_no=exchange.operator.operator_no,
        msgid=request.msgid,
        request_hash=request_hash(exchange.type, bytes(request.body)),
        deadline_ms=exchange.deadline_ms,
        list_version=request.list_version,
    )


async def post(exchange: Exchange, work: ClaimsWork) -> Answer:
    """Have the work decided and its outcome made durable."""
    outcome = await exchange.centre.writer.submit(work)
    if isinstance(outcome, NotTaken):
        return Answer(code_of_not_taken(outcome))
    for stage, microseconds in outcome.stages:
        exchange.clock.add(stage, microseconds * 1000)
    exchange.clock.skip()
    return Answer(
        code_of_number(outcome.code),
        outcome.body or None,
        detail_zh=outcome.detail_zh,
        detail_en=outcome.detail_en,
        is_duplicate=outcome.is_duplicate,
        business_date=outcome.business_date,
    )
