"""Which cards and certificates are revoked: a worker's own copy of the revocation list.

A million entries take about 10 MB, and a look-up well under a microsecond (`python -m benchmarks
revocation`). Workers take up what changed every second; where money moves, and when a card is
opened, the registry's row decides all the same. Not here: the list in the database
(`cardserver/registry/revocation_store.py`).
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

from cardserver.registry.revocation_store import Revocation, certificate_subject, changes_since
from cardserver.registry.values import RevocationKind, RevocationReason
from ledger.database_store import Database

# Of a million entries, 61 a bucket: six comparisons, and two kilobytes that move for a new one.
_BUCKET_BITS: Final = 14
_KEY_BITS: Final = 64
_SHIFT: Final = _KEY_BITS - _BUCKET_BITS
_MASK: Final = 2**_KEY_BITS - 1
# 2**64 over the golden ratio, odd: numbers in a row come to lie far apart, and none meets another.
_SPREAD: Final = 0x9E3779B97F4A7C15


class RevokedKeys:
    """A set of 64-bit numbers, eight bytes each: sorted arrays by the numbers' first bits."""

    __slots__ = ("_buckets", "_count")

    def __init__(self) -> None:
        self._buckets = [array("Q") for _ in range(2**_BUCKET_BITS)]
        self._count = 0

    def __contains__(self, key: int) -> bool:
        bucket = self._buckets[key >> _SHIFT]
        index = bisect_left(bucket, key)
        return index < len(bucket) and bucket[index] == key

    def __len__(self) -> int:
        return self._count

    def add(self, key: int) -> None:
        """Add a number; one that is there stays."""
        bucket = self._buckets[key >> _SHIFT]
        index = bisect_left(bucket, key)
        if index == len(bucket) or bucket[index] != key:
            bucket.insert(index, key)
            self._count += 1

    def discard(self, key: int) -> None:
        """Remove a number; none where it isn't there."""
        bucket = self._buckets[key >> _SHIFT]
        index = bisect_left(bucket, key)
        if index < len(bucket) and bucket[index] == key:
            del bucket[index]
            self._count -= 1


class Revocations:
    """What is revoked as of `version`.

    Attributes:
        version: Of the list; 0 before its first change, and until it was read.
    """

    def __init__(self) -> None:
        self.version = 0
        self._cards = RevokedKeys()
        self._certificates = RevokedKeys()

    def __len__(self) -> int:
        return len(self._cards) + len(self._certificates)

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
    return int.from_bytes(subject[: _KEY_BITS // 8], "big")
