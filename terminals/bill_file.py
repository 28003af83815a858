"""Reading the bill that a cashier settles from a file, TOML or JSON, whose keys are national names.

The format is described in README.md. Amounts never pass through binary fractions.
"""

import datetime as dt
import json
import re
import tomllib
from pathlib import Path
from typing import Annotated, Final, Protocol

import msgspec
from msgspec import Meta, Struct

from protocol.terminal.messages import Bill, ItemRow, Line, MappingRow

BILL_SIZE_MAX: Final = 4_000_000
_DECIMAL: Final = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,6}))?", re.ASCII)
_E8: Final = 10**8

Code = Annotated[str, Meta(min_length=1, max_length=40)]


class BillFileError(Exception):
    """A bill file is not one; names the file and the path of the mistake."""


class Fen(int):
    """Written in yuan with at most 2 decimals."""

    __slots__ = ()


class MicroYuan(int):
    """Written in yuan with at most 6 decimals."""

    __slots__ = ()


class QuantityE4(int):
    """Written in units with at most 4 decimals."""

    __slots__ = ()


class SignedFen(int):
    """Written in yuan with at most 2 decimals, and a minus for what is given back."""

    __slots__ = ()


class SignedQuantityE4(int):
    """Written in units with at most 4 decimals, and a minus for what is given back."""

    __slots__ = ()


class ItemFinder(Protocol):
    """What a bill is completed from; `lists.Lists` is one."""

    def item(self, item: str, day: int, /) -> ItemRow | None:
        """Find what holds for an item on a day, YYYYMMDD."""

    def mapped(self, local_item: str, day: int, /) -> MappingRow | None:
        """Find what the institution's own code stands for on a day."""


class _Line(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    med_list_codg: Code | None = None
    local_item: Code | None = None
    name: Annotated[str, Meta(max_length=200)] = ""
    pric: MicroYuan
    cnt: QuantityE4 = QuantityE4(10_000)
    det_item_fee_sumamt: Fen | None = None


class _Document(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    insutype: Code = "310"
    med_type: Code = "11"
    invono: Annotated[str, Meta(max_length=40)] = ""
    acct_used_flag: bool = True
    medfee_sumamt: Fen | None = None
    adm_date: dt.date | None = None
    dscg_date: dt.date | None = None
    lines: Annotated[tuple[_Line, ...], Meta(min_length=1, max_length=2000)]


def load_bill(file: Path, *, finder: ItemFinder | None = None, today: int = 0) -> Bill:
    """Read a bill.

    Args:
        file: TOML or JSON, as its name says.
        finder: The lists held; without them lines have the catalogue's codes.
        today: YYYYMMDD, the day of care of bills that name none.

    Raises:
        BillFileError: It cannot be read, or says something that is not a bill.
    """
    try:
        if file.stat().st_size > BILL_SIZE_MAX:
            raise BillFileError(f"{file}: larger than {BILL_SIZE_MAX} bytes")
        text = file.read_text(encoding="utf-8-sig")  # as Windows' editors write it
    except (OSError, UnicodeDecodeError) as error:
        raise BillFileError(f"{file}: {error}") from error
    return decode_bill(
        text, is_toml=file.suffix != ".json", source=str(file), finder=finder, today=today
    )


def decode_bill(
    text: str, *, is_toml: bool, source: str, finder: ItemFinder | None = None, today: int = 0
) -> Bill:
    """Read a bill from text.

    Raises:
        BillFileError: As in `load_bill`.
    """
    try:
        # Fractions stay text: 0.10 yuan is ten fen, whatever binary fractions make of it.
        content: object = (
            tomllib.loads(text, parse_float=str) if is_toml else json.loads(text, parse_float=str)
        )
        document = msgspec.convert(content, _Document, dec_hook=decode_number)
    except (json.JSONDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise BillFileError(f"{source}: {error}") from error
    day = today if document.dscg_date is None else day_of(document.dscg_date)
    try:
        lines = tuple(
            _line(line, f"$.lines[{index}]", finder, day)
            for index, line in enumerate(document.lines)
        )
    except BillFileError as error:
        raise BillFileError(f"{source}: {error}") from error
    total_fen = sum(line.gross_fen for line in lines)
    if document.medfee_sumamt is not None and int(document.medfee_sumamt) != total_fen:
        raise BillFileError(
            f"{source}: the lines add up to {total_fen / 100:.2f},"
            f" not to {int(document.medfee_sumamt) / 100:.2f} - at `$.medfee_sumamt`"
        )
    return Bill(
        insutype=document.insutype,
        med_type=document.med_type,
        total_fen=total_fen,
        uses_account=document.acct_used_flag,
        invoice=document.invono,
        lines=lines,
        admitted=document.adm_date,
        discharged=document.dscg_date,
    )


def day_of(date: dt.date) -> int:
    """Give a date as YYYYMMDD."""
    return date.year * 10_000 + date.month * 100 + date.day


def _line(line: _Line, path: str, finder: ItemFinder | None, day: int) -> Line:
    item, name = named_item(line.med_list_codg, line.local_item, path=path, finder=finder, day=day)
    price_microyuan, quantity_e4 = int(line.pric), int(line.cnt)
    # Millionths times ten-thousandths to fen, rounded half up.
    computed_fen = (price_microyuan * quantity_e4 + _E8 // 2) // _E8
    given = line.det_item_fee_sumamt
    return Line(
        item=item,
        name=line.name or name,
        price_microyuan=price_microyuan,
        quantity_e4=quantity_e4,
        gross_fen=computed_fen if given is None else int(given),
    )


def named_item(
    item: str | None, local_item: str | None, *, path: str, finder: ItemFinder | None, day: int
) -> tuple[str, str]:
    """Give a line's item by the catalogue's code, and its name as far as the lists held tell."""
    if (item is None) == (local_item is None):
        raise BillFileError(f"a line has med_list_codg, or else local_item - at `{path}`")
    local_name = ""
    if local_item is not None:
        mapping = finder.mapped(local_item, day) if finder is not None else None
        if mapping is None:
            raise BillFileError(
                f"the mapping held has no {local_item} on {day}; `cardterminal lists update`"
                f" - at `{path}.local_item`"
            )
        item, local_name = mapping.item, mapping.local_name
    assert item is not None
    found = finder.item(item, day) if finder is not None else None
    return item, local_name or (found.name if found is not None else item)


def decode_number(type_: type, value: object) -> object:
    """Read a number of a file exactly, as msgspec's hook for the types here."""
    if type_ is Fen:
        return Fen(_scaled(value, 2))
    if type_ is MicroYuan:
        return MicroYuan(_scaled(value, 6))
    if type_ is QuantityE4:
        return QuantityE4(_scaled(value, 4))
    if type_ in {SignedFen, SignedQuantityE4}:
        places = 2 if type_ is SignedFen else 4
        is_negative = isinstance(value, str | int) and str(value).startswith("-")
        number = str(value)[1:] if is_negative else value
        scaled = -_scaled(number, places) if is_negative else _scaled(number, places)
        return SignedFen(scaled) if type_ is SignedFen else SignedQuantityE4(scaled)
    raise NotImplementedError(type_)  # msgspec's own word for a type that a hook does not know


def _scaled(value: object, places: int) -> int:
    match = None
    if isinstance(value, int | str) and not isinstance(value, bool):
        match = _DECIMAL.fullmatch(str(value))
    if match is None or len(match[2] or "") > places:
        raise ValueError(f"{value!r} is not a number from 0 with at most {places} decimals")
    return int(match[1] + (match[2] or "").ljust(places, "0"))
