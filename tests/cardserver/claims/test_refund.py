"""REFUND: lines given back, and what remains settled anew, in one transaction."""

import asyncio

import pytest
from msgspec import msgpack

from cardserver.benefits.values import Accumulated
from cardserver.claims.accumulators_store import open_accumulators
from cardserver.claims.claims_store import accumulators, find_status
from cardserver.claims.values import request_key
from ledger.bulk_store import plain
from ledger.ledger_store import balances
from ledger.trial_balance_store import trial_balance
from protocol.terminal import messages
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import ReverseResult, StatusState
from tests.cardserver.claims.fund import (
    CHILD,
    COMMUNITY,
    HOSPITAL,
    PERSON,
    RETIRED,
    Counter,
    bill,
)
from tests.cardserver.claims.refunds import (
    ONE_E4,
    amounts_of,
    decoded,
    refund,
    refund_of,
    shown_refund,
    told,
)

DEDUCTIBLE = 180_000  # of an active employee at a hospital; above it 70 %


async def used(counter: Counter, person: int = PERSON) -> tuple[int, int, int]:
    found = (await accumulators(counter.database, [person], 2026))[person]
    amounts = found[0][1] if found else Accumulated(0, 0, 0, 0, 0)
    return amounts.deductible_fen, amounts.in_scope_fen, amounts.pool_fen


async def held(counter: Counter, person: int = PERSON) -> int:
    return (await balances(counter.database, [person]))[person]


async def test_what_remains_is_settled_as_if_the_line_had_never_been_sold(
    counter: Counter,
) -> None:
    whole = await counter.settle(bill(("A1", 200_000), ("B1", 10_000), ("X", 5_000)))
    outcome = await refund(counter, str(whole.entry_no), [(2, ONE_E4)])
    refunded = decoded(outcome)
    assert outcome.code == ResponseCode.APPROVED
    # In scope 200,000 + 9,000: 20,300 of the fund; without class B 14,000.
    assert refunded.given_back.total_fen == 10_000
    assert refunded.given_back.pre_self_pay_fen == 1_000
    assert refunded.given_back.fund_pay_fen == 6_300
    assert refunded.remaining is not None
    assert refunded.remaining.total_fen == 205_000
    assert refunded.remaining.fund_pay_fen == 14_000
    assert refunded.refunds == str(whole.entry_no)
    assert int(refunded.setl_id) == int(refunded.undo_setl_id) + 1
    assert str(outcome.entry_no) == refunded.undo_setl_id
    (line,) = refunded.lines
    assert (line.line, line.item, line.quantity_e4, line.gross_fen) == (2, "B1", ONE_E4, 10_000)
    assert await used(counter) == (DEDUCTIBLE, 200_000, 14_000)
    assert await held(counter) == refunded.balance_after_fen

    # The same as settling the rest at first.
    other = await counter.settle(bill(("A1", 200_000), ("X", 5_000)), RETIRED)
    undone = await counter.cancel(refunded.setl_id)
    assert undone.code == other.code == ResponseCode.APPROVED
    assert await used(counter) == (0, 0, 0)
    assert await held(counter) == 100_000
    books = await counter.database.report(trial_balance)
    assert books.is_equal, books.differences


async def test_a_part_of_a_quantity_and_the_last_part_take_the_cents(counter: Counter) -> None:
    """Three at 0.335 come to 1.01; one by one they give back 0.34, 0.33 and 0.34."""
    line = messages.Line("A1", "片", 335_000, 3 * ONE_E4, 101)
    sold = messages.Bill("310", "11", 101, uses_account=False, invoice="", lines=(line,))
    setl_id = str((await counter.settle(sold)).entry_no)
    given: list[int] = []
    for left in (67, 34, 0):
        refunded = decoded(await refund(counter, setl_id, [(1, ONE_E4)]))
        given.append(refunded.given_back.cash_fen)
        assert (refunded.remaining.total_fen if refunded.remaining else 0) == left
        setl_id = refunded.setl_id
    assert given == [34, 33, 34]
    assert setl_id == ""
    assert await used(counter) == (0, 0, 0)


async def test_a_refund_of_all_is_the_negative_alone(counter: Counter) -> None:
    settled = await counter.settle(bill(("A1", 30_000), ("B1", 1_000)))
    outcome = await refund(counter, str(settled.entry_no), [(2, ONE_E4), (1, ONE_E4)])
    refunded = decoded(outcome)
    assert (refunded.remaining, refunded.setl_id) == (None, "")
    assert refunded.given_back.total_fen == 31_000
    assert (await used(counter), await held(counter)) == ((0, 0, 0), 100_000)
    assert (await counter.cancel(refunded.undo_setl_id)).code == ResponseCode.ORIGINAL_NOT_SETTLED


