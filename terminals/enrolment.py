"""A new terminal's folder: its key, made here to stay, the request for a certificate, the TOML."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from terminals.config import CONFIG_FILE_NAME, decode_config

KEY_FILE: Final = "terminal.key"
REQUEST_FILE: Final = "terminal.csr"
CERTIFICATE_FILE: Final = "terminal.crt"
CA_FILE: Final = "ca.crt"

_CONFIG: Final = """\
# The counter's configuration; every key is described in terminals/README.md.
state_file = "terminal-state.json"

[centre]
host = {host}
port = {port}
server_name = {server_name}
ca_file = "{ca_file}"

[terminal]
institution = {institution}
code = {code}
certificate_file = "{certificate_file}"
key_file = "{key_file}"

[reader]
name = {reader}

[outbox]
file = "outbox.sqlite"

[receipt]
columns = 42
institution_name = {institution_name}

# [mqtt]                 # the fund's message broker: cardterminal attend
# host = "localhost"
# port = 8883
"""


class EnrolmentError(Exception):
    """The folder cannot be made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTerminal:
    """What `init` is told.

    Attributes:
        institution: The institution's code.
        institution_name: Its name on receipts; may be empty.
        code: The terminal's code.
        host: The centre's name or address.
        port: Its port.
        server_name: What its certificate names; empty for `host`.
        reader: The card reader's name or a part of it; may be empty.
        ca_file: The fund's authority, PEM; copied into the folder.
    """

    institution: str
    institution_name: str
    code: str
    host: str
    port: int
    server_name: str
    reader: str
    ca_file: Path


def make_terminal(directory: Path, new: NewTerminal) -> None:
    """Make the folder with key (0600), request, authority and configuration.

    Raises:
        EnrolmentError: A file exists or cannot be written, or the authority's file is none.
        ConfigError: A value doesn't fit the configuration.
    """
    text = _CONFIG.format(
        # A JSON string is a TOML string as well.
        host=json.dumps(new.host),
        port=new.port,
        server_name=json.dumps(new.server_name),
        ca_file=CA_FILE,
        institution=json.dumps(new.institution),
        code=json.dumps(new.code),
        certificate_file=CERTIFICATE_FILE,
        key_file=KEY_FILE,
        reader=json.dumps(new.reader),
        institution_name=json.dumps(new.institution_name, ensure_ascii=False),
    ).encode()
    decode_config(text, directory=directory, source=CONFIG_FILE_NAME)
    try:
        authority = new.ca_file.read_bytes()
        x509.load_pem_x509_certificate(authority)
    except (OSError, ValueError) as error:
        raise EnrolmentError(f"{new.ca_file}: no certificate in PEM: {error}") from error
    key, request = key_and_request(new.institution, new.code)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_new(directory / KEY_FILE, key, 0o600)
        _write_new(directory / REQUEST_FILE, request, 0o644)
        _write_new(directory / CA_FILE, authority, 0o644)
        _write_new(directory / CONFIG_FILE_NAME, text, 0o644)
    except OSError as error:
        raise EnrolmentError(f"{error.filename}: {error.strerror}") from error


def key_and_request(institution: str, code: str) -> tuple[bytes, bytes]:
    """Make a terminal's key, which is to stay where it is, and its certificate request, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    # Subject and lifetime are the centre's to set; these two help whoever compares.
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, institution),
            x509.NameAttribute(NameOID.COMMON_NAME, code),
        ]
    )
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    signed = request.sign(key, hashes.SHA256())
    return _pem(key), signed.public_bytes(serialization.Encoding.PEM)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write_new(file: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(data)
        opened.flush()
        os.fsync(opened.fileno())
