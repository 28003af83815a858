"""Stratified random sampling of a month's settlements. Pure.

The strata are institution and clearing type. Of a stratum of N settlements

    n = min(N, max(minimum, ceil(N * share)))

are taken, each with the same chance and without putting any back. Which ones is said by the
month's seed alone: a settlement's rank is the first eight bytes of
SHA-256("cardserver review sample" + seed + settlement number as eight bytes), and the n lowest
ranks of a stratum are its sample, by number where two are equal. So whoever knows the seed and the
settlements draws the same sample again, in whatever order they come and on whatever machine; and a
settlement that is undone before the sample is complete changes nothing but its own place. (Simple
random sampling within strata: Cochran, Sampling Techniques, 3rd edition, 5.1 and 5.2; lowest of
permanent random numbers: Ohlsson, Coordination of samples using permanent random numbers, 1995.)

Not here: which settlements there are (`population_store.py`).
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from heapq import heappush, heappushpop
from typing import NamedTuple

from cardserver.checks.rules_document import INSTITUTION_KINDS
from cardserver.review.rules_document import Sampling, ShareE4

SEED_SIZE = 32
_SAMPLE = b"cardserver review sample"
_FLAG = b"cardserver review flag "
_RANKS = 2**64
_WHOLE_E4 = 10_000


class Stratum(NamedTuple):
    """An institution's settlements of one clearing type."""

    institution_no: int
    clearing_type: int


class Place(NamedTuple):
    """What of an institution decides how much of it is sampled."""

    code: str
    kind: int
    level: int


class Drawn(NamedTuple):
    """A settlement of the sample."""

    stratum: Stratum
    claim_no: int


def rank(seed: bytes, claim_no: int, *, flag: str = "") -> int:
    """Return a settlement's place in the month's order of chance: below 2**64.

    Args:
        seed: The month's.
        claim_no: The settlement.
        flag: For the share of a flag, its name: other chances than the sample's.
    """
    purpose = _FLAG + flag.encode() + b"\0" if flag else _SAMPLE
    digest = hashlib.sha256(purpose + seed + claim_no.to_bytes(8, "big")).digest()
    return int.from_bytes(digest[:8], "big")


def is_within(share: ShareE4, rank_: int) -> bool:
    """Tell whether a rank lies in the first part of all ranks."""
    return rank_ * _WHOLE_E4 < share * _RANKS


def sample_size(sampling: Sampling, stratum: Stratum, place: Place, settlements: int) -> int:
    """Return how many settlements of a stratum are taken."""
    share, minimum = sampling.share, sampling.minimum
    for narrower in sampling.strata:
        if (
            _holds(narrower.clearing_types, str(stratum.clearing_type))
            and _holds(narrower.institution_kinds, INSTITUTION_KINDS[place.kind - 1])
            and _holds(narrower.levels, place.level)
            and _holds(narrower.institutions, place.code)
        ):
            share, minimum = narrower.share, narrower.minimum
            break
    by_share = -(-settlements * share // _WHOLE_E4)
    return min(settlements, max(minimum, by_share))


class Sampler:
    """Draws the sample from settlements as they go by; holds no more than it draws.

    Args:
        seed: The month's.
        sizes: How many of each stratum.
    """

    def __init__(self, seed: bytes, sizes: Mapping[Stratum, int]) -> None:
        assert len(seed) == SEED_SIZE
        self._seed = seed
        self._sizes = sizes
        # The lowest ranks so far, highest first.
        self._lowest: dict[Stratum, list[tuple[int, int]]] = {}

    def see(self, stratum: Stratum, claim_no: int) -> None:
        """Let a settlement go by."""
        size = self._sizes.get(stratum, 0)
        if not size:
            return
        lowest = self._lowest.setdefault(stratum, [])
        place = (-rank(self._seed, claim_no), -claim_no)
        if len(lowest) < size:
            heappush(lowest, place)
        elif place > lowest[0]:
            heappushpop(lowest, place)

    def drawn(self) -> Iterator[Drawn]:
        """Give the sample, by stratum and number."""
        for stratum in sorted(self._lowest):
            for claim_no in sorted(-number for _, number in self._lowest[stratum]):
                yield Drawn(stratum, claim_no)


def _holds(wanted: Iterable[object] | None, value: object) -> bool:
    return wanted is None or value in wanted
