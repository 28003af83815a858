"""Who holds the root keys, and what may be computed with them.

Root keys never leave a store: it says whether a card's answer is right, and computes the centre's
own answer for a card that it has just found genuine, once. Not here: root keys in encrypted files
(`file_keystore.py`) and in a PKCS #11 token (`pkcs11_keystore.py`), which of the two a centre has
(`keystore_choice.py`), the ciphers (`protocol/card/profiles/social_security_keys.py`).
"""

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from hmac import compare_digest
from typing import Protocol

from protocol.card.errors import AlgorithmUnsupportedError
from protocol.card.profiles.social_security_keys import (
    KEY_SIZE,
    Algorithm,
    CardKey,
    session_key,
)

INTERNAL_USAGE = "IRK"
EXTERNAL_USAGE = "RKSSSE"
USAGES = (INTERNAL_USAGE, EXTERNAL_USAGE)
ALGORITHM_NAMES = {
    Algorithm.TRIPLE_DES: "3des",
    Algorithm.SSF33: "ssf33",
    Algorithm.SM4: "sm4",
}
CHECK_VALUE_SIZE = 3

# A fund knows a few hundred cities; each entry is one key of 16 bytes, or a token's handle.
REGION_KEYS_MAX = 4096
# Rotating a root key takes years; more than this many at once is a mistake.
_VERSIONS_MAX = 8
_VERSION_MAX = 255  # one byte where commands carry a key's version (part 9)
_HALF = KEY_SIZE // 2
_DES_PARITY_MASK = 0xFE


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


@dataclass(frozen=True, slots=True, order=True)
class RootKeyName:
    """Which root key is meant; written `IRK.3des.1`.

    Attributes:
        usage: `IRK` (internal authentication) or `RKSSSE` (external authentication).
        version: From 1; cards printed under an older one go on under it.
    """

    usage: str
    algorithm: Algorithm
    version: int

    def __str__(self) -> str:
        return f"{self.usage}.{ALGORITHM_NAMES[self.algorithm]}.{self.version}"

    @classmethod
    def parse(cls, text: str) -> "RootKeyName":
        """Read `<usage>.<algorithm>.<version>`.

        Raises:
            KeyStoreError: It is not such a name.
        """
        usage, _, rest = text.partition(".")
        algorithm_name, _, version = rest.partition(".")
        algorithms = {name: algorithm for algorithm, name in ALGORITHM_NAMES.items()}
        if (
            usage not in USAGES
            or algorithm_name not in algorithms
            or not (version.isascii() and version.isdecimal())
            or not 1 <= int(version) <= _VERSION_MAX
        ):
            raise KeyStoreError(f"{text} is not named <usage>.<algorithm>.<version>, as IRK.3des.1")
        return cls(usage, algorithms[algorithm_name], int(version))


@dataclass(frozen=True, slots=True)
class RootKeyRecord:
    """What may be shown of a root key.

    Attributes:
        check_value: The first three bytes of a block of zeros encrypted by it: tells whether two
            people mean the same key, and nothing else. Empty where a token doesn't say.
        made: When it was created or imported; None where a token doesn't say.
    """

    name: RootKeyName
    check_value: bytes
    made: dt.date | None


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

    def check_algorithm(self, algorithm: Algorithm) -> None:
        """Refuse a cipher that can't be computed here.

        Raises:
            AlgorithmUnsupportedError: It is one.
        """
        ...

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


