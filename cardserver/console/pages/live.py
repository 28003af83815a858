"""What goes on now: how much, how long, where the time goes."""

from typing import Any

from nicegui import ui

from cardserver.console.access import Language, Page
from cardserver.console.desk import ConsoleDesk, Visitor
from cardserver.console.frame import CHART_TEXT, every, frame, milliseconds
from cardserver.console.pages.tables import table_of
from cardserver.console.window import SLICE_MS, By, Line
from cardserver.console.words import named, word
from cardserver.observe import catalogue
from ledger.calendar import text_of
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import MessageType

_REFRESH_S = 2.0
_NOW_MS = 60_000
_HEAT_NAMES_MAX = 14
_ROWS_MAX = 500
_TYPES = ("settle", "card_open", "preview", "cancel", "reverse", "eligibility", "member_query")
_MINUTES = (1, 5, 10)


def live_page(desk: ConsoleDesk) -> None:
    """Register the page."""

    @ui.page(Page.LIVE)
    def live() -> None:
        with frame(desk, Page.LIVE) as who:
            if who is not None:
                _Live(desk, who)


class _Live:
    """One opened page."""

    def __init__(self, desk: ConsoleDesk, who: Visitor) -> None:
        self._desk = desk
        self._language = who.language
        self._tiles = self._make_tiles()
        self._lost = ui.label().props("role=status")
        with ui.row().style("width: 100%; align-items: center"):
            self._type = ui.select(
                {
                    "": word("all", self._language),
                    **{name: named("type", name, self._language) for name in _TYPES},
                },
                value="settle",
                label=word("live.types", self._language),
            ).props("data-field=type")
            self._by = ui.select(
                {by.name: word(f"by.{by.name}", self._language) for by in By},
                value=By.STAGE.name,
                label=word("live.by", self._language),
            ).props("data-field=by")
            self._minutes = ui.select(
                {n: word("live.minutes", self._language, n) for n in _MINUTES}, value=5
            )
            for choice in (self._type, self._by, self._minutes):
                choice.style("min-width: 10rem")
                choice.on_value_change(self._show)
        ui.label(word("live.heat", self._language)).style("font-weight: bold")
        self._heat = ui.echart(_heat_options(), on_point_click=None).style(
            "width: 100%; height: 20rem"
        )
        language = self._language
        self._table = table_of(
            [
                ("name", word("name", language)),
                ("count", word("count", language)),
                ("rate", word("rate", language)),
                ("p50", "p50 ms"),
                ("p95", "p95 ms"),
                ("p99", "p99 ms"),
            ],
            language,
            name="durations",
            row_key="name",
            rows_shown=20,
        )
        ui.label(word("live.course", self._language)).style("font-weight: bold")
        self._course = ui.echart(_course_options(self._language)).style(
            "width: 100%; height: 16rem"
        )
        every(_REFRESH_S, self._show, self._language)

    def _make_tiles(self) -> dict[str, ui.label]:
        tiles: dict[str, ui.label] = {}
        with ui.row().style("width: 100%"):
            for name in ("rate", "settle", "card", "felt", "refused", "connected", "queue"):
                with ui.card().style("min-width: 8rem; gap: 0"):
                    ui.label(word(f"live.{name}", self._language)).style("font-size: .85rem")
                    tiles[name] = ui.label("–").style("font-size: 1.5rem")
                    tiles[name].props(f"data-tile={name}")
        return tiles

    async def _show(self) -> None:
        desk, window = self._desk, self._desk.window
        now_ms = desk.clock.now_ms()
        since_ms = now_ms - _NOW_MS
        outcomes = window.outcomes(since_ms=since_ms)
        answered = outcomes.total()
        refused = sum(n for (_, code), n in outcomes.items() if code != ResponseCode.APPROVED)
        reached = [worker for worker in desk.feed.watched if not worker.error]
        tiles = self._tiles
        tiles["rate"].text = f"{answered / (_NOW_MS / 1000):.1f}"
        for name, kind in (("settle", MessageType.SETTLE), ("card", MessageType.CARD_OPEN)):
            durations = window.merged(By.TYPE, since_ms=since_ms, types=[kind.name.lower()])
            tiles[name].text = milliseconds(durations.percentile_us(0.99)) if durations else "–"
        felt = window.merged(By.FELT, since_ms=since_ms)
        tiles["felt"].text = milliseconds(felt.percentile_us(0.95)) if felt else "–"
        tiles["refused"].text = f"{100 * refused / answered:.1f} %" if answered else "–"
        for name, family in (
            ("connected", catalogue.CONNECTIONS), ("queue", catalogue.COMMIT_QUEUE),
        ):  # fmt: skip
            tiles[name].text = f"{sum(worker.gauge(family) for worker in reached):.0f}"
        self._lost.text = word("live.lost", self._language, window.lost) if window.lost else ""
        self._show_durations(now_ms)

    def _named(self, by: By, name: str) -> str:
        kind = {By.STAGE: "stage", By.TYPE: "type"}.get(by)
        return name if kind is None else named(kind, name, self._language)

    def _show_durations(self, now_ms: int) -> None:
        window, by = self._desk.window, By[self._by.value]
        types = [self._type.value] if self._type.value else []
        minutes_ms = self._minutes.value * 60_000
        lines = window.lines(by, since_ms=now_ms - minutes_ms, types=types)
        self._table.rows = [
            _row(line, self._named(by, line.name), minutes_ms / 1000) for line in lines[:_ROWS_MAX]
        ]
        zone = self._desk.timezone
        heat = window.heat(by, types=types, names_max=_HEAT_NAMES_MAX)
        options = self._heat.options
        options["xAxis"]["data"] = [text_of(at, zone)[11:] for at in heat.times_ms]
        options["yAxis"]["data"] = [self._named(by, name) for name in heat.names]
        options["visualMap"]["max"] = max((p95 / 1000 for _, _, p95 in heat.cells), default=1)
        options["series"][0]["data"] = [
            [column, row, round(p95 / 1000, 3)] for column, row, p95 in heat.cells
        ]
        self._heat.update()
        series = window.series(types=types)
        options = self._course.options
        options["xAxis"]["data"] = [text_of(at, zone)[11:] for at, *_ in series]
        per_s = SLICE_MS / 1000
        for place, values in enumerate(
            (
                [round(count / per_s, 1) for _, count, _, _ in series],
                [round(p50 / 1000, 3) for _, _, p50, _ in series],
                [round(p99 / 1000, 3) for _, _, _, p99 in series],
            )
        ):
            options["series"][place]["data"] = values
        self._course.update()


