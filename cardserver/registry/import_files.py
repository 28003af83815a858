"""The CSV files that the registry is filled from: their columns, and how each value is checked.

UTF-8, comma, a header line with exactly these columns. Errors name file, line and column and say
what is expected; they don't repeat the value, which may be someone's name or number. Not here:
how rows reach the database (`import_store.py`, `opening_balances_store.py`).
"""

import csv
import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from msgspec import Struct

from cardserver.registry import identity_number
from cardserver.registry.passwords import is_hash
from cardserver.registry.roles import AT_INSTITUTIONS, Role
from cardserver.registry.values import FOREVER, FilingKind, IDType

# A row's values have the types of their columns, which mypy can't see.
Values = tuple[Any, ...]
Parse = Callable[
    [str], Any
]  # returns what the column holds; raises ValueError saying what it wants

DATE_SIZE = len("YYYYMMDD")
DIGITS_MAX = 16
DOCUMENT_SIZE_MAX = identity_number.SIZE
NUMBER_MAX = 2**53  # as JSON and spreadsheets can still hold exactly
SMALL_NUMBER_MAX = 2**31 - 1  # of institutions, operators, employers, imports
AMOUNT_FEN_MAX = 10**12
RATIO_E4_MAX = 10_000
PASSWORD_HASH_SIZE_MAX = 200
SOCIAL_SECURITY_CARD = "social_security_card"
IDENTITY_START = 5  # historical bytes 6-13 are what the card's key proves (CARDS.md 1.4)
HISTORICAL_SIZE = 13
CERTIFIED_KEY = 4  # of cards that prove a key of their own by certificates
REFERRED = "referred"
NO_ALGORITHM = 0  # cards without a key that the fund's root keys give

# A column of codes holds few different ones, and to look one up costs less than to check it again.
FEW = 256

_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")


class ImportFileError(Exception):
    """A file can't be read at all; nothing of it was loaded."""


class Rejection(Struct, frozen=True, array_like=True):
    """A row that was not taken, and why.

    Attributes:
        line: From 1, the header being 1.
        column: Empty where it is the row as a whole.
    """

    file: str
    line: int
    column: str
    reason: str

    def __str__(self) -> str:
        column = f"{self.column}: " if self.column else ""
        return f"{self.file}.csv, line {self.line}: {column}{self.reason}"


# A column, or nothing for the row as a whole, and what is wrong with it.
Fault = tuple[str, str]


@dataclass(frozen=True, slots=True)
class FileSpec:
    """One file.

    Attributes:
        name: Without `.csv`.
        columns: Every column and how it is read.
        check: What must hold between a row's values; returns what is wrong, or None.
        defaults: Last columns that a file may lack, and what they then hold.
    """

    name: str
    columns: Mapping[str, Parse]
    check: Callable[[Values], Fault | None] = lambda _values: None
    defaults: Mapping[str, str] = field(default_factory=dict)


class NumberedRow(Struct, frozen=True, array_like=True):
    """A row that passed, and where it stood."""

    line: int
    values: Values


def count_rows(path: Path) -> int:
    """Count the lines after the header, for a progress bar."""
    lines = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            lines += block.count(b"\n")
    return max(0, lines - 1)


def read_rows(path: Path, spec: FileSpec) -> Iterator[NumberedRow | Rejection]:
    """Read and check every row.

    Raises:
        ImportFileError: The header is another one, or the text isn't UTF-8.
    """
    names = list(spec.columns)
    parsers = list(spec.columns.values())
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            size = len(header)
            missing = names[size:]
            if header != names[:size] or not spec.defaults.keys() >= set(missing):
                raise ImportFileError(f"{path}: the header must be {','.join(names)}")
            padding = [spec.defaults[name] for name in missing]
            for fields in reader:
                line = reader.line_num
                if len(fields) != size:
                    yield Rejection(
                        spec.name, line, "", f"expected {size} fields, found {len(fields)}"
                    )
                    continue
                yield _checked(spec, names, parsers, line, fields + padding)
    except UnicodeDecodeError as error:
        raise ImportFileError(f"{path}: not UTF-8: {error.reason}") from error
    except csv.Error as error:
        raise ImportFileError(f"{path}: not CSV: {error}") from error
    except OSError as error:
        raise ImportFileError(f"{path}: {error.strerror}") from error


