"""Monthly clearing: months, what each institution is paid, and a run with its progress."""

import re
from dataclasses import replace
from typing import Any

from nicegui import ui

from cardserver.clearing.amounts import CLEARING_TYPES
from cardserver.clearing.clearing_store import (
    ClearingMonth,
    begun_months,
    institution_codes,
    stored_clearings,
)
from cardserver.clearing.plan import Clearing, StoredClearing
from cardserver.clearing.readiness import CHECKS, what_is_open
from cardserver.clearing.run import RunWish
from cardserver.console.access import ConsoleSession, Language, Page
from cardserver.console.clearing_runs import Fault, out_of_turn
from cardserver.console.desk import ConsoleDesk, Visitor
from cardserver.console.frame import every, frame
from cardserver.console.money import yuan
from cardserver.console.pages.tables import table_of
from cardserver.console.words import word
from cardserver.reconciliation.readiness_store import unresolved
from cardserver.registry.administration_store import FUND
from cardserver.registry.roles import Role
from cardserver.review.readiness_store import undecided
from ledger.calendar import business_date, text_of
from ledger.database_store import Database
from ledger.store_errors import StoreError

_REFRESH_S = 0.5
_LOOK_MS = 10_000
_MONTH = re.compile(r"\d{4}(0[1-9]|1[0-2])", re.ASCII)
_AMOUNTS = ("applied", "review", "cap", "withheld", "paid", "carried")
_SAID_HERE = {"review", "reconciliation"}
"""Checks whose findings this page says in the visitor's language; others say them themselves."""


def clearing_page(desk: ConsoleDesk) -> None:
    """Register the page."""

    @ui.page(Page.CLEARING)
    def clearing() -> None:
        with frame(desk, Page.CLEARING) as who:
            if who is not None:
                _Clearing(desk, who)


