"""Monthly clearing: months, what each institution is paid, and a run with its progress."""

import re
from dataclasses import replace
from typing import Any

from nicegui import ui

from cardserver.clearing.clearing_store import (
    ClearingMonth,
    begun_months,
    institution_codes,
    stored_clearings,
)
from cardserver.clearing.plan import StoredClearing
from cardserver.clearing.readiness import what_is_open
from cardserver.clearing.run import RunWish
from cardserver.console.access import Page
from cardserver.console.desk import ConsoleDesk, Visitor
from cardserver.console.frame import every, frame
from cardserver.console.money import yuan
from cardserver.console.pages.tables import table_of
from cardserver.console.words import word
from cardserver.registry.roles import Role
from ledger.calendar import business_date, text_of

_REFRESH_S = 1.0
_MONTH = re.compile(r"\d{4}(0[1-9]|1[0-2])", re.ASCII)


def clearing_page(desk: ConsoleDesk) -> None:
    """Register the page."""

    @ui.page(Page.CLEARING)
    def clearing() -> None:
        with frame(desk, Page.CLEARING) as who:
            if who is not None:
                _Clearing(desk, who)


class _Clearing:
    """One opened page."""

    def __init__(self, desk: ConsoleDesk, who: Visitor) -> None:
        self._desk = desk
        self._who = who
        language = who.language
        self._shown: object = None
        today = business_date(desk.clock.now_ms(), desk.timezone)
        before = today // 100 - 1 if today // 100 % 100 > 1 else (today // 10_000 - 1) * 100 + 12
        with ui.row().style("align-items: center"):
            self._month = ui.input(word("month", language), value=str(before)).props(
                "debounce=300 data-field=month"
            )
            if who.role == Role.CLEARING_OFFICER:
                self._despite = ui.input(word("clearing.despite", language)).style("width: 20rem")
                self._despite.props("maxlength=200 data-field=despite")
                ui.button(word("clearing.run", language), on_click=self._run).props("data-act=run")
        self._month.on_value_change(self._show)
        self._fault = ui.label().style("white-space: pre-line").props("role=alert")
        self._state = ui.label().props("role=status data-field=state")
        self._bar = ui.linear_progress(value=0, show_value=False).style("width: 100%")
        self._bar.visible = False
        self._open = ui.label().style("white-space: pre-line").props("data-field=open")
        self._months = table_of(
            [
                ("month", word("month", language)),
                ("begun", word("clearing.begun", language)),
                ("ended", word("clearing.ended", language)),
                ("owed", word("clearing.owed", language)),
                ("despite", word("clearing.despite", language)),
            ],
            language,
            name="months", row_key="month", rows_shown=12,
        )  # fmt: skip
        names = ("applied", "review", "cap", "withheld", "paid", "carried")
        self._table = table_of(
            [
                ("institution", word("institution", language)),
                ("type", word("type", language)),
                *((name, word(f"clearing.{name}", language)) for name in names),
            ],
            language,
            name="clearings", row_key="key",
        )  # fmt: skip
        every(_REFRESH_S, self._show, language)

    @property
    def _chosen(self) -> int | None:
        text = str(self._month.value or "").strip()
        return int(text) if _MONTH.fullmatch(text) else None

    def _run(self) -> None:
        desk, language = self._desk, self._who.language
        session = desk.sessions.find(self._who.session.token)
        if session is None or self._chosen is None:
            self._fault.text = word("ended" if session is None else "clearing.no_month", language)
            return
        actor = replace(desk.sessions.actor(session), now_ms=desk.clock.now_ms())
        wish = RunWish(self._chosen, str(self._despite.value or "").strip())
        if not desk.clearing_runs.start(wish, actor):
            self._fault.text = word("clearing.busy", language)

    async def _show(self) -> None:
        month = self._chosen
        self._show_progress()
        if month is None:
            return
        progress = self._desk.clearing_runs.progress
        # Read anew when something has changed, not every second.
        state = (month, progress and (progress.done, progress.is_ended, progress.month))
        if state == self._shown:
            return
        database, language = self._desk.database, self._who.language
        months = await database.report(begun_months)
        codes = await database.report(institution_codes)
        stored = await database.report(lambda one: stored_clearings(one, month=month))
        self._months.rows = [self._month_row(one) for one in reversed(months)]
        self._table.rows = [_row(one, codes) for one in stored]
        found = await what_is_open(database, month)
        self._open.text = "\n".join(
            [word("clearing.open", language), *map(str, found)] if found else []
        )
        self._shown = state

    def _show_progress(self) -> None:
        progress, language = self._desk.clearing_runs.progress, self._who.language
        if progress is None:
            return
        self._bar.visible = not progress.is_ended
        self._bar.value = progress.done / progress.count if progress.count else 0
        if progress.error:
            self._fault.text = progress.error
            self._state.text = ""
        else:
            self._fault.text = ""
            name = "clearing.is_ended" if progress.is_ended else "clearing.is_running"
            self._state.text = word(name, language, progress.month, progress.done, progress.count)

    def _month_row(self, one: ClearingMonth) -> dict[str, Any]:
        zone = self._desk.timezone
        return {
            "month": one.month,
            "begun": text_of(one.begun_time_ms, zone),
            "ended": text_of(one.ended_time_ms, zone) if one.ended_time_ms else "–",
            "owed": yuan(one.owed_fen),
            "despite": one.despite,
        }


def _row(stored: StoredClearing, codes: dict[int, str]) -> dict[str, Any]:
    clearing = stored.clearing
    result = clearing.result
    return {
        "key": f"{clearing.institution_no}/{clearing.clearing_type}",
        "institution": codes.get(clearing.institution_no, str(clearing.institution_no)),
        "type": clearing.clearing_type,
        "applied": yuan(result.applied_fen),
        "review": yuan(clearing.totals.review_fen),
        "cap": yuan(result.cap_fen),
        "withheld": yuan(result.withheld_fen),
        "paid": yuan(result.paid_fen),
        "carried": yuan(result.carried_fen),
    }
