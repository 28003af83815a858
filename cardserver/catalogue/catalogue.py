"""The catalogue in memory: what holds for an item, at institutions of a level, on a day.

A `Catalogue` never changes: a newer version is another one, so that a bill is divided by one
version throughout. Not here: reading versions from the database (`catalogue_store.py`).
"""

from collections.abc import Iterable, Sequence
from typing import Self

from msgspec import Struct

from cardserver.catalogue.values import (
    FOREVER,
    LEVELS,
    CatalogueItem,
    CatalogueRow,
    day_before,
    items_of,
)


class _Periods(Struct, frozen=True, gc=False):
    """An item with several rows, or with limits that differ by level.

    Attributes:
        rows: In the order of their first days.
        items: For each row, from the last to the first, what holds at each level.
    """

    rows: tuple[CatalogueRow, ...]
    items: tuple[Sequence[CatalogueItem], ...]


class Catalogue:
    """The catalogue as of a version; looking up takes a tenth of a microsecond.

    Most items have one row and one limit: those are the dictionary's values themselves.

    Attributes:
        version: 0 before the first change.
    """

    __slots__ = ("_entries", "version")

    def __init__(
        self, version: int = 0, entries: dict[str, CatalogueItem | _Periods] | None = None
    ) -> None:
        """Begin empty; `entries` are for `Draft` alone."""
        self.version = version
        self._entries = {} if entries is None else entries

    @classmethod
    def of(cls, rows: Iterable[CatalogueRow], version: int = 1) -> Self:
        """Make a catalogue of rows that are at hand."""
        draft = Draft(Catalogue())
        draft.take_up(rows)
        return cls(version, draft.entries)

    def __len__(self) -> int:
        """Count the items."""
        return len(self._entries)

    def find(self, item: str, *, level: int, day: int) -> CatalogueItem | None:
        """Find what holds for an item on a day, at institutions of a level (0: pharmacies)."""
        found = self._entries.get(item)
        if found.__class__ is CatalogueItem:
            return found if found.begins <= day <= found.ends else None
        if found is None:
            return None
        for items in found.items:  # type: ignore[union-attr]  # as above
            one = items[level]
            if one.begins <= day:
                return one if day <= one.ends else None
        return None


class Draft:
    """The next version of a catalogue, in the making.

    Attributes:
        entries: As `Catalogue` keeps them.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        """Start from this one, which stays as it is."""
        self.entries = catalogue._entries.copy()  # noqa: SLF001 - the other half of one class

    def take_up(self, rows: Iterable[CatalogueRow]) -> None:
        """Add rows, each in the place of an older one of the same item and first day."""
        entries = self.entries
        for row in rows:
            entry = entries.get(row.item)
            if entry is None:
                others: tuple[CatalogueRow, ...] = ()
            elif isinstance(entry, _Periods):
                others = tuple(one for one in entry.rows if one.begins != row.begins)
            else:
                others = () if entry.begins == row.begins else (_row_of(entry),)
            kept = others if row.is_struck else (*others, row)
            if kept:
                entries[row.item] = _entry_of(kept)
            else:
                entries.pop(row.item, None)

    def publish(self, version: int) -> Catalogue:
        """Return the new version; the draft is spent."""
        return Catalogue(version, self.entries)


def _entry_of(rows: tuple[CatalogueRow, ...]) -> CatalogueItem | _Periods:
    if len(rows) == 1:
        items = items_of(rows[0], rows[0].ends)
        if all(one is items[0] for one in items):
            return items[0]
        return _Periods(rows, (items,))
    rows = tuple(sorted(rows, key=lambda one: one.begins))
    found: list[Sequence[CatalogueItem]] = []
    until = FOREVER
    for row in reversed(rows):
        found.append(items_of(row, min(row.ends, until)))
        until = day_before(row.begins)
    return _Periods(rows, tuple(found))


def _row_of(item: CatalogueItem) -> CatalogueRow:
    return CatalogueRow(
        item.item, item.begins, item.ends, item.name, item.item_class, item.self_pay_ratio_e4,
        item.price_limit_microyuan, item.kind, item.unit, sex=item.sex, age_from=item.age_from,
        age_below=item.age_below, daily_quantity_max_e4=item.daily_quantity_max_e4,
    )  # fmt: skip


assert LEVELS == 4  # noqa: PLR2004 - a row's limits are counted where it is declared