async def test_it_is_decided_without_itself_and_with_what_came_after(counter: Counter) -> None:
    """The first bill bore the deductible; given back, what remains of it bears what it can."""
    first = await counter.settle(bill(("A1", 180_000), ("A1", 20_000)))
    await counter.settle(bill(("A1", 10_000)))
    assert await used(counter) == (DEDUCTIBLE, 210_000, 21_000)
    shown = await shown_refund(counter, str(first.entry_no), [(1, ONE_E4)])
    assert isinstance(shown, messages.Refunded)
    # What remains, 200.00, is below the deductible, of which nothing is borne without it.
    assert shown.given_back.fund_pay_fen == 14_000
    assert shown.remaining is not None
    assert shown.remaining.deductible_fen == 20_000
    await refund(counter, str(first.entry_no), [(1, ONE_E4)])
    assert await used(counter) == (20_000, 30_000, 7_000)


async def test_the_patient_may_have_to_pay_more_and_is_shown_it(counter: Counter) -> None:
    """The bill that bore the deductible was cancelled since: what remains bears it now."""
    first = await counter.settle(bill(("A1", DEDUCTIBLE), uses_account=False))
    second = await counter.settle(bill(("A1", 10_000), ("A1", 10_000), uses_account=False))
    await counter.cancel(str(first.entry_no))
    refunded = decoded(await refund(counter, str(second.entry_no), [(1, ONE_E4)]))
    assert amounts_of(refunded) == (14_000, 0, -4_000)
    assert await used(counter) == (10_000, 10_000, 0)


async def test_amounts_that_were_not_shown_are_refused_with_those_that_are(
    counter: Counter,
) -> None:
    settled = await counter.settle(bill(("A1", 200_000), ("A1", 10_000)))
    outcome = await refund(counter, str(settled.entry_no), [(2, ONE_E4)], shown=(7_000, 0, 2_999))
    assert outcome.code == ResponseCode.SPLIT_CHANGED
    changed = decoded(outcome)
    assert amounts_of(changed) == (7_000, 0, 3_000)
    assert (changed.undo_setl_id, changed.setl_id) == ("", "")
    again = await refund(counter, str(settled.entry_no), [(2, ONE_E4)], shown=(7_000, 0, 3_000))
    assert again.code == ResponseCode.APPROVED


async def test_the_same_msgid_is_answered_the_same(counter: Counter) -> None:
    settled = await counter.settle(bill(("A1", 200_000), ("A1", 10_000)))
    msgid = counter.msgid()
    asked = [
        refund(counter, str(settled.entry_no), [(2, ONE_E4)], shown=(7_000, 0, 3_000), msgid=msgid)
        for _ in range(4)
    ]
    first, *more = await asyncio.gather(*asked)
    assert first.code == ResponseCode.APPROVED
    assert {one.body for one in more} == {first.body}
    assert sum(not one.is_duplicate for one in (first, *more)) == 1
    status = await find_status(counter.database, request_key(HOSPITAL, HOSPITAL, msgid))
    assert (status.state, status.entry_no) == (StatusState.SETTLED, first.entry_no)
    assert status.body == first.body


async def test_only_one_undoing_wins(counter: Counter) -> None:
    settled = await counter.settle(bill(("A1", 200_000), ("A1", 10_000)))
    number = str(settled.entry_no)
    outcomes = await asyncio.gather(
        refund(counter, number, [(2, ONE_E4)], shown=(7_000, 0, 3_000)),
        counter.cancel(number),
        refund(counter, number, [(1, ONE_E4)]),
    )
    codes = sorted(one.code for one in outcomes)
    assert codes == [ResponseCode.APPROVED] + [ResponseCode.ALREADY_UNDONE] * 2
    books = await counter.database.report(trial_balance)
    assert books.is_equal, books.differences


async def test_what_remains_may_be_refunded_again_and_not_be_reversed(counter: Counter) -> None:
    msgid = counter.msgid()
    settled = await counter.settle(
        bill(("A1", 200_000), ("A1", 10_000), ("A1", 20_000)), msgid=msgid
    )
    first = decoded(await refund(counter, str(settled.entry_no), [(2, ONE_E4)]))
    reversal = await counter.reverse(msgid)
    reversed_ = messages_of(reversal.body)
    assert reversed_.result is ReverseResult.ALREADY_UNDONE
    assert reversed_.undo_setl_id == first.undo_setl_id
    second = decoded(await refund(counter, first.setl_id, [(2, ONE_E4)]))
    assert second.remaining is not None
    assert second.remaining.total_fen == 200_000
    assert await used(counter) == (DEDUCTIBLE, 200_000, 14_000)


