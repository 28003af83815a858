"""What the counter felt, until the centre has been told."""

from hypothesis import given
from hypothesis import strategies as st

from protocol.terminal.messages import FELT_STAGES_MAX, Felt, MessageType, StageTime
from terminals.felt import UNTOLD_MAX, FeltClock, TerminalStage, Untold, no_outbox

MSGID = "H11019900001202611220930000001"


class Time:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_stages_add_up_and_empty_ones_are_left_out() -> None:
    time = Time()
    clock = FeltClock(time)
    clock.end(TerminalStage.QUEUE)
    for seconds in (0.25, 0.5):
        time.now_s += seconds
        clock.end(TerminalStage.ROUND_TRIP)
        time.now_s += 0.125
        clock.end(TerminalStage.PAUSE)
    felt = clock.felt(MessageType.SETTLE, MSGID, code=0, sends=2)
    assert felt == Felt(
        21, MSGID, 0, 1_000_000, 2,
        (StageTime("round_trip", 750_000), StageTime("pause", 250_000)),
    )  # fmt: skip


def test_a_report_says_what_is_in_doubt_when_it_is_told() -> None:
    asked: list[str] = []

    def doubts(but: str) -> tuple[int, int]:
        asked.append(but)
        return 3, 61_000

    untold = Untold(doubts)
    assert untold.take("another") is None
    assert not asked
    untold.extend([Felt(21, MSGID, 0, 5, 1)])
    told = untold.take("another")
    assert told == Felt(21, MSGID, 0, 5, 1, (), 3, 61_000)
    assert asked == ["another"]
    assert untold.take("another") is None


def test_the_oldest_are_forgotten_where_too_many_are_untold() -> None:
    untold = Untold(no_outbox)
    untold.extend(Felt(21, MSGID, code, 5, 1) for code in range(UNTOLD_MAX + 2))
    assert [felt.code for felt in untold.reports] == list(range(2, UNTOLD_MAX + 2))


@given(st.lists(st.tuples(st.sampled_from(TerminalStage), st.floats(0, 1e6))))
def test_whatever_happens_fits_the_message(steps: list[tuple[TerminalStage, float]]) -> None:
    time = Time()
    clock = FeltClock(time)
    for stage, seconds in steps:
        time.now_s += seconds
        clock.end(stage)
    felt = clock.felt(10, MSGID, code=0, sends=1)
    assert len(felt.stages) <= len(TerminalStage) <= FELT_STAGES_MAX
    assert 0 <= felt.took_us < 2**32
    assert all(0 < stage.microseconds < 2**32 for stage in felt.stages)
