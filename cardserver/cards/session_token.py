"""Card sessions: signed tokens that say which card a terminal has opened, and when.

Any worker that knows the secret can check one; nothing is stored.
"""

import hmac
from hashlib import sha256

import msgspec

from cardserver.cards.refusals import CardRefusalReason

_TAG_SIZE = 32
_SECRET_SIZE_MIN = 32
# A token of another worker may be a little ahead of this worker's clock.
_CLOCK_SKEW_MAX_MS = 5_000


class CardSession(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a card session says.

    Attributes:
        proof: A `ProofLevel`.
        opened_time_ms: Since 1970-01-01T00:00:00Z.
        nonce: Makes two sessions of the same card differ.
    """

    terminal_no: int
    institution_no: int
    card_no: int
    person_no: int
    proof: int
    opened_time_ms: int
    nonce: bytes


class CardSessions:
    """Issues and checks card sessions.

    Args:
        secret: At least 32 bytes, shared by all workers.
        life_ms: How long a session holds.
    """

    def __init__(self, secret: bytes, life_ms: int = 600_000) -> None:
        if len(secret) < _SECRET_SIZE_MIN:
            raise ValueError(f"the session secret needs {_SECRET_SIZE_MIN} bytes or more")
        self._secret = secret
        self.life_ms = life_ms
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(CardSession)

    def issue(self, session: CardSession) -> bytes:
        """Write and sign a session."""
        body = self._encoder.encode(session)
        return self._tag(body) + body

    def check(
        self, token: bytes, *, terminal_no: int, now_ms: int
    ) -> CardSession | CardRefusalReason:
        """Read a session, or say why it does not hold for this terminal now."""
        tag, body = token[:_TAG_SIZE], token[_TAG_SIZE:]
        if not hmac.compare_digest(tag, self._tag(body)):
            return CardRefusalReason.CARD_SESSION_NOT_VALID
        try:
            session = self._decoder.decode(body)
        except msgspec.DecodeError:  # signed by an older or newer version of this program
            return CardRefusalReason.CARD_SESSION_NOT_VALID
        if session.terminal_no != terminal_no:
            return CardRefusalReason.CARD_SESSION_NOT_VALID
        age_ms = now_ms - session.opened_time_ms
        if age_ms < -_CLOCK_SKEW_MAX_MS:
            return CardRefusalReason.CARD_SESSION_NOT_VALID
        if age_ms >= self.life_ms:
            return CardRefusalReason.CARD_SESSION_EXPIRED
        return session

    def _tag(self, body: bytes) -> bytes:
        return hmac.digest(self._secret, b"card session" + body, sha256)
