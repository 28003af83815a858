"""Visits through the writer, on both databases: registered, charged, settled, undone."""

import datetime as dt

import pytest
from msgspec.structs import replace

from cardserver.claims.claims_store import ClaimsParticipant, accumulators
from cardserver.claims.settlement import needs_of
from cardserver.claims.values import Needs, Presented
from ledger.bulk_store import Query, Row, plain, queries_of
from ledger.ledger_store import balances
from ledger.scripts import run_script
from ledger.trial_balance_store import trial_balance
from protocol.terminal import messages
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import VisitLineState, VisitState
from tests.cardserver.claims.fund import COMMUNITY, PERSON, RETIRED
from tests.cardserver.visits.ward import SETTLED, TAKEN, Ward, changed, opened

D = dt.date
TODAY = D(2026, 11, 21)


async def used(ward: Ward, person: int = PERSON, year: int = 2026) -> dict[str, tuple[int, ...]]:
    rows = (await accumulators(ward.database, [person], year))[person]
    return {
        key.scheme: (
            one.deductible_fen, one.in_scope_fen, one.pool_fen, one.large_amount_fen,
            one.admissions,
        )
        for key, one in rows
        if any((one.deductible_fen, one.in_scope_fen, one.pool_fen, one.admissions))
    }  # fmt: skip


async def test_an_outpatient_visit(ward: Ward) -> None:
    visit = opened(await ward.register())
    a, b = ward.line(TODAY, 300_000), ward.line(TODAY, 10_000, "B1")
    taken = TAKEN.decode((await ward.lines(visit, a, b)).body)
    assert taken.visit.unsettled_fen == 310_000
    assert [one.in_scope_fen for one in taken.line_splits] == [300_000, 9_000]
    assert [one.pre_self_pay_fen for one in taken.line_splits] == [0, 1_000]
    back = messages.VisitLine("R1", TODAY, "B1", "B1", 100_000_000, -10_000, -10_000, b.number)
    taken = TAKEN.decode((await ward.lines(visit, back)).body)
    (division,) = taken.line_splits
    assert (division.pre_self_pay_fen, division.in_scope_fen) == (-1_000, -9_000)
    assert (taken.visit.unsettled_fen, taken.visit.unsettled_count) == (300_000, 1)

    settled = await ward.settled(visit)
    assert settled.split.fund_pay_fen == 84_000  # as the worked example of one message
    assert await used(ward) == {"outpatient": (180_000, 300_000, 84_000, 0, 0)}
    found = await ward.found(visit)
    assert [line.state for line in found.lines] == [VisitLineState.SETTLED] * 3
    assert {line.setl_id for line in found.lines} == {settled.setl_id}
    assert [one.setl_id for one in found.settlements] == [settled.setl_id]
    assert found.visits[0].state is VisitState.OPEN  # further lines may come

    assert (await ward.lines_cancel(visit, a.number)).code == ResponseCode.SETTLED_ALREADY
    assert (await ward.visit_cancel(visit)).code == ResponseCode.SETTLED_ALREADY
    await ward.cancel(settled.setl_id)
    assert await used(ward) == {}
    assert (await ward.visit(visit)).unsettled_fen == 300_000
    assert changed(await ward.lines_cancel(visit)).unsettled_count == 0
    assert changed(await ward.visit_cancel(visit)).state is VisitState.CANCELLED
    assert (await ward.lines(visit, ward.line(TODAY, 1))).code == ResponseCode.VISIT_NOT_OPEN
    assert (await ward.database.report(trial_balance)).is_equal


async def test_a_stay_over_days_with_an_interim_settlement(ward: Ward) -> None:
    stay = await ward.admitted(D(2026, 11, 1))
    await ward.charged(stay, (D(2026, 11, 1), 400_000), (D(2026, 11, 2), 600_000))
    interim = await ward.settled(stay, D(2026, 11, 1))
    assert interim.split.deductible_fen == 130_000
    assert interim.split.fund_pay_fen == (400_000 - 130_000) * 85 // 100
    assert (await ward.visit(stay)).state is VisitState.OPEN
    await ward.charged(stay, (D(2026, 11, 20), 2_500_000))
    assert changed(await ward.discharge(stay, TODAY)).state is VisitState.DISCHARGED
    final = await ward.settled(stay)
    found = await ward.found(stay)
    assert found.visits[0].state is VisitState.CLOSED
    assert [one.is_final for one in found.settlements] == [False, True]
    # 35,000 in scope in one admission, settled in two bills: as at once.
    assert interim.split.fund_pay_fen + final.split.fund_pay_fen == 2_889_500
    assert final.split.deductible_fen == 0
    assert await used(ward) == {"inpatient": (130_000, 3_500_000, 2_889_500, 0, 1)}
    # The claim holds its lines by itself.
    assert (await ward.discharge_cancel(stay)).code == ResponseCode.SETTLED_ALREADY
    for setl_id in (interim.setl_id, final.setl_id):
        await ward.cancel(setl_id)
    assert await used(ward) == {}
    assert changed(await ward.discharge_cancel(stay)).state is VisitState.OPEN
    again = await ward.settled(stay)
    assert again.split.fund_pay_fen == 2_889_500
    assert (await balances(ward.database, [PERSON]))[PERSON] == 10_000_000


