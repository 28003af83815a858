"""REFUND and EXPLAIN: what is asked of a settlement that stands.

Not here: undoing one whole (`money.py`), what is decided (`cardserver/claims`).
"""

from cardserver.centre import Answer, Exchange
from cardserver.claims import settled_store
from cardserver.claims.refund import refund_work
from cardserver.handlers.posting import attempt_of, post
from cardserver.observe.stages import Stage
from cardserver.outcomes import code_of_number
from ledger import decisions
from ledger.calendar import day_number
from ledger.ledger_store import GroupTime
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import Explain, Refund


async def refund(exchange: Exchange, body: Refund) -> Answer:
    """REFUND: give lines back and settle what remains, or show what that would come to."""
    centre = exchange.centre
    if body.commits:
        policy = await centre.archive.of_settlement(centre.rules.policies, body.setl_id)
        exchange.clock.end(Stage.LOOKUP)
        return await post(exchange, refund_work(attempt_of(exchange), body, policy))
    today = day_number(centre.today())
    now_ms = centre.clock.now_ms()
    shown = await settled_store.preview_refund(
        centre.database,
        centre.archive,
        institution_no=exchange.session.institution.institution_no,
        refund=body,
        policies=centre.rules.policies,
        when=GroupTime(today, today // 100, now_ms),
    )
    exchange.clock.end(Stage.ADJUDICATION)
    if isinstance(shown, decisions.Answer):
        return Answer(
            code_of_number(shown.code), detail_zh=shown.detail_zh, detail_en=shown.detail_en
        )
    return Answer(ResponseCode.APPROVED, shown.message(time_ms=now_ms))


async def explain(exchange: Exchange, body: Explain) -> Answer:
    """EXPLAIN: how a settlement came to what it is, by the version that decided it."""
    centre = exchange.centre
    told = await settled_store.explain(
        centre.database,
        centre.archive,
        institution_no=exchange.session.institution.institution_no,
        request=body,
        policies=centre.rules.policies,
    )
    exchange.clock.end(Stage.ADJUDICATION)
    return Answer(told) if isinstance(told, ResponseCode) else Answer(ResponseCode.APPROVED, told)
