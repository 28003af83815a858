"""The fund's certificate authority: who a server is, and which terminal of which institution calls.

A terminal makes its own key and asks for a certificate; the centre sets the subject, whatever the
request says: O is the institution's code, CN the terminal's. Not here: whether the terminal may
work now, which is the registry's to say.
"""

import contextlib
import datetime as dt
import hashlib
import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cardserver import key_files

DIRECTORY = "authority"  # beside the configuration
AUTHORITY_KEY = "authority.key"
AUTHORITY_CERTIFICATE = "authority.crt"

# Ours to choose: an authority outlives the machines that trust it, a certificate is renewed
# before anyone has forgotten how.
AUTHORITY_LIFE = dt.timedelta(days=3652)
SERVER_LIFE = dt.timedelta(days=825)
TERMINAL_LIFE = dt.timedelta(days=1096)
CLOCK_TOLERANCE = dt.timedelta(minutes=10)  # a terminal's clock may be behind the centre's

REQUEST_SIZE_MAX = 16_384
INSTITUTION_CODE = re.compile(r"[A-Z][0-9]{11}")
TERMINAL_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,19}")


ENDS_SOON = dt.timedelta(days=30)
"""From when on whoever can renew a certificate is told."""


class AuthorityError(Exception):
    """A key, request or certificate is not what the authority can work with."""


@dataclass(frozen=True, slots=True)
class Authority:
    """The authority's certificate and its key, which never leaves this value."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def __repr__(self) -> str:
        return f"<Authority {self.certificate.subject.rfc4514_string()}>"

    @property
    def certificate_pem(self) -> bytes:
        """The certificate that terminals and servers trust."""
        return to_pem(self.certificate)


@dataclass(frozen=True, slots=True)
class TerminalCertificate:
    """What a terminal's certificate says.

    Attributes:
        institution: The institution's code.
        terminal: The terminal's code within it.
        sha256: Of the certificate's DER.
        ends_ms: When it ends, in ms since 1970.
    """

    institution: str
    terminal: str
    sha256: bytes
    ends_ms: int


def make_authority(directory: Path, *, name: str, now: dt.datetime) -> Authority:
    """Make a new authority and write its key and certificate into the directory.

    Raises:
        KeyFileError: One of the files exists.
    """
    key = new_key()
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, name),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{name} CA"),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_TOLERANCE)
        .not_valid_after(now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    key_files.write_new(directory / AUTHORITY_KEY, private_pem(key))
    key_files.write_new(
        directory / AUTHORITY_CERTIFICATE, to_pem(certificate), mode=key_files.PUBLIC_MODE
    )
    return Authority(certificate, key)


def open_authority(directory: Path) -> Authority:
    """Read the authority that `make_authority` wrote.

    Raises:
        KeyFileError: The key file is missing or open to others.
        AuthorityError: The files don't hold a key and its certificate.
    """
    key = read_key(directory / AUTHORITY_KEY)
    try:
        certificate = x509.load_pem_x509_certificate(
            (directory / AUTHORITY_CERTIFICATE).read_bytes()
        )
    except (ValueError, OSError) as error:
        raise AuthorityError(f"the authority in {directory} can't be read: {error}") from error
    if key.public_key() != certificate.public_key():
        raise AuthorityError(f"{AUTHORITY_KEY} is not the key of {AUTHORITY_CERTIFICATE}")
    return Authority(certificate, key)


def issue_server_certificate(
    authority: Authority, *, hosts: tuple[str, ...], now: dt.datetime
) -> tuple[bytes, bytes]:
    """Make a server's key and its certificate for the names and addresses by which it is called.

    Returns:
        The certificate and the key, both in PEM.
    """
    key = new_key()
    return to_pem(_server_certificate(authority, key, hosts, now)), private_pem(key)


def renew_server_certificate(
    authority: Authority,
    present: x509.Certificate,
    *,
    key: ec.EllipticCurvePrivateKey,
    hosts: tuple[str, ...] = (),
    now: dt.datetime,
) -> x509.Certificate:
    """Sign a server's certificate anew.

    Args:
        authority: The one that signed the present certificate.
        present: What it shows now, also when it has ended.
        key: The server's: the one that it has, or a new one.
        hosts: By what it is called; none: as the present certificate says.
        now: The time.

    Raises:
        AuthorityError: Another authority signed it, or it names no host.
    """
    try:
        present.verify_directly_issued_by(authority.certificate)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise AuthorityError(
            "the present certificate is not of this centre's own authority: have it renewed by"
            " whoever signed it"
        ) from error
    return _server_certificate(authority, key, hosts or hosts_of(present), now)


def hosts_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the names and addresses that a server's certificate is for.

    Raises:
        AuthorityError: It names none.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as error:
        raise AuthorityError("the certificate names no host") from error
    return tuple(str(one.value) for one in names)


def new_key() -> ec.EllipticCurvePrivateKey:
    """Make a key for a certificate."""
    return ec.generate_private_key(ec.SECP256R1())


def read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read a certificate's key.

    Raises:
        KeyFileError: The file is missing or open to others.
        AuthorityError: It holds no key on the curve P-256.
    """
    pem = key_files.read_secret(path)
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise AuthorityError(f"{path} can't be read: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise AuthorityError(f"{path} doesn't hold a P-256 key")
    return key


def issue_client_certificate(
    authority: Authority, *, name: str, now: dt.datetime
) -> tuple[bytes, bytes]:
    """Make the key and certificate by which a part of the centre calls another server.

    It names no institution: no terminal has such a subject.

    Returns:
        The certificate and the key, both in PEM.
    """
    key = new_key()
    certificate = _issue(
        authority,
        public_key=key.public_key(),
        subject=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
        usage=ExtendedKeyUsageOID.CLIENT_AUTH,
        ends=now + SERVER_LIFE,
        now=now,
        alternative_name=None,
    )
    return to_pem(certificate), private_pem(key)


def issue_terminal_certificate(
    authority: Authority, request_pem: bytes, *, institution: str, terminal: str, now: dt.datetime
) -> x509.Certificate:
    """Sign a terminal's request; subject and lifetime are the centre's, the key is the terminal's.

    Raises:
        AuthorityError: A code is not well-formed, or the request isn't a P-256 key's own.
    """
    if not INSTITUTION_CODE.fullmatch(institution):
        raise AuthorityError(
            f"institution code {institution!r}: expected a capital letter and 11 digits"
        )
    if not TERMINAL_CODE.fullmatch(terminal):
        raise AuthorityError(
            f"terminal code {terminal!r}: expected 1 to 20 letters, digits, '.', '_' or '-'"
        )
    return _issue(
        authority,
        public_key=_requested_key(request_pem),
        subject=x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, institution),
                x509.NameAttribute(NameOID.COMMON_NAME, terminal),
            ]
        ),
        usage=ExtendedKeyUsageOID.CLIENT_AUTH,
        ends=now + TERMINAL_LIFE,
        now=now,
        alternative_name=None,
    )