async def test_cancelled_the_wrong_way_round_a_stay_is_still_counted_once(ward: Ward) -> None:
    stay = await ward.admitted(D(2026, 11, 1))
    await ward.charged(stay, (D(2026, 11, 1), 400_000), (D(2026, 11, 2), 600_000))
    first = await ward.settled(stay, D(2026, 11, 1))
    second = await ward.settled(stay, D(2026, 11, 2))
    assert await used(ward) == {"inpatient": (130_000, 1_000_000, 739_500, 0, 1)}
    await ward.cancel(first.setl_id)
    assert (await used(ward))["inpatient"][-1] == 0
    anew = await ward.settled(stay, D(2026, 11, 1))
    assert anew.split.deductible_fen == 130_000
    assert await used(ward) == {"inpatient": (130_000, 1_000_000, 739_500, 0, 1)}
    await ward.cancel(second.setl_id)
    await ward.cancel(anew.setl_id)
    assert await used(ward) == {}


async def test_the_second_stay_of_a_year_bears_the_lower_deductible(ward: Ward) -> None:
    first = await ward.admitted(D(2026, 10, 1))
    await ward.charged(first, (D(2026, 10, 1), 1_000_000))
    await ward.discharge(first, D(2026, 10, 5))
    await ward.settled(first)
    second = await ward.admitted(D(2026, 11, 1))
    await ward.charged(second, (D(2026, 11, 1), 1_000_000))
    settled = await ward.settled(second)
    assert settled.split.deductible_fen == 65_000
    await ward.charged(second, (D(2026, 11, 2), 1_000_000))
    assert (await ward.settled(second)).split.deductible_fen == 0
    assert (await used(ward))["inpatient"][-1] == 2


async def test_the_same_msgid_again_is_answered_as_before(ward: Ward) -> None:
    first = await ward.register(msgid=ward.msgid())
    msgid = ward.msgid()
    opening = await ward.admit(D(2026, 11, 1), msgid=msgid)
    again = await ward.admit(D(2026, 11, 1), msgid=msgid)
    assert again.is_duplicate
    assert again.body == opening.body
    stay = opened(opening)
    line, msgid = ward.line(TODAY, 500), ward.msgid()
    one = await ward.lines(stay, line, msgid=msgid)
    two = await ward.lines(stay, line, msgid=msgid)
    assert two.is_duplicate
    assert two.body == one.body
    assert (await ward.visit(stay)).lines_count == 1
    third = await ward.lines(stay, line)
    assert third.code == ResponseCode.LINE_NUMBER_USED
    assert opened(first) != stay


async def test_stays_do_not_overlap(ward: Ward) -> None:
    stay = await ward.admitted(D(2026, 11, 10))
    refusal = await ward.admit(D(2026, 11, 15), place=COMMUNITY)
    assert refusal.code == ResponseCode.STAY_OVERLAPS
    await ward.discharge(stay, D(2026, 11, 15))
    assert (await ward.admit(D(2026, 11, 14))).code == ResponseCode.STAY_OVERLAPS
    assert (await ward.admit(D(2026, 11, 10), RETIRED)).code == ResponseCode.APPROVED
    later = await ward.admitted(D(2026, 11, 15))
    # Both stays can't go on; once the later one is taken back, the earlier may.
    assert (await ward.discharge_cancel(stay)).code == ResponseCode.STAY_OVERLAPS
    await ward.visit_cancel(later)
    assert changed(await ward.discharge_cancel(stay)).ends is None


