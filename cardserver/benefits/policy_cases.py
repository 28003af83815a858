"""For whom a policy says what: the cases that its rows tell apart, and words for sets of them.

Works over whatever conditions `policy_document.Rows` has, by their form alone: a tuple is a set of
values, a truth value is one, `x_from` with `x_below` or `x_to` bounds a number. So a new condition
is shown and compared without a word here. Not here: looking up one case (`plan.py`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise, permutations, product
from typing import TypeVar, get_args

from msgspec import Struct
from msgspec.structs import fields

from cardserver.benefits.policy_document import LEVELS, PolicyDocument, Rows
from cardserver.benefits.policy_words import Words, value_words

V = TypeVar("V")
Atom = object  # a value of a set, or an Interval
Combination = tuple[Atom, ...]  # one atom a dimension, in the dimensions' order
Box = tuple[frozenset[Atom], ...]  # some atoms a dimension
Side = tuple[Struct, PolicyDocument]  # rules of care, and the policy that they are of

OTHERS = "*"  # a value that no row names, where nobody says which there are
_NO_END = 10**6
_FIRST = {"admission": 1}  # of a number that is bounded; others start at 0
_FROM, _BELOW, _TO = "_from", "_below", "_to"
_ORDERS_MAX = 4  # dimensions whose every order is tried when boxes are put together
EVERYONE = Words("所有情形", "every case")


class Interval(Struct, frozen=True, order=True):
    """Whole numbers from `start` on, below `end`."""

    start: int
    end: int


class Dimension(Struct, frozen=True):
    """One thing that rows tell apart: its name, and its values or intervals in order."""

    name: str
    atoms: tuple[Atom, ...]


def dimensions(tables: Iterable[Sequence[Rows]], sides: Sequence[Side]) -> tuple[Dimension, ...]:
    """Find what the rows of some tables tell apart; what they never ask for is left out.

    Args:
        tables: Of one policy, or of several that are compared.
        sides: For each policy the care rules and the document, which say what values there are.
    """
    rows = [row for table in tables for row in table]
    found: list[Dimension] = []
    for name, bounds in _conditions().items():
        if bounds:
            cuts = {cut for row in rows for cut in _cuts(row, bounds)}
            if cuts:
                first = _FIRST.get(name, 0)
                edges = [first, *sorted(cut for cut in cuts if cut > first), _NO_END]
                intervals = [Interval(start, end) for start, end in pairwise(edges)]
                found.append(Dimension(name, tuple(intervals)))
            continue
        named = {value for row in rows for value in _named(row, name)}
        if named:
            known = [value for side in sides for value in _known(name, side)]
            atoms = dict.fromkeys([*known, *sorted(named, key=str)]) if known else {}
            found.append(Dimension(name, tuple(atoms or [*sorted(named, key=str), OTHERS])))
    return tuple(found)


def row_of(rows: Sequence[Rows], where: Mapping[str, Atom]) -> Rows | None:
    """Find the row that applies to a case; None where no rule is made for it."""
    for row in rows:
        if all(_holds(row, name, bounds, where) for name, bounds in _conditions().items()):
            return row
    return None


def is_covered(where: Mapping[str, Atom], side: Side) -> bool:
    """Tell whether a policy has rules for a case at all, by the values that it says there are."""
    return all(
        isinstance(atom, Interval) or not (known := _known(name, side)) or atom in known
        for name, atom in where.items()
    )


def combinations_of(found: Sequence[Dimension]) -> Iterable[Combination]:
    """Go through all cases that the dimensions tell apart."""
    return product(*(dimension.atoms for dimension in found))


def where_of(found: Sequence[Dimension], combination: Combination) -> dict[str, Atom]:
    """Name the atoms of a case."""
    return {dimension.name: atom for dimension, atom in zip(found, combination, strict=True)}


def boxes_of(cases: Mapping[Combination, V]) -> list[tuple[Box, V]]:
    """Put cases of one value together, into as few boxes as a simple way finds."""
    count = len(next(iter(cases), ()))
    orders = permutations(range(count)) if count <= _ORDERS_MAX else [tuple(range(count))]
    found = [_merged(cases, order) for order in orders]
    return min(found, key=len)


def box_words(found: Sequence[Dimension], box: Box) -> Words:
    """Say which cases a box holds."""
    parts = [
        _atoms_words(dimension, atoms)
        for dimension, atoms in zip(found, box, strict=True)
        if len(atoms) < len(dimension.atoms)
    ]
    if not parts:
        return EVERYONE
    return Words("，".join(part.zh for part in parts), "; ".join(part.en for part in parts))


def order_of(found: Sequence[Dimension], box: Box) -> tuple[int, ...]:
    """Return where a box stands among others: as its first atoms do."""
    return tuple(
        min(dimension.atoms.index(atom) for atom in atoms)
        for dimension, atoms in zip(found, box, strict=True)
    )


def _merged(cases: Mapping[Combination, V], order: Sequence[int]) -> list[tuple[Box, V]]:
    boxes = [(tuple(frozenset({atom}) for atom in case), value) for case, value in cases.items()]
    for place in order:
        groups: dict[tuple[Box, Box, V], set[Atom]] = {}
        for box, value in boxes:
            groups.setdefault((box[:place], box[place + 1 :], value), set()).update(box[place])
        boxes = [
            ((*before, frozenset(atoms), *after), value)
            for (before, after, value), atoms in groups.items()
        ]
    return boxes


def _conditions() -> dict[str, tuple[str, ...]]:
    """Return the conditions by name, with the fields that bound a number, none for a set."""
    found: dict[str, tuple[str, ...]] = {}
    for field in Rows.__struct_fields__:
        for end in (_FROM, _BELOW, _TO):
            if field.endswith(end):
                name = field.removesuffix(end)
                found[name] = (*found.get(name, ()), field)
                break
        else:
            found[field] = ()
    return found


def _cuts(row: Rows, bounds: Sequence[str]) -> Iterable[int]:
    for bound in bounds:
        value = getattr(row, bound)
        if value is not None:
            yield value + bound.endswith(_TO)


def _named(row: Rows, name: str) -> tuple[Atom, ...]:
    value = getattr(row, name)
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)


def _known(name: str, side: Side) -> tuple[Atom, ...]:
    """Return the values that there are, where the policy or the language says so."""
    for part in side:
        value = getattr(part, name, None)
        if isinstance(value, tuple):
            return value
    if name == "levels":
        return LEVELS
    for field in fields(Rows):
        if field.name == name:
            return (False, True) if bool in get_args(field.type) else _literals(field.type)
    return ()


def _literals(type_: object) -> tuple[Atom, ...]:
    """Find the values of a Literal within a type."""
    found: list[Atom] = []
    for argument in get_args(type_):
        if isinstance(argument, str | int):
            found.append(argument)
        else:
            found += _literals(argument)
    return tuple(found)


def _holds(row: Rows, name: str, bounds: Sequence[str], where: Mapping[str, Atom]) -> bool:
    if name not in where:
        return True
    atom = where[name]
    if not bounds:
        named = _named(row, name)
        return not named or atom in named
    assert isinstance(atom, Interval)
    checks: dict[str, Callable[[int], bool]] = {
        _FROM: lambda bound: atom.start >= bound,
        _BELOW: lambda bound: atom.start < bound,
        _TO: lambda bound: atom.start <= bound,
    }
    return all(
        check(value)
        for end, check in checks.items()
        if (value := getattr(row, name + end, None)) is not None
    )


def _atoms_words(dimension: Dimension, atoms: frozenset[Atom]) -> Words:
    """Say which atoms of a dimension these are."""
    chosen = [atom for atom in dimension.atoms if atom in atoms]
    first = chosen[0]
    if not isinstance(first, Interval):
        words = [
            Words("其他", "others") if atom == OTHERS else value_words(dimension.name, atom)
            for atom in chosen
        ]
        return Words("、".join(one.zh for one in words), " or ".join(one.en for one in words))
    spans: list[Interval] = []
    for atom in chosen:
        assert isinstance(atom, Interval)
        if spans and spans[-1].end == atom.start:
            spans[-1] = Interval(spans[-1].start, atom.end)
        else:
            spans.append(atom)
    words = [_span_words(dimension.name, span) for span in spans]
    return Words("、".join(one.zh for one in words), " or ".join(one.en for one in words))


def _span_words(name: str, span: Interval) -> Words:
    start, end = span.start, span.end
    if name == "age":
        if start == 0:
            return Words(f"{end}岁以下", f"under {end}")
        if end == _NO_END:
            return Words(f"{start}岁及以上", f"{start} and older")
        return Words(f"{start}至{end - 1}岁", f"{start} to {end - 1} years old")
    if name == "admission":
        if end == start + 1:
            return Words(f"第{start}次住院", f"stay {start} of the year")
        if end == _NO_END:
            return Words(f"第{start}次及以后住院", f"stay {start} of the year and later")
        return Words(f"第{start}至{end - 1}次住院", f"stays {start} to {end - 1} of the year")
    plain = name.replace("_", " ")
    if end == _NO_END:
        return Words(f"{plain} ≥ {start}", f"{plain} from {start}")
    return Words(f"{plain} {start}–{end - 1}", f"{plain} {start} to {end - 1}")
