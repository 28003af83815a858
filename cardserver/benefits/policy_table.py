"""A policy as people read it: who is paid what, where, from which amount on.

The document's structs are walked by their form, so that a table which the language gains is shown
without a word here: rows become a table of cases, a list of bands a table with a column a band,
another struct a part of its own, a plain value a fact. Not here: printing (`commands/policy.py`),
what two versions differ in (`policy_diff.py`).
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import fields

from cardserver.benefits.policy import Policy
from cardserver.benefits.policy_cases import (
    EVERYONE,
    Atom,
    Combination,
    Dimension,
    box_words,
    boxes_of,
    combinations_of,
    dimensions,
    order_of,
    row_of,
    where_of,
)
from cardserver.benefits.policy_document import (
    AgeFormula,
    AmountFen,
    PolicyDocument,
    RatioRow,
    Rows,
)
from cardserver.benefits.policy_words import Words, grouped, key_words, percent_e8, value_words

_WHOLE_E4, _WHOLE_E8 = 10**4, 10**8
_WHO = Words("情形", "who and where")
_NOTHING = Words("—", "-")
_NO_END_FEN = 10**18
NAMING_KEYS = ("field", "name", "code", "disease", "item", "title")


class Value(Struct, frozen=True):
    """What a row says in a case.

    Attributes:
        kind: "amount" in fen, "ratio" in hundred-millionths, or "text".
        number: The amount or ratio; 0 for text.
        words: For people.
    """

    kind: str
    number: int
    words: Words


class Shown(Struct, frozen=True):
    """A table: its title, its columns, and its rows' cells; of figures, or of text."""

    title: Words
    columns: tuple[Words, ...]
    rows: tuple[tuple[Words, ...], ...]
    is_text: bool = False


class Part(Struct, frozen=True):
    """A part of a policy.

    Attributes:
        depth: How deep it lies in the document, the policy itself 0.
        facts: Names and values.
    """

    title: Words
    depth: int
    facts: tuple[tuple[Words, Words], ...]
    tables: tuple[Shown, ...]


def policy_parts(policy: Policy) -> tuple[Part, ...]:
    """Return all parts of a policy, in the file's order."""
    document = policy.document
    title = Words(
        f"{document.title_zh}  {policy.identity}", f"{document.title_en}  {policy.identity}"
    )
    parts = _Walk(document).parts(document, title, 0)
    return tuple(part for part in parts if part.facts or part.tables)


def rows_value(rows: Sequence[Rows], where: Mapping[str, Atom]) -> Value | None:
    """Return what a table of rows says of a case; None where no row applies."""
    row = row_of(rows, where)
    if row is None:
        return None
    if isinstance(row, RatioRow):
        return _ratio_value(row, rows, where)
    said = [(key, value) for key, value in _said(row) if value is not None]
    if len(said) == 1 and isinstance(said[0][1], AmountFen):
        amount = said[0][1]
        return Value("amount", int(amount), value_words("amount", amount))
    return _text(said)


def is_rows(value: object) -> bool:
    """Tell whether a value is a table of rows."""
    return isinstance(value, tuple) and bool(value) and isinstance(value[0], Rows)


def is_bands(value: object) -> bool:
    """Tell whether a value is a list of bands: stretches of an amount, each with rows."""
    return (
        isinstance(value, tuple)
        and bool(value)
        and isinstance(value[0], Struct)
        and hasattr(value[0], "from_amount")
        and band_rows(value[0]) != ()
    )


def band_rows(band: Struct) -> Sequence[Rows]:
    """Return a band's rows."""
    for name in band.__struct_fields__:
        value = getattr(band, name)
        if is_rows(value):
            rows: Sequence[Rows] = value
            return rows
    return ()


def band_bounds(band: Struct) -> tuple[int, int]:
    """Return where a band starts and ends, in fen."""
    end = getattr(band, "to_amount", None)
    return int(getattr(band, "from_amount", 0)), _NO_END_FEN if end is None else int(end)


