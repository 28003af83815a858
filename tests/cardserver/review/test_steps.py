"""A case goes its way: who may do what, what is posted, and what an appeal gives back."""

import asyncio

import pytest

from cardserver.registry import tables as registry
from cardserver.review.cases_store import Appeal, read_cuts, read_steps
from cardserver.review.check_store import check_review
from cardserver.review.desk_store import Filed, MsgidReusedError
from cardserver.review.months_store import choose_settlement
from cardserver.review.readiness_store import Hindrance, Undecided, undecided
from cardserver.review.values import Case, Cut, Finding, Refusal, State, StepKind, Verdict
from ledger.bulk_store import insert
from tests.cardserver.claims.fund import INSTITUTION, bill
from tests.cardserver.review.office import (
    ACCEPTOR,
    APPROVED,
    ARTICLE,
    AUDITOR,
    CALCULATOR,
    FOURTH,
    MONTH,
    SECOND,
    THIRD,
    Office,
    day,
    reduced,
)


async def test_a_deduction_is_posted_with_the_last_signature(office: Office) -> None:
    await office.open()
    case = await office.case(300_000)
    assert (case.state, case.fund_pay_fen) == (State.NEW, 84_000)
    await office.to_audit(case.case_no, reduced(10_000))
    assert await office.deducted() == 0
    after = await office.do("audit", case.case_no, AUDITOR, "同意")
    assert (after.state, after.deduction_fen, after.holder_no) == (State.DECIDED, 10_000, 0)
    assert after.appeal_until == 20261206
    assert await office.deducted() == 10_000
    steps = await office.database.fetch_script(read_steps(case.case_no))
    assert [(one.kind, one.operator_no, one.department) for one in steps] == [
        (StepKind.ACCEPT, 101, "受理科"),
        (StepKind.CALCULATE, 102, "核算科"),
        (StepKind.AUDIT, 103, "稽查科"),
    ]
    assert steps[-1].entry_no == after.deduction_no > 0
    cuts = await office.database.fetch_script(read_cuts(case.case_no))
    assert [(cut.line, cut.amount_fen, cut.article) for cut in cuts[2]] == [(0, 10_000, ARTICLE)]
    assert await office.count("audit", "action LIKE 'review %'") == 6  # rules, open, choose, steps


async def test_nothing_is_posted_where_all_is_approved(office: Office) -> None:
    await office.open()
    case = await office.case()
    await office.to_audit(case.case_no, APPROVED)
    after = await office.do("audit", case.case_no, AUDITOR)
    assert (after.state, after.deduction_fen, after.appeal_until) == (State.FINAL, 0, 0)
    assert await office.count("entry", "kind = 24") == 0


async def test_above_an_amount_two_auditors_sign_to_approve_too(office: Office) -> None:
    await office.open()
    case = await office.case(1_000_000)
    assert case.fund_pay_fen > 200_000
    await office.to_audit(case.case_no, APPROVED)
    once = await office.do("audit", case.case_no, AUDITOR)
    assert once.state is State.SIGNED
    assert await office.desk.take(case.case_no, AUDITOR) is Refusal.SIGNED_ALREADY
    twice = await office.do("audit", case.case_no, SECOND)
    assert twice.state is State.FINAL


async def test_what_audit_sends_back_is_calculated_anew(office: Office) -> None:
    await office.open()
    case = await office.case()
    await office.to_audit(case.case_no, reduced(10_000))
    back = await office.do("send_back", case.case_no, AUDITOR, "金额有误")
    assert (back.state, back.proposed_fen, back.verdict) == (State.ACCEPTED, 0, Verdict.NONE)
    await office.do("calculate", case.case_no, CALCULATOR, reduced(4_000))
    after = await office.do("audit", case.case_no, AUDITOR)  # who sent it back may audit it
    assert after.deduction_fen == await office.deducted() == 4_000


