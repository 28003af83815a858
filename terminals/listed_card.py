"""What a card is called on the revocation list, as far as its opening batch tells a terminal.

What the list says decides nothing: the centre reads its registry. It only saves the cashier the
wait for the same word. Not here: the list (`lists.py`).
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from protocol.card.catalogue import OPENINGS
from protocol.card.cv_certificate import CertificateError
from protocol.card.errors import CardDataError
from protocol.card.profiles import egk, social_security_card, taiwan_nhi, thai_nhso
from protocol.card.script import Batch, Script

T = TypeVar("T")

SUBJECT_SIZE: Final = 16
CARD: Final = 1

Named = tuple[str, bytes]
"""Region, or nothing, and identity."""


def card_subject(opening: int, atr: bytes, answers: Sequence[bytes]) -> bytes | None:
    """Name a card by its first answers; None where they don't tell.

    Args:
        opening: Number of the opening batch.
        atr: The card's ATR.
        answers: To the whole batch.
    """
    for known in OPENINGS:
        if known.number == opening:
            try:
                named = _NAMES[known.profile](atr, known.batch, tuple(answers))
            except (CardDataError, CertificateError, IndexError, ValueError):
                return None  # whatever card this is, the centre says so
            return None if named is None else _subject(known.profile, *named)
    return None


def _subject(profile: str, region: str, identity: bytes) -> bytes:
    named = b"\0".join((b"card", profile.encode(), region.encode(), identity))
    return hashlib.sha256(named).digest()[:SUBJECT_SIZE]


def _social_security_card(atr: bytes, batch: Batch, answers: tuple[bytes, ...]) -> Named | None:
    file = _told(social_security_card.open_card(batch), answers)
    return None if file is None else (file.region, social_security_card.identity(atr))


def _egk(_atr: bytes, _batch: Batch, answers: tuple[bytes, ...]) -> Named | None:
    file = _told(egk.open_card(), answers)
    return None if file is None else ("", file.certificate.iccsn)


def _taiwan_nhi(_atr: bytes, _batch: Batch, answers: tuple[bytes, ...]) -> Named | None:
    data = _told(taiwan_nhi.open_card(), answers)
    return None if data is None else ("", data.card_number.encode("ascii"))


def _thai_nhso(_atr: bytes, _batch: Batch, answers: tuple[bytes, ...]) -> Named | None:
    file = _told(thai_nhso.open_card(), answers)
    return None if file is None else ("", file.person.cid.encode("ascii"))


def _told(script: Script[T], answers: tuple[bytes, ...]) -> T | None:
    """Give what a script makes of the first batch; None where it wants more, or refuses it."""
    try:
        next(script)
        script.send(answers)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        script.close()
    return None


_NAMES: Final[Mapping[str, Callable[[bytes, Batch, tuple[bytes, ...]], Named | None]]] = {
    social_security_card.PROFILE: _social_security_card,
    egk.PROFILE: _egk,
    taiwan_nhi.PROFILE: _taiwan_nhi,
    thai_nhso.PROFILE: _thai_nhso,
}
