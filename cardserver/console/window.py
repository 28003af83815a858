"""What the last minutes were like: requests counted by where, for whom and how long.

Pure: it is told of answered requests and of the time. Durations are kept in buckets whose widths
grow by a twentieth (a percentile is right within 2.5 per cent), in slices of a few seconds that
are dropped whole when they are too old, so that memory does not grow with what a centre serves.
Not here: where the requests come from (`feed.py`).
"""

import math
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, unique
from itertools import islice

from cardserver.observe.recent import AnsweredRequest
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import MessageType

SLICE_MS = 5_000
SLICES_MAX = 120  # ten minutes
NAMES_MAX = 20_000  # of one dimension in one slice; the rest are counted together
EXAMPLES_MAX = 4_000
KEPT_MAX = 20_000
_OTHERS = "…"
_GROWTH = math.log(1.05)


@unique
class By(Enum):
    """What durations are told apart by."""

    TYPE = "type"
    STAGE = "stage"
    INSTITUTION = "institution"
    TERMINAL = "terminal"
    CARD = "card"
    FELT = "felt"
    """By terminal: what its cashier waited."""


def bucket_of(microseconds: int) -> int:
    """Return the bucket that a duration falls into."""
    return round(math.log(max(microseconds, 1)) / _GROWTH)


def duration_of(bucket: int) -> float:
    """Return the duration, in microseconds, that a bucket stands for."""
    return math.exp(bucket * _GROWTH)


class Durations(Counter[int]):
    """How many durations fell into each bucket."""

    def percentile_us(self, share: float) -> float:
        """Return the duration that this share of all does not exceed; 0 without any."""
        wanted = math.ceil(share * self.total())
        seen = 0
        for bucket in sorted(self):
            seen += self[bucket]
            if seen >= wanted:
                return duration_of(bucket)
        return 0.0

    def share_above(self, microseconds: int) -> float:
        """Return which share took longer than this."""
        limit = bucket_of(microseconds)
        return sum(count for bucket, count in self.items() if bucket > limit) / (self.total() or 1)


