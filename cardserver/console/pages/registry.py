"""A person of the registry, masked, with every change: each look is noted in the audit."""

from msgspec import json
from nicegui import ui

from cardserver.console.access import Language, Page
from cardserver.console.desk import ConsoleDesk, Visitor
from cardserver.console.frame import asks_on_enter, frame
from cardserver.console.pages.tables import table_of
from cardserver.console.words import word
from cardserver.registry.history_view_store import Change, changes_of_person
from cardserver.registry.masking import masked_name, masked_number, masked_value
from cardserver.registry.values import FOREVER, Person
from ledger.calendar import text_of
from ledger.store_errors import StoreError

_QUERY_SIZE_MAX = 40
_ID_NUMBER_SIZES = (15, 18)


def registry_page(desk: ConsoleDesk) -> None:
    """Register the page."""

    @ui.page(Page.REGISTRY)
    async def registry(q: str = "") -> None:
        with frame(desk, Page.REGISTRY) as who:
            if who is not None:
                try:
                    await _show(desk, who, q.strip()[:_QUERY_SIZE_MAX])
                except StoreError:
                    ui.label(word("unavailable", who.language)).props("role=alert")


async def _show(desk: ConsoleDesk, who: Visitor, query: str) -> None:
    field = ui.input(word("registry.query", who.language)).style("width: 24rem")
    field.props("autofocus data-field=q")
    asks_on_enter(field, Page.REGISTRY, "q")
    if not query:
        return
    person = await _find(desk, query)
    if person is None:
        ui.label(word("registry.unknown", who.language)).props("role=alert")
        return
    await desk.sessions.note(who.session, "registry_show", f"person {person.person_no}")
    await _person(desk, who.language, person)


async def _find(desk: ConsoleDesk, query: str) -> Person | None:
    registry = desk.registry
    if query.isascii() and query.isdecimal() and len(query) not in _ID_NUMBER_SIZES:
        person = await registry.person(await registry.kept_number(int(query)))
        if person is not None:
            return person
    person = await registry.person_by_id_number(query)
    if person is None and (card := await registry.card_by_number(query)) is not None:
        person = await registry.person(card.person_no)
    return person


async def _person(desk: ConsoleDesk, language: Language, person: Person) -> None:
    registry, number = desk.registry, person.person_no
    ui.label(
        f"{number} · {masked_name(person.name)} · {person.birth_date}"
        + (f" † {person.deceased_date}" if person.deceased_date else "")
    ).style("font-size: 1.25rem")
    _table(
        language,
        "insurances",
        ("name", "type", "registry.state", "registry.begins", "registry.ends"),
        [
            (one.insutype, one.person_type, one.state.name.lower(), one.begins, _end(one.ends))
            for one in await registry.insurances(number)
        ],
    )
    _table(
        language,
        "cards",
        ("name", "registry.state", "registry.begins", "registry.ends"),
        [
            (masked_number(str(one.card_number)), one.state.name.lower(), one.begins,
             _end(one.ends))
            for one in await registry.cards_of(number)
        ],
    )  # fmt: skip
    _table(
        language,
        "documents",
        ("type", "name", "registry.ends"),
        [
            (one.id_type.name.lower(), masked_number(one.number), _end(one.ends))
            for one in await registry.identities(number)
        ],
    )
    _table(
        language,
        "history",
        ("time", "registry.who", "type", "registry.before", "registry.after"),
        [
            (
                text_of(change.time_ms, desk.timezone),
                change.actor,
                f"{change.subject} {_key(change)}",
                _values(change, change.before),
                _values(change, change.after),
            )
            for change in reversed(await changes_of_person(desk.database, number))
        ],
    )


def _end(day: int) -> str:
    return "" if day == FOREVER else str(day)


def _key(change: Change) -> str:
    """Name the row; of a document only that it is one, since its key is its number."""
    return "" if change.subject == "identity" else change.key


def _values(change: Change, values: dict[str, object] | None) -> str:
    """Write what was there as commands do: masked where it tells who someone is."""
    if values is None:
        return "–"
    masked = {
        name: masked_value(name, value, of_person=change.subject == "person")
        for name, value in values.items()
    }
    return json.encode(masked).decode()


def _table(
    language: Language, title: str, names: tuple[str, ...], rows: list[tuple[object, ...]]
) -> None:
    ui.label(word(f"registry.{title}", language)).style("font-weight: bold")
    columns = [(str(place), word(name, language)) for place, name in enumerate(names)]
    table = table_of(columns, language, name=title, row_key="key")
    table.rows = [
        {"key": index, **{str(place): str(value) for place, value in enumerate(row)}}
        for index, row in enumerate(rows)
    ]
