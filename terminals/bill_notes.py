"""What the catalogue held says of a bill before it is sent; it decides nothing.

Not here: the lists (`lists.py`), how a bill is divided, which is the centre's.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from msgspec import Struct

from protocol.terminal.messages import Bill, ItemRow
from terminals.receipt import decimal

_CLASS_C: Final = 3


class Note(Struct, frozen=True):
    """One remark.

    Attributes:
        line: From 1.
        text_zh: In Chinese.
        text_en: In English.
    """

    line: int
    text_zh: str
    text_en: str


class Catalogue(Protocol):
    """What is asked; `lists.Lists` is one."""

    def item(self, item: str, day: int, /) -> ItemRow | None:
        """Find what holds for an item on a day."""

    def limit_of(self, row: ItemRow, /) -> int | None:
        """Tell the price limit at this institution's level."""


def notes_of(bill: Bill, catalogue: Catalogue, day: int) -> Sequence[Note]:
    """Remark on lines that the patient will pay more of than they may expect."""
    notes: list[Note] = []
    for number, line in enumerate(bill.lines, 1):
        row = catalogue.item(line.item, day)
        if row is None:
            notes.append(Note(number, "目录外，全自费", "not in the catalogue: fully own"))
            continue
        if row.item_class == _CLASS_C:
            notes.append(Note(number, "丙类，全自费", "class C: fully own"))
            continue
        limit = catalogue.limit_of(row)
        if limit is not None and line.price_microyuan > limit:
            price, most = (
                decimal(microyuan, places=6, places_min=0)
                for microyuan in (line.price_microyuan, limit)
            )
            notes.append(
                Note(
                    number,
                    f"单价 {price} 高于限价 {most}",
                    f"price {price} above the limit {most}",
                )
            )
    return notes
