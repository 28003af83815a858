"""Daily reconciliation: which institutions agree, and the differences that are open, with age."""

from typing import Any

from nicegui import events, ui

from cardserver.console.access import Language, Page
from cardserver.console.desk import ConsoleDesk, Visitor
from cardserver.console.frame import every, frame
from cardserver.console.money import yuan
from cardserver.console.pages.tables import table_of
from cardserver.console.words import word
from cardserver.reconciliation.day_summary import summarize_day
from cardserver.reconciliation.readiness_store import AGES_DAYS, OLDER, open_by_age
from cardserver.reconciliation.resolving_store import (
    REASON_MAX,
    Listed,
    Wanted,
    list_differences,
    resolve_difference,
)
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.roles import Role
from ledger.calendar import business_date
from ledger.store_errors import CommitUnknownError, StoreError

_REFRESH_S = 5.0
_DAY_SIZE = 8
_DIFFERENCES_MAX = 500


def reconciliation_page(desk: ConsoleDesk) -> None:
    """Register the page."""

    @ui.page(Page.RECONCILIATION)
    def reconciliation() -> None:
        with frame(desk, Page.RECONCILIATION) as who:
            if who is not None:
                _Reconciliation(desk, who)


class _Reconciliation:
    """One opened page."""

    def __init__(self, desk: ConsoleDesk, who: Visitor) -> None:
        self._desk = desk
        self._who = who
        language = who.language
        self._ages: dict[int, ui.label] = {}
        with ui.row():
            for days in (*AGES_DAYS, OLDER):
                with ui.card().style("min-width: 8rem; gap: 0"):
                    ui.label(
                        word("reconciliation.older", language, AGES_DAYS[-1])
                        if days == OLDER
                        else word("reconciliation.age", language, days)
                    )
                    self._ages[days] = ui.label("–").style("font-size: 1.5rem")
        ui.label(word("reconciliation.open", language)).style("font-weight: bold")
        self._differences = table_of(
            [
                ("number", "#"),
                ("institution", word("institution", language)),
                ("day", word("reconciliation.day", language)),
                ("msgid", "msgid"),
                ("terminal", word("terminal", language)),
                ("kind", word("reconciliation.kind", language)),
                ("gap", word("reconciliation.gap", language)),
                ("advice", word("reconciliation.advice", language)),
                ("days", word("reconciliation.days", language)),
            ],
            language,
            name="differences", row_key="number",
        )  # fmt: skip
        if who.role == Role.RECONCILER:
            self._differences.on("row-click", self._resolve)
            ui.label(word("reconciliation.click", language))
        day = business_date(desk.clock.now_ms(), desk.timezone)
        self._day = ui.input(word("reconciliation.day", language), value=str(day)).props(
            "debounce=300 data-field=day"
        )
        self._day.on_value_change(self._show)
        self._days = table_of(
            [
                ("institution", word("institution", language)),
                ("name", word("name", language)),
                ("state", word("review.state", language)),
                ("count", word("count", language)),
                ("total", word("total", language)),
                ("fund", word("claim.fund", language)),
                ("terminals", word("page.TERMINALS", language)),
                ("open", word("reconciliation.open", language)),
            ],
            language,
            name="days", row_key="institution",
        )  # fmt: skip
        every(_REFRESH_S, self._show, language)

    async def _show(self) -> None:
        database, language = self._desk.database, self._who.language
        now_ms = self._desk.clock.now_ms()
        for days, count in (await open_by_age(database, now_ms)).items():
            self._ages[days].text = str(count)
        found = await list_differences(database, Wanted(limit=_DIFFERENCES_MAX))
        self._differences.rows = [_difference(one, now_ms, language) for one in found]
        text = str(self._day.value or "").strip()
        if text.isascii() and text.isdecimal() and len(text) == _DAY_SIZE:
            self._days.rows = [
                {
                    "institution": one.institution.code,
                    "name": one.institution.name,
                    "state": one.state.value[0 if language is Language.ZH else 1],
                    "count": one.figures.count,
                    "total": yuan(one.figures.total_fen),
                    "fund": yuan(one.figures.fund_pay_fen),
                    "terminals": f"{one.terminals_reconciled} / {one.terminals}",
                    "open": one.open_count,
                }
                for one in await summarize_day(database, int(text))
            ]

    def _resolve(self, event: events.GenericEventArguments) -> None:
        """Ask why a difference may stay."""
        number, language = int(event.args[1]["number"]), self._who.language
        with ui.dialog() as dialog, ui.card():
            ui.label(f"#{number} {event.args[1]['institution']} {event.args[1]['msgid']}")
            reason = ui.input(word("reconciliation.reason", language)).style("width: 24rem")
            reason.props(f"maxlength={REASON_MAX} data-field=reason")
            fault = ui.label().props("role=alert")

            async def resolve() -> None:
                desk = self._desk
                session = desk.sessions.find(self._who.session.token)
                try:
                    if session is None or not await desk.sessions.confirm(session):
                        fault.text = word("ended", language)
                        return
                    await resolve_difference(
                        desk.database, number, str(reason.value or ""),
                        desk.sessions.actor(session),
                    )  # fmt: skip
                except AdministrationError as error:
                    fault.text = str(error)
                    return
                except (StoreError, CommitUnknownError):  # tried again, it says which
                    fault.text = word("unavailable", language)
                    return
                dialog.close()
                await self._show()

            ui.button(word("reconciliation.resolve", language), on_click=resolve).props(
                "data-act=resolve"
            )
        dialog.open()


def _difference(one: Listed, now_ms: int, language: Language) -> dict[str, Any]:
    kept = one.difference
    return {
        "number": kept.difference_no,
        "institution": one.institution,
        "day": kept.business_date,
        "msgid": kept.msgid,
        "terminal": kept.terminal,
        "kind": word(f"difference.{kept.kind.name}", language),
        "gap": yuan(kept.gap_fen),
        "advice": word(f"advice.{kept.advice.name}", language),
        "days": one.age_days(now_ms),
    }