class _Clearing:
    """One opened page.

    What was asked of it and refused stands until something else is asked; the run under way is
    everyone's.
    """

    def __init__(self, desk: ConsoleDesk, who: Visitor) -> None:
        self._desk = desk
        self._who = who
        language = who.language
        self._looked: object = None
        self._shown: object = None
        self._refusal = ""
        self._button: ui.button | None = None
        today = business_date(desk.clock.now_ms(), desk.timezone)
        before = today // 100 - 1 if today // 100 % 100 > 1 else (today // 10_000 - 1) * 100 + 12
        with ui.row().style("align-items: center"):
            self._month = ui.input(word("month", language), value=str(before)).props(
                "debounce=300 data-field=month"
            )
            if who.role == Role.CLEARING_OFFICER:
                self._despite = ui.input(word("clearing.despite", language)).style("width: 24rem")
                self._despite.props("maxlength=200 data-field=despite")
                self._button = ui.button(word("clearing.run", language), on_click=self._run)
                self._button.props("data-act=run")
        self._fault = ui.label().style("white-space: pre-line").props("role=alert")
        self._state = ui.label().props("role=status data-field=state")
        self._bar = ui.linear_progress(value=0, show_value=False).style("width: 100%")
        self._bar.visible = False
        self._left = ui.label().style("white-space: pre-line").props("data-field=left")
        self._turn = ui.label().props("data-field=turn")
        self._open = ui.label().style("white-space: pre-line").props("data-field=open")
        self._sum = ui.label().style("font-weight: bold").props("data-field=sum")
        self._table = table_of(
            [
                ("institution", word("institution", language)),
                ("type", word("type", language)),
                *((name, word(f"clearing.{name}", language)) for name in _AMOUNTS),
            ],
            language,
            name="clearings", row_key="key",
        )  # fmt: skip
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
        self._month.on_value_change(self._forget)
        self._month.on_value_change(every(_REFRESH_S, self._show, language))

    @property
    def _chosen(self) -> int | None:
        text = str(self._month.value or "").strip()
        return int(text) if _MONTH.fullmatch(text) else None

    def _forget(self) -> None:
        self._refusal = ""

    # --- a run ---------------------------------------------------------------------------------

    async def _run(self) -> None:
        desk, month = self._desk, self._chosen
        wish = None if month is None else RunWish(month, str(self._despite.value or "").strip())
        session = desk.sessions.find(self._who.session.token)
        if session is None:
            refusal: Fault | None = Fault("ended")
        elif wish is None:
            refusal = Fault("clearing.no_month")
        else:
            refusal = await self._why_not(session, wish)
            actor = replace(desk.sessions.actor(session), now_ms=desk.clock.now_ms())
            if refusal is None and not desk.clearing_runs.start(wish, actor):
                refusal = Fault("clearing.busy")
        self._refusal = "" if refusal is None else self._fault_text(refusal)
        self._show_progress()

    async def _why_not(self, session: ConsoleSession, wish: RunWish) -> Fault | None:
        """Say why this operator can't start this now; the run itself looks again.

        Money moves, so the operator is looked up anew: who was locked since may not.
        """
        database, month = self._desk.database, wish.month
        try:
            operator = await self._desk.registry.operator(FUND, session.operator.code)
            if operator is None or not operator.is_active or operator.role != Role.CLEARING_OFFICER:
                return Fault("clearing.not_permitted")
            if (turn := await out_of_turn(database, month)) is not None:
                return turn
            if not wish.despite and await what_is_open(database, month):
                return Fault("clearing.not_ready", (month,))
        except StoreError:
            return Fault("unavailable")
        return None

    # --- what is seen --------------------------------------------------------------------------

    async def _show(self) -> None:
        month = self._chosen
        self._show_progress()
        if month is None:
            return
        run = self._desk.clearing_runs.progress
        at = (month, run and (run.number, run.done, run.is_ended))
        # What others do is read now and then, what a run does at once.
        looked = (*at, self._desk.clock.monotonic_ms() // _LOOK_MS)
        if looked == self._looked:
            return
        database, language = self._desk.database, self._who.language
        turn = await out_of_turn(database, month)
        codes = await database.report(institution_codes)
        lines = await _open_lines(database, month, language, codes)
        months = await database.report(begun_months)
        if (at, months) != self._shown:
            stored = await database.report(lambda one: stored_clearings(one, month=month))
            if month != self._chosen:  # another one was typed meanwhile
                return
            self._months.rows = [self._month_row(one) for one in reversed(months)]
            self._table.rows = [_row(one, codes, language) for one in stored]
            self._sum.text = _sum_text(stored, language)
            self._left.text = self._left_text(codes)
            self._shown = (at, months)
        self._turn.text = (
            word("clearing.period_closed", language, month)
            if turn is None
            else word(turn.word, language, *turn.values)
        )
        self._open.text = "\n".join([word("clearing.open", language), *lines] if lines else [])
        self._looked = looked

    def _show_progress(self) -> None:
        progress, language = self._desk.clearing_runs.progress, self._who.language
        fault = "" if self._chosen is not None else word("clearing.no_month", language)
        if progress is not None:
            self._bar.visible = not progress.is_ended
            self._bar.value = progress.done / progress.count if progress.count else 0
            if progress.fault is None:
                name, count = "clearing.is_running", progress.count
                if progress.is_ended:
                    name = "clearing.is_ended"
                elif count is None:
                    name = "clearing.is_reading"
                self._state.text = word(name, language, progress.month, progress.done, count)
            else:
                self._state.text = ""
                fault = fault or self._fault_text(progress.fault)
        self._fault.text = self._refusal or fault
        if self._button is not None:
            self._button.set_enabled(progress is None or progress.is_ended)

    def _fault_text(self, fault: Fault) -> str:
        said = word(fault.word, self._who.language, *fault.values)
        return f"{said}\n{fault.detail}".strip()

    def _left_text(self, codes: dict[int, str]) -> str:
        progress, language = self._desk.clearing_runs.progress, self._who.language
        if progress is None or not progress.left:
            return ""
        return "\n".join(
            [
                word("clearing.left", language, progress.month),
                *(
                    f"{_place(clearing, codes, language)}:"
                    f" {reason.text_zh if language is Language.ZH else reason.text_en}"
                    for clearing, reason in progress.left
                ),
            ]
        )

    def _month_row(self, one: ClearingMonth) -> dict[str, Any]:
        zone = self._desk.timezone
        return {
            "month": one.month,
            "begun": text_of(one.begun_time_ms, zone),
            "ended": text_of(one.ended_time_ms, zone) if one.ended_time_ms else "–",
            "owed": yuan(one.owed_fen),
            "despite": one.despite,
        }


async def _open_lines(
    database: Database, month: int, language: Language, codes: dict[int, str]
) -> list[str]:
    """Say what stands in the way of a month, a line each."""
    lines: list[str] = []
    for case in await undecided(database, month):
        text = case.why.text_zh if language is Language.ZH else case.why.text_en
        if case.cases:
            place = _place_text(case.institution_no, case.clearing_type, codes, language)
            text = f"{place}: {text} ({case.cases})"
        lines.append(f"{word('page.REVIEW', language)}: {text}")
    for gap in await unresolved(database, month):
        text = word("clearing.unresolved", language, gap.institution, gap.count, gap.oldest_day)
        lines.append(f"{word('page.RECONCILIATION', language)}: {text}")
    others = {name: check for name, check in CHECKS.items() if name not in _SAID_HERE}
    return lines + [str(one) for one in await what_is_open(database, month, others)]


def _row(stored: StoredClearing, codes: dict[int, str], language: Language) -> dict[str, Any]:
    clearing = stored.clearing
    return {
        "key": f"{clearing.institution_no}/{clearing.clearing_type}",
        "institution": codes.get(clearing.institution_no, str(clearing.institution_no)),
        "type": _type_text(clearing.clearing_type, language),
        **{name: yuan(fen) for name, fen in _amounts(clearing).items()},
    }


def _sum_text(stored: list[StoredClearing], language: Language) -> str:
    """Write what all clearings of a month come to; empty without any."""
    if not stored:
        return ""
    sums = dict.fromkeys(_AMOUNTS, 0)
    for one in stored:
        for name, fen in _amounts(one.clearing).items():
            sums[name] += fen
    parts = (f"{word(f'clearing.{name}', language)} {yuan(fen)}" for name, fen in sums.items())
    return f"{word('total', language)} ({len(stored)}): {' · '.join(parts)}"


def _amounts(clearing: Clearing) -> dict[str, int]:
    """Return a clearing's amounts in the order of the columns."""
    result = clearing.result
    amounts = (
        result.applied_fen, clearing.totals.review_fen, result.cap_fen, result.withheld_fen,
        result.paid_fen, result.carried_fen,
    )  # fmt: skip
    return dict(zip(_AMOUNTS, amounts, strict=True))


def _place(clearing: Clearing, codes: dict[int, str], language: Language) -> str:
    return _place_text(clearing.institution_no, clearing.clearing_type, codes, language)


def _place_text(
    institution_no: int, clearing_type: int, codes: dict[int, str], language: Language
) -> str:
    code = codes.get(institution_no, str(institution_no))
    return f"{code} {_type_text(clearing_type, language)}"


def _type_text(clearing_type: int, language: Language) -> str:
    texts = CLEARING_TYPES.get(clearing_type, ("", ""))
    return f"{clearing_type} {texts[0 if language is Language.ZH else 1]}".rstrip()
