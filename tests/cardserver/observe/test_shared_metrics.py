"""Several workers' counts come together, and never fall when a worker is replaced."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from cardserver.observe import catalogue
from cardserver.observe.metrics import Metrics
from cardserver.observe.shared_metrics import SharedMetrics


def value(text: bytes, name: str, **labels: str) -> float:
    return sum(
        sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def worker(folder: Path, index: int, settled: int) -> tuple[Metrics, SharedMetrics]:
    metrics = Metrics(index)
    for number in range(settled):
        metrics.answered(
            "settle", 0, 5_000_000, {"commit": 1000}, is_duplicate=False, msgid=f"{index}-{number}"
        )
    metrics.connections.inc()
    shared = SharedMetrics(folder, metrics)
    shared.write()
    return metrics, shared


def end(folder: Path, shared: SharedMetrics) -> None:
    """Have a life have ended ten seconds ago."""
    metrics = shared._metrics
    snapshot = metrics.snapshot()
    snapshot.time_ms -= 10_000
    metrics.snapshot = lambda: snapshot
    shared.write()
    assert folder.exists()


def test_any_worker_shows_the_whole_centre(tmp_path: Path) -> None:
    (_, first), (_, second) = worker(tmp_path, 0, 3), worker(tmp_path, 1, 4)
    for shared in (first, second):
        text = shared.text()
        assert value(text, "cardserver_requests_total", type="settle") == 7
        assert value(text, "cardserver_request_duration_seconds_count", type="settle") == 7
        assert value(text, "cardserver_request_duration_seconds_bucket", le="0.005") == 7
        assert value(text, "cardserver_connections") == 2
        assert value(text, "cardserver_workers") == 2
    assert b'msgid="1-3"' in second.text(is_openmetrics=True)


def test_what_a_worker_counted_stays_counted_when_it_has_ended(tmp_path: Path) -> None:
    (_, first), (_, second) = worker(tmp_path, 0, 3), worker(tmp_path, 1, 4)
    end(tmp_path, second)
    text = first.text()
    assert value(text, "cardserver_requests_total", type="settle") == 7
    assert value(text, "cardserver_connections") == 1, "what is now is of those who live"
    assert value(text, "cardserver_workers") == 1
    (_, third) = worker(tmp_path, 1, 5)
    for shared in (first, third):
        assert value(shared.text(), "cardserver_requests_total", type="settle") == 12
    assert len(list(tmp_path.glob("*.metrics"))) == 2, "the new life has taken the old one over"
    end(tmp_path, third)
    (_, fourth) = worker(tmp_path, 1, 1)
    assert value(first.text(), "cardserver_requests_total", type="settle") == 13
    assert value(fourth.text(), "cardserver_requests_total", type="settle") == 13


def test_gauges_are_merged_as_their_families_say(tmp_path: Path) -> None:
    (low, first), (high, second) = worker(tmp_path, 0, 0), worker(tmp_path, 1, 0)
    for metrics, seconds in ((low, 10), (high, 20)):
        metrics.set(catalogue.LIST_CHECKED, seconds)
        metrics.set(catalogue.REPLICATION_LAG, seconds)
        metrics.set(catalogue.COMMIT_QUEUE, seconds)
    first.write()
    second.write()
    text = first.text()
    assert value(text, "cardserver_revocation_list_checked_timestamp_seconds") == 10
    assert value(text, "cardserver_replication_lag_seconds") == 20
    assert value(text, "cardserver_commit_queue_requests") == 30
    low.forget(catalogue.REPLICATION_LAG)
    assert value(first.text(), "cardserver_replication_lag_seconds") == 20


def test_a_file_that_is_no_snapshot_is_passed_over(tmp_path: Path) -> None:
    _, first = worker(tmp_path, 0, 3)
    (tmp_path / "9-broken.metrics").write_bytes(b"\xc1 no snapshot")
    assert value(first.text(), "cardserver_requests_total") == 3
