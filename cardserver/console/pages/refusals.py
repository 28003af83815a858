"""What is refused, where, and examples that lead to the single request."""

from typing import Any
from urllib.parse import quote

from nicegui import events, ui

from cardserver.console.access import Language, Page
from cardserver.console.desk import ConsoleDesk, Visitor
from cardserver.console.frame import every, frame
from cardserver.console.pages.tables import table_of
from cardserver.console.window import Refusals
from cardserver.console.words import named, word
from cardserver.observe.recent import AnsweredRequest
from ledger.calendar import text_of
from protocol.terminal.codes import ResponseCode

_REFRESH_S = 2.0
_SINCE_MS = 600_000


def refusals_page(desk: ConsoleDesk) -> None:
    """Register the page."""

    @ui.page(Page.REFUSALS)
    def refusals(institution: str = "") -> None:
        with frame(desk, Page.REFUSALS) as who:
            if who is not None:
                _Refusals(desk, who, institution)


class _Refusals:
    """One opened page."""

    def __init__(self, desk: ConsoleDesk, who: Visitor, institution: str) -> None:
        self._desk = desk
        self._language = who.language
        self._institution = ui.input(
            word("refusals.institution", who.language), value=institution[:12]
        ).props("clearable debounce=300 data-field=institution")
        self._institution.style("width: 18rem")
        self._institution.on_value_change(self._show)
        language = who.language
        self._by_institution = table_of(
            [("institution", word("institution", language)), ("count", word("count", language))],
            language,
            name="institutions",
            row_key="institution",
        )
        self._by_institution.on("row-click", self._choose)
        self._table = table_of(
            [
                ("code", word("refusals.code", language)),
                ("name", word("name", language)),
                ("meaning", word("refusals.meaning", language)),
                ("type", word("type", language)),
                ("count", word("count", language)),
                ("institutions", word("refusals.institutions", language)),
                ("retry", word("refusals.retry", language)),
            ],
            language,
            name="refusals",
            row_key="key",
        )
        ui.label(word("refusals.examples", language)).style("font-weight: bold")
        self._examples = table_of(
            [
                ("time", word("time", language)),
                ("institution", word("institution", language)),
                ("terminal", word("terminal", language)),
                ("msgid", "msgid"),
                ("code", word("refusals.code", language)),
                ("detail", word("audit.detail", language)),
            ],
            language,
            name="examples",
            row_key="key",
        )
        self._examples.add_slot(
            "body-cell-msgid",
            '<q-td :props="props"><a :href="props.row.link">{{ props.value }}</a></q-td>',
        )
        every(_REFRESH_S, self._show, who.language)

    def _choose(self, event: events.GenericEventArguments) -> None:
        self._institution.value = event.args[1]["institution"]

    async def _show(self) -> None:
        desk = self._desk
        institution = str(self._institution.value or "").strip().upper()
        found = desk.window.refusals(
            since_ms=desk.clock.now_ms() - _SINCE_MS, institution=institution
        )
        self._table.rows = [_row(refused, self._language) for refused in found]
        self._examples.rows = [self._example(row) for refused in found for row in refused.examples]
        counts = desk.window.refused_institutions(since_ms=desk.clock.now_ms() - _SINCE_MS)
        self._by_institution.rows = [
            {"institution": code, "count": count} for code, count in counts.most_common(10)
        ]

    def _example(self, row: AnsweredRequest) -> dict[str, Any]:
        return {
            "key": f"{row.msgid} {row.terminal} {row.time_ms}",
            "time": text_of(row.time_ms, self._desk.timezone)[11:],
            "institution": row.institution,
            "terminal": row.terminal,
            "msgid": row.msgid,
            "code": row.code,
            "detail": row.detail,
            "link": f"{Page.REQUEST}?msgid={quote(row.msgid)}",
        }


def _row(refused: Refusals, language: Language) -> dict[str, Any]:
    code = known_code(refused.code)
    is_zh = language is Language.ZH
    meaning = "" if code is None else (code.text_zh if is_zh else code.text_en)
    return {
        "key": f"{refused.type_name} {refused.code}",
        "code": refused.code,
        "name": "" if code is None else code.name,
        "meaning": meaning,
        "retry": "" if code is None else code.retry.name.lower(),
        "type": named("type", refused.type_name, language),
        "count": refused.count,
        "institutions": refused.institutions,
    }


def known_code(number: int) -> ResponseCode | None:
    """Return a response code by its number; None where this program knows none."""
    return _CODES.get(number)


_CODES = {code.value: code for code in ResponseCode}
