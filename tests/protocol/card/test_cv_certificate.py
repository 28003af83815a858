"""Published certificates parse, chain and verify; a flipped bit anywhere in one is refused."""

from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography.x509 import load_der_x509_certificate
from hypothesis import given
from hypothesis import strategies as st

from protocol.card.cv_certificate import (
    AUTHENTICATION_KEY,
    CertificateError,
    CertificateExpiredError,
    CVCertificate,
    NoAnchorError,
    TrustAnchor,
    anchor_of,
    decode_anchor_key,
    decode_certificate,
    verify_certificate,
    verify_chain,
    verify_value,
)
from protocol.card.elliptic_curve import EphemeralKey
from protocol.card.errors import CardDataError, CardProtocolError
from protocol.card.holder_certificate import verify_holder_certificate
from protocol.card.tlv import TLV
from simulators.card.egk_print import FICTITIOUS_EGK, CardAuthority

TODAY = 20261121
ROOT = bytes.fromhex("4445475858870222")
OLD_ROOT = bytes.fromhex("4445475858820214")
NEW_ROOT = bytes.fromhex("4445475858880224")
CARD_FILE, AUTHORITY_FILE = "EF.C.eGK.AUT_CVC.E256", "EF.C.CA_eGK.CS.E256"


@pytest.fixture(scope="module")
def published(vectors: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted((vectors / "cvc").glob("*.cvc"))}


@pytest.fixture(scope="module")
def shown(trace: Any) -> list[CVCertificate]:
    """The certificates that the published trace of a mutual authentication shows to a card."""
    _, tape = trace("trusted-channel")
    return [
        decode_certificate(TLV(0x7F21, command[5:]).encode_ber())
        for command, _ in tape
        if command[:4] == bytes.fromhex("002A00BE")
    ]


def _anchors(*roots: CVCertificate) -> dict[bytes, TrustAnchor]:
    return {each.holder: anchor_of(each) for each in roots}


def test_every_published_certificate_parses_and_is_written_again(
    published: dict[str, bytes],
) -> None:
    assert len(published) == 6
    for encoded in published.values():
        certificate = decode_certificate(encoded)
        assert certificate.encode() == encoded
        assert certificate.may_certify


def test_published_roots_sign_themselves(published: dict[str, bytes]) -> None:
    for name, encoded in published.items():
        if not name.endswith("_cross"):
            anchor = anchor_of(decode_certificate(encoded))
            assert anchor.begins < anchor.ends


def test_cross_certificates_certify_the_roots_own_keys(published: dict[str, bytes]) -> None:
    for name, encoded in published.items():
        if name.endswith("_cross"):
            root = decode_certificate(published[name.removesuffix("_cross")])
            cross = decode_certificate(encoded)
            assert (cross.holder, cross.point) == (root.holder, root.point)
            assert cross.authority != root.authority


def test_every_cross_certificate_chains_to_its_root(
    published: dict[str, bytes], shown: list[CVCertificate]
) -> None:
    certificates = {name: decode_certificate(each) for name, each in published.items()}
    new = certificates["DEGXX880224_cross"]
    assert verify_chain(new, (), _anchors(certificates["DEGXX870222"]), today=TODAY) == (new,)
    # Its issuer's own certificate stands in the trace of a mutual authentication.
    old = certificates["DEGXX820214_cross"]
    assert verify_chain(old, (), _anchors(shown[2]), today=20200101) == (old,)
    # Of the third one's issuer, DEGXX860220, no key is published.
    orphan = certificates["DEGXX870222_cross"]
    with pytest.raises(NoAnchorError, match="4445475858860220"):
        verify_chain(orphan, shown, _anchors(*(shown[2:])), today=TODAY)


def test_shown_certificates_chain_back_through_cross_certificates(
    shown: list[CVCertificate],
) -> None:
    """The trace shows a chain from one root back to an older one."""
    anchor = TrustAnchor(shown[0].authority, bytes(65), 20180101, 20281231)
    with pytest.raises(CertificateError):
        verify_chain(shown[0], (), {anchor.name: anchor}, today=20200101)
    for issuer, issued in pairwise(shown):
        assert issued.authority == issuer.holder
        verify_certificate(issued, issuer.point)
    way = verify_chain(shown[2], shown[:1], _anchors(shown[2]), today=20200101)
    assert way == (shown[2],)


