"""Thailand's identity card with the health insurance applet (NHSO): who holds it, which rights.

Two applications: the Interior Ministry's holds the person, the Health Security Office's what is
insured and where. All of it is free to read, and no public reader has the card prove anything:
what is read is a claim. Offsets and sizes are those that open readers of this card use.

Not here: whether such a claim may be acted on (`cardserver/cards/unverified.py`); photograph,
fingerprints and the chip's own number, which nobody at a counter needs.
"""

from dataclasses import dataclass, field

from msgspec import Struct

from protocol.card.apdu import CommandAPDU, Instruction
from protocol.card.dates import FOREVER, date_number
from protocol.card.errors import CardDataError
from protocol.card.script import Batch, Script, Step
from protocol.card.status_word import StatusWord

PROFILE = "thai_nhso"
PERSON_APPLICATION = bytes.fromhex("A000000054480001")
INSURANCE_APPLICATION = bytes.fromhex("A000000054480083")

# T=0 without TCK. Historical bytes "TH NID " and one or two digits, the generation. Speed (TA1)
# and guard time (TC1) differ between makers and name nothing.
ATR_PATTERNS = tuple(
    (bytes.fromhex(pattern), bytes.fromhex(mask))
    for pattern, mask in (
        ("3B6800005448204E49442030", "FFFFFFFFFFFFFFFFFFFFFFF0"),
        ("3B780000005448204E49442030", "FFFF00FF00FFFFFFFFFFFFFFF0"),
        ("3B790000005448204E4944203030", "FFFF00FF00FFFFFFFFFFFFFFF0F0"),
    )
)  # fmt: skip

CID_SIZE = 13
_DATE_SIZE = 8
_BUDDHIST_YEARS = 543
_LIFELONG = "99999999"


class Place(Struct, frozen=True):
    """Where a data item lies in its application's memory."""

    offset: int
    size: int


VERSION = Place(0x0000, 0x04)
CID = Place(0x0004, 0x0D)
NAME_THAI = Place(0x0011, 0x64)
NAME_ENGLISH = Place(0x0075, 0x64)
BIRTH_DATE = Place(0x00D9, 0x08)
SEX = Place(0x00E1, 0x01)
ISSUER = Place(0x00F6, 0x64)
ISSUE_DATE = Place(0x0167, 0x08)
EXPIRY_DATE = Place(0x016F, 0x08)
ADDRESS = Place(0x1579, 0x64)

MAIN_RIGHT = Place(0x0004, 0x3C)
SUB_RIGHT = Place(0x0040, 0x64)
MAIN_HOSPITAL = Place(0x00A4, 0x50)
SUB_HOSPITAL = Place(0x00F4, 0x50)
PAID_TYPE = Place(0x0144, 0x01)
RIGHT_BEGINS = Place(0x0145, 0x08)
RIGHT_ENDS = Place(0x014D, 0x08)
UPDATE_DATE = Place(0x0155, 0x08)
CHANGES = Place(0x015D, 0x01)


@dataclass(frozen=True, slots=True)
class Name:
    """A name in its four parts; absent ones are empty."""

    title: str = field(repr=False)
    first: str = field(repr=False)
    middle: str = field(repr=False)
    last: str = field(repr=False)

    def __str__(self) -> str:
        parts = (self.title + self.first, self.middle, self.last)
        return " ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Person:
    """The holder.

    Attributes:
        version: Of the application's data.
        cid: Thirteen digits, the check digit right.
        birth_date: YYYYMMDD of the Gregorian calendar; month and day are 00 where not known.
        sex: 1 male, 2 female.
        issue_date: YYYYMMDD of the Gregorian calendar.
        expiry_date: The same; 99991231 on a card for life.
    """

    version: str
    cid: str = field(repr=False)
    name: Name
    birth_date: int = field(repr=False)
    sex: int
    issue_date: int
    expiry_date: int


