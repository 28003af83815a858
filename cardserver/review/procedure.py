"""What may be done to a case, by whom, and what follows. Pure decisions.

    NEW -accept-> ACCEPTED -calculate-> CALCULATED -audit-> (SIGNED -audit->) DECIDED or FINAL
    CALCULATED, SIGNED -return-> ACCEPTED
    DECIDED -appeal-> APPEALED -decide-> (APPEAL_SIGNED -confirm->) FINAL
    DECIDED -time passes-> FINAL;  any -settlement undone-> CLOSED

Nobody signs two steps of one case: a calculator whose work came back may calculate again, and the
auditor who sent it back may audit what comes anew; nothing else. An appeal is decided by auditors
who have signed nothing of the case. Not here: how it is recorded and posted (`steps_store.py`).
"""

import datetime as dt
from typing import assert_never

from msgspec.structs import replace

from cardserver.review.values import (
    FUND,
    ROLE_AT,
    Case,
    Change,
    Cut,
    Finding,
    Refusal,
    Reviewer,
    State,
    Step,
    StepKind,
    Surroundings,
    Terms,
    Verdict,
)
from ledger.calendar import date_of, day_number

_SIGNATURES = {
    StepKind.ACCEPT, StepKind.CALCULATE, StepKind.RETURN, StepKind.AUDIT, StepKind.DECIDE_APPEAL,
    StepKind.RETURN_APPEAL, StepKind.CONFIRM_APPEAL,
}  # fmt: skip
_MAY_FOLLOW = {
    # One's own earlier step, and the ones that one may do after it.
    StepKind.CALCULATE: {StepKind.CALCULATE},
    StepKind.RETURN: {StepKind.RETURN, StepKind.AUDIT},
    StepKind.RETURN_APPEAL: {StepKind.RETURN_APPEAL, StepKind.CONFIRM_APPEAL},
    StepKind.DECIDE_APPEAL: {StepKind.DECIDE_APPEAL},
}
_NEXT = {
    State.NEW: {StepKind.ACCEPT},
    State.ACCEPTED: {StepKind.CALCULATE},
    State.CALCULATED: {StepKind.AUDIT, StepKind.RETURN},
    State.SIGNED: {StepKind.AUDIT, StepKind.RETURN},
    State.APPEALED: {StepKind.DECIDE_APPEAL},
    State.APPEAL_SIGNED: {StepKind.CONFIRM_APPEAL, StepKind.RETURN_APPEAL},
}


def take(
    case: Case, around: Surroundings, who: Reviewer, terms: Terms, *, now_ms: int
) -> Case | Refusal:
    """Have someone take a case: until it is done, given back, or left lying for too long."""
    steps = _NEXT.get(case.state, set())
    refusals = [_bar(case, around, who, step) for step in sorted(steps)]
    if not refusals:
        return Refusal.NOT_NOW
    refusal = None if None in refusals else refusals[0]
    if refusal is not None:
        return refusal
    if case.is_held(now_ms) and case.holder_no != who.operator_no:
        return Refusal.HELD_BY_ANOTHER
    begun_ms = case.taken_time_ms if case.is_held(now_ms) else now_ms
    return replace(
        case,
        holder_no=who.operator_no,
        taken_time_ms=begun_ms,
        held_until_ms=now_ms + terms.hold_ms,
    )


def give_back(case: Case, who: Reviewer, *, now_ms: int) -> Case | Refusal:
    """Let someone else take the case."""
    if not case.is_held(now_ms) or case.holder_no != who.operator_no:
        return Refusal.NOT_HELD
    return _free(case)


def accept(
    case: Case, around: Surroundings, who: Reviewer, *, note: str, now_ms: int
) -> Change | Refusal:
    """受理: the papers are there, and the settlement is one to be looked at."""
    refusal = _refusal(case, around, who, StepKind.ACCEPT, now_ms)
    if refusal is not None:
        return refusal
    step = Step(StepKind.ACCEPT, Verdict.NONE, 0, note)
    return Change(_stepped(case, State.ACCEPTED), step)


