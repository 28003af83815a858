"""Cards that prove nothing: Taiwan's health insurance card, Thailand's identity card.

What they say is a claim of identity. The registry's row of the claimed identity decides, and a
card that says otherwise than its row is refused; but whoever knows the row can make a card that
agrees with it. So the result is marked `UNVERIFIED_CARD`, and the fund's configuration says what
may be done on it (`[cards.unverified]`, `cardserver/handlers/presented.py`).
"""

from cardserver.cards.refusals import CardRefusalReason
from cardserver.cards.registered import check_dates, check_state, find_card
from cardserver.cards.verified import PROOF_UNVERIFIED_CARD, Verified
from cardserver.cards.visit import RefusedError, Visit
from protocol.card.catalogue import Opening
from protocol.card.profiles import taiwan_nhi, thai_nhso

Reason = CardRefusalReason


async def open_taiwan_nhi(visit: Visit, opening: Opening) -> Verified:
    """Compare a Taiwanese card with the row of the card number that it claims.

    The row's card id is the holder's identity number in ASCII; the card tells no last day.
    """
    data = await visit.follow(taiwan_nhi.open_card(), opening)
    card = await find_card(
        visit.trust, profile=opening.profile, region="", identity=data.card_number.encode("ascii")
    )
    _agree(card.card_number == data.card_number, "健保卡号", "card number")
    _agree(card.card_id == data.id_number.encode("ascii"), "身份证字号", "identity number")
    _agree(card.begins == data.issue_date, "发卡日期", "date of issue")
    check_state(card)
    check_dates(card, visit.trust.today)
    return Verified(
        card=card,
        proof=PROOF_UNVERIFIED_CARD,
        holder_name=data.name,
        holder_id=data.id_number,
        birth_date=data.birth_date,
    )


async def open_thai_nhso(visit: Visit, opening: Opening) -> Verified:
    """Compare a Thai card with the row of the citizen's number that it claims.

    A citizen keeps the number, so that an older card of the same person differs in its dates.
    """
    file = await visit.follow(thai_nhso.open_card(), opening)
    person = file.person
    card = await find_card(
        visit.trust, profile=opening.profile, region="", identity=person.cid.encode("ascii")
    )
    _agree(card.card_number == person.cid, "公民身份号码", "citizen's number")
    _agree(
        (card.begins, card.ends) == (person.issue_date, person.expiry_date),
        "卡有效期", "dates of validity",
    )  # fmt: skip
    check_state(card)
    check_dates(card, visit.trust.today)
    return Verified(
        card=card,
        proof=PROOF_UNVERIFIED_CARD,
        holder_name=str(person.name),
        holder_id=person.cid,
        birth_date=person.birth_date,
    )


def _agree(agrees: bool, zh: str, en: str) -> None:  # noqa: FBT001 - what is checked is said beside
    """Refuse a card that says otherwise than the registry."""
    if not agrees:
        raise RefusedError(Reason.CARD_IDENTITY_MISMATCH, zh, en)