def identity_of(certificate: x509.Certificate | bytes) -> tuple[str, str]:
    """Return institution code and terminal code of a certificate, given as such or in DER.

    That the authority signed it is for the TLS handshake to check; this reads what it says.

    Raises:
        AuthorityError: It is not a terminal's certificate.
    """
    if isinstance(certificate, bytes):
        try:
            certificate = x509.load_der_x509_certificate(certificate)
        except ValueError as error:
            raise AuthorityError("not a certificate") from error
    institutions = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    terminals = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(institutions) != 1 or len(terminals) != 1:
        raise AuthorityError("the certificate names no single institution and terminal")
    institution, terminal = str(institutions[0].value), str(terminals[0].value)
    if not INSTITUTION_CODE.fullmatch(institution) or not TERMINAL_CODE.fullmatch(terminal):
        raise AuthorityError("the certificate is not a terminal's")
    return institution, terminal


def terminal_certificate(der: bytes) -> TerminalCertificate:
    """Read a terminal's certificate in DER.

    Raises:
        AuthorityError: As `identity_of`.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
    except ValueError as error:
        raise AuthorityError("not a certificate") from error
    institution, terminal = identity_of(certificate)
    return TerminalCertificate(
        institution, terminal, fingerprint_of(certificate), ends_ms_of(certificate)
    )


def fingerprint_of(certificate: x509.Certificate | bytes) -> bytes:
    """Return the SHA-256 of the certificate's DER, as the registry keeps it."""
    if isinstance(certificate, bytes):
        return hashlib.sha256(certificate).digest()
    return certificate.fingerprint(hashes.SHA256())


def ends_ms_of(certificate: x509.Certificate) -> int:
    """Return when a certificate ends, in ms since 1970."""
    return int(certificate.not_valid_after_utc.timestamp()) * 1000


def to_pem(certificate: x509.Certificate) -> bytes:
    """Write a certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def _server_certificate(
    authority: Authority, key: ec.EllipticCurvePrivateKey, hosts: tuple[str, ...], now: dt.datetime
) -> x509.Certificate:
    assert hosts
    return _issue(
        authority,
        public_key=key.public_key(),
        subject=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])]),
        usage=ExtendedKeyUsageOID.SERVER_AUTH,
        ends=now + SERVER_LIFE,
        now=now,
        alternative_name=x509.SubjectAlternativeName([_general_name(host) for host in hosts]),
    )


def _requested_key(request_pem: bytes) -> ec.EllipticCurvePublicKey:
    if len(request_pem) > REQUEST_SIZE_MAX:
        raise AuthorityError(f"the request is larger than {REQUEST_SIZE_MAX} bytes")
    try:
        request = x509.load_pem_x509_csr(request_pem)
        is_own = request.is_signature_valid
        key = request.public_key()
    except (ValueError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise AuthorityError(f"the request is not a PKCS #10 request in PEM: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise AuthorityError("the request's key is not on the curve P-256")
    if not is_own:
        raise AuthorityError("the request is not signed with its own key")
    return key


def _issue(
    authority: Authority,
    *,
    public_key: ec.EllipticCurvePublicKey,
    subject: x509.Name,
    usage: x509.ObjectIdentifier,
    ends: dt.datetime,
    now: dt.datetime,
    alternative_name: x509.SubjectAlternativeName | None,
) -> x509.Certificate:
    """Sign an end entity's certificate, with every extension that strict verifiers want."""
    begins = max(now - CLOCK_TOLERANCE, authority.certificate.not_valid_before_utc)
    ends = min(ends, authority.certificate.not_valid_after_utc)
    if begins >= ends:
        raise AuthorityError("the authority's own certificate has expired: make a new one")
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.certificate.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
            critical=False,
        )
    )
    if alternative_name is not None:
        builder = builder.add_extension(alternative_name, critical=False)
    return builder.sign(authority.key, hashes.SHA256())


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    with contextlib.suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(host))
    if not host.isascii() or not host:
        raise AuthorityError(f"host {host!r} is neither an address nor an ASCII name")
    return x509.DNSName(host)


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Write a key as PEM, not encrypted: for files of mode 0600."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
