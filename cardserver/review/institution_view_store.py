"""What an institution sees of its cases, in the wire's words.

It sees that a settlement is reviewed, and what was decided, line by line with reason and article;
not which flag found it, nor who signed. Not here: what reviewers see (`case_view_store.py`).
"""

from collections.abc import Mapping, Sequence

from cardserver.claims import tables as claims
from cardserver.registry import tables as registry
from cardserver.review.cases_store import (
    CASE_COLUMNS,
    StepDone,
    case_of,
    read_appeal,
    read_cases,
    read_cuts,
    read_steps,
)
from cardserver.review.desk_store import ReviewDesk
from cardserver.review.values import Case, Cut, State, StepKind, Verdict
from ledger.bulk_store import plain, select
from ledger.calendar import date_of
from ledger.database_store import Database
from protocol.terminal.messages import (
    REVIEW_CASES_MAX,
    AppealResult,
    ReviewCase,
    ReviewCasesFound,
    ReviewCut,
    ReviewState,
    ReviewVerdict,
)

_TEXT_SIZE_MAX = 200
_CLAIMS = select(claims.claim, ("msgid", "terminal_no"), by=("entry_no",))
_TERMINALS = select(registry.terminal, ("code",), by=("terminal_no",))
_LIST_TEXT = (
    f"SELECT {', '.join(CASE_COLUMNS)} FROM review_case WHERE institution_no = {{p1}}"  # noqa: S608
    " AND ({p2} = 0 OR month = {p2}) AND case_no > {p3} ORDER BY case_no LIMIT {p4}"
)
_PLACES = tuple(f"p{number}" for number in range(1, 5))
_LIST = plain(
    "list an institution's cases",
    postgresql=_LIST_TEXT.format(**{place: f"${place[1:]}::bigint" for place in _PLACES}),
    sqlite=_LIST_TEXT.format(**{place: f"?{place[1:]}" for place in _PLACES}),
)
_STATES = {
    State.NEW: ReviewState.UNDER_REVIEW,
    State.ACCEPTED: ReviewState.UNDER_REVIEW,
    State.CALCULATED: ReviewState.UNDER_REVIEW,
    State.SIGNED: ReviewState.UNDER_REVIEW,
    State.DECIDED: ReviewState.DECIDED,
    State.APPEALED: ReviewState.APPEALED,
    State.APPEAL_SIGNED: ReviewState.APPEALED,
    State.FINAL: ReviewState.FINAL,
    State.CLOSED: ReviewState.CLOSED,
}
_RESULTS = {
    Verdict.GRANT: AppealResult.GRANTED,
    Verdict.GRANT_PARTLY: AppealResult.GRANTED_PARTLY,
    Verdict.DISMISS: AppealResult.DISMISSED,
}


async def institution_cases(
    database: Database, institution_no: int, *, month: int, after: int
) -> ReviewCasesFound:
    """Give a page of an institution's cases by number, of one month or of all (0)."""
    rows = await database.fetch(_LIST([(institution_no, month, after, REVIEW_CASES_MAX + 1)]))
    cases = [case_of(row) for row in rows]
    page = cases[:REVIEW_CASES_MAX]
    sources = await _sources(database, page)
    return ReviewCasesFound(
        tuple(_message(case, sources[case.claim_no]) for case in page),
        str(page[-1].case_no) if len(cases) > len(page) else "",
    )


async def institution_case(
    database: Database, desk: ReviewDesk, institution_no: int, case_no: int
) -> ReviewCase | None:
    """Give one case of an institution with all that was decided; None where it has none such."""
    case = (await database.fetch_script(read_cases([case_no]))).get(case_no)
    if case is None or case.institution_no != institution_no:
        return None
    sources = await _sources(database, [case])
    steps = await database.fetch_script(read_steps(case_no))
    cuts = await database.fetch_script(read_cuts(case_no))
    appeal = await database.fetch_script(read_appeal(case_no))
    rules = await desk.rules_of(case.month)
    titles = {
        article.code: (article.title_zh, article.title_en) for article in rules.document.articles
    }
    deciding = _deciding_step(case, steps)
    return _message(
        case,
        sources[case.claim_no],
        appeal_reason="" if appeal is None else appeal.reason,
        appeal_answer=_answer(case, steps),
        cuts=tuple(_cut(cut, titles) for cut in cuts.get(deciding, ())),
    )


async def _sources(database: Database, cases: Sequence[Case]) -> Mapping[int, tuple[str, str]]:
    """Tell which request of which terminal made each settlement."""
    rows = await database.fetch(_CLAIMS([(case.claim_no,) for case in cases]))
    terminals = await database.fetch(_TERMINALS(sorted({(row[2],) for row in rows})))
    codes = {row[0]: row[1] for row in terminals}
    return {claim_no: (msgid, codes.get(number, "")) for claim_no, msgid, number in rows}


def _message(
    case: Case,
    source: tuple[str, str],
    *,
    appeal_reason: str = "",
    appeal_answer: str = "",
    cuts: tuple[ReviewCut, ...] = (),
) -> ReviewCase:
    msgid, terminal = source
    state = _STATES[case.state]
    return ReviewCase(
        case_no=str(case.case_no),
        month=case.month,
        setl_id=str(case.claim_no),
        msgid=msgid,
        terminal=terminal,
        business_date=date_of(case.business_date),
        clearing_type=case.clearing_type,
        total_fen=case.total_fen,
        fund_pay_fen=case.fund_pay_fen,
        state=state,
        verdict=_verdict(case, state),
        deduction_fen=case.deduction_fen,
        decided_time_ms=case.decided_time_ms,
        appeal_until=date_of(case.appeal_until) if case.appeal_until else None,
        appeal=_appeal(case, state),
        appeal_reason=appeal_reason,
        appeal_answer=appeal_answer,
        cuts=cuts,
    )


def _verdict(case: Case, state: ReviewState) -> ReviewVerdict:
    if state in {ReviewState.UNDER_REVIEW, ReviewState.CLOSED}:
        return ReviewVerdict.NONE
    if not case.deduction_fen:
        return ReviewVerdict.APPROVED
    is_all = case.deduction_fen == case.fund_pay_fen
    return ReviewVerdict.REJECTED if is_all else ReviewVerdict.REDUCED


def _appeal(case: Case, state: ReviewState) -> AppealResult:
    if state is ReviewState.APPEALED:
        return AppealResult.PENDING
    if state is ReviewState.FINAL:
        return _RESULTS.get(case.verdict, AppealResult.NONE)
    return AppealResult.NONE


def _deciding_step(case: Case, steps: Sequence[StepDone]) -> int:
    """Find the step whose cuts are in force: nothing is told before it is decided."""
    if not case.deduction_fen:
        return 0
    kind = StepKind.CALCULATE
    if case.state is State.FINAL and case.verdict is Verdict.GRANT_PARTLY:
        kind = StepKind.DECIDE_APPEAL
    return max(step.step for step in steps if step.kind is kind)


def _answer(case: Case, steps: Sequence[StepDone]) -> str:
    if case.state is not State.FINAL:
        return ""
    answers = [step.note for step in steps if step.kind is StepKind.DECIDE_APPEAL]
    return answers[-1] if answers else ""


def _cut(cut: Cut, titles: Mapping[str, tuple[str, str]]) -> ReviewCut:
    title_zh, title_en = titles.get(cut.article, ("", ""))
    return ReviewCut(
        cut.line, cut.amount_fen, cut.article, title_zh, title_en, cut.reason[:_TEXT_SIZE_MAX]
    )