def messages_of(body: bytes) -> messages.Reversed:
    return msgpack.decode(body, type=messages.Reversed)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([(4, ONE_E4)], "no line 4"),
        ([(1, ONE_E4 + 1)], "more of line 1"),
        ([(1, 1), (1, 1)], "line 1 is named twice"),
    ],
)
async def test_a_line_that_is_not_there_is_refused(
    counter: Counter, lines: list[tuple[int, int]], words: str
) -> None:
    settled = await counter.settle(bill(("A1", 300), ("A1", 200), ("A1", 100)))
    outcome = await refund(counter, str(settled.entry_no), lines)
    assert outcome.code == ResponseCode.LINE_NOT_REFUNDABLE
    assert words in outcome.detail_en
    assert (await refund(counter, str(settled.entry_no), [(1, ONE_E4)])).code == 0


async def test_what_is_no_settlement_of_ours_is_refused(counter: Counter) -> None:
    settled = await counter.settle(bill(("A1", 300), ("A1", 200)))
    number = str(settled.entry_no)
    elsewhere = await refund(counter, number, [(1, ONE_E4)], place=COMMUNITY)
    unknown = await refund(counter, "99", [(1, ONE_E4)])
    assert elsewhere.code == unknown.code == ResponseCode.ORIGINAL_NOT_FOUND
    cancelled = await counter.cancel(number)
    assert (await refund(counter, number, [(1, ONE_E4)])).code == ResponseCode.ALREADY_UNDONE
    of_undoing = await refund(counter, str(cancelled.entry_no), [(1, ONE_E4)])
    assert of_undoing.code == ResponseCode.ORIGINAL_NOT_SETTLED


async def test_mutual_aid_goes_back_to_whose_account_gave_it(counter: Counter) -> None:
    """The child has no account: the family's payer paid, and gets the refunded part back."""
    settled = await counter.settle(bill(("A1", 30_000), ("A1", 20_000)), CHILD)
    assert await held(counter) == 50_000
    refunded = decoded(await refund(counter, str(settled.entry_no), [(2, ONE_E4)]))
    assert refunded.given_back.mutual_aid_fen == 20_000
    assert await held(counter) == 70_000
    await counter.cancel(refunded.setl_id)
    assert await held(counter) == 100_000


async def test_opening_amounts_count_as_before(counter: Counter) -> None:
    row = (PERSON, 2026, "310", "outpatient", DEDUCTIBLE, 400_000, 154_000, 0, 0)
    await counter.database.transact(lambda: open_accumulators([row]))
    settled = await counter.settle(bill(("A1", 10_000), ("A1", 20_000)))
    refunded = decoded(await refund(counter, str(settled.entry_no), [(1, ONE_E4)]))
    assert refunded.given_back.fund_pay_fen == 7_000
    assert await used(counter) == (DEDUCTIBLE, 420_000, 168_000)


async def test_a_claim_without_facts_can_be_refunded_as_a_whole_only(counter: Counter) -> None:
    """Claims of before facts were kept: the detail's array ended with the reason."""
    settled = await counter.settle(bill(("A1", 300), ("A1", 200)))
    number = settled.entry_no
    await forget_facts(counter, number or 0)
    part = await refund(counter, str(number), [(1, ONE_E4)])
    assert part.code == ResponseCode.REFUND_NOT_POSSIBLE
    explained = await told(counter, str(number))
    assert isinstance(explained, messages.Explained)
    assert explained.result is messages.ExplainResult.FACTS_NOT_KEPT
    whole = await refund(counter, str(number), [(1, ONE_E4), (2, ONE_E4)])
    assert decoded(whole).given_back.total_fen == 500


async def forget_facts(counter: Counter, number: int) -> None:
    read = f"SELECT detail FROM claim WHERE entry_no = {number}"
    ((detail,),) = await counter.database.fetch(plain("read", postgresql=read, sqlite=read)())
    old = msgpack.encode(msgpack.decode(detail)[:8])
    write = plain(
        "write",
        postgresql="UPDATE claim SET detail = $1 WHERE entry_no = $2",
        sqlite="UPDATE claim SET detail = ? WHERE entry_no = ?",
    )
    await counter.database.execute(write([(old, number)]))


async def test_a_refund_is_audited_and_numbered_like_any(counter: Counter) -> None:
    settled = await counter.settle(bill(("A1", 300), ("A1", 200)))
    await refund(counter, str(settled.entry_no), [(1, ONE_E4)])
    read = "SELECT action, subject, detail FROM audit ORDER BY recorded_time_ms, seal_no, line"
    rows = await counter.database.fetch(plain("audit", postgresql=read, sqlite=read)())
    number = settled.entry_no or 0
    assert rows[-2:] == [
        ("refund", str(number), "退货"),
        ("settle", str(number + 2), f"what remains of {number}"),
    ]


async def test_a_request_that_only_asks_is_not_a_refund() -> None:
    assert not refund_of("1", [(1, 1)], shown=None).commits
