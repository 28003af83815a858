"""The audit, searched: who did what to what, and when."""

import datetime as dt
from typing import Any

from nicegui import ui

from cardserver.audit_desk import find
from cardserver.claims.audit_search_store import AuditQuery, AuditRow
from cardserver.console.access import Page
from cardserver.console.desk import ConsoleDesk, Visitor
from cardserver.console.frame import every, frame
from cardserver.console.operators_store import operator_numbers
from cardserver.console.pages.tables import table_of
from cardserver.console.words import word
from cardserver.review.case_view_store import institution_codes, operator_codes
from ledger.calendar import business_date, text_of

_REFRESH_S = 60.0
_ROWS_MAX = 500
_SUBJECT_SIZE_MAX = 64
_DAY_MS = 86_400_000


def audit_page(desk: ConsoleDesk) -> None:
    """Register the page."""

    @ui.page(Page.AUDIT)
    def audit() -> None:
        with frame(desk, Page.AUDIT) as who:
            if who is not None:
                _Audit(desk, who)


class _Audit:
    """One opened page."""

    def __init__(self, desk: ConsoleDesk, who: Visitor) -> None:
        self._desk = desk
        self._who = who
        language = who.language
        self._fields: dict[str, ui.input] = {}
        with ui.row().style("align-items: center"):
            for name in ("operator", "action", "subject", "from", "to"):
                field = ui.input(word(f"audit.{name}", language))
                field.props(f"clearable debounce=400 data-field={name}")
                self._fields[name] = field
        # All of the audit takes its time: a day of it is there at once.
        today = business_date(desk.clock.now_ms(), desk.timezone)
        self._fields["from"].set_value(str(today))
        for field in self._fields.values():
            field.on_value_change(self._search)
        ui.label(word("audit.star", language)).style("font-size: .85rem")
        self._fault = ui.label().props("role=alert")
        self._table = table_of(
            [
                ("time", word("time", language)),
                ("who", word("audit.who", language)),
                ("where", word("institution", language)),
                ("action", word("audit.action", language)),
                ("subject", word("audit.subject", language)),
                ("detail", word("audit.detail", language)),
            ],
            language,
            name="audit",
            row_key="key",
        )
        every(_REFRESH_S, self._show, language)

    async def _search(self) -> None:
        """Search as asked; whoever looks for something leaves a row too."""
        sought = {name: self._text(name) for name in self._fields}
        desk = self._desk
        session = desk.sessions.find(self._who.session.token)
        if session is None or not await desk.sessions.confirm(session):
            return
        detail = " ".join(f"{name}={value}" for name, value in sought.items() if value)
        await desk.sessions.note(session, "audit_search", "audit", detail)
        await self._show()

    def _text(self, name: str) -> str:
        return str(self._fields[name].value or "").strip()[:_SUBJECT_SIZE_MAX]

    async def _show(self) -> None:
        desk = self._desk
        begins, ends = self._day("from"), self._day("to")
        self._fault.text = ""
        if begins is None or ends is None:
            self._fault.text = word("audit.bad_day", self._who.language)
            return
        query = AuditQuery(
            subject=self._text("subject"), action=self._text("action"), limit=_ROWS_MAX
        )
        if begins:
            query = query._replace(from_ms=begins)
        if ends:
            query = query._replace(to_ms=ends + _DAY_MS)
        code = self._text("operator")
        if code:
            numbers = await operator_numbers(desk.database, code)
            if not numbers:
                self._table.rows = []
                return
            found = [
                row
                for number in numbers
                for row in await find(desk.database, query._replace(operator_no=number))
            ]
        else:
            found = await find(desk.database, query)
        found.sort(key=lambda row: -row.recorded_time_ms)
        operators = await operator_codes(desk.database, [row.operator_no for row in found])
        places = await institution_codes(
            desk.database, [row.institution_no for row in found if row.institution_no]
        )
        self._table.rows = [
            self._row(index, row, operators, places) for index, row in enumerate(found[:_ROWS_MAX])
        ]

    def _day(self, name: str) -> int | None:
        """Read a day as milliseconds of its midnight; 0 where none is asked for, None: nonsense."""
        text = self._text(name)
        if not text:
            return 0
        try:
            day = dt.datetime.strptime(text, "%Y%m%d").replace(tzinfo=self._desk.timezone)
        except ValueError:
            return None
        return int(day.timestamp() * 1000)

    def _row(
        self, index: int, row: AuditRow, operators: dict[int, str], places: dict[int, str]
    ) -> dict[str, Any]:
        return {
            "key": index,
            "time": text_of(row.recorded_time_ms, self._desk.timezone),
            "who": operators.get(row.operator_no, "–"),
            "where": places.get(row.institution_no, ""),
            "action": row.action,
            "subject": row.subject,
            "detail": row.detail,
        }
