"""A case goes its way: who may do what, what is posted, and what an appeal gives back."""

import pytest

from cardserver.review.cases_store import read_cuts, read_steps
from cardserver.review.values import Case, Finding, Refusal, State, StepKind, Verdict
from tests.cardserver.review.office import (
    ACCEPTOR,
    APPROVED,
    ARTICLE,
    AUDITOR,
    CALCULATOR,
    SECOND,
    Office,
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