def _row(line: Line, name: str, seconds: float) -> dict[str, str | float]:
    return {
        "name": name,
        "count": line.count,
        "rate": round(line.count / seconds, 1),
        "p50": round(line.p50_us / 1000, 2),
        "p95": round(line.p95_us / 1000, 2),
        "p99": round(line.p99_us / 1000, 2),
    }


def _heat_options() -> dict[str, Any]:
    return {
        "animation": False,
        "textStyle": {"color": CHART_TEXT},
        "tooltip": {"position": "top"},
        "grid": {"left": 180, "right": 90, "top": 10, "bottom": 30},
        "xAxis": {"type": "category", "data": []},
        "yAxis": {"type": "category", "data": [], "inverse": True},
        "visualMap": {
            "min": 0, "max": 1, "calculable": True, "right": 0, "top": 10,
            "textStyle": {"color": CHART_TEXT},
            "inRange": {"color": ["#14532d", "#facc15", "#dc2626"]}, "formatter": "{value} ms",
        },
        "series": [{"type": "heatmap", "data": []}],
    }  # fmt: skip


def _course_options(language: Language) -> dict[str, Any]:
    return {
        "animation": False,
        "textStyle": {"color": CHART_TEXT},
        "tooltip": {"trigger": "axis"},
        "legend": {"top": 0, "textStyle": {"color": CHART_TEXT}},
        "grid": {"left": 60, "right": 60, "top": 30, "bottom": 30},
        "xAxis": {"type": "category", "data": []},
        "yAxis": [{"type": "value"}, {"type": "value", "axisLabel": {"formatter": "{value} ms"}}],
        "series": [
            {"name": word("rate", language), "type": "bar", "data": []},
            {"name": "p50", "type": "line", "yAxisIndex": 1, "showSymbol": False, "data": []},
            {"name": "p99", "type": "line", "yAxisIndex": 1, "showSymbol": False, "data": []},
        ],
    }
