"""Challenges are used once, in time, and few at once."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from cardserver.cards.challenges import Challenges


class Clock:
    def __init__(self) -> None:
        self.ms = 0

    def __call__(self) -> int:
        return self.ms


def make(clock: Clock) -> Challenges:
    return Challenges(Random(1).randbytes, clock)


def test_a_challenge_is_used_once() -> None:
    challenges = make(Clock())
    number, value = challenges.issue()
    assert len(value) == 32
    assert challenges.take(number) == value
    assert challenges.take(number) is None


def test_an_unknown_number_is_none() -> None:
    assert make(Clock()).take(1) is None


def test_a_late_challenge_is_dead() -> None:
    clock = Clock()
    challenges = make(clock)
    in_time, value = challenges.issue()
    late, _ = challenges.issue()
    clock.ms = 119_999
    assert challenges.take(in_time) == value
    clock.ms = 120_000
    assert challenges.take(late) is None
    assert challenges.missing_count == 4


def test_at_most_four_are_out() -> None:
    challenges = make(Clock())
    issued = [challenges.issue() for _ in range(5)]
    assert challenges.missing_count == 0
    assert challenges.take(issued[0][0]) is None
    assert [challenges.take(number) for number, _ in issued[1:]] == [
        value for _, value in issued[1:]
    ]


@given(st.lists(st.one_of(st.none(), st.integers(1, 12), st.integers(1_000, 90_000)), max_size=40))
def test_beside_a_model(actions: list[int | None]) -> None:
    """None issues, a small number takes it, a large one lets so many milliseconds pass."""
    clock = Clock()
    challenges = make(clock)
    model: dict[int, tuple[int, bytes]] = {}
    seen: set[bytes] = set()
    for action in actions:
        alive = {n: e for n, e in model.items() if clock.ms - e[0] < 120_000}
        model = dict(list(alive.items())[-4:])
        if action is None:
            number, value = challenges.issue()
            assert value not in seen
            seen.add(value)
            model[number] = (clock.ms, value)
            model = dict(list(model.items())[-4:])
        elif action <= 12:
            expected = model.pop(action, None)
            assert challenges.take(action) == (expected[1] if expected else None)
        else:
            clock.ms += action
