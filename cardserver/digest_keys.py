"""The key that signs digests: an Ed25519 key in a file, or a P-256 key in a PKCS #11 token.

The private key belongs to whoever must not be able to change the ledger unseen to others; the
public key to whoever verifies. Not here: the token itself (`digest_token.py`).
"""

import hashlib
from pathlib import Path
from typing import Protocol, TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from cardserver import key_files

PublicKey: TypeAlias = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey
ED25519 = "Ed25519"
ECDSA = "ECDSA-P256-SHA256"


class DigestKeyError(Exception):
    """A key of digests can't be read, made or used."""


class Signer(Protocol):
    """Who signs digests."""

    @property
    def algorithm(self) -> str:
        """`Ed25519` or `ECDSA-P256-SHA256`."""
        ...

    @property
    def public_key(self) -> PublicKey:
        """What verifies its signatures."""
        ...

    def sign(self, signed: bytes) -> bytes:
        """Return the signature.

        Raises:
            DigestKeyError: It can't.
        """
        ...


class FileSigner:
    """An Ed25519 key in a file that its owner alone may read.

    Raises:
        KeyFileError: The file is missing or open to others.
        DigestKeyError: It holds no such key.
    """

    algorithm = ED25519

    def __init__(self, path: Path) -> None:
        pem = key_files.read_secret(path)
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise DigestKeyError(f"{path} is not a private key in PEM") from error
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            raise DigestKeyError(f"{path} does not hold an Ed25519 key")
        self._key = key

    @property
    def public_key(self) -> PublicKey:
        """What verifies its signatures."""
        return self._key.public_key()

    def sign(self, signed: bytes) -> bytes:
        """Return the signature (RFC 8032)."""
        return self._key.sign(signed)


def make_key_file(path: Path) -> PublicKey:
    """Draw a key into a new file.

    Raises:
        KeyFileError: The file exists.
    """
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    key_files.write_new(path, pem)
    return key.public_key()


def write_public_key(path: Path, key: PublicKey) -> None:
    """Write a public key to a new file, PEM.

    Raises:
        KeyFileError: The file exists.
    """
    pem = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    key_files.write_new(path, pem, mode=key_files.PUBLIC_MODE)


def read_public_key(path: Path) -> PublicKey:
    """Read a public key of digests, PEM.

    Raises:
        DigestKeyError: It is none.
    """
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise DigestKeyError(f"{path} is not a public key in PEM") from error
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise DigestKeyError(f"{path} holds neither an Ed25519 key nor one on the curve P-256")


def fingerprint(key: PublicKey) -> str:
    """Return the SHA-256 of a public key's DER form, in hex."""
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(der).hexdigest()


def check_signature(key: PublicKey, *, signature: bytes, signed: bytes) -> bool:
    """Tell whether a signature is this key's over these bytes."""
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, signed)
        else:
            key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True
