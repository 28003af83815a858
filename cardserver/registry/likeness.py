"""Which persons may be one: the same name and sex, and numbers that differ by one slip. Pure.

A slip is one digit written wrong, or two neighbours exchanged. Found without comparing everyone
with everyone: a number is cut into four parts, and a slip leaves two of them as they are, so that
both numbers stand in the same drawer for one of three pairs of parts.

Not here: where persons are read and what is decided (`duplicates_store.py`).
"""

import unicodedata
from collections.abc import Iterable, Iterator
from enum import StrEnum, unique
from itertools import combinations
from typing import NamedTuple

# Region, year of birth, day of birth, and sequence with check character (GB 11643-1999, 4.1).
_PARTS = (slice(0, 6), slice(6, 10), slice(10, 14), slice(14, 17))
# A slip within a part or between neighbours leaves one of these pairs whole.
_PAIRS = ((0, 1), (2, 3), (0, 3))
_DIGITS = 17  # without the check character, which follows from them
# A drawer this full is looked through by what is left when two neighbours are covered, so that
# also a whole city of one name costs no more than its length.
_DRAWER_MAX = 64


@unique
class Likeness(StrEnum):
    """How two numbers differ."""

    ONE_DIGIT = "one digit"
    EXCHANGED = "two exchanged"
    OTHER_DOCUMENT = "another document"


class Known(NamedTuple):
    """What of a person is compared."""

    person_no: int
    id_number: str
    id_type: str
    name: str
    sex: int
    birth_date: int


class Pair(NamedTuple):
    """Two persons who may be one; the smaller number first."""

    person_no: int
    other_no: int
    likeness: Likeness


def plain_name(name: str) -> str:
    """Return a name without what people write differently: width, case, spaces, middle dots."""
    if not name.isascii() and name.isalpha() and unicodedata.is_normalized("NFKC", name):
        return name.casefold()
    name = unicodedata.normalize("NFKC", name)
    return "".join(letter for letter in name if letter.isalnum()).casefold()


def likeness_of(one: str, other: str) -> Likeness | None:
    """Say by which slip two citizens' numbers differ, or None."""
    differing = [at for at in range(_DIGITS) if one[at] != other[at]]
    if len(differing) == 1:
        return Likeness.ONE_DIGIT
    if len(differing) == 2:  # noqa: PLR2004 - as many as are exchanged
        first, second = differing
        if second == first + 1 and one[first] == other[second] and one[second] == other[first]:
            return Likeness.EXCHANGED
    return None


def find_pairs(persons: Iterable[Known]) -> Iterator[Pair]:
    """Give every two persons of one name and sex who may be one, each pair once."""
    by_name: dict[tuple[str, int], list[Known]] = {}
    for person in persons:
        by_name.setdefault((plain_name(person.name), person.sex), []).append(person)
    for group in by_name.values():
        if len(group) > 1:
            citizens = [one for one in group if one.id_type == "01"]
            yield from _slips(citizens)
            if len(citizens) < len(group):
                yield from _other_documents(group)


def _slips(group: list[Known]) -> Iterator[Pair]:
    if len(group) <= 3:  # noqa: PLR2004 - fewer comparisons than drawers
        yield from _compared([group])
        return
    seen: set[tuple[int, int]] = set()
    for first, second in _PAIRS:
        drawers: dict[str, list[Known]] = {}
        for one in group:
            label = one.id_number[_PARTS[first]] + one.id_number[_PARTS[second]]
            drawers.setdefault(label, []).append(one)
        full = [drawer for drawer in drawers.values() if len(drawer) > _DRAWER_MAX]
        small = [drawer for drawer in drawers.values() if 1 < len(drawer) <= _DRAWER_MAX]
        for pair in _compared([*small, *_covered(full)]):
            if pair[:2] not in seen:
                seen.add(pair[:2])
                yield pair


def _covered(drawers: list[list[Known]]) -> Iterator[list[Known]]:
    """Sort full drawers by the digits that are left when two neighbours are covered."""
    for drawer in drawers:
        for at in range(_DIGITS - 1):
            left: dict[str, list[Known]] = {}
            for one in drawer:
                left.setdefault(one.id_number[:at] + one.id_number[at + 2 : _DIGITS], []).append(
                    one
                )
            yield from (some for some in left.values() if len(some) > 1)


def _compared(drawers: Iterable[list[Known]]) -> Iterator[Pair]:
    for drawer in drawers:
        for one, other in combinations(drawer, 2):
            likeness = likeness_of(one.id_number, other.id_number)
            if likeness is not None:
                yield _pair(one, other, likeness)


def _other_documents(group: list[Known]) -> Iterator[Pair]:
    """Pair those born on one day who are known by documents of different kinds."""
    days: dict[int, list[Known]] = {}
    for one in group:
        days.setdefault(one.birth_date, []).append(one)
    for born in days.values():
        others = [one for one in born if one.id_type != "01"]
        for foreign in others:
            for one in born:
                if one.id_type != foreign.id_type and (one.id_type == "01" or one < foreign):
                    yield _pair(one, foreign, Likeness.OTHER_DOCUMENT)


def _pair(one: Known, other: Known, likeness: Likeness) -> Pair:
    first, second = sorted((one.person_no, other.person_no))
    return Pair(first, second, likeness)
