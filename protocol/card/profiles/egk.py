"""The German electronic health card (elektronische Gesundheitskarte, eGK), generation 2.1.

Files and commands as in gemSpec_eGK_ObjSys and gemSpec_COS. Over contacts all that is read here is
free to read; through the air everything is behind PACE (`protocol/card/pace.py`), after which the
same files are read over the secure channel. Not here: what stands in the files (`egk_data.py`),
certificates (`cv_certificate.py`), whether the card is to be trusted (`cardserver/cards/egk.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto, unique

from protocol.card.apdu import EXTENDED_LE_MAX, SHORT_LE_MAX, CommandAPDU, Instruction
from protocol.card.cv_certificate import SIGNATURE_SIZE, CVCertificate, decode_certificate
from protocol.card.errors import CardDataError
from protocol.card.pin import CHANGE_REFERENCE_DATA
from protocol.card.profiles.egk_data import (
    INSURANCE_DATA_SIZE_MAX,
    PERSONAL_DATA_SIZE_MAX,
    STATUS_SIZE,
    InsuranceData,
    InsuranceDataStatus,
    PersonalData,
    Versions,
    decode_insurance_data,
    decode_personal_data,
    decode_serial_number,
    decode_status,
    decode_versions,
)
from protocol.card.script import Batch, Condition, PINFormat, PINKind, PINPlace, Script, Span, Step
from protocol.card.status_word import VERIFY_TRIES, StatusWord, tries_left
from protocol.card.trusted_channel import CARD_KEY, choose_key

PROFILE = "egk"
NONCE_SIZE = 24
CHUNK_SIZE = 0xFC
"""Of one READ BINARY: readers hand on 254 bytes of an answer without trouble, some no more."""

# The makers' answers to reset differ in speed (TA1), waiting times and check byte; none has a name
# in its historical bytes. Cards of other holders answer alike: the application tells them apart.
ATR_PATTERNS = (
    (bytes.fromhex("3BD096FF81B1FE451F0000"), bytes.fromhex("FFFFFCFFFFFFFFFFFF0000")),
    (
        bytes.fromhex("3BD396FF81B1FE451F0080810500"),
        bytes.fromhex("FFFFFCFFFFFFFFFFFF00FFFFFF00"),
    ),
    (bytes.fromhex("3B909681B1FE451F0000"), bytes.fromhex("FFFFFCFFFFFFFFFF0000")),
    # Through the air: historical bytes 30 01 01 30 and one for the maker.
    (bytes.fromhex("3B858001300101300000"), bytes.fromhex("FFFFFFFFFFFFFFFF0000")),
)

ROOT = bytes.fromhex("D2760001448000")
HEALTH_CARE = bytes.fromhex("D27600000102")
SIGNATURES = bytes.fromhex("A000000167455349474E")

SFI_SERIAL_NUMBER = 0x02
SFI_CARD_CERTIFICATE = 0x06
SFI_AUTHORITY_CERTIFICATE = 0x07
SFI_VERSIONS = 0x11
SFI_PERSONAL_DATA = 0x01
SFI_INSURANCE_DATA = 0x02
SFI_STATUS = 0x0C
SFI_HOLDER_CERTIFICATE = 0x04

PIN_HOLDER = 0x01
ROLE_AUTHENTICATION = 0x00
"""elcRoleAuthentication: the card signs what it is given, unhashed."""

_OK = (int(StatusWord.OK),)
# A file shorter than Le, and one whose own check sum is wrong: what was read carries a signature
# or a check sum inside, which decides.
_READ = (
    *_OK,
    int(StatusWord.DATA_MAY_BE_CORRUPT),
    int(StatusWord.END_OF_FILE),
)
_READ_ON = (*_READ, int(StatusWord.OFFSET_OUTSIDE_FILE))
_TRANSPORT_PIN = (0x62C1, 0x62C7)
_PIN_DISABLED = 0x62D0
_PIN_ANSWERS = (
    *_OK,
    *_TRANSPORT_PIN,
    _PIN_DISABLED,
    *range(VERIFY_TRIES, VERIFY_TRIES + 16),
    int(StatusWord.AUTHENTICATION_BLOCKED),
    int(StatusWord.REFERENCE_DATA_NOT_FOUND),
)
_HOLDER_CERTIFICATE_SIZE_MAX = 1900
_ABSENT_HIGH = 0xFF


@unique
class PINStatus(Enum):
    """What the card says about the holder's PIN, PIN.CH."""

    VERIFIED = auto()
    REQUIRED = auto()
    BLOCKED = auto()
    TRANSPORT = auto()
    """It was never set: the letter's PIN has to be changed first."""
    DISABLED = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class OpenedEGK:
    """What the opening batch brought: claims of the card, and its answer to the nonce.

    Attributes:
        iccsn: Serial number, as EF.GDO says.
        certificate: The card's own card-verifiable certificate.
        authority: That of whoever signed it.
        signature: Over the centre's nonce, by the key that `certificate` certifies.
        pin_tries: -1 where the card did not say.
    """

    iccsn: bytes = field(repr=False)
    versions: Versions
    certificate: CVCertificate = field(repr=False)
    authority: CVCertificate
    signature: bytes = field(repr=False)
    pin: PINStatus
    pin_tries: int
    status: InsuranceDataStatus
    personal: PersonalData
    insurance: InsuranceData


