"""What the registry's row of a card decides, whatever its type."""

from cardserver.cards.refusals import CardRefusalReason
from cardserver.cards.visit import RefusedError, Trust
from cardserver.registry.values import Card, CardState

Reason = CardRefusalReason

_STATES_ZH = {
    CardState.LOST: "已挂失",
    CardState.REPLACED: "已换发",
    CardState.FROZEN: "已冻结",
}


async def find_card(trust: Trust, *, profile: str, region: str, identity: bytes) -> Card:
    """Find the row, or refuse the card."""
    card = await trust.cards.card_by_identity(profile, region, identity)
    if card is None:
        raise RefusedError(Reason.CARD_NOT_REGISTERED)
    return card


def check_state(card: Card) -> None:
    """Refuse a card that was lost, replaced or frozen."""
    if card.state is not CardState.VALID:
        raise RefusedError(Reason.CARD_REVOKED, _STATES_ZH[card.state], card.state.name.lower())


def check_dates(card: Card, today: int) -> None:
    """Refuse a card before its first day and after its last."""
    if today < card.begins:
        raise RefusedError(Reason.CARD_NOT_YET_VALID, str(card.begins), str(card.begins))
    if today > card.ends:
        raise RefusedError(Reason.CARD_EXPIRED, str(card.ends), str(card.ends))
