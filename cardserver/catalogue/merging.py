"""What a file changes in a list: pure.

A row whose name and first day are there already takes the other one's place; a row that ends on
99991231 holds until the next one begins; other days may not overlap. Of rows that don't go together
the file's are refused, the later one first. The same file a second time changes nothing.
"""

import itertools
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from msgspec import structs

from cardserver.catalogue.columns import Placed, Rejection
from cardserver.catalogue.values import FOREVER, LEVELS, CatalogueRow, MappingRow

JUMP = 100
"""How many times a limit may rise or fall at once: units of price differ by a hundred and more."""

R = TypeVar("R", CatalogueRow, MappingRow)

Check = Callable[[R, R | None], tuple[str, str] | None]
"""Given a row and the one whose place it takes or that it follows, says column and sentence."""


@dataclass(slots=True)
class Merged(Generic[R]):
    """What became of a file's rows.

    Attributes:
        added: Of a new name or first day.
        changed: In the place of others.
        unchanged: How many were there already.
        rejections: What was not taken.
    """

    added: list[R] = field(default_factory=list)
    changed: list[R] = field(default_factory=list)
    unchanged: int = 0
    rejections: list[Rejection] = field(default_factory=list)

    def reject(self, line: int, column: str, reason: str) -> None:
        """Refuse a row."""
        self.rejections.append(Rejection(line, column, reason))


def merge(
    present: Mapping[Hashable, Mapping[int, R]],
    file_rows: Iterable[Placed[R]],
    check: Check[R],
    *,
    corrects: bool = True,
) -> Merged[R]:
    """Decide what the rows of a file change.

    Args:
        present: The list's rows by name and first day, those struck out among them.
        file_rows: Those that passed by themselves.
        check: What must hold between a row and the one before it.
        corrects: Whether rows that are there with other values are changed; else they are refused.
    """
    merged: Merged[R] = Merged()
    by_name: dict[Hashable, list[Placed[R]]] = {}
    for placed in file_rows:
        by_name.setdefault(placed.row.name_of_key, []).append(placed)
    for name, rows in by_name.items():
        _merge_name(present.get(name, {}), rows, check, merged, corrects=corrects)
    merged.rejections.sort(key=lambda one: one.line)
    return merged


def _merge_name(
    present: Mapping[int, R],
    rows: list[Placed[R]],
    check: Check[R],
    merged: Merged[R],
    *,
    corrects: bool,
) -> None:
    news: dict[int, Placed[R]] = {}
    first_of: dict[int, Placed[R]] = {}
    for placed in rows:
        first = first_of.setdefault(placed.row.begins, placed)
        if first is placed:
            _sort_out(present, news, placed, merged, corrects=corrects)
        elif first.row == placed.row:
            merged.unchanged += 1
        else:
            reason = f"line {first.line} has the same code and first day"
            merged.reject(placed.line, "", reason)
    if len(news) + len(present) > 1:
        _refuse_overlaps(present, news, merged)
    before: R | None = None
    for begins in sorted({*present, *news}):
        one = news.get(begins)
        there = present.get(begins)
        if one is None:
            before = before if there is None or there.is_struck else there
            continue
        former = there if there is not None and not there.is_struck else before
        fault = None if one.row.is_struck else check(one.row, former)
        if fault is not None:
            merged.reject(one.line, *fault)
            before = before if there is None or there.is_struck else there
            continue
        (merged.added if there is None else merged.changed).append(one.row)
        before = before if one.row.is_struck else one.row


def _sort_out(
    present: Mapping[int, R],
    news: dict[int, Placed[R]],
    placed: Placed[R],
    merged: Merged[R],
    *,
    corrects: bool,
) -> None:
    """Put a row among the news of its name, unless it says nothing new or may not."""
    row, line = placed.row, placed.line
    there = present.get(row.begins)
    if row.is_struck:
        if there is None:
            merged.reject(line, "is_struck", "there is no such row that could be struck out")
            return
        row = structs.replace(there, is_struck=1)
    if there == row:
        merged.unchanged += 1
    elif there is not None and not corrects:
        named = ", ".join(_differing(there, row))
        merged.reject(line, named, "the list has this row with other values, which stand")
    else:
        news[row.begins] = Placed(line, row)


def _refuse_overlaps(
    present: Mapping[int, R], news: dict[int, Placed[R]], merged: Merged[R]
) -> None:
    while True:
        rows = {begins: row for begins, row in present.items() if not row.is_struck}
        for begins, placed in news.items():
            rows.pop(begins, None)
            if not placed.row.is_struck:
                rows[begins] = placed.row
        ordered = [rows[begins] for begins in sorted(rows)]
        for first, second in itertools.pairwise(ordered):
            if first.ends == FOREVER or first.ends < second.begins:
                continue
            at_fault = [news[one.begins] for one in (first, second) if one.begins in news]
            if not at_fault:
                continue
            refused = max(at_fault, key=lambda one: one.line)
            other = second if refused.row is first else first
            merged.reject(
                refused.line,
                "ends" if refused.row is first else "begins",
                f"its days overlap those of the row from {other.begins} to {other.ends}",
            )
            del news[refused.row.begins]
            break
        else:
            return


def _differing(one: R, other: R) -> list[str]:
    values = structs.asdict(other)
    return [name for name, value in structs.asdict(one).items() if values[name] != value]


def refuse_jumps(row: CatalogueRow, former: CatalogueRow | None) -> tuple[str, str] | None:
    """Refuse a limit a hundred times the one before it, or a hundredth of it."""
    if former is None:
        return None
    for level in range(LEVELS):
        old, new = former.limit_at(level), row.limit_at(level)
        if old is None or new is None or old * JUMP > new > old / JUMP:
            continue
        own = f"price_limit_{level}_microyuan"
        column = own if getattr(row, own) is not None else "price_limit_microyuan"
        return column, (
            f"the limit goes from {old / 1_000_000:.15g} to {new / 1_000_000:.15g} yuan: is it in"
            " another unit? --accept-jumps takes it"
        )
    return None


def refuse_nothing(_row: R, _former: R | None) -> tuple[str, str] | None:
    """Ask nothing of a row and the one before it."""
    return None