def calculate(
    case: Case,
    around: Surroundings,
    who: Reviewer,
    finding: Finding,
    terms: Terms,
    *,
    now_ms: int,
) -> Change | Refusal:
    """核算: what should the fund have paid, and what is to be taken back?"""
    refusal = _refusal(case, around, who, StepKind.CALCULATE, now_ms)
    if refusal is not None:
        return refusal
    refusal = _finding_refusal(case, around, finding, terms)
    if refusal is not None:
        return refusal
    proposed_fen = sum(cut.amount_fen for cut in finding.cuts)
    step = Step(StepKind.CALCULATE, finding.verdict, proposed_fen, finding.note, finding.cuts)
    after = replace(
        _stepped(case, State.CALCULATED), verdict=finding.verdict, proposed_fen=proposed_fen
    )
    return Change(after, step)


def send_back(
    case: Case, around: Surroundings, who: Reviewer, *, note: str, now_ms: int
) -> Change | Refusal:
    """Audit does not agree: the calculation, or the decision of an appeal, is made anew."""
    is_appeal = case.state is State.APPEAL_SIGNED
    kind = StepKind.RETURN_APPEAL if is_appeal else StepKind.RETURN
    refusal = _refusal(case, around, who, kind, now_ms)
    if refusal is not None:
        return refusal
    if not note:
        return Refusal.NOTE_MISSING
    state = State.APPEALED if is_appeal else State.ACCEPTED
    after = replace(_stepped(case, state), verdict=_verdict_in_force(case), proposed_fen=0)
    return Change(after, Step(kind, Verdict.NONE, 0, note))


def audit(
    case: Case,
    around: Surroundings,
    who: Reviewer,
    terms: Terms,
    *,
    note: str,
    now_ms: int,
    today: int,
) -> Change | Refusal:
    """稽查: sign what was calculated; with the last signature it is decided, and posted."""
    refusal = _refusal(case, around, who, StepKind.AUDIT, now_ms)
    if refusal is not None:
        return refusal
    step = Step(StepKind.AUDIT, case.verdict, case.proposed_fen, note)
    if case.state is State.CALCULATED and needs_two(case, terms):
        return Change(_stepped(case, State.SIGNED), step)
    after = replace(
        _stepped(case, State.DECIDED if case.proposed_fen else State.FINAL),
        proposed_fen=0,
        deduction_fen=case.proposed_fen,
        decided_time_ms=now_ms,
        appeal_until=_days_after(today, terms.appeal_days) if case.proposed_fen else 0,
    )
    return Change(after, step, deducts_fen=case.proposed_fen)


def appeal(case: Case, around: Surroundings, *, note: str, today: int) -> Change | Refusal:
    """The institution does not agree with the deduction."""
    if around.undone_by:
        return Refusal.SETTLEMENT_UNDONE
    if any(one.kind is StepKind.APPEAL for one in around.signed):
        return Refusal.APPEALED_ALREADY
    if not case.deduction_fen:
        return Refusal.NOTHING_TO_APPEAL
    if case.state is not State.DECIDED or today > case.appeal_until:
        return Refusal.APPEAL_OVER
    if not note:
        return Refusal.NOTE_MISSING
    step = Step(StepKind.APPEAL, case.verdict, case.deduction_fen, note)
    return Change(replace(_stepped(case, State.APPEALED), appeal_until=0), step)


