"""The eGK's commands and scripts: lengths, offsets and status words that readers trip over."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.card.errors import CardDataError, CardProtocolError
from protocol.card.pin import PINDigits, fill_pins
from protocol.card.profiles import egk
from protocol.card.profiles.egk import CHUNK_SIZE, PINStatus, join_chunks, pin_status, read_on
from protocol.card.script import Step

OK, END, CORRUPT, BEYOND = b"\x90\x00", b"\x62\x82", b"\x62\x81", b"\x6b\x00"


@pytest.mark.parametrize(
    "offset", [0, 1, 0x7F, 0x80, 0xFC, 0xFF, 0x100, 0x180, 0x1F8, 0x4D9, 0x7FFF]
)
def test_an_offset_keeps_both_its_bytes(offset: int) -> None:
    """Known from other readers: a low byte taken as negative, a high byte reduced to 0 or 1."""
    command = read_on(offset)
    assert command[:2] == b"\x00\xb0"
    assert int.from_bytes(command[2:4], "big") == offset
    assert command[4:] == b"\xfc"
    assert not command[2] & 0x80, "P1 would name a file"


@pytest.mark.parametrize("offset", [-1, 0x8000, 0x10000])
def test_no_offset_names_a_file(offset: int) -> None:
    with pytest.raises(CardDataError):
        read_on(offset)


def test_chunks_join_up_to_the_one_that_is_short() -> None:
    full = bytes(CHUNK_SIZE)
    assert join_chunks([full + OK, b"", b"", b"abc" + END]) == full + b"abc"
    assert join_chunks([full + CORRUPT, full + OK, BEYOND]) == full * 2
    assert join_chunks([b"abc" + OK, b"", BEYOND, BEYOND]) == b"abc"
    assert join_chunks([BEYOND]) == b""
    assert join_chunks([]) == b""
    for wrong in (
        [b"abc" + END, b"d" + OK],
        [BEYOND, b"d" + OK],
        [full + b"x" + OK],
    ):
        with pytest.raises(CardDataError):
            join_chunks(wrong)


def _sent(answers: Callable[[Step], bytes], batch: tuple[Step, ...]) -> list[bytes]:
    """Run a batch without a reader, skipping by conditions."""
    given_answers: list[bytes] = []
    for step in batch:
        condition = step.condition
        if condition is not None:
            data = given_answers[condition.step][:-2]
            if data[condition.offset :][: len(condition.value)] != condition.value:
                given_answers.append(b"")
                continue
        given_answers.append(answers(step))
    return given_answers


@pytest.mark.parametrize(
    "size", [2, 0x7F, 0x80, 0xFA, 0xFB, 0xFC, 0x100, 0x191, 0x1FF, 0x34F, 0x350]
)
def test_a_length_with_high_bits_is_read_whole(size: int) -> None:
    content = size.to_bytes(2, "big") + bytes(index & 0xFF for index in range(size))
    steps = egk._chunks(0, 1, size_max=850, length_at=0, counted=1)

    def answer(step: Step) -> bytes:
        offset = 0 if step.command[2] & 0x80 else int.from_bytes(step.command[2:4], "big")
        if offset >= len(content):
            return BEYOND
        data = content[offset : offset + step.command[4]]
        return data + (OK if len(data) == step.command[4] else END)

    assert join_chunks(_sent(answer, steps)) == content


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        (0x9000, (PINStatus.VERIFIED, -1)),
        (0x63C3, (PINStatus.REQUIRED, 3)),
        (0x63C1, (PINStatus.REQUIRED, 1)),
        (0x63C0, (PINStatus.BLOCKED, 0)),
        (0x6983, (PINStatus.BLOCKED, 0)),
        (0x62C1, (PINStatus.TRANSPORT, -1)),
        (0x62C7, (PINStatus.TRANSPORT, -1)),
        (0x62D0, (PINStatus.DISABLED, -1)),
        (0x6A88, (PINStatus.UNKNOWN, -1)),
    ],
)
def test_a_pins_status_is_told(word: int, wanted: tuple[PINStatus, int]) -> None:
    assert pin_status(word) == wanted


@pytest.mark.parametrize("word", [0x9000, 0x63C2, 0x63C0, 0x6983])
def test_a_pin_is_verified_once(word: int) -> None:
    script = egk.verify_pin(2)
    (step,) = next(script)
    assert step.command.hex() == "0020000100"
    assert step.pins[0].tries_left == 2
    with pytest.raises(StopIteration) as stop:
        script.send((word.to_bytes(2, "big"),))
    assert stop.value.value == word


def test_a_change_of_pin_takes_the_old_one_first() -> None:
    (step,) = next(egk.change_pin(3))
    command = fill_pins(step.command, step.pins, {1: PINDigits("123456"), 2: PINDigits("13579024")})
    assert command.hex().upper() == "002400011026123456FFFFFFFF2813579024FFFFFF"


def test_the_nonce_stands_where_the_batch_has_its_place() -> None:
    places = [(index, step) for index, step in enumerate(egk.OPENING) if step.spans]
    ((_, step),) = places
    assert step.command == egk.internal_authenticate(bytes(24))
    (span,) = step.spans
    assert (span.command_offset, span.challenge_offset, span.size) == (5, 0, 24)


ANSWERS = st.binary(max_size=300) | st.sampled_from([OK, END, CORRUPT, BEYOND, b""])


@given(st.lists(ANSWERS, min_size=len(egk.OPENING), max_size=len(egk.OPENING)))
def test_any_answers_to_the_opening_are_refused_by_name(answers: list[bytes]) -> None:
    script = egk.open_card()
    next(script)
    with pytest.raises(CardProtocolError):
        script.send(tuple(answers))


@given(st.lists(ANSWERS, min_size=12, max_size=12))
def test_any_answers_over_a_channel_are_refused_by_name(answers: list[bytes]) -> None:
    script = egk.open_card_whole(bytes(24))
    assert len(next(script)) == 12
    with pytest.raises(CardProtocolError):
        script.send(tuple(answers))


@given(st.binary(max_size=300))
def test_any_holders_certificate_is_read_or_refused_by_name(content: bytes) -> None:
    script: Any = egk.read_holder_certificate()
    batch = next(script)
    answers = [OK, content + OK, *(b"" for _ in batch[2:])]
    with pytest.raises((CardDataError, StopIteration)):
        script.send(tuple(answers))
