"""Whom the centre trusts to certify German health cards: anchors and authorities, from files.

A directory holds certificates as they are published. A card-verifiable certificate that signs
itself is a root, trusted for as long as it says; any other is a way between two authorities (a
cross certificate, or a card authority's own) and trusted for nothing by itself. X.509 certificates
are of authorities that certify holders. Not here: how a chain is verified
(`protocol/card/cv_certificate.py`).
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from cryptography.x509 import Certificate, load_der_x509_certificate

from cardserver.cards.revocations import Revocations
from cardserver.config import Config
from protocol.card.cv_certificate import (
    CertificateError,
    CVCertificate,
    TrustAnchor,
    anchor_of,
    check_in_force,
    decode_anchor_key,
    decode_certificate,
    verify_certificate,
    verify_chain,
)
from protocol.card.errors import CardDataError

_KEY_SUFFIX = "_ELC-PublicKey"
_FILES_MAX = 256
"""A few roots, their cross certificates, an authority a year and maker: more is a mistake."""
_VERIFIED_MAX = 256


class TrustAnchorError(Exception):
    """The directory of trust anchors can't be used: a fault of ours, never a card's."""


@dataclass(slots=True)
class TrustAnchors:
    """Whom the centre trusts.

    Attributes:
        anchors: Roots by their names.
        roots: The certificates in which roots sign themselves.
        certificates: Ways between authorities.
        holder_authorities: Those that certify holders.
        revocations: What of all that, and of cards' own certificates, was revoked since.
    """

    anchors: dict[bytes, TrustAnchor] = field(default_factory=dict)
    roots: tuple[CVCertificate, ...] = ()
    certificates: tuple[CVCertificate, ...] = ()
    holder_authorities: tuple[Certificate, ...] = ()
    revocations: Revocations = field(default_factory=Revocations)
    # Millions of cards come from a few authorities: each is verified once a day and list.
    _verified: OrderedDict[tuple[bytes, int, int], None] = field(default_factory=OrderedDict)

    def verify_card(
        self, certificate: CVCertificate, authority: CVCertificate, *, today: int
    ) -> None:
        """Verify a card's certificate by its authority's, and that one up to a root.

        Raises:
            CertificateError: A signature is wrong, no way leads to a root, an authority or the
                root is not in force, or a certificate on the way is revoked.
        """
        self._check_not_revoked(certificate)
        if certificate.authority != authority.holder:
            raise CertificateError("the card's authority is not the one whose certificate it shows")
        known = (authority.encode(), today, self.revocations.version)
        if known not in self._verified:
            check_in_force(authority, today)
            self._check_not_revoked(authority)
            ways = tuple(one for one in self.certificates if not self._is_revoked(one))
            fallen = {one.holder for one in self.roots if self._is_revoked(one)}
            anchors = {name: one for name, one in self.anchors.items() if name not in fallen}
            verify_chain(authority, ways, anchors, today=today)
            self._verified[known] = None
            if len(self._verified) > _VERIFIED_MAX:
                self._verified.popitem(last=False)
        if not authority.may_certify:
            raise CertificateError("the certificate that a card shows is no authority's")
        verify_certificate(certificate, authority.point)

    def _is_revoked(self, certificate: CVCertificate) -> bool:
        return self.revocations.is_certificate_revoked(sha256(certificate.encode()).digest())

    def _check_not_revoked(self, certificate: CVCertificate) -> None:
        if self._is_revoked(certificate):
            raise CertificateError(f"the certificate of {certificate.holder.hex()} is revoked")


def read_anchors(config: Config) -> TrustAnchors:
    """Read the trust anchors that a centre is configured with; none where it names no directory.

    Raises:
        TrustAnchorError: A file is unreadable, is no certificate, or contradicts another one.
    """
    directory = config.cards.anchors_directory
    return load_trust_anchors(config.path(directory)) if directory else TrustAnchors()


def load_trust_anchors(directory: Path) -> TrustAnchors:
    """Read a directory of published certificates: `*.cvc` and `*.der`.

    Raises:
        TrustAnchorError: A file is unreadable, is no certificate, or contradicts another one.
    """
    anchors = TrustAnchors()
    try:
        paths = sorted([*directory.glob("*.cvc"), *directory.glob("*.der")])
        contents = [(path, path.read_bytes()) for path in paths]
    except OSError as unreadable:
        raise TrustAnchorError(f"a trust anchor can't be read: {unreadable}") from unreadable
    if not contents:
        raise TrustAnchorError(f"{directory} holds no certificates (*.cvc, *.der)")
    if len(contents) > _FILES_MAX:
        raise TrustAnchorError(f"{directory} holds more than {_FILES_MAX} certificates")
    keys: dict[bytes, bytes] = {}
    for path, content in contents:
        try:
            _take(anchors, keys, path, content)
        except (CardDataError, CertificateError, ValueError) as malformed:
            raise TrustAnchorError(f"{path}: {malformed}") from malformed
    for name, point in keys.items():
        anchor = anchors.anchors.get(name)
        if anchor is not None and anchor.point != point:
            raise TrustAnchorError(f"two keys are published for the root {name.hex().upper()}")
    return anchors


def _take(anchors: TrustAnchors, keys: dict[bytes, bytes], path: Path, content: bytes) -> None:
    if path.suffix == ".cvc":
        certificate = decode_certificate(content)
        if certificate.authority != certificate.holder:
            anchors.certificates = (*anchors.certificates, certificate)
            return
        anchor = anchor_of(certificate)
        if anchors.anchors.setdefault(anchor.name, anchor) != anchor:
            raise TrustAnchorError(f"{path}: this root is there already, with another key")
        anchors.roots = (*anchors.roots, certificate)
    elif path.stem.endswith(_KEY_SUFFIX):
        # A root's key without its certificate says not how long it holds: it only confirms one.
        keys[bytes.fromhex(path.stem.removesuffix(_KEY_SUFFIX))] = decode_anchor_key(content)
    else:
        anchors.holder_authorities = (
            *anchors.holder_authorities,
            load_der_x509_certificate(content),
        )
