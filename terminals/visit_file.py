"""Reading the lines of a visit from a file: TOML, JSON or CSV, whose keys are national names.

The format is described in README.md. Not here: bills that are settled in one message
(`bill_file.py`).
"""

import csv
import datetime as dt
import io
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from protocol.terminal.messages import VisitLine
from terminals.bill_file import (
    BILL_SIZE_MAX,
    BillFileError,
    ItemFinder,
    MicroYuan,
    SignedFen,
    SignedQuantityE4,
    day_of,
    decode_number,
    named_item,
)

LINES_MAX: Final = 10_000
_E8: Final = 10**8
_REST: Final = ""  # no column is named so

Code = Annotated[str, Meta(min_length=1, max_length=40)]


class _Line(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    feedetl_sn: Code
    fee_ocur_time: dt.date | None = None
    med_list_codg: Code | None = None
    local_item: Code | None = None
    name: Annotated[str, Meta(max_length=200)] = ""
    pric: MicroYuan
    cnt: SignedQuantityE4 = SignedQuantityE4(10_000)
    det_item_fee_sumamt: SignedFen | None = None
    init_feedetl_sn: Code | None = None


class _Document(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    lines: Annotated[tuple[_Line, ...], Meta(min_length=1, max_length=LINES_MAX)]


def load_lines(
    file: Path,
    *,
    today: dt.date,
    finder: ItemFinder | None = None,
    known_days: Mapping[str, dt.date] | None = None,
) -> tuple[VisitLine, ...]:
    """Read lines.

    Args:
        file: TOML, JSON or CSV, as its name says.
        today: The day of lines that name none.
        known_days: By number, of lines sent before: theirs where they name none.
        finder: The lists held; without them lines have the catalogue's codes.

    Raises:
        BillFileError: It cannot be read, or says something that is no line.
    """
    try:
        if file.stat().st_size > BILL_SIZE_MAX:
            raise BillFileError(f"{file}: larger than {BILL_SIZE_MAX} bytes")
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BillFileError(f"{file}: {error}") from error
    try:
        document = msgspec.convert(_content(text, file.suffix), _Document, dec_hook=decode_number)
        return _lines(document, today, finder, known_days or {})
    except (json.JSONDecodeError, tomllib.TOMLDecodeError, csv.Error) as error:
        raise BillFileError(f"{file}: {error}") from error
    except (msgspec.ValidationError, BillFileError) as error:
        raise BillFileError(f"{file}: {error}") from error


def gross_of(price_microyuan: int, quantity_e4: int) -> int:
    """Give price times quantity in fen, rounded half up; the quantity is not below zero."""
    assert quantity_e4 >= 0
    return (price_microyuan * quantity_e4 + _E8 // 2) // _E8


def _content(text: str, suffix: str) -> object:
    """Give what the file holds; fractions stay text."""
    if suffix == ".csv":
        rows = csv.DictReader(io.StringIO(text), restkey=_REST, strict=True)
        return {"lines": [_filled(row) for row in rows]}
    if suffix == ".json":
        content: object = json.loads(text, parse_float=str)
        return content
    return tomllib.loads(text, parse_float=str)


def _filled(row: dict[str, str]) -> dict[str, str]:
    """Give the cells of a row that hold something."""
    if _REST in row:
        raise BillFileError("a row has more columns than the first one names")
    return {key: value.strip() for key, value in row.items() if value and value.strip()}


def _lines(
    document: _Document,
    today: dt.date,
    finder: ItemFinder | None,
    known_days: Mapping[str, dt.date],
) -> tuple[VisitLine, ...]:
    lines: list[VisitLine] = []
    left: dict[str, int] = {}
    for index, line in enumerate(document.lines):
        date = line.fee_ocur_time or known_days.get(line.feedetl_sn, today)
        item, name = named_item(
            line.med_list_codg,
            line.local_item,
            path=f"$.lines[{index}]",
            finder=finder,
            day=day_of(date),
        )
        price, quantity = int(line.pric), int(line.cnt)
        number = line.init_feedetl_sn or line.feedetl_sn
        before = left.get(number, 0)
        if line.init_feedetl_sn is None:
            gross = gross_of(price, max(quantity, 0))
            left[number] = quantity
        elif number in left:
            # What the line loses: exact, however the refunds before were rounded.
            gross = gross_of(price, max(before + quantity, 0)) - gross_of(price, before)
            left[number] = max(before + quantity, 0)
        else:  # of a line sent before: the centre tells what it loses, should it be another fen
            gross = -gross_of(price, max(-quantity, 0))
        lines.append(
            VisitLine(
                number=line.feedetl_sn,
                date=date,
                item=item,
                name=line.name or name,
                price_microyuan=price,
                quantity_e4=quantity,
                gross_fen=gross
                if line.det_item_fee_sumamt is None
                else int(line.det_item_fee_sumamt),
                refunds=line.init_feedetl_sn or "",
            )
        )
    return tuple(lines)
