"""Root keys in encrypted files.

A directory of mode 0700 holds `store.json` and one file a key, `<usage>.<algorithm>.<version>.key`,
all of mode 0600 and of the user who runs the centre. scrypt (RFC 7914) makes the key-encryption key
from a passphrase; it wraps the store's own random key, so that a new passphrase changes one file;
that key encrypts the root keys. Both with AES-256-GCM; name, check value and day of a root key are
associated data, so that no file passes for another one. A running centre holds the keys in its
memory: who can read that, or both directory and passphrase, has them. Not here: keys that a token
guards (`pkcs11_keystore.py`).
"""

import datetime as dt
import os
import secrets
import stat
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from msgspec import Meta, Struct

from cardserver import key_files
from cardserver.cards.keystore import (
    REGION_KEYS_MAX,
    CardKeyName,
    KeyStoreError,
    RootKeyName,
    RootKeyRecord,
    RootKeyStore,
    check_key_value,
    check_value_of,
    check_versions,
)
from protocol.card.profiles.social_security_keys import (
    KEY_SIZE,
    Algorithm,
    CardKey,
    authentication_data,
    diversify,
    region_key,
    session_key,
)

HEADER_FILE = "store.json"
KEY_SUFFIX = ".key"
PASSPHRASE_SIZE_MIN = 16

_FORMAT = 1
_STORE_KEY_SIZE = 32
_SALT_SIZE = 16
_NONCE_SIZE = 12
# 32 MiB and about 80 ms: an attacker pays that for each guess, a worker once at its start.
_SCRYPT_N = 2**15
_SCRYPT_R = 8
_SCRYPT_P = 1


class _Header(Struct, frozen=True, forbid_unknown_fields=True):
    """`store.json`: how the passphrase opens the store."""

    format: Annotated[int, Meta(ge=_FORMAT, le=_FORMAT)]
    scrypt_n: Annotated[int, Meta(ge=2**14, le=2**20)]  # at most 1 GiB, whatever the file says
    scrypt_r: Annotated[int, Meta(ge=8, le=8)]
    scrypt_p: Annotated[int, Meta(ge=1, le=4)]
    salt: Annotated[bytes, Meta(min_length=_SALT_SIZE, max_length=64)]
    nonce: Annotated[bytes, Meta(min_length=_NONCE_SIZE, max_length=_NONCE_SIZE)]
    wrapped_key: bytes


class _KeyFile(Struct, frozen=True, forbid_unknown_fields=True):
    """One root key's file."""

    name: str
    check_value: str
    made: dt.date
    nonce: Annotated[bytes, Meta(min_length=_NONCE_SIZE, max_length=_NONCE_SIZE)]
    encrypted: bytes

    @property
    def associated_data(self) -> bytes:
        """What the encryption binds to the key."""
        return msgspec.msgpack.encode(
            ("cardserver root key", _FORMAT, self.name, self.check_value, self.made)
        )


