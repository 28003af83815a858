"""Faults befall the commands that a script names, and no other."""

from dataclasses import replace

import pytest

from protocol.card.profiles import social_security_card as ssc
from simulators.card.faults import Fault, FaultKind, FaultyCard
from simulators.card.social_security_card import FICTITIOUS, RootKeys, print_card
from terminals.readers.channel import BatchOutcome, CardRemovedError, ReaderError, run_batch

CHALLENGE = bytes(range(16))
READ_NUMBER = bytes.fromhex("00B2072C0B")
GET_CHALLENGE = ssc.get_challenge()


class Slept:
    """A clock that only says how long it was asked to wait."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def faulty(*faults: Fault, sleep: Slept | None = None) -> FaultyCard:
    card = print_card(replace(FICTITIOUS, version="3.00"), RootKeys.draw())
    made = FaultyCard(card, faults, sleep or Slept())
    card.transmit(ssc.select_ssse())
    return made


def test_without_faults_the_card_is_as_it_is() -> None:
    ran = run_batch(faulty(), ssc.OPENING, CHALLENGE)
    assert ran.outcome is BatchOutcome.COMPLETED


def test_a_pulled_card_stays_out() -> None:
    card = faulty(Fault(FaultKind.PULLED, at=3))
    ran = run_batch(card, ssc.OPENING, CHALLENGE)
    assert (ran.outcome, len(ran.answers)) == (BatchOutcome.CARD_REMOVED, 1)
    card.reset()
    with pytest.raises(CardRemovedError):
        card.transmit(GET_CHALLENGE)


def test_a_mute_card_is_given_up_after_a_while() -> None:
    slept = Slept()
    with pytest.raises(ReaderError, match="says nothing"):
        faulty(Fault(FaultKind.MUTE, ms=700), sleep=slept).transmit(GET_CHALLENGE)
    assert slept.seconds == [0.7]


def test_a_slow_card_answers_later() -> None:
    slept = Slept()
    card = faulty(Fault(FaultKind.SLOW, match=READ_NUMBER[:2], ms=40), sleep=slept)
    assert card.transmit(GET_CHALLENGE)[-2:] == b"\x90\x00"
    assert card.transmit(READ_NUMBER)[-2:] == b"\x90\x00"
    assert slept.seconds == [0.04]


def test_a_wrong_word_keeps_the_command_from_the_card() -> None:
    card = faulty(Fault(FaultKind.STATUS_WORD, at=1, value=b"\x65\x81"))
    assert card.transmit(READ_NUMBER).hex() == "6581"
    assert card.transmit(READ_NUMBER)[-2:].hex() == "9000"


def test_a_wrong_length_is_not_believed_twice() -> None:
    card = faulty(Fault(FaultKind.WRONG_LENGTH, at=3, value=b"\x05"))
    ran = run_batch(card, ssc.OPENING[:2], CHALLENGE)
    assert ran.outcome is BatchOutcome.UNEXPECTED_STATUS
    # Le 05 is not what the card takes: it says 6C12, and is not asked a third time.
    assert ran.answers[-1].hex() == "6c12"


def test_a_flipped_bit_is_one_bit() -> None:
    right = faulty().transmit(READ_NUMBER)
    wrong = faulty(Fault(FaultKind.BIT_FLIP, bit=23)).transmit(READ_NUMBER)
    assert int.from_bytes(right) ^ int.from_bytes(wrong) == 1 << (8 * len(right) - 24)
    beyond = faulty(Fault(FaultKind.BIT_FLIP, bit=8 * len(right))).transmit(READ_NUMBER)
    assert beyond == right


def test_a_stale_counter_stands_still() -> None:
    card = faulty(Fault(FaultKind.STALE_COUNTER, match=GET_CHALLENGE[:2]))
    first = card.transmit(GET_CHALLENGE)
    assert card.transmit(GET_CHALLENGE) == first
    other = faulty()
    assert other.transmit(GET_CHALLENGE) != other.transmit(GET_CHALLENGE)


def test_a_half_written_record_ends_in_ff() -> None:
    card = faulty(Fault(FaultKind.HALF_WRITTEN, match=READ_NUMBER[:3]))
    assert card.transmit(READ_NUMBER).hex().upper() == "0709583030" + "FF" * 6 + "9000"


def test_a_fault_happens_as_often_as_it_says() -> None:
    card = faulty(Fault(FaultKind.STATUS_WORD, times=2, value=b"\x6f\x00"))
    words = [card.transmit(GET_CHALLENGE)[-2:].hex() for _ in range(4)]
    assert words == ["6f00", "6f00", "9000", "9000"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": FaultKind.STATUS_WORD},
        {"kind": FaultKind.STATUS_WORD, "value": b"\x6f"},
        {"kind": FaultKind.WRONG_LENGTH, "value": b"\x6c\x05"},
        {"kind": FaultKind.PULLED, "value": b"\x00"},
        {"kind": FaultKind.SLOW, "ms": -1},
    ],
)
def test_a_fault_that_says_too_little_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="fault"):
        Fault(**wrong)  # type: ignore[arg-type]  # that is the test
