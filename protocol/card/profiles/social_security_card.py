"""The Chinese social security card (社会保障卡), versions 1.0, 2.0 and 3.0.

Commands and files as in 社会保障（个人）卡规范 parts 2, 5 and 6 and 社会保障卡文件结构和数据项 V2.0
(LD/T 32-2015). Not here: keys and ciphers (`social_security_keys.py`), whether the card is to be
trusted (`cardserver/cards/opening.py`).
"""

from dataclasses import dataclass, field
from enum import IntEnum, unique
from functools import lru_cache

from protocol.card.apdu import CommandAPDU, Instruction
from protocol.card.atr import decode_atr
from protocol.card.errors import CardDataError
from protocol.card.profiles.social_security_keys import Algorithm
from protocol.card.script import Batch, Condition, Script, Span, Step
from protocol.card.status_word import VERIFY_TRIES, StatusWord, tries_left
from protocol.card.tlv import find, parse_ber

PROFILE = "social_security_card"
CHALLENGE_SIZE = 16

# Part 2: T=0 without interface bytes, thirteen historical bytes.
ATR_PATTERN = bytes.fromhex("3B6D0000") + bytes(13)
ATR_MASK = bytes.fromhex("FFFFFFFF") + bytes(13)
# Contactless, the same thirteen: as the ATR that PC/SC makes of an ATS (PC/SC 2.01.14 part 3,
# 3.1.3.2.3.1), its check byte last; and as the ATS itself (ISO/IEC 14443-4:2018, 5.2), its length
# first, for readers that hand that on.
ATS_HEADER = bytes.fromhex("3B8D8001")
_ATS = bytes.fromhex("7880A002")
CONTACTLESS_PATTERNS = (
    (ATS_HEADER + bytes(14), b"\xff" * 4 + bytes(14)),
    (b"\0" + _ATS + bytes(13), b"\0" + b"\xff" * 4 + bytes(13)),
)

SSSE_NAME = b"sx1.sh." + "社会保障".encode("gbk")
KEY_EXTERNAL = 0x0A  # RKSSSE: the right to read EF06 (Sichuan reader specification 2.0)

VERSION_1 = "1.00"
VERSION_2 = "2.00"
VERSION_3 = "3.00"

_OK = (int(StatusWord.OK),)
_SFI_PUBLIC = 0x05
_SFI_HOLDER = 0x06
_NAME_SIZE = 30
_NAME_EXTENSION_SIZE = 20
_HISTORICAL_SIZE = 13
_IDENTITY_START = 5  # historical bytes 6 to 13: maker, region, serial
_AUTHENTICATION_SIZE = 8


@unique
class Item(IntEnum):
    """Data items, whose numbers are their tags (part 6)."""

    CARD_ID = 0x01
    CARD_CLASS = 0x02
    VERSION = 0x03
    INITIALISING_ORGANISATION = 0x04
    ISSUE_DATE = 0x05
    VALID_TO = 0x06
    CARD_NUMBER = 0x07
    SOCIAL_SECURITY_NUMBER = 0x08
    NAME = 0x09
    SEX = 0x0A
    NATION = 0x0B
    BIRTHPLACE = 0x0C
    BIRTH_DATE = 0x0D
    NAME_EXTENSION = 0x4E


@unique
class PINState(IntEnum):
    """What VERIFY without data said (part 5)."""

    NOT_REQUIRED = 0
    REQUIRED = 1
    BLOCKED = 2
    UNKNOWN = 3


ITEM_SIZES = {
    Item.CARD_ID: 16,
    Item.CARD_CLASS: 1,
    Item.VERSION: 4,
    Item.INITIALISING_ORGANISATION: 12,
    Item.ISSUE_DATE: 4,
    Item.VALID_TO: 4,
    Item.CARD_NUMBER: 9,
    Item.SOCIAL_SECURITY_NUMBER: 18,
    Item.NAME: _NAME_SIZE,
    Item.SEX: 1,
    Item.NATION: 1,
    Item.BIRTHPLACE: 3,
    Item.BIRTH_DATE: 4,
    Item.NAME_EXTENSION: _NAME_EXTENSION_SIZE,
}


