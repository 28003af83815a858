"""A simulated identity card of Thailand with the insurance applet, and a made-up holder.

It answers over T=0: SELECT and READ give `61xx`, GET RESPONSE brings the data, with P2 01 on
cards whose ATR begins with 3B67. The citizen's number begins with 9, which no kind of citizen
has; its last digit is the check digit.
"""

from dataclasses import dataclass, field

from protocol.card.apdu import CommandAPDU, Instruction, decode_command
from protocol.card.atr import get_response_p2
from protocol.card.errors import CardDataError
from protocol.card.profiles import thai_nhso
from protocol.card.profiles.thai_nhso import (
    INSURANCE_APPLICATION,
    PERSON_APPLICATION,
    PROFILE,
    Place,
)
from protocol.card.status_word import StatusWord

ATR = bytes.fromhex("3B7996000054") + b"H NID 17"
ATR_OLD = bytes.fromhex("3B6700002920006F789000")
"""As cards that want the other GET RESPONSE begin; unknown to the catalogue."""

_BUDDHIST_YEARS = 543
_BY_NAME = 0x04
_MEMORY_SIZE = 0x1600
_LIFELONG = 99991231


@dataclass(frozen=True, slots=True)
class CardData:
    """What is printed and written on one card.

    Attributes:
        name: Title, first, middle and last name, each ended by `#`.
        birth_date: YYYYMMDD of the Gregorian calendar; month and day may be 00.
        sex: 1 male, 2 female.
        expiry_date: 99991231 on a card for life.
        has_insurance: Whether the insurance applet is on it.
    """

    cid: str = field(repr=False)
    name: str = field(repr=False)
    name_english: str = field(repr=False)
    birth_date: int = field(repr=False)
    sex: int
    issue_date: int
    expiry_date: int
    address: str = field(repr=False, default="99/9#หมู่ที่ 9###ตำบลตัวอย่าง#อำเภอตัวอย่าง#จังหวัดตัวอย่าง")
    issuer: str = "อำเภอตัวอย่าง/จังหวัดตัวอย่าง"
    main_right: str = "สิทธิหลักประกันสุขภาพแห่งชาติ"
    main_hospital: str = "โรงพยาบาลตัวอย่าง"
    right_begins: int = 20200101
    has_insurance: bool = True
    atr: bytes = ATR

    @property
    def identity(self) -> bytes:
        """What the registry knows the card by."""
        return self.cid.encode("ascii")

    def registry_row(self, *, card_no: int, person_no: int) -> dict[str, str]:
        """Write the row of `cards.csv` that this card agrees with."""
        return {
            "card_no": str(card_no),
            "profile": PROFILE,
            "identity": self.identity.hex(),
            "region": "",
            "card_number": self.cid,
            "card_id": self.identity.hex(),
            "person_no": str(person_no),
            "version": "1.00",
            "algorithm": "0",
            "card_class": "3",
            "issuer": bytes(12).hex(),
            "begins": str(self.issue_date),
            "ends": str(self.expiry_date),
            "state": "1",
            "historical": "",
        }

    def memories(self) -> dict[bytes, bytes]:
        """Write what each application holds."""
        person = bytearray(_MEMORY_SIZE)
        for place, value in (
            (thai_nhso.VERSION, b"0003"),
            (thai_nhso.CID, self.identity),
            (thai_nhso.NAME_THAI, _text(self.name)),
            (thai_nhso.NAME_ENGLISH, _text(self.name_english)),
            (thai_nhso.BIRTH_DATE, buddhist_date(self.birth_date)),
            (thai_nhso.SEX, str(self.sex).encode("ascii")),
            (thai_nhso.ISSUER, _text(self.issuer)),
            (thai_nhso.ISSUE_DATE, buddhist_date(self.issue_date)),
            (thai_nhso.EXPIRY_DATE, buddhist_date(self.expiry_date)),
            (thai_nhso.ADDRESS, _text(self.address)),
        ):
            _write(person, place, value)
        memories = {PERSON_APPLICATION: bytes(person)}
        if self.has_insurance:
            memories[INSURANCE_APPLICATION] = self._insurance()
        return memories

    def _insurance(self) -> bytes:
        insurance = bytearray(thai_nhso.CHANGES.offset + thai_nhso.CHANGES.size)
        for place, value in (
            (thai_nhso.MAIN_RIGHT, _text(self.main_right)),
            (thai_nhso.SUB_RIGHT, b""),
            (thai_nhso.MAIN_HOSPITAL, _text(self.main_hospital)),
            (thai_nhso.SUB_HOSPITAL, b""),
            (thai_nhso.PAID_TYPE, b"1"),
            (thai_nhso.RIGHT_BEGINS, buddhist_date(self.right_begins)),
            (thai_nhso.RIGHT_ENDS, b""),
            (thai_nhso.UPDATE_DATE, buddhist_date(self.right_begins)),
            (thai_nhso.CHANGES, b"0"),
        ):
            _write(insurance, place, value)
        return bytes(insurance)


