"""The catalogue in memory: what holds for an item, at institutions of a level, on a day.

A `Catalogue` never changes: a newer version is another one, so that a bill is divided by one
version throughout. Not here: reading versions from the database (`catalogue_store.py`).
"""

from collections.abc import Iterable
from typing import Self, TypeVar

from cardserver.catalogue.values import LEVELS, CatalogueItem, CatalogueRow

T = TypeVar("T")

# What one row of an item says, by level.
_Period = tuple[CatalogueItem, ...]
# Most items have one row and one limit: then that is the entry. Others have each row's periods,
# the last one first. Structs without references and tuples of them cost the collector nothing.
_Entry = CatalogueItem | tuple[_Period, ...]


class Catalogue:
    """The catalogue as of a version; looking up takes about twice as long as in a dictionary.

    Attributes:
        version: 0 before the first change.
    """

    __slots__ = ("_entries", "version")

    def __init__(self, version: int = 0, entries: dict[str, _Entry] | None = None) -> None:
        """Begin empty; `entries` are for `Draft` alone."""
        self.version = version
        self._entries: dict[str, _Entry] = {} if entries is None else entries

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
        for period in found:  # type: ignore[union-attr]  # the class was compared
            one = period[level]
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
        # Dates, ratios, prices and units are few, and each is kept once.
        self._ints: dict[int, int] = {}
        self._texts: dict[str, str] = {}

    def take_up(self, rows: Iterable[CatalogueRow]) -> None:
        """Add rows, each in the place of an older one of the same item and first day."""
        entries = self.entries
        for row in rows:
            entry = entries.get(row.item)
            others: tuple[_Period, ...]
            if entry is None:
                others = ()
            elif isinstance(entry, CatalogueItem):
                others = () if entry.begins == row.begins else ((entry,) * LEVELS,)
            else:
                others = tuple([one for one in entry if one[0].begins != row.begins])
            periods = others if row.is_struck else (*others, self._period_of(row))
            match periods:
                case ():
                    entries.pop(row.item, None)
                case ((first, *rest),) if all(one is first for one in rest):
                    entries[first.item] = first
                case _:
                    last_first = sorted(periods, key=lambda one: -one[0].begins)
                    entries[row.item] = tuple(last_first)

    def publish(self, version: int) -> Catalogue:
        """Return the new version; the draft is spent."""
        return Catalogue(version, self.entries)

    def _period_of(self, row: CatalogueRow) -> _Period:
        """Make what holds at each level, from pharmacies to level 3; equal ones are one object."""
        number, text = self._ints.setdefault, self._texts.setdefault
        made: dict[int | None, CatalogueItem] = {}
        limits = [row.limit_at(level) for level in range(LEVELS)]
        for limit in limits:
            if limit not in made:
                made[limit] = CatalogueItem(
                    item=row.item,
                    begins=number(row.begins, row.begins),
                    ends=number(row.ends, row.ends),
                    name=row.name,
                    item_class=row.item_class,
                    self_pay_ratio_e4=number(row.self_pay_ratio_e4, row.self_pay_ratio_e4),
                    price_limit_microyuan=None if limit is None else number(limit, limit),
                    kind=row.kind,
                    unit=text(row.unit, row.unit),
                    sex=row.sex,
                    age_from=row.age_from,
                    age_below=row.age_below,
                    daily_quantity_max_e4=number(
                        row.daily_quantity_max_e4, row.daily_quantity_max_e4
                    ),
                )
        return tuple([made[limit] for limit in limits])
