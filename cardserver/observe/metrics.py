"""The centre's metrics in Prometheus' terms: stage histograms, outcome counters, gauges.

Names, units and labels follow Prometheus' conventions (base units, `_total`, bounded labels).
Not here: the page that serves them (`pages.py`).
"""

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

# From a tenth of a millisecond, a posted claim's own cost, to ten seconds, when terminals give up.
_BUCKETS_S = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
)  # fmt: skip

_NS = 1e-9


class Metrics:
    """All that one worker counts."""

    def __init__(self) -> None:
        """Start from zero, in a registry of its own."""
        self.registry = CollectorRegistry()
        self._stage = Histogram(
            "cardserver_stage_duration_seconds",
            "Time that requests of a type spent in one stage.",
            ["type", "stage"],
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self._request = Histogram(
            "cardserver_request_duration_seconds",
            "Time from a request's last byte to its reply handed to the transport.",
            ["type"],
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
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
        self._stage_children: dict[tuple[str, str], Callable[[float], None]] = {}
        self._request_children: dict[str, Callable[[float], None]] = {}
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
        observe = self._request_children.get(type_name)
        if observe is None:
            observe = self._request_children[type_name] = self._request.labels(
                type=type_name
            ).observe
        observe(total_ns * _NS)
        for stage, value in nanoseconds.items():
            observe = self._stage_children.get((type_name, stage))
            if observe is None:
                observe = self._stage.labels(type=type_name, stage=stage).observe
                self._stage_children[type_name, stage] = observe
            observe(value * _NS)

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