@dataclass(frozen=True, slots=True)
class Insurance:
    """What the insurance applet said when it was last written: a copy, never the state of now.

    Attributes:
        main_right: The scheme, as a text.
        paid_type: One character, as written; empty where there is none.
        begins: YYYYMMDD of the Gregorian calendar; None where not written.
        changes: How often the main hospital was changed; -1 where not written.
    """

    main_right: str
    sub_right: str
    main_hospital: str
    sub_hospital: str
    paid_type: str
    begins: int | None
    ends: int | None
    update_date: int | None
    changes: int


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """What the opening batch brought; a card without the insurance applet has none."""

    person: Person
    insurance: Insurance | None


@dataclass(frozen=True, slots=True)
class Document:
    """What else is printed on the card.

    Attributes:
        address: Its parts, from the house's number to the province.
    """

    name_english: Name
    issuer: str
    address: tuple[str, ...] = field(repr=False)


def select(application: bytes) -> bytes:
    """SELECT an application; T=0 brings its answer by GET RESPONSE."""
    return CommandAPDU(0x00, Instruction.SELECT, 0x04, 0x00, application).encode()


def read(place: Place) -> bytes:
    """READ BINARY of class 80: the size stands in the data, two bytes."""
    return CommandAPDU(
        0x80,
        Instruction.READ_BINARY,
        place.offset >> 8,
        place.offset & 0xFF,
        place.size.to_bytes(2, "big"),
    ).encode()


_OK = (int(StatusWord.OK),)
# A card without the insurance applet is an identity card all the same. What is read after a
# failed SELECT is the first application's memory and is not looked at.
_ABSENT = (
    *_OK,
    int(StatusWord.WRONG_LENGTH),
    int(StatusWord.SECURITY_STATUS_NOT_SATISFIED),
    int(StatusWord.CONDITIONS_NOT_SATISFIED),
    int(StatusWord.FUNCTION_NOT_SUPPORTED),
    int(StatusWord.FILE_NOT_FOUND),
    int(StatusWord.OFFSET_OUTSIDE_FILE),
)
_PERSON_PLACES = (VERSION, CID, NAME_THAI, BIRTH_DATE, SEX, ISSUE_DATE, EXPIRY_DATE)
_INSURANCE_PLACES = (
    MAIN_RIGHT, SUB_RIGHT, MAIN_HOSPITAL, SUB_HOSPITAL, PAID_TYPE, RIGHT_BEGINS, RIGHT_ENDS,
    UPDATE_DATE, CHANGES,
)  # fmt: skip
_DOCUMENT_PLACES = (NAME_ENGLISH, ISSUER, ADDRESS)
_INSURANCE_INDEX = 1 + len(_PERSON_PLACES)

OPENING: Batch = (
    Step(select(PERSON_APPLICATION), _OK),
    *(Step(read(place), _OK) for place in _PERSON_PLACES),
    Step(select(INSURANCE_APPLICATION), _ABSENT),
    *(Step(read(place), _ABSENT) for place in _INSURANCE_PLACES),
)
"""What is sent as soon as the card is in: both applications, in one batch."""


def open_card() -> Script[OpenedFile]:
    """Read the holder and, where the applet is there, the insurance.

    Raises:
        CardDataError: An answer does not have its layout, or the check digit is wrong.
    """
    answers = yield OPENING
    person = _person(answers[1:_INSURANCE_INDEX])
    insurance = answers[_INSURANCE_INDEX:]
    return OpenedFile(person, _insurance(insurance[1:]) if _all_ok(insurance) else None)


def read_document() -> Script[Document]:
    """Read what else is printed on the card: English name, issuing office, address.

    Raises:
        CardDataError: An answer does not have its layout.
    """
    answers = yield (
        Step(select(PERSON_APPLICATION), _OK),
        *(Step(read(place), _OK) for place in _DOCUMENT_PLACES),
    )
    name, issuer, address = _values(_DOCUMENT_PLACES, answers[1:])
    return Document(
        name_english=decode_name(name),
        issuer=_text(issuer),
        address=tuple(part for part in _text(address).split("#") if part),
    )


