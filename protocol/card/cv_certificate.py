"""Card-verifiable certificates of generation 2 (gemSpec_PKI, gemSpec_COS: ELC 256), and chains.

A certificate is `7F21` with body `7F4E` and signature `5F37`; ECDSA with SHA-256 over the whole
body object, curve brainpoolP256r1. Nothing is taken for granted that is not signed: a certificate
is written again from what was read, and has to come out as it was. Not here: where trust anchors
are kept (`cardserver/cards/trust_anchors.py`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256

from protocol.card.elliptic_curve import COORDINATE_SIZE, check_point
from protocol.card.errors import CardDataError, CardProtocolError
from protocol.card.tlv import TLV, parse_ber

AUTHORITY_NAME_SIZE = 8
HOLDER_NAME_SIZE = 12
ICCSN_SIZE = 10
SIGNATURE_SIZE = 2 * COORDINATE_SIZE
CHAIN_MAX = 8
"""Roots live for ten years with a new one every two: a longer way to one is a mistake."""

# What a certified key is for (gemSpec_OID): signing certificates, or a card's authentication.
SIGNING_KEY = bytes.fromhex("2A8648CE3D040302")  # ecdsa-with-SHA256
AUTHENTICATION_KEY = bytes.fromhex("2B2403050301")  # authS_gemSpec-COS-G2_ecc-with-sha256
_BRAINPOOL_P256R1 = bytes.fromhex("2B2403030208010107")

_CERTIFICATE = 0x7F21
_BODY = 0x7F4E
_SIGNATURE = 0x5F37
_PROFILE = 0x5F29
_AUTHORITY = 0x42
_KEY = 0x7F49
_HOLDER = 0x5F20
_AUTHORISATION = 0x7F4C
_BEGINS = 0x5F25
_ENDS = 0x5F24
_OID = 0x06
_POINT = 0x86
_FLAGS = 0x53
_PROFILE_G2 = b"\x70"
_FLAGS_SIZE = 7
_DATE_SIZE = 6
_DIGIT_MAX = 9
_CENTURY = 20_000_000


class CertificateError(CardProtocolError):
    """A certificate, or a signature, is not what it says that it is."""


class CertificateExpiredError(CertificateError):
    """A certificate is not in force on the day."""


class NoAnchorError(CertificateError):
    """No way leads from a certificate to a trust anchor."""


@dataclass(frozen=True, slots=True)
class CVCertificate:
    """A certificate taken apart; nothing of it is verified yet.

    Attributes:
        authority: Whose key signed it (CAR), 8 bytes.
        holder: Whose key it certifies (CHR): 8 bytes of an authority, 12 of a card.
        key_use: Object identifier that says what the key is for.
        point: The public key: `04`, x, y.
        role: Object identifier of the flag list.
        flags: What the holder may do, 7 bytes.
        begins: YYYYMMDD, the first day.
        ends: YYYYMMDD, the last day.
        body: The body as a whole object: what is signed.
        signature: R and S, 32 bytes each.
    """

    authority: bytes
    holder: bytes
    key_use: bytes
    point: bytes
    role: bytes
    flags: bytes
    begins: int
    ends: int
    body: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @property
    def may_certify(self) -> bool:
        """Whether it is of an authority, whose key signs certificates."""
        return self.key_use == SIGNING_KEY and len(self.holder) == AUTHORITY_NAME_SIZE

    @property
    def iccsn(self) -> bytes:
        """The serial number of the card that it certifies: the last ten bytes of its name.

        Raises:
            CardDataError: It certifies no card.
        """
        if len(self.holder) != HOLDER_NAME_SIZE:
            raise CardDataError("the certificate is of an authority, not of a card")
        return self.holder[-ICCSN_SIZE:]

    def encode(self) -> bytes:
        """Write it as it stands on a card."""
        return TLV(_CERTIFICATE, self.value).encode_ber()

    @property
    def value(self) -> bytes:
        """Body and signature: what PSO VERIFY CERTIFICATE is given."""
        return self.body + TLV(_SIGNATURE, self.signature).encode_ber()


@dataclass(frozen=True, slots=True)
class TrustAnchor:
    """A key that is trusted without anybody's signature.

    Attributes:
        name: As certificates name it (CAR), 8 bytes.
        begins: YYYYMMDD, the first day on which it is trusted.
        ends: YYYYMMDD, the last day.
    """

    name: bytes
    point: bytes
    begins: int
    ends: int


def decode_certificate(encoded: bytes) -> CVCertificate:
    """Take a certificate apart.

    Raises:
        CardDataError: It is not laid out as a certificate of generation 2, in every byte.
    """
    value = _only(parse_ber(encoded), _CERTIFICATE)
    body, signature = _exactly(parse_ber(value), _BODY, _SIGNATURE)
    profile, authority, key, holder, authorisation, begins, ends = _exactly(
        parse_ber(body), _PROFILE, _AUTHORITY, _KEY, _HOLDER, _AUTHORISATION, _BEGINS, _ENDS
    )
    key_use, point = _exactly(parse_ber(key), _OID, _POINT)
    role, flags = _exactly(parse_ber(authorisation), _OID, _FLAGS)
    if profile != _PROFILE_G2:
        raise CardDataError(f"certificate profile {profile.hex()} is not of generation 2")
    if len(authority) != AUTHORITY_NAME_SIZE or len(flags) != _FLAGS_SIZE:
        raise CardDataError("a certificate's authority has 8 bytes and its flag list 7")
    if len(holder) not in {AUTHORITY_NAME_SIZE, HOLDER_NAME_SIZE}:
        raise CardDataError(f"a certificate's holder has 8 or 12 bytes, not {len(holder)}")
    if len(signature) != SIGNATURE_SIZE:
        raise CardDataError(f"a signature has {SIGNATURE_SIZE} bytes, not {len(signature)}")
    check_point(point)
    certificate = CVCertificate(
        authority=authority,
        holder=holder,
        key_use=key_use,
        point=point,
        role=role,
        flags=flags,
        begins=_date(begins),
        ends=_date(ends),
        body=TLV(_BODY, body).encode_ber(),
        signature=signature,
    )
    if certificate.encode() != encoded or _rebuilt_body(certificate) != certificate.body:
        raise CardDataError("a certificate is written in another form than the one form it has")
    return certificate


def encode_body(  # noqa: PLR0913 - the fields of a certificate
    *,
    authority: bytes,
    holder: bytes,
    key_use: bytes,
    point: bytes,
    role: bytes,
    flags: bytes,
    begins: int,
    ends: int,
) -> bytes:
    """Write the body of a certificate: what its issuer signs."""
    key = TLV(_OID, key_use).encode_ber() + TLV(_POINT, point).encode_ber()
    authorisation = TLV(_OID, role).encode_ber() + TLV(_FLAGS, flags).encode_ber()
    objects = (
        TLV(_PROFILE, _PROFILE_G2),
        TLV(_AUTHORITY, authority),
        TLV(_KEY, key),
        TLV(_HOLDER, holder),
        TLV(_AUTHORISATION, authorisation),
        TLV(_BEGINS, _digits(begins)),
        TLV(_ENDS, _digits(ends)),
    )
    return TLV(_BODY, b"".join(each.encode_ber() for each in objects)).encode_ber()


def encode_certificate(body: bytes, signature: bytes) -> bytes:
    """Write a certificate from its body and the issuer's signature."""
    return TLV(_CERTIFICATE, body + TLV(_SIGNATURE, signature).encode_ber()).encode_ber()


