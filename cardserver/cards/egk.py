"""The German health card verified: its certificate's chain, its signature, then what it says.

Proven is the key of the certificate that names the serial number (ICCSN). The serial number in
EF.GDO and the insured person in EF.PD are files that anybody could have written: they have to be
those of the registry's row of the proven number. Not here: commands and layouts
(`protocol/card/profiles/egk.py`), who is trusted (`trust_anchors.py`).
"""

from cardserver.cards.refusals import CardRefusalReason
from cardserver.cards.registered import check_dates, check_state, find_card
from cardserver.cards.verified import PROOF_GENUINE_CARD, Verified
from cardserver.cards.visit import RefusedError, Trust, Visit
from cardserver.registry.values import Card
from protocol.card.catalogue import Opening
from protocol.card.cv_certificate import CertificateError, verify_value
from protocol.card.profiles import egk
from protocol.card.profiles.egk import NONCE_SIZE, OpenedEGK, PINStatus, signed_value
from protocol.card.profiles.egk_data import DataStatus

Reason = CardRefusalReason

ALGORITHM_BRAINPOOL_P256R1 = 4
"""The registry's number of ECDSA on brainpoolP256r1, this card's one algorithm."""

_ISSUER_SIZE = 12
PIN_STATES = {
    # The wire's `PINState`.
    PINStatus.VERIFIED: 0,
    PINStatus.DISABLED: 0,
    PINStatus.REQUIRED: 1,
    PINStatus.BLOCKED: 2,
    PINStatus.TRANSPORT: 3,
    PINStatus.UNKNOWN: 3,
}


async def open_egk(visit: Visit, opening: Opening) -> Verified:
    """Verify the card's signature over the centre's nonce, and that its data is the registry's.

    The row of a card: card number is the serial number's twenty digits, card id the insured
    person's number in ASCII, issuer the insurer's nine digits in ASCII, filled up with zero bytes,
    dates those of the card's own certificate.
    """
    file = await visit.follow(egk.open_card(), opening)
    card = await find_card(
        visit.trust, profile=opening.profile, region="", identity=file.certificate.iccsn
    )
    _prove(card, file, visit.challenge[:NONCE_SIZE], visit.trust)
    _check_card(card, file)
    check_dates(card, visit.trust.today)
    wants_holder = visit.trust.wants_holder
    return Verified(
        card=card,
        proof=PROOF_GENUINE_CARD,
        pin_state=PIN_STATES[file.pin],
        pin_tries=file.pin_tries,
        holder_name=file.personal.name if wants_holder else "",
        holder_id=file.personal.kvnr if wants_holder else "",
    )


def _prove(card: Card, file: OpenedEGK, nonce: bytes, trust: Trust) -> None:
    if card.algorithm != ALGORITHM_BRAINPOOL_P256R1:
        raise RefusedError(
            Reason.CARD_ALGORITHM_MISMATCH, en=f"the registry says {card.algorithm}, the card ECDSA"
        )
    try:
        trust.anchors.verify_card(file.certificate, file.authority, today=trust.today)
        verify_value(file.certificate.point, file.signature, signed_value(nonce))
    except CertificateError as broken:
        raise RefusedError(Reason.CARD_NOT_GENUINE, en=str(broken)) from None


def _check_card(card: Card, file: OpenedEGK) -> None:
    """Check in the order in which refusals are reported."""
    certificate = file.certificate
    if file.iccsn != certificate.iccsn or card.card_number != certificate.iccsn.hex():
        raise RefusedError(Reason.CARD_IDENTITY_MISMATCH, "卡序列号", "serial number")
    if file.personal.kvnr.encode("ascii") != card.card_id:
        raise RefusedError(Reason.CARD_IDENTITY_MISMATCH, "参保人号", "insured person's number")
    if (certificate.begins, certificate.ends) != (card.begins, card.ends):
        raise RefusedError(Reason.CARD_IDENTITY_MISMATCH, "卡有效期", "dates of validity")
    check_state(card)
    issuer = file.insurance.insurer.number.encode("ascii")
    # The configured issuers are initialising organisations of social security cards; which
    # insurers a fund takes, the rows of its registry say.
    if issuer.ljust(_ISSUER_SIZE, b"\0") != card.issuer.ljust(_ISSUER_SIZE, b"\0"):
        raise RefusedError(Reason.CARD_ISSUER_REFUSED)
    if file.versions.generation != card.version:
        raise RefusedError(
            Reason.CARD_VERSION_MISMATCH, f"{file.versions.product_type} {card.version}",
            f"the card is {file.versions.product_type}, the registry says {card.version}",
        )  # fmt: skip
    if file.status.status is not DataStatus.CONSISTENT:
        raise RefusedError(
            Reason.CARD_DATA_MALFORMED,
            "卡内数据更新未完成",
            "an update of the card was not finished",
        )
