"""The centre itself: its workers, its writers, its database and what copies it."""

from nicegui import ui

from cardserver.console.access import Language, Page
from cardserver.console.centre_store import centre_facts, writer_slots
from cardserver.console.desk import ConsoleDesk, Visitor
from cardserver.console.frame import every, frame
from cardserver.console.pages.tables import table_of
from cardserver.console.words import word
from cardserver.observe import catalogue
from ledger.calendar import text_of

_REFRESH_S = 5.0


def centre_page(desk: ConsoleDesk) -> None:
    """Register the page."""

    @ui.page(Page.CENTRE)
    def centre() -> None:
        with frame(desk, Page.CENTRE) as who:
            if who is not None:
                _Centre(desk, who)


class _Centre:
    """One opened page."""

    def __init__(self, desk: ConsoleDesk, who: Visitor) -> None:
        self._desk = desk
        self._language = who.language
        self._workers = self._table(
            "centre.workers",
            ("address", "state", "connected", "in_flight", "queue"),
        )
        self._slots = self._table("centre.slots", ("slot", "owner", "entries", "lease"))
        self._facts = self._table("centre.database", ("fact", "value"))
        every(_REFRESH_S, self._show, who.language)

    def _table(self, title: str, names: tuple[str, ...]) -> ui.table:
        ui.label(word(title, self._language)).style("font-weight: bold")
        labels = {"connected": "live.connected", "queue": "live.queue"}
        columns = [
            (name, word(labels.get(name, f"centre.{name}"), self._language)) for name in names
        ]
        return table_of(
            columns, self._language, name=title.removeprefix("centre."), row_key=names[0]
        )

    async def _show(self) -> None:
        desk, language = self._desk, self._language
        self._workers.rows = [
            {
                "address": worker.url,
                "state": worker.error or word("centre.reached", language),
                "connected": round(worker.gauge(catalogue.CONNECTIONS)),
                "in_flight": round(worker.gauge(catalogue.IN_FLIGHT)),
                "queue": round(worker.gauge(catalogue.COMMIT_QUEUE)),
            }
            for worker in desk.feed.watched
            if worker.life or not worker.error
        ]
        self._slots.rows = [
            {
                "slot": slot.slot,
                "owner": slot.owner,
                "entries": f"{slot.sequence:,}",
                "lease": text_of(slot.lease_until_ms, desk.timezone) if slot.owner else "–",
            }
            for slot in await writer_slots(desk.database)
        ]
        self._facts.rows = [
            {"fact": zh if language is Language.ZH else en, "value": value}
            for zh, en, value in await centre_facts(desk.database)
        ]
