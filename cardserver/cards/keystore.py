"""Who holds the root keys, and what may be computed with them.

Keys never leave the store: it says whether a card's answer is right, and computes the centre's
own answer for a card that it has just found genuine, once. An HSM can stand in its place. Not
here: the ciphers (`protocol/card/profiles/social_security_keys.py`).
"""

import stat
from collections import OrderedDict
from dataclasses import dataclass
from hmac import compare_digest
from pathlib import Path
from typing import Protocol

from protocol.card.errors import AlgorithmUnsupportedError
from protocol.card.profiles.social_security_keys import (
    KEY_SIZE,
    Algorithm,
    CardKey,
    authentication_data,
    diversify,
    region_key,
    session_key,
)

INTERNAL_USAGE = "IRK"
EXTERNAL_USAGE = "RKSSSE"
ALGORITHM_NAMES = {Algorithm.TRIPLE_DES: "3des", Algorithm.SM4: "sm4"}

# A fund knows a few hundred cities; each entry is one key of 16 bytes.
_REGION_KEYS_MAX = 4096
# Rotating a root key takes years; more than this many at once is a mistake in the directory.
_VERSIONS_MAX = 8
_READABLE_BY_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class KeyStoreError(Exception):
    """The key store can't do its work: a fault of ours, never the card's."""


class NotGenuineError(Exception):
    """A card's answer was not made with the key that belongs to its identity."""


@dataclass(frozen=True, slots=True)
class CardKeyName:
    """Which card's key is meant: what the root key is diversified by.

    Attributes:
        region: GB/T 2260 code.
        identity: Historical bytes 6 to 13.
    """

    algorithm: Algorithm
    region: str
    identity: bytes


class ProvenCard:
    """A card that has just proven its key; good for one external authentication.

    Only a key store makes one, and it dies with the CARD_OPEN in which it was made: the centre
    computes for nobody who has not proven a key, and for the prover only once.
    """

    __slots__ = ("_is_spent", "key_version", "name")

    def __init__(self, name: CardKeyName, key_version: int) -> None:
        self.name = name
        self.key_version = key_version
        self._is_spent = False

    def spend(self) -> None:
        """Use it up.

        Raises:
            KeyStoreError: It was used before.
        """
        if self._is_spent:
            raise KeyStoreError("an external authentication was computed for this card before")
        self._is_spent = True


class KeyStore(Protocol):
    """What opening a card needs of whoever holds the keys."""

    def internal_authentication(
        self, card: CardKeyName, *, factor: bytes, original: bytes, answer: bytes
    ) -> ProvenCard:
        """Check what the card answered to INTERNAL AUTHENTICATE.

        Raises:
            NotGenuineError: It is not the answer of this card's key.
            AlgorithmUnsupportedError: The cipher can't be computed here.
            KeyStoreError: There is no root key of this cipher.
        """
        ...

    def external_authentication(
        self, proven: ProvenCard, *, factor: bytes, original: bytes
    ) -> bytes:
        """Compute what EXTERNAL AUTHENTICATE shows to a card that has proven itself, once.

        Raises:
            KeyStoreError: It was computed before, or there is no root key.
        """
        ...


