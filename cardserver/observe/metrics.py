"""The centre's metrics in Prometheus' terms: stage histograms, outcome counters, gauges.

Names, units and labels follow Prometheus' conventions (base units, `_total`, bounded labels).
Not here: the page that serves them (`pages.py`).
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

# From a tenth of a millisecond, a posted claim's own cost, to ten seconds, when terminals give up.
_BUCKETS_S = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
)  # fmt: skip

_BUCKETS_NS = tuple(round(seconds * 1e9) for seconds in _BUCKETS_S)
_BUCKET_NAMES = (*(str(seconds) for seconds in _BUCKETS_S), "+Inf")


class Metrics:
    """All that one worker counts."""

    def __init__(self) -> None:
        """Start from zero, in a registry of its own."""
        self.registry = CollectorRegistry()
        self._stage = _Durations(
            "cardserver_stage_duration_seconds",
            "Time that requests of a type spent in one stage.",
            ["type", "stage"],
        )
        self._request = _Durations(
            "cardserver_request_duration_seconds",
            "Time from a request's last byte to its reply handed to the transport.",
            ["type"],
        )
        self.registry.register(self._stage)
        self.registry.register(self._request)
        self._felt = Histogram(
            "cardserver_terminal_felt_duration_seconds",
            "What cashiers waited for an answer, as terminals report it.",
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self._outcomes = Counter(
            "cardserver_requests_total",
            "Requests answered, by type and response code.",
            ["type", "code", "duplicate"],
            registry=self.registry,
        )
        self._refused_connections = Counter(
            "cardserver_connections_refused_total",
            "Connections closed before or instead of being served, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self._clock_skew = Counter(
            "cardserver_terminal_clock_skew_total",
            "Requests whose terminal clock was further off than the limit.",
            registry=self.registry,
        )
        self.connections = Gauge(
            "cardserver_connections", "Terminals connected now.", registry=self.registry
        )
        self.in_flight = Gauge(
            "cardserver_requests_in_flight", "Requests being worked on.", registry=self.registry
        )
        self._outcome_children: dict[tuple[str, int, bool], Callable[[], None]] = {}

    def watch_queue(self, waiting: Callable[[], float]) -> None:
        """Export how many postings wait for their commit group."""
        gauge = Gauge(
            "cardserver_commit_queue", "Postings waiting for a group.", registry=self.registry
        )
        gauge.set_function(waiting)

    def answered(
        self, type_name: str, code: int, total_ns: int, nanoseconds: Mapping[str, int],
        *, is_duplicate: bool,
    ) -> None:  # fmt: skip
        """Count one request with its stages, in nanoseconds."""
        outcome = self._outcome_children.get((type_name, code, is_duplicate))
        if outcome is None:
            outcome = self._outcomes.labels(
                type=type_name, code=str(code), duplicate=str(is_duplicate).lower()
            ).inc
            self._outcome_children[type_name, code, is_duplicate] = outcome
        outcome()
        self._request.observe((type_name,), total_ns)
        for stage, value in nanoseconds.items():
            self._stage.observe((type_name, stage), value)

    def felt(self, milliseconds: int) -> None:
        """Count what a cashier waited for the previous answer."""
        self._felt.observe(milliseconds / 1000)

    def connection_refused(self, reason: str) -> None:
        """Count a connection that was turned away."""
        self._refused_connections.labels(reason=reason).inc()

    def clock_skewed(self) -> None:
        """Count a request whose terminal's clock is off."""
        self._clock_skew.inc()

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class _Durations(Collector):
    """Histograms of one family, made for a loop's own thread.

    A request enters some ten of them: that takes 4 us here, 15 us with the library's histograms,
    which lock and look their buckets through one by one.
    """

    def __init__(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels
        # By label values: a count for each bucket, not cumulative, and the sum in nanoseconds last.
        self._counts: dict[tuple[str, ...], list[int]] = {}

    def observe(self, labels: tuple[str, ...], nanoseconds: int) -> None:
        """Count one duration."""
        counts = self._counts.get(labels)
        if counts is None:
            counts = self._counts[labels] = [0] * (len(_BUCKET_NAMES) + 1)
        counts[bisect_left(_BUCKETS_NS, nanoseconds)] += 1
        counts[-1] += nanoseconds

    def collect(self) -> Iterable[Metric]:
        """Give the family as the page shows it."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        for labels, counts in self._counts.items():
            cumulative = accumulate(counts[:-1])
            buckets = list(zip(_BUCKET_NAMES, map(float, cumulative), strict=True))
            family.add_metric(labels, buckets, counts[-1] / 1e9)
        yield family
