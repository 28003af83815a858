"""A reader attached to the centre: the same scripts as over a relay, with no wire between."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from cardserver.cards.challenges import CHALLENGE_SIZE
from cardserver.cards.keystore import KeyStore
from cardserver.cards.opening import OpenedCard, open_card
from cardserver.cards.refusals import CardRefusal, CardRefusalReason
from cardserver.cards.trust_anchors import TrustAnchors
from cardserver.cards.visit import CardRegistry, FirstAnswers
from protocol.card.script import Batch
from terminals.readers.channel import (
    BatchAnswers,
    BatchOutcome,
    CardRemovedError,
    ReaderError,
    StepLike,
)


class Reader(Protocol):
    """What is needed of a reader; `terminals/readers/pcsc.py` has one."""

    async def connect(self) -> bytes:
        """Power the card up and return its ATR."""
        ...

    async def run_batch(self, batch: Sequence[StepLike], challenge: bytes) -> BatchAnswers:
        """Run a batch on the card."""
        ...

    async def disconnect(self) -> None:
        """Let the card go."""
        ...


class AttachedReader:
    """Opens the cards that are put into one reader, one at a time.

    Args:
        reader: The reader; nobody else uses it.
        keys: Root keys.
        cards: The registry.
        issuers: As in `open_card`.
        random_bytes: Where challenges come from.
        anchors: As in `open_card`.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        keys: KeyStore,
        cards: CardRegistry,
        issuers: tuple[bytes, ...],
        random_bytes: Callable[[int], bytes],
        anchors: TrustAnchors | None = None,
    ) -> None:
        self._reader = reader
        self._keys = keys
        self._cards = cards
        self._issuers = issuers
        self._random_bytes = random_bytes
        self._anchors = anchors
        self._turn = asyncio.Lock()

    async def open(self, *, today: int, wants_holder: bool) -> OpenedCard | CardRefusal:
        """Open the card that is in the reader now; `today` is the fund's day, YYYYMMDD."""
        async with self._turn:
            try:
                return await self._open(today=today, wants_holder=wants_holder)
            except CardRemovedError as removed:
                return CardRefusal(CardRefusalReason.CARD_REMOVED, detail_en=str(removed))
            except ReaderError as fault:
                return CardRefusal(CardRefusalReason.CARD_READER_FAULT, detail_en=str(fault))

    async def run(self, batch: Batch) -> BatchAnswers:
        """Run a batch whose places are filled already."""
        return await self._reader.run_batch(batch, b"")

    async def _open(self, *, today: int, wants_holder: bool) -> OpenedCard | CardRefusal:
        first = FirstAnswers(
            atr=await self._reader.connect(),
            opening=0,
            challenge=self._random_bytes(CHALLENGE_SIZE),
            answers=(),
            outcome=BatchOutcome.COMPLETED,
        )
        try:
            return await open_card(
                first=first,
                runner=self,
                keys=self._keys,
                cards=self._cards,
                issuers=self._issuers,
                today=today,
                wants_holder=wants_holder,
                anchors=self._anchors,
            )
        finally:
            await self._reader.disconnect()