def test_published_keys_of_roots_are_points(vectors: Path, published: dict[str, bytes]) -> None:
    keys = {
        path.stem.partition("_")[0]: decode_anchor_key(path.read_bytes())
        for path in (vectors / "cvc").glob("*PublicKey.der")
    }
    assert len(keys) == 2
    assert keys[OLD_ROOT.hex()] == decode_certificate(published["DEGXX820214"]).point


def test_every_flipped_bit_of_a_key_is_refused(vectors: Path) -> None:
    for path in (vectors / "cvc").glob("*PublicKey.der"):
        encoded = path.read_bytes()
        for changed in _flips(encoded):
            with pytest.raises(CardDataError):
                decode_anchor_key(changed)


@pytest.mark.parametrize("number", [83, 84])
def test_the_cards_of_both_images_chain(
    image: Any, published: dict[str, bytes], number: int
) -> None:
    files = image(number)
    card = decode_certificate(files[CARD_FILE])
    authority = decode_certificate(files[AUTHORITY_FILE])
    root = decode_certificate(published["DEGXX870222"])
    assert card.iccsn.hex() == f"802768831100001685{number}"
    assert card.key_use == AUTHENTICATION_KEY
    known = (authority, *(decode_certificate(each) for each in published.values()))
    assert verify_chain(card, known, _anchors(root), today=TODAY) == (card, authority)
    with pytest.raises(CertificateExpiredError):
        verify_chain(card, known, _anchors(root), today=20320119)
    with pytest.raises(NoAnchorError):
        verify_chain(card, (), _anchors(root), today=TODAY)


def test_a_card_chains_through_a_cross_certificate() -> None:
    """Where only another root is trusted, its cross certificate leads there."""
    made_up = CardAuthority(Random(1).randbytes)
    elsewhere = CardAuthority(Random(2).randbytes, root_name=b"XXMUP\x99\x01\x25")
    card = made_up.certify(bytes(12), b"\1" * 32, begins=20250101, ends=20301231)
    cross = elsewhere.cross_certify(made_up.root)
    known = (made_up.certificate, cross)
    way = verify_chain(card, known, _anchors(elsewhere.root), today=TODAY)
    assert way == (card, made_up.certificate, cross)
    with pytest.raises(NoAnchorError):
        verify_chain(card, (made_up.certificate,), _anchors(elsewhere.root), today=TODAY)


def test_cross_certificates_in_a_circle_come_to_an_end() -> None:
    one = CardAuthority(Random(1).randbytes)
    other = CardAuthority(Random(2).randbytes, root_name=b"XXMUP\x99\x01\x25")
    card = one.certify(bytes(12), b"\1" * 32, begins=20250101, ends=20301231)
    known = (one.certificate, other.cross_certify(one.root), one.cross_certify(other.root))
    with pytest.raises(NoAnchorError):
        verify_chain(card, known * 50, {}, today=TODAY)


def test_every_flipped_bit_of_a_published_certificate_is_refused(
    image: Any, published: dict[str, bytes], shown: list[CVCertificate]
) -> None:
    """Whatever stands above a certificate is known and true: nothing but it is changed."""
    roots = [decode_certificate(each) for name, each in published.items() if "cross" not in name]
    anchors = _anchors(*roots, shown[2])
    files = image(83), image(84)
    known = [decode_certificate(each[AUTHORITY_FILE]) for each in files]
    wholes = [
        *(each[CARD_FILE] for each in files),
        *{each[AUTHORITY_FILE] for each in files},
        *(each for name, each in published.items() if "cross" in name),
    ]
    days = {encoded: decode_certificate(encoded).begins for encoded in wholes}
    for encoded in wholes:
        refused = 0
        for changed in _flips(encoded):
            with pytest.raises(CardProtocolError):
                _chain(changed, known, anchors, days[encoded])
            refused += 1
        assert refused == 8 * len(encoded)


