"""Certificates and the files of secrets: who signs what, and what is refused."""

import datetime as dt
import os
import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cardserver import authority, key_files
from cardserver.authority import Authority, AuthorityError
from cardserver.key_files import KeyFileError

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
INSTITUTION = "H11019900001"
TERMINAL = "T01"


@pytest.fixture
def own(tmp_path: Path) -> Authority:
    return authority.make_authority(tmp_path, name="fund", now=NOW)


def request_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, subject: str = "x") -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def terminal_certificate(own: Authority, request: bytes, **changes: object) -> x509.Certificate:
    settings = {"institution": INSTITUTION, "terminal": TERMINAL, "now": NOW, **changes}
    return authority.issue_terminal_certificate(own, request, **settings)  # type: ignore[arg-type]


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def test_the_centre_sets_the_subject_whatever_is_asked_for(own: Authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = terminal_certificate(own, request_of(key, "T99 of another hospital"))
    assert authority.identity_of(certificate) == (INSTITUTION, TERMINAL)
    der = certificate.public_bytes(serialization.Encoding.DER)
    assert authority.identity_of(der) == (INSTITUTION, TERMINAL)
    assert authority.fingerprint_of(der) == authority.fingerprint_of(certificate)
    assert certificate.public_key() == key.public_key()
    certificate.verify_directly_issued_by(own.certificate)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert not constraints.ca


def test_the_authority_is_read_back_and_lives_ten_years(tmp_path: Path, own: Authority) -> None:
    again = authority.open_authority(tmp_path)
    assert again.certificate == own.certificate
    assert again.key.private_numbers() == own.key.private_numbers()
    life = own.certificate.not_valid_after_utc - NOW
    assert dt.timedelta(days=3650) < life < dt.timedelta(days=3660)
    assert "PRIVATE" not in repr(own)
    assert (tmp_path / authority.AUTHORITY_KEY).stat().st_mode & 0o777 == 0o600


def test_an_authority_is_not_made_over_another(tmp_path: Path, own: Authority) -> None:
    with pytest.raises(KeyFileError, match="not overwritten"):
        authority.make_authority(tmp_path, name="fund", now=NOW)
    assert authority.open_authority(tmp_path).certificate == own.certificate


def test_a_key_open_to_others_is_refused(tmp_path: Path, own: Authority) -> None:
    assert own is not None
    (tmp_path / authority.AUTHORITY_KEY).chmod(0o640)
    with pytest.raises(KeyFileError, match="0640"):
        authority.open_authority(tmp_path)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path, own: Authority) -> None:
    assert own is not None
    key = ec.generate_private_key(ec.SECP256R1())
    key_files.replace(tmp_path / authority.AUTHORITY_KEY, private_pem(key))
    with pytest.raises(AuthorityError, match="not the key of"):
        authority.open_authority(tmp_path)


def test_a_request_with_a_forged_signature_is_refused(own: Authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.load_pem_x509_csr(request_of(key))
    der = bytearray(request.public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(AuthorityError, match="own key"):
        terminal_certificate(own, forged)


@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)],
    ids=["P-384", "RSA"],
)
def test_a_request_of_another_kind_of_key_is_refused(
    own: Authority, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
) -> None:
    with pytest.raises(AuthorityError, match="P-256"):
        terminal_certificate(own, request_of(key))


@pytest.mark.parametrize("request_pem", [b"", b"garbage", b"\xff" * 20_000])
def test_garbage_is_refused(own: Authority, request_pem: bytes) -> None:
    with pytest.raises(AuthorityError):
        terminal_certificate(own, request_pem)


