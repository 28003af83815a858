"""REFUND of a visit's settlement: its lines stay settled, what was given back stays given back."""

import datetime as dt

from cardserver.claims.accumulators_store import visit_counts
from ledger.trial_balance_store import trial_balance
from protocol.terminal import messages
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import ExplainResult, VisitLineState, VisitState
from tests.cardserver.claims.fund import PERSON, bill
from tests.cardserver.claims.refunds import ONE_E4, decoded, refund, told
from tests.cardserver.visits.test_visits import used
from tests.cardserver.visits.ward import Ward

D = dt.date
FIRST, LAST = D(2026, 11, 10), D(2026, 11, 20)


async def stay(ward: Ward) -> tuple[str, str]:
    """A stay of three lines, settled after discharge."""
    visit = await ward.admitted(FIRST)
    await ward.charged(visit, (FIRST, 500_000), (FIRST, 200_000), (LAST, 300_000))
    await ward.discharge(visit, LAST)
    return visit, (await ward.settled(visit)).setl_id


async def test_the_visit_stays_closed_and_knows_what_was_given_back(ward: Ward) -> None:
    visit, setl_id = await stay(ward)
    refunded = decoded(await refund(ward, setl_id, [(2, ONE_E4)]))
    found = await ward.found(visit)
    assert found.visits[0].state is VisitState.CLOSED
    assert (found.visits[0].settled_fen, found.visits[0].unsettled_fen) == (800_000, 0)
    (settlement,) = found.settlements
    assert (settlement.setl_id, settlement.total_fen) == (refunded.setl_id, 800_000)
    assert settlement.is_final
    assert [line.left_fen for line in found.lines] == [500_000, 0, 300_000, 0]
    assert {line.setl_id for line in found.lines} == {refunded.setl_id}
    assert {line.state for line in found.lines} == {VisitLineState.SETTLED}
    assert found.lines[3].line.refunds == found.lines[1].line.number
    assert await used(ward) == {"inpatient": (130_000, 800_000, 569_500, 0, 1)}


async def test_undone_the_rest_is_due_and_what_was_given_back_is_not(ward: Ward) -> None:
    visit, setl_id = await stay(ward)
    refunded = decoded(await refund(ward, setl_id, [(2, ONE_E4)]))
    assert (await ward.cancel(refunded.setl_id)).code == ResponseCode.APPROVED
    found = (await ward.found(visit)).visits[0]
    assert (found.state, found.unsettled_fen) == (VisitState.DISCHARGED, 800_000)
    assert await used(ward) == {}
    settled = await ward.settled(visit)
    assert settled.split.total_fen == 800_000
    books = await ward.database.report(trial_balance)
    assert books.is_equal, books.differences


async def test_a_refund_of_all_leaves_nothing_to_settle(ward: Ward) -> None:
    visit, setl_id = await stay(ward)
    rest = decoded(await refund(ward, setl_id, [(1, ONE_E4)]))
    # Numbered anew: the first line is no longer there.
    last = decoded(await refund(ward, rest.setl_id, [(1, ONE_E4), (2, ONE_E4)]))
    assert last.remaining is None
    found = await ward.found(visit)
    assert (found.visits[0].settled_fen, found.visits[0].unsettled_fen) == (0, 0)
    assert found.settlements == ()
    assert [line.left_fen for line in found.lines] == [0] * 6
    assert await used(ward) == {}


async def test_an_interim_settlement_is_refunded_beside_those_that_followed(ward: Ward) -> None:
    """Lines that came later belong to the later settlement, or to none yet."""
    visit = await ward.admitted(FIRST)
    await ward.charged(visit, (FIRST, 500_000), (FIRST, 200_000))
    first = await ward.settled(visit, D(2026, 11, 12))
    await ward.charged(visit, (D(2026, 11, 11), 40_000), (LAST, 300_000))
    second = await ward.settled(visit)
    await ward.charged(visit, (LAST, 7_000))
    await ward.discharge(visit, LAST)
    refunded = decoded(await refund(ward, first.setl_id, [(2, ONE_E4)]))
    assert refunded.remaining is not None
    assert refunded.remaining.total_fen == 500_000
    found = await ward.found(visit)
    assert [one.setl_id for one in found.settlements] == [refunded.setl_id, second.setl_id]
    assert found.visits[0].unsettled_fen == 7_000
    assert (await ward.settled(visit)).split.total_fen == 7_000
    assert (await used(ward))["inpatient"][1] == 847_000
    for one in (second.setl_id, refunded.setl_id):
        assert (await ward.cancel(one)).code == ResponseCode.APPROVED
    assert (await ward.visit(visit)).unsettled_fen == 840_000


async def test_a_number_that_looks_like_ours_is_no_obstacle(ward: Ward) -> None:
    visit, setl_id = await stay(ward)
    await ward.cancel(setl_id)
    again = (await ward.settled(visit)).setl_id
    number = str(int(again) + 1)
    line = messages.VisitLine(f"refund {number} 1", LAST, "A1", "A1", 10_000, ONE_E4, 1)
    await ward.cancel(again)
    assert (await ward.lines(visit, line)).code == ResponseCode.APPROVED
    settled = (await ward.settled(visit)).setl_id
    refunded = decoded(await refund(ward, settled, [(1, ONE_E4)]))
    assert refunded.given_back.total_fen == 500_000


async def test_a_stay_settled_in_parts_and_refunded_counts_once(ward: Ward) -> None:
    visit = await ward.admitted(FIRST)
    await ward.charged(visit, (FIRST, 500_000), (FIRST, 200_000))
    first = await ward.settled(visit, D(2026, 11, 12))
    await ward.charged(visit, (LAST, 300_000))
    await ward.settled(visit)
    await refund(ward, first.setl_id, [(2, ONE_E4)])
    for _ in range(2):
        await ward.settle(bill(("A1", 10_000)))
    cancelled = await ward.settle(bill(("A1", 10_000)))
    await ward.cancel(str(cancelled.entry_no))
    counts = await ward.database.fetch_script(visit_counts(PERSON, 2026))
    assert counts == {("310", "11"): 2, ("310", "21"): 1}
    assert await ward.database.fetch_script(visit_counts(PERSON, 2025)) == {}


async def test_what_remains_of_a_stay_keeps_the_stays_number(ward: Ward) -> None:
    """A later stay of the year bears 650; what remains of the first still bears 1,300."""
    visit, setl_id = await stay(ward)
    ward.go_to(2026, 12, 5)
    second = await ward.admitted(D(2026, 12, 1))
    await ward.charged(second, (D(2026, 12, 2), 100_000))
    await ward.discharge(second, D(2026, 12, 5))
    assert (await ward.settled(second)).split.deductible_fen == 65_000
    refunded = decoded(await refund(ward, setl_id, [(2, ONE_E4)]))
    assert refunded.remaining is not None
    assert refunded.remaining.deductible_fen == 130_000
    assert refunded.given_back.fund_pay_fen == 170_000  # 85 % of 2,000.00 at level 3
    again = decoded(await refund(ward, refunded.setl_id, [(1, ONE_E4 // 2)]))
    assert again.given_back.deductible_fen == 0
    assert (await used(ward))["inpatient"][0::4] == (195_000, 2)
    assert (await ward.visit(visit)).state is VisitState.CLOSED
    for one in (refunded.setl_id, again.setl_id):
        explained = await told(ward, one)
        assert isinstance(explained, messages.Explained)
        assert explained.result is ExplainResult.EXPLAINED