class RootKeyStore(ABC):
    """A key store that also keeps root keys: makes, takes, lists and destroys them.

    No method gives one out.
    """

    @property
    @abstractmethod
    def algorithms(self) -> frozenset[Algorithm]:
        """The ciphers that can be computed here."""

    @abstractmethod
    def records(self) -> list[RootKeyRecord]:
        """List what may be shown of the keys, by name."""

    @abstractmethod
    def create(self, name: RootKeyName, made: dt.date) -> RootKeyRecord:
        """Draw a root key at random.

        Raises:
            AlgorithmUnsupportedError: The cipher can't be computed here.
            KeyStoreError: There is a key of this name.
        """

    @abstractmethod
    def import_key(self, name: RootKeyName, value: CardKey, made: dt.date) -> RootKeyRecord:
        """Take a root key in; raises what `create` does, and for a value that is no key."""

    @abstractmethod
    def destroy(self, name: RootKeyName) -> None:
        """Remove a root key for ever.

        Raises:
            KeyStoreError: There is none of this name.
        """

    @abstractmethod
    def close(self) -> None:
        """Forget the keys, or leave the token."""

    @abstractmethod
    def _names(self) -> Iterable[RootKeyName]:
        """Name the keys held."""

    @abstractmethod
    def _authentication(
        self, root: RootKeyName, card: CardKeyName, *, factor: bytes, original: bytes
    ) -> bytes:
        """Compute the authentication data of a card's key, diversified from this root key."""

    def internal_authentication(
        self, card: CardKeyName, *, factor: bytes, original: bytes, answer: bytes
    ) -> ProvenCard:
        """Check a card's answer under each version of the root key, the newest first."""
        for root in self._versions(INTERNAL_USAGE, card.algorithm):
            wanted = self._authentication(root, card, factor=factor, original=original)
            if compare_digest(wanted, answer):
                return ProvenCard(card, root.version)
        raise NotGenuineError("the answer is not of this card's key")

    def external_authentication(
        self, proven: ProvenCard, *, factor: bytes, original: bytes
    ) -> bytes:
        """Compute the centre's answer under the version under which the card proved itself."""
        root = RootKeyName(EXTERNAL_USAGE, proven.name.algorithm, proven.key_version)
        if root not in self._versions(EXTERNAL_USAGE, root.algorithm):
            raise KeyStoreError(f"there is no root key {root}")
        proven.spend()
        return self._authentication(root, proven.name, factor=factor, original=original)

    def check_algorithm(self, algorithm: Algorithm) -> None:
        """Refuse a cipher that can't be computed here.

        Raises:
            AlgorithmUnsupportedError: It is one.
        """
        if algorithm is Algorithm.SSF33 and algorithm not in self.algorithms:
            raise AlgorithmUnsupportedError(
                "SSF33 has no public definition: it takes a key store whose device knows it"
            )
        if algorithm not in self.algorithms:
            raise AlgorithmUnsupportedError(f"this key store can't compute {algorithm.name}")

    def _versions(self, usage: str, algorithm: Algorithm) -> list[RootKeyName]:
        self.check_algorithm(algorithm)
        names = [
            name for name in self._names() if (name.usage, name.algorithm) == (usage, algorithm)
        ]
        if not names:
            raise KeyStoreError(f"there is no root key {usage}.{ALGORITHM_NAMES[algorithm]}")
        return sorted(names, reverse=True)

    def _check_new(self, name: RootKeyName) -> None:
        self.check_algorithm(name.algorithm)
        held = list(self._names())
        if name in held:
            raise KeyStoreError(
                f"there is a root key {name} already: rotate makes the next version"
            )
        check_versions([*held, name])


def check_versions(names: Iterable[RootKeyName]) -> None:
    """Refuse more versions of a key than anyone rotates through.

    Raises:
        KeyStoreError: There are more.
    """
    counts: dict[tuple[str, Algorithm], int] = {}
    for name in names:
        counts[name.usage, name.algorithm] = counts.get((name.usage, name.algorithm), 0) + 1
    for (usage, algorithm), count in counts.items():
        if count > _VERSIONS_MAX:
            raise KeyStoreError(
                f"{usage}.{ALGORITHM_NAMES[algorithm]} has more than {_VERSIONS_MAX} versions:"
                " destroy those under which no card is left"
            )


def check_key_value(algorithm: Algorithm, value: CardKey) -> None:
    """Refuse what is no key of two halves.

    Raises:
        KeyStoreError: Another size, all the same bits, or a 3DES key that is really single DES.
    """
    if len(value) != KEY_SIZE:
        raise KeyStoreError(f"a root key has {KEY_SIZE} bytes, not {len(value)}")
    bare = bytes(byte & _DES_PARITY_MASK for byte in value)
    if len(set(bare)) == 1:
        raise KeyStoreError("this is no key: all its bytes are the same")
    if algorithm is Algorithm.TRIPLE_DES and bare[:_HALF] == bare[_HALF:]:
        raise KeyStoreError("both halves of this 3DES key are the same: it is single DES")


def check_value_of(algorithm: Algorithm, key: CardKey) -> bytes:
    """Compute a key's check value: a block of zeros under it, the first three bytes."""
    # With a factor of zeros the card's session key is just that block.
    return bytes(session_key(algorithm, key, bytes(8)))[:CHECK_VALUE_SIZE]
