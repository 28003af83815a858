"""The console's window: percentiles within their precision, refusals, bounded memory."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardserver.console.window import (
    NAMES_MAX,
    SLICE_MS,
    SLICES_MAX,
    By,
    Durations,
    Slice,
    Window,
    bucket_of,
    duration_of,
)
from cardserver.observe.recent import AnsweredRequest
from protocol.terminal.messages import MessageType

NOW_MS = 1_800_000_000_000


def answered(
    time_ms: int = NOW_MS,
    *,
    total_us: int = 1000,
    code: int = 0,
    institution: str = "H1",
    terminal: str = "T1",
    stages: Sequence[tuple[str, int]] = (),
    felt_ms: int = 0,
    type_: MessageType = MessageType.SETTLE,
    card: str = "",
) -> AnsweredRequest:
    return AnsweredRequest(
        time_ms=time_ms,
        type=type_,
        code=code,
        is_duplicate=False,
        institution=institution,
        terminal=terminal,
        msgid=f"m{time_ms}",
        card=card,
        total_us=total_us,
        felt_ms=felt_ms,
        stages=tuple(stages),
    )


@given(st.lists(st.integers(1, 60_000_000), min_size=1), st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_a_percentile_is_right_within_its_bucket(durations: list[int], share: float) -> None:
    counted = Durations(bucket_of(one) for one in durations)
    exact = sorted(durations)[max(0, -(-round(share * 100) * len(durations) // 100) - 1)]
    assert counted.percentile_us(share) == pytest.approx(exact, rel=0.026)


@given(st.integers(1, 10**9))
def test_a_bucket_stands_for_what_falls_into_it(microseconds: int) -> None:
    assert duration_of(bucket_of(microseconds)) == pytest.approx(microseconds, rel=0.026)


def test_the_slow_terminal_stands_first() -> None:
    window = Window()
    window.add(
        answered(NOW_MS + n, terminal=f"T{n % 50}", total_us=90_000 if n % 50 == 7 else 2_000)
        for n in range(1_000)
    )
    lines = window.lines(By.TERMINAL, since_ms=NOW_MS, types=["settle"])
    assert len(lines) == 50
    assert lines[0].name == "H1/T7"
    assert lines[0].count == 20
    assert lines[0].p95_us == pytest.approx(90_000, rel=0.03)
    assert lines[1].p95_us == pytest.approx(2_000, rel=0.03)


def test_dimensions_are_told_apart() -> None:
    window = Window()
    window.add(
        [
            answered(stages=[("commit", 700), ("decode", 5)], felt_ms=40, card="egk"),
            answered(type_=MessageType.PREVIEW, stages=[("decode", 9)]),
        ]
    )
    names = {
        by: {line.name for line in window.lines(by, since_ms=NOW_MS, types=["settle"])} for by in By
    }
    assert names == {
        By.TYPE: {"settle"},
        By.STAGE: {"commit", "decode"},
        By.INSTITUTION: {"H1"},
        By.TERMINAL: {"H1/T1"},
        By.CARD: {"egk"},
        By.FELT: {"H1/T1"},
    }
    assert window.merged(By.STAGE, since_ms=NOW_MS).total() == 3
    assert window.merged(By.STAGE, since_ms=NOW_MS, types=["preview"]).total() == 1


def test_refusals_are_counted_with_examples_by_institution() -> None:
    window = Window()
    window.add(answered(NOW_MS + n, code=409, institution="H9") for n in range(8))
    window.add(answered(NOW_MS + 100 + n, code=321) for n in range(3))
    window.add(answered(NOW_MS + 200 + n) for n in range(30))
    first, second = window.refusals(since_ms=NOW_MS)
    assert (first.code, first.count, first.institutions, len(first.examples)) == (409, 8, 1, 5)
    assert (second.code, second.count) == (321, 3)
    assert first.examples[0].time_ms == NOW_MS + 7
    (only,) = window.refusals(since_ms=NOW_MS, institution="H9")
    assert (only.code, only.count) == (409, 8)
    assert window.refused_institutions(since_ms=NOW_MS) == {"H9": 8, "H1": 3}


def test_what_is_older_than_the_window_is_gone_and_late_rows_find_their_slice() -> None:
    window = Window()
    window.add([answered(NOW_MS)])
    later = NOW_MS + SLICES_MAX * SLICE_MS
    window.add(answered(NOW_MS + n * SLICE_MS) for n in range(1, SLICES_MAX + 1))
    window.add([answered(later - SLICE_MS, total_us=77_000), answered(NOW_MS, total_us=5)])
    series = window.series(types=["settle"])
    assert len(series) == SLICES_MAX
    assert series[0][0] == NOW_MS + SLICE_MS
    assert series[0][1] == 2  # the one that came too late counts in the oldest
    assert series[-2][1] == 2


def test_names_beyond_the_limit_are_counted_together() -> None:
    part = Slice(NOW_MS)
    for number in range(NAMES_MAX + 100):
        part.add(By.TERMINAL, "settle", f"T{number}", 1_000)
    assert len(part.durations) == NAMES_MAX + 1
    assert part.durations[By.TERMINAL, "settle", "…"].total() == 100


def test_the_heat_map_names_what_takes_longest() -> None:
    window = Window()
    window.add(
        answered(NOW_MS + slice_ * SLICE_MS, institution=f"H{n}", total_us=1_000 * (n + 1))
        for slice_ in range(3)
        for n in range(5)
    )
    heat = window.heat(By.INSTITUTION, types=["settle"], names_max=2)
    assert heat.names == ["H4", "H3"]
    assert len(heat.times_ms) == 3
    assert {(column, row) for column, row, _ in heat.cells} == {
        (column, row) for column in range(3) for row in range(2)
    }