def select(application: bytes) -> bytes:
    """SELECT by name, without an answer: its control information is of no use and long."""
    return CommandAPDU(0x00, Instruction.SELECT, 0x04, 0x0C, application).encode()


def read_file(sfi: int, le: int = SHORT_LE_MAX) -> bytes:
    """READ BINARY from a file's beginning, by short identifier, which also selects it."""
    return CommandAPDU(0x00, Instruction.READ_BINARY, 0x80 | sfi, 0x00, le=le).encode()


def read_on(offset: int, le: int = CHUNK_SIZE) -> bytes:
    """READ BINARY of the file selected, from an offset of fifteen bits.

    Raises:
        CardDataError: No offset of a file is so large.
    """
    if not 0 <= offset < 0x8000:  # noqa: PLR2004 - bit 8 of P1 would make it a short identifier
        raise CardDataError(f"{offset} is no offset in a file")
    return CommandAPDU(0x00, Instruction.READ_BINARY, offset >> 8, offset & 0xFF, le=le).encode()


def read_whole_file(sfi: int) -> bytes:
    """READ BINARY of all of a file, extended: in one answer, where reader and card can."""
    return CommandAPDU(
        0x00,
        Instruction.READ_BINARY,
        0x80 | sfi,
        0x00,
        le=EXTENDED_LE_MAX,
        is_extended=True,
    ).encode()


def internal_authenticate(nonce: bytes) -> bytes:
    """INTERNAL AUTHENTICATE: the card signs the nonce with the key that was chosen."""
    assert len(nonce) == NONCE_SIZE
    return CommandAPDU(
        0x00, Instruction.INTERNAL_AUTHENTICATE, 0x00, 0x00, nonce, SHORT_LE_MAX
    ).encode()


def get_pin_status(reference: int = PIN_HOLDER) -> bytes:
    """GET PIN STATUS: takes no try."""
    return CommandAPDU(0x80, Instruction.VERIFY, 0x00, reference).encode()


def signed_value(nonce: bytes) -> bytes:
    """Say what the card's signature is over: the nonce and a zero byte, unhashed."""
    return nonce + b"\0"


def verify_pin(tries: int = -1) -> Script[int]:
    """Have the holder's PIN verified once; whoever is at the card puts it in (ISO 9564, format 2).

    Args:
        tries: What the card said last, to be shown to the holder.

    Returns:
        The card's status word.
    """
    template = CommandAPDU(0x00, Instruction.VERIFY, 0x00, PIN_HOLDER).encode() + b"\0"
    place = PINPlace(len(template), PINKind.CURRENT, PINFormat.BLOCK_2, tries)
    (answer,) = yield (Step(template, _PIN_ANSWERS, pins=(place,)),)
    return int.from_bytes(answer[-2:], "big")


