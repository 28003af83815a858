"""The medical directory (DF04) of the social security card, and the commands that take its PIN.

Files as in 社会保障卡文件结构和数据项 V2.0, commands as in 社会保障（个人）卡规范 part 5. Nothing
here is written to a card, and nothing that it says decides anything: coverage and accounts are the
centre's. Not here: what the card proves, and who holds it (`social_security_card.py`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto, unique

from protocol.card.apdu import CommandAPDU, Instruction
from protocol.card.errors import CardDataError
from protocol.card.profiles.social_security_card import get_challenge
from protocol.card.script import Batch, PINFormat, PINKind, PINPlace, Script, Step
from protocol.card.status_word import StatusWord

DIRECTORY_NAME = bytes.fromhex("D15600000503")
KEY_READ = 0x0B
"""RK1DF04, which reads in place of the PIN; the number that our simulated cards have."""

LOG_MAX = 30
LOG_RECORD_SIZE = 0x1C
MARK_SIZE = 3
MARKS_MAX = 8
_LOG_READ = 10
_SFI_ITEMS = 0x05
_SFI_LOG = 0x08
_SFI_MARKS = 0x15
_PIN_OFFSET = 5
_SEPARATOR = b"\xff"

_OK = (int(StatusWord.OK),)
# What is not on a card is no fault of it.
_RECORD_ANSWERS = (
    *_OK,
    int(StatusWord.SECURITY_STATUS_NOT_SATISFIED),
    int(StatusWord.FILE_NOT_FOUND),
    int(StatusWord.RECORD_NOT_FOUND),
)


@unique
class Coding(Enum):
    """How a data item is written (part 6)."""

    DIGITS = auto()
    """cn: two digits a byte, padded with F."""
    TEXT = auto()
    """an: ASCII or GB18030, padded with 00."""
    RAW = auto()
    """Of which we have no layout; told in hex."""


@dataclass(frozen=True, slots=True)
class ItemLayout:
    """A data item of EF05.

    Attributes:
        size: In bytes; 0 where it is not published, and the card is asked by `6Cxx`.
    """

    name_zh: str
    name_en: str
    coding: Coding
    size: int


ITEMS = {
    0x81: ItemLayout("参保险种", "type of insurance", Coding.TEXT, 8),
    0x84: ItemLayout("参保地", "insured place", Coding.DIGITS, 3),
    0x87: ItemLayout("健康档案编号", "health record", Coding.TEXT, 17),
    0x8C: ItemLayout("人员类别", "class of person", Coding.DIGITS, 1),
    0x80: ItemLayout("开户日期", "account opened", Coding.DIGITS, 4),
    0x8B: ItemLayout("个人账户", "personal account", Coding.TEXT, 29),
    0x8A: ItemLayout("医疗证号", "medical certificate", Coding.TEXT, 15),
    0x83: ItemLayout("定点机构一", "designated institution 1", Coding.TEXT, 9),
    0x86: ItemLayout("定点机构二", "designated institution 2", Coding.TEXT, 9),
    0x89: ItemLayout("定点机构三", "designated institution 3", Coding.TEXT, 9),
    0x8F: ItemLayout("使用方式", "mode of use: 1 online, 2 offline", Coding.TEXT, 1),
    0x7D: ItemLayout("数据项7D", "item 7D", Coding.RAW, 0),
    0x7E: ItemLayout("数据项7E", "item 7E", Coding.RAW, 0),
    0x7F: ItemLayout("数据项7F", "item 7F", Coding.RAW, 0),
    0x8D: ItemLayout("数据项8D", "item 8D", Coding.RAW, 0),
    0x8E: ItemLayout("数据项8E", "item 8E", Coding.RAW, 0),
}
"""In the order in which they are read."""


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One record of the card's own settlement log (EF08).

    Attributes:
        sequence: The card's count.
        kind: 1 credit, 2 medical settlement.
        terminal: Twelve digits.
        time: YYYYMMDDhhmmss by the terminal that wrote it.
        account_fen: Personal account.
        own_pay_fen: Paid by the person.
        pool_fen: Paid by the pooled fund.
    """

    sequence: int
    kind: str
    terminal: str
    time: str
    account_fen: int
    own_pay_fen: int
    pool_fen: int

    def encode(self) -> bytes:
        """Write it as it stands on the card."""
        return b"".join(
            (
                self.sequence.to_bytes(2, "big"),
                self.kind.encode("ascii"),
                bytes.fromhex(self.terminal),
                bytes.fromhex(self.time),
                *(
                    fen.to_bytes(4, "big")
                    for fen in (self.account_fen, self.own_pay_fen, self.pool_fen)
                ),
            )
        )