@pytest.mark.parametrize("institution", ["", "H1", "h11019900001", "H1101990000１", "*" * 12])
def test_a_malformed_institution_is_refused(own: Authority, institution: str) -> None:
    request = request_of(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(AuthorityError, match="institution code"):
        terminal_certificate(own, request, institution=institution)


@pytest.mark.parametrize("terminal", ["", ".", "T 1", "T" * 21, "T\n1"])
def test_a_malformed_terminal_is_refused(own: Authority, terminal: str) -> None:
    request = request_of(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(AuthorityError, match="terminal code"):
        terminal_certificate(own, request, terminal=terminal)


def test_a_servers_certificate_is_no_terminals(own: Authority) -> None:
    pem, _ = authority.issue_server_certificate(own, hosts=("localhost",), now=NOW)
    with pytest.raises(AuthorityError):
        authority.identity_of(x509.load_pem_x509_certificate(pem))
    with pytest.raises(AuthorityError):
        authority.identity_of(b"not DER")


def test_nothing_outlives_the_authority_or_is_issued_after_it(own: Authority) -> None:
    late = own.certificate.not_valid_after_utc - dt.timedelta(days=1)
    request = request_of(ec.generate_private_key(ec.SECP256R1()))
    certificate = terminal_certificate(own, request, now=late)
    assert certificate.not_valid_after_utc == own.certificate.not_valid_after_utc
    with pytest.raises(AuthorityError, match="expired"):
        terminal_certificate(own, request, now=late + dt.timedelta(days=2))


def test_a_host_name_beyond_ascii_is_refused(own: Authority) -> None:
    with pytest.raises(AuthorityError, match="ASCII"):
        authority.issue_server_certificate(own, hosts=("中心",), now=NOW)


def test_both_ends_accept_each_other_over_tls_with_strict_checks(
    tmp_path: Path, own: Authority
) -> None:
    """A real handshake, with the strictest verification that OpenSSL has."""
    certificate, server_key = authority.issue_server_certificate(
        own, hosts=("centre.test", "127.0.0.1"), now=NOW
    )
    key = ec.generate_private_key(ec.SECP256R1())
    issued = terminal_certificate(own, request_of(key))
    for name, data in (
        ("server.crt", certificate),
        ("server.key", server_key),
        ("terminal.crt", authority.to_pem(issued)),
        ("terminal.key", private_pem(key)),
    ):
        key_files.write_new(tmp_path / name, data)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_cert_chain(tmp_path / "terminal.crt", tmp_path / "terminal.key")
    server.verify_mode = ssl.CERT_REQUIRED
    for context in (server, client):
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
        context.load_verify_locations(tmp_path / authority.AUTHORITY_CERTIFICATE)
    near, far = socket.socketpair()
    seen: list[bytes | None] = []

    def serve() -> None:
        with server.wrap_socket(far, server_side=True) as link:
            seen.append(link.getpeercert(binary_form=True))
            link.sendall(b"x")

    thread = threading.Thread(target=serve)
    thread.start()
    with client.wrap_socket(near, server_hostname="centre.test") as link:
        assert link.recv(1) == b"x"
    thread.join(10)
    assert seen[0] is not None
    assert authority.identity_of(seen[0]) == (INSTITUTION, TERMINAL)


# --- files of secrets ---------------------------------------------------------------------------


def test_a_secret_is_written_once_and_read_back(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    key_files.write_new(file, b"one")
    assert file.stat().st_mode & 0o777 == 0o600
    assert key_files.read_secret(file) == b"one"
    with pytest.raises(KeyFileError, match="not overwritten"):
        key_files.write_new(file, b"two")
    assert key_files.read_secret(file) == b"one"
    key_files.replace(file, b"three")
    assert key_files.read_secret(file) == b"three"
    assert list(tmp_path.iterdir()) == [file]


def test_the_mode_does_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o277)
    try:
        key_files.write_new(tmp_path / "public", b"", mode=key_files.PUBLIC_MODE)
    finally:
        os.umask(before)
    assert (tmp_path / "public").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o602, 0o611])
def test_what_others_could_touch_is_refused(tmp_path: Path, mode: int) -> None:
    key_files.write_new(tmp_path / "secret", b"x", mode=mode)
    with pytest.raises(KeyFileError, match="open to others"):
        key_files.read_secret(tmp_path / "secret")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="does not exist"):
        key_files.read_secret(tmp_path / "none")
    with pytest.raises(KeyFileError, match="regular file"):
        key_files.read_secret(tmp_path)
