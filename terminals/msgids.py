"""Where msgids come from: blocks of a sequence that never goes back, whatever the clock does.

A position is milliseconds of the fund's local time since 1970, times ten; its last four digits
are the msgid's sequence and the rest its second. Not here: where the end of the last block is kept
(`outbox.py`).
"""

import datetime as dt
from collections.abc import Callable
from typing import Final
from zoneinfo import ZoneInfo

from protocol.terminal import msgid as msgid_form

BLOCK_SIZE: Final = 64
"""Msgids reserved by one write to the disk; what a crash leaves of them is never used."""
BLOCK_LIFE_MS: Final = 10_000
"""After this a block is dropped, so that a msgid's time stays near the clock's."""

_SECOND: Final = msgid_form.SEQUENCE_MAX + 1
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

Reserve = Callable[[int, int], int]
"""Given the clock's position and a count: the first of so many positions that are now used."""


class Msgids:
    """Hands out msgids that one terminal never uses twice."""

    def __init__(
        self, *, institution: str, zone: ZoneInfo, now_ms: Callable[[], int], reserve: Reserve
    ) -> None:
        self._institution = institution
        self._zone = zone
        self._now_ms = now_ms
        self._reserve = reserve
        self._next = 0
        self._end = 0
        self._reserved_ms = 0
        self._second = -1
        self._prefix = ""

    def take(self) -> str:
        """Give the next one."""
        now_ms = self._now_ms()
        is_stale = not 0 <= now_ms - self._reserved_ms < BLOCK_LIFE_MS
        if self._next == self._end or is_stale:
            self._next = self._reserve(self._position(now_ms), BLOCK_SIZE)
            self._end = self._next + BLOCK_SIZE
            self._reserved_ms = now_ms
        position = self._next
        self._next += 1
        second, sequence = divmod(position, _SECOND)
        if second != self._second:
            local_time = _EPOCH + dt.timedelta(seconds=second)
            first = msgid_form.make(institution=self._institution, time=local_time, sequence=0)
            self._second, self._prefix = second, first[: -len(f"{_SECOND - 1}")]
        return f"{self._prefix}{sequence:04d}"

    def _position(self, now_ms: int) -> int:
        utc = _EPOCH + dt.timedelta(milliseconds=now_ms)
        offset = utc.astimezone(self._zone).utcoffset()
        assert offset is not None
        return (now_ms + int(offset.total_seconds()) * 1000) * (_SECOND // 1000)


class MemoryReserve:
    """Reserves in memory only: for terminals whose requests are never repeated after a restart."""

    def __init__(self) -> None:
        self._end = 0

    def __call__(self, position: int, count: int) -> int:
        """Reserve `count` positions, none before `position`."""
        start = max(position, self._end)
        self._end = start + count
        return start