def check_cid(cid: str) -> None:
    """Check a citizen's number.

    Raises:
        CardDataError: It is not thirteen digits, or its check digit is wrong.
    """
    if len(cid) != CID_SIZE or not cid.isascii() or not cid.isdecimal():
        raise CardDataError("a citizen's number has thirteen digits")
    weighted = sum(int(digit) * (CID_SIZE - index) for index, digit in enumerate(cid[:-1]))
    if (11 - weighted % 11) % 10 != int(cid[-1]):
        raise CardDataError("the citizen's number has a wrong check digit")


def decode_name(value: bytes) -> Name:
    """Read a name: title, first, middle and last, each ended by `#`."""
    parts = [part.strip() for part in _text(value).split("#")]
    title, first, middle, *last = parts + [""] * (4 - len(parts))
    return Name(title, first, middle, " ".join(part for part in last if part))


def decode_buddhist_date(value: bytes, *, may_lack_day: bool = False) -> int:
    """Read a date of the Buddhist era, YYYYMMDD, as YYYYMMDD of the Gregorian calendar.

    Args:
        value: Eight ASCII digits; eight nines stand for no end.
        may_lack_day: Whether month and day may be 00, as they are for people who know no more
            than the year of their birth.

    Raises:
        CardDataError: It is no date.
    """
    digits = _ascii(value)
    if len(digits) != _DATE_SIZE or not digits.isdecimal():
        raise CardDataError("a date of the Buddhist era has eight digits")
    if digits == _LIFELONG:
        return FOREVER
    year, month, day = int(digits[:4]) - _BUDDHIST_YEARS, int(digits[4:6]), int(digits[6:])
    if may_lack_day and not day:
        return date_number(year, month or 1, 1) - (1 if month else 101)
    return date_number(year, month, day)


def _person(answers: tuple[bytes, ...]) -> Person:
    version, cid, name, birth_date, sex, issued, expires = _values(_PERSON_PLACES, answers)
    number = _ascii(cid)
    check_cid(number)
    if sex not in {b"1", b"2"}:
        raise CardDataError("the sex is neither 1 nor 2")
    return Person(
        version=_ascii(version).rstrip("\0 "),
        cid=number,
        name=decode_name(name),
        birth_date=decode_buddhist_date(birth_date, may_lack_day=True),
        sex=int(sex),
        issue_date=decode_buddhist_date(issued),
        expiry_date=decode_buddhist_date(expires),
    )


def _insurance(answers: tuple[bytes, ...]) -> Insurance:
    values = _values(_INSURANCE_PLACES, answers)
    main_right, sub_right, main_hospital, sub_hospital, paid_type = values[:5]
    begins, ends, updated, changes = values[5:]
    return Insurance(
        main_right=_text(main_right),
        sub_right=_text(sub_right),
        main_hospital=_text(main_hospital),
        sub_hospital=_text(sub_hospital),
        paid_type=_text(paid_type),
        begins=_optional_date(begins),
        ends=_optional_date(ends),
        update_date=_optional_date(updated),
        changes=int(changes) if changes.isdigit() else -1,
    )


def _values(places: tuple[Place, ...], answers: tuple[bytes, ...]) -> list[bytes]:
    values = [answer[:-2] for answer in answers]
    for place, value in zip(places, values, strict=True):
        if len(value) != place.size:
            raise CardDataError(
                f"{place.size} bytes were read at {place.offset:04X}, not {len(value)}"
            )
    return values


def _optional_date(value: bytes) -> int | None:
    if not value.strip(b"\0\xff 0"):
        return None
    return decode_buddhist_date(value)


def _text(value: bytes) -> str:
    """Read TIS-620, padded with spaces; what decides nothing may hold an unknown byte."""
    return value.rstrip(b"\0\xff ").decode("tis-620", errors="replace").strip()


def _ascii(value: bytes) -> str:
    try:
        return value.decode("ascii")
    except UnicodeDecodeError:
        raise CardDataError("a number has bytes that are not ASCII") from None


def _all_ok(answers: tuple[bytes, ...]) -> bool:
    return all(answer[-2:] == b"\x90\x00" for answer in answers)
