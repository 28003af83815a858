"""Cards that go wrong, or do wrong: pulled half-way, rewritten, played from a tape; or told of."""

import time
from collections.abc import Callable, Mapping

from simulators.card.simulated_card import PoweredCard
from terminals.readers.channel import CardRemovedError, ReaderError


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
        self._tell(f"> {command.hex().upper()}")
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
