"""One case of review: what it takes to judge it, and the steps whose turn it is."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from nicegui import ui

from cardserver.console.access import Language, Page
from cardserver.console.desk import ConsoleDesk, Visitor
from cardserver.console.money import fen_of, yuan
from cardserver.console.words import word
from cardserver.funding.acts import open_fund_acts
from cardserver.review.case_view_store import CaseSeen, LineSeen, StepSeen, see_case
from cardserver.review.desk_store import NOTE_SIZE_MAX, ReviewDesk
from cardserver.review.procedure import needs_two
from cardserver.review.values import (
    FUND,
    Case,
    Cut,
    Finding,
    Refusal,
    Reviewer,
    State,
    Verdict,
)
from ledger.calendar import text_of
from ledger.store_errors import CommitUnknownError, StoreError

_REASON_SIZE_MAX = 200
_WHOLE = 0  # the line of a cut that is of no one line
_PROPOSALS = {
    State.ACCEPTED: (Verdict.APPROVE, Verdict.REDUCE, Verdict.REJECT),
    State.APPEALED: (Verdict.DISMISS, Verdict.GRANT_PARTLY, Verdict.GRANT),
}
_TAKING = {Verdict.REDUCE, Verdict.REJECT, Verdict.GRANT_PARTLY}

_Act = Callable[[ReviewDesk], Awaitable[Case | Refusal]]


async def show_case(desk: ConsoleDesk, who: Visitor, case_no: int) -> None:
    """Build the page of a case."""
    reading = ReviewDesk(desk.database, None, clock=desk.clock, timezone=desk.timezone)
    seen = await see_case(desk.database, reading, case_no)
    if seen is None:
        ui.label(word("review.unknown", who.language)).props("role=alert")
        return
    await desk.sessions.note(who.session, "review_show", f"case {case_no}")
    terms = await reading.terms_of(seen.case.month)
    _Case(desk, who, seen, has_two=needs_two(seen.case, terms))


@dataclass(slots=True)
class _CutFields:
    """What a reviewer types of one line."""

    amount: ui.input
    article: ui.select
    reason: ui.input


class _Case:
    """One opened case."""

    def __init__(self, desk: ConsoleDesk, who: Visitor, seen: CaseSeen, *, has_two: bool) -> None:
        self._desk = desk
        self._who = who
        self._seen = seen
        self._language = who.language
        operator = who.session.operator
        self._reviewer = Reviewer(operator.operator_no, FUND, operator.role, operator.department)
        self._fields: dict[int, _CutFields] = {}
        case = seen.case
        holds = case.is_held(desk.clock.now_ms()) and case.holder_no == operator.operator_no
        self._is_finding = holds and case.state in _PROPOSALS and seen.due == who.role
        self._facts(has_two=has_two)
        self._lines()
        self._explanation()
        self._near()
        self._steps()
        self._fault = ui.label().props("role=alert")
        self._fault.visible = False
        if seen.due == who.role:
            self._work(holds=holds)

    # --- what is seen --------------------------------------------------------------------------

    def _facts(self, *, has_two: bool) -> None:
        seen, case, language = self._seen, self._seen.case, self._language
        state = word(f"state.{case.state.name}", language)
        ui.label(f"{word('review.case', language)} {case.case_no} · {state}").style(
            "font-size: 1.25rem"
        ).props("data-field=state")
        split = seen.split
        for text in (
            (
                f"{seen.institution.code} {seen.institution.name} · {seen.terminal}"
                f" · {word('review.cashier', language)} {seen.cashier}"
            ),
            (
                f"{seen.person.psn_no} {seen.person.name} · {seen.person.birth_year}"
                f" · {seen.insutype} · {seen.med_type} · {seen.care_date}"
            ),
            (
                f"{word('total', language)} {yuan(split.total_fen)}"
                f" · {word('claim.fund', language)} {yuan(split.fund_pay_fen)}"
                f" · {word('claim.account', language)} {yuan(split.account_pay_fen)}"
                f" · {word('claim.cash', language)} {yuan(split.cash_fen)}"
            ),
            f"{word('review.why', language)}: {case.flags or '–'}"
            f" · {word('review.warnings', language)}: {' '.join(seen.warned) or '–'}"
            + (f" · {word('review.exception', language)} {seen.exception}" * bool(seen.exception)),
        ):
            ui.label(text)
        ui.link(seen.msgid, f"{Page.REQUEST}?msgid={seen.msgid}")
        if has_two:
            ui.label(word("review.two", language)).style("font-weight: bold")
        if seen.holder:
            ui.label(f"{word('review.holder', language)}: {seen.holder}").props("data-field=holder")
        if seen.appeal is not None:
            ui.label(f"{word('review.appeal', language)}: {seen.appeal.reason}").style(
                "font-weight: bold"
            )

    def _lines(self) -> None:
        language = self._language
        ui.label(word("review.lines", language)).style("font-weight: bold")
        headings = ["#", *(word(f"review.line.{n}", language) for n in ("item", "gross", "scope",
                                                                         "share"))]  # fmt: skip
        if self._is_finding:
            headings += [word(f"review.cut.{n}", language) for n in ("amount", "article", "reason")]
        with (
            ui.grid(columns=f"auto minmax(8rem, 2fr) repeat({len(headings) - 2}, auto)")
            .style("width: 100%; gap: .25rem 1rem; align-items: center")
            .props("data-table=lines")
        ):
            for heading in headings:
                ui.label(heading).style("font-weight: bold")
            for line in self._seen.lines:
                self._line(line)
            if self._is_finding:
                for text in ("", word("review.whole", language), "", "", ""):
                    ui.label(text)
                self._cut_fields(_WHOLE)

    def _line(self, line: LineSeen) -> None:
        for text in (
            str(line.line), f"{line.item} {line.name}", yuan(line.gross_fen),
            yuan(line.divided.in_scope_fen), yuan(line.fund_share_fen),
        ):  # fmt: skip
            ui.label(text)
        if self._is_finding:
            self._cut_fields(line.line)

    def _cut_fields(self, line: int) -> None:
        is_zh = self._language is Language.ZH
        articles = {
            one.code: f"{one.code} {one.title_zh if is_zh else one.title_en}"
            for one in self._seen.articles
        }
        self._fields[line] = _CutFields(
            ui.input().props(f"dense data-cut={line}").style("width: 7rem"),
            ui.select(articles, clearable=True).props(f"dense data-article={line}"),
            ui.input().props(f"dense maxlength={_REASON_SIZE_MAX} data-reason={line}"),
        )

    def _explanation(self) -> None:
        with ui.expansion(word("review.explanation", self._language)).style("width: 100%"):
            ui.label(f"{self._seen.policy} · {self._seen.explained}")
            for step in self._seen.explanation:
                ui.label(step.text_zh if self._language is Language.ZH else step.text_en)

    def _near(self) -> None:
        language = self._language
        with ui.expansion(f"{word('review.near', language)} ({len(self._seen.near)})").style(
            "width: 100%"
        ):
            for near in self._seen.near:
                ui.label(
                    f"{near.care_date} · {near.institution} · {near.med_type}"
                    f" · {yuan(near.total_fen)} · {word('claim.fund', language)}"
                    f" {yuan(near.fund_pay_fen)}" + (f" ↶ {near.undoes}" if near.undoes else "")
                )

    def _steps(self) -> None:
        ui.label(word("review.steps", self._language)).style("font-weight: bold")
        with ui.column().style("gap: .25rem").props("data-table=steps"):
            for step in self._seen.steps:
                ui.label(self._step_text(step))
            if not self._seen.steps:
                ui.label(word("none", self._language))

    def _step_text(self, step: StepSeen) -> str:
        language = self._language
        text = (
            f"{text_of(step.recorded_time_ms, self._desk.timezone)}"
            f" · {word(f'step.{step.kind}', language)}"
            f" · {step.operator or word('review.centre', language)}"
        )
        if step.verdict != Verdict.NONE.name.lower():
            text += f" · {word(f'verdict.{step.verdict}', language)} {yuan(step.deduction_fen)}"
        cuts = " ".join(f"[{cut.line}] {yuan(cut.amount_fen)} {cut.article}" for cut in step.cuts)
        return " · ".join(part for part in (text, cuts, step.note) if part)

    # --- what is done --------------------------------------------------------------------------

    def _work(self, *, holds: bool) -> None:
        language = self._language
        note = ui.input(word("review.note", language)).style("width: 100%")
        note.props(f"maxlength={NOTE_SIZE_MAX} data-field=note")
        with ui.row():
            if not holds:
                self._button("take", lambda d, _: d.take(self._number, self._reviewer), note)
                return
            self._button("give_back", lambda d, _: d.give_back(self._number, self._reviewer), note)
            match self._seen.case.state:
                case State.NEW:
                    self._button(
                        "accept", lambda d, n: d.accept(self._number, self._reviewer, n), note
                    )
                case State.ACCEPTED | State.APPEALED as state:
                    for verdict in _PROPOSALS[state]:
                        ui.button(
                            word(f"verdict.{verdict.name.lower()}", language),
                            on_click=partial(self._propose, verdict, note),
                        ).props(f"data-act={verdict.name.lower()}")
                case State.CALCULATED | State.SIGNED:
                    self._button(
                        "audit", lambda d, n: d.audit(self._number, self._reviewer, n), note
                    )
                    self._button(
                        "send_back", lambda d, n: d.send_back(self._number, self._reviewer, n), note
                    )
                case State.APPEAL_SIGNED:
                    self._button(
                        "confirm_appeal",
                        lambda d, n: d.confirm_appeal(self._number, self._reviewer, n),
                        note,
                    )
                    self._button(
                        "send_back", lambda d, n: d.send_back(self._number, self._reviewer, n), note
                    )
                case _:
                    pass

    @property
    def _number(self) -> int:
        return self._seen.case.case_no

    def _button(
        self,
        name: str,
        act: Callable[[ReviewDesk, str], Awaitable[Case | Refusal]],
        note: ui.input,
    ) -> None:
        async def clicked() -> None:
            text = str(note.value or "").strip()[:NOTE_SIZE_MAX]
            await self._do(lambda review: act(review, text))

        ui.button(word(f"act.{name}", self._language), on_click=clicked).props(f"data-act={name}")

    async def _propose(self, verdict: Verdict, note: ui.input) -> None:
        cuts = self._cuts(verdict)
        if cuts is None:
            self._refuse(word("review.bad_amount", self._language))
            return
        finding = Finding(verdict, cuts, str(note.value or "").strip()[:NOTE_SIZE_MAX])
        is_appeal = self._seen.case.state is State.APPEALED

        async def act(review: ReviewDesk) -> Case | Refusal:
            if is_appeal:
                return await review.decide_appeal(self._number, self._reviewer, finding)
            return await review.calculate(self._number, self._reviewer, finding)

        await self._do(act)

    def _cuts(self, verdict: Verdict) -> tuple[Cut, ...] | None:
        """Read what was typed; None where an amount is none."""
        if verdict not in _TAKING:
            return ()
        cuts: list[Cut] = []
        for line, fields in self._fields.items():
            text = str(fields.amount.value or "").strip()
            if text:
                amount_fen = fen_of(text)
                if amount_fen is None:
                    return None
                article = str(fields.article.value or "")
                reason = str(fields.reason.value or "").strip()[:_REASON_SIZE_MAX]
                cuts.append(Cut(line, amount_fen, article, reason))
        return tuple(cuts)

    async def _do(self, act: _Act) -> None:
        """Do a step, and show the case anew; a refusal is said and nothing is lost."""
        desk, language = self._desk, self._language
        try:
            session = desk.sessions.find(self._who.session.token)
            if session is None or not await desk.sessions.confirm(session):
                self._refuse(word("ended", language))
                return
            async with open_fund_acts(desk.database, desk.timezone, desk.clock) as acts:
                review = ReviewDesk(desk.database, acts, clock=desk.clock, timezone=desk.timezone)
                done = await act(review)
        except (StoreError, CommitUnknownError):  # done or not: tried again, it is refused or done
            self._refuse(word("unavailable", language))
            return
        if isinstance(done, Refusal):
            self._refuse(done.text_zh if language is Language.ZH else done.text_en)
            return
        ui.navigate.to(f"{Page.REVIEW}?case={self._number}")

    def _refuse(self, text: str) -> None:
        self._fault.text = text
        self._fault.visible = True
