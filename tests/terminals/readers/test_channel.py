"""How a batch runs over a card: lengths, conditions, places, and where it stops."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.card.errors import StatusWordError
from protocol.card.pin import PINDigits
from protocol.card.script import (
    Batch,
    Condition,
    PINFormat,
    PINKind,
    PINPlace,
    Script,
    Span,
    Step,
)
from protocol.terminal.messages import CardStep, ChallengeSpan, RelayOutcome, StepCondition
from terminals.readers.channel import (
    ANSWER_SIZE_MAX,
    BatchError,
    BatchOutcome,
    CardRemovedError,
    ReaderError,
    put_pins,
    run_batch,
    run_script,
)

OK = (0x9000,)


class Scripted:
    """A card that answers commands, in hex, from a table or by a function."""

    def __init__(self, answers: dict[str, str] | Callable[[bytes], bytes]) -> None:
        self._answers = answers
        self.sent: list[str] = []

    @property
    def atr(self) -> bytes:
        return b"\x3b\x00"

    def transmit(self, command: bytes) -> bytes:
        self.sent.append(command.hex().upper())
        if callable(self._answers):
            return self._answers(command)
        return bytes.fromhex(self._answers[self.sent[-1]])


def step(command: str, expected: tuple[int, ...] = OK) -> Step:
    return Step(bytes.fromhex(command), expected)


def test_a_batch_that_goes_well() -> None:
    card = Scripted({"00A40000023F00": "9000", "0084000008": "11223344556677889000"})
    ran = run_batch(card, (step("00A40000023F00"), step("0084000008")), b"")
    assert ran.outcome is BatchOutcome.COMPLETED
    assert [answer.hex() for answer in ran.answers] == ["9000", "11223344556677889000"]
    assert ran.card_time_us >= 0


def test_an_unexpected_word_ends_the_batch_and_is_told() -> None:
    card = Scripted({"00A40000023F00": "6A82"})
    ran = run_batch(card, (step("00A40000023F00"), step("0084000008")), b"")
    assert ran.outcome is BatchOutcome.UNEXPECTED_STATUS
    assert ran.answers == (b"\x6a\x82",)
    assert len(card.sent) == 1


def test_an_answer_that_waits_is_fetched() -> None:
    card = Scripted({"0088000001AA": "6108", "00C0000008": "01020304050607089000"})
    ran = run_batch(card, (step("0088000001AA"),), b"")
    assert ran.answers[0].hex() == "01020304050607089000"


def test_an_answer_in_pieces_is_put_together() -> None:
    card = Scripted(
        {"80CA010000": "0102" + "6102", "80C0000002": "", "00C0000002": "0304" + "6101",
         "00C0000001": "05" + "9000"}
    )  # fmt: skip
    ran = run_batch(card, (step("80CA010000"),), b"")
    assert ran.answers[0].hex() == "01020304059000"


def test_the_exact_length_is_asked_for() -> None:
    card = Scripted({"00B2012C00": "6C03", "00B2012C03": "0101339000"})
    ran = run_batch(card, (step("00B2012C00"),), b"")
    assert ran.answers[0].hex() == "0101339000"
    assert card.sent == ["00B2012C00", "00B2012C03"]


def test_the_exact_length_follows_data_that_had_none() -> None:
    card = Scripted({"00A40000023F00": "6C02", "00A40000023F0002": "6F009000"})
    assert run_batch(card, (step("00A40000023F00"),), b"").answers[0].hex() == "6f009000"


def test_a_card_that_never_settles_on_a_length_is_not_asked_for_ever() -> None:
    card = Scripted(lambda _: b"\x6c\x05")
    ran = run_batch(card, (step("00B2012C00"),), b"")
    assert ran.outcome is BatchOutcome.UNEXPECTED_STATUS
    assert len(card.sent) == 2


def test_an_answer_without_end_is_a_fault() -> None:
    for piece in (b"", bytes(256)):
        card = Scripted(lambda _, piece=piece: piece + b"\x61\x00")
        ran = run_batch(card, (step("80CA010000"),), b"")
        assert ran.outcome is BatchOutcome.READER_FAULT
        assert len(card.sent) * len(piece) <= ANSWER_SIZE_MAX + 1024
        assert len(card.sent) <= 300


def test_challenge_bytes_are_put_into_their_places() -> None:
    place = Step(bytes.fromhex("0088000004") + bytes(4), OK, (Span(5, 2, 2), Span(7, 0, 2)))
    card = Scripted({"0088000004CCDDAABB": "9000"})
    assert run_batch(card, (place,), bytes.fromhex("AABBCCDD")).outcome == 0


@pytest.mark.parametrize("span", [Span(5, 0, 8), Span(12, 0, 1), Span(100, 0, 1), Span(5, 3, 2)])
def test_a_place_outside_is_refused_before_anything_is_sent_of_it(span: Span) -> None:
    card = Scripted({})
    with pytest.raises(BatchError):
        run_batch(card, (Step(bytes(9), OK, (span,)),), bytes(4))
    assert card.sent == []


def test_a_condition_decides_by_an_earlier_answer() -> None:
    card = Scripted({"00B2032C06": "0304312E30309000", "0084000008": "9000", "0084000004": "9000"})
    is_version_1 = Condition(0, 2, b"1.00")
    is_version_3 = Condition(0, 2, b"3.00")
    batch: Batch = (
        step("00B2032C06"),
        Step(bytes.fromhex("0084000008"), OK, condition=is_version_3),
        Step(bytes.fromhex("0084000004"), OK, condition=is_version_1),
    )
    ran = run_batch(card, batch, b"")
    assert ran.outcome is BatchOutcome.COMPLETED
    assert ran.answers[1] == b""
    assert card.sent == ["00B2032C06", "0084000004"]


def test_a_condition_on_a_status_word_is_never_met() -> None:
    card = Scripted({"00B2032C06": "AA9000"})
    batch = (step("00B2032C06"), Step(b"\0" * 4, OK, condition=Condition(0, 0, b"\xaa\x90")))
    assert run_batch(card, batch, b"").answers[1] == b""


def test_a_condition_on_a_later_step_is_refused() -> None:
    with pytest.raises(BatchError):
        run_batch(Scripted({}), (Step(bytes(4), OK, condition=Condition(0, 0, b"")),), b"")


def test_a_card_that_goes_keeps_what_it_said() -> None:
    def transmit(command: bytes) -> bytes:
        if command[1] == 0x84:
            raise CardRemovedError("gone")
        return b"\x90\x00"

    ran = run_batch(Scripted(transmit), (step("00A40000023F00"), step("0084000008")), b"")
    assert ran.outcome is BatchOutcome.CARD_REMOVED
    assert ran.answers == (b"\x90\x00",)


@pytest.mark.parametrize("answer", [b"", b"\x90"])
def test_an_answer_without_status_word_is_a_fault(answer: bytes) -> None:
    ran = run_batch(Scripted(lambda _: answer), (step("0084000008"),), b"")
    assert ran.outcome is BatchOutcome.READER_FAULT
    assert ran.answers == ()


def test_the_steps_of_the_wire_run_as_they_are() -> None:
    batch = (
        CardStep(bytes.fromhex("0084000008"), OK),
        CardStep(bytes(8), OK, (ChallengeSpan(4, 0, 4),), StepCondition(0, 0, b"\x11")),
    )
    card = Scripted({"0084000008": "119000", "00000000AABBCCDD": "9000"})
    ran = run_batch(card, batch, bytes.fromhex("AABBCCDD"))
    assert RelayOutcome(ran.outcome) is RelayOutcome.COMPLETED
    assert ran.answers[1] == b"\x90\x00"


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=8))
def test_whatever_a_card_says_is_an_outcome(answers: list[bytes]) -> None:
    said = iter(answers)
    card = Scripted(lambda _: next(said, b"\x90\x00"))
    ran = run_batch(card, (step("00B2012C00"), step("0088000001AA")), b"")
    assert ran.outcome in set(BatchOutcome)
    assert len(ran.answers) <= 2


def counting(batches: list[int]) -> Script[int]:
    try:
        answers = yield (step("0084000008"),)
        batches.append(len(answers))
        answers = yield (step("0084000004"), step("0084000004"))
        batches.append(len(answers))
    finally:
        batches.append(-1)
    return len(batches)


def test_a_script_runs_batch_by_batch_and_returns() -> None:
    batches: list[int] = []
    card = Scripted({"0084000008": "9000", "0084000004": "9000"})
    assert run_script(card, counting(batches)) == 3
    assert batches == [1, 2, -1]


@pytest.mark.parametrize(("answer", "error"), [(b"\x6a\x82", StatusWordError), (b"", ReaderError)])
def test_a_script_that_can_not_go_on_is_closed(answer: bytes, error: type[Exception]) -> None:
    batches: list[int] = []
    with pytest.raises(error):
        run_script(Scripted(lambda _: answer), counting(batches))
    assert batches == [-1]


def test_a_script_is_told_which_word_was_unexpected() -> None:
    with pytest.raises(StatusWordError) as raised:
        run_script(Scripted(lambda _: b"\x69\x82"), counting([]))
    assert raised.value.status_word == 0x6982


def pin_step(expected: tuple[int, ...] = OK) -> Step:
    place = PINPlace(5, PINKind.CURRENT, PINFormat.BCD)
    return Step(bytes.fromhex("0020000000"), expected, pins=(place,))


PINS = {int(PINKind.CURRENT): PINDigits("123456")}


@pytest.mark.parametrize("answer", ["6C03", "6102", "6700", "63C2", "6581"])
def test_a_pin_is_sent_once_whatever_the_card_says(answer: str) -> None:
    card = Scripted({"0020000003123456": answer})
    ran = run_batch(card, put_pins((pin_step(), step("0084000008")), PINS), b"")
    assert ran.outcome is BatchOutcome.UNEXPECTED_STATUS
    assert ran.answers == (bytes.fromhex(answer),)
    assert card.sent == ["0020000003123456"]


def test_of_an_answer_to_a_pin_only_the_status_word_is_kept() -> None:
    card = Scripted({"0020000003123456": "1234569000"})
    ran = run_batch(card, put_pins((pin_step(),), PINS), b"")
    assert ran.answers == (b"\x90\x00",)


def test_a_batch_ends_where_no_pin_is_given() -> None:
    card = Scripted({})
    ran = run_batch(card, put_pins((pin_step(), step("0084000008")), None), b"")
    assert (ran.outcome, ran.answers) == (BatchOutcome.UNEXPECTED_STATUS, (b"",))
    assert card.sent == []


def test_a_template_is_never_sent_as_it_is() -> None:
    card = Scripted({})
    with pytest.raises(BatchError, match="nobody was asked"):
        run_batch(card, (pin_step(),), b"")
    assert card.sent == []


def test_a_filled_step_does_not_show_its_pin() -> None:
    (filled,) = put_pins((pin_step(),), PINS)
    assert "123456" not in repr(filled)
    assert "x124V" not in repr(filled)


def test_exchanges_are_counted() -> None:
    card = Scripted({"00B2072C00": "6C0B", "00B2072C0B": "07095830303030303031399000"})
    assert run_batch(card, (step("00B2072C00"),), b"").exchanges_count == 2