FICTITIOUS = CardData(
    cid="9999999999994",
    name="นาย#ทดสอบ##ตัวอย่าง#",
    name_english="Mr.#Thotsop##Tuayang#",
    birth_date=19810101,
    sex=1,
    issue_date=20220413,
    expiry_date=20310412,
)
"""Mr Test Example."""


def buddhist_date(date: int) -> bytes:
    """Write YYYYMMDD in the Buddhist era; no end is eight nines."""
    if date == _LIFELONG:
        return b"99999999"
    return f"{date + _BUDDHIST_YEARS * 10_000:08d}".encode("ascii")


class ThaiNHSOCard:
    """One card, as a channel."""

    def __init__(self, data: CardData) -> None:
        self._atr = data.atr
        self._memories = data.memories()
        self._selected = b""
        self._waiting = b""
        self.commands_count = 0

    @property
    def atr(self) -> bytes:
        """The answer to reset."""
        return self._atr

    def reset(self) -> None:
        """Forget what was selected, and what waits to be fetched."""
        self._selected = b""
        self._waiting = b""

    def transmit(self, command: bytes) -> bytes:
        """Answer one command."""
        self.commands_count += 1
        try:
            parsed = decode_command(command)
        except CardDataError:
            return _word(StatusWord.WRONG_LENGTH)
        if (parsed.cla, parsed.ins) == (0x00, Instruction.GET_RESPONSE):
            return self._get_response(parsed)
        self._waiting = b""
        match parsed.cla, parsed.ins:
            case 0x00, Instruction.SELECT:
                return self._select(parsed)
            case 0x80, Instruction.READ_BINARY:
                return self._read(parsed)
            case _, Instruction.SELECT | Instruction.READ_BINARY:
                return _word(StatusWord.CLASS_NOT_SUPPORTED)
            case _:
                return _word(StatusWord.INSTRUCTION_NOT_SUPPORTED)

    def _select(self, command: CommandAPDU) -> bytes:
        if command.p1 != _BY_NAME or command.data not in self._memories:
            return _word(StatusWord.FILE_NOT_FOUND)
        self._selected = command.data
        return self._later(b"\x84" + bytes((len(command.data),)) + command.data)

    def _read(self, command: CommandAPDU) -> bytes:
        if not self._selected:
            return _word(StatusWord.CONDITIONS_NOT_SATISFIED)
        if len(command.data) != 2 or command.data[0] or not command.data[1]:  # noqa: PLR2004 - a size
            return _word(StatusWord.WRONG_LENGTH)
        offset = command.p1 << 8 | command.p2
        memory = self._memories[self._selected]
        if offset + command.data[1] > len(memory):
            return _word(StatusWord.OFFSET_OUTSIDE_FILE)
        return self._later(memory[offset : offset + command.data[1]])

    def _later(self, data: bytes) -> bytes:
        self._waiting = data
        return _word(0x6100 | len(data))

    def _get_response(self, command: CommandAPDU) -> bytes:
        if (command.p1, command.p2) != (0x00, get_response_p2(self._atr)):
            return _word(StatusWord.INCORRECT_P1_P2)
        if not self._waiting:
            return _word(StatusWord.CONDITIONS_NOT_SATISFIED)
        if command.le != len(self._waiting):
            return _word(0x6C00 | len(self._waiting))
        data, self._waiting = self._waiting, b""
        return data + _word(StatusWord.OK)


def _write(memory: bytearray, place: Place, value: bytes) -> None:
    padded = value.ljust(place.size)
    if len(padded) != place.size:
        raise ValueError(f"a value for {place.offset:04X} has more than {place.size} bytes")
    memory[place.offset : place.offset + place.size] = padded


def _text(text: str) -> bytes:
    return text.encode("tis-620")


def _word(status_word: int) -> bytes:
    return status_word.to_bytes(2, "big")