@dataclass(frozen=True, slots=True)
class Holder:
    """The holder as EF06 names them.

    Attributes:
        number: Social-security number.
        name_bytes: The name in GB18030 without padding; may be cut within a character as long
            as `name_continues`.
    """

    number: str = field(repr=False)
    name_bytes: bytes = field(repr=False)

    @property
    def name_continues(self) -> bool:
        """Whether the name fills its field, so that an extension (4E) may follow."""
        return len(self.name_bytes) == _NAME_SIZE

    @property
    def name(self) -> str:
        """The name.

        Raises:
            CardDataError: It is not GB18030.
        """
        try:
            return self.name_bytes.decode("gb18030")
        except UnicodeDecodeError:
            raise CardDataError("the holder's name is not GB18030") from None


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """What the opening batch brought: claims of the card, and its answer to the challenge.

    Attributes:
        algorithm: As the directory declares it.
        card_id: 16 bytes: region 3, D156000005, serial 4, authentication code 4.
        region: GB/T 2260 code, the first three bytes of the card id.
        card_class: 1 child, 2 student, 3 adult, 4 elderly.
        issuer: Initialising organisation, 12 bytes.
        begins: Issue date, YYYYMMDD.
        ends: Valid to, YYYYMMDD.
        pin_tries: -1 where the card did not say.
        authentication: The answer to INTERNAL AUTHENTICATE.
        external_challenges: Original and factor for external authentication; None where the
            holder's file is free to read.
        holder: The holder, where the file is free and was read along.
    """

    algorithm: Algorithm
    card_id: bytes = field(repr=False)
    region: str
    card_class: str
    version: str
    issuer: bytes
    begins: int
    ends: int
    card_number: str = field(repr=False)
    pin_state: PINState
    pin_tries: int
    authentication: bytes
    external_challenges: tuple[bytes, bytes] | None
    holder: Holder | None


def historical_bytes(atr: bytes) -> bytes:
    """Take the thirteen historical bytes from an ATR or a contactless card's ATS (part 2).

    Raises:
        CardDataError: The ATR is malformed or has another number of them.
    """
    historical = atr[5:] if atr[1:5] == _ATS else decode_atr(atr).historical
    if len(historical) != _HISTORICAL_SIZE:
        raise CardDataError(
            f"a social security card has 13 historical bytes, not {len(historical)}"
        )
    return historical


def identity(atr: bytes) -> bytes:
    """Take what the card's key is diversified by from its ATR: historical bytes 6 to 13."""
    return historical_bytes(atr)[_IDENTITY_START:]


def select_ssse(le: int | None = None) -> bytes:
    """SELECT the social security directory by name; T=0 brings its FCI by GET RESPONSE."""
    return CommandAPDU(0x00, Instruction.SELECT, 0x04, 0x00, SSSE_NAME, le).encode()


def read_record_by_number(sfi: int, item: Item) -> bytes:
    """READ RECORD, P1 the number of a record; Le is exact, which saves a `6Cxx`."""
    size = 2 + ITEM_SIZES[item]
    return CommandAPDU(0x00, Instruction.READ_RECORD, item, sfi << 3 | 4, le=size).encode()


def read_record_by_identifier(sfi: int, item: Item) -> bytes:
    """READ RECORD, P1 the identifier of a record: the tag that it begins with."""
    size = 2 + ITEM_SIZES[item]
    return CommandAPDU(0x00, Instruction.READ_RECORD, item, sfi << 3, le=size).encode()


def get_challenge(size: int = 8) -> bytes:
    """GET CHALLENGE; the last one is the factor of the session key."""
    return CommandAPDU(0x00, Instruction.GET_CHALLENGE, 0x00, 0x00, le=size).encode()


def internal_authenticate(*, factor: bytes, original: bytes, le: int | None = None) -> bytes:
    """INTERNAL AUTHENTICATE with the key IRK (part 5): factor, then original."""
    return CommandAPDU(
        0x00, Instruction.INTERNAL_AUTHENTICATE, 0x00, 0x00, factor + original, le
    ).encode()


def external_authenticate(*, authentication: bytes, original: bytes) -> bytes:
    """EXTERNAL AUTHENTICATE with the key RKSSSE (part 5): authentication data, then original."""
    return CommandAPDU(
        0x00, Instruction.EXTERNAL_AUTHENTICATE, 0x00, KEY_EXTERNAL, authentication + original
    ).encode()


def probe_pin() -> bytes:
    """VERIFY without data: asks whether a PIN is needed and takes no try."""
    return CommandAPDU(0x00, Instruction.VERIFY, 0x00, 0x00).encode() + b"\0"


_PUBLIC_ITEMS = (
    Item.CARD_ID,
    Item.CARD_CLASS,
    Item.VERSION,
    Item.INITIALISING_ORGANISATION,
    Item.ISSUE_DATE,
    Item.VALID_TO,
    Item.CARD_NUMBER,
)
_SELECT_INDEX = 0
_PUBLIC_INDEX = 1
_VERSION_INDEX = _PUBLIC_INDEX + _PUBLIC_ITEMS.index(Item.VERSION)
_PIN_INDEX = _PUBLIC_INDEX + len(_PUBLIC_ITEMS)
_AUTHENTICATE_INDEX = _PIN_INDEX + 1
_FREE_HOLDER_INDEX = _AUTHENTICATE_INDEX + 1
_CHALLENGES_INDEX = _FREE_HOLDER_INDEX + 4