def decide_appeal(
    case: Case,
    around: Surroundings,
    who: Reviewer,
    finding: Finding,
    terms: Terms,
    *,
    now_ms: int,
) -> Change | Refusal:
    """Decide an appeal: it is granted, granted in part, or dismissed."""
    refusal = _refusal(case, around, who, StepKind.DECIDE_APPEAL, now_ms)
    if refusal is not None:
        return refusal
    refusal = _appeal_refusal(case, around, finding, terms)
    if refusal is not None:
        return refusal
    match finding.verdict:
        case Verdict.GRANT:
            left_fen = 0
        case Verdict.DISMISS:
            left_fen = case.deduction_fen
        case _:
            left_fen = sum(cut.amount_fen for cut in finding.cuts)
    step = Step(StepKind.DECIDE_APPEAL, finding.verdict, left_fen, finding.note, finding.cuts)
    after = replace(
        _stepped(case, State.APPEAL_SIGNED), verdict=finding.verdict, proposed_fen=left_fen
    )
    if needs_two(case, terms):
        return Change(after, step)
    return _appeal_ended(after, step, now_ms)


def confirm_appeal(
    case: Case, around: Surroundings, who: Reviewer, *, note: str, now_ms: int
) -> Change | Refusal:
    """Sign the decision of an appeal for the second time."""
    refusal = _refusal(case, around, who, StepKind.CONFIRM_APPEAL, now_ms)
    if refusal is not None:
        return refusal
    step = Step(StepKind.CONFIRM_APPEAL, case.verdict, case.proposed_fen, note)
    return _appeal_ended(_stepped(case, State.APPEAL_SIGNED), step, now_ms)


def follow(case: Case, around: Surroundings, *, today: int) -> Change | None:
    """Say what follows of itself: the settlement was undone, or the time to appeal is over."""
    if case.state is State.CLOSED:
        return None
    if around.undone_by:
        step = Step(StepKind.UNDO, Verdict.NONE, 0, f"undone by {around.undone_by}")
        after = replace(
            _stepped(case, State.CLOSED),
            proposed_fen=0, deduction_fen=0, deduction_no=0, appeal_until=0,
        )  # fmt: skip
        return Change(after, step, gives_back=bool(case.deduction_fen))
    if case.state is State.DECIDED and today > case.appeal_until:
        step = Step(StepKind.FINISH, case.verdict, case.deduction_fen)
        return Change(replace(_stepped(case, State.FINAL), appeal_until=0), step)
    return None


def needs_two(case: Case, terms: Terms) -> bool:
    """Tell whether so much is at stake that two auditors sign, to approve it too."""
    return case.fund_pay_fen > terms.second_above_fen


def _appeal_ended(after: Case, step: Step, now_ms: int) -> Change:
    """Give back what the appeal won: all of it, or all of it and a smaller deduction anew."""
    before_fen, left_fen = after.deduction_fen, after.proposed_fen
    ended = replace(
        after, state=State.FINAL, proposed_fen=0, deduction_fen=left_fen, decided_time_ms=now_ms
    )
    if left_fen == before_fen:
        return Change(ended, step)
    return Change(
        ended if left_fen else replace(ended, deduction_no=0),
        step,
        gives_back=True,
        deducts_fen=left_fen,
    )


def _verdict_in_force(case: Case) -> Verdict:
    """Return what holds while an appeal is decided anew; before a decision nothing does."""
    if case.state is not State.APPEAL_SIGNED:
        return Verdict.NONE
    return Verdict.REJECT if case.deduction_fen == case.fund_pay_fen else Verdict.REDUCE


def _refusal(
    case: Case, around: Surroundings, who: Reviewer, step: StepKind, now_ms: int
) -> Refusal | None:
    refusal = _bar(case, around, who, step)
    if refusal is not None:
        return refusal
    if not case.is_held(now_ms):
        return Refusal.NOT_HELD
    return None if case.holder_no == who.operator_no else Refusal.HELD_BY_ANOTHER