class FileKeyStore(RootKeyStore):
    """Root keys in a directory of encrypted files.

    Raises:
        KeyStoreError: No such store, another passphrase, a file that others can read, that belongs
            to another user, was changed, or is named wrongly.
    """

    def __init__(self, directory: Path, passphrase: bytes) -> None:
        _check_directory(directory)
        self._directory = directory
        self._cipher = AESGCM(_unwrap(_read_header(directory), passphrase))
        self._records: dict[RootKeyName, RootKeyRecord] = {}
        self._roots: dict[RootKeyName, CardKey] = {}
        self._region_keys: OrderedDict[tuple[RootKeyName, str], CardKey] = OrderedDict()
        for path in sorted(directory.glob(f"*{KEY_SUFFIX}")):
            self._take(_decode(path, _KeyFile), path)
        check_versions(self._roots)

    @classmethod
    def make(cls, directory: Path, passphrase: bytes) -> "FileKeyStore":
        """Make an empty store in a directory that is made or is empty.

        Raises:
            KeyStoreError: The directory is in use, or the passphrase too short.
        """
        directory.mkdir(mode=0o700, exist_ok=True)
        if any(directory.iterdir()):
            raise KeyStoreError(f"{directory} is not empty: a new key store needs a new directory")
        header = _wrap(secrets.token_bytes(_STORE_KEY_SIZE), passphrase)
        key_files.write_new(directory / HEADER_FILE, msgspec.json.encode(header))
        return cls(directory, passphrase)

    @property
    def algorithms(self) -> frozenset[Algorithm]:
        """3DES and SM4; SSF33 has no public definition."""
        return frozenset({Algorithm.TRIPLE_DES, Algorithm.SM4})

    def records(self) -> list[RootKeyRecord]:
        """List what may be shown of the keys, by name."""
        return [self._records[name] for name in sorted(self._records)]

    def create(self, name: RootKeyName, made: dt.date) -> RootKeyRecord:
        """Draw a root key at random and write its file."""
        return self.import_key(name, CardKey(secrets.token_bytes(KEY_SIZE)), made)

    def import_key(self, name: RootKeyName, value: CardKey, made: dt.date) -> RootKeyRecord:
        """Write a root key's file, encrypted."""
        self._check_new(name)
        check_key_value(name.algorithm, value)
        file = _KeyFile(
            name=str(name),
            check_value=check_value_of(name.algorithm, value).hex().upper(),
            made=made,
            nonce=secrets.token_bytes(_NONCE_SIZE),
            encrypted=b"",
        )
        encrypted = self._cipher.encrypt(file.nonce, value, file.associated_data)
        file = msgspec.structs.replace(file, encrypted=encrypted)
        path = self._path(name)
        try:
            key_files.write_new(path, msgspec.json.encode(file))
        except (OSError, key_files.KeyFileError) as fault:
            raise KeyStoreError(f"{path} can't be written: {fault}") from fault
        self._take(file, path)
        return self._records[name]

    def destroy(self, name: RootKeyName) -> None:
        """Delete a root key's file; what copies of it there are, nobody here knows."""
        if name not in self._roots:
            raise KeyStoreError(f"there is no root key {name}")
        self._path(name).unlink()
        key_files.sync_directory(self._directory)
        del self._roots[name], self._records[name]
        self._region_keys.clear()

    def change_passphrase(self, passphrase: bytes, new: bytes) -> None:
        """Have the store opened by another passphrase from now on; no root key is touched.

        Raises:
            KeyStoreError: `passphrase` is not the present one, or the new one is too short.
        """
        header = _wrap(_unwrap(_read_header(self._directory), passphrase), new)
        key_files.replace(self._directory / HEADER_FILE, msgspec.json.encode(header))

    def close(self) -> None:
        """Forget the keys."""
        self._roots.clear()
        self._region_keys.clear()

    def _names(self) -> Iterable[RootKeyName]:
        return self._roots

    def _authentication(
        self, root: RootKeyName, card: CardKeyName, *, factor: bytes, original: bytes
    ) -> bytes:
        key = diversify(card.algorithm, self._region_key(root, card.region), card.identity)
        session = session_key(card.algorithm, key, factor)
        return authentication_data(card.algorithm, session, original)

    def _region_key(self, root: RootKeyName, region: str) -> CardKey:
        key = self._region_keys.get((root, region))
        if key is None:
            key = region_key(root.algorithm, self._roots[root], region)
            self._region_keys[root, region] = key
            if len(self._region_keys) > REGION_KEYS_MAX:
                self._region_keys.popitem(last=False)
        return key

    def _take(self, file: _KeyFile, path: Path) -> None:
        name = RootKeyName.parse(path.name.removesuffix(KEY_SUFFIX))
        if file.name != str(name):
            raise KeyStoreError(f"{path} holds the key {file.name}: it was renamed")
        self.check_algorithm(name.algorithm)
        try:
            value = self._cipher.decrypt(file.nonce, file.encrypted, file.associated_data)
        except InvalidTag as changed:
            raise KeyStoreError(f"{path} was changed, or is of another store") from changed
        key = CardKey(value)
        check_value = check_value_of(name.algorithm, key)
        if check_value.hex().upper() != file.check_value:
            raise KeyStoreError(f"{path} does not hold the key of its check value")
        self._roots[name] = key
        self._records[name] = RootKeyRecord(name, check_value, file.made)

    def _path(self, name: RootKeyName) -> Path:
        return self._directory / f"{name}{KEY_SUFFIX}"