def band_words(start: int, end: int) -> Words:
    """Say which stretch of an amount."""
    if end >= _NO_END_FEN:
        return (
            Words(f"{grouped(start)}元以上", f"above {grouped(start)}")
            if start
            else Words("全部", "any amount")
        )
    return Words(f"{grouped(start)}–{grouped(end)}元", f"{grouped(start)} to {grouped(end)}")


def name_of(element: Struct, index: int) -> tuple[str, Words]:
    """Say which of a list's elements this is: by the field that names it, or its number."""
    for key in NAMING_KEYS:
        value = getattr(element, key, None)
        if isinstance(value, str):
            return value, value_words(key, value)
    return str(index), Words(f"第{index + 1}项", f"number {index + 1}")


def is_plain(value: object) -> bool:
    """Tell whether a value is told in one piece: no struct, and no list of structs."""
    if isinstance(value, Struct | dict):
        return False
    return not (isinstance(value, tuple) and value and isinstance(value[0], Struct))


def said_words(struct: Struct) -> Words:
    """Say all that a small struct says, on one line."""
    said = [(key, value) for key, value in _said(struct) if value is not None]
    return _text(said).words


class _Walk:
    """One way through a document's structs."""

    def __init__(self, document: PolicyDocument) -> None:
        self._document = document

    def parts(
        self, struct: Struct, title: Words, depth: int, care: Struct | None = None
    ) -> list[Part]:
        """Return the struct's own part and those below it."""
        if depth == 1:
            care = struct
        facts: list[tuple[Words, Words]] = []
        tables: list[Shown] = []
        below: list[Part] = []
        for field in fields(struct):
            value = getattr(struct, field.name)
            words = key_words(field.name)
            if value is None or value == ():
                continue
            if is_rows(value):
                shown = self._rows_table(words, value, care or struct)
                if len(shown.rows) == 1 and shown.rows[0][0] == EVERYONE:
                    facts.append((words, shown.rows[0][1]))
                else:
                    tables.append(shown)
            elif is_plain(value):
                facts.append((words, value_words(field.name, value)))
            else:
                below += self._below(words, value, depth + 1, care)
        return [Part(title, depth, tuple(facts), tuple(tables)), *below]

    def _below(self, words: Words, value: object, depth: int, care: Struct | None) -> list[Part]:
        """Return the parts of a struct, or of a list or table of structs."""
        if isinstance(value, Struct):
            return self.parts(value, words, depth, care)
        if is_bands(value) and care is not None:
            bands: Sequence[Struct] = value  # type: ignore[assignment]  # what is_bands says
            return [Part(words, depth, (), (self._bands_table(words, bands, care),))]
        elements = _elements(value)
        if isinstance(value, tuple) and all(_is_flat(one) for _, one in elements):
            table = _flat_table(words, [one for _, one in elements])
            return [Part(words, depth, (), (table,))]
        return [
            part
            for name, one in elements
            for part in self.parts(
                one, Words(f"{words.zh}：{name.zh}", f"{words.en}: {name.en}"), depth, care
            )
        ]

    def _rows_table(self, title: Words, rows: Sequence[Rows], care: Struct) -> Shown:
        return self._table(title, (title,), (rows,), care)

    def _bands_table(self, title: Words, bands: Sequence[Struct], care: Struct) -> Shown:
        columns = tuple(band_words(*band_bounds(band)) for band in bands)
        return self._table(title, columns, tuple(band_rows(band) for band in bands), care)

    def _table(
        self,
        title: Words,
        columns: tuple[Words, ...],
        tables: Sequence[Sequence[Rows]],
        care: Struct,
    ) -> Shown:
        found = dimensions(tables, [(care, self._document)])
        cases: dict[Combination, tuple[Words, ...]] = {}
        for combination in combinations_of(found):
            where = where_of(found, combination)
            values = [rows_value(rows, where) for rows in tables]
            cases[combination] = tuple(
                _NOTHING if value is None else value.words for value in values
            )
        return Shown(title, (_WHO, *columns), case_rows(found, cases))