@dataclass(frozen=True, slots=True)
class MedicalRecords:
    """What the medical directory says.

    Attributes:
        items: Data items by tag, as text.
        log: Newest first.
        marks: Records of EF15, newest first; their layout is not published.
    """

    items: dict[int, str] = field(repr=False)
    log: tuple[LogRecord, ...] = field(repr=False)
    marks: tuple[bytes, ...] = field(repr=False)


def select_medical() -> bytes:
    """SELECT the medical directory by name."""
    return CommandAPDU(0x00, Instruction.SELECT, 0x04, 0x00, DIRECTORY_NAME).encode()


def verify_pin(tries_left: int = -1, kind: PINKind = PINKind.CURRENT) -> Step:
    """VERIFY as a template: who asks the holder puts the PIN in (part 5)."""
    template = bytes((0x00, Instruction.VERIFY, 0x00, 0x00, 0))
    return Step(template, _OK, pins=(PINPlace(_PIN_OFFSET, kind, PINFormat.BCD, tries_left),))


def change_pin(tries_left: int = -1) -> Step:
    """CHANGE PIN as a template: the old one, FF, the new one (part 5)."""
    data = _SEPARATOR
    template = bytes((0x80, Instruction.CHANGE_PIN, 0x01, 0x00, len(data))) + data
    places = (
        PINPlace(_PIN_OFFSET, PINKind.CURRENT, PINFormat.BCD, tries_left),
        PINPlace(_PIN_OFFSET + len(data), PINKind.NEW, PINFormat.BCD, -1),
    )
    return Step(template, _OK, pins=places)


def change_holder_pin(tries_left: int = -1) -> Script[None]:
    """Have the holder change the PIN, in one batch."""
    yield (Step(select_medical(), _OK), change_pin(tries_left))


def read_freely() -> Script[MedicalRecords]:
    """Read where the card asks for no PIN, in one batch.

    Raises:
        CardDataError: An answer does not have its layout.
    """
    answers = yield (Step(select_medical(), _OK), *_READING)
    return _records(answers[1:])


def read_with_pin(tries_left: int = -1) -> Script[MedicalRecords]:
    """Have the holder's PIN verified and read, in one batch; the PIN is sent once.

    Raises:
        CardDataError: An answer does not have its layout.
    """
    answers = yield (Step(select_medical(), _OK), verify_pin(tries_left), *_READING)
    return _records(answers[2:])


def change_pin_and_read(tries_left: int = -1) -> Script[MedicalRecords]:
    """Have the PIN changed, verify the new one and read, in one batch.

    Raises:
        CardDataError: An answer does not have its layout.
    """
    answers = yield (
        Step(select_medical(), _OK),
        change_pin(tries_left),
        verify_pin(kind=PINKind.NEW),
        *_READING,
    )
    return _records(answers[3:])


def challenge_for_reading() -> Script[tuple[bytes, bytes]]:
    """Select the directory and have the card say original and factor for RK1DF04.

    Raises:
        CardDataError: An answer does not have its layout.
    """
    answers = yield (
        Step(select_medical(), _OK),
        Step(get_challenge(), _OK),
        Step(get_challenge(), _OK),
    )
    original, factor = (answer[:-2] for answer in answers[1:])
    if not len(original) == len(factor) == 8:  # noqa: PLR2004 - as was asked for
        raise CardDataError("a challenge has 8 bytes")
    return original, factor


