"""Numbers by month: an entry's number says in which month it was given out. Pure.

A month has 256 slots of its own, and a writer leases one of the month that it posts in. So the
number alone, shifted right by 48, is the count of months since January 2026, and a database that
keeps a table a month finds an entry in one of them. Nothing else depends on it: a group that
straddles midnight, or entries of before there were such slots, are found by their number too.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ledger.entries import SEQUENCE_BITS

SLOTS_A_MONTH = 256
_BITS = SEQUENCE_BITS + 8
_FIRST_MONTH = 2026 * 12  # January 2026; what is earlier counts as that month
_INDEX_MAX = (1 << 14) - 1  # 22 bits of slots: until the year 3391

MONTHLY = "monthly"
"""The key of a table's `info` under which its `ByMonth` stands."""

Span = tuple[int, int]
"""From, and below."""


FIRST_NUMBERS: Span = (0, 1 << _BITS)
"""The numbers of the first month, and of whatever was posted before months had slots."""


def slots_of(month: int) -> range:
    """Return the slots that a month (YYYYMM) has."""
    first = _index(month) * SLOTS_A_MONTH
    return range(max(first, 1), first + SLOTS_A_MONTH)


def numbers_of(month: int) -> Span:
    """Return the entry numbers that a month's slots give out."""
    index = _index(month)
    return index << _BITS, (index + 1) << _BITS


def span_of_number(number: int) -> Span:
    """Return the numbers of the month that a number is of."""
    index = number >> _BITS
    return index << _BITS, (index + 1) << _BITS


def span_of_month(month: int) -> Span:
    """Return a month as a span of months."""
    return month, month + 1


@dataclass(frozen=True, slots=True)
class ByMonth:
    """How a table is divided on PostgreSQL, one part a month.

    Attributes:
        column: What decides.
        span_of: The values of a value's part.
        of_month: The values of a month's part.
    """

    column: str
    span_of: Callable[[int], Span]
    of_month: Callable[[int], Span]


BY_NUMBER = ByMonth("entry_no", span_of_number, numbers_of)
BY_MSGID = ByMonth("month", span_of_month, span_of_month)


def _index(month: int) -> int:
    return min(max(month // 100 * 12 + month % 100 - 1 - _FIRST_MONTH, 0), _INDEX_MAX)