async def test_nobody_signs_two_steps(office: Office) -> None:
    await office.open()
    case = await office.case()
    await office.do("accept", case.case_no, ACCEPTOR)
    # Someone who changed posts does not go on with a case that they began.
    promoted = ACCEPTOR._replace(role=CALCULATOR.role)
    assert await office.desk.take(case.case_no, promoted) is Refusal.SIGNED_ALREADY
    await office.do("calculate", case.case_no, CALCULATOR, APPROVED)
    for who in (ACCEPTOR, CALCULATOR):
        risen = who._replace(role=AUDITOR.role)
        assert await office.desk.take(case.case_no, risen) is Refusal.SIGNED_ALREADY
    assert await office.desk.take(case.case_no, ACCEPTOR) is Refusal.WRONG_ROLE


async def test_only_who_has_taken_a_case_signs_it(office: Office) -> None:
    await office.open()
    case = await office.case()
    other = ACCEPTOR._replace(operator_no=201)
    assert await office.refusal("accept", case.case_no, ACCEPTOR) is Refusal.NOT_HELD
    assert isinstance(await office.desk.take(case.case_no, ACCEPTOR), Case)
    assert await office.desk.take(case.case_no, other) is Refusal.HELD_BY_ANOTHER
    assert await office.refusal("accept", case.case_no, other) is Refusal.HELD_BY_ANOTHER
    assert await office.refusal("give_back", case.case_no, other) is Refusal.NOT_HELD
    assert isinstance(await office.desk.give_back(case.case_no, ACCEPTOR), Case)
    assert isinstance(await office.desk.take(case.case_no, other), Case)
    office.counter.clock.ms += 8 * 3_600_000  # left lying for too long
    assert await office.refusal("accept", case.case_no, other) is Refusal.NOT_HELD
    assert isinstance(await office.desk.take(case.case_no, ACCEPTOR), Case)


async def test_whoever_took_part_or_declared_a_conflict_does_not_review(office: Office) -> None:
    await office.open()
    case = await office.case()
    cashier = ACCEPTOR._replace(operator_no=9)  # who settled at the counter
    assert await office.desk.take(case.case_no, cashier) is Refusal.TOOK_PART
    filing = insert(
        registry.change,
        ("recorded_time_ms", "operator_no", "actor", "subject", "key", "person_no", "before",
         "after", "batch_no"),
    )  # fmt: skip
    rows = [(1, 301, "x", "filing", "1", case.person_no, "", "{}", 0),
            (1, 302, "x", "person", "1", case.person_no, "", "{}", 0)]  # fmt: skip
    await office.database.execute(filing(rows))
    filer, registrar = (ACCEPTOR._replace(operator_no=number) for number in (301, 302))
    assert await office.desk.take(case.case_no, filer) is Refusal.TOOK_PART
    assert isinstance(await office.desk.take(case.case_no, registrar), Case)
    assert isinstance(await office.desk.give_back(case.case_no, registrar), Case)

    assert isinstance(await office.desk.take(case.case_no, ACCEPTOR), Case)
    await office.desk.declare_conflict(ACCEPTOR, case_no=case.case_no, reason="亲属")
    assert await office.refusal("accept", case.case_no, ACCEPTOR) is Refusal.CONFLICT_DECLARED
    cousin = ACCEPTOR._replace(operator_no=303)
    assert isinstance(await office.desk.take(case.case_no, cousin), Case)  # it was given back
    await office.desk.give_back(case.case_no, cousin)
    await office.desk.declare_conflict(cousin, institution_no=1, reason="曾任职")
    assert await office.desk.take(case.case_no, cousin) is Refusal.CONFLICT_DECLARED
    assert len(await office.desk.conflicts()) == 2
    await office.desk.lift_conflict(AUDITOR, 303, 1, reason="已满三年")
    assert isinstance(await office.desk.take(case.case_no, cousin), Case)


async def test_only_the_funds_own_operators_review(office: Office) -> None:
    await office.open()
    case = await office.case()
    theirs = ACCEPTOR._replace(institution_no=1)
    assert await office.desk.take(case.case_no, theirs) is Refusal.NOT_THE_FUNDS