def change_pin(tries: int = -1) -> Script[int]:
    """Have the holder's PIN changed, the old one and the new one put in at the card.

    Args:
        tries: As in `verify_pin`.

    Returns:
        The card's status word.
    """
    template = bytes((0x00, CHANGE_REFERENCE_DATA, 0x00, PIN_HOLDER, 0x00))
    places = tuple(
        PINPlace(len(template), kind, PINFormat.BLOCK_2, tries)
        for kind in (PINKind.CURRENT, PINKind.NEW)
    )
    (answer,) = yield (Step(template, _PIN_ANSWERS, pins=places),)
    return int.from_bytes(answer[-2:], "big")


def _chunks(
    first: int, sfi: int, *, size_max: int, length_at: int, counted: int, others: Sequence[int] = ()
) -> Batch:
    """Read a file whose length stands in it, in one batch, without a command too many.

    A chunk further on is wanted only with certain high bytes of the length, so there is a step for
    each of them and all but one are skipped. A skipped step costs nothing at the card.

    Args:
        first: Index of the first of these steps in their batch.
        sfi: The file.
        size_max: The most bytes that it has.
        length_at: Where the high byte of the length stands.
        counted: By how much the file's last index is greater than that number.
        others: High bytes that stand for no length, with which all of the file is wanted.
    """
    highs = (*range((size_max >> 8) + 1), *others)
    steps = [Step(read_file(sfi, CHUNK_SIZE), _READ)]
    for offset in range(CHUNK_SIZE, size_max, CHUNK_SIZE):
        wanting = [high for high in highs if (high << 8) + 0xFF + counted >= offset]
        step = Step(read_on(offset), _READ_ON)
        if len(wanting) == len(highs):
            steps.append(step)
            continue
        steps.extend(
            Step(step.command, step.expected, condition=Condition(first, length_at, bytes((high,))))
            for high in wanting
        )
    return tuple(steps)


_SELECT_AND_FREE = (
    Step(select(ROOT), _OK),
    Step(read_file(SFI_SERIAL_NUMBER), _READ),
    Step(read_file(SFI_VERSIONS), _READ),
    Step(read_file(SFI_AUTHORITY_CERTIFICATE), _READ),
    Step(read_file(SFI_CARD_CERTIFICATE), _READ),
    Step(choose_key(CARD_KEY, ROLE_AUTHENTICATION), _OK),
    Step(internal_authenticate(bytes(NONCE_SIZE)), _OK, spans=(Span(5, 0, NONCE_SIZE),)),
    Step(get_pin_status(), _PIN_ANSWERS),
    Step(select(HEALTH_CARE), _OK),
    Step(read_file(SFI_STATUS, STATUS_SIZE), _READ),
)
_SERIAL_NUMBER, _VERSIONS, _AUTHORITY, _CARD, _SIGNATURE, _PIN, _STATUS = 1, 2, 3, 4, 6, 7, 9
_PERSONAL = len(_SELECT_AND_FREE)
_PERSONAL_STEPS = _chunks(
    _PERSONAL, SFI_PERSONAL_DATA, size_max=PERSONAL_DATA_SIZE_MAX, length_at=0, counted=1
)
_INSURANCE = _PERSONAL + len(_PERSONAL_STEPS)
# The last of EF.VD's four offsets is the index of its last byte; without a copy of EF.GVD it is
# FFFF, and everything is read.
_INSURANCE_STEPS = _chunks(
    _INSURANCE,
    SFI_INSURANCE_DATA,
    size_max=INSURANCE_DATA_SIZE_MAX,
    length_at=6,
    counted=0,
    others=(_ABSENT_HIGH,),
)

OPENING: Batch = (*_SELECT_AND_FREE, *_PERSONAL_STEPS, *_INSURANCE_STEPS)
"""What is sent as soon as the card is in: all that is free to read, and the centre's nonce."""


def open_card() -> Script[OpenedEGK]:
    """Read all that is free to read, and have the card sign the centre's nonce, in one batch.

    Raises:
        CardDataError: An answer does not have its file's layout.
    """
    answers = yield OPENING
    return _opened(
        answers[:_PERSONAL],
        personal=join_chunks(answers[_PERSONAL:_INSURANCE]),
        insurance=join_chunks(answers[_INSURANCE:]),
    )