def test_every_flipped_bit_of_a_self_signed_root_is_refused(published: dict[str, bytes]) -> None:
    for name, encoded in published.items():
        if name.endswith("_cross"):
            continue
        for changed in _flips(encoded):
            with pytest.raises(CardProtocolError):
                anchor_of(decode_certificate(changed))


@given(st.binary(max_size=300))
def test_garbage_is_refused_by_name(garbage: bytes) -> None:
    with pytest.raises(CardDataError):
        decode_certificate(garbage)
    with pytest.raises(CardDataError):
        decode_anchor_key(garbage)


def test_a_signature_over_another_value_or_of_another_size_is_refused() -> None:
    point = EphemeralKey(b"\1" * 32).public_point
    for signature in (bytes(64), b"\1" * 64, b"\xff" * 64, b"", bytes(63)):
        with pytest.raises(CertificateError):
            verify_value(point, signature, bytes(25))


# The holder's X.509 certificate


def test_a_holders_certificate_is_verified_and_read() -> None:
    authority = CardAuthority(Random(1).randbytes)
    encoded = authority.certify_holder(FICTITIOUS_EGK, b"\2" * 32)
    trusted = [authority.holder_authority]
    holder = verify_holder_certificate(encoded, trusted, today=TODAY)
    assert (holder.kvnr, holder.insurer) == (FICTITIOUS_EGK.kvnr, FICTITIOUS_EGK.insurer)
    assert (holder.begins, holder.ends) == (FICTITIOUS_EGK.begins, FICTITIOUS_EGK.ends)
    with pytest.raises(NoAnchorError):
        verify_holder_certificate(encoded, [], today=TODAY)
    with pytest.raises(CertificateExpiredError):
        verify_holder_certificate(encoded, trusted, today=20310101)
    stranger = CardAuthority(Random(3).randbytes).holder_authority
    with pytest.raises(CertificateError, match="not signed"):
        verify_holder_certificate(encoded, [stranger], today=TODAY)


def test_every_flipped_bit_of_a_holders_certificate_is_refused() -> None:
    authority = CardAuthority(Random(1).randbytes)
    encoded = authority.certify_holder(FICTITIOUS_EGK, b"\2" * 32)
    for changed in _flips(encoded):
        with pytest.raises(CardProtocolError):
            verify_holder_certificate(changed, [authority.holder_authority], today=TODAY)


def test_a_signature_of_less_than_whole_bytes_is_refused() -> None:
    """Where its last bits are zero, a signature may be called shorter and keep its value."""
    authority = CardAuthority(Random(1).randbytes)
    for _ in range(200):
        encoded = authority.certify_holder(FICTITIOUS_EGK, b"\2" * 32)
        if not encoded[-1] & 1:
            break
    else:
        pytest.fail("no signature ended in a zero bit")
    signature = load_der_x509_certificate(encoded).signature
    at = len(encoded) - len(signature) - 1
    assert encoded[at] == 0
    changed = encoded[:at] + b"\1" + encoded[at + 1 :]
    assert load_der_x509_certificate(changed).signature == signature
    with pytest.raises(CardDataError, match="not DER"):
        verify_holder_certificate(changed, [authority.holder_authority], today=TODAY)


def test_the_images_holders_have_another_issuer_than_the_published_one(
    image: Any, vectors: Path
) -> None:
    """The images' certificates are of GEM.EGK-CA57, the published one is GEM.EGK-CA51."""
    authority = load_der_x509_certificate(
        (vectors / "cvc" / "GEM.EGK-CA51_TEST-ONLY.der").read_bytes()
    )
    for number in (83, 84):
        encoded = image(number)["EF.C.CH.AUT.E256"]
        assert "GEM.EGK-CA57" in load_der_x509_certificate(encoded).issuer.rfc4514_string()
        with pytest.raises(NoAnchorError):
            verify_holder_certificate(encoded, [authority], today=TODAY)


def _chain(encoded: bytes, known: Any, anchors: Any, today: int) -> None:
    verify_chain(decode_certificate(encoded), known, anchors, today=today)


def _flips(encoded: bytes) -> Any:
    for bit in range(8 * len(encoded)):
        changed = bytearray(encoded)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)
