"""What two policies differ in, by what it means for people: which case, which amounts, how much.

Not a comparison of texts: two files that say the same in other words do not differ. Like
`policy_table.py`, this walks the document's structs by their form. Not here: what a change would
have cost (`cardserver/claims/replay.py`).
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from msgspec import Struct
from msgspec.structs import fields

from cardserver.benefits.policy import Policy
from cardserver.benefits.policy_cases import (
    EVERYONE,
    Atom,
    Box,
    Combination,
    Dimension,
    box_words,
    boxes_of,
    combinations_of,
    dimensions,
    is_covered,
    order_of,
    where_of,
)
from cardserver.benefits.policy_document import AmountFen, PolicyDocument, RatioE4, Rows
from cardserver.benefits.policy_table import (
    Value,
    band_bounds,
    band_rows,
    band_words,
    is_bands,
    is_plain,
    is_rows,
    name_of,
    rows_value,
)
from cardserver.benefits.policy_words import Words, grouped, key_words, percent_e8, value_words

_NONE = Words("无", "none")
_SOURCES = "sources"  # where rules come from changes nothing for anyone
_E4 = 10**4

Side = tuple[Struct, PolicyDocument]
Pair = tuple[Value | None, Value | None]


class Change(Struct, frozen=True):
    """One thing that changes, for whom.

    Attributes:
        path: The key's, as mistakes name it.
        part: The same in words.
        who: Which cases.
        before: What the first policy says.
        after: What the second says.
        kind: "amount", "ratio" or "text".
        step: How much is added; 0 for text, and where one of them says nothing.
    """

    path: str
    part: Words
    who: Words
    before: Words
    after: Words
    kind: str
    step: int

    @property
    def step_words(self) -> Words:
        """How much is added, in words; empty for text."""
        if not self.step:
            return Words("", "")
        sign = "+" if self.step > 0 else ""
        if self.kind == "amount":
            return Words(f"{sign}{grouped(self.step)}元", f"{sign}{grouped(self.step)}")
        points = percent_e8(self.step).removesuffix("%")
        return Words(f"{sign}{points}个百分点", f"{sign}{points} points")

    @property
    def sentence(self) -> Words:
        """The change in one sentence."""
        step = self.step_words
        zh = f"{self.part.zh}：{self.who.zh}，由{self.before.zh}改为{self.after.zh}"
        en = f"{self.part.en}: {self.who.en}: from {self.before.en} to {self.after.en}"
        if self.step:
            return Words(f"{zh}（{step.zh}）", f"{en} ({step.en})")
        return Words(zh, en)


class _Item(Struct, frozen=True):
    """One thing that a document says: a plain value, rows, or bands; and within which care."""

    words: Words
    key: str
    value: object
    care: Struct


def policy_changes(before: Policy, after: Policy) -> tuple[Change, ...]:
    """Return all changes, in the document's order."""
    first, second = before.document, after.document
    ours, theirs = _items(first), _items(second)
    changes: list[Change] = []
    for path in dict.fromkeys([*ours, *theirs]):
        old, new = ours.get(path), theirs.get(path)
        some = new or old
        assert some is not None
        sides = ((old or some).care, first), ((new or some).care, second)
        if is_bands(some.value):
            changes += _bands_changes(path, some, _structs(old), _structs(new), sides)
        elif is_rows(some.value):
            changes += _rows_changes(path, some.words, _rows(old), _rows(new), sides)
        else:
            changes += _plain_changes(path, some, old, new)
    return tuple(changes)


def _items(document: PolicyDocument) -> dict[str, _Item]:
    found: dict[str, _Item] = {}

    def walk(struct: Struct, path: str, words: Sequence[Words], care: Struct | None) -> None:
        for field in fields(struct):
            value = getattr(struct, field.name)
            if value is None or value == () or (care is None and field.name == _SOURCES):
                continue
            here = f"{path}.{field.encode_name}"
            named = [*words, key_words(field.name)]
            if is_plain(value) or is_rows(value) or is_bands(value):
                found[here] = _Item(_joined(named), field.name, value, care or struct)
            elif isinstance(value, Struct):
                walk(value, here, named, care or value)
            else:
                pairs = (
                    [(key, value_words("name", key), one) for key, one in value.items()]
                    if isinstance(value, dict)
                    else [(*name_of(one, index), one) for index, one in enumerate(value)]
                )
                for key, name, one in pairs:
                    walk(one, f"{here}[{key}]", [*named, name], care or one)

    walk(document, "$", (), None)
    return found