@pytest.mark.parametrize(
    ("finding", "refusal"),
    [
        (reduced(84_001), Refusal.MORE_THAN_FUND_PAID),
        (reduced(84_000), Refusal.ALL_OF_IT),
        (reduced(0), Refusal.NOT_AN_AMOUNT),
        (reduced(-5), Refusal.NOT_AN_AMOUNT),
        (reduced(5, line=2), Refusal.LINE_UNKNOWN),
        (reduced(83_000, verdict=Verdict.REJECT), Refusal.CUTS_MISSING),
        (Finding(Verdict.REDUCE), Refusal.CUTS_MISSING),
        (Finding(Verdict.REDUCE, (Cut(0, 5, "B-9", "超价"),)), Refusal.ARTICLE_UNKNOWN),
        (Finding(Verdict.REDUCE, (Cut(0, 5, ARTICLE, ""),)), Refusal.CUTS_MISSING),
        (Finding(Verdict.REDUCE, (Cut(1, 5, ARTICLE, "a"), Cut(1, 5, ARTICLE, "b"))),
         Refusal.LINE_TWICE),
        (reduced(5, verdict=Verdict.APPROVE), Refusal.CUTS_FOR_NOTHING),
        (Finding(Verdict.GRANT), Refusal.NOT_NOW),
    ],
)  # fmt: skip
async def test_a_calculation_that_cannot_be_is_refused(
    office: Office, finding: Finding, refusal: Refusal
) -> None:
    await office.open()
    case = await office.case()
    await office.do("accept", case.case_no, ACCEPTOR)
    assert isinstance(await office.desk.take(case.case_no, CALCULATOR), Case)
    assert await office.refusal("calculate", case.case_no, CALCULATOR, finding) is refusal
    assert await office.count("review_step") == 1


async def test_a_line_gives_no_more_than_it_had_in_scope(office: Office) -> None:
    await office.open()
    outcome = await office.counter.settle(
        bill(("A1", 400_000), ("X", 50_000), ("B1", 1_000), uses_account=False)
    )
    assert outcome.entry_no is not None
    case_no = await choose_settlement(
        office.database, MONTH, outcome.entry_no, AUDITOR, reason="举报",
        now_ms=office.counter.clock.ms,
    )  # fmt: skip
    await office.do("accept", case_no, ACCEPTOR)
    assert isinstance(await office.desk.take(case_no, CALCULATOR), Case)
    for line, fen in ((2, 1), (3, 901)):  # the patient's own; B1 less what the patient pays first
        refusal = await office.refusal("calculate", case_no, CALCULATOR, reduced(fen, line=line))
        assert refusal is Refusal.MORE_THAN_LINE
    done = await office.desk.calculate(case_no, CALCULATOR, reduced(900, line=3))
    assert isinstance(done, Case)


async def test_a_rejection_takes_all_that_the_fund_paid(office: Office) -> None:
    await office.open()
    case = await office.decided(300_000, reduced(84_000, verdict=Verdict.REJECT))
    assert case.deduction_fen == case.fund_pay_fen == await office.deducted()


# --- appeals ------------------------------------------------------------------------------------


def appeal(number: int = 1, reason: str = "收费有据", content: bytes = b"a") -> Appeal:
    msgid = f"{INSTITUTION}202611221200{number:02d}0000"
    return Appeal(1, 1, msgid, content * 32, 9, 1_795_000_000_000, 20261122, reason)


async def filed(office: Office, case: Case) -> None:
    done = await office.desk.appeal(case.case_no, appeal())
    assert isinstance(done, Filed)
    assert not done.is_duplicate


