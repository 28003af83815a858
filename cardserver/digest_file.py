"""A signed digest as a file: two lines, the digest in JSON and its signature.

The second line is JSON too: `algorithm`, `key` (SHA-256 of the public key's DER form, in hex) and
`signature` (Base64), over the bytes of the first line without its line feed. Not here: the keys
(`digest_keys.py`).
"""

import base64
from pathlib import Path

from msgspec import DecodeError, Struct, json

from cardserver import key_files
from cardserver.digest_keys import PublicKey, Signer, check_signature, fingerprint
from ledger.digest import Digest, DigestError, decode_digest, encode_digest

_SIZE_MAX = 16 * 1024 * 1024


class _Signature(Struct, frozen=True, forbid_unknown_fields=True):
    algorithm: str
    key: str
    signature: str


def write_digest_file(path: Path, digest: Digest, signer: Signer) -> None:
    """Sign a digest and write it to a new file.

    Raises:
        KeyFileError: The file exists.
        DigestKeyError: It can't be signed.
    """
    signed = encode_digest(digest)
    signature = _Signature(
        signer.algorithm,
        fingerprint(signer.public_key),
        base64.b64encode(signer.sign(signed)).decode(),
    )
    key_files.write_new(
        path, signed + b"\n" + json.encode(signature) + b"\n", mode=key_files.PUBLIC_MODE
    )


def read_digest_file(path: Path, key: PublicKey) -> Digest:
    """Read a digest that this key signed.

    Raises:
        DigestError: It is none, or another key signed it, or it was changed since.
    """
    with path.open("rb") as file:
        content = file.read(_SIZE_MAX)
    try:
        signed, second = content.removesuffix(b"\n").split(b"\n")
        signature = json.decode(second, type=_Signature)
        value = base64.b64decode(signature.signature, validate=True)
    except (ValueError, DecodeError) as error:
        raise DigestError(f"{path} is not a signed digest") from error
    if signature.key != fingerprint(key):
        raise DigestError(f"{path} was signed with another key: {signature.key}")
    if not check_signature(key, signature=value, signed=signed):
        raise DigestError(f"{path} is not as it was signed")
    return decode_digest(signed)
