"""Why a card, or a card session, is refused.

The order is the one in which refusals are reported: the first that applies. Not here: the
numbers on the wire (`cardserver/outcomes.py`).
"""

from dataclasses import dataclass
from enum import Enum, auto, unique


@unique
class CardRefusalReason(Enum):
    """A reason, named as the `ResponseCode` that tells it to the terminal."""

    CARD_READER_FAULT = auto()
    CARD_REMOVED = auto()
    CARD_UNKNOWN = auto()
    CARD_UNEXPECTED_STATUS = auto()
    CARD_DATA_MALFORMED = auto()
    CARD_RELAY_VIOLATION = auto()
    CHALLENGE_NOT_VALID = auto()
    CARD_NOT_REGISTERED = auto()
    CARD_ALGORITHM_UNSUPPORTED = auto()
    CARD_ALGORITHM_MISMATCH = auto()
    CARD_NOT_GENUINE = auto()
    CARD_IDENTITY_MISMATCH = auto()
    CARD_REVOKED = auto()
    CARD_ISSUER_REFUSED = auto()
    CARD_CLASS_REFUSED = auto()
    CARD_VERSION_MISMATCH = auto()
    CARD_NOT_YET_VALID = auto()
    CARD_EXPIRED = auto()
    CARD_SESSION_NOT_VALID = auto()
    CARD_SESSION_EXPIRED = auto()


@dataclass(frozen=True, slots=True)
class CardRefusal:
    """A card that is refused.

    Attributes:
        detail_zh: What the cashier should know beyond the reason's own words; may be empty.
        detail_en: The same in English.
        external_authentications: How often the centre had proven itself to the card by then:
            for the audit.
    """

    reason: CardRefusalReason
    detail_zh: str = ""
    detail_en: str = ""
    external_authentications: int = 0