def _joined(words: Sequence[Words]) -> Words:
    return Words(" · ".join(one.zh for one in words), ", ".join(one.en for one in words))


def _rows(item: _Item | None) -> Sequence[Rows]:
    if item is None:
        return ()
    assert is_rows(item.value)
    rows: Sequence[Rows] = item.value  # type: ignore[assignment]  # what is_rows says
    return rows


def _structs(item: _Item | None) -> Sequence[Struct]:
    if item is None:
        return ()
    bands: Sequence[Struct] = item.value  # type: ignore[assignment]  # what is_bands says
    return bands


def _plain_changes(path: str, some: _Item, old: _Item | None, new: _Item | None) -> list[Change]:
    before, after = (None if item is None else item.value for item in (old, new))
    if before == after:
        return []
    kind, step = "text", 0
    if isinstance(before, AmountFen) and isinstance(after, AmountFen):
        kind, step = "amount", after - before
    if isinstance(before, RatioE4) and isinstance(after, RatioE4):
        kind, step = "ratio", (after - before) * _E4
    words = [_NONE if one is None else value_words(some.key, one) for one in (before, after)]
    return [Change(path, some.words, EVERYONE, words[0], words[1], kind, step)]


def _rows_changes(
    path: str,
    words: Words,
    before: Sequence[Rows],
    after: Sequence[Rows],
    sides: tuple[Side, Side],
) -> list[Change]:
    found = dimensions([before, after], sides)
    return [
        _change(path, words, box_words(found, box), pair)
        for box, pair in _differences(found, before, after, sides)
    ]


def _bands_changes(
    path: str,
    some: _Item,
    before: Sequence[Struct],
    after: Sequence[Struct],
    sides: tuple[Side, Side],
) -> list[Change]:
    """Compare bands stretch by stretch, and put stretches together that change alike."""
    edges = sorted({edge for band in [*before, *after] for edge in band_bounds(band)})
    tables = [band_rows(band) for band in [*before, *after]]
    found = dimensions(tables, sides)
    stretches: list[tuple[int, int, list[tuple[Box, Pair]]]] = []
    for start, end in pairwise(edges):
        differences = _differences(found, _at(before, start), _at(after, start), sides)
        if stretches and stretches[-1][1:] == (start, differences):
            stretches[-1] = (stretches[-1][0], end, differences)
        else:
            stretches.append((start, end, differences))
    changes: list[Change] = []
    for start, end, differences in stretches:
        stretch = band_words(start, end)
        words = Words(f"{some.words.zh} · {stretch.zh}", f"{some.words.en}, {stretch.en}")
        changes += [_change(path, words, box_words(found, box), pair) for box, pair in differences]
    return changes


def _at(bands: Sequence[Struct], amount_fen: int) -> Sequence[Rows]:
    for band in bands:
        start, end = band_bounds(band)
        if start <= amount_fen < end:
            return band_rows(band)
    return ()


def _differences(
    found: Sequence[Dimension],
    before: Sequence[Rows],
    after: Sequence[Rows],
    sides: tuple[Side, Side],
) -> list[tuple[Box, Pair]]:
    """Return the cases for which two tables differ, put together, with what each says."""
    cases: dict[Combination, Pair] = {}
    for combination in combinations_of(found):
        where = where_of(found, combination)
        old = _value(before, where, sides[0])
        new = _value(after, where, sides[1])
        if old != new:
            cases[combination] = (old, new)
    return sorted(boxes_of(cases), key=lambda one: order_of(found, one[0]))


def _value(rows: Sequence[Rows], where: Mapping[str, Atom], side: Side) -> Value | None:
    return rows_value(rows, where) if rows and is_covered(where, side) else None


def _change(path: str, words: Words, who: Words, pair: Pair) -> Change:
    old, new = pair
    kind, step = "text", 0
    if old is not None and new is not None and old.kind == new.kind != "text":
        kind, step = old.kind, new.number - old.number
    before, after = (_NONE if one is None else one.words for one in pair)
    return Change(path, words, who, before, after, kind, step)
