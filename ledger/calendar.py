"""The fund's time: its clock, its local day, and the period that a day belongs to."""

import datetime as dt
import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from; a simulation has its own."""

    def now_ms(self) -> int:
        """Return milliseconds since 1970-01-01T00:00:00Z."""
        ...

    def monotonic_ms(self) -> int:
        """Return milliseconds from some moment on, never going back."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Return milliseconds since 1970-01-01T00:00:00Z."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        """Return milliseconds from some moment on, never going back."""
        return time.monotonic_ns() // 1_000_000


def business_date(time_ms: int, timezone: dt.tzinfo) -> int:
    """Return the fund's local day of a moment, YYYYMMDD."""
    return day_number(dt.datetime.fromtimestamp(time_ms / 1000, timezone))


def day_number(date: dt.date) -> int:
    """Return a date as YYYYMMDD."""
    return date.year * 10_000 + date.month * 100 + date.day


def date_of(day: int) -> dt.date:
    """Return YYYYMMDD as a date."""
    return dt.date(day // 10_000, day // 100 % 100, day % 100)


def text_of(time_ms: int, timezone: dt.tzinfo) -> str:
    """Write a moment as people read it, in the fund's time."""
    return f"{dt.datetime.fromtimestamp(time_ms / 1000, timezone):%Y-%m-%d %H:%M:%S}"


def open_period(day: int, last_closed: int | None) -> int:
    """Return the period (YYYYMM) that a group posts to: the day's own, or the next still open."""
    period = day // 100
    if last_closed is None or period > last_closed:
        return period
    return period_after(last_closed)


def period_after(period: int) -> int:
    """Return the month after a month, both YYYYMM."""
    return period + 89 if period % 100 == 12 else period + 1  # noqa: PLR2004 - December