async def test_a_transfer_bears_the_deductible_once(ward: Ward) -> None:
    stay = await ward.admitted(D(2026, 11, 1))
    await ward.charged(stay, (D(2026, 11, 1), 100_000))
    refusal = await ward.admit(D(2026, 11, 3), place=COMMUNITY, transferred_from="12345")
    assert refusal.code == ResponseCode.STAY_OVERLAPS
    there = opened(await ward.admit(D(2026, 11, 3), place=COMMUNITY, transferred_from=stay))
    refusal = await ward.admit(D(2026, 11, 3), transferred_from=stay)
    assert refusal.code == ResponseCode.STAY_OVERLAPS
    late = await ward.discharge(stay, D(2026, 11, 4))
    assert late.code == ResponseCode.VISIT_DATE_NOT_VALID
    await ward.discharge(stay, D(2026, 11, 3))
    assert (await ward.visit_cancel(stay)).code == ResponseCode.TRANSFER_NOT_VALID
    first = await ward.settled(stay)
    assert (first.split.deductible_fen, first.split.fund_pay_fen) == (100_000, 0)
    lines = [ward.line(D(2026, 11, 3), 200_000)]
    assert (await ward.lines(there, *lines, place=COMMUNITY)).code == ResponseCode.APPROVED
    second = await ward.settled(there, place=COMMUNITY)
    assert second.split.deductible_fen == 30_000
    assert second.split.fund_pay_fen == 170_000 * 90 // 100
    assert (await used(ward))["inpatient"][-1] == 1
    assert (await ward.visit(there, COMMUNITY)).transferred_from == stay


async def test_a_transfer_settled_the_other_way_round_bears_it_once_too(ward: Ward) -> None:
    stay = await ward.admitted(D(2026, 11, 1))
    await ward.charged(stay, (D(2026, 11, 1), 100_000))
    await ward.discharge(stay, D(2026, 11, 3))
    there = opened(await ward.admit(D(2026, 11, 4), place=COMMUNITY, transferred_from=stay))
    await ward.lines(there, ward.line(D(2026, 11, 4), 200_000), place=COMMUNITY)
    second = await ward.settled(there, place=COMMUNITY)
    first = await ward.settled(stay)
    assert (second.split.deductible_fen, first.split.deductible_fen) == (130_000, 0)
    assert (await used(ward))["inpatient"][-1] == 1


@pytest.mark.parametrize(
    ("begins", "gap"), [(D(2026, 11, 6), "later"), (D(2026, 11, 2), "before its end")]
)
async def test_what_is_no_transfer_is_refused(ward: Ward, begins: dt.date, gap: str) -> None:
    stay = await ward.admitted(D(2026, 11, 1))
    await ward.discharge(stay, D(2026, 11, 4))
    outcome = await ward.admit(begins, transferred_from=stay)
    assert outcome.code == ResponseCode.TRANSFER_NOT_VALID, gap
    assert outcome.detail_zh
    outcome = await ward.admit(D(2026, 11, 5), RETIRED, transferred_from=stay)
    assert outcome.code == ResponseCode.TRANSFER_NOT_VALID
    once = await ward.admitted(D(2026, 11, 4), transferred_from=stay)
    await ward.discharge(once, D(2026, 11, 5))
    twice = await ward.admit(D(2026, 11, 5), transferred_from=stay)
    assert twice.code == ResponseCode.TRANSFER_NOT_VALID


async def test_another_institution_does_not_see_it(ward: Ward) -> None:
    stay = await ward.admitted(D(2026, 11, 1))
    line = ward.line(TODAY, 100)
    assert (await ward.lines(stay, line, place=COMMUNITY)).code == ResponseCode.VISIT_UNKNOWN
    assert (await ward.lines("99", line)).code == ResponseCode.VISIT_UNKNOWN
    assert (await ward.lines("no number", line)).code == ResponseCode.VISIT_UNKNOWN


