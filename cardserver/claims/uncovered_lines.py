"""Lines that were the patient's own though their items' class is A or B, as a claim keeps them.

A split says of such a line that it was class C; what the catalogue said is kept beside it, so that
the decision can be explained and taken again. Pure.
"""

from collections.abc import Iterable, Sequence

from msgspec import structs

from cardserver.benefits.values import BillLine, LineSplit
from cardserver.claims.values import Uncovered


def uncovered_of(
    lines: Sequence[BillLine], line_splits: Sequence[LineSplit]
) -> tuple[Uncovered, ...]:
    """Find the lines that were not covered: no insurance on the day, or not a scheme's item."""
    return tuple(
        Uncovered(index, line.item_class, line.self_pay_ratio_e4, line.is_covered)
        for index, (line, split) in enumerate(zip(lines, line_splits, strict=True))
        if line.item_class != split.item_class
    )


def restore(lines: list[BillLine], uncovered: Iterable[Uncovered]) -> None:
    """Put back what the catalogue said of lines that were not covered."""
    for one in uncovered:
        lines[one.line] = structs.replace(
            lines[one.line],
            item_class=one.item_class,
            self_pay_ratio_e4=one.self_pay_ratio_e4,
            is_covered=one.is_insured,
        )