async def test_an_appeal_that_succeeds_gives_the_deduction_back(office: Office) -> None:
    await office.open()
    case = await office.decided()
    await filed(office, case)
    assert await office.deducted() == 10_000  # it stands until then
    for signed in (ACCEPTOR, CALCULATOR, AUDITOR):
        again = signed._replace(role=AUDITOR.role)
        assert await office.desk.take(case.case_no, again) is Refusal.SIGNED_ALREADY
    finding = Finding(Verdict.GRANT, (), "发票属实")
    after = await office.do("decide_appeal", case.case_no, SECOND, finding)
    assert (after.state, after.deduction_fen, after.deduction_no) == (State.FINAL, 0, 0)
    assert await office.deducted() == 0
    assert await office.count("entry", f"undoes = {case.deduction_no} AND kind = 24") == 1


async def test_an_appeal_granted_in_part_leaves_the_rest(office: Office) -> None:
    await office.open()
    case = await office.decided()
    await filed(office, case)
    assert isinstance(await office.desk.take(case.case_no, SECOND), Case)
    for fen in (10_000, 10_001):
        finding = reduced(fen, verdict=Verdict.GRANT_PARTLY)
        refusal = await office.refusal("decide_appeal", case.case_no, SECOND, finding)
        assert refusal is Refusal.NOT_LESS
    finding = reduced(2_500, verdict=Verdict.GRANT_PARTLY)
    after = await office.desk.decide_appeal(case.case_no, SECOND, finding)
    assert isinstance(after, Case)
    assert after.deduction_fen == await office.deducted() == 2_500
    assert after.deduction_no != case.deduction_no
    assert await check_review(office.database) == []


async def test_two_auditors_who_signed_nothing_decide_a_large_appeal(office: Office) -> None:
    await office.open()
    case = await office.case(1_000_000)
    await office.to_audit(case.case_no, reduced(50_000))
    await office.do("audit", case.case_no, AUDITOR)
    case = await office.do("audit", case.case_no, SECOND)
    await filed(office, case)
    dismissal = Finding(Verdict.DISMISS, (), "申诉理由不足")
    once = await office.do("decide_appeal", case.case_no, THIRD, dismissal)
    assert (once.state, once.deduction_fen) == (State.APPEAL_SIGNED, 50_000)
    assert await office.desk.take(case.case_no, THIRD) is Refusal.SIGNED_ALREADY
    back = await office.do("send_back", case.case_no, FOURTH, "再议")
    assert (back.state, back.verdict) == (State.APPEALED, Verdict.REDUCE)
    await office.do("decide_appeal", case.case_no, THIRD, Finding(Verdict.GRANT, (), "成立"))
    after = await office.do("confirm_appeal", case.case_no, FOURTH)
    assert (after.state, after.verdict, after.deduction_fen) == (State.FINAL, Verdict.GRANT, 0)
    assert await office.deducted() == 0


async def test_an_appeal_is_taken_once_and_in_time(office: Office) -> None:
    await office.open()
    approved = await office.decided(300_000, APPROVED)
    assert await office.desk.appeal(approved.case_no, appeal()) is Refusal.NOTHING_TO_APPEAL
    case = await office.decided(200_000)
    late = await office.decided(250_000)
    elsewhere = appeal()._replace(institution_no=2)
    assert await office.desk.appeal(case.case_no, elsewhere) is Refusal.CASE_UNKNOWN
    office.at(day(2026, 12, 6, 23))  # the last day of fifteen
    first = await office.desk.appeal(case.case_no, appeal())
    assert isinstance(first, Filed)
    again = await office.desk.appeal(case.case_no, appeal())
    assert isinstance(again, Filed)
    assert (again.is_duplicate, again.case) == (True, first.case)
    with pytest.raises(MsgidReusedError):
        await office.desk.appeal(case.case_no, appeal(content=b"b"))
    assert await office.desk.appeal(case.case_no, appeal(2)) is Refusal.APPEALED_ALREADY
    office.pass_days(1)
    assert await office.desk.appeal(late.case_no, appeal(3)) is Refusal.APPEAL_OVER
    assert await office.desk.follow() == 1
    found = await office.desk.find(late.case_no)
    assert found is not None
    assert (found.state, found.deduction_fen) == (State.FINAL, 10_000)


