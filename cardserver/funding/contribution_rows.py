"""The rows of a file of contributions: its columns, and how each value is read.

A header line names the columns, in any order, in Chinese or by their national or English names.
Not here: who the persons are and what the rules make of the rows (`contributions.py`).
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, unique
from pathlib import Path
from typing import Self, TypeAlias, TypeVar

from cardserver.catalogue.sheets import UTF_8, SheetRow, read_sheet
from cardserver.registry import identity_number
from cardserver.registry.import_files import ImportFileError

T = TypeVar("T")

AMOUNT_MAX_FEN = 10**12
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "employer": ("employer", "emp_no", "单位编号"),
    "month": ("month", "clct_ym", "费款所属期"),
    "psn_no": ("psn_no", "人员编号"),
    "id_number": ("id_number", "certno", "证件号码"),
    "insutype": ("insutype", "险种类型"),
    "base": ("base", "clct_base", "缴费基数"),
    "employer_amount": ("employer_amount", "emp_clct_amt", "单位缴费金额"),
    "personal_amount": ("personal_amount", "psn_clct_amt", "个人缴费金额"),
}
_NAMES = {alias: name for name, aliases in _COLUMNS.items() for alias in aliases}
_NEEDED = _COLUMNS.keys() - {"psn_no", "id_number"}
_MONTH = re.compile(r"(20\d{2})[-年]?(0[1-9]|1[0-2])月?", re.ASCII)
_YUAN = re.compile(r"(\d{1,10})(?:\.(\d{1,2})0*)?", re.ASCII)
_INSUTYPE = re.compile(r"[1-9]\d{2}", re.ASCII)
_NUMBER = re.compile(r"[1-9]\d{0,15}", re.ASCII)
_CODE_SIZE_MAX = 30
_DOCUMENT_SIZE_MAX = 40


@unique
class Fault(Enum):
    """Why a row is not posted: a permanent name, and what people read."""

    text_zh: str
    text_en: str

    def __new__(cls, name: str, text_zh: str, text_en: str) -> Self:
        """Make a member that carries its words beside its name."""
        member = object.__new__(cls)
        member._value_ = name
        member.text_zh = text_zh
        member.text_en = text_en
        return member

    EMPTY = "empty", "此列为空", "the value is missing"
    CODE = "code", "编号过长", "a code has at most 30 characters"
    MONTH = "month", "应为年月，如 202611", "expected a month, as 202611"
    NUMBER = "number", "应为人员编号", "expected a person's number"
    ID_NUMBER = "id_number", "证件号码过长", "a document's number has at most 40 characters"
    INSUTYPE = "insutype", "应为险种代码，如 310", "expected an insurance, as 310"
    AMOUNT = "amount", "应为金额（元，至多两位小数）", "expected yuan with at most two decimals"
    CELLS = "cells", "列数与表头不符", "another number of cells than the header"
    EMPLOYER = "employer", "没有该单位", "there is no such employer"
    PERSON = "person", "没有该人员", "there is no such person"
    OTHERS_ID = "others_id", "证件号码属于他人", "the document is another person's"
    DECEASED = "deceased", "该人员此前已死亡", "the person had died before"
    INSURANCE = "insurance", "该月未参加此险种", "the person had no such insurance in that month"
    NO_RULES = "no_rules", "该月没有启用的规则", "no rules are in force in that month"
    NO_RULE = "no_rule", "没有适用的规则", "no rule fits this person"
    BASE_BELOW = "base_below", "缴费基数低于下限", "the wage base is below its least"
    BASE_ABOVE = "base_above", "缴费基数高于上限", "the wage base is above its most"
    EMPLOYER_PART = (
        "employer_part", "单位缴费与基数乘比例不符",
        "the employer's part is not its share of the base",
    )  # fmt: skip
    PERSONAL_PART = (
        "personal_part", "个人缴费与基数乘比例不符",
        "the personal part is not its share of the base",
    )  # fmt: skip
    ABOVE_PAID = (
        "above_paid", "划入个人账户的金额大于缴费", "the account would get more than is paid",
    )  # fmt: skip
    REPEATED = "repeated", "本文件中已有此行", "this file has such a row already"
    LATER_FILE = "later_file", "后来的文件已有此行", "a later file has such a row"
    OVERDRAWN = (
        "overdrawn", "个人账户余额不足以冲减", "the account holds less than is to be taken back",
    )  # fmt: skip


FAULTS: Mapping[str, Fault] = {fault.value: fault for fault in Fault}


@dataclass(frozen=True, slots=True)
class ContributionRow:
    """A row that can be read.

    Attributes:
        line: From 1, as editors and spreadsheets count.
        employer: The employer's code.
        month: YYYYMM.
        psn_no: The person's number; 0: by `id_number`.
        id_number: As the registry keeps it; may be empty where `psn_no` is given.
    """

    line: int
    employer: str
    month: int
    psn_no: int
    id_number: str
    insutype: str
    base_fen: int
    employer_fen: int
    personal_fen: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that is not posted.

    Attributes:
        line: From 1.
        column: As the columns are named here; empty: the row as a whole.
    """

    line: int
    column: str
    fault: Fault


