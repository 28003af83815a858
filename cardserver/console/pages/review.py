"""Review (审核): a month's cases, and whose turn each is. Not here: one case (`case.py`)."""

from typing import Any

from nicegui import events, ui

from cardserver.console.access import Page
from cardserver.console.desk import ConsoleDesk, Visitor
from cardserver.console.frame import every, frame
from cardserver.console.money import yuan
from cardserver.console.pages.case import show_case
from cardserver.console.pages.tables import table_of
from cardserver.console.words import word
from cardserver.review.case_view_store import (
    Wanted,
    count_states,
    institution_codes,
    list_cases,
    operator_codes,
)
from cardserver.review.values import ROLE_AT, Case, Source, State
from ledger.calendar import business_date
from ledger.store_errors import StoreError

_REFRESH_S = 5.0
_MONTH_SIZE = 6


def review_page(desk: ConsoleDesk) -> None:
    """Register the page."""

    @ui.page(Page.REVIEW)
    async def review(case: str = "") -> None:
        with frame(desk, Page.REVIEW) as who:
            if who is None:
                return
            if not case:
                _Review(desk, who)
            elif case.isascii() and case.isdecimal() and len(case) < 19:  # noqa: PLR2004 - int64
                try:
                    await show_case(desk, who, int(case))
                except StoreError:
                    ui.label(word("unavailable", who.language)).props("role=alert")
            else:
                ui.label(word("review.unknown", who.language)).props("role=alert")


class _Review:
    """One opened list."""

    def __init__(self, desk: ConsoleDesk, who: Visitor) -> None:
        self._desk = desk
        self._who = who
        language = who.language
        month = business_date(desk.clock.now_ms(), desk.timezone) // 100
        with ui.row().style("align-items: center"):
            self._month = ui.input(word("month", language), value=str(month)).props(
                "debounce=300 data-field=month"
            )
            own = [state for state, role in ROLE_AT.items() if role.value == who.role]
            states = {0: word("all", language)} | {
                int(state): word(f"state.{state.name}", language) for state in State
            }
            self._state = ui.select(
                states, value=int(own[0]) if own else 0, label=word("review.state", language)
            ).props("data-field=state")
            self._state.style("min-width: 12rem")
            self._mine = ui.checkbox(word("review.mine", language))
        for choice in (self._month, self._state, self._mine):
            choice.on_value_change(self._show)
        self._states = table_of(
            [
                ("state", word("review.state", language)),
                ("count", word("count", language)),
                ("fund", word("claim.fund", language)),
                ("deduction", word("review.deduction", language)),
            ],
            language,
            name="states",
            row_key="state",
        )
        self._table = table_of(
            [
                ("case", word("review.case", language)),
                ("state", word("review.state", language)),
                ("institution", word("institution", language)),
                ("day", word("review.day", language)),
                ("total", word("total", language)),
                ("fund", word("claim.fund", language)),
                ("deduction", word("review.deduction", language)),
                ("why", word("review.why", language)),
                ("holder", word("review.holder", language)),
            ],
            language,
            name="cases",
            row_key="case",
        )
        self._table.on("row-click", self._open)
        every(_REFRESH_S, self._show, language)

    def _open(self, event: events.GenericEventArguments) -> None:
        ui.navigate.to(f"{Page.REVIEW}?case={event.args[1]['case']}")

    async def _show(self) -> None:
        language, database = self._who.language, self._desk.database
        text = str(self._month.value or "").strip()
        if not (text.isascii() and text.isdecimal() and len(text) == _MONTH_SIZE):
            return
        month = int(text)
        counts = await count_states(database, month)
        self._states.rows = [
            {
                "state": word(f"state.{one.state.name}", language),
                "count": one.cases,
                "fund": yuan(one.fund_pay_fen),
                "deduction": yuan(one.deduction_fen),
            }
            for one in counts
        ]
        operator = self._who.session.operator
        cases = await list_cases(
            database,
            Wanted(
                month=month,
                state=State(self._state.value) if self._state.value else None,
                holder_no=operator.operator_no if self._mine.value else 0,
            ),
        )
        holders = await operator_codes(database, [case.holder_no for case in cases])
        places = await institution_codes(database, [case.institution_no for case in cases])
        now_ms = self._desk.clock.now_ms()
        self._table.rows = [
            self._row(case, places, holders.get(case.holder_no, "") if case.is_held(now_ms) else "")
            for case in cases
        ]

    def _row(self, case: Case, places: dict[int, str], holder: str) -> dict[str, Any]:
        language = self._who.language
        sources = [source for source in Source if source in Source(case.sources)]
        return {
            "case": str(case.case_no),
            "state": word(f"state.{case.state.name}", language),
            "institution": places.get(case.institution_no, ""),
            "day": case.business_date,
            "total": yuan(case.total_fen),
            "fund": yuan(case.fund_pay_fen),
            "deduction": yuan(case.deduction_fen or case.proposed_fen),
            "why": " ".join(
                [word(f"source.{source.name}", language) for source in sources] + [case.flags]
            ),
            "holder": holder,
        }