def read_with_key(*, authentication: bytes, original: bytes) -> Script[MedicalRecords]:
    """Authenticate by RK1DF04 and read, in one batch; `challenge_for_reading` went before.

    Args:
        authentication: Computed with RK1DF04 over `original` under the card's second challenge.
        original: The card's first challenge.

    Raises:
        CardDataError: An answer does not have its layout.
    """
    command = CommandAPDU(
        0x00, Instruction.EXTERNAL_AUTHENTICATE, 0x00, KEY_READ, authentication + original
    )
    answers = yield (Step(command.encode(), _OK), *_READING)
    return _records(answers[1:])


def _item_steps() -> Iterator[Step]:
    for tag, layout in ITEMS.items():
        le = 2 + layout.size if layout.size else 256
        command = CommandAPDU(0x00, Instruction.READ_RECORD, tag, _SFI_ITEMS << 3, le=le)
        yield Step(command.encode(), _RECORD_ANSWERS)


def _cyclic_steps(sfi: int, size: int, count: int) -> Iterator[Step]:
    for number in range(1, count + 1):
        command = CommandAPDU(0x00, Instruction.READ_RECORD, number, sfi << 3 | 4, le=size)
        yield Step(command.encode(), _RECORD_ANSWERS)


_READING: Batch = (
    *_item_steps(),
    *_cyclic_steps(_SFI_LOG, LOG_RECORD_SIZE, _LOG_READ),
    *_cyclic_steps(_SFI_MARKS, MARK_SIZE, MARKS_MAX),
)


def _records(answers: tuple[bytes, ...]) -> MedicalRecords:
    log_index, marks_index = len(ITEMS), len(ITEMS) + _LOG_READ
    items = {
        tag: _item(answer, tag)
        for tag, answer in zip(ITEMS, answers[:log_index], strict=True)
        if _is_read(answer)
    }
    return MedicalRecords(
        items=items,
        log=tuple(
            _log_record(each[:-2]) for each in answers[log_index:marks_index] if _is_read(each)
        ),
        marks=tuple(_mark(each[:-2]) for each in answers[marks_index:] if _is_read(each)),
    )


def _is_read(answer: bytes) -> bool:
    """Say whether a record was read, and was ever written: a cyclic file may begin as 00 or FF."""
    record = answer[:-2]
    is_blank = bool(record) and (not record.strip(b"\0") or not record.strip(b"\xff"))
    return answer[-2:] == b"\x90\x00" and not is_blank


def _item(answer: bytes, tag: int) -> str:
    record, layout = answer[:-2], ITEMS[tag]
    size = len(record) - 2
    if size < 0 or record[0] != tag or record[1] != size or layout.size not in {0, size}:
        raise CardDataError(f"data item {tag:02X} is not what was read")
    value = record[2:]
    match layout.coding:
        case Coding.DIGITS:
            return _digits(value)
        case Coding.TEXT:
            return _text(value)
        case Coding.RAW:
            return value[:100].hex().upper()


def _log_record(record: bytes) -> LogRecord:
    if len(record) != LOG_RECORD_SIZE:
        raise CardDataError(f"a record of the log has {LOG_RECORD_SIZE} bytes, not {len(record)}")
    account, own_pay, pool = (int.from_bytes(record[at : at + 4], "big") for at in (16, 20, 24))
    return LogRecord(
        sequence=int.from_bytes(record[:2], "big"),
        kind=_text(record[2:3]),
        terminal=_digits(record[3:9]),
        time=_digits(record[9:16]),
        account_fen=account,
        own_pay_fen=own_pay,
        pool_fen=pool,
    )


def _mark(record: bytes) -> bytes:
    if len(record) != MARK_SIZE:
        raise CardDataError(f"a record of EF15 has {MARK_SIZE} bytes, not {len(record)}")
    return record


def _digits(value: bytes) -> str:
    text = value.hex().rstrip("f")
    if text and not text.isdecimal():
        raise CardDataError("a number has nibbles that are no digits")
    return text


def _text(value: bytes) -> str:
    try:
        text = value.rstrip(b"\0").decode("gb18030")
    except UnicodeDecodeError:
        raise CardDataError("a text is not GB18030") from None
    if not text.isprintable():
        raise CardDataError("a text has characters that can't be printed")
    return text
