"""Transcripts: every exchange with a card written to a file, and a card played from one.

A transcript is text, a line an event: `atr`, `reset`, `>` a command, `<` its answer with the
microseconds that it took. Data that may hold a PIN stands as asterisks.

    # cardserver card transcript 1
    atr 3B6D000000814E43238697159900BF7C7A
    reset
    > 0020000003******
    < 9000 1840
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from protocol.card.pin import shown
from simulators.card.simulated_card import PoweredCard
from terminals.readers.channel import ReaderError

HEADER = "# cardserver card transcript 1"
_ATR = "atr"
_RESET = "reset"
_COMMAND = ">"
_ANSWER = "<"
_HEADER_DIGITS = 8
_SIZE_MAX = 64 * 1024 * 1024


class TranscriptError(Exception):
    """A file is no transcript, or one cut short."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A command and its answer.

    Attributes:
        command: In hex, asterisks where a PIN may have been.
        answer: As the card gave it.
        took_us: Microseconds.
    """

    command: str
    answer: bytes
    took_us: int = 0

    def is_for(self, command: bytes) -> bool:
        """Say whether it is of this very command; asterisks stand for anything."""
        text = command.hex().upper()
        return len(text) == len(self.command) and all(
            one in {"*", other} for one, other in zip(self.command, text, strict=True)
        )

    def is_like(self, command: bytes) -> bool:
        """Say whether it is of the same instruction and parameters."""
        return self.command[:_HEADER_DIGITS] == command[:4].hex().upper()


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said between a reader and a card.

    Attributes:
        visits: Exchanges from one reset to the next.
    """

    atr: bytes
    visits: tuple[tuple[Exchange, ...], ...] = field(repr=False)


def read_transcript(path: Path) -> Transcript:
    """Read a transcript.

    Raises:
        TranscriptError: It is none; the sentence names the line.
        OSError: It can't be read.
    """
    if path.stat().st_size > _SIZE_MAX:
        raise TranscriptError(f"{path} is larger than any transcript")
    return parse_transcript(path.read_text(encoding="ascii", errors="replace"), str(path))


def parse_transcript(text: str, name: str = "transcript") -> Transcript:
    """Read a transcript's text.

    Raises:
        TranscriptError: It is none; the sentence names the line.
    """
    lines = text.splitlines()
    if not lines or lines[0].strip() != HEADER:
        raise TranscriptError(f"{name} does not begin with {HEADER!r}")
    atr = b""
    visits: list[list[Exchange]] = [[]]
    command: str | None = None
    for number, line in enumerate(lines[1:], 2):
        words = line.split()
        try:
            match words:
                case [] | ["#", *_]:
                    continue
                case ["atr", value] if command is None:
                    atr = bytes.fromhex(value)
                case ["reset"] if command is None:
                    visits.append([])
                case [">", value] if command is None:
                    bytes.fromhex(value.replace("*", "0"))
                    command = value.upper()
                case ["<", value, *rest] if command is not None and len(rest) <= 1:
                    took_us = int(rest[0]) if rest else 0
                    visits[-1].append(Exchange(command, bytes.fromhex(value), took_us))
                    command = None
                case _:
                    raise TranscriptError(f"{name}:{number}: {line[:60]!r} has no place here")
        except ValueError as malformed:
            raise TranscriptError(f"{name}:{number}: {malformed}") from malformed
    # A command without an answer at the end is a card that was pulled: it ends there.
    return Transcript(atr, tuple(tuple(visit) for visit in visits if visit))


class RecordingCard:
    """A card whose every exchange is written down; use it as a context.

    Args:
        card: Which card.
        path: The file; an older one is replaced.
    """

    def __init__(
        self, card: PoweredCard, path: Path, now_ns: Callable[[], int] = time.perf_counter_ns
    ) -> None:
        self._card = card
        self._now_ns = now_ns
        self._file = path.open("w", encoding="ascii")
        self._write(HEADER)
        self._write(f"{_ATR} {card.atr.hex().upper()}")

    @property
    def atr(self) -> bytes:
        """The answer to reset."""
        return self._card.atr

    def reset(self) -> None:
        """Reset the card behind, and write it down."""
        self._write(_RESET)
        self._card.reset()

    def transmit(self, command: bytes) -> bytes:
        """Pass a command on, and write both sides of it down; at once, should the end come."""
        self._write(f"{_COMMAND} {shown(command)}")
        begun_ns = self._now_ns()
        answer = self._card.transmit(command)
        self._write(f"{_ANSWER} {answer.hex().upper()} {(self._now_ns() - begun_ns) // 1000}")
        return answer

    def close(self) -> None:
        """End the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, line: str) -> None:
        if self._file.closed:
            return  # the reader still powers a card off whose record has ended
        self._file.write(line + "\n")
        self._file.flush()


class ReplayedCard:
    """A card that answers from a transcript, as a recording without the card would.

    The next exchange of the same command answers; where there is none, the next with its
    instruction and parameters: challenges differ each time, and a recording can't help it.
    """

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self._visit = -1
        self._position = 0

    @property
    def atr(self) -> bytes:
        """The answer to reset."""
        return self._transcript.atr

    def reset(self) -> None:
        """Go on with the next visit; after the last one from the first."""
        if self._position or self._visit < 0:
            self._visit = (self._visit + 1) % max(1, len(self._transcript.visits))
        self._position = 0

    def transmit(self, command: bytes) -> bytes:
        """Answer with what stands next for this command."""
        visits = self._transcript.visits
        exchanges = visits[max(self._visit, 0)] if visits else ()
        for is_fitting in (Exchange.is_for, Exchange.is_like):
            for position in range(self._position, len(exchanges)):
                if is_fitting(exchanges[position], command):
                    self._position = position + 1
                    return exchanges[position].answer
        raise ReaderError(f"the transcript has no answer to {shown(command)}")