@dataclass(slots=True)
class Slice:
    """A few seconds' requests."""

    start_ms: int
    durations: dict[tuple[By, str, str], Durations] = field(default_factory=dict)
    codes: Counter[tuple[str, int]] = field(default_factory=Counter)
    names: Counter[By] = field(default_factory=Counter)

    def add(self, by: By, type_name: str, name: str, microseconds: int) -> None:
        """Count one duration."""
        key = (by, type_name, name)
        durations = self.durations.get(key)
        if durations is None:
            if self.names[by] >= NAMES_MAX:
                key = (by, type_name, _OTHERS)
            self.names[by] += 1
            durations = self.durations.setdefault(key, Durations())
        durations[bucket_of(microseconds)] += 1


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a table: durations of one stage, institution, terminal or card type."""

    name: str
    count: int
    p50_us: float
    p95_us: float
    p99_us: float


@dataclass(frozen=True, slots=True)
class Refusals:
    """Requests of one type that were answered with one code."""

    type_name: str
    code: int
    count: int
    institutions: int
    examples: tuple[AnsweredRequest, ...]


@dataclass(frozen=True, slots=True)
class Heat:
    """A heat map.

    Attributes:
        times_ms: The columns.
        names: The rows.
        cells: Column, row and p95 in microseconds.
    """

    times_ms: list[int]
    names: list[str]
    cells: list[tuple[int, int, float]]


class Window:
    """The last ten minutes."""

    def __init__(self) -> None:
        """Begin with none."""
        self._slices: deque[Slice] = deque(maxlen=SLICES_MAX)
        self._refused: deque[AnsweredRequest] = deque(maxlen=EXAMPLES_MAX)
        self._kept: deque[AnsweredRequest] = deque(maxlen=KEPT_MAX)
        self.lost = 0

    def add(self, rows: Iterable[AnsweredRequest]) -> None:
        """Count requests; those of a time that has gone by count in the oldest slice kept."""
        for row in rows:
            self._kept.append(row)
            part = self._slice_at(row.time_ms)
            name = type_name(row.type)
            part.codes[name, row.code] += 1
            part.add(By.TYPE, name, name, row.total_us)
            part.add(By.INSTITUTION, name, row.institution, row.total_us)
            part.add(By.TERMINAL, name, f"{row.institution}/{row.terminal}", row.total_us)
            if row.card:
                part.add(By.CARD, name, row.card, row.total_us)
            if row.felt_ms:
                part.add(By.FELT, "", f"{row.institution}/{row.terminal}", row.felt_ms * 1000)
            for stage, microseconds in row.stages:
                part.add(By.STAGE, name, stage, microseconds)
            if row.code != ResponseCode.APPROVED:
                self._refused.append(row)

    def _slice_at(self, time_ms: int) -> Slice:
        start_ms = time_ms - time_ms % SLICE_MS
        if not self._slices or self._slices[-1].start_ms < start_ms:
            self._slices.append(Slice(start_ms))
            return self._slices[-1]
        for part in reversed(self._slices):
            if part.start_ms <= start_ms:
                return part
        return self._slices[0]

    def lines(
        self, by: By, *, since_ms: int, types: Sequence[str] = (), prefix: str = ""
    ) -> list[Line]:
        """Return durations by name, those that took longest first.

        Args:
            by: What to tell apart.
            since_ms: Only requests answered from this time on.
            types: Only requests of these types; none for all.
            prefix: Only names that begin so.
        """
        merged: dict[str, Durations] = {}
        for part in self._slices:
            if part.start_ms + SLICE_MS <= since_ms:
                continue
            for (dimension, kind, name), durations in part.durations.items():
                of_types = not types or not kind or kind in types
                if dimension is by and of_types and name.startswith(prefix):
                    merged.setdefault(name, Durations()).update(durations)
        lines = [
            Line(
                name,
                durations.total(),
                durations.percentile_us(0.50),
                durations.percentile_us(0.95),
                durations.percentile_us(0.99),
            )
            for name, durations in merged.items()
        ]
        return sorted(lines, key=lambda line: (-line.p95_us, line.name))

    def merged(self, by: By, *, since_ms: int, types: Sequence[str] = ()) -> Durations:
        """Return all durations of one kind together."""
        merged = Durations()
        for part in self._slices:
            if part.start_ms + SLICE_MS > since_ms:
                for (dimension, kind, _), durations in part.durations.items():
                    if dimension is by and (not types or not kind or kind in types):
                        merged.update(durations)
        return merged

    def series(self, *, types: Sequence[str] = ()) -> list[tuple[int, int, float, float]]:
        """Return by slice its start, how many were answered, and p50 and p99 in microseconds."""
        series = []
        for part in self._slices:
            durations = Durations()
            for (by, kind, _), some in part.durations.items():
                if by is By.TYPE and (not types or kind in types):
                    durations.update(some)
            series.append(
                (
                    part.start_ms, durations.total(),
                    durations.percentile_us(0.5), durations.percentile_us(0.99),
                )
            )  # fmt: skip
        return series

    def heat(self, by: By, *, types: Sequence[str], names_max: int) -> Heat:
        """Return p95 by time and name, of the names that took longest."""
        since_ms = self._slices[0].start_ms if self._slices else 0
        names = [line.name for line in self.lines(by, since_ms=since_ms, types=types)][:names_max]
        places = {name: index for index, name in enumerate(names)}
        cells: list[tuple[int, int, float]] = []
        for column, part in enumerate(self._slices):
            merged: dict[str, Durations] = {}
            for (dimension, kind, name), durations in part.durations.items():
                if dimension is by and name in places and (not types or not kind or kind in types):
                    merged.setdefault(name, Durations()).update(durations)
            cells += [
                (column, places[name], durations.percentile_us(0.95))
                for name, durations in merged.items()
            ]
        return Heat([part.start_ms for part in self._slices], names, cells)

    def outcomes(self, *, since_ms: int) -> Counter[tuple[str, int]]:
        """Return how many requests of each type were answered with each code."""
        codes: Counter[tuple[str, int]] = Counter()
        for part in self._slices:
            if part.start_ms + SLICE_MS > since_ms:
                codes.update(part.codes)
        return codes

    def refused_institutions(self, *, since_ms: int) -> Counter[str]:
        """Return of how many institutions how much was refused, among the last kept rows."""
        return Counter(row.institution for row in self._refused if row.time_ms >= since_ms)

    def of_msgid(self, msgid: str) -> list[AnsweredRequest]:
        """Return what is still kept of a request, oldest first."""
        return [row for row in self._kept if row.msgid == msgid]

    def latest(self, count: int) -> list[AnsweredRequest]:
        """Return the last requests, latest first."""
        return list(islice(reversed(self._kept), count))

    def refusals(
        self, *, since_ms: int, institution: str = "", examples_max: int = 5
    ) -> list[Refusals]:
        """Return what was refused, most frequent first, with the latest examples.

        Without an institution all are counted, with one those among the last kept rows.
        """
        found: dict[tuple[str, int], list[AnsweredRequest]] = {}
        for row in reversed(self._refused):
            if row.time_ms >= since_ms and (not institution or row.institution == institution):
                found.setdefault((type_name(row.type), row.code), []).append(row)
        counts = self.outcomes(since_ms=since_ms)
        refusals = [
            Refusals(
                type_name=kind,
                code=code,
                count=len(rows) if institution else counts[kind, code],
                institutions=len({row.institution for row in rows}),
                examples=tuple(rows[:examples_max]),
            )
            for (kind, code), rows in found.items()
        ]
        return sorted(refusals, key=lambda refused: (-refused.count, refused.code))


def type_name(number: int) -> str:
    """Return a message type's name as metrics and logs write it."""
    try:
        return MessageType(number).name.lower()
    except ValueError:
        return "unknown"
