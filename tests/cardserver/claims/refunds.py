"""Refunds and explanations at a counter of these tests' fund."""

from collections.abc import Sequence

from msgspec import msgpack

from cardserver.claims.refund import WorkedOut, refund_work
from cardserver.claims.settled_store import Archive, explain, preview_refund
from cardserver.claims.values import ClaimsAnswer
from ledger.calendar import business_date
from ledger.decisions import Outcome
from ledger.ledger_store import GroupTime
from protocol.terminal import messages
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import MessageType, RefundLine
from tests.cardserver.claims.fund import HOSPITAL, SHANGHAI, Counter

ONE_E4 = 10_000
REFUNDED = msgpack.Decoder(messages.Refunded)
Lines = Sequence[tuple[int, int]]
"""Number of the line, and how much of it in ten-thousandths."""


def refund_of(setl_id: str, lines: Lines, *, shown: tuple[int, int, int] | None) -> messages.Refund:
    return messages.Refund(
        setl_id,
        tuple(RefundLine(*line) for line in lines),
        "退货",
        shown is not None,
        *(shown or (0, 0, 0)),
    )


async def shown_refund(
    counter: Counter, setl_id: str, lines: Lines, place: int = HOSPITAL
) -> messages.Refunded | ClaimsAnswer:
    when = GroupTime(business_date(counter.clock.ms, SHANGHAI), 0, counter.clock.ms)
    found = await preview_refund(
        counter.database,
        Archive(counter.database),
        institution_no=place,
        refund=refund_of(setl_id, lines, shown=None),
        policies=counter.rules.policies,
        when=when,
    )
    return found.message(time_ms=counter.clock.ms) if isinstance(found, WorkedOut) else found


async def refund(
    counter: Counter,
    setl_id: str,
    lines: Lines,
    *,
    shown: tuple[int, int, int] | None = None,
    msgid: str = "",
    place: int = HOSPITAL,
) -> Outcome:
    """Refund, with the amounts that a preview shows unless others are given."""
    if shown is None:
        found = await shown_refund(counter, setl_id, lines, place)
        shown = amounts_of(found) if isinstance(found, messages.Refunded) else (0, 0, 0)
    body = refund_of(setl_id, lines, shown=shown)
    attempt = counter.attempt(MessageType.REFUND, body, msgid, place)
    archive = Archive(counter.database)
    policy = await archive.of_settlement(counter.rules.policies, setl_id)
    return await counter.submit(refund_work(attempt, body, policy))


def amounts_of(refunded: messages.Refunded) -> tuple[int, int, int]:
    back = refunded.given_back
    return back.fund_pay_fen, back.account_pay_fen + back.mutual_aid_fen, back.cash_fen


def decoded(outcome: Outcome) -> messages.Refunded:
    assert outcome.code in {ResponseCode.APPROVED, ResponseCode.SPLIT_CHANGED}, outcome
    return REFUNDED.decode(outcome.body)


async def told(
    counter: Counter, setl_id: str, place: int = HOSPITAL, *, line: int = 0, step: int = 0
) -> messages.Explained | ResponseCode:
    return await explain(
        counter.database,
        Archive(counter.database),
        institution_no=place,
        request=messages.Explain(setl_id, line, step),
        policies=counter.rules.policies,
    )
