"""The card types known here, and which commands open a card by its ATR."""

from msgspec import Struct

from protocol.card.atr import matches_atr
from protocol.card.profiles import social_security_card
from protocol.card.script import Batch


class Opening(Struct, frozen=True):
    """What is sent to a card as soon as it is inserted.

    Attributes:
        number: Names it between centre and terminal, from 1; never used again for another batch.
        profile: The card type's name.
        atr: The ATR's bytes to compare.
        atr_mask: Which bits of them; an ATR matches when it has this length and these bits.
        batch: The commands.
        challenge_size: How many bytes of a challenge they take.
    """

    number: int
    profile: str
    atr: bytes
    atr_mask: bytes
    batch: Batch
    challenge_size: int


PROFILES: tuple[Opening, ...] = (
    Opening(
        number=1,
        profile=social_security_card.PROFILE,
        atr=social_security_card.ATR_PATTERN,
        atr_mask=social_security_card.ATR_MASK,
        batch=social_security_card.OPENING,
        challenge_size=social_security_card.CHALLENGE_SIZE,
    ),
)
"""In the order in which their ATR is compared."""


def find_opening(atr: bytes) -> Opening | None:
    """Find how a card is opened by its ATR; None where no profile knows it."""
    for opening in PROFILES:
        if matches_atr(atr, pattern=opening.atr, mask=opening.atr_mask):
            return opening
    return None