def decode_anchor_key(encoded: bytes) -> bytes:
    """Take the point out of a trust anchor's public key: `7F49`, curve, point.

    Raises:
        CardDataError: It is laid out otherwise, or lies on another curve.
    """
    curve, point = _exactly(parse_ber(_only(parse_ber(encoded), _KEY)), _OID, _POINT)
    key = TLV(_OID, curve).encode_ber() + TLV(_POINT, point).encode_ber()
    if TLV(_KEY, key).encode_ber() != encoded:
        raise CardDataError("a public key is written in another form than the one form it has")
    if curve != _BRAINPOOL_P256R1:
        raise CardDataError(f"{curve.hex()} is not brainpoolP256r1")
    check_point(point)
    return point


def verify_certificate(certificate: CVCertificate, point: bytes) -> None:
    """Verify a certificate's signature by its issuer's public key.

    Raises:
        CertificateError: The signature is not this key's over this body.
    """
    _verify(point, certificate.signature, certificate.body, ec.ECDSA(SHA256()))


def verify_value(point: bytes, signature: bytes, value: bytes) -> None:
    """Verify a signature over a value that is taken for the digest itself, unhashed.

    Raises:
        CertificateError: The signature is not this key's over this value.
    """
    if len(signature) != SIGNATURE_SIZE or len(value) > COORDINATE_SIZE:
        raise CertificateError("a signature or what it signs has another size than it must have")
    digest = value.rjust(COORDINATE_SIZE, b"\0")
    _verify(point, signature, digest, ec.ECDSA(Prehashed(SHA256())))


