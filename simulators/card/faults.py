"""Cards that go wrong, or do wrong: pulled half-way, rewritten, played from a tape; or told of.

Faults by script are `Fault`s: which commands they befall, and how. Not here: cards without their
keys, with wrong keys or a blocked PIN; those are printed so (`card_orders.py`).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum, unique

from protocol.card.pin import shown
from simulators.card.simulated_card import PoweredCard
from terminals.readers.channel import CardRemovedError, ReaderError

_STATUS_SIZE = 2
_MUTE_MS = 3_000


class RemovedCard:
    """A card that is taken out after it has answered so many commands."""

    def __init__(self, card: PoweredCard, commands_max: int) -> None:
        self._card = card
        self._commands_left = commands_max

    @property
    def atr(self) -> bytes:
        """The answer to reset."""
        return self._card.atr

    def reset(self) -> None:
        """Forget what a reset makes a card forget; taken out it stays."""
        self._card.reset()

    def transmit(self, command: bytes) -> bytes:
        """Answer, as long as the card is there."""
        if not self._commands_left:
            raise CardRemovedError("the card was taken out")
        self._commands_left -= 1
        return self._card.transmit(command)


class RewritingCard:
    """Someone between card and reader who replaces what the card says, and records it."""

    def __init__(self, card: PoweredCard, replacements: Mapping[bytes, bytes]) -> None:
        self._card = card
        self._replacements = replacements
        self._tape: list[tuple[bytes, bytes]] = []

    @property
    def atr(self) -> bytes:
        """The answer to reset."""
        return self._card.atr

    def reset(self) -> None:
        """Reset the card behind."""
        self._card.reset()

    def transmit(self, command: bytes) -> bytes:
        """Answer with what the card says, rewritten."""
        answer = self._card.transmit(command)
        for real, wrong in self._replacements.items():
            answer = answer.replace(real, wrong)
        self._tape.append((command, answer))
        return answer

    def recording(self) -> "RecordedCard":
        """Play what was recorded so far, as a relay without the card would."""
        return RecordedCard(self.atr, list(self._tape))


class RecordedCard:
    """Answers from a tape: the same instruction gets the same answer, whatever else it says."""

    def __init__(self, atr: bytes, tape: list[tuple[bytes, bytes]]) -> None:
        self._atr = atr
        self._tape = tape
        self._position = 0

    @property
    def atr(self) -> bytes:
        """The answer to reset."""
        return self._atr

    def reset(self) -> None:
        """Rewind the tape."""
        self._position = 0

    def transmit(self, command: bytes) -> bytes:
        """Answer with what stands next on the tape for this instruction."""
        for position in range(self._position, len(self._tape)):
            recorded, answer = self._tape[position]
            if recorded[:4] == command[:4]:
                self._position = position + 1
                return answer
        raise ReaderError("the tape has no answer to this")


class TracedCard:
    """A card whose every command and answer is told to somebody."""

    def __init__(self, card: PoweredCard, tell: Callable[[str], None]) -> None:
        self._card = card
        self._tell = tell

    @property
    def atr(self) -> bytes:
        """The answer to reset."""
        return self._card.atr

    def reset(self) -> None:
        """Reset the card behind, and tell."""
        self._tell("reset")
        self._card.reset()

    def transmit(self, command: bytes) -> bytes:
        """Pass a command on, and tell both sides of it."""
        self._tell(f"> {shown(command)}")
        answer = self._card.transmit(command)
        self._tell(f"< {answer.hex().upper()}")
        return answer


class SlowCard:
    """A card that takes its time, as chips do: about 40 ms a command on contact cards."""

    def __init__(self, card: PoweredCard, delay_ms: int) -> None:
        self._card = card
        self._delay_ms = delay_ms

    @property
    def atr(self) -> bytes:
        """The answer to reset."""
        return self._card.atr

    def reset(self) -> None:
        """Reset the card behind."""
        self._card.reset()

    def transmit(self, command: bytes) -> bytes:
        """Answer after a while."""
        time.sleep(self._delay_ms / 1000)
        return self._card.transmit(command)


@unique
class FaultKind(StrEnum):
    """What goes wrong."""

    PULLED = "pulled"
    """The card leaves instead of answering."""
    MUTE = "mute"
    """The card says nothing for `ms`, by default three seconds, and is then given up."""
    SLOW = "slow"
    """The card takes `ms` longer."""
    STATUS_WORD = "status_word"
    """The card does nothing and answers `value`, four hex digits."""
    WRONG_LENGTH = "wrong_length"
    """The card answers `6Cxx` with `value`, two hex digits, which is not what it then takes."""
    BIT_FLIP = "bit_flip"
    """One bit of the answer is another: `bit`, from 0, the first byte's highest."""
    STALE_COUNTER = "stale_counter"
    """Counters and challenges stand still: the answer is the one given to this instruction
    before, once there was one."""
    HALF_WRITTEN = "half_written"
    """The second half of what is read is FF, as where power failed under a write."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, and which commands it befalls.

    Attributes:
        at: The command of this number since insertion, from 1; 0 for any.
        match: Commands that begin with these bytes; empty for any.
        times: How often it happens; 0 for always.
    """

    kind: FaultKind
    at: int = 0
    match: bytes = b""
    times: int = 0
    ms: int = 0
    value: bytes = b""
    bit: int = 0

    def __post_init__(self) -> None:
        """Check that it says what it needs to.

        Raises:
            ValueError: It doesn't.
        """
        sizes = {FaultKind.STATUS_WORD: 2, FaultKind.WRONG_LENGTH: 1}
        if len(self.value) != sizes.get(self.kind, 0):
            raise ValueError(
                f"fault {self.kind} has a value of {sizes.get(self.kind, 0)} bytes,"
                f" not {len(self.value)}"
            )
        if min(self.at, self.times, self.ms, self.bit) < 0:
            raise ValueError(f"fault {self.kind} has a number below 0")

    def befalls(self, number: int, command: bytes) -> bool:
        """Say whether it is meant for this command."""
        return self.at in {0, number} and command.startswith(self.match)