async def test_a_bill_names_what_was_registered(ward: Ward) -> None:
    stay = await ward.admitted(D(2026, 11, 1))
    await ward.charged(stay, (TODAY, 100_000))
    bill = await ward.bill(stay)
    wrong = [
        (replace(bill, mdtrt_id="77"), ResponseCode.VISIT_UNKNOWN),
        (replace(bill, total_fen=99_999), ResponseCode.TOTAL_MISMATCH),
        (replace(bill, admitted=D(2026, 11, 1)), ResponseCode.BILL_INVALID),
        (replace(bill, disease="M0101"), ResponseCode.BILL_INVALID),
        (replace(bill, discharged=D(2026, 11, 22)), ResponseCode.VISIT_DATE_NOT_VALID),
        (replace(bill, discharged=D(2026, 10, 31)), ResponseCode.VISIT_DATE_NOT_VALID),
        (replace(bill, discharged=D(2026, 11, 20)), ResponseCode.BILL_INVALID),
    ]
    for one, code in wrong:
        outcome = await ward.preview(one)
        assert getattr(outcome, "code", None) == code, one
    assert getattr(await ward.preview(bill, RETIRED), "code", None) == ResponseCode.VISIT_UNKNOWN
    assert isinstance(await ward.preview(bill), messages.Previewed)


async def test_a_reversal_reopens_the_lines(ward: Ward) -> None:
    stay = await ward.admitted(D(2026, 11, 1))
    await ward.charged(stay, (TODAY, 200_000))
    msgid = ward.msgid()
    outcome = await ward.settle_visit(stay, msgid=msgid)
    assert outcome.code == ResponseCode.APPROVED
    assert (await ward.visit(stay)).settled_fen == SETTLED.decode(outcome.body).split.total_fen
    await ward.reverse(msgid)
    after = await ward.visit(stay)
    assert (after.settled_fen, after.unsettled_fen) == (0, 200_000)
    assert await used(ward) == {}


async def test_lines_come_by_pages_of_count_and_of_bytes(ward: Ward) -> None:
    stay = await ward.admitted(D(2026, 11, 1))
    lines = [
        messages.VisitLine(f"P{n:03}", TODAY, "A1", "甲" * 200, 10**6, 10_000, 100)
        for n in range(30)
    ]
    await ward.lines(stay, *lines)
    seen: list[messages.VisitLineFound] = []
    pages = first = 0
    while True:
        found = await ward.found(stay, first_line=first, lines_max=12, size_max=5_000)
        seen += found.lines
        pages += 1
        assert 0 < len(found.lines) <= 12
        if not found.next_line:
            break
        first = found.next_line
    assert [one.line for one in seen] == lines
    assert pages > 3  # the bytes cut before the count does
    one = await ward.found(stay, first_line=29, lines_max=500, size_max=1)
    assert len(one.lines) == 1
    assert one.next_line == 0


async def test_the_rows_beside_the_records_say_what_the_records_come_to(ward: Ward) -> None:
    stay = await ward.admitted(D(2026, 11, 1))
    await ward.charged(stay, (D(2026, 11, 2), 100))
    await ward.discharge(stay, D(2026, 11, 5))
    await ward.settled(stay)
    rows = await ward.database.fetch(
        plain("visit rows", postgresql=ROWS, sqlite=ROWS)()
    )  # fmt: skip
    assert rows == [(int(stay), VisitState.CLOSED, 20261105, 3)]
    course = await ward.found(stay)
    assert course.visits[0].state is VisitState.CLOSED


ROWS = "SELECT visit_no, state, ends, record_count FROM visit"


async def test_a_group_that_asks_about_no_visit_reads_nothing_of_visits(ward: Ward) -> None:
    """The hot path: a bill with lines of its own costs no statement more."""

    def statements(needs: Needs) -> list[list[str]]:
        """What a group runs for a request, on empty tables: of each, the reads that have keys."""
        participant, asked = ClaimsParticipant(), []

        def answer(query: Query) -> list[Row]:
            reads = queries_of(query)
            asked.append([one.statement.name for one in reads if one.rows])
            return [() for _ in reads] if query.statement.reads else []

        book, persons = run_script(participant.find([needs], {}), answer)
        run_script(participant.lock(book, [needs], sorted(persons)), answer)
        run_script(participant.read(book, [needs]), answer)
        return asked

    bill = messages.Bill("310", "11", 100, uses_account=True, invoice="", lines=())
    presented = Presented(PERSON, 10, 2)
    settle = needs_of(bill, presented, ward.rules, terminal_no=1, today=20261121)
    plainly = statements(settle)
    assert len(plainly) == 2  # payers and locks, and all else at once
    assert not [name for one in plainly for name in one if "visit" in name or "filing" in name]
    visit = needs_of(
        replace(bill, mdtrt_id="7"), presented, ward.rules, terminal_no=1, today=20261121
    )
    # Whose it is, before the lock; then the visit. What is not there has no records to read.
    asked = [one for one in statements(visit) if one not in plainly]
    assert asked == [["select visit"]] * 2