def verify_chain(
    certificate: CVCertificate,
    known: Iterable[CVCertificate],
    anchors: Mapping[bytes, TrustAnchor],
    *,
    today: int,
) -> tuple[CVCertificate, ...]:
    """Find a way from a certificate to a trust anchor, and verify every signature on it.

    Cross certificates may lead round in circles: each is used once at most. The shortest way wins.

    Args:
        certificate: Of a card, or of an authority.
        known: Certificates of authorities, in any order, cross certificates among them; nothing
            is trusted of them.
        anchors: By name.
        today: YYYYMMDD; authorities and anchor must be in force. Whether the certificate itself
            is, is for the caller to say.

    Returns:
        The certificate, then its issuer's, up to the one that the anchor signed.

    Raises:
        CertificateError: A signature on every way is wrong.
        CertificateExpiredError: An authority or the anchor is not in force.
        NoAnchorError: No way leads to an anchor.
    """
    issuers: dict[bytes, list[CVCertificate]] = {}
    for each in known:
        if each.may_certify:
            issuers.setdefault(each.holder, []).append(each)
    fault: CertificateError = NoAnchorError(
        f"no trust anchor is known above {certificate.authority.hex().upper()}"
    )
    ways: list[tuple[CVCertificate, ...]] = [(certificate,)]
    seen: set[bytes] = set()
    while ways:
        way = ways.pop(0)
        last = way[-1]
        anchor = anchors.get(last.authority)
        if anchor is not None:
            try:
                check_in_force(anchor, today)
                verify_certificate(last, anchor.point)
            except CertificateError as broken:
                fault = broken
            else:
                return way
        for issuer in issuers.get(last.authority, ()) if len(way) < CHAIN_MAX else ():
            if issuer.signature in seen or issuer.holder == issuer.authority:
                continue
            try:
                check_in_force(issuer, today)
                verify_certificate(last, issuer.point)
            except CertificateError as broken:
                fault = broken
                continue
            seen.add(issuer.signature)
            ways.append((*way, issuer))
    raise fault


def check_in_force(authority: CVCertificate | TrustAnchor, today: int) -> None:
    """See that an authority, or a root, is in force on a day.

    Raises:
        CertificateExpiredError: It is not yet, or no longer.
    """
    if not authority.begins <= today <= authority.ends:
        name = authority.holder if isinstance(authority, CVCertificate) else authority.name
        raise CertificateExpiredError(
            f"authority {name.hex().upper()} is in force from {authority.begins}"
            f" to {authority.ends}"
        )


def anchor_of(root: CVCertificate) -> TrustAnchor:
    """Make a trust anchor of a root's own certificate, after verifying its signature.

    Raises:
        CertificateError: It is signed by another key than its own.
    """
    if root.authority != root.holder or not root.may_certify:
        raise CertificateError("this is no root's own certificate")
    verify_certificate(root, root.point)
    return TrustAnchor(root.holder, root.point, root.begins, root.ends)


def _verify(point: bytes, signature: bytes, data: bytes, algorithm: ec.ECDSA) -> None:
    encoded = encode_dss_signature(
        int.from_bytes(signature[:COORDINATE_SIZE], "big"),
        int.from_bytes(signature[COORDINATE_SIZE:], "big"),
    )
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.BrainpoolP256R1(), point)
        key.verify(encoded, data, algorithm)
    except ValueError:
        raise CertificateError("a public key does not lie on the curve") from None
    except InvalidSignature:
        raise CertificateError("a signature is not of the key that it should be of") from None


def _rebuilt_body(certificate: CVCertificate) -> bytes:
    return encode_body(
        authority=certificate.authority,
        holder=certificate.holder,
        key_use=certificate.key_use,
        point=certificate.point,
        role=certificate.role,
        flags=certificate.flags,
        begins=certificate.begins,
        ends=certificate.ends,
    )


def _only(objects: tuple[TLV, ...], tag: int) -> bytes:
    (value,) = _exactly(objects, tag)
    return value


def _exactly(objects: tuple[TLV, ...], *tags: int) -> tuple[bytes, ...]:
    found = tuple(each.tag for each in objects)
    if found != tags:
        raise CardDataError(
            f"data objects {_names(tags)} belong here, not {_names(found[: len(tags) + 1])}"
        )
    return tuple(each.value for each in objects)


def _names(tags: tuple[int, ...]) -> str:
    return " ".join(f"{tag:X}" for tag in tags) or "none"


def _date(digits: bytes) -> int:
    """Read a date: six digits YYMMDD, one a byte."""
    if len(digits) != _DATE_SIZE or max(digits) > _DIGIT_MAX:
        raise CardDataError(f"{digits.hex()} is no date of a certificate")
    return _CENTURY + int("".join(str(digit) for digit in digits))


def _digits(date: int) -> bytes:
    return bytes(int(digit) for digit in f"{date - _CENTURY:06d}")
