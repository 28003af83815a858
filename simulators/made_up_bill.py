"""Bills of made-up patients: lines drawn from the city's catalogue, by a seed.

Not here: how a bill is divided, which is the centre's to say.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from protocol.terminal.messages import Bill, Line

OUTPATIENT = "11"
EMPLOYEES = "310"
_FEN_PER_MICROYUAN = 10_000  # a hundredth of a yuan
_ONE_E4 = 10_000


@dataclass(frozen=True, slots=True)
class Item:
    """An item of the catalogue that can be billed."""

    item: str
    name: str


def read_items(population: Path, *, count: int = 500) -> tuple[Item, ...]:
    """Read the first items of a made-up city's catalogue."""
    with (population / "catalogue.csv").open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        return tuple(
            Item(row["item"], row["name"]) for row, _ in zip(rows, range(count), strict=False)
        )


def make_bill(
    items: Sequence[Item], random: Random, *, line_count: int, uses_account: bool = True
) -> Bill:
    """Make an outpatient's bill of some lines, one to three units each, 1 to 200 yuan a unit."""
    lines = tuple(
        _line(random.choice(items), random.randrange(100, 20_000), random.randint(1, 3))
        for _ in range(line_count)
    )
    return Bill(
        insutype=EMPLOYEES,
        med_type=OUTPATIENT,
        total_fen=sum(line.gross_fen for line in lines),
        uses_account=uses_account,
        invoice=f"{random.randrange(10**10):010d}",
        lines=lines,
    )


def _line(item: Item, price_fen: int, quantity: int) -> Line:
    return Line(
        item=item.item,
        name=item.name,
        price_microyuan=price_fen * _FEN_PER_MICROYUAN,
        quantity_e4=quantity * _ONE_E4,
        gross_fen=price_fen * quantity,
    )
