"""Work done in review, by operator or department and month."""

from nicegui import ui

from cardserver.console.access import Language, Page
from cardserver.console.desk import ConsoleDesk, Visitor
from cardserver.console.frame import every, frame
from cardserver.console.money import yuan
from cardserver.console.pages.tables import table_of
from cardserver.console.words import word
from cardserver.review.workload_store import By, workload
from ledger.calendar import business_date

_REFRESH_S = 30.0
_MONTH_SIZE = 6
_MINUTE_MS = 60_000


def workload_page(desk: ConsoleDesk) -> None:
    """Register the page."""

    @ui.page(Page.WORKLOAD)
    def shown() -> None:
        with frame(desk, Page.WORKLOAD) as who:
            if who is not None:
                _Workload(desk, who)


class _Workload:
    """One opened page."""

    def __init__(self, desk: ConsoleDesk, who: Visitor) -> None:
        self._desk = desk
        self._language = who.language
        language = who.language
        month = business_date(desk.clock.now_ms(), desk.timezone) // 100
        with ui.row().style("align-items: center"):
            self._month = ui.input(word("month", language), value=str(month)).props(
                "debounce=300 data-field=month"
            )
            self._by = ui.select(
                {by.value: word(f"workload.{by.value}", language) for by in By},
                value=By.OPERATOR.value,
                label=word("live.by", language),
            ).style("min-width: 10rem")
        for choice in (self._month, self._by):
            choice.on_value_change(self._show)
        self._table = table_of(
            [
                ("department", word("workload.department", language)),
                ("operator", word("workload.operator", language)),
                ("kind", word("workload.kind", language)),
                ("steps", word("workload.steps", language)),
                ("cases", word("workload.cases", language)),
                ("fund", word("claim.fund", language)),
                ("deduction", word("review.deduction", language)),
                ("median", word("workload.median", language)),
            ],
            language,
            name="workload", row_key="key",
        )  # fmt: skip
        every(_REFRESH_S, self._show, language)

    async def _show(self) -> None:
        text = str(self._month.value or "").strip()
        if not (text.isascii() and text.isdecimal() and len(text) == _MONTH_SIZE):
            return
        language = self._language
        self._table.rows = [
            {
                "key": f"{one.department}/{one.operator}/{one.kind}",
                "department": one.department or "–",
                "operator": one.operator,
                "kind": _kind(one.kind, language),
                "steps": one.steps,
                "cases": one.cases,
                "fund": yuan(one.fund_pay_fen),
                "deduction": yuan(one.deduction_fen),
                "median": round(one.median_ms / _MINUTE_MS, 1),
            }
            for one in await workload(self._desk.database, int(text), By(self._by.value))
        ]


def _kind(kind: str, language: Language) -> str:
    return word("total" if kind == "all" else f"step.{kind}", language)
