"""PINs in commands: how they are written, where they go, and how such a command is shown.

A PIN is put in where the holder types it, at the terminal; the centre sends templates. Not here:
who asks for it (`terminals/card_reader.py`), which commands a card type has (`profiles/`).
"""

from collections.abc import Iterable, Mapping
from typing import Protocol, Self

from protocol.card.apdu import SHORT_DATA_MAX, Instruction
from protocol.card.errors import CardDataError
from protocol.card.script import PINFormat

DIGITS_MIN = 4
DIGITS_MAX = 12
_LC_INDEX = 4
_HEADER_SIZE = 5
_BLOCK_SIZE = 8
_CONTROL = "2"

CHANGE_REFERENCE_DATA = 0x24
RESET_RETRY_COUNTER = 0x2C
PIN_INSTRUCTIONS = frozenset(
    {int(Instruction.VERIFY), int(Instruction.CHANGE_PIN), CHANGE_REFERENCE_DATA}
)
"""Commands into which a PIN may be put: their answers are status words and nothing else."""

_HOLDING_PINS = PIN_INSTRUCTIONS | {RESET_RETRY_COUNTER}


class PINPlaceLike(Protocol):
    """Anything shaped like `protocol.card.script.PINPlace`."""

    @property
    def command_offset(self) -> int: ...  # noqa: D102 - as in PINPlace
    @property
    def kind(self) -> int: ...  # noqa: D102 - as in PINPlace
    @property
    def form(self) -> int: ...  # noqa: D102 - as in PINPlace
    @property
    def tries_left(self) -> int: ...  # noqa: D102 - as in PINPlace


class PINDigits(str):
    """A PIN as typed; its repr shows nothing.

    Raises:
        CardDataError: It is not 4 to 12 digits.
    """

    __slots__ = ()

    def __new__(cls, digits: str) -> Self:
        """Check the digits."""
        if not (DIGITS_MIN <= len(digits) <= DIGITS_MAX and digits.isascii() and digits.isdigit()):
            raise CardDataError(f"a PIN has {DIGITS_MIN} to {DIGITS_MAX} digits")
        return super().__new__(cls, digits)

    def __repr__(self) -> str:
        return "<PIN>"


def encode_pin(digits: PINDigits, form: int) -> bytes:
    """Write a PIN as a card wants it.

    Raises:
        CardDataError: The form is unknown.
    """
    if form == PINFormat.BCD:
        return bytes.fromhex(digits + "F" * (len(digits) % 2))
    if form == PINFormat.BLOCK_2:
        return bytes.fromhex(f"{_CONTROL}{len(digits):X}{digits}".ljust(2 * _BLOCK_SIZE, "F"))
    raise CardDataError(f"a PIN can't be written in form {form}")


def fill_pins(
    template: bytes, places: Iterable[PINPlaceLike], pins: Mapping[int, PINDigits]
) -> bytes:
    """Put PINs into a template and have its Lc count them.

    Args:
        template: CLA, INS, P1, P2, Lc and the data that stands beside the PINs.
        places: Where they go.
        pins: By `PINKind`.

    Raises:
        CardDataError: The template is none, or is of a command that no PIN goes into.
    """
    if len(template) < _HEADER_SIZE or len(template) != _HEADER_SIZE + template[_LC_INDEX]:
        raise CardDataError("a PIN's template has Lc and as many bytes, and no Le")
    if template[1] not in PIN_INSTRUCTIONS:
        raise CardDataError(f"no PIN goes into a command of instruction {template[1]:02X}")
    command = bytearray(template)
    inserted_size = 0
    for place in sorted(places, key=_offset):
        if not _HEADER_SIZE <= place.command_offset <= len(template):
            raise CardDataError("a place for a PIN lies outside its template")
        if place.kind not in pins:
            raise CardDataError("a PIN that its template wants was not given")
        block = encode_pin(pins[place.kind], place.form)
        offset = place.command_offset + inserted_size
        command[offset:offset] = block
        inserted_size += len(block)
    size = len(command) - _HEADER_SIZE
    if size > SHORT_DATA_MAX:
        raise CardDataError("a command with its PINs is too long")
    command[_LC_INDEX] = size
    return bytes(command)


def shown(command: bytes) -> str:
    """Write a command in hex for a person or a file; data that may hold a PIN as asterisks."""
    text = command.hex().upper()
    if len(command) <= _HEADER_SIZE or command[1] not in _HOLDING_PINS:
        return text
    head = 2 * _HEADER_SIZE
    return text[:head] + "*" * (len(text) - head)


def _offset(place: PINPlaceLike) -> int:
    return place.command_offset