def read_passphrase(path: Path) -> bytes:
    """Read a passphrase or PIN from a file of its owner's.

    Raises:
        KeyStoreError: The file is missing, open to others, or of another user.
    """
    return _read(path).strip()


def _check_directory(directory: Path) -> None:
    try:
        status = directory.stat()
    except OSError as unreadable:
        raise KeyStoreError(f"{directory} can't be read: {unreadable.strerror}") from unreadable
    if not stat.S_ISDIR(status.st_mode):
        raise KeyStoreError(f"{directory} is not a directory")
    if status.st_mode & 0o077:
        raise KeyStoreError(f"{directory} is open to others than its owner: chmod 700 it")
    _check_owner(directory, status)
    if not (directory / HEADER_FILE).exists():
        raise KeyStoreError(f"{directory} is no key store: it has no {HEADER_FILE}")


def _check_owner(path: Path, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid():
        raise KeyStoreError(
            f"{path} belongs to user {status.st_uid}, and this runs as {os.geteuid()}:"
            " run it as the user who runs the centre"
        )


def _read(path: Path) -> bytes:
    """Read a file that no one else can have written or can read."""
    try:
        data = key_files.read_secret(path)
        _check_owner(path, path.stat())
    except (OSError, key_files.KeyFileError) as fault:
        raise KeyStoreError(str(fault)) from fault
    return data


def _decode(path: Path, kind: type[_KeyFile]) -> _KeyFile:
    try:
        return msgspec.json.decode(_read(path), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as malformed:
        raise KeyStoreError(f"{path} is no encrypted root key: {malformed}") from malformed


def _read_header(directory: Path) -> _Header:
    path = directory / HEADER_FILE
    try:
        return msgspec.json.decode(_read(path), type=_Header)
    except (msgspec.DecodeError, UnicodeDecodeError) as malformed:
        raise KeyStoreError(f"{path} can't be understood: {malformed}") from malformed


def _wrap(store_key: bytes, passphrase: bytes) -> _Header:
    if len(passphrase) < PASSPHRASE_SIZE_MIN:
        raise KeyStoreError(f"the passphrase has fewer than {PASSPHRASE_SIZE_MIN} characters")
    header = _Header(
        format=_FORMAT,
        scrypt_n=_SCRYPT_N,
        scrypt_r=_SCRYPT_R,
        scrypt_p=_SCRYPT_P,
        salt=secrets.token_bytes(_SALT_SIZE),
        nonce=secrets.token_bytes(_NONCE_SIZE),
        wrapped_key=b"",
    )
    wrapped = AESGCM(_key_encryption_key(header, passphrase)).encrypt(
        header.nonce, store_key, _header_data(header)
    )
    return msgspec.structs.replace(header, wrapped_key=wrapped)


def _unwrap(header: _Header, passphrase: bytes) -> bytes:
    cipher = AESGCM(_key_encryption_key(header, passphrase))
    try:
        return cipher.decrypt(header.nonce, header.wrapped_key, _header_data(header))
    except InvalidTag as wrong:
        raise KeyStoreError("the key store has another passphrase, or was changed") from wrong


def _key_encryption_key(header: _Header, passphrase: bytes) -> bytes:
    try:
        scrypt = Scrypt(
            header.salt, length=32, n=header.scrypt_n, r=header.scrypt_r, p=header.scrypt_p
        )
        return scrypt.derive(passphrase)
    except ValueError as impossible:  # n is no power of two
        raise KeyStoreError(f"{HEADER_FILE} can't be understood: {impossible}") from impossible


def _header_data(header: _Header) -> bytes:
    return msgspec.msgpack.encode(
        ("cardserver key store", header.format, header.scrypt_n, header.scrypt_r, header.scrypt_p)
    )
