"""Whatever a card answers, each profile comes to a result, a refusal or an error with a name.

The answers are a real card's, from its transcript, mutated: bits flipped, cut, stretched, put in
each other's place, or anything at all. No script asks for more than a few batches.
"""

import importlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.card.catalogue import PROFILES, find_opening
from protocol.card.errors import CardProtocolError
from simulators.card.transcript import read_transcript
from terminals.readers.channel import run_batch

TRANSCRIPTS = Path(__file__).parents[2] / "vectors" / "cards"
CHALLENGE = bytes(range(32))
BATCHES_MAX = 8
NAMES = [profile.name for profile in PROFILES]


class PlayedCard:
    """Answers as the transcript says."""

    def __init__(self, name: str) -> None:
        transcript = read_transcript(TRANSCRIPTS / f"{name}.txt")
        self.atr = transcript.atr
        self._exchanges = iter(transcript.visits[0])

    def transmit(self, _command: bytes) -> bytes:
        return next(self._exchanges).answer


def real_answers(name: str) -> tuple[bytes, ...]:
    card = PlayedCard(name)
    opening = find_opening(card.atr)
    assert opening is not None
    return run_batch(card, opening.batch, CHALLENGE).answers


ANSWERS = {name: real_answers(name) for name in NAMES}


@st.composite
def mutated(draw: st.DrawFn, name: str) -> list[bytes]:
    """One to three mutations of a real card's answers."""
    answers = list(ANSWERS[name])
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(answers) - 1))
        answer = bytearray(answers[place])
        match draw(st.sampled_from(["flip", "cut", "stretch", "swap", "replace"])):
            case "flip" if answer:
                bit = draw(st.integers(0, len(answer) * 8 - 1))
                answer[bit // 8] ^= 1 << (bit % 8)
            case "cut":
                del answer[draw(st.integers(0, len(answer))) :]
            case "stretch":
                at = draw(st.integers(0, len(answer)))
                answer[at:at] = draw(st.binary(max_size=40))
            case "swap":
                other = draw(st.integers(0, len(answers) - 1))
                answers[other], answer = bytes(answer), bytearray(answers[other])
            case _:
                answer = bytearray(draw(st.binary(max_size=300)))
        answers[place] = bytes(answer)
    return answers


def follow(name: str, batches: list[list[bytes]]) -> None:
    """Feed a profile's script: it ends, or says by name what is wrong with the answers."""
    script = importlib.import_module(f"protocol.card.profiles.{name}").open_card()
    next(script)
    for answers in batches:
        try:
            script.send(tuple(answers))
        except (StopIteration, CardProtocolError):
            return
    pytest.fail(f"{name} asked for more than {BATCHES_MAX} batches")


@pytest.mark.parametrize("name", NAMES)
def test_the_real_answers_are_a_result(name: str) -> None:
    script = importlib.import_module(f"protocol.card.profiles.{name}").open_card()
    next(script)
    with pytest.raises(StopIteration) as ended:
        script.send(ANSWERS[name])
    assert ended.value.value is not None


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=300)
@given(st.data())
def test_mutated_answers_come_to_an_end(name: str, data: st.DataObject) -> None:
    follow(name, [data.draw(mutated(name)) for _ in range(BATCHES_MAX)])


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=200)
@given(st.data())
def test_random_answers_come_to_an_end(name: str, data: st.DataObject) -> None:
    size = len(ANSWERS[name])
    answers = st.lists(st.binary(max_size=300), min_size=size, max_size=size)
    follow(name, [data.draw(answers) for _ in range(BATCHES_MAX)])