# Cards that know no probe say so in one of these words: the state is unknown, the card goes on.
_PROBE_ANSWERS = (
    int(StatusWord.OK),
    *range(VERIFY_TRIES, VERIFY_TRIES + 16),
    int(StatusWord.AUTHENTICATION_BLOCKED),
    int(StatusWord.WRONG_LENGTH),
    int(StatusWord.INCORRECT_P1_P2),
    int(StatusWord.REFERENCE_DATA_NOT_FOUND),
    int(StatusWord.INSTRUCTION_NOT_SUPPORTED),
)

# Who holds the card is not what it proves: a file that is absent or locked after all is no fault.
_HOLDER_ANSWERS = (
    *_OK,
    int(StatusWord.SECURITY_STATUS_NOT_SATISFIED),
    int(StatusWord.FILE_NOT_FOUND),
    int(StatusWord.RECORD_NOT_FOUND),
)


def _where_version_is(version: str) -> Condition:
    record = bytes((Item.VERSION, ITEM_SIZES[Item.VERSION])) + version.encode("ascii")
    return Condition(_VERSION_INDEX, 0, record)


def _free_holder_steps(version: str) -> Batch:
    return tuple(
        Step(
            read_record_by_identifier(_SFI_HOLDER, item),
            _HOLDER_ANSWERS,
            condition=_where_version_is(version),
        )
        for item in (Item.SOCIAL_SECURITY_NUMBER, Item.NAME)
    )


def _opening(*, le: int | None) -> Batch:
    return (
        Step(select_ssse(le), _OK),
        *(Step(read_record_by_number(_SFI_PUBLIC, item), _OK) for item in _PUBLIC_ITEMS),
        Step(probe_pin(), _PROBE_ANSWERS),
        # The centre's challenge: original [0:8], factor [8:16]; the command has the factor first.
        Step(
            internal_authenticate(factor=bytes(8), original=bytes(8), le=le),
            _OK,
            spans=(Span(5, 8, 8), Span(13, 0, 8)),
        ),
        *_free_holder_steps(VERSION_1),
        *_free_holder_steps(VERSION_2),
        # A 3.0 card opens EF06 by external authentication only. Its challenges come last: the last
        # one is the session factor, and any later GET CHALLENGE would replace it.
        Step(get_challenge(), _OK, condition=_where_version_is(VERSION_3)),
        Step(get_challenge(), _OK, condition=_where_version_is(VERSION_3)),
    )


OPENING = _opening(le=None)
"""What is sent as soon as the card is in: select, EF05, PIN probe, internal authentication.

As T=0 wants it: a command with data asks for no answer, GET RESPONSE brings it.
"""

OPENING_CONTACTLESS = _opening(le=256)
"""The same for a card that answers at once (T=1, contactless), which is asked for its answer."""


def open_card(opening: Batch = OPENING) -> Script[OpenedFile]:
    """Select the application, read EF05, probe the PIN and have the card answer the challenge.

    Args:
        opening: `OPENING` or `OPENING_CONTACTLESS`.

    Raises:
        CardDataError: An answer does not have the layout of part 6.
    """
    answers = yield opening
    items = [
        _record(answers[_PUBLIC_INDEX + index], item) for index, item in enumerate(_PUBLIC_ITEMS)
    ]
    card_id, card_class, version, issuer, begins, ends, card_number = items
    region = _digits(card_id[:3])
    pin_state, pin_tries = _pin_state(answers[_PIN_INDEX])
    return OpenedFile(
        algorithm=_declared_algorithm(answers[_SELECT_INDEX][:-2], region),
        card_id=card_id,
        region=region,
        card_class=_ascii(card_class),
        version=_ascii(version),
        issuer=issuer,
        begins=int(_digits(begins)),
        ends=int(_digits(ends)),
        card_number=_ascii(card_number),
        pin_state=pin_state,
        pin_tries=pin_tries,
        authentication=_exactly(answers[_AUTHENTICATE_INDEX][:-2], _AUTHENTICATION_SIZE),
        external_challenges=_challenges(answers[_CHALLENGES_INDEX:]),
        holder=_free_holder(answers[_FREE_HOLDER_INDEX:_CHALLENGES_INDEX]),
    )