def case_rows(
    found: Sequence[Dimension], cases: Mapping[Combination, tuple[Words, ...]]
) -> tuple[tuple[Words, ...], ...]:
    """Return a row for each set of cases that are treated alike, its words first."""
    boxes = sorted(boxes_of(cases), key=lambda one: order_of(found, one[0]))
    return tuple((box_words(found, box), *cells) for box, cells in boxes)


def _elements(value: object) -> list[tuple[Words, Struct]]:
    """Return the structs of a list or table, each with what names it."""
    if isinstance(value, dict):
        return [(value_words("name", key), one) for key, one in value.items()]
    assert isinstance(value, tuple)
    return [(name_of(one, index)[1], one) for index, one in enumerate(value)]


def _is_flat(struct: Struct) -> bool:
    return all(is_plain(getattr(struct, name)) for name in struct.__struct_fields__)


def _flat_table(title: Words, structs: Sequence[Struct]) -> Shown:
    names = structs[0].__struct_fields__
    used = [name for name in names if any(getattr(one, name) not in (None, "") for one in structs)]
    rows = tuple(
        tuple(
            _NOTHING if getattr(one, name) in (None, "") else value_words(name, getattr(one, name))
            for name in used
        )
        for one in structs
    )
    return Shown(title, tuple(key_words(name) for name in used), rows, is_text=True)


def _said(struct: Struct) -> list[tuple[str, object]]:
    """List what a row or struct says, its conditions apart."""
    return [
        (name, getattr(struct, name))
        for name in struct.__struct_fields__
        if not (isinstance(struct, Rows) and name in Rows.__struct_fields__)
    ]


def _text(said: Sequence[tuple[str, object]]) -> Value:
    zh: list[str] = []
    en: list[str] = []
    for key, value in said:
        words = said_words(value) if isinstance(value, Struct) else value_words(key, value)
        name = key_words(key)
        zh.append(words.zh if len(said) == 1 else f"{name.zh}{words.zh}")
        en.append(words.en if len(said) == 1 else f"{name.en} {words.en}")
    return Value("text", 0, Words("，".join(zh), ", ".join(en)))


def _ratio_value(row: RatioRow, rows: Sequence[Rows], where: Mapping[str, Atom]) -> Value:
    """Return what the fund pays, with another's share worked out where there is one."""
    if row.ratio is not None:
        return _ratio(int(row.ratio) * _WHOLE_E4)
    if row.by_age is not None:
        return Value("text", 0, _formula_words(row.by_age))
    if row.own_share is None or row.of_person_type is None:
        return _text([(key, value) for key, value in _said(row) if value is not None])
    other = rows_value(rows, {**where, "person_types": row.of_person_type})
    if other is not None and other.kind == "ratio":
        return _ratio(_WHOLE_E8 - row.own_share * (_WHOLE_E8 - other.number) // _WHOLE_E4)
    share, whom = percent_e8(row.own_share * _WHOLE_E4), _person(row.of_person_type)
    return Value(
        "text", 0, Words(f"个人负担为{whom.zh}的{share}", f"bears {share} of what {whom.en} bears")
    )


def _ratio(ratio_e8: int) -> Value:
    text = percent_e8(ratio_e8)
    return Value("ratio", ratio_e8, Words(text, text))


def _person(person_type: str) -> Words:
    return value_words("person_types", person_type)


def _formula_words(formula: AgeFormula) -> Words:
    base, each, most = (
        percent_e8(ratio * _WHOLE_E4) for ratio in (formula.base, formula.each_year, formula.most)
    )
    return Words(
        f"{formula.from_age}岁{base}，每长一岁加{each}，最高{most}",
        f"{base} at {formula.from_age}, {each} more a year, {most} at most",
    )
