"""PREVIEW, SETTLE, CANCEL, REVERSE, PRINT_ACK: what moves money, or shows how it would move.

Not here: what is decided (`cardserver/claims`), and what is known of an attempt (`status.py`).
"""

from cardserver.centre import Answer, Exchange
from cardserver.claims import claims_store
from cardserver.claims.settlement import settle_work
from cardserver.claims.undoing import cancel_work, print_ack_work, reverse_work
from cardserver.claims.values import Presented
from cardserver.handlers.posting import attempt_of, post
from cardserver.handlers.presented import marked, presented_by
from cardserver.handlers.status import original_terminal, stored_answer
from cardserver.observe.stages import Stage
from cardserver.outcomes import code_of_number
from cardserver.registry.roles import Role
from ledger import decisions
from ledger.calendar import day_number
from ledger.ledger_store import GroupTime
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import Cancel, Preview, PrintAck, Reverse, Settle

NOBODY = 0  # a person's number that the registry never gives


async def preview(exchange: Exchange, body: Preview) -> Answer:
    """PREVIEW (2101, 2206, 2303): the split as SETTLE would make it now; nothing is committed."""
    centre = exchange.centre
    if not _may_override(exchange, body.override):
        return Answer(ResponseCode.OPERATOR_NOT_PERMITTED)
    presented = await presented_by(exchange, body.bill, body.exception)
    if isinstance(presented, Answer):
        return presented
    exchange.clock.end(Stage.VERIFICATION)
    today = day_number(centre.today())
    shown = await claims_store.preview(
        centre.database,
        terminal_no=exchange.session.terminal.terminal_no,
        request=body,
        presented=presented,
        rules=centre.rules,
        when=GroupTime(today, today // 100, centre.clock.now_ms()),
    )
    exchange.clock.end(Stage.ADJUDICATION)
    if isinstance(shown, decisions.Answer):
        return Answer(
            code_of_number(shown.code),
            shown.body or None,
            detail_zh=shown.detail_zh,
            detail_en=shown.detail_en,
        )
    return marked(exchange, presented, Answer(ResponseCode.APPROVED, shown))


async def settle(exchange: Exchange, body: Settle) -> Answer:
    """SETTLE (2102, 2207, 2304): commit the bill as the patient was shown it."""
    if not _may_override(exchange, body.override):
        # A stored outcome wins, also when the operator's role has changed since.
        return await stored_answer(exchange) or Answer(ResponseCode.OPERATOR_NOT_PERMITTED)
    presented = await presented_by(exchange, body.bill, body.exception)
    if isinstance(presented, Answer) and presented.code.is_stored:
        # The ledger itself refuses a person whom nobody knows, so that the refusal is kept.
        presented = Presented(person_no=NOBODY)
    if isinstance(presented, Answer):
        # A stored outcome wins, also when the card session has expired since.
        return await stored_answer(exchange) or presented
    exchange.clock.end(Stage.VERIFICATION)
    today = day_number(exchange.centre.today())
    rules = exchange.centre.rules
    answer = await post(
        exchange, settle_work(attempt_of(exchange), body, presented, rules, today=today)
    )
    return marked(exchange, presented, answer)


async def cancel(exchange: Exchange, body: Cancel) -> Answer:
    """CANCEL (2103, 2208, 2305): a new settlement that is the exact negative."""
    return await post(exchange, cancel_work(attempt_of(exchange), body))


async def reverse(exchange: Exchange, body: Reverse) -> Answer:
    """REVERSE (2601): whatever became of that msgid, it shall not stand."""
    terminal = await original_terminal(exchange, body.original_terminal, body.original_msgid)
    if isinstance(terminal, Answer):
        return terminal
    work = reverse_work(attempt_of(exchange), body, original_terminal_no=terminal.terminal_no)
    return await post(exchange, work)


async def print_ack(exchange: Exchange, body: PrintAck) -> Answer:
    """PRINT_ACK: whether the receipt came out of the printer."""
    return await post(exchange, print_ack_work(attempt_of(exchange), body))


def _may_override(exchange: Exchange, override: str) -> bool:
    """Tell whether the operator may let pass what checks refuse, where a bill asks for that."""
    return not override or (
        exchange.operator is not None and exchange.operator.role == Role.SUPERVISOR
    )
