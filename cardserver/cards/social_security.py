"""The social security card verified: its key, then its data in the order of part 7.

Not here: commands and layouts (`protocol/card/profiles/social_security_card.py`), keys
(`keystore.py`).
"""

from cardserver.cards.keystore import CardKeyName, KeyStore, NotGenuineError, ProvenCard
from cardserver.cards.refusals import CardRefusalReason
from cardserver.cards.registered import check_dates, check_state, find_card
from cardserver.cards.verified import PROOF_GENUINE_CARD, Verified
from cardserver.cards.visit import RefusedError, Visit
from cardserver.registry.values import Card
from protocol.card.catalogue import Opening
from protocol.card.errors import AlgorithmUnsupportedError
from protocol.card.profiles import social_security_card
from protocol.card.profiles.social_security_card import Holder, OpenedFile
from protocol.card.profiles.social_security_keys import Algorithm

Reason = CardRefusalReason


async def open_social_security_card(visit: Visit, opening: Opening) -> Verified:
    """Verify the card's answer to the centre's challenge, and that its data is the registry's."""
    trust = visit.trust
    file = await visit.follow(social_security_card.open_card(opening.batch), opening)
    card = await find_card(
        trust,
        profile=opening.profile,
        region=file.region,
        identity=social_security_card.identity(visit.atr),
    )
    proven = _proven(card, file, visit.challenge, trust.keys)
    _check_card(card, file, trust.issuers)
    check_dates(card, trust.today)
    holder = await _read_holder(visit, file, proven) if trust.wants_holder else None
    return Verified(
        card=card,
        proof=PROOF_GENUINE_CARD,
        pin_state=int(file.pin_state),
        pin_tries=file.pin_tries,
        holder_name=holder.name if holder else "",
        holder_id=holder.number if holder else "",
        id_number=holder.number if holder else "",
    )


def _proven(card: Card, file: OpenedFile, challenge: bytes, keys: KeyStore) -> ProvenCard:
    """Verify the card's answer with the cipher that the registry, not the card, names."""
    algorithm = Algorithm(card.algorithm)
    try:
        keys.check_algorithm(algorithm)
        if file.algorithm is not algorithm:
            raise RefusedError(
                Reason.CARD_ALGORITHM_MISMATCH,
                en=f"the card says {file.algorithm.name}, the registry {algorithm.name}",
            )
        return keys.internal_authentication(
            CardKeyName(algorithm, card.region, card.identity),
            factor=challenge[8:16],
            original=challenge[0:8],
            answer=file.authentication,
        )
    except AlgorithmUnsupportedError:  # SSF33, unless a key store knows it
        raise RefusedError(
            Reason.CARD_ALGORITHM_UNSUPPORTED, algorithm.name, algorithm.name
        ) from None
    except NotGenuineError:
        raise RefusedError(Reason.CARD_NOT_GENUINE) from None


def _check_card(card: Card, file: OpenedFile, issuers: tuple[bytes, ...]) -> None:
    """Check in the order of part 7: list, organisation, class, version; validity comes next."""
    if file.card_id != card.card_id:
        raise RefusedError(Reason.CARD_IDENTITY_MISMATCH, "卡识别码", "card id")
    if file.card_number != card.card_number:
        raise RefusedError(Reason.CARD_IDENTITY_MISMATCH, "社会保障卡号", "card number")
    if (file.begins, file.ends) != (card.begins, card.ends):
        raise RefusedError(Reason.CARD_IDENTITY_MISMATCH, "卡有效期", "dates of validity")
    check_state(card)
    if file.issuer != card.issuer or not card.issuer.startswith(issuers or b""):
        raise RefusedError(Reason.CARD_ISSUER_REFUSED)
    if file.card_class != card.card_class:
        raise RefusedError(Reason.CARD_CLASS_REFUSED)
    if file.version != card.version:
        raise RefusedError(
            Reason.CARD_VERSION_MISMATCH, f"{file.version} {card.version}",
            f"the card says {file.version}, the registry {card.version}",
        )  # fmt: skip


async def _read_holder(visit: Visit, file: OpenedFile, proven: ProvenCard) -> Holder | None:
    """Read the holder's file where the opening batch could not, or not the whole name."""
    if file.external_challenges is not None:
        original, factor = file.external_challenges
        authentication = visit.trust.keys.external_authentication(
            proven, factor=factor, original=original
        )
        visit.external_authentications += 1
        return await visit.follow(
            social_security_card.read_locked_holder(
                authentication=authentication, original=original
            )
        )
    if file.holder is not None and file.holder.name_continues:
        return await visit.follow(social_security_card.read_name_extension(file.holder))
    return file.holder
