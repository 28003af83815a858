"""Opening a card: what is proven of it, and whether the registry lets it pass.

The terminal is believed nothing that matters. Where a card has a key, the key proves its identity
to the centre's own challenge; where it has none, what it says is a claim and is marked as one.
The registry's row of that identity decides; what else the card or the terminal says has to agree
with it. The first refusal that applies is the one reported. Not here: commands and layouts
(`protocol/card`), what each card type proves (one module each, named in `VERIFIERS`), how a card
is talked to (`visit.py`), card sessions (`session_token.py`).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from cardserver.cards.egk import open_egk
from cardserver.cards.keystore import KeyStore
from cardserver.cards.refusals import CardRefusal, CardRefusalReason
from cardserver.cards.social_security import open_social_security_card
from cardserver.cards.trust_anchors import TrustAnchors
from cardserver.cards.unverified import open_taiwan_nhi, open_thai_nhso
from cardserver.cards.verified import Verified
from cardserver.cards.visit import (
    BatchRunner,
    CardRegistry,
    FirstAnswers,
    RefusedError,
    Trust,
    Visit,
)
from cardserver.registry.values import Card
from protocol.card.catalogue import Opening
from protocol.card.errors import CardDataError
from protocol.card.profiles import egk, social_security_card, taiwan_nhi, thai_nhso

Verify = Callable[[Visit, Opening], Awaitable[Verified]]
"""Judges a card whose opening batch has been answered; refuses by `RefusedError`."""

VERIFIERS: Mapping[str, Verify] = {
    social_security_card.PROFILE: open_social_security_card,
    taiwan_nhi.PROFILE: open_taiwan_nhi,
    thai_nhso.PROFILE: open_thai_nhso,
    egk.PROFILE: open_egk,
}
"""By the profile's name: every profile of `protocol.card.catalogue` has one."""


@dataclass(frozen=True, slots=True)
class OpenedCard:
    """A card that passed.

    Attributes:
        card: As the registry has it.
        proof: A `ProofLevel` of the wire.
        pin_state: A `PINState` of the wire.
        pin_tries: -1 unknown.
        holder_name: From the card's holder file; empty where it was not read.
        holder_id: The social-security number from there.
        round_trips: Batches that were waited for, the opening batch included.
        card_time_us: Time in reader and card, in microseconds.
        external_authentications: How often the centre proved itself to the card: for the audit.
        birth_date: YYYYMMDD as an unverified card claims it, month and day 00 where not known;
            0 where it does not or was believed by its key.
        id_number: The holder's number, to be compared with the registry's; empty where the card
            names its holder by another one.
    """

    card: Card
    proof: int
    pin_state: int
    pin_tries: int
    holder_name: str = field(repr=False)
    holder_id: str = field(repr=False)
    round_trips: int
    card_time_us: int
    external_authentications: int
    birth_date: int = field(repr=False, default=0)
    id_number: str = field(repr=False, default="")


async def open_card(  # noqa: PLR0913 - what a card is judged by, each by its name
    *,
    first: FirstAnswers,
    runner: BatchRunner,
    keys: KeyStore,
    cards: CardRegistry,
    issuers: tuple[bytes, ...],
    today: int,
    wants_holder: bool,
    anchors: TrustAnchors | None = None,
) -> OpenedCard | CardRefusal:
    """Recognise a card, verify it and look it up.

    Args:
        first: The opening batch's answers, which the terminal sent along.
        runner: Runs further batches.
        keys: Root keys.
        cards: The registry.
        issuers: Beginnings of the initialising organisations accepted; empty accepts all that are
            registered.
        today: The fund's day, YYYYMMDD.
        wants_holder: Whether to read the holder's file where that takes another round trip.
        anchors: Who is trusted to certify cards; nobody by default.
    """
    trust = Trust(keys, cards, issuers, today, wants_holder, anchors or TrustAnchors())
    visit = Visit(first, runner, trust)
    try:
        opening = await visit.recognise()
        verified = await VERIFIERS[opening.profile](visit, opening)
    except RefusedError as refused:
        return replace(refused.refusal, external_authentications=visit.external_authentications)
    except CardDataError as malformed:
        return CardRefusal(
            CardRefusalReason.CARD_DATA_MALFORMED,
            detail_en=str(malformed),
            external_authentications=visit.external_authentications,
        )
    return OpenedCard(
        card=verified.card,
        proof=verified.proof,
        pin_state=verified.pin_state,
        pin_tries=verified.pin_tries,
        holder_name=verified.holder_name,
        holder_id=verified.holder_id,
        round_trips=visit.round_trips,
        card_time_us=visit.card_time_us,
        external_authentications=visit.external_authentications,
        birth_date=verified.birth_date,
        id_number=verified.id_number,
    )
