"""The holder's X.509 certificate on an eGK (C.CH.AUT): who signed it, whom it names.

Not here: card-verifiable certificates (`cv_certificate.py`), who is trusted to sign it.
"""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509 import Certificate, InvalidVersion, load_der_x509_certificate
from cryptography.x509.oid import NameOID

from protocol.card.cv_certificate import (
    CertificateError,
    CertificateExpiredError,
    NoAnchorError,
)
from protocol.card.errors import CardDataError
from protocol.card.profiles.egk_data import check_kvnr

_IK_SIZE = 9
# All that the library raises when a certificate's parts are taken out of it.
_MALFORMED = (
    ValueError,
    TypeError,
    InvalidVersion,
    UnsupportedAlgorithm,
    CryptographyDeprecationWarning,
)


@dataclass(frozen=True, slots=True)
class HolderCertificate:
    """What a verified certificate says.

    Attributes:
        kvnr: Insured person's number.
        insurer: Insurer's number.
        name: As the certificate writes it.
        begins: YYYYMMDD.
        ends: YYYYMMDD.
    """

    kvnr: str = field(repr=False)
    insurer: str
    name: str = field(repr=False)
    begins: int
    ends: int


def verify_holder_certificate(
    encoded: bytes, authorities: Iterable[Certificate], *, today: int
) -> HolderCertificate:
    """Verify a certificate by the authority that it names, and read whom it is for.

    Args:
        encoded: DER.
        authorities: Those that are trusted to sign holders' certificates.
        today: YYYYMMDD.

    Raises:
        CardDataError: It is no certificate, or names nobody as an eGK's does.
        NoAnchorError: Its issuer is not among the authorities.
        CertificateExpiredError: It, or its issuer, is not in force.
        CertificateError: Its signature is not its issuer's.
    """
    try:
        certificate = _load(encoded)
        begins, ends = _days(certificate)
        subject = certificate.subject
        units = [
            str(each.value)
            for each in subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
        ]
        names = [str(each.value) for each in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        issuers = [each for each in authorities if each.subject == certificate.issuer]
        # What is read leniently is more forms than one; what was signed is the one that DER has,
        # and a signature is whole bytes: no bit of its BIT STRING is unused.
        is_one_form = certificate.public_bytes(Encoding.DER) == encoded and encoded.endswith(
            b"\0" + certificate.signature
        )
    except _MALFORMED as malformed:
        raise CardDataError("the holder's certificate is malformed") from malformed
    if not is_one_form:
        raise CardDataError("the holder's certificate is not DER")
    if not issuers:
        raise NoAnchorError("the holder's certificate has an issuer that is not trusted")
    fault = CertificateError("the holder's certificate is not signed by its issuer")
    for issuer in issuers:
        first, last = _days(issuer)
        if not first <= today <= last:
            fault = CertificateExpiredError(
                "the issuer of the holder's certificate is not in force"
            )
            continue
        try:
            certificate.verify_directly_issued_by(issuer)
        except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
            continue
        break
    else:
        raise fault
    if not begins <= today <= ends:
        raise CertificateExpiredError("the holder's certificate is not in force")
    kvnr, insurer = _numbers(units)
    return HolderCertificate(kvnr, insurer, names[0] if names else "", begins, ends)


def _load(encoded: bytes) -> Certificate:
    """Read a certificate; what the library only warns of is refused (RFC 5280)."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", CryptographyDeprecationWarning)
        return load_der_x509_certificate(encoded)


def _numbers(units: list[str]) -> tuple[str, str]:
    """Tell the two organisational units apart: nine digits, and a letter with nine digits."""
    insurers = [each for each in units if len(each) == _IK_SIZE and each.isdecimal()]
    others = [each for each in units if each not in insurers]
    if len(insurers) != 1 or len(others) != 1:
        raise CardDataError("the holder's certificate does not name one person and one insurer")
    check_kvnr(others[0])
    return others[0], insurers[0]


def _days(certificate: Certificate) -> tuple[int, int]:
    return (
        _day(certificate.not_valid_before_utc.date()),
        _day(certificate.not_valid_after_utc.date()),
    )


def _day(day: date) -> int:
    return day.year * 10_000 + day.month * 100 + day.day
