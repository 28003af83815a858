"""`protocol/README.md` says what the structs and enums say: nothing missing, nothing extra."""

import re
from enum import IntEnum
from pathlib import Path

import msgspec
import pytest
from msgspec import Struct, inspect

from protocol.terminal import messages
from protocol.terminal._state import TRANSITIONS, Signal
from protocol.terminal.bodies import REPLY_BODIES, REQUEST_BODIES, STORED_TYPES
from protocol.terminal.codes import ResponseCode, Retry, Stage
from protocol.terminal.connection import Limits
from protocol.terminal.frame import FRAME_SIZE_MAX
from protocol.terminal.messages import MessageType

SPECIFICATION = Path(__file__).parents[3] / "protocol" / "README.md"
TEXT = SPECIFICATION.read_text(encoding="utf-8")
STRUCTS = {
    name: value
    for name, value in vars(messages).items()
    if isinstance(value, type) and issubclass(value, Struct) and value is not Struct
}
ENUMS = {
    name: value
    for name, value in vars(messages).items()
    if isinstance(value, type) and issubclass(value, IntEnum) and value is not IntEnum
}
FIELD_HEADER = ["#", "name", "type", "default", "unit", "national", "FHIR R4", "meaning"]


def tables() -> dict[str, list[list[str]]]:
    """Give every table of the specification under its heading, header first, rules left out."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    for line in TEXT.splitlines():
        if match := re.match(r"#+ (.*)", line):
            heading = match[1].strip()
        elif line.startswith("|") and not re.fullmatch(r"[|\s:-]+", line):
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            found.setdefault(heading, []).append(cells)
    return found


TABLES = tables()
ORDER = TABLES["States of an exchange"]


def bare(cell: str) -> str:
    return cell.strip("`")


def type_text(kind: inspect.Type) -> str:  # noqa: C901  one case a type
    """Say a field's type and limits in the words of the specification."""
    match kind:
        case inspect.BoolType():
            return "bool"
        case inspect.IntType(ge=low, le=high):
            return f"int {low}..{high}"
        case inspect.StrType(max_length=size):
            return f"str, at most {size}"
        case inspect.BytesType(min_length=least, max_length=size):
            return f"bin of {size}" if least == size else f"bin, at most {size}"
        case inspect.DateType():
            return "str YYYY-MM-DD"
        case inspect.RawType():
            return "any"
        case inspect.EnumType(cls=members):
            return f"int: {members.__name__}"
        case inspect.StructType(cls=struct):
            return f"array: {struct.__name__}"
        case inspect.VarTupleType(item_type=inspect.StructType(cls=struct)):
            return f"array of {counts(kind)} {struct.__name__}"
        case inspect.VarTupleType(item_type=item):
            return f"array of {counts(kind)} ({type_text(item)})"
        case inspect.UnionType(types=types):
            inner = [each for each in types if not isinstance(each, inspect.NoneType)]
            assert len(inner) == len(types) - 1 == 1
            return f"{type_text(inner[0])}, or nil"
        case _:
            raise AssertionError(f"no words for {kind}")


def counts(kind: inspect.VarTupleType) -> str:
    return f"{kind.min_length or 0}..{kind.max_length}"


def default_text(field: inspect.Field) -> str:
    """Say what an optional field is when it is left out."""
    if field.required:
        return ""
    if isinstance(field.default, IntEnum):
        return str(field.default.value)
    words = [
        (None, "nil"),
        (False, "false"),
        (True, "true"),
        ("", "empty"),
        ((), "empty"),
        (0, "0"),
    ]
    for value, word in words:
        if field.default is value or (
            type(field.default) is type(value) and field.default == value
        ):
            return word
    raise AssertionError(f"no words for the default of {field.name}")


def field_rows(struct: type[Struct]) -> list[list[str]]:
    """Give the first four columns of a struct's table."""
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    first = 0 if info.tag is None else 1
    rows = [] if info.tag is None else [["0", "kind", f"int {info.tag}", ""]]
    rows += [
        [str(index), field.name, type_text(field.type), default_text(field)]
        for index, field in enumerate(info.fields, first)
    ]
    return rows


@pytest.mark.parametrize("name", STRUCTS)
def test_a_struct_and_its_table_agree(name: str) -> None:
    if not field_rows(STRUCTS[name]):
        assert name not in TABLES
        assert f"`{name}`" in TEXT
        return
    header, *rows = TABLES[name]
    assert header == FIELD_HEADER
    assert [[bare(cell) for cell in row[:4]] for row in rows] == field_rows(STRUCTS[name])
    for row in rows:
        assert len(row) == len(FIELD_HEADER)
        assert len(row[-1]) > 1, f"{row[1]} has no meaning"


