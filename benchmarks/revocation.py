"""Is a card looked up among a million revoked ones in under a microsecond, and what does it take?

A worker's own copy of the list: filled as from the database, then asked for cards on it and not on
it, and changed while it stands. Beside it a Python set of the same numbers. To be reached: a
look-up under 1 microsecond.
"""

import argparse
import random
import time
import tracemalloc
from collections.abc import Callable
from typing import TypeVar

from rich.table import Table

from benchmarks.report import console, print_machine
from cardserver.cards.revocations import Revocations
from cardserver.registry.revocation_store import PAGE_ROWS, Revocation
from cardserver.registry.values import RevocationKind, RevocationReason

T = TypeVar("T")

_LOOKUPS = 500_000
_ROUND = 2_000


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    entries = parser.parse_args().entries
    print_machine(__doc__ or "")
    numbers = random.Random(1)
    listed = numbers.sample(range(1, 20 * entries), entries)

    revocations, fill_s, list_mib = _measured(lambda: _fill(listed))
    # The numbers themselves are a set's too; here they lie in `listed` already.
    plain_set, _, set_mib = _measured(lambda: {int(str(number)) for number in listed})
    asked = [number if index % 2 else number + 1 for index, number in enumerate(listed)]
    numbers.shuffle(asked)
    asked = (asked * (_LOOKUPS // len(asked) + 1))[:_LOOKUPS]
    listed_ns = _lookup_ns(revocations.is_card_revoked, asked)
    set_ns = _lookup_ns(plain_set.__contains__, asked)
    page = [_change(number, RevocationReason.NOT_REVOKED) for number in listed[:PAGE_ROWS]]
    begun = time.perf_counter()
    revocations.take_up(page)
    page_ms = (time.perf_counter() - begun) * 1e3
    assert not any(revocations.is_card_revoked(number) for number in listed[:PAGE_ROWS])
    assert all(revocations.is_card_revoked(number) for number in listed[PAGE_ROWS:])

    table = Table(f"{entries:,} entries", "look-up", "memory", "filled in")
    table.add_row("revocations", f"{listed_ns:,.0f} ns", f"{list_mib:.1f} MiB", f"{fill_s:.2f} s")
    table.add_row("a Python set", f"{set_ns:,.0f} ns", f"{set_mib:.1f} MiB", "")
    console.print(table)
    console.print(f"a page of {PAGE_ROWS:,} changes is taken up in {page_ms:.1f} ms")


def _fill(listed: list[int]) -> Revocations:
    revocations = Revocations()
    for start in range(0, len(listed), PAGE_ROWS):
        page = listed[start : start + PAGE_ROWS]
        revocations.take_up([_change(number, RevocationReason.LOST) for number in page])
    return revocations


def _change(number: int, reason: RevocationReason) -> Revocation:
    return Revocation(RevocationKind.CARD, number.to_bytes(16, "big"), number, reason)


def _measured(make: Callable[[], T]) -> tuple[T, float, float]:
    """Make something twice: once for its time, once for its memory."""
    begun = time.perf_counter()
    made = make()
    took_s = time.perf_counter() - begun
    del made
    tracemalloc.start()
    made = make()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return made, took_s, size / 2**20


def _lookup_ns(lookup: Callable[[int], bool], asked: list[int]) -> float:
    """Time many short rounds, and take the quickest, the loop itself taken off.

    What else the machine does only ever adds.
    """
    rounds = [asked[start : start + _ROUND] for start in range(0, len(asked), _ROUND)]
    took = min(_round_s(lookup, one) for one in rounds)
    idle = min(_round_s(bool, one) for one in rounds)
    return max(0.0, took - idle) / _ROUND * 1e9


def _round_s(lookup: Callable[[int], bool], asked: list[int]) -> float:
    begun = time.perf_counter()
    for number in asked:
        lookup(number)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
