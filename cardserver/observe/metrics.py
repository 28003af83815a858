"""What one worker counts, and what all workers' counts come to, as Prometheus reads them.

A request is counted in the loop's own thread, so nothing here locks. Several workers write
snapshots into a folder that they share (`shared_metrics.py`), and each can show the whole centre's.
Not here: which metrics there are (`catalogue.py`), and the pages (`pages.py`).
"""

import os
import resource
import secrets
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path

from msgspec import Struct
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from cardserver.observe import catalogue
from cardserver.observe.catalogue import BUCKETS_S, BY_NAME, FAMILIES, Family, Kind, Merge

Labels = tuple[str, ...]

_BUCKETS_NS = tuple(round(seconds * 1e9) for seconds in BUCKETS_S)
_BUCKET_NAMES = (*(str(seconds) for seconds in BUCKETS_S), "+Inf")
_CELLS = len(_BUCKET_NAMES) + 1  # counts, not cumulative, and the sum in nanoseconds last
_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
_STATM = Path("/proc/self/statm")


class Snapshot(Struct, array_like=True):
    """What a worker has counted until now.

    Attributes:
        life: Tells this worker's life from others'.
        worker: Its index.
        time_ms: When it was made, since 1970.
        histograms: By name, each label values' counts and sum.
        exemplars: By name, label values and bucket: a request's msgid and its nanoseconds.
        counters: By name, each label values' count.
        gauges: The same of what is now.
    """

    life: str
    worker: int
    time_ms: int
    histograms: dict[str, list[tuple[Labels, list[int]]]]
    exemplars: dict[str, list[tuple[Labels, int, str, int]]]
    counters: dict[str, list[tuple[Labels, float]]]
    gauges: dict[str, list[tuple[Labels, float]]]


