"""How long a chip takes: bytes over the wire at its baud rate, its own work, its cryptography.

The wire's part follows from ISO/IEC 7816-3:2006. The chip's own part is chosen so that the whole
matches what was seen in the field: about 40 ms a command on contact cards, and 2 s for the twenty
commands with which a Chinese card of version 3.0 is read.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum, unique

from protocol.card.apdu import Instruction
from simulators.card.simulated_card import PoweredCard

_HEADER_SIZE = 5
_STATUS_SIZE = 2
# T=0 (10.3.2): a procedure byte before data; start, eight bits, parity, two of guard time.
_T0_PROCEDURE_SIZE = 1
_T0_ETU_A_BYTE = 12
# T=1 (11.3): node address, control, length and check byte around each block; guard time 11.
_T1_BLOCK_OVERHEAD = 4
_T1_ETU_A_BYTE = 11
_T1_TURN_ETU = 22
_T1_BLOCK_MAX = 254
# ISO/IEC 14443-4:2018, 7.1: control byte and CRC; 14443-3, 6.2.3: about eleven bits a byte.
_CONTACTLESS_OVERHEAD = 3
_CONTACTLESS_BITS_A_BYTE = 11
_CONTACTLESS_TURN_US = 500

_CRYPTOGRAPHIC = frozenset(
    {
        int(Instruction.INTERNAL_AUTHENTICATE),
        int(Instruction.EXTERNAL_AUTHENTICATE),
        int(Instruction.GENERAL_AUTHENTICATE),
        int(Instruction.PERFORM_SECURITY_OPERATION),
    }
)
_WRITING = frozenset(
    {
        int(Instruction.VERIFY),
        int(Instruction.CHANGE_PIN),
        int(Instruction.UPDATE_BINARY),
        int(Instruction.UPDATE_RECORD),
    }
)


@unique
class Transmission(StrEnum):
    """How a card talks."""

    T0 = "t0"
    T1 = "t1"
    CONTACTLESS = "contactless"


@dataclass(frozen=True, slots=True)
class ChipTiming:
    """A chip's speed.

    Attributes:
        transmission: How bytes get to it.
        clock_hz: What the reader gives it; readers take 4 MHz, a card's default ends at 5.
        clock_factor: F, clock cycles that a bit takes before division (7816-3, 8.3; default 372).
        rate_divisor: D, by which F is divided (default 1).
        command_ms: For any command.
        crypto_ms: More for one that computes with a key.
        write_ms: More for one that writes, a PIN's counter included.
    """

    transmission: Transmission = Transmission.T0
    clock_hz: int = 4_000_000
    clock_factor: int = 372
    rate_divisor: int = 1
    command_ms: float = 8.0
    crypto_ms: float = 60.0
    write_ms: float = 10.0

    def wire_us(self, command: bytes, answer: bytes) -> int:
        """Say how long command and answer are on the wire, in microseconds."""
        match self.transmission:
            case Transmission.T0:
                return round(self._t0_bytes(command, answer) * _T0_ETU_A_BYTE * self._etu_us)
            case Transmission.T1:
                size = sum(
                    len(each) + _T1_BLOCK_OVERHEAD * -(-len(each) // _T1_BLOCK_MAX)
                    for each in (command, answer)
                )
                return round((size * _T1_ETU_A_BYTE + 2 * _T1_TURN_ETU) * self._etu_us)
            case Transmission.CONTACTLESS:
                size = len(command) + len(answer) + 2 * _CONTACTLESS_OVERHEAD
                bit_us = 1e6 * 128 / 13_560_000  # 106 kbit/s, the field's frequency over 128
                return round(size * _CONTACTLESS_BITS_A_BYTE * bit_us) + 2 * _CONTACTLESS_TURN_US

    def chip_us(self, command: bytes) -> int:
        """Say how long the chip works on a command, in microseconds."""
        instruction = command[1] if len(command) > 1 else 0
        work_ms = self.command_ms
        if instruction in _CRYPTOGRAPHIC:
            work_ms += self.crypto_ms
        is_writing = instruction in _WRITING and len(command) > _HEADER_SIZE
        if is_writing:
            work_ms += self.write_ms
        return round(work_ms * 1000)

    @property
    def _etu_us(self) -> float:
        return 1e6 * self.clock_factor / self.rate_divisor / self.clock_hz

    @staticmethod
    def _t0_bytes(command: bytes, answer: bytes) -> int:
        """Count bytes; T=0 sends no Le behind data, and a header is five bytes."""
        header_and_data = max(len(command), _HEADER_SIZE)
        has_data = len(command) > _HEADER_SIZE
        if has_data and len(command) == _HEADER_SIZE + command[4] + 1:
            header_and_data -= 1
        has_procedure = has_data or len(answer) > _STATUS_SIZE
        return header_and_data + len(answer) + (_T0_PROCEDURE_SIZE if has_procedure else 0)


CHIP = ChipTiming()
"""A contact card that negotiates nothing: 10,753 baud at 4 MHz."""

FAST_CHIP = ChipTiming(Transmission.T1, clock_factor=512, rate_divisor=32, command_ms=4.0)
"""A contact card at 250,000 baud, as newer ones after PPS."""

CONTACTLESS_CHIP = ChipTiming(Transmission.CONTACTLESS, command_ms=4.0)
"""A card in the field, at 106 kbit/s."""

TIMINGS = {"chip": CHIP, "fast-chip": FAST_CHIP, "contactless-chip": CONTACTLESS_CHIP}
"""By the name that the command line and a card's file have for them."""


class TimedCard:
    """A card that takes as long as a chip would."""

    def __init__(
        self,
        card: PoweredCard,
        timing: ChipTiming,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._card = card
        self._timing = timing
        self._sleep = sleep
        self._now = now

    @property
    def atr(self) -> bytes:
        """The answer to reset."""
        return self._card.atr

    def reset(self) -> None:
        """Reset the card behind."""
        self._card.reset()

    def transmit(self, command: bytes) -> bytes:
        """Answer after as long as wire and chip take; what the simulation took counts in."""
        begun = self._now()
        answer = self._card.transmit(command)
        takes_s = (self._timing.wire_us(command, answer) + self._timing.chip_us(command)) / 1e6
        self._sleep(max(0.0, begun + takes_s - self._now()))
        return answer
