"""The form of a policy's structs: which values are rows, bands, parts of their own, or plain facts.

Told by form alone, so that what the language gains is walked without a word here.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import fields

from cardserver.benefits.policy_document import Rows
from cardserver.benefits.policy_words import Words, value_words

NO_END_FEN = 10**18
_NAMING_KEYS = (("field", "accumulator"), ("name",), ("code",), ("measure", "per"), ("title",))
_OF_BANDS = "bands_"  # how bands are counted says nothing where there are none


class Element(NamedTuple):
    """One of a list's structs.

    Attributes:
        key: What names the struct itself, so that the same one is found in another version,
            whatever stands before it.
        words: The same for people.
        told: The fields that the words tell already.
    """

    key: str
    words: Words
    struct: Struct
    told: tuple[str, ...] = ()


def elements_of(value: object) -> list[Element]:
    """Return the structs of a list or table."""
    if isinstance(value, dict):
        return [Element(str(key), value_words("name", key), one) for key, one in value.items()]
    assert isinstance(value, tuple)
    found: list[Element] = []
    seen: dict[str, int] = {}
    for index, one in enumerate(value):
        element = _element(one, index)
        number = seen[element.key] = seen.get(element.key, 0) + 1
        if number > 1:
            zh, en = element.words
            words = Words(f"{zh}（{number}）", f"{en} ({number})")
            element = element._replace(key=f"{element.key}#{number}", words=words)
        found.append(element)
    return found


def facts_of(struct: Struct) -> Iterator[tuple[str, str, object]]:
    """Give the name, key and value of each field that says something."""
    for field in fields(struct):
        value = getattr(struct, field.name)
        is_idle = field.name.startswith(_OF_BANDS) and not getattr(struct, "bands", ())
        if not is_nothing(value) and not is_idle:
            yield field.name, field.encode_name, value


def as_rows(value: object) -> Sequence[Rows]:
    """Return a value as a table of rows, one row alone too; empty where it is something else."""
    if isinstance(value, Rows):
        return (value,)
    if isinstance(value, tuple) and value and isinstance(value[0], Rows):
        rows: Sequence[Rows] = value
        return rows
    return ()


def as_bands(value: object) -> Sequence[Struct]:
    """Return a value as bands, stretches of an amount with rows; empty where it is none."""
    if (
        isinstance(value, tuple)
        and value
        and isinstance(value[0], Struct)
        and hasattr(value[0], "from_amount")
        and band_rows(value[0])
    ):
        bands: Sequence[Struct] = value
        return bands
    return ()


def band_rows(band: Struct) -> Sequence[Rows]:
    """Return a band's rows."""
    for name in band.__struct_fields__:
        rows = as_rows(getattr(band, name))
        if rows:
            return rows
    return ()


def band_bounds(band: Struct) -> tuple[int, int]:
    """Return where a band starts and ends, in fen."""
    end = getattr(band, "to_amount", None)
    return int(getattr(band, "from_amount", 0)), NO_END_FEN if end is None else int(end)


def is_plain(value: object) -> bool:
    """Tell whether a value is told in one piece: no struct, and no list of structs."""
    if isinstance(value, Struct | dict):
        return False
    return not (isinstance(value, tuple) and value and isinstance(value[0], Struct))


def is_nothing(value: object) -> bool:
    """Tell whether a key is left out, or says no more than if it were."""
    return value is None or value is False or value in ((), "")


def _element(element: Struct, index: int) -> Element:
    """Say which of a list's structs this is: by the fields that name it, or its number."""
    title_zh, title_en = getattr(element, "title_zh", None), getattr(element, "title_en", None)
    for keys in _NAMING_KEYS:
        said = [(key, value) for key in keys if (value := getattr(element, key, None))]
        if said and all(isinstance(value, str) for _, value in said):
            words = [value_words(key, value) for key, value in said]
            if title_zh and title_en:
                words = [Words(title_zh, title_en)]
                said.append(("title_zh", title_zh))
                said.append(("title_en", title_en))
            key = "/".join(str(value) for name, value in said if name in keys)
            zh, en = "，".join(one.zh for one in words), ", ".join(one.en for one in words)
            return Element(key, Words(zh, en), element, tuple(name for name, _ in said))
    return Element(str(index), Words(f"第{index + 1}项", f"number {index + 1}"), element)
