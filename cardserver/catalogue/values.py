"""What the catalogue says, as values.

Dates are integers YYYYMMDD. Of an item, a row that ends on 99991231 holds until the next one
begins.
"""

from enum import IntEnum, unique

from msgspec import Struct

FOREVER = 99991231
LEVELS = 4  # pharmacies 0, institutions 1 to 3

CLASS_A, CLASS_B, CLASS_C = 1, 2, 3


@unique
class ItemKind(IntEnum):
    """What an item is."""

    DRUG = 1
    SERVICE = 2
    CONSUMABLE = 3


@unique
class ListNumber(IntEnum):
    """Which list a version is of."""

    CATALOGUE = 1
    MAPPING = 2


class CatalogueItem(Struct, frozen=True, gc=False):
    """One item on a day, as it holds for institutions of one level.

    Attributes:
        item: The national code (med_list_codg).
        begins: First day.
        ends: Last day; `FOREVER` until the item's next row begins.
        name: Its name.
        item_class: 1 甲, 2 乙, 3 丙.
        self_pay_ratio_e4: The patient's own share of a class B item before all else.
        price_limit_microyuan: The highest unit price in scope at this level, or None.
        kind: An `ItemKind`.
        unit: In which quantities count; may be empty.
        sex: 0 for all, 1 men only, 2 women only.
        age_from: For whom it is, in full years.
        age_below: Of which age one is too old for it; 0 none.
        daily_quantity_max_e4: How much a person may get in a day; 0 without limit.
    """

    item: str
    begins: int
    ends: int
    name: str
    item_class: int
    self_pay_ratio_e4: int
    price_limit_microyuan: int | None
    kind: int = ItemKind.DRUG.value
    unit: str = ""
    sex: int = 0
    age_from: int = 0
    age_below: int = 0
    daily_quantity_max_e4: int = 0


class CatalogueRow(Struct, frozen=True, gc=False):
    """A row of the catalogue as stored: one item's from a first day on, for all levels.

    Attributes:
        price_limit_microyuan: Of the levels without a limit of their own.
        price_limit_0_microyuan: Of pharmacies; and so on for institutions of level 1 to 3.
        is_struck: Whether it was found never to have been right: it counts as absent.
    """

    item: str
    begins: int
    ends: int
    name: str
    item_class: int
    self_pay_ratio_e4: int
    price_limit_microyuan: int | None = None
    kind: int = ItemKind.DRUG.value
    unit: str = ""
    price_limit_0_microyuan: int | None = None
    price_limit_1_microyuan: int | None = None
    price_limit_2_microyuan: int | None = None
    price_limit_3_microyuan: int | None = None
    sex: int = 0
    age_from: int = 0
    age_below: int = 0
    daily_quantity_max_e4: int = 0
    is_struck: int = 0

    @property
    def name_of_key(self) -> str:
        """What its periods may not overlap within."""
        return self.item

    def limit_at(self, level: int) -> int | None:
        """The limit at institutions of a level; 0 pharmacies."""
        own = (
            self.price_limit_0_microyuan,
            self.price_limit_1_microyuan,
            self.price_limit_2_microyuan,
            self.price_limit_3_microyuan,
        )[level]
        return self.price_limit_microyuan if own is None else own


class MappingRow(Struct, frozen=True, gc=False):
    """An institution's own code for an item, from a first day on.

    Attributes:
        local_item: The institution's own code.
        item: The catalogue's.
        local_name: What the institution calls it; may be empty.
        is_struck: As in `CatalogueRow`.
    """

    institution_no: int
    local_item: str
    begins: int
    ends: int
    item: str
    local_name: str = ""
    is_struck: int = 0

    @property
    def name_of_key(self) -> tuple[int, str]:
        """What its periods may not overlap within."""
        return self.institution_no, self.local_item


class ListVersion(Struct, frozen=True):
    """One version of a list: who made it, when, and of what.

    Attributes:
        added: Rows of new keys.
        changed: Rows that take the place of others.
    """

    version: int
    made_time_ms: int
    actor: str
    source: str
    added: int
    changed: int
