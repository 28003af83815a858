"""What `/metrics` shows of requests."""

from prometheus_client.parser import text_string_to_metric_families

from cardserver.observe.metrics import Metrics


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def named(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def test_durations_fall_into_their_buckets() -> None:
    metrics = Metrics()
    for commit_ns in (100_000, 100_001, 4_000_000, 11_000_000_000):
        metrics.answered("settle", 0, 5_000_000, {"commit": commit_ns}, is_duplicate=False)
    shown = samples(metrics)
    bucket = "cardserver_stage_duration_seconds_bucket"
    expected = {"0.0001": 1, "0.00025": 2, "0.0025": 2, "0.005": 3, "10.0": 3, "+Inf": 4}
    for le, count in expected.items():
        assert shown[named(bucket, type="settle", stage="commit", le=le)] == count
    stage = {"type": "settle", "stage": "commit"}
    assert shown[named("cardserver_stage_duration_seconds_count", **stage)] == 4
    assert shown[named("cardserver_stage_duration_seconds_sum", **stage)] == 11.004200001
    assert shown[named("cardserver_request_duration_seconds_count", type="settle")] == 4
    assert shown[named("cardserver_request_duration_seconds_sum", type="settle")] == 0.02


def test_outcomes_are_counted_by_code_and_repetition() -> None:
    metrics = Metrics()
    for is_duplicate in (False, True, True):
        metrics.answered("cancel", 603, 1, {}, is_duplicate=is_duplicate)
    shown = samples(metrics)
    total = "cardserver_requests_total"
    assert shown[named(total, type="cancel", code="603", duplicate="false")] == 1
    assert shown[named(total, type="cancel", code="603", duplicate="true")] == 2
