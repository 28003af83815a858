"""What was recorded plays again; a PIN is on no record; what is no transcript is refused."""

import collections
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.card.profiles import social_security_card as ssc
from simulators.card.faults import RemovedCard
from simulators.card.simulated_card import PoweredCard
from simulators.card.social_security_card import FICTITIOUS, RootKeys, print_card
from simulators.card.transcript import (
    HEADER,
    RecordingCard,
    ReplayedCard,
    TranscriptError,
    parse_transcript,
    read_transcript,
)
from terminals.readers.channel import BatchOutcome, CardRemovedError, ReaderError, run_batch

CHALLENGE = bytes(range(16))
VERIFY = bytes.fromhex("0020000003624815")


def recorded(path: Path, card: PoweredCard | None = None) -> tuple[bytes, ...]:
    card = card or print_card(replace(FICTITIOUS, pin="624815"), RootKeys.draw())
    with RecordingCard(card, path) as recording:
        recording.reset()
        ran = run_batch(recording, ssc.OPENING, CHALLENGE)
        recording.transmit(VERIFY)
    return ran.answers


def test_a_recorded_card_answers_again(tmp_path: Path) -> None:
    answers = recorded(tmp_path / "one.txt")
    played = ReplayedCard(read_transcript(tmp_path / "one.txt"))
    assert played.atr == FICTITIOUS.atr
    for _ in range(2):
        played.reset()
        assert run_batch(played, ssc.OPENING, CHALLENGE).answers == answers
        assert played.transmit(VERIFY).hex() == "9000"


def test_a_recording_answers_another_challenge_as_it_did_the_first(tmp_path: Path) -> None:
    answers = recorded(tmp_path / "one.txt")
    played = ReplayedCard(read_transcript(tmp_path / "one.txt"))
    assert run_batch(played, ssc.OPENING, bytes(16)).answers == answers


def test_no_pin_is_on_the_record(tmp_path: Path) -> None:
    recorded(tmp_path / "one.txt")
    text = (tmp_path / "one.txt").read_text()
    assert "624815" not in text
    assert "> 0020000003******" in text


def test_a_card_that_was_pulled_ends_its_record(tmp_path: Path) -> None:
    card = RemovedCard(print_card(FICTITIOUS, RootKeys.draw()), 3)
    with RecordingCard(card, tmp_path / "one.txt") as recording:
        assert run_batch(recording, ssc.OPENING, CHALLENGE).outcome is BatchOutcome.CARD_REMOVED
    (visit,) = read_transcript(tmp_path / "one.txt").visits
    assert len(visit) == 3
    with pytest.raises(CardRemovedError):
        card.transmit(VERIFY)


def test_each_reset_goes_on_to_the_next_visit() -> None:
    text = f"{HEADER}\natr 3B00\nreset\n> 0084000001\n< 119000 7\nreset\n> 0084000001\n< 229000\n"
    played = ReplayedCard(parse_transcript(text))
    said = []
    for _ in range(3):
        played.reset()
        played.reset()  # a reader resets more than once
        said.append(played.transmit(bytes.fromhex("0084000001")).hex())
    assert said == ["119000", "229000", "119000"]
    with pytest.raises(ReaderError, match="no answer to 0084000001"):
        played.transmit(bytes.fromhex("0084000001"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "does not begin"),
        ("> 00\n", "does not begin"),
        (f"{HEADER}\n< 9000\n", ":2: '< 9000' has no place"),
        (f"{HEADER}\n> 00A4\n> 00A4\n", ":3:"),
        (f"{HEADER}\n> 00A4\nreset\n", ":3:"),
        (f"{HEADER}\n> 0G\n", ":2:"),
        (f"{HEADER}\n> 00\n< 9000 soon\n", ":3:"),
    ],
)
def test_what_is_no_transcript_is_refused_by_its_line(text: str, complaint: str) -> None:
    with pytest.raises(TranscriptError, match=complaint):
        parse_transcript(text)


@given(st.text(alphabet="><#atrse 0189AF*\n", max_size=200))
def test_any_text_is_a_transcript_or_refused(text: str) -> None:
    try:
        played = ReplayedCard(parse_transcript(f"{HEADER}\n{text}"))
    except TranscriptError:
        return
    with pytest.raises(ReaderError):
        collections.deque((played.transmit(b"\x01\x84\0\0\1") for _ in range(200)), maxlen=0)