def _checked(
    spec: FileSpec, names: list[str], parsers: list[Parse], line: int, fields: list[str]
) -> NumberedRow | Rejection:
    try:
        values = tuple([parse(field) for parse, field in zip(parsers, fields, strict=True)])
    except ValueError:
        return _rejection(spec, names, parsers, line, fields)
    fault = spec.check(values)
    if fault is not None:
        return Rejection(spec.name, line, *fault)
    return NumberedRow(line, values)


def _rejection(
    spec: FileSpec, names: list[str], parsers: list[Parse], line: int, fields: list[str]
) -> Rejection:
    """Find the first column at fault again; rows at fault are few."""
    for name, parse, text in zip(names, parsers, fields, strict=True):
        try:
            parse(text)
        except ValueError as error:
            return Rejection(spec.name, line, name, str(error))
    raise AssertionError


# --- how values are read ----------------------------------------------------------------------


def _integer(least: int, most: int) -> Parse:
    def parse(text: str) -> int:
        # Not `int` alone: it takes signs, spaces and underscores as well.
        if text.isdecimal() and text.isascii() and len(text) <= DIGITS_MAX:
            number = int(text)
            if least <= number <= most:
                return number
        raise ValueError(f"expected a whole number from {least} to {most}")

    return parse


def _optional(parse: Parse) -> Parse:
    return lambda text: parse(text) if text else None


def _one_of(*numbers: int) -> Parse:
    values = {str(number): number for number in numbers}
    expected = f"expected one of {', '.join(values)}"

    def parse(text: str) -> int:
        try:
            return values[text]
        except KeyError:
            raise ValueError(expected) from None

    return parse


def _text(size_max: int) -> Parse:
    def parse(text: str) -> str:
        if 1 <= len(text) <= size_max and text.isprintable() and text == text.strip():
            return text
        raise ValueError(f"expected 1 to {size_max} printable characters, no space around them")

    return parse


def _text_or_none(size_max: int) -> Parse:
    parse_some = _text(size_max)

    def parse(text: str) -> object:
        return parse_some(text) if text else text

    return parse


def _code(pattern: str, expected: str) -> Parse:
    matches = re.compile(pattern).fullmatch

    @lru_cache(maxsize=FEW)
    def parse(text: str) -> str:
        if matches(text):
            return text
        raise ValueError(f"expected {expected}")

    return parse


def _hex(least: int, most: int) -> Parse:
    size = f"{least}" if least == most else f"{least} to {most}"

    def parse(text: str) -> bytes:
        if 2 * least <= len(text) <= 2 * most and _HEX.fullmatch(text):
            return bytes.fromhex(text)
        raise ValueError(f"expected {size} bytes in hexadecimal")

    return parse


@lru_cache(maxsize=100_000)  # a city knows some tens of thousands of dates
def _date(text: str) -> int:
    if len(text) == DATE_SIZE and text.isdecimal() and text.isascii():
        try:
            dt.date(int(text[:4]), int(text[4:6]), int(text[6:]))
        except ValueError:
            pass
        else:
            return int(text)
    raise ValueError(f"expected a date YYYYMMDD, {FOREVER} for no end")


def _document_number(text: str) -> str:
    """Read a number of whatever document; its form is checked when the document is known."""
    if not (text.isalnum() and text.isascii() and len(text) == identity_number.SIZE):
        text = identity_number.normalised(text)
    elif text[-1] == "x":
        text = text.upper()
    if not 1 <= len(text) <= DOCUMENT_SIZE_MAX:
        raise ValueError("expected the number of an identity document")
    return text