def _bar(case: Case, around: Surroundings, who: Reviewer, step: StepKind) -> Refusal | None:
    """Say why this person may not do this step, whoever holds the case."""
    if around.undone_by:
        return Refusal.SETTLEMENT_UNDONE
    if step not in _NEXT.get(case.state, set()):
        return Refusal.NOT_NOW
    if who.institution_no != FUND:
        return Refusal.NOT_THE_FUNDS
    if who.role != ROLE_AT[case.state]:
        return Refusal.WRONG_ROLE
    if who.operator_no in around.took_part:
        return Refusal.TOOK_PART
    if who.operator_no in around.conflicts:
        return Refusal.CONFLICT_DECLARED
    for earlier in around.signed:
        is_theirs = earlier.operator_no == who.operator_no and earlier.kind in _SIGNATURES
        if is_theirs and step not in _MAY_FOLLOW.get(earlier.kind, set()):
            return Refusal.SIGNED_ALREADY
    return None


def _finding_refusal(
    case: Case, around: Surroundings, finding: Finding, terms: Terms
) -> Refusal | None:
    match finding.verdict:
        case Verdict.APPROVE:
            return Refusal.CUTS_FOR_NOTHING if finding.cuts else None
        case Verdict.REDUCE | Verdict.REJECT:
            refusal = _cuts_refusal(case, around, finding.cuts, terms)
            if refusal is not None:
                return refusal
            is_all = sum(cut.amount_fen for cut in finding.cuts) == case.fund_pay_fen
            if finding.verdict is Verdict.REDUCE:
                return Refusal.ALL_OF_IT if is_all else None
            return None if is_all else Refusal.CUTS_MISSING
        case Verdict.NONE | Verdict.GRANT | Verdict.GRANT_PARTLY | Verdict.DISMISS:
            return Refusal.NOT_NOW
        case _:
            assert_never(finding.verdict)


def _appeal_refusal(
    case: Case, around: Surroundings, finding: Finding, terms: Terms
) -> Refusal | None:
    if not finding.note:
        return Refusal.NOTE_MISSING
    match finding.verdict:
        case Verdict.GRANT | Verdict.DISMISS:
            return Refusal.CUTS_FOR_NOTHING if finding.cuts else None
        case Verdict.GRANT_PARTLY:
            refusal = _cuts_refusal(case, around, finding.cuts, terms)
            if refusal is not None:
                return refusal
            left_fen = sum(cut.amount_fen for cut in finding.cuts)
            return None if left_fen < case.deduction_fen else Refusal.NOT_LESS
        case Verdict.NONE | Verdict.APPROVE | Verdict.REDUCE | Verdict.REJECT:
            return Refusal.NOT_NOW
        case _:
            assert_never(finding.verdict)


def _cuts_refusal(
    case: Case, around: Surroundings, cuts: tuple[Cut, ...], terms: Terms
) -> Refusal | None:
    if not cuts:
        return Refusal.CUTS_MISSING
    lines: set[int] = set()
    for cut in cuts:
        refusal = _cut_refusal(cut, around.lines_fen, terms)
        if refusal is not None:
            return refusal
        if cut.line in lines:
            return Refusal.LINE_TWICE
        lines.add(cut.line)
    is_within = sum(cut.amount_fen for cut in cuts) <= case.fund_pay_fen
    return None if is_within else Refusal.MORE_THAN_FUND_PAID


def _cut_refusal(cut: Cut, lines_fen: tuple[int, ...], terms: Terms) -> Refusal | None:
    if cut.amount_fen <= 0:
        return Refusal.NOT_AN_AMOUNT
    if not cut.reason or not cut.article:
        return Refusal.CUTS_MISSING
    if cut.article not in terms.articles:
        return Refusal.ARTICLE_UNKNOWN
    if not 0 <= cut.line <= len(lines_fen):
        return Refusal.LINE_UNKNOWN
    if cut.line and cut.amount_fen > lines_fen[cut.line - 1]:
        return Refusal.MORE_THAN_LINE
    return None


def _stepped(case: Case, state: State) -> Case:
    return replace(_free(case), state=state, steps=case.steps + 1)


def _free(case: Case) -> Case:
    return replace(case, holder_no=0, taken_time_ms=0, held_until_ms=0)


def _days_after(day: int, days: int) -> int:
    return day_number(date_of(day) + dt.timedelta(days=days))
