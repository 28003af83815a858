"""Command and response APDUs, short and extended (ISO/IEC 7816-3:2006, 12.1; 7816-4:2020, 5.2).

Not here: what the status words mean (`status_word.py`), who repeats a command on `61xx` and
`6Cxx` (`terminals/readers/channel.py`).
"""

from dataclasses import dataclass
from enum import IntEnum, unique

from protocol.card.errors import CardDataError

BYTE_MAX = 0xFF
SHORT_DATA_MAX = 255
SHORT_LE_MAX = 256
EXTENDED_DATA_MAX = 65_535
EXTENDED_LE_MAX = 65_536
_HEADER_SIZE = 4
_EXTENDED_LENGTH_SIZE = 3


@unique
class Instruction(IntEnum):
    """The INS byte of the commands used here (ISO/IEC 7816-4:2020, table 4)."""

    APPLICATION_BLOCK = 0x1E
    VERIFY = 0x20
    MANAGE_SECURITY_ENVIRONMENT = 0x22
    PERFORM_SECURITY_OPERATION = 0x2A
    CHANGE_PIN = 0x5E
    EXTERNAL_AUTHENTICATE = 0x82
    GET_CHALLENGE = 0x84
    GENERAL_AUTHENTICATE = 0x86
    INTERNAL_AUTHENTICATE = 0x88
    SELECT = 0xA4
    READ_BINARY = 0xB0
    READ_RECORD = 0xB2
    GET_RESPONSE = 0xC0
    GET_DATA = 0xCA
    UPDATE_BINARY = 0xD6
    UPDATE_RECORD = 0xDC


@dataclass(frozen=True, slots=True)
class CommandAPDU:
    """A command.

    Attributes:
        le: The most bytes that the answer may have, 256 (short) or 65,536 (extended) for "all";
            None where no answer is asked for, or where T=0 brings it by GET RESPONSE.
        is_extended: Whether lengths are written in the extended form although they would fit.
    """

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = b""
    le: int | None = None
    is_extended: bool = False

    def __post_init__(self) -> None:
        assert all(0 <= part <= BYTE_MAX for part in (self.cla, self.ins, self.p1, self.p2))
        assert len(self.data) <= EXTENDED_DATA_MAX
        assert self.le is None or 0 < self.le <= EXTENDED_LE_MAX

    def encode(self) -> bytes:
        """Write the command as it goes to the card."""
        header = bytes((self.cla, self.ins, self.p1, self.p2))
        if self.is_extended or len(self.data) > SHORT_DATA_MAX or (self.le or 0) > SHORT_LE_MAX:
            return header + self._extended_lengths_and_data()
        lc_and_data = bytes((len(self.data),)) + self.data if self.data else b""
        le = b"" if self.le is None else bytes((self.le & 0xFF,))
        return header + lc_and_data + le

    def _extended_lengths_and_data(self) -> bytes:
        le = b"" if self.le is None else (self.le & 0xFFFF).to_bytes(2, "big")
        if self.data:
            return b"\0" + len(self.data).to_bytes(2, "big") + self.data + le
        return b"\0" + le if le else b""


@dataclass(frozen=True, slots=True)
class ResponseAPDU:
    """An answer: data and status word."""

    data: bytes
    status_word: int

    def encode(self) -> bytes:
        """Write the answer as it comes from the card."""
        return self.data + self.status_word.to_bytes(2, "big")


def decode_command(command: bytes) -> CommandAPDU:
    """Take a command apart (ISO/IEC 7816-3:2006, 12.1.3).

    Raises:
        CardDataError: It is none of the seven forms that a command can have.
    """
    if len(command) < _HEADER_SIZE:
        raise CardDataError(f"a command has at least 4 bytes, not {len(command)}")
    cla, ins, p1, p2 = command[:_HEADER_SIZE]
    body = command[_HEADER_SIZE:]
    if not body:
        return CommandAPDU(cla, ins, p1, p2)
    if len(body) == 1:
        return CommandAPDU(cla, ins, p1, p2, le=body[0] or SHORT_LE_MAX)
    if body[0] != 0:
        data, le = _short_body(body)
        return CommandAPDU(cla, ins, p1, p2, data, le)
    data, le = _extended_body(body)
    return CommandAPDU(cla, ins, p1, p2, data, le, is_extended=True)


def decode_response(response: bytes) -> ResponseAPDU:
    """Take an answer apart.

    Raises:
        CardDataError: It has no status word.
    """
    if len(response) < 2:  # noqa: PLR2004 - SW1 and SW2
        raise CardDataError(f"an answer has at least 2 bytes, not {len(response)}")
    return ResponseAPDU(response[:-2], int.from_bytes(response[-2:], "big"))


def _short_body(body: bytes) -> tuple[bytes, int | None]:
    size = body[0]
    if len(body) == 1 + size:
        return body[1:], None
    if len(body) == 2 + size:
        return body[1:-1], body[-1] or SHORT_LE_MAX
    raise CardDataError(f"Lc is {size}, but {len(body) - 1} bytes follow")


def _extended_body(body: bytes) -> tuple[bytes, int | None]:
    if len(body) < _EXTENDED_LENGTH_SIZE:
        raise CardDataError("an extended length is cut short")
    size = int.from_bytes(body[1:3], "big")
    if len(body) == _EXTENDED_LENGTH_SIZE:
        return b"", size or EXTENDED_LE_MAX
    if size and len(body) == _EXTENDED_LENGTH_SIZE + size:
        return body[3:], None
    if size and len(body) == _EXTENDED_LENGTH_SIZE + size + 2:
        return body[3:-2], int.from_bytes(body[-2:], "big") or EXTENDED_LE_MAX
    raise CardDataError(f"extended Lc is {size}, but {len(body) - 3} bytes follow")