def _password_hash(text: str) -> str:
    if len(text) <= PASSWORD_HASH_SIZE_MAX and is_hash(text):
        return text
    raise ValueError("expected an argon2id hash, or ! for an operator without a password")


_number = _integer(1, NUMBER_MAX)
_small_number = _integer(1, SMALL_NUMBER_MAX)
_number_or_none = _integer(0, NUMBER_MAX)
_small_number_or_none = _integer(0, SMALL_NUMBER_MAX)
_region = _code(r"[0-9]{6}", "six digits")
_insutype = _code(r"[0-9]{3,6}", "three to six digits")


def _id_type(text: str) -> IDType:
    id_type = _ID_TYPES.get(text)
    if id_type is None:
        raise ValueError(f"expected one of {', '.join(_ID_TYPES)}")
    return id_type


_ID_TYPES = {one.value: one for one in IDType}
_ENDS_FIRST = ("", "it ends before it begins")


def _ends_first(begins: int, ends: int) -> Callable[[Values], Fault | None]:
    """Check two columns, given by index, for being in order."""

    def check(values: Values) -> Fault | None:
        return _ENDS_FIRST if values[ends] < values[begins] else None

    return check


def _card_fault(values: Values) -> Fault | None:
    profile, identity, historical = values[1], values[2], values[14]
    if values[12] < values[11]:
        return _ENDS_FIRST
    if profile != SOCIAL_SECURITY_CARD:
        return None
    if historical is None or historical[IDENTITY_START:] != identity:
        return "", "identity is not bytes 6 to 13 of historical"
    if values[8] in {NO_ALGORITHM, CERTIFIED_KEY}:
        return "", "a social security card has an algorithm"
    return None


def _person_fault(values: Values) -> Fault | None:
    fault = identity_number.fault_of(values[1], values[8])
    if fault is not None:
        return "id_number", fault
    if values[5] is not None and values[5] < values[4]:
        return "deceased_date", "it is before the birth date"
    return None


def _operator_fault(values: Values) -> Fault | None:
    role = values[4]
    if (role in AT_INSTITUTIONS) is not bool(values[1]):
        place = "an institution" if role in AT_INSTITUTIONS else "the fund"
        return "role", f"a {role} works at {place}"
    return None


def _identity_fault(values: Values) -> Fault | None:
    fault = identity_number.fault_of(values[2], values[1])
    return None if fault is None else ("number", fault)


def _filing_fault(values: Values) -> Fault | None:
    _, kind, code, institution_no, begins, ends = values
    if ends < begins:
        return _ENDS_FIRST
    fault = filing_fault(kind, code, institution_no)
    return None if fault is None else ("", fault)


def filing_fault(kind: int, code: str, institution_no: int) -> str | None:
    """Say what a filing of this kind lacks or has too much, or None."""
    match FilingKind(kind):
        case FilingKind.DISEASE | FilingKind.SPECIAL_DRUG if not code:
            return "a disease or a drug is named by its code"
        case FilingKind.DESIGNATED if code or not institution_no:
            return "a designated institution is named by institution_no alone, without code"
        case FilingKind.REFERRAL if code != REFERRED or not institution_no:
            return f"a referral has the code {REFERRED}, and the institution that it leads to"
    return None