class Gauge:
    """A number that goes up and down."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.value = 0.0

    def inc(self) -> None:
        """Count one more."""
        self.value += 1

    def dec(self) -> None:
        """Count one less."""
        self.value -= 1


class Metrics:
    """All that one worker counts."""

    def __init__(self, worker: int = 0) -> None:
        """Start from zero."""
        self.worker = worker
        self.life = secrets.token_hex(8)
        self.connections = Gauge()
        self.in_flight = Gauge()
        self._stage = _Durations()
        self._request = _Durations()
        self._felt = _Durations()
        self._durations = {
            catalogue.STAGE.name: self._stage,
            catalogue.REQUEST.name: self._request,
            catalogue.FELT.name: self._felt,
        }
        self._counters: dict[tuple[str, Labels], float] = {}
        self._outcomes: dict[tuple[str, int, bool], int] = {}
        self._gauges: dict[tuple[str, Labels], float] = {}
        self._watched: list[tuple[Family, Labels, Callable[[], float]]] = []
        self._watched_counts: list[tuple[Family, Callable[[], int]]] = []
        started = time.time()
        self.watch(catalogue.CONNECTIONS, lambda: self.connections.value)
        self.watch(catalogue.IN_FLIGHT, lambda: self.in_flight.value)
        self.watch(catalogue.WORKERS, lambda: 1.0)
        self.watch(catalogue.WORKER_STARTED, lambda: started, str(worker))
        self.watch(catalogue.WORKER_MEMORY, _resident_bytes, str(worker))

    def watch(self, family: Family, value: Callable[[], float], *labels: str) -> None:
        """Have a gauge be whatever `value` gives when it is looked at."""
        assert len(labels) == len(family.labels)
        self._watched.append((family, labels, value))

    def watch_count(self, family: Family, value: Callable[[], int]) -> None:
        """Have a counter be what someone else counts."""
        assert family.kind is Kind.COUNTER
        assert not family.labels
        self._watched_counts.append((family, value))

    def set(self, family: Family, value: float, *labels: str) -> None:
        """Set a gauge."""
        assert len(labels) == len(family.labels)
        self._gauges[family.name, labels] = value

    def forget(self, family: Family) -> None:
        """Show nothing of a gauge until it is set again."""
        for name, labels in [key for key in self._gauges if key[0] == family.name]:
            del self._gauges[name, labels]

    def count(self, family: Family, by: float = 1, *labels: str) -> None:
        """Count something."""
        assert len(labels) == len(family.labels)
        key = family.name, labels
        self._counters[key] = self._counters.get(key, 0) + by

    def answered(
        self, type_name: str, code: int, total_ns: int, nanoseconds: Mapping[str, int],
        *, is_duplicate: bool, msgid: str = "",
    ) -> None:  # fmt: skip
        """Count one request with its stages, in nanoseconds."""
        outcome = type_name, code, is_duplicate
        self._outcomes[outcome] = self._outcomes.get(outcome, 0) + 1
        self._request.observe((type_name,), total_ns, msgid)
        for stage, value in nanoseconds.items():
            self._stage.observe((type_name, stage), value, msgid)

    def felt(self, type_name: str, nanoseconds: int, msgid: str) -> None:
        """Count what a cashier waited for an answer."""
        self._felt.observe((type_name,), nanoseconds, msgid)

    def connection_refused(self, reason: str) -> None:
        """Count a connection that was turned away."""
        self.count(catalogue.CONNECTIONS_REFUSED, 1, reason)

    def clock_skewed(self) -> None:
        """Count a request whose terminal's clock is off."""
        self.count(catalogue.CLOCK_SKEW)

    def snapshot(self) -> Snapshot:
        """Say all that was counted, and what is now."""
        counters: dict[str, list[tuple[Labels, float]]] = {}
        for (type_name, code, is_duplicate), count in self._outcomes.items():
            of_outcome = type_name, str(code), str(is_duplicate).lower()
            counters.setdefault(catalogue.REQUESTS.name, []).append((of_outcome, count))
        for (name, labels), value in self._counters.items():
            counters.setdefault(name, []).append((labels, value))
        for family, count_of in self._watched_counts:
            counters.setdefault(family.name, []).append(((), count_of()))
        used = resource.getrusage(resource.RUSAGE_SELF)
        counters[catalogue.WORKER_CPU.name] = [((str(self.worker),), used.ru_utime + used.ru_stime)]
        gauges: dict[str, list[tuple[Labels, float]]] = {}
        for (name, labels), value in self._gauges.items():
            gauges.setdefault(name, []).append((labels, value))
        for family, labels, look in self._watched:
            gauges.setdefault(family.name, []).append((labels, look()))
        return Snapshot(
            self.life,
            self.worker,
            time.time_ns() // 1_000_000,
            {name: list(one.counts.items()) for name, one in self._durations.items()},
            {name: one.exemplars() for name, one in self._durations.items()},
            counters,
            gauges,
        )

    def text(self, *, is_openmetrics: bool = False) -> bytes:
        """This worker's own metrics in Prometheus' text format."""
        return exposition([self.snapshot()], is_openmetrics=is_openmetrics)


class _Durations:
    """Histograms of one family, made for a loop's own thread.

    A request enters some ten of them: that takes 4 us here, 15 us with the library's histograms,
    which lock and look their buckets through one by one.
    """

    def __init__(self) -> None:
        self.counts: dict[Labels, list[int]] = {}
        # The last request of each bucket; kept beside the counts, and seldom looked at.
        self._last: dict[Labels, list[tuple[str, int] | None]] = {}

    def observe(self, labels: Labels, nanoseconds: int, msgid: str) -> None:
        """Count one duration."""
        counts = self.counts.get(labels)
        if counts is None:
            counts = self.counts[labels] = [0] * _CELLS
            self._last[labels] = [None] * _CELLS
        bucket = bisect_left(_BUCKETS_NS, nanoseconds)
        counts[bucket] += 1
        counts[-1] += nanoseconds
        self._last[labels][bucket] = (msgid, nanoseconds)

    def exemplars(self) -> list[tuple[Labels, int, str, int]]:
        """Name the last request of each bucket."""
        return [
            (labels, bucket, *one)
            for labels, row in self._last.items()
            for bucket, one in enumerate(row)
            if one is not None and one[0]
        ]


