"""Terminals: who is there, whose reader is broken, whose cashier waits; on a map where placed."""

from collections.abc import Sequence
from typing import Any

from nicegui import events, ui

from cardserver.console.access import Language, Page
from cardserver.console.desk import ConsoleDesk, Visitor
from cardserver.console.frame import CHART_TEXT, every, frame
from cardserver.console.pages.tables import table_of
from cardserver.console.places_store import Position, positions
from cardserver.console.window import By
from cardserver.console.words import word
from cardserver.telemetry.terminal_states_store import TerminalView, terminal_states
from protocol.telemetry.messages import Presence, ReaderState

_REFRESH_S = 2.0
_SINCE_MS = 300_000
_COLOURS = {"good": "#16a34a", "slow": "#facc15", "offline": "#dc2626"}
_MICRO = 1_000_000


def terminals_page(desk: ConsoleDesk) -> None:
    """Register the page."""

    @ui.page(Page.TERMINALS)
    def terminals() -> None:
        with frame(desk, Page.TERMINALS) as who:
            if who is not None:
                _Terminals(desk, who)


class _Terminals:
    """One opened page."""

    def __init__(self, desk: ConsoleDesk, who: Visitor) -> None:
        self._desk = desk
        self._language = who.language
        self._counts = ui.row()
        self._tiles: dict[str, ui.label] = {}
        with self._counts:
            for name in ("on", "slow", "offline", "reader", "outbox"):
                with ui.card().style("min-width: 8rem; gap: 0"):
                    ui.label(word(f"terminals.{name}", who.language)).style("font-size: .85rem")
                    label = ui.label("–").style("font-size: 1.5rem")
                    self._tiles[name] = label.props(f"data-tile={name}")
        with ui.row().style("align-items: center"):
            self._only = ui.select(
                {
                    name: word(f"terminals.only.{name}", who.language)
                    for name in ("all", "slow", "offline", "reader", "outbox")
                },
                value="all",
                label=word("show", who.language),
            ).style("min-width: 12rem")
            self._only.props("data-field=only")
            self._search = ui.input(word("search", who.language)).props(
                "clearable debounce=300 data-field=search"
            )
        for choice in (self._only, self._search):
            choice.on_value_change(self._show)
        self._map = ui.echart(_map_options()).style("width: 100%; height: 18rem")
        self._map.visible = False
        self._table = table_of(
            _columns(who.language), who.language, name="terminals", row_key="key"
        )
        # By the median: a terminal that waited once, as for its sign-on, is not a slow one.
        self._table.pagination = {"rowsPerPage": 50, "sortBy": "p50", "descending": True}
        self._table.on("row-click", self._follow)
        every(_REFRESH_S, self._show, who.language)

    def _follow(self, event: events.GenericEventArguments) -> None:
        """From a terminal to what is refused at its institution."""
        ui.navigate.to(f"{Page.REFUSALS}?institution={event.args[1]['institution']}")

    async def _show(self) -> None:
        desk = self._desk
        now_ms = desk.clock.now_ms()
        views = await terminal_states(desk.database)
        felt = {
            line.name: line.p95_us / 1000
            for line in desk.window.lines(By.FELT, since_ms=now_ms - _SINCE_MS)
        }
        chosen = {
            "all": views,
            "slow": [view for view in views if view.is_slow()],
            "offline": [view for view in views if view.is_offline(now_ms)],
            "reader": [view for view in views if _is_reader_faulty(view)],
            "outbox": [view for view in views if view.state.outbox.open_count],
        }
        for name in ("slow", "offline", "reader", "outbox"):
            self._tiles[name].text = str(len(chosen[name]))
        on = [view for view in views if view.state.presence is Presence.SIGNED_ON]
        self._tiles["on"].text = f"{len(on)} / {len(views)}"
        sought = str(self._search.value or "").strip().upper()
        self._table.rows = [
            self._row(view, now_ms, felt)
            for view in chosen[self._only.value]
            if sought in f"{view.name.institution}/{view.name.code} {view.institution_name}".upper()
        ]
        self._show_map(views, await positions(desk.database), now_ms)

    def _row(self, view: TerminalView, now_ms: int, felt: dict[str, float]) -> dict[str, Any]:
        state = view.state
        name = f"{view.name.institution}/{view.name.code}"
        presence = "silent" if view.is_silent(now_ms) else state.presence.value
        return {
            "key": name,
            "institution": view.name.institution,
            "name": view.institution_name,
            "terminal": view.name.code,
            "presence": word(f"presence.{presence}", self._language),
            "reader": word(f"reader.{state.reader.state.value}", self._language),
            "p50": state.felt.p50_ms,
            # What the terminal said of itself, or what its requests said since, if that is worse.
            "p95": max(state.felt.p95_ms, round(felt.get(name, 0))),
            "unanswered": state.felt.unanswered,
            "outbox": state.outbox.open_count,
            "list": state.versions.revocations,
            "skew": round(view.clock_skew_ms / 1000),
            "heard": max(0, now_ms - view.heard_time_ms) // 1000,
        }

    def _show_map(
        self, views: Sequence[TerminalView], places: dict[str, Position], now_ms: int
    ) -> None:
        self._map.visible = bool(places)
        by_institution: dict[str, list[TerminalView]] = {}
        for view in views:
            by_institution.setdefault(view.name.institution, []).append(view)
        points = [
            {
                "name": f"{place.name} ({len(here)})",
                "value": [place.longitude_e6 / _MICRO, place.latitude_e6 / _MICRO],
                "symbolSize": min(40, 10 + 2 * len(here)),
                "itemStyle": {"color": _COLOURS[_worst(here, now_ms)]},
            }
            for code, here in by_institution.items()
            if (place := places.get(code)) is not None
        ]
        self._map.options["series"][0]["data"] = points
        self._map.update()


def _is_reader_faulty(view: TerminalView) -> bool:
    return view.state.presence is Presence.SIGNED_ON and view.state.reader.state in {
        ReaderState.ABSENT,
        ReaderState.FAULTY,
    }


def _worst(views: Sequence[TerminalView], now_ms: int) -> str:
    if any(view.is_offline(now_ms) for view in views):
        return "offline"
    return "slow" if any(view.is_slow() or _is_reader_faulty(view) for view in views) else "good"


def _columns(language: Language) -> list[tuple[str, str]]:
    return [
        ("institution", word("institution", language)),
        ("name", word("name", language)),
        ("terminal", word("terminal", language)),
        ("presence", word("terminals.presence", language)),
        ("reader", word("terminals.reader_state", language)),
        ("unanswered", word("terminals.unanswered", language)),
        ("p50", word("terminals.felt", language, "p50")),
        ("p95", word("terminals.felt", language, "p95")),
        ("outbox", word("terminals.outbox", language)),
        ("list", word("revocations.version", language)),
        ("skew", word("terminals.skew", language)),
        ("heard", word("terminals.heard", language)),
    ]


def _map_options() -> dict[str, Any]:
    return {
        "animation": False,
        "textStyle": {"color": CHART_TEXT},
        "tooltip": {"formatter": "{b}"},
        "grid": {"left": 50, "right": 20, "top": 10, "bottom": 30},
        "xAxis": {"type": "value", "scale": True},
        "yAxis": {"type": "value", "scale": True},
        "series": [{"type": "scatter", "data": []}],
    }