Read: TypeAlias = ContributionRow | Rejected


class _BadCellError(Exception):
    def __init__(self, column: str, fault: Fault) -> None:
        super().__init__(column)
        self.column = column
        self.fault = fault


def read_contributions(path: Path, *, encoding: str = UTF_8, sheet: str = "") -> Iterator[Read]:
    """Read a file's rows one by one.

    Raises:
        ImportFileError: The file can't be read, or a column is missing.
    """
    yield from read_rows(read_sheet(path, encoding=encoding, sheet=sheet), str(path))


def read_rows(rows: Iterable[SheetRow], where: str) -> Iterator[Read]:
    """Read rows, the header first."""
    rows = iter(rows)
    header = next(rows, None)
    if header is None:
        raise ImportFileError(f"{where}: the file is empty")
    places: dict[str, int] = {}
    for place, title in enumerate(header.cells):
        name = _NAMES.get(title.strip().lower())
        if name is None:
            continue  # a column that people keep for themselves
        if name in places:
            raise ImportFileError(f"{where}: two columns are named {name}")
        places[name] = place
    missing = sorted(_NEEDED - places.keys())
    if not places.keys() & {"psn_no", "id_number"}:
        missing.append("psn_no or id_number")
    if missing:
        wanted = "; ".join(
            f"{name} ({' 或 '.join(_COLUMNS[one][-1] for one in name.split(' or '))})"
            for name in missing
        )
        raise ImportFileError(f"{where}: the header lacks {wanted}")
    for row in rows:
        yield _read(row, places, len(header.cells))


def _read(row: SheetRow, places: Mapping[str, int], size: int) -> Read:
    if len(row.cells) != size:
        return Rejected(row.line, "", Fault.CELLS)

    def cell(name: str) -> str:
        place = places.get(name)
        return "" if place is None else row.cells[place]

    try:
        psn_no, id_number = _person(cell("psn_no"), cell("id_number"))
        return ContributionRow(
            line=row.line,
            employer=_checked("employer", cell("employer"), _code),
            month=_checked("month", cell("month"), _month),
            psn_no=psn_no,
            id_number=id_number,
            insutype=_checked("insutype", cell("insutype"), _insutype),
            base_fen=_checked("base", cell("base"), _amount),
            employer_fen=_checked("employer_amount", cell("employer_amount"), _amount),
            personal_fen=_checked("personal_amount", cell("personal_amount"), _amount),
        )
    except _BadCellError as error:
        return Rejected(row.line, error.column, error.fault)


def _person(psn_no: str, id_number: str) -> tuple[int, str]:
    if psn_no and _NUMBER.fullmatch(psn_no) is None:
        raise _BadCellError("psn_no", Fault.NUMBER)
    if not psn_no and not id_number:
        raise _BadCellError("psn_no", Fault.EMPTY)
    number = identity_number.normalised(id_number)
    if len(number) > _DOCUMENT_SIZE_MAX:
        raise _BadCellError("id_number", Fault.ID_NUMBER)
    return int(psn_no or 0), number


def _checked(name: str, text: str, read: Callable[[str], T | Fault]) -> T:
    if not text:
        raise _BadCellError(name, Fault.EMPTY)
    value = read(text)
    if isinstance(value, Fault):
        raise _BadCellError(name, value)
    return value


def _code(text: str) -> str | Fault:
    return text if len(text) <= _CODE_SIZE_MAX else Fault.CODE


def _month(text: str) -> int | Fault:
    match = _MONTH.fullmatch(text)
    return Fault.MONTH if match is None else int(match[1] + match[2])


def _insutype(text: str) -> str | Fault:
    return text if _INSUTYPE.fullmatch(text) else Fault.INSUTYPE


def _amount(text: str) -> int | Fault:
    match = _YUAN.fullmatch(text)
    if match is None:
        return Fault.AMOUNT
    amount_fen = int(match[1]) * 100 + int((match[2] or "").ljust(2, "0"))
    return amount_fen if amount_fen <= AMOUNT_MAX_FEN else Fault.AMOUNT
