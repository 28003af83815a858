"""Opening the card in the reader, in one round trip where a challenge and a batch are held.

Not here: what is held (`openings.py`), how a reader runs a batch (`card_reader.py`), how a request
is sent (`client.py`, `repeating.py`).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from msgspec import structs

from protocol.terminal.bodies import encode_body
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import (
    CardOpen,
    Challenge,
    MessageType,
    OpeningBatch,
    PINAction,
    RelayOutcome,
)
from terminals.answer import Answer, NoAnswerError
from terminals.card_reader import CardReader, PINEntry, Relaying, run_batch
from terminals.config import TerminalConfig
from terminals.felt import FeltClock, TerminalStage
from terminals.openings import ChallengeWallet, opening_of
from terminals.repeating import Sending

OPENINGS_MAX: Final = 3
"""How often a card is opened anew when its challenge had died on the way."""
PIN_TIME_MS: Final = 60_000
"""How much longer a request may take in which the holder is asked for a PIN."""

FirstAnswers = Callable[[int, bytes, tuple[bytes, ...]], None]
"""Is told the number of an opening batch, the card's ATR and its answers."""


@dataclass(frozen=True, slots=True)
class CardOpening:
    """A card opened, or refused, and where the time went.

    Attributes:
        answer: CARD_OPEN's.
        atr: The card's ATR.
        prepare_ms: Connecting to the centre and getting a challenge, where neither stood.
        connect_ms: Powering the card up.
        card_ms: In reader and card, relayed batches included.
        total_ms: From before powering up to the answer; without `prepare_ms`.
        relays: Batches that the centre relayed.
        exchanges: Commands sent to the card, GET RESPONSE and repetitions of length counted.
        pin_entry_ms: How long the holder took over a PIN; in `total_ms` too.
        terminal_ms: Processor time of this program meanwhile; in `total_ms` too.
    """

    answer: Answer
    atr: bytes
    prepare_ms: float
    connect_ms: float
    card_ms: float
    total_ms: float
    relays: int
    exchanges: int = 0
    pin_entry_ms: float = 0.0
    terminal_ms: float = 0.0


class CardOpener:
    """Opens cards for one client.

    Args:
        config: The terminal's configuration.
        wallet: The challenges held.
        openings: Gives the opening batches of the sign-on in use.
        msgid: Takes a new msgid.
        prepare: Connects and gets a challenge, unless both are there.
        request: Sends a request and follows the advice of its answer, within so many milliseconds.
    """

    def __init__(
        self,
        config: TerminalConfig,
        wallet: ChallengeWallet,
        *,
        openings: Callable[[], tuple[OpeningBatch, ...]],
        msgid: Callable[[], str],
        prepare: Callable[[], Awaitable[None]],
        request: Callable[[Sending, int, FeltClock], Awaitable[Answer]],
    ) -> None:
        self._config = config
        self._wallet = wallet
        self._openings = openings
        self._msgid = msgid
        self._prepare = prepare
        self._request = request

    async def open(
        self,
        reader: CardReader,
        *,
        wants_holder: bool,
        wants_medical: bool,
        pin_action: PINAction,
        pin_entry: PINEntry | None,
        on_first_answers: FirstAnswers | None,
    ) -> CardOpening:
        """Open the card; what the arguments mean and what is raised says `TerminalClient`."""
        assert (pin_entry is not None) == (pin_action is not PINAction.NONE)
        clock = asyncio.get_running_loop().time
        begun = clock()
        await self._prepare()
        started = clock()
        felt = FeltClock(clock)
        atr = await reader.connect()
        felt.end(TerminalStage.POWER_UP)
        connected = clock()
        processor_began = time.thread_time()
        time_limit_ms = self._config.limits.request_timeout_ms
        if pin_entry is not None:
            time_limit_ms += PIN_TIME_MS
        card_time_us = relays = tries = exchanges = 0
        pin_entry_ms = 0.0
        while True:
            tries += 1
            body, sent_count = await self._card_open_of(reader, atr, wants_holder=wants_holder)
            felt.end(TerminalStage.CHIP)
            body = structs.replace(body, wants_medical=wants_medical, pin_action=pin_action)
            if on_first_answers is not None and body.answers and tries == 1:
                on_first_answers(body.opening, atr, body.answers)
            exchanges += sent_count
            relaying = Relaying(
                reader,
                self._config.reader.batch_timeout_ms,
                body.card_time_us,
                pin_entry=pin_entry,
            )
            sending = Sending(
                MessageType.CARD_OPEN, encode_body(body), self._msgid(), relaying=relaying
            )
            try:
                answer = await self._request(sending, time_limit_ms, felt)
            except NoAnswerError as lost:
                # Opening a card commits nothing: where the connection broke, begin anew. Not so
                # where a PIN was asked for: another time takes another try, if it was wrong.
                if lost.exchange is not None or tries == OPENINGS_MAX or relaying.has_asked_pin:
                    raise
                continue
            finally:
                card_time_us += relaying.card_time_us
                relays += relaying.count
                exchanges += relaying.exchanges_count
                pin_entry_ms += relaying.pin_entry_ms
            if answer.code != ResponseCode.CHALLENGE_NOT_VALID or tries == OPENINGS_MAX:
                break
        return CardOpening(
            answer=answer,
            atr=atr,
            prepare_ms=(started - begun) * 1000,
            connect_ms=(connected - started) * 1000,
            card_ms=card_time_us / 1000,
            total_ms=(clock() - started) * 1000,
            relays=relays,
            exchanges=exchanges,
            pin_entry_ms=pin_entry_ms,
            terminal_ms=(time.thread_time() - processor_began) * 1000,
        )

    async def _card_open_of(
        self, reader: CardReader, atr: bytes, *, wants_holder: bool
    ) -> tuple[CardOpen, int]:
        """Run the opening batch, if one is held; give the request and how many commands it took."""
        opening = opening_of(self._openings(), atr)
        challenge: Challenge | None = None
        if opening is not None:
            await self._prepare()
            challenge = self._wallet.take()
        if opening is None or challenge is None:
            # Nothing in hand: the centre relays the whole opening.
            unopened = CardOpen(reader.name, atr, 0, 0, RelayOutcome.COMPLETED, (), wants_holder, 0)
            return unopened, 0
        batch = await run_batch(
            reader, opening.steps, challenge.value, self._config.reader.batch_timeout_ms
        )
        opened = CardOpen(
            reader.name,
            atr,
            opening.opening,
            challenge.number,
            RelayOutcome(batch.outcome),
            batch.answers,
            wants_holder,
            batch.card_time_us,
        )
        return opened, batch.exchanges_count