def open_card_whole(nonce: bytes) -> Script[OpenedEGK]:
    """Do the same with one command a file and no conditions: for a secure channel."""
    filled = internal_authenticate(nonce)
    answers = yield (
        *(
            Step(filled if step.spans else _whole(step.command), step.expected)
            for step in _SELECT_AND_FREE
        ),
        Step(read_whole_file(SFI_PERSONAL_DATA), _READ),
        Step(read_whole_file(SFI_INSURANCE_DATA), _READ),
    )
    return _opened(
        answers[:_PERSONAL],
        personal=answers[_PERSONAL][:-2],
        insurance=answers[_PERSONAL + 1][:-2],
    )


def read_holder_certificate() -> Script[bytes]:
    """Read the holder's X.509 certificate C.CH.AUT.E256, in one batch.

    Raises:
        CardDataError: The file does not hold one certificate.
    """
    first = 1
    answers = yield (
        Step(select(SIGNATURES), _OK),
        *_chunks(
            first,
            SFI_HOLDER_CERTIFICATE,
            size_max=_HOLDER_CERTIFICATE_SIZE_MAX,
            length_at=2,
            counted=3,
        ),
    )
    content = join_chunks(answers[first:])
    size = 4 + int.from_bytes(content[2:4], "big")
    if content[:2] != b"\x30\x82" or len(content) < size:
        raise CardDataError("the holder's certificate is cut short, or none")
    return content[:size]


def join_chunks(answers: Sequence[bytes]) -> bytes:
    """Put a file together again; skipped steps have no answer.

    A chunk that is short, or lies behind the end, is the last: none may follow it.

    Raises:
        CardDataError: A chunk is too long, or one follows the last.
    """
    content = bytearray()
    is_last = False
    for answer in answers:
        if not answer:
            continue
        chunk = answer[:-2]
        if len(chunk) > CHUNK_SIZE or (is_last and chunk):
            raise CardDataError("a file's parts do not fit together")
        content += chunk
        is_last = len(chunk) < CHUNK_SIZE
    return bytes(content)


def pin_status(status_word: int) -> tuple[PINStatus, int]:
    """Say what GET PIN STATUS or VERIFY told, and how many tries are left, -1 unknown."""
    tries = tries_left(status_word)
    if tries is not None:
        return (PINStatus.REQUIRED, tries) if tries else (PINStatus.BLOCKED, 0)
    if status_word == StatusWord.OK:
        return PINStatus.VERIFIED, -1
    if status_word == StatusWord.AUTHENTICATION_BLOCKED:
        return PINStatus.BLOCKED, 0
    if status_word == _PIN_DISABLED:
        return PINStatus.DISABLED, -1
    if status_word in _TRANSPORT_PIN:
        return PINStatus.TRANSPORT, -1
    return PINStatus.UNKNOWN, -1


def _opened(answers: Sequence[bytes], *, personal: bytes, insurance: bytes) -> OpenedEGK:
    pin, tries = pin_status(int.from_bytes(answers[_PIN][-2:], "big"))
    signature = answers[_SIGNATURE][:-2]
    if len(signature) != SIGNATURE_SIZE:
        raise CardDataError(f"a signature has {SIGNATURE_SIZE} bytes, not {len(signature)}")
    return OpenedEGK(
        iccsn=decode_serial_number(answers[_SERIAL_NUMBER][:-2]),
        versions=decode_versions(answers[_VERSIONS][:-2]),
        certificate=decode_certificate(answers[_CARD][:-2]),
        authority=decode_certificate(answers[_AUTHORITY][:-2]),
        signature=signature,
        pin=pin,
        pin_tries=tries,
        status=decode_status(answers[_STATUS][:-2]),
        personal=decode_personal_data(personal),
        insurance=decode_insurance_data(insurance),
    )


def _whole(command: bytes) -> bytes:
    """Let a READ BINARY answer all of its file, however long it comes out when protected."""
    if command[1] != Instruction.READ_BINARY:
        return command
    return read_whole_file(command[2] & 0x1F)
