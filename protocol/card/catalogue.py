"""The card types known here, what tells them apart, and which commands open each.

A card is recognised by its ATR; where an ATR is unknown, or names a chip that several card types
use, by the application that it lets be selected.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from protocol.card.atr import matches_atr
from protocol.card.profiles import egk, social_security_card, taiwan_nhi, thai_nhso
from protocol.card.script import Batch, Step, challenge_size
from protocol.card.status_word import StatusWord

ATRPattern = tuple[bytes, bytes]
"""An ATR's bytes, and which bits of them to compare."""


class Opening(Struct, frozen=True):
    """What is sent to a card as soon as it is inserted.

    Attributes:
        number: Names the batch between centre and terminal, from 1; several ATRs may share it,
            and it is never used again for another batch.
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


class Profile(Struct, frozen=True):
    """A card type.

    Attributes:
        name: As the registry writes it.
        select: The SELECT that only cards of this type take; each opening batch begins with it,
            or with another command that does no harm to cards of other types.
        openings: Its openings by ATR, the first also for cards found by their application.
    """

    name: str
    select: bytes
    openings: tuple[Opening, ...]


def _profile(
    name: str, select: bytes, *batches: tuple[int, Batch, Iterable[ATRPattern]]
) -> Profile:
    """Make a profile; each batch has its number and the ATRs that it is for."""
    return Profile(
        name,
        select,
        tuple(
            Opening(number, name, atr, mask, batch, challenge_size(batch))
            for number, batch, patterns in batches
            for atr, mask in patterns
        ),
    )


def _exactly(atrs: Iterable[bytes]) -> tuple[ATRPattern, ...]:
    """Compare all bits of these ATRs."""
    return tuple((atr, b"\xff" * len(atr)) for atr in atrs)


# fmt: off
PROFILES: tuple[Profile, ...] = (
    _profile(
        social_security_card.PROFILE, social_security_card.select_ssse(),
        (1, social_security_card.OPENING,
         ((social_security_card.ATR_PATTERN, social_security_card.ATR_MASK),)),
        (5, social_security_card.OPENING_CONTACTLESS, social_security_card.CONTACTLESS_PATTERNS),
    ),
    _profile(
        taiwan_nhi.PROFILE, taiwan_nhi.select_application(),
        (2, taiwan_nhi.OPENING, _exactly(taiwan_nhi.ATRS)),
    ),
    _profile(
        thai_nhso.PROFILE, thai_nhso.select(thai_nhso.PERSON_APPLICATION),
        (3, thai_nhso.OPENING, thai_nhso.ATR_PATTERNS),
    ),
    _profile(egk.PROFILE, egk.select(egk.ROOT), (4, egk.OPENING, egk.ATR_PATTERNS)),
)
# fmt: on
"""In the order in which ATRs are compared and applications are asked for."""

OPENINGS: tuple[Opening, ...] = tuple(
    opening for profile in PROFILES for opening in profile.openings
)
"""In the order in which their ATR is compared."""

NOT_THIS_APPLICATION = (
    int(StatusWord.WRONG_LENGTH),
    int(StatusWord.FILE_STRUCTURE_UNFIT),
    int(StatusWord.CONDITIONS_NOT_SATISFIED),
    0x6999,  # an applet that can't be selected, as Java Cards say
    int(StatusWord.DATA_INCORRECT),
    int(StatusWord.FUNCTION_NOT_SUPPORTED),
    int(StatusWord.FILE_NOT_FOUND),
    int(StatusWord.INCORRECT_P1_P2),
    0x6A87,  # Lc does not fit P1 and P2
    int(StatusWord.INSTRUCTION_NOT_SUPPORTED),
    int(StatusWord.CLASS_NOT_SUPPORTED),
)
"""Words by which a card says that it has no such application."""


def find_opening(atr: bytes) -> Opening | None:
    """Find how a card is opened by its ATR; None where no profile knows it."""
    for opening in OPENINGS:
        if matches_atr(atr, pattern=opening.atr, mask=opening.atr_mask):
            return opening
    return None


def probe(profiles: Sequence[Profile]) -> Batch:
    """Ask for one application after another.

    The words expected are those of cards without it, so the batch stops, with an unexpected
    word, at the first application that is there.
    """
    return tuple(Step(profile.select, NOT_THIS_APPLICATION) for profile in profiles)


def after_select(opening: Opening, select: bytes) -> Batch | None:
    """Give the opening's batch without its first command where that has been answered already."""
    first, *rest = opening.batch
    conditions = [step.condition for step in rest if step.condition is not None]
    if first.command != select or any(condition.step == 0 for condition in conditions):
        return None
    return tuple(_one_step_earlier(step) for step in rest)


def _one_step_earlier(step: Step) -> Step:
    if step.condition is None:
        return step
    return replace(step, condition=replace(step.condition, step=step.condition.step - 1))