@pytest.mark.parametrize("name", STRUCTS)
def test_units_are_those_of_the_names(name: str) -> None:
    units = {
        "_fen": "fen", "_time_ms": "ms UTC", "_ms": "ms", "_us": "us", "_e4": "10^-4",
        "_microyuan": "10^-6 yuan",
    }  # fmt: skip
    for row in TABLES.get(name, [[]])[1:]:
        field, unit = bare(row[1]), row[4]
        expected = next((unit for end, unit in units.items() if field.endswith(end)), None)
        if expected is not None:
            assert unit == expected, field


def test_every_table_of_fields_is_a_struct() -> None:
    described = {name for name, table in TABLES.items() if table[0] == FIELD_HEADER}
    assert described <= set(STRUCTS)


@pytest.mark.parametrize("name", ENUMS)
def test_an_enum_and_its_table_agree(name: str) -> None:
    _header, *rows = TABLES[name]
    expected = [[str(member.value), member.name] for member in ENUMS[name]]
    assert [[bare(cell) for cell in row[:2]] for row in rows] == expected


def test_the_table_of_message_types_agrees() -> None:
    header, *rows = TABLES["MessageType"]
    assert header[-3:] == ["request", "reply", "stored"]
    assert [[bare(cell) for cell in row[-3:]] for row in rows] == [
        [
            REQUEST_BODIES[type_].__name__,
            REPLY_BODIES[type_].__name__,
            "yes" if type_ in STORED_TYPES else "no",
        ]
        for type_ in MessageType
    ]


def test_the_table_of_codes_agrees() -> None:
    header, *rows = TABLES["Codes"]
    assert header == ["code", "name", "stage", "retry", "stored", "中文", "English"]
    assert [[bare(cell) for cell in row] for row in rows] == [
        [
            f"{code.value:03d}",
            code.name,
            code.stage.name,
            code.retry.name,
            "yes" if code.is_stored else "no",
            code.text_zh,
            code.text_en,
        ]
        for code in ResponseCode
    ]


def test_the_table_of_retry_advice_agrees() -> None:
    _header, *rows = TABLES["Retry"]
    assert [bare(row[0]) for row in rows] == [retry.name for retry in Retry]


def test_the_table_of_stages_agrees() -> None:
    _header, *rows = TABLES["Stages"]
    assert [[bare(cell) for cell in row[:2]] for row in rows] == [
        [str(stage.value), stage.name] for stage in Stage
    ]


def test_the_table_of_limits_agrees() -> None:
    limits = {bare(row[0]): row[1] for row in TABLES["Limits"][1:]}
    assert limits["frame_size_max"] == f"{FRAME_SIZE_MAX}"
    assert limits["in_flight_max"] == f"{Limits().in_flight_max}"
    assert limits["lines of a bill"] == f"{messages.LINES_MAX}"
    assert limits["steps of a batch"] == f"{messages.STEPS_MAX}"
    assert limits["challenges alive"] == f"{messages.CHALLENGES_MAX}"


def test_the_order_of_an_exchange_agrees() -> None:
    written = {(bare(row[0]), bare(row[1])): (row[2], bare(row[3])) for row in ORDER[1:]}
    names = {
        Signal.REQUEST: ("Request", "terminal"),
        Signal.CARD_REQUEST: ("CARD_OPEN", "terminal"),
        Signal.RELAY: ("Relay", "centre"),
        Signal.RELAYED: ("Relayed", "terminal"),
        Signal.REPLY: ("Reply", "centre"),
    }
    assert written == {
        (before.name, names[signal][0]): (names[signal][1], after.name)
        for (before, signal), after in TRANSITIONS.items()
    }


def test_links_within_the_specification_lead_somewhere() -> None:
    anchors = {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    }
    for target in re.findall(r"\]\(#([^)]+)\)", TEXT):
        assert target in anchors


def test_decoders_agree_with_what_is_written_about_types() -> None:
    # "int" is an integer, never a float that happens to be whole; "bool" is never a number.
    decoder = msgspec.msgpack.Decoder(messages.Goodbye)
    for odd in (1.0, True):
        with pytest.raises(msgspec.ValidationError):
            decoder.decode(msgspec.msgpack.encode([5, odd, ""]))
