"""What the client asks of a card reader, and how a hanging one is kept from holding it up.

Here too is where a PIN is put into a command: typed at the terminal, it goes to the card and
nowhere else. Not here: PC/SC and the running of a batch's commands (`readers/`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from protocol.card.errors import CardDataError
from protocol.card.pin import PINDigits
from protocol.terminal.messages import PINKind, Relay, Relayed, RelayOutcome
from terminals.readers.channel import (
    BatchAnswers,
    BatchError,
    BatchOutcome,
    ReaderError,
    StepLike,
    put_pins,
)

PIN_MARGIN_MS = 10_000
"""Of the time that the centre waits, what is left to the card after the PIN was asked for."""


@dataclass(frozen=True, slots=True)
class PINRequest:
    """What the holder is asked for.

    Attributes:
        kind: The PIN that the card has, or the one that it is to have.
        tries_left: What the card said last; -1 unknown.
    """

    kind: PINKind
    tries_left: int


PINEntry = Callable[[PINRequest], Awaitable[str | None]]
"""Asks the holder for a PIN at this counter; None where they give none."""


class CardReader(Protocol):
    """What the client needs of a reader; `readers/pcsc.py` has one."""

    @property
    def name(self) -> str:
        """Its name, as the operating system gives it."""

    async def connect(self) -> bytes:
        """Power the card up and give its ATR."""

    async def run_batch(self, steps: Sequence[StepLike], challenge: bytes, /) -> BatchAnswers:
        """Send the commands, the challenge's bytes put in, and give the answers."""


@dataclass(slots=True)
class Relaying:
    """The reader behind one CARD_OPEN, and what its batches took.

    Attributes:
        reader: Where relayed batches are run.
        batch_timeout_ms: Longest time for one.
        card_time_us: Time in reader and card so far, in microseconds.
        count: Batches relayed so far.
        exchanges_count: Commands sent in them.
        pin_entry: Who asks the holder for a PIN; None where no PIN may be asked for.
        has_asked_pin: Whether a PIN was asked for: then nothing is repeated by itself.
        pin_entry_ms: How long the holder took.
    """

    reader: CardReader
    batch_timeout_ms: int
    card_time_us: int = 0
    count: int = 0
    exchanges_count: int = 0
    pin_entry: PINEntry | None = field(default=None, repr=False)
    has_asked_pin: bool = False
    pin_entry_ms: float = 0.0


async def run_batch(
    reader: CardReader, steps: Sequence[StepLike], challenge: bytes, timeout_ms: int
) -> BatchAnswers:
    """Run a batch; a reader that fails or hangs is an outcome that the centre is told."""
    started = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(timeout_ms / 1000):
            return await reader.run_batch(steps, challenge)
    except (TimeoutError, ReaderError):
        spent_us = round((asyncio.get_running_loop().time() - started) * 1_000_000)
        return BatchAnswers(BatchOutcome.READER_FAULT, (), spent_us)


async def relayed(relay: Relay, relaying: Relaying | None) -> Relayed:
    """Run a batch that the centre relays; without a reader it is a reader's fault."""
    if relaying is None:
        return Relayed(relay.exchange, relay.sequence, RelayOutcome.READER_FAULT, (), 0)
    clock = asyncio.get_running_loop().time
    begun = clock()
    try:
        steps = await _with_pins(relay, relaying)
    except BatchError:
        return Relayed(relay.exchange, relay.sequence, RelayOutcome.READER_FAULT, (), 0)
    entry_ms = (clock() - begun) * 1000
    relaying.pin_entry_ms += entry_ms
    timeout_ms = min(relay.time_left_ms - round(entry_ms), relaying.batch_timeout_ms)
    # A relayed command carries its challenge; spans are for batches held in advance.
    batch = await run_batch(relaying.reader, steps, b"", max(timeout_ms, 1))
    relaying.count += 1
    relaying.exchanges_count += batch.exchanges_count
    relaying.card_time_us += batch.card_time_us
    return Relayed(
        relay.exchange,
        relay.sequence,
        RelayOutcome(batch.outcome),
        batch.answers,
        batch.card_time_us,
    )


async def _with_pins(relay: Relay, relaying: Relaying) -> Sequence[StepLike]:
    """Ask for the PINs that a relayed batch wants, each kind once, and put them in.

    Raises:
        BatchError: No PIN may be asked for here, or a template is malformed.
    """
    wanted = {place.kind: place for step in relay.steps for place in step.pins}
    if not wanted:
        return relay.steps
    if relaying.pin_entry is None:
        raise BatchError("the centre wants a PIN that the terminal did not offer")
    # A template that no PIN may go into is refused before anybody is asked.
    put_pins(relay.steps, dict.fromkeys(wanted, PINDigits("0000")))
    relaying.has_asked_pin = True
    pins: dict[int, PINDigits] = {}
    try:
        async with asyncio.timeout(max(relay.time_left_ms - PIN_MARGIN_MS, 0) / 1000):
            for kind in sorted(wanted):
                typed = await relaying.pin_entry(PINRequest(kind, wanted[kind].tries_left))
                if typed is None:
                    return put_pins(relay.steps, None)
                pins[kind] = PINDigits(typed)
    except (TimeoutError, CardDataError):
        return put_pins(relay.steps, None)
    return put_pins(relay.steps, pins)