EMPLOYERS = FileSpec(
    "employers", {"employer_no": _small_number, "code": _text(30), "name": _text(100)}
)
INSTITUTIONS = FileSpec(
    "institutions",
    {
        "institution_no": _small_number,
        "code": _code(r"[A-Z][0-9]{11}", "a capital letter and 11 digits"),
        "name": _text(100),
        "kind": _one_of(1, 2, 3),
        "level": _one_of(0, 1, 2, 3),
        "state": _one_of(1, 2),
        "contract_begins": _date,
        "contract_ends": _date,
    },
    _ends_first(6, 7),
)
OPERATORS = FileSpec(
    "operators",
    {
        "operator_no": _small_number,
        "institution_no": _small_number_or_none,
        "code": _code(r"[A-Za-z0-9._-]{1,20}", "1 to 20 letters, digits, '.', '_' or '-'"),
        "name": _text(50),
        "role": _code("|".join(Role), ", ".join(Role)),
        "password_hash": _password_hash,
        "state": _one_of(1, 2),
        "department": _text_or_none(40),
    },
    _operator_fault,
    defaults={"department": ""},
)
PERSONS = FileSpec(
    "persons",
    {
        "person_no": _number,
        "id_number": _document_number,
        "name": _text(50),
        "sex": _one_of(1, 2, 9),
        "birth_date": _date,
        "deceased_date": _optional(_date),
        "family_no": _number_or_none,
        "employer_no": _small_number_or_none,
        "id_type": _id_type,
    },
    _person_fault,
    {"id_type": IDType.CITIZEN},
)
IDENTITIES = FileSpec(
    "identities",
    {"person_no": _number, "id_type": _id_type, "number": _document_number, "ends": _date},
    _identity_fault,
    {"ends": str(FOREVER)},
)
FAMILIES = FileSpec("families", {"family_no": _number, "payer_person_no": _number})
INSURANCES = FileSpec(
    "insurances",
    {
        "person_no": _number,
        "insutype": _insutype,
        "begins": _date,
        "ends": _date,
        "state": _one_of(1, 2, 4),
        "person_type": _code(r"[0-9]{2,6}", "two to six digits"),
        "region": _region,
    },
    _ends_first(2, 3),
)
CARDS = FileSpec(
    "cards",
    {
        "card_no": _number,
        "profile": _code(r"[a-z][a-z0-9_]{0,31}", "a profile's name"),
        "identity": _hex(1, 16),
        "region": _code(r"[0-9]{6}|", "six digits, or nothing"),
        "card_number": _text(32),
        "card_id": _hex(1, 16),
        "person_no": _number,
        "version": _code(r"[0-9]\.[0-9]{2}|G[0-9]\.[0-9]", "a version such as 3.00 or G2.1"),
        "algorithm": _one_of(NO_ALGORITHM, 1, 2, 3, CERTIFIED_KEY),
        "card_class": _code(r"[0-9A-Z]", "one digit or capital letter"),
        "issuer": lru_cache(maxsize=FEW)(_hex(12, 12)),
        "begins": _date,
        "ends": _date,
        "state": _one_of(1, 2, 3, 4),
        "historical": _optional(_hex(HISTORICAL_SIZE, HISTORICAL_SIZE)),
    },
    _card_fault,
)
FILINGS = FileSpec(
    "filings",
    {
        "person_no": _number,
        "kind": _one_of(*FilingKind),
        "code": _code(r"[!-+\--~]{0,40}", "at most 40 ASCII characters without a comma"),
        "institution_no": _small_number_or_none,
        "begins": _date,
        "ends": _date,
    },
    _filing_fault,
)
CONTRACTS = FileSpec(
    "contracts",
    {
        "institution_no": _small_number,
        "begins": _date,
        "ends": _date,
        "level": _one_of(0, 1, 2, 3),
        "care": _code(r"([0-9]{2,6}( [0-9]{2,6})*)?", "med_types such as 11 21, or nothing"),
    },
    _ends_first(1, 2),
)
_amount = _integer(0, AMOUNT_FEN_MAX)
ACCUMULATORS = FileSpec(
    "accumulators",
    {
        "person_no": _number,
        "year": _integer(2000, 2999),
        "insutype": _insutype,
        "scheme": _code(r"[a-z][a-z0-9_-]{0,15}", "a scheme's name: 1 to 16 small letters"),
        "deductible_fen": _amount,
        "in_scope_fen": _amount,
        "pool_fen": _amount,
        "large_amount_fen": _amount,
        "admissions": _integer(0, 1_000),
    },
)
BALANCES = FileSpec("balances", {"person_no": _number, "balance_fen": _integer(1, AMOUNT_FEN_MAX)})