def exposition(
    snapshots: Sequence[Snapshot],
    *,
    is_openmetrics: bool,
    living: frozenset[str] | None = None,
) -> bytes:
    """Show what workers have counted together.

    Args:
        snapshots: Of every life of every worker.
        is_openmetrics: With exemplars, which the older format has no place for.
        living: Whose gauges count; None for all.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Merged(snapshots, living))
    if is_openmetrics:
        shown: bytes = generate_openmetrics(registry)  # type: ignore[no-untyped-call] # library's
        return shown
    return generate_latest(registry)


class _Merged(Collector):
    def __init__(self, snapshots: Sequence[Snapshot], living: frozenset[str] | None) -> None:
        self._snapshots = snapshots
        self._living = [one for one in snapshots if living is None or one.life in living]

    def collect(self) -> Iterable[Metric]:
        """Give every family that has a value."""
        for family in FAMILIES:
            match family.kind:
                case Kind.HISTOGRAM:
                    yield self._histogram(family)
                case Kind.COUNTER:
                    counter = CounterMetricFamily(
                        family.name.removesuffix("_total"), family.documentation,
                        labels=family.labels,
                    )  # fmt: skip
                    for labels, value in self._sums(family).items():
                        counter.add_metric(labels, value)
                    yield counter
                case Kind.GAUGE:
                    values = self._gauges(family)
                    if values:
                        gauge = GaugeMetricFamily(
                            family.name, family.documentation, labels=family.labels
                        )
                        for labels, value in values.items():
                            gauge.add_metric(labels, value)
                        yield gauge

    def _histogram(self, family: Family) -> Metric:
        sums: dict[Labels, list[int]] = {}
        exemplars: dict[tuple[Labels, int], Exemplar] = {}
        for one in self._snapshots:
            for labels, counts in one.histograms.get(family.name, ()):
                whole = sums.setdefault(labels, [0] * _CELLS)
                for cell, count in enumerate(counts):
                    whole[cell] += count
            for labels, bucket, msgid, nanoseconds in one.exemplars.get(family.name, ()):
                exemplars[labels, bucket] = Exemplar({"msgid": msgid}, nanoseconds / 1e9)
        shown = HistogramMetricFamily(family.name, family.documentation, labels=family.labels)
        for labels, counts in sums.items():
            buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
            for index, count in enumerate(accumulate(counts[:-1])):
                last = exemplars.get((labels, index))
                name, value = _BUCKET_NAMES[index], float(count)
                buckets.append((name, value) if last is None else (name, value, last))
            shown.add_metric(labels, buckets, counts[-1] / 1e9)
        return shown

    def _sums(self, family: Family) -> dict[Labels, float]:
        # A counter without labels that nothing was counted of is a zero, not an absence.
        sums: dict[Labels, float] = {} if family.labels else {(): 0.0}
        for one in self._snapshots:
            for labels, value in one.counters.get(family.name, ()):
                sums[labels] = sums.get(labels, 0.0) + value
        return sums

    def _gauges(self, family: Family) -> dict[Labels, float]:
        found: dict[Labels, list[float]] = {}
        for one in self._living:
            for labels, value in one.gauges.get(family.name, ()):
                found.setdefault(labels, []).append(value)
        return {labels: _merged(family.merge, values) for labels, values in found.items()}


def _merged(merge: Merge, values: Sequence[float]) -> float:
    match merge:
        case Merge.SUM:
            return sum(values)
        case Merge.MAX:
            return max(values)
        case Merge.MIN:
            return min(values)


def known(name: str) -> bool:
    """Tell whether a name is one of ours, as a rule or a dashboard may write it."""
    for suffix in ("_bucket", "_count", "_sum"):
        family = BY_NAME.get(name.removesuffix(suffix))
        if family is not None and name.endswith(suffix) and family.kind is Kind.HISTOGRAM:
            return True
    found = BY_NAME.get(name)
    return found is not None and found.kind is not Kind.HISTOGRAM


def _resident_bytes() -> float:
    try:
        return float(int(_STATM.read_text(encoding="ascii").split()[1]) * _PAGE_SIZE)
    except (OSError, IndexError, ValueError):  # no such file system
        return 0.0
