"""Taiwan's health insurance card (全民健康保險憑證): basic data, and what its numbers say.

What is free to read is one data object; the rest is opened by three cards together, whose
protocol is not public. So the card proves nothing: what is read is a claim. The layout is what
open readers of this card send and take apart; no public standard gives it.

Not here: whether such a claim may be acted on (`cardserver/cards/unverified.py`).
"""

from dataclasses import dataclass, field

from protocol.card.apdu import CommandAPDU, Instruction
from protocol.card.dates import date_number
from protocol.card.errors import CardDataError
from protocol.card.script import Batch, Script, Step
from protocol.card.status_word import StatusWord

PROFILE = "taiwan_nhi"
APPLICATION = bytes.fromhex("D1580000010000000000000000001100")

ATRS = (
    bytes.fromhex("3BEE00008131FE4580318066409093060F17830F9000F3"),
    bytes.fromhex("3BFA1800008131FE4550564A434F503453494493"),
    bytes.fromhex("3BFA1800008131FE45534C4A35324778787979FC"),
    bytes.fromhex("3BFD1800008131FE45534C4A35324778787979797A52AA"),
)
"""Four generations; two of them name the chip's platform only, which other cards may share."""

BASIC_DATA_SIZE = 57
CARD_NUMBER_SIZE = 12
NAME_SIZE = 20
ID_NUMBER_SIZE = 10
DATE_SIZE = 7
_ROC_YEAR_0 = 1911  # the first year of the Republic is 1912

# Each letter is a place of first registration, and two digits.
_LETTER_NUMBERS = {
    letter: number
    for number, letter in enumerate("ABCDEFGHJKLMNPQRSTUVXYWZIO", start=10)
}  # fmt: skip
_RESIDENT_LETTERS = "ABCD"  # second letter of numbers given to residents until 2020


@dataclass(frozen=True, slots=True)
class BasicData:
    """What the card says of itself and its holder.

    Attributes:
        card_number: Twelve characters, printed on the card.
        name: Where a character is of a private area, U+FFFD stands for it.
        id_number: Identity or residence number, its check digit right.
        birth_date: YYYYMMDD of the Gregorian calendar.
        sex: 1 male, 2 female.
        issue_date: YYYYMMDD of the Gregorian calendar.
    """

    card_number: str = field(repr=False)
    name: str = field(repr=False)
    id_number: str = field(repr=False)
    birth_date: int = field(repr=False)
    sex: int
    issue_date: int


def select_application() -> bytes:
    """SELECT the insurance application; P2 00, no answer data."""
    return CommandAPDU(0x00, Instruction.SELECT, 0x04, 0x00, APPLICATION).encode()


def get_basic_data() -> bytes:
    """GET DATA of the object that needs no other card."""
    return CommandAPDU(0x00, Instruction.GET_DATA, 0x11, 0x00, bytes(2)).encode()


_OK = (int(StatusWord.OK),)
OPENING: Batch = (Step(select_application(), _OK), Step(get_basic_data(), _OK))
"""What is sent as soon as the card is in."""


def open_card() -> Script[BasicData]:
    """Select the application and read the basic data.

    Raises:
        CardDataError: The data does not have its layout, or a check digit is wrong.
    """
    _selected, answer = yield OPENING
    return decode_basic_data(answer[:-2])


def decode_basic_data(data: bytes) -> BasicData:
    """Take the basic data apart; bytes after the 57 known ones are left alone.

    Raises:
        CardDataError: The data does not have its layout, or a check digit is wrong.
    """
    if len(data) < BASIC_DATA_SIZE:
        raise CardDataError(f"basic data has at least {BASIC_DATA_SIZE} bytes, not {len(data)}")
    parts = []
    start = 0
    for size in (CARD_NUMBER_SIZE, NAME_SIZE, ID_NUMBER_SIZE, DATE_SIZE, 1, DATE_SIZE):
        parts.append(data[start : start + size])
        start += size
    card_number, name, id_number, birth_date, sex, issue_date = parts
    number = _ascii(card_number)
    if not number.isalnum():
        raise CardDataError("the card's number has characters that are none of a number")
    identity = _ascii(id_number)
    check_id_number(identity)
    return BasicData(
        card_number=number,
        name=name.rstrip(b"\0 ").decode("cp950", errors="replace"),
        id_number=identity,
        birth_date=decode_roc_date(birth_date),
        sex=_sex(sex),
        issue_date=decode_roc_date(issue_date),
    )


def decode_roc_date(text: bytes) -> int:
    """Read a date of the Republic's calendar, EEEMMDD, as YYYYMMDD of the Gregorian one.

    Raises:
        CardDataError: It is no date.
    """
    digits = _ascii(text)
    if len(digits) != DATE_SIZE or not digits.isdecimal() or digits < "001":
        raise CardDataError("a date of the Republic's calendar has seven digits, its year from 1")
    return date_number(int(digits[:3]) + _ROC_YEAR_0, int(digits[3:5]), int(digits[5:]))


def check_id_number(number: str) -> None:
    """Check an identity number (A1 and eight digits), or a residence number (A8, or AA to AD).

    Raises:
        CardDataError: It is none, or its check digit is wrong.
    """
    if len(number) != ID_NUMBER_SIZE or number[0] not in _LETTER_NUMBERS:
        raise CardDataError("an identity number is a capital letter and nine digits")
    second, rest = number[1], number[2:]
    if second in _RESIDENT_LETTERS:
        second = str(_LETTER_NUMBERS[second] % 10)
    if not (second + rest).isascii() or not (second + rest).isdecimal():
        raise CardDataError("an identity number is a capital letter and nine digits")
    tens, ones = divmod(_LETTER_NUMBERS[number[0]], 10)
    digits = [tens, ones, *(int(digit) for digit in second + rest)]
    weights = (1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1)
    if sum(digit * weight for digit, weight in zip(digits, weights, strict=True)) % 10:
        raise CardDataError("the identity number's check digit is wrong")


def _sex(value: bytes) -> int:
    match value:
        case b"M":
            return 1
        case b"F":
            return 2
        case _:
            raise CardDataError("the sex is neither M nor F")


def _ascii(value: bytes) -> str:
    try:
        return value.decode("ascii")
    except UnicodeDecodeError:
        raise CardDataError("a text has bytes that are not ASCII") from None