def read_locked_holder(*, authentication: bytes, original: bytes) -> Script[Holder]:
    """Authenticate the centre to a 3.0 card and read who holds it, in one batch.

    Args:
        authentication: Computed with RKSSSE over `original` under the card's second challenge.
        original: The card's first challenge.

    Raises:
        CardDataError: An answer does not have the layout of part 6.
    """
    answers = yield (
        Step(external_authenticate(authentication=authentication, original=original), _OK),
        Step(read_record_by_identifier(_SFI_HOLDER, Item.SOCIAL_SECURITY_NUMBER), _OK),
        Step(read_record_by_identifier(_SFI_HOLDER, Item.NAME), _OK),
        _READ_EXTENSION,
    )
    holder = _holder(answers[1], answers[2])
    return _extended(holder, answers[3]) if holder.name_continues else holder


def read_name_extension(holder: Holder) -> Script[Holder]:
    """Read the rest of a name that fills its field (data item 4E).

    Raises:
        CardDataError: The answer does not have the layout of part 6.
    """
    (answer,) = yield (_READ_EXTENSION,)
    return _extended(holder, answer)


_READ_EXTENSION = Step(
    read_record_by_identifier(_SFI_HOLDER, Item.NAME_EXTENSION),
    (*_OK, int(StatusWord.RECORD_NOT_FOUND)),
)


def _holder(number_answer: bytes, name_answer: bytes) -> Holder:
    number = _record(number_answer, Item.SOCIAL_SECURITY_NUMBER)
    return Holder(_ascii(number), _record(name_answer, Item.NAME).rstrip(b"\0"))


def _extended(holder: Holder, answer: bytes) -> Holder:
    if not _is_ok(answer):
        return holder
    extension = _record(answer, Item.NAME_EXTENSION).rstrip(b"\0")
    return Holder(holder.number, holder.name_bytes + extension)


def _free_holder(answers: tuple[bytes, ...]) -> Holder | None:
    """Read the pair of answers that was not skipped; where the file is refused there is none."""
    for number_answer, name_answer in (answers[0:2], answers[2:4]):
        if _is_ok(number_answer) and _is_ok(name_answer):
            return _holder(number_answer, name_answer)
    return None


def _challenges(answers: tuple[bytes, ...]) -> tuple[bytes, bytes] | None:
    if not any(answers):
        return None
    original, factor = (_exactly(answer[:-2], 8) for answer in answers)
    return original, factor


def _pin_state(answer: bytes) -> tuple[PINState, int]:
    status_word = int.from_bytes(answer[-2:], "big")
    if status_word == StatusWord.OK:
        return PINState.NOT_REQUIRED, -1
    if status_word == StatusWord.AUTHENTICATION_BLOCKED:
        return PINState.BLOCKED, 0
    tries = tries_left(status_word)
    if tries is None:
        return PINState.UNKNOWN, -1
    return (PINState.REQUIRED, tries) if tries else (PINState.BLOCKED, 0)


def _declared_algorithm(fci: bytes, region: str) -> Algorithm:
    """Say which cipher the directory declares (part 2).

    Where it declares none, a region that begins with 11 means SSF33 and any other 3DES.
    """
    declared = _declared_in(fci)
    if declared is None:
        return Algorithm.SSF33 if region.startswith("11") else Algorithm.TRIPLE_DES
    return declared


@lru_cache(maxsize=64)  # all cards of one maker and cipher answer SELECT alike
def _declared_in(fci: bytes) -> Algorithm | None:
    """Read 6F, A5, 9F0C, 86."""
    declared = find(parse_ber(fci), 0x6F, 0xA5, 0x9F0C, 0x86)
    if declared is None:
        return None
    try:
        return Algorithm(int.from_bytes(declared, "big"))
    except ValueError:
        raise CardDataError(f"{declared.hex()} names no algorithm") from None


def _record(answer: bytes, item: Item) -> bytes:
    """Take one record's value out of a READ RECORD answer: tag, length, value (part 6).

    Every item has one length, so that its whole head is known beforehand.
    """
    size = ITEM_SIZES[item]
    if len(answer) != 2 + size + 2 or answer[0] != item or answer[1] != size:
        raise CardDataError(f"record {item:02X} of {size} bytes is not what was read")
    return answer[2:-2]


def _exactly(value: bytes, size: int) -> bytes:
    if len(value) != size:
        raise CardDataError(f"{size} bytes belong here, not {len(value)}")
    return value


def _digits(value: bytes) -> str:
    """Read `cn`: digits, two a byte, padded with F on the right (part 6)."""
    text = value.hex().rstrip("f")
    if not text.isdecimal():
        raise CardDataError("a number has nibbles that are no digits")
    return text


def _ascii(value: bytes) -> str:
    """Read `an`: ASCII, padded with 00 on the right (part 6)."""
    text = value.rstrip(b"\0")
    if not text.isascii() or not text.decode("ascii").isprintable():
        raise CardDataError("a text has bytes that are not printable ASCII")
    return text.decode("ascii")


def _is_ok(answer: bytes) -> bool:
    return answer[-2:] == b"\x90\x00"
