"""The revocation list: its version and age, how long it is, and what changed last."""

from nicegui import ui

from cardserver.console.access import Page
from cardserver.console.desk import ConsoleDesk, Visitor
from cardserver.console.frame import every, frame
from cardserver.console.pages.tables import table_of
from cardserver.console.revocation_list_store import newest_changes, sizes
from cardserver.console.words import word
from cardserver.registry.revocation_store import list_version, made_time_ms
from ledger.calendar import text_of

_REFRESH_S = 5.0
_LATEST = 50


def revocations_page(desk: ConsoleDesk) -> None:
    """Register the page."""

    @ui.page(Page.REVOCATIONS)
    def revocations() -> None:
        with frame(desk, Page.REVOCATIONS) as who:
            if who is not None:
                _Revocations(desk, who)


class _Revocations:
    """One opened page."""

    def __init__(self, desk: ConsoleDesk, who: Visitor) -> None:
        self._desk = desk
        self._tiles: dict[str, ui.label] = {}
        with ui.row():
            for name in ("version", "made", "cards", "certificates"):
                with ui.card().style("min-width: 8rem; gap: 0"):
                    ui.label(word(f"revocations.{name}", who.language))
                    label = ui.label("–").style("font-size: 1.5rem")
                    self._tiles[name] = label.props(f"data-tile={name}")
        ui.label(word("revocations.latest", who.language)).style("font-weight: bold")
        self._table = table_of(
            [
                ("version", word("revocations.version", who.language)),
                ("time", word("time", who.language)),
                ("subject", word("revocations.subject", who.language)),
                ("reason", word("revocations.reason", who.language)),
            ],
            who.language,
            name="changes",
            row_key="key",
        )
        every(_REFRESH_S, self._show, who.language)

    async def _show(self) -> None:
        database, zone = self._desk.database, self._desk.timezone
        version = await list_version(database)
        counted = await sizes(database)
        made_ms = await made_time_ms(database, version) if version else 0
        self._tiles["version"].text = str(version)
        self._tiles["made"].text = text_of(made_ms, zone) if version else "–"
        self._tiles["cards"].text = f"{counted.cards:,}"
        self._tiles["certificates"].text = f"{counted.certificates:,}"
        self._table.rows = [
            {
                "key": f"{change.version} {change.subject}",
                "version": change.version,
                "time": text_of(change.made_time_ms, zone),
                "subject": change.subject,
                "reason": change.reason,
            }
            for change in await newest_changes(database, _LATEST)
        ]
