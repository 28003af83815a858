"""A card that lies on a contactless reader, behind PACE: as if it stood in a contact reader.

The access number is typed in or read off the card at the counter and never leaves it. Whoever
sends commands through this channel, the centre's relay among them, sends them plain; on the air
they are protected. Not here: the protocol (`protocol/card/pace.py`).
"""

import secrets
from collections.abc import Callable
from typing import Self

from protocol.card.elliptic_curve import COORDINATE_SIZE, EphemeralKey
from protocol.card.pace import establish
from protocol.card.secure_messaging import SecureMessaging, SecureMessagingError
from terminals.readers.channel import CardChannel, ReaderError, run_script


class PacedChannel:
    """A card's channel, protected.

    Args:
        channel: The card.
        messaging: Our end of the secure channel to it.
    """

    def __init__(self, channel: CardChannel, messaging: SecureMessaging) -> None:
        self._channel = channel
        self._messaging = messaging

    @classmethod
    def open(
        cls,
        channel: CardChannel,
        can: str,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> Self:
        """Open the secure channel with the card's access number.

        Raises:
            CardDataError: The number is another card's, or none.
            StatusWordError: The card does no PACE, or refuses the number.
            CardRemovedError: The card was taken away.
            ReaderError: The reader failed.
        """
        mapping = EphemeralKey(random_bytes(COORDINATE_SIZE))
        script = establish(can, (mapping, random_bytes(COORDINATE_SIZE)))
        return cls(channel, run_script(channel, script))

    @property
    def atr(self) -> bytes:
        """The answer to reset."""
        return self._channel.atr

    def transmit(self, command: bytes) -> bytes:
        """Send one command, protected, and give its answer, plain.

        Raises:
            ReaderError: The answer is not the card's to this command: the channel is broken.
        """
        protected = self._messaging.protect(command)
        try:
            return self._messaging.unprotect(self._channel.transmit(protected))
        except SecureMessagingError as broken:
            raise ReaderError(f"the secure channel is broken: {broken}") from broken
