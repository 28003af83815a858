"""What the client asks of a card reader, and how a hanging one is kept from holding it up.

Not here: PC/SC and the running of a batch's commands (`readers/`).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from protocol.terminal.messages import CardStep, Relay, Relayed, RelayOutcome
from terminals.readers.channel import BatchAnswers, BatchOutcome, ReaderError


class CardReader(Protocol):
    """What the client needs of a reader; `readers/pcsc.py` has one."""

    @property
    def name(self) -> str:
        """Its name, as the operating system gives it."""

    async def connect(self) -> bytes:
        """Power the card up and give its ATR."""

    async def run_batch(self, steps: Sequence[CardStep], challenge: bytes, /) -> BatchAnswers:
        """Send the commands, the challenge's bytes put in, and give the answers."""


@dataclass(slots=True)
class Relaying:
    """The reader behind one CARD_OPEN, and what its batches took.

    Attributes:
        reader: Where relayed batches are run.
        batch_timeout_ms: Longest time for one.
        card_time_us: Time in reader and card so far, in microseconds.
        count: Batches relayed so far.
    """

    reader: CardReader
    batch_timeout_ms: int
    card_time_us: int = 0
    count: int = 0


async def run_batch(
    reader: CardReader, steps: Sequence[CardStep], challenge: bytes, timeout_ms: int
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
    timeout_ms = min(relay.time_left_ms, relaying.batch_timeout_ms)
    # A relayed command carries its challenge; spans are for batches held in advance.
    batch = await run_batch(relaying.reader, relay.steps, b"", timeout_ms)
    relaying.count += 1
    relaying.card_time_us += batch.card_time_us
    return Relayed(
        relay.exchange,
        relay.sequence,
        RelayOutcome(batch.outcome),
        batch.answers,
        batch.card_time_us,
    )
