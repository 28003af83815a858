"""Which cards and certificates are revoked: a worker's own copy of the revocation list.

A million entries take 16 MiB, and a look-up well under a microsecond (`python -m benchmarks
revocation`). Workers take up what changed every second; where money moves, and when a card is
opened, the registry's row decides all the same. Not here: the list in the database
(`cardserver/registry/revocation_store.py`).
"""

from array import array
from collections.abc import Iterable
from typing import Final

from cardserver.registry.revocation_store import Revocation, certificate_subject, changes_since
from cardserver.registry.values import RevocationKind, RevocationReason
from ledger.database_store import Database

_KEY_BITS: Final = 64
_MASK: Final = 2**_KEY_BITS - 1
# 2**64 over the golden ratio, odd: numbers in a row come to lie far apart, and none meets another.
_SPREAD: Final = 0x9E3779B97F4A7C15
_SLOTS_BITS_MIN: Final = 10


class RevokedKeys:
    """A set of 64-bit numbers other than 0 that are spread evenly: a hash table in one array.

    A number's place is its first bits; where that is taken, the next free one (Knuth, The Art of
    Computer Programming 3, 6.4, algorithms L and R). Eight bytes a place, of which up to two in
    three are taken: about as quick as a Python set, in a third of its memory.
    """

    __slots__ = ("_count", "_mask", "_shift", "_slots")

    def __init__(self) -> None:
        self._resize(_SLOTS_BITS_MIN)

    def __contains__(self, key: int) -> bool:
        slots, mask = self._slots, self._mask
        place = key >> self._shift
        while found := slots[place]:
            if found == key:
                return True
            place = place + 1 & mask
        return False

    def __len__(self) -> int:
        return self._count

    def add(self, key: int) -> None:
        """Add a number; one that is there stays."""
        place = self._place_of(key)
        if self._slots[place]:
            return
        self._slots[place] = key
        self._count += 1
        if self._count * 3 > len(self._slots) * 2:
            self._grow()

    def discard(self, key: int) -> None:
        """Remove a number; none where it isn't there."""
        slots, mask = self._slots, self._mask
        gap = self._place_of(key)
        if not slots[gap]:
            return
        self._count -= 1
        # Whoever stands behind the gap and was pushed past it moves up.
        place = gap + 1 & mask
        while found := slots[place]:
            if (place - (found >> self._shift)) & mask >= (place - gap) & mask:
                slots[gap] = found
                gap = place
            place = place + 1 & mask
        slots[gap] = 0

    def _place_of(self, key: int) -> int:
        """Find where a number is, or where it would go."""
        assert key
        slots, mask = self._slots, self._mask
        place = key >> self._shift
        while (found := slots[place]) and found != key:
            place = place + 1 & mask
        return place

    def _grow(self) -> None:
        """Double the table: half a second for a million entries, once as their number doubles."""
        before = self._slots
        self._resize(_KEY_BITS - self._shift + 1)
        for key in before:
            if key:
                self._slots[self._place_of(key)] = key
                self._count += 1

    def _resize(self, bits: int) -> None:
        self._slots = array("Q", bytes(8 << bits))
        self._mask = (1 << bits) - 1
        self._shift = _KEY_BITS - bits
        self._count = 0


class Revocations:
    """What is revoked as of `version`.

    Attributes:
        version: Of the list; 0 before its first change, and until it was read.
    """

    def __init__(self) -> None:
        self.version = 0
        self._cards = RevokedKeys()
        self._certificates = RevokedKeys()

    @property
    def cards_count(self) -> int:
        """How many cards are revoked."""
        return len(self._cards)

    @property
    def certificates_count(self) -> int:
        """How many certificates are revoked."""
        return len(self._certificates)

    def is_card_revoked(self, card_no: int) -> bool:
        """Tell whether a card is on the list."""
        return card_no * _SPREAD & _MASK in self._cards

    def is_certificate_revoked(self, sha256: bytes) -> bool:
        """Tell whether a certificate of this fingerprint is on the list."""
        return _certificate_key(certificate_subject(sha256)) in self._certificates

    def take_up(self, changes: Iterable[Revocation]) -> None:
        """Change what is revoked; taking up the same again changes nothing."""
        for one in changes:
            if one.kind is RevocationKind.CARD:
                keys, key = self._cards, one.card_no * _SPREAD & _MASK
            else:
                keys, key = self._certificates, _certificate_key(one.subject)
            if one.reason is RevocationReason.NOT_REVOKED:
                keys.discard(key)
            else:
                keys.add(key)

    async def catch_up(self, database: Database) -> bool:
        """Take up what changed since this version; say whether anything did."""
        version = self.version
        async for reached, changes in changes_since(database, version):
            self.take_up(changes)
            version = reached
        is_news = version != self.version
        self.version = version
        return is_news


def _certificate_key(subject: bytes) -> int:
    return int.from_bytes(subject[: _KEY_BITS // 8], "big") or 1  # 0 is an empty place
