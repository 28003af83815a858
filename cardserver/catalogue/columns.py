"""What the columns of catalogue and mapping files are called, and how their values are checked.

A header names columns by any of their names, in any order; columns that may be missing have a
default. Every refusal says in a sentence what is expected. Not here: how rows of different days go
together (`merging.py`), reading files (`sheets.py`).
"""

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Generic, TypeVar

from msgspec import Struct

from cardserver.catalogue.sheets import SheetRow
from cardserver.catalogue.values import (
    CLASS_A,
    CLASS_B,
    CLASS_C,
    FOREVER,
    CatalogueRow,
    ItemKind,
    MappingRow,
)
from cardserver.registry.import_files import ImportFileError

R = TypeVar("R", bound=Struct)

Value = int | str | None
Parse = Callable[[str], Value]

MICROYUAN = 1_000_000
# A price beyond these is one in another unit: nothing costs a ten-thousandth of a yuan, and no
# unit of anything ten million.
PRICE_MIN_MICROYUAN = 100
PRICE_MAX_MICROYUAN = 10_000_000 * MICROYUAN
WHOLE_E4 = 10_000
AGE_MAX = 200
QUANTITY_MAX_E4 = 10**10
FEW = 4_096

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/#+-]{0,39}", re.ASCII).fullmatch
_DECIMAL = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,12}))?", re.ASCII)
_DATE = re.compile(r"([0-9]{4})[-/.年]?([0-9]{1,2})[-/.月]?([0-9]{1,2})日?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that was not taken, and why.

    Attributes:
        line: From 1, the header being a row too.
        column: As the file calls it; empty where it is the row as a whole.
    """

    line: int
    column: str
    reason: str

    def __str__(self) -> str:
        column = f"{self.column}: " if self.column else ""
        return f"line {self.line}: {column}{self.reason}"


@dataclass(frozen=True, slots=True)
class Placed(Generic[R]):
    """A row that passed by itself, and where it stood."""

    line: int
    row: R


@dataclass(frozen=True, slots=True)
class Column:
    """One column: several of them may give the same field, in different units.

    Attributes:
        field: Which field of the row it gives.
        names: What a header may call it; the first is our own.
        parse: Returns the field's value; raises ValueError saying what it expects.
        is_required: Whether a file must have it, or another one of the field.
    """

    field: str
    names: tuple[str, ...]
    parse: Parse
    is_required: bool = False


class RuleError(ValueError):
    """What one column says does not go with the rest of its row."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


@dataclass(frozen=True, slots=True)
class FileForm(Generic[R]):
    """One kind of file.

    Attributes:
        columns: All that a header may name.
        make: Makes a row of the fields given; raises `RuleError`.
    """

    columns: Sequence[Column]
    make: Callable[[Mapping[str, Value]], R]
    by_name: dict[str, Column] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.by_name.update({name: one for one in self.columns for name in one.names})

    def read(
        self, rows: Iterator[SheetRow], source: str, called: dict[str, str] | None = None
    ) -> Iterator[Placed[R] | Rejection]:
        """Read and check every row below the header.

        Args:
            rows: The header first.
            source: What the file is called.
            called: Is told what the header calls each field.

        Raises:
            ImportFileError: The header is not one.
        """
        header = next(rows, None)
        if header is None:
            raise ImportFileError(f"{source}: empty")
        names = [name.strip() for name in header.cells]
        while names and not names[-1]:
            names.pop()
        columns = self._columns_of(names, source)
        if called is not None:
            called.update({one.field: name for one, name in zip(columns, names, strict=True)})
        for row in rows:
            yield self._checked(names, columns, row)

    def _columns_of(self, names: list[str], source: str) -> list[Column]:
        for name in names:
            if name not in self.by_name:
                known = ", ".join(one.names[0] for one in self.columns)
                raise ImportFileError(f"{source}: column {name!r} is unknown; known are {known}")
        columns = [self.by_name[name] for name in names]
        fields = [one.field for one in columns]
        for one in columns:
            if fields.count(one.field) > 1:
                raise ImportFileError(f"{source}: two columns say {one.field}")
        for one in self.columns:
            if one.is_required and one.field not in fields:
                raise ImportFileError(f"{source}: there is no column {' or '.join(one.names)}")
        return columns

    def _checked(
        self, names: list[str], columns: list[Column], row: SheetRow
    ) -> Placed[R] | Rejection:
        cells = row.cells
        if len(cells) < len(names):
            cells = (*cells, *[""] * (len(names) - len(cells)))
        elif any(cells[len(names) :]):
            return Rejection(row.line, "", f"expected {len(names)} fields, found {len(cells)}")
        values: dict[str, Value] = {}
        for name, column, text in zip(names, columns, cells, strict=False):
            if not text and not column.is_required:
                continue
            try:
                values[column.field] = column.parse(text)
            except ValueError as error:
                return Rejection(row.line, name, str(error))
        try:
            return Placed(row.line, self.make(values))
        except RuleError as error:
            named = [one for one, column in zip(names, columns, strict=True)
                     if column.field == error.field]  # fmt: skip
            return Rejection(row.line, named[0] if named else error.field, str(error))


def kind_of_code(item: str) -> int:
    """Tell what an item is by its code's beginning, where a file does not say.

    National codes begin with X, Z or T for drugs, C for consumables and a digit for services
    (国家医疗保障局 编码标准); S and M are services and materials too.
    """
    if item[0] in "Ss" or item[0].isdigit():
        return ItemKind.SERVICE.value
    if item[0] in "CcMm":
        return ItemKind.CONSUMABLE.value
    return ItemKind.DRUG.value


# --- how values are read ----------------------------------------------------------------------


def _code(text: str) -> str:
    if _CODE(text):
        return text
    raise ValueError("expected a code of 1 to 40 letters, digits and . _ - / # +")


def _text(size_max: int) -> Parse:
    def parse(text: str) -> str:
        if 1 <= len(text) <= size_max and text.isprintable():
            return text
        raise ValueError(f"expected 1 to {size_max} printable characters")

    return parse


@lru_cache(maxsize=FEW)
def _date(text: str) -> int:
    match = _DATE.fullmatch(text)
    if match is not None and (len(text) == len("YYYYMMDD") or not text.isdigit()):
        try:
            day = dt.date(int(match[1]), int(match[2]), int(match[3]))
        except ValueError:
            pass
        else:
            return day.year * 10_000 + day.month * 100 + day.day
    raise ValueError(f"expected a date as 20270101 or 2027-01-01; {FOREVER} for no end")


def _one_of(words: Mapping[str, int]) -> Parse:
    expected = f"expected one of {', '.join(words)}"

    def parse(text: str) -> int:
        found = words.get(text.lower())
        if found is None:
            raise ValueError(expected)
        return found

    return parse


def _whole(least: int, most: int) -> Parse:
    def parse(text: str) -> int:
        if text.isascii() and text.isdigit() and len(text) <= 16:  # noqa: PLR2004 - what int64 holds
            number = int(text)
            if least <= number <= most:
                return number
        raise ValueError(f"expected a whole number from {least} to {most}")

    return parse


def _scaled(text: str, places: int) -> int | None:
    match = _DECIMAL.fullmatch(text)
    if match is None or len((match[2] or "").rstrip("0")) > places:
        return None
    return int(match[1] + (match[2] or "")[:places].ljust(places, "0"))


@lru_cache(maxsize=FEW)
def _ratio(text: str) -> int:
    """Read 0.05 or 5% as ten-thousandths."""
    is_percent = text.endswith(("%", "％"))
    value = _scaled(text[:-1].strip(), 2) if is_percent else _scaled(text, 4)
    if value is None or value > WHOLE_E4:
        raise ValueError("expected a share from 0 to 1 such as 0.05, or 5%, of at most 4 decimals")
    return value


def _price(text: str) -> int:
    """Read yuan with at most four decimals."""
    value = _scaled(text, 4)
    if value is None:
        raise ValueError("expected a price in yuan with at most 4 decimals, or nothing")
    return _plausible(value * (MICROYUAN // WHOLE_E4))


def _microyuan(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 16):  # noqa: PLR2004 - as above
        raise ValueError("expected a price in whole millionths of a yuan, or nothing")
    return _plausible(int(text))


def _plausible(price_microyuan: int) -> int:
    if price_microyuan % PRICE_MIN_MICROYUAN or not price_microyuan:
        raise ValueError(
            f"{price_microyuan} millionths of a yuan are no price: is it in another unit, yuan or"
            " fen? Prices have at most 4 decimals of a yuan, and a limit of nothing is class C"
        )
    if price_microyuan > PRICE_MAX_MICROYUAN:
        raise ValueError(
            f"{price_microyuan // MICROYUAN} yuan a unit is no price: is it in another unit?"
        )
    return price_microyuan


def _quantity(text: str) -> int:
    value = _scaled(text, 4)
    if not value or value > QUANTITY_MAX_E4:
        raise ValueError("expected a quantity above 0 with at most 4 decimals, or nothing")
    return value


# --- the two kinds of files -------------------------------------------------------------------

_YES_OR_NO = _one_of({"0": 0, "1": 1, "no": 0, "yes": 1, "否": 0, "是": 1})
_CLASS = _one_of({
    "1": CLASS_A, "2": CLASS_B, "3": CLASS_C, "01": CLASS_A, "02": CLASS_B, "03": CLASS_C,
    "甲": CLASS_A, "乙": CLASS_B, "丙": CLASS_C, "甲类": CLASS_A, "乙类": CLASS_B,
    "丙类": CLASS_C, "a": CLASS_A, "b": CLASS_B, "c": CLASS_C,
})  # fmt: skip
_KIND = _one_of({
    "1": 1, "2": 2, "3": 3, "drug": 1, "service": 2, "consumable": 3, "药品": 1, "诊疗": 2,
    "诊疗项目": 2, "医疗服务": 2, "医疗服务项目": 2, "耗材": 3, "医用耗材": 3,
})  # fmt: skip
_SEX = _one_of({"0": 0, "1": 1, "2": 2, "男": 1, "女": 2, "不限": 0})
_AGE = _whole(0, AGE_MAX)

ITEM_COLUMNS = (
    Column("item", ("item", "med_list_codg", "医保目录编码", "国家编码"), _code, is_required=True),
    Column("begins", ("begins", "begndate", "开始日期", "生效日期"), _date, is_required=True),
    Column("ends", ("ends", "enddate", "结束日期", "失效日期"), _date),
    Column(
        "name",
        ("name", "med_list_name", "医保目录名称", "名称"),
        _text(200),
        is_required=True,
    ),
    Column(
        "item_class",
        ("item_class", "chrgitm_lv", "收费项目等级", "甲乙类"),
        _CLASS,
        is_required=True,
    ),
    Column("self_pay_ratio_e4", ("self_pay_ratio_e4",), _whole(0, WHOLE_E4)),
    Column("self_pay_ratio_e4", ("self_pay_ratio", "selfpay_prop", "自付比例"), _ratio),
    Column("price_limit_microyuan", ("price_limit_microyuan",), _microyuan),
    Column(
        "price_limit_microyuan",
        ("price_limit", "pric_uplmt_amt", "定价上限金额", "最高限价"),
        _price,
    ),
    *(
        Column(f"price_limit_{level}_microyuan", names, parse)
        for level, chinese in enumerate(("药店限价", "一级限价", "二级限价", "三级限价"))
        for names, parse in (
            ((f"price_limit_{level}_microyuan",), _microyuan),
            ((f"price_limit_{level}", chinese), _price),
        )
    ),
    Column("kind", ("kind", "list_type", "目录类别"), _KIND),
    Column("unit", ("unit", "计价单位"), _text(20)),
    Column("sex", ("sex", "lmt_gend", "限性别"), _SEX),
    Column("age_from", ("age_from", "最小年龄"), _AGE),
    Column("age_below", ("age_below", "年龄上限"), _AGE),
    Column("daily_quantity_max_e4", ("daily_quantity_max_e4",), _whole(1, QUANTITY_MAX_E4)),
    Column("daily_quantity_max_e4", ("daily_quantity_max", "日限量"), _quantity),
    Column("is_struck", ("is_struck", "作废"), _YES_OR_NO),
)


def make_item(values: Mapping[str, Value]) -> CatalogueRow:
    """Make a row of the catalogue, all of whose fields go together.

    Raises:
        RuleError: They don't.
    """
    given = dict(values)
    given.setdefault("ends", FOREVER)
    given.setdefault("kind", kind_of_code(str(given["item"])))
    item_class = given["item_class"]
    if "self_pay_ratio_e4" not in given:
        if item_class == CLASS_B:
            raise RuleError("self_pay_ratio_e4", "a class B item has a self-pay ratio")
        given["self_pay_ratio_e4"] = 0 if item_class == CLASS_A else WHOLE_E4
    row = CatalogueRow(**given)  # type: ignore[arg-type]  # each column gives its field's type
    _check_item(row)
    return row


def _check_item(row: CatalogueRow) -> None:
    if row.ends < row.begins:
        raise RuleError("ends", "it ends before it begins")
    ratio_e4 = row.self_pay_ratio_e4
    match row.item_class:
        case 1 if ratio_e4:
            raise RuleError("self_pay_ratio_e4", "class A has no self-pay ratio: 0, or class B")
        case 2 if ratio_e4 == WHOLE_E4:
            raise RuleError("self_pay_ratio_e4", "what the patient pays all of is class C")
        case 3 if ratio_e4 != WHOLE_E4:
            raise RuleError("self_pay_ratio_e4", "class C is the patient's alone: 1, or nothing")
        case _:
            pass
    for level in (2, 3):
        lower, higher = row.limit_at(level - 1), row.limit_at(level)
        if higher is not None and (lower is None or lower > higher):
            said = "none" if lower is None else f"{lower / MICROYUAN:.15g}"
            raise RuleError(
                f"price_limit_{level - 1}_microyuan",
                f"the limit rises where the level falls: level {level - 1} {said}, level {level}"
                f" {higher / MICROYUAN:.15g} yuan",
            )
    if row.age_below and row.age_below <= row.age_from:
        raise RuleError("age_below", "no age is from age_from on and below this")


ITEMS = FileForm(ITEM_COLUMNS, make_item)

MAPPING_COLUMNS = (
    Column("institution", ("institution", "fixmedins_code", "定点医药机构编号"), _code),
    Column(
        "local_item",
        ("local_item", "fixmedins_hilist_id", "定点医药机构目录编号", "院内编码"),
        _code,
        is_required=True,
    ),
    Column(
        "item",
        ("item", "med_list_codg", "医保目录编码", "国家编码"),
        _code,
        is_required=True,
    ),
    Column("begins", ("begins", "begndate", "开始日期", "生效日期"), _date, is_required=True),
    Column("ends", ("ends", "enddate", "结束日期", "失效日期"), _date),
    Column("local_name", ("local_name", "fixmedins_hilist_name", "院内名称"), _text(200)),
    Column("is_struck", ("is_struck", "作废"), _YES_OR_NO),
)


def mapping_form(institutions: Mapping[str, int], institution: str) -> FileForm[MappingRow]:
    """Make the form of mapping files.

    Args:
        institutions: The number of each institution by its code.
        institution: Whose the file is, where it does not say; may be empty.
    """

    def make(values: Mapping[str, Value]) -> MappingRow:
        given = dict(values)
        code = given.pop("institution", institution)
        if not code:
            raise RuleError("institution", "whose code is it? Name the institution")
        number = institutions.get(str(code))
        if number is None:
            raise RuleError("institution", "there is no such institution")
        if institution and code != institution:
            raise RuleError("institution", f"the file is that of {institution}")
        given.setdefault("ends", FOREVER)
        row = MappingRow(institution_no=number, **given)  # type: ignore[arg-type]  # as in make_item
        if row.ends < row.begins:
            raise RuleError("ends", "it ends before it begins")
        return row

    return FileForm(MAPPING_COLUMNS, make)