# --- settlements undone -------------------------------------------------------------------------


async def test_an_open_case_of_a_settlement_undone_is_closed(office: Office) -> None:
    await office.open()
    case = await office.case()
    await office.to_audit(case.case_no, reduced(10_000))
    assert isinstance(await office.desk.take(case.case_no, AUDITOR), Case)
    await office.counter.cancel(str(case.claim_no))
    refusal = await office.refusal("audit", case.case_no, AUDITOR)
    assert refusal is Refusal.SETTLEMENT_UNDONE
    found = await office.desk.find(case.case_no)
    assert found is not None
    assert (found.state, found.deduction_fen, found.proposed_fen) == (State.CLOSED, 0, 0)
    assert await office.deducted() == 0
    assert await office.desk.follow() == 0


@pytest.mark.parametrize("is_appealed", [False, True])
async def test_a_deduction_of_a_settlement_undone_is_given_back(
    office: Office, *, is_appealed: bool
) -> None:
    await office.open()
    case = await office.decided()
    if is_appealed:
        await filed(office, case)
    await office.counter.cancel(str(case.claim_no))
    found = await undecided(office.database, MONTH)
    assert Undecided(Hindrance.TO_FOLLOW, 1, 11, 1, 10_000) in found
    assert await office.desk.follow() == 1
    assert await office.desk.follow() == 0
    after = await office.desk.find(case.case_no)
    assert after is not None
    assert (after.state, after.deduction_fen, after.deduction_no) == (State.CLOSED, 0, 0)
    assert await office.deducted() == 0
    assert await check_review(office.database) == []


# --- at once ------------------------------------------------------------------------------------


async def test_of_many_who_take_a_case_at_once_one_has_it(office: Office) -> None:
    await office.open()
    case = await office.case()
    many = [ACCEPTOR._replace(operator_no=400 + number) for number in range(8)]
    taken = await asyncio.gather(*(office.desk.take(case.case_no, who) for who in many))
    assert sum(isinstance(one, Case) for one in taken) == 1
    assert [one for one in taken if not isinstance(one, Case)] == [Refusal.HELD_BY_ANOTHER] * 7


async def test_of_two_who_take_the_next_case_at_once_each_has_another(office: Office) -> None:
    await office.open()
    for _ in range(3):
        await office.case()
    many = [ACCEPTOR._replace(operator_no=400 + number) for number in range(3)]
    taken = await asyncio.gather(*(office.desk.take_next(MONTH, who) for who in many))
    numbers = {one.case_no for one in taken if isinstance(one, Case)}
    assert len(numbers) >= 1
    assert len(numbers) == sum(isinstance(one, Case) for one in taken)


async def test_one_signature_sent_twice_at_once_counts_once(office: Office) -> None:
    await office.open()
    case = await office.case()
    await office.to_audit(case.case_no, reduced(10_000))
    assert isinstance(await office.desk.take(case.case_no, AUDITOR), Case)
    async with office.another_desk() as desk:
        await asyncio.gather(
            office.desk.audit(case.case_no, AUDITOR), desk.audit(case.case_no, AUDITOR)
        )
    assert await office.deducted() == 10_000
    assert await office.count("review_step", "kind = 4") == 1


async def test_a_settlement_undone_while_it_is_signed_is_never_deducted_in_the_end(
    office: Office,
) -> None:
    await office.open()
    for _ in range(4):
        case = await office.case(200_000)
        await office.to_audit(case.case_no, reduced(2_000))
        assert isinstance(await office.desk.take(case.case_no, AUDITOR), Case)
        await asyncio.gather(
            office.desk.audit(case.case_no, AUDITOR), office.counter.cancel(str(case.claim_no))
        )
    await office.desk.follow()
    assert await office.deducted() == 0
    assert await check_review(office.database) == []
    assert await office.count("review_case", "state = 9") == 4
