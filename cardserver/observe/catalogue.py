"""Every metric of the centre: name, meaning, labels, and how several workers' become one.

Names, units and labels follow Prometheus' conventions: base units, `_total` on counters, moments as
`_timestamp_seconds`, and labels of few values only, never an institution, terminal or person. Rules
and dashboards use these names; tests compare them with what a running centre shows. Not here: the
values (`metrics.py`).
"""

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

# From a tenth of a millisecond, a posted claim's own cost, to ten seconds, when terminals give up;
# half a second and one second are the objectives.
BUCKETS_S: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
)  # fmt: skip


@unique
class Kind(StrEnum):
    """As Prometheus knows them."""

    HISTOGRAM = "histogram"
    COUNTER = "counter"
    GAUGE = "gauge"


@unique
class Merge(StrEnum):
    """What several workers' gauges come to; counters and histograms add up."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric."""

    name: str
    documentation: str
    kind: Kind
    labels: tuple[str, ...] = ()
    merge: Merge = Merge.SUM


def _histogram(name: str, documentation: str, *labels: str) -> Family:
    return Family(f"cardserver_{name}_duration_seconds", documentation, Kind.HISTOGRAM, labels)


def _counter(name: str, documentation: str, *labels: str) -> Family:
    return Family(f"cardserver_{name}_total", documentation, Kind.COUNTER, labels)


def _gauge(name: str, documentation: str, *labels: str, merge: Merge = Merge.SUM) -> Family:
    return Family(f"cardserver_{name}", documentation, Kind.GAUGE, labels, merge)


STAGE: Final = _histogram(
    "stage", "Time that requests of a type spent in one stage.", "type", "stage"
)
REQUEST: Final = _histogram(
    "request", "Time from a request's last byte to its reply handed to the transport.", "type"
)
FELT: Final = _histogram(
    "terminal_felt", "What cashiers waited for an answer, as terminals report it.", "type"
)
REQUESTS: Final = _counter(
    "requests", "Requests answered, by type and response code.", "type", "code", "duplicate"
)
CONNECTIONS_REFUSED: Final = _counter(
    "connections_refused", "Connections closed before or instead of being served.", "reason"
)
CLOCK_SKEW: Final = _counter(
    "terminal_clock_skew", "Requests whose terminal clock was further off than the limit."
)
LOGS_DROPPED: Final = _counter(
    "log_events_dropped", "Log events left out of a flood of their like, or not written."
)
SPANS_SENT: Final = _counter("spans_sent", "Spans that the collector of traces took.")
SPANS_DROPPED: Final = _counter("spans_dropped", "Spans that could not be sent.")
WORKER_CPU: Final = _counter("worker_cpu_seconds", "Processor time of a worker.", "worker")

CONNECTIONS: Final = _gauge("connections", "Terminals connected now.")
IN_FLIGHT: Final = _gauge("requests_in_flight", "Requests being worked on.")
WORKERS: Final = _gauge("workers", "Workers that serve now.")
WORKER_MEMORY: Final = _gauge("worker_resident_memory_bytes", "Memory of a worker.", "worker")
WORKER_STARTED: Final = _gauge(
    "worker_start_timestamp_seconds", "When a worker began.", "worker", merge=Merge.MAX
)
COMMIT_QUEUE: Final = _gauge("commit_queue_requests", "Requests waiting for a commit group.")
COMMIT_QUEUE_LIMIT: Final = _gauge(
    "commit_queue_limit_requests", "Requests that may wait for a group before others are refused."
)
DATABASE_UP: Final = _gauge(
    "database_up", "Whether the database answered when last asked: 1 or 0.", merge=Merge.MIN
)
DATABASE_CONNECTIONS: Final = _gauge(
    "database_connections", "Connections of the centre's pools, by what they do.", "pool", "state"
)
DATABASE_SIZE: Final = _gauge("database_size_bytes", "Size of the database.", merge=Merge.MAX)
REPLICATION_LAG: Final = _gauge(
    "replication_lag_seconds", "How far the slowest standby is behind in replaying.",
    merge=Merge.MAX,
)  # fmt: skip
REPLICATION_STANDBYS: Final = _gauge(
    "replication_standbys", "Standbys that stream from the database.", merge=Merge.MAX
)
WRITER_SLOTS: Final = _gauge("writer_slots", "Slots of posting writers.", "state", merge=Merge.MAX)
LIST_VERSION: Final = _gauge(
    "revocation_list_version", "Of the revocation list that is decided by.", merge=Merge.MIN
)
LIST_CHECKED: Final = _gauge(
    "revocation_list_checked_timestamp_seconds",
    "When the revocation list was last compared with the registry's.",
    merge=Merge.MIN,
)
TERMINALS_OUTDATED: Final = _gauge(
    "terminals_outdated_list", "Connected terminals whose revocation list is older than the newest."
)
TERMINALS_IN_DOUBT: Final = _gauge(
    "terminals_in_doubt", "Connected terminals that have attempts in doubt in their outbox."
)
OUTBOX_AGE: Final = _gauge(
    "terminal_outbox_age_seconds", "Age of the oldest attempt in doubt at a connected terminal.",
    merge=Merge.MAX,
)  # fmt: skip
CERTIFICATE_EXPIRY: Final = _gauge(
    "certificate_expiry_timestamp_seconds", "When a certificate of the centre ends.", "certificate",
    merge=Merge.MIN,
)  # fmt: skip
TERMINAL_CERTIFICATES: Final = _gauge(
    "terminal_certificates_ending",
    "Terminals in use whose certificate ends within 30 days, or has ended.",
    merge=Merge.MAX,
)
DIFFERENCES: Final = _gauge(
    "reconciliation_differences", "Open differences of reconciliation, by how many days they are.",
    "age", merge=Merge.MAX,
)  # fmt: skip
CLEARING_UNCLEARED: Final = _gauge(
    "clearing_uncleared_months", "Ended months with settlements that are not cleared.",
    merge=Merge.MAX,
)  # fmt: skip
CLEARING_SINCE: Final = _gauge(
    "clearing_oldest_uncleared_end_timestamp_seconds",
    "When the oldest month that is not cleared ended; absent where all are.",
    merge=Merge.MIN,
)
DISK_FREE: Final = _gauge("disk_free_bytes", "Free space, by volume.", "volume", merge=Merge.MIN)
DISK_SIZE: Final = _gauge("disk_size_bytes", "Size, by volume.", "volume", merge=Merge.MAX)
WATCH: Final = _gauge(
    "watch_timestamp_seconds", "When what is watched was last looked at.", merge=Merge.MAX
)

FAMILIES: Final = tuple(value for value in list(globals().values()) if isinstance(value, Family))
BY_NAME: Final = {family.name: family for family in FAMILIES}
