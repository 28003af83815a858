"""A simulated health insurance card of Taiwan, and a holder who does not exist.

It answers over T=1, as the real one does: data comes with the command's own answer. The letter Y
stood for an office that was dissolved before any number of nines could have been reached; the
last digit is the check digit.
"""

from dataclasses import dataclass, field

from protocol.card.apdu import CommandAPDU, Instruction, decode_command
from protocol.card.errors import CardDataError
from protocol.card.profiles.taiwan_nhi import (
    APPLICATION,
    ATRS,
    CARD_NUMBER_SIZE,
    NAME_SIZE,
    PROFILE,
)
from protocol.card.status_word import StatusWord

_ROC_YEAR_0 = 1911
_BY_NAME = 0x04
_BASIC_DATA = (0x11, 0x00)
_FOREVER = 99991231


@dataclass(frozen=True, slots=True)
class CardData:
    """What is printed and written on one card.

    Attributes:
        birth_date: YYYYMMDD of the Gregorian calendar; a real date from 1912 on.
        sex: 1 male, 2 female.
        issue_date: As `birth_date`.
        atr: One of the profile's, or another where the card is to be found by probing.
    """

    card_number: str = field(repr=False)
    name: str = field(repr=False)
    id_number: str = field(repr=False)
    birth_date: int = field(repr=False)
    sex: int
    issue_date: int
    atr: bytes = ATRS[0]

    @property
    def identity(self) -> bytes:
        """What the registry knows the card by."""
        return self.card_number.encode("ascii")

    def basic_data(self) -> bytes:
        """Write the object that is free to read."""
        return b"".join(
            (
                self.card_number.encode("ascii").ljust(CARD_NUMBER_SIZE),
                self.name.encode("cp950").ljust(NAME_SIZE, b"\0"),
                self.id_number.encode("ascii"),
                roc_date(self.birth_date),
                b"M" if self.sex == 1 else b"F",
                roc_date(self.issue_date),
            )
        )

    def registry_row(self, *, card_no: int, person_no: int) -> dict[str, str]:
        """Write the row of `cards.csv` that this card agrees with."""
        return {
            "card_no": str(card_no),
            "profile": PROFILE,
            "identity": self.identity.hex(),
            "region": "",
            "card_number": self.card_number,
            "card_id": self.id_number.encode("ascii").hex(),
            "person_no": str(person_no),
            "version": "1.00",
            "algorithm": "0",
            "card_class": "3",
            "issuer": bytes(12).hex(),
            "begins": str(self.issue_date),
            "ends": str(_FOREVER),
            "state": "1",
            "historical": "",
        }


FICTITIOUS = CardData(
    card_number="999999999999",
    name="王小明",
    id_number="Y199999998",
    birth_date=19810101,
    sex=1,
    issue_date=20150704,
)
"""A made-up holder with a name as in school books."""


def roc_date(date: int) -> bytes:
    """Write YYYYMMDD in the Republic's calendar, EEEMMDD."""
    return f"{date // 10_000 - _ROC_YEAR_0:03d}{date % 10_000:04d}".encode("ascii")


class TaiwanNHICard:
    """One card, as a channel."""

    def __init__(self, data: CardData) -> None:
        self._data = data
        self._is_selected = False
        self.commands_count = 0

    @property
    def atr(self) -> bytes:
        """The answer to reset."""
        return self._data.atr

    def reset(self) -> None:
        """Forget what was selected."""
        self._is_selected = False

    def transmit(self, command: bytes) -> bytes:
        """Answer one command."""
        self.commands_count += 1
        try:
            parsed = decode_command(command)
        except CardDataError:
            return _word(StatusWord.WRONG_LENGTH)
        match parsed.cla, parsed.ins:
            case 0x00, Instruction.SELECT:
                return self._select(parsed)
            case 0x00, Instruction.GET_DATA:
                return self._get_data(parsed)
            case 0x00, _:
                return _word(StatusWord.INSTRUCTION_NOT_SUPPORTED)
            case _:
                return _word(StatusWord.CLASS_NOT_SUPPORTED)

    def _select(self, command: CommandAPDU) -> bytes:
        if command.p1 != _BY_NAME or command.data != APPLICATION:
            return _word(StatusWord.FILE_NOT_FOUND)
        self._is_selected = True
        return _word(StatusWord.OK)

    def _get_data(self, command: CommandAPDU) -> bytes:
        if not self._is_selected:
            return _word(StatusWord.CONDITIONS_NOT_SATISFIED)
        if (command.p1, command.p2) != _BASIC_DATA or command.data != bytes(2):
            return _word(StatusWord.REFERENCE_DATA_NOT_FOUND)
        return self._data.basic_data() + _word(StatusWord.OK)


def _word(status_word: int) -> bytes:
    return status_word.to_bytes(2, "big")