class FaultyCard:
    """A card on which faults befall commands as a script says."""

    def __init__(
        self,
        card: PoweredCard,
        faults: Sequence[Fault],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._card = card
        self._faults = tuple(faults)
        self._happened = [0] * len(faults)
        self._sleep = sleep
        self._number = 0
        self._is_out = False
        self._earlier: dict[int, bytes] = {}

    @property
    def atr(self) -> bytes:
        """The answer to reset."""
        return self._card.atr

    def reset(self) -> None:
        """Reset the card behind; commands are counted on, and what is out stays out."""
        self._card.reset()

    def transmit(self, command: bytes) -> bytes:
        """Answer as the script says."""
        if self._is_out:
            raise CardRemovedError("the card was taken out")
        self._number += 1
        befalling = self._befalling(command)
        for fault in befalling:
            answer = self._instead(fault)
            if answer is not None:
                return answer
        answer = self._card.transmit(command)
        for fault in befalling:
            answer = self._rewritten(fault, command, answer)
        self._earlier.setdefault(command[1], answer)
        return answer

    def _befalling(self, command: bytes) -> list[Fault]:
        found = []
        for index, fault in enumerate(self._faults):
            is_left = not fault.times or self._happened[index] < fault.times
            if is_left and fault.befalls(self._number, command):
                self._happened[index] += 1
                found.append(fault)
        return found

    def _instead(self, fault: Fault) -> bytes | None:
        """Do what keeps the command from the card; None where it goes through."""
        match fault.kind:
            case FaultKind.PULLED:
                self._is_out = True
                raise CardRemovedError("the card was taken out")
            case FaultKind.MUTE:
                self._sleep((fault.ms or _MUTE_MS) / 1000)
                raise ReaderError("the card says nothing")
            case FaultKind.SLOW:
                self._sleep(fault.ms / 1000)
                return None
            case FaultKind.STATUS_WORD:
                return fault.value
            case FaultKind.WRONG_LENGTH:
                return b"\x6c" + fault.value
            case FaultKind.BIT_FLIP | FaultKind.STALE_COUNTER | FaultKind.HALF_WRITTEN:
                return None

    def _rewritten(self, fault: Fault, command: bytes, answer: bytes) -> bytes:
        match fault.kind:
            case FaultKind.BIT_FLIP if fault.bit < 8 * len(answer):
                flipped = bytearray(answer)
                flipped[fault.bit // 8] ^= 0x80 >> fault.bit % 8
                return bytes(flipped)
            case FaultKind.STALE_COUNTER:
                return self._earlier.get(command[1], answer)
            case FaultKind.HALF_WRITTEN:
                size = len(answer) - _STATUS_SIZE
                return answer[: size // 2] + b"\xff" * (size - size // 2) + answer[size:]
            case _:
                return answer