class FileKeyStore:
    """Root keys in files: `<usage>.<algorithm>.<version>.key`, 16 raw bytes each.

    Usages are `IRK` (internal authentication) and `RKSSSE` (external authentication), algorithms
    `3des` and `sm4`. Newer versions are tried first.

    Raises:
        KeyStoreError: A file is readable by others, has another size or name, or none is there.
    """

    def __init__(self, directory: Path) -> None:
        self._roots = _read_roots(directory)
        self._region_keys: OrderedDict[tuple[str, Algorithm, int, str], CardKey] = OrderedDict()

    def internal_authentication(
        self, card: CardKeyName, *, factor: bytes, original: bytes, answer: bytes
    ) -> ProvenCard:
        """Check a card's answer under each version of the root key, the newest first."""
        for version in self._versions(INTERNAL_USAGE, card.algorithm):
            wanted = self._authentication(
                INTERNAL_USAGE, version, card, factor=factor, original=original
            )
            if compare_digest(wanted, answer):
                return ProvenCard(card, version)
        raise NotGenuineError("the answer is not of this card's key")

    def external_authentication(
        self, proven: ProvenCard, *, factor: bytes, original: bytes
    ) -> bytes:
        """Compute the centre's answer under the version under which the card proved itself."""
        if proven.key_version not in self._versions(EXTERNAL_USAGE, proven.name.algorithm):
            raise KeyStoreError(f"there is no {EXTERNAL_USAGE} of version {proven.key_version}")
        proven.spend()
        return self._authentication(
            EXTERNAL_USAGE, proven.key_version, proven.name, factor=factor, original=original
        )

    def _versions(self, usage: str, algorithm: Algorithm) -> list[int]:
        if algorithm not in ALGORITHM_NAMES:
            raise AlgorithmUnsupportedError(f"{algorithm.name} can't be computed here")
        versions = [
            version
            for held_usage, held_algorithm, version in self._roots
            if (held_usage, held_algorithm) == (usage, algorithm)
        ]
        if not versions:
            raise KeyStoreError(f"there is no root key {usage}.{ALGORITHM_NAMES[algorithm]}")
        return sorted(versions, reverse=True)

    def _authentication(
        self, usage: str, version: int, card: CardKeyName, *, factor: bytes, original: bytes
    ) -> bytes:
        key = diversify(
            card.algorithm,
            self._region_key(usage, card.algorithm, version, card.region),
            card.identity,
        )
        return authentication_data(
            card.algorithm, session_key(card.algorithm, key, factor), original
        )

    def _region_key(self, usage: str, algorithm: Algorithm, version: int, region: str) -> CardKey:
        name = (usage, algorithm, version, region)
        key = self._region_keys.get(name)
        if key is None:
            key = region_key(algorithm, self._roots[usage, algorithm, version], region)
            self._region_keys[name] = key
            if len(self._region_keys) > _REGION_KEYS_MAX:
                self._region_keys.popitem(last=False)
        return key


def _read_roots(directory: Path) -> dict[tuple[str, Algorithm, int], CardKey]:
    roots: dict[tuple[str, Algorithm, int], CardKey] = {}
    try:
        paths = sorted(directory.glob("*.key"))
        for path in paths:
            roots[_parse_name(path)] = _read_root(path)
    except OSError as unreadable:
        raise KeyStoreError(f"a root key can't be read: {unreadable}") from unreadable
    if not roots:
        raise KeyStoreError(f"{directory} holds no root key")
    for usage, algorithm, _ in roots:
        if sum(name[:2] == (usage, algorithm) for name in roots) > _VERSIONS_MAX:
            raise KeyStoreError(f"{usage} has more than {_VERSIONS_MAX} versions")
    return roots


def _parse_name(path: Path) -> tuple[str, Algorithm, int]:
    parts = path.name.split(".")
    algorithms = {name: algorithm for algorithm, name in ALGORITHM_NAMES.items()}
    if (
        len(parts) != 4  # noqa: PLR2004 - usage, algorithm, version, key
        or parts[0] not in {INTERNAL_USAGE, EXTERNAL_USAGE}
        or parts[1] not in algorithms
        or not parts[2].isdecimal()
    ):
        raise KeyStoreError(f"{path} is not named <usage>.<algorithm>.<version>.key")
    return parts[0], algorithms[parts[1]], int(parts[2])


def _read_root(path: Path) -> CardKey:
    if path.stat().st_mode & _READABLE_BY_OTHERS:
        raise KeyStoreError(f"{path} is open to others than its owner: chmod 600 it")
    value = path.read_bytes()
    if len(value) != KEY_SIZE:
        raise KeyStoreError(f"{path} has {len(value)} bytes, a root key has {KEY_SIZE}")
    return CardKey(value)
