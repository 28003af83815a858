"""Recorded exchanges are reproduced byte for byte from the access number and the keys."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from protocol.card.apdu import CommandAPDU
from protocol.card.elliptic_curve import EphemeralKey
from protocol.card.errors import CardDataError
from protocol.card.pace import establish, password_key
from protocol.card.script import Script, Step
from protocol.card.secure_messaging import (
    SecureMessaging,
    SecureMessagingError,
    SessionKeys,
    open_answer,
    open_command,
    protect_answer,
    protected,
)

START = bytes.fromhex("00A4020C02011C")


def _pace(trace: Any, name: str) -> tuple[Script[SecureMessaging], list[tuple[bytes, bytes]]]:
    header, tape = trace(name)
    first = next(index for index, (command, _) in enumerate(tape) if command == START)
    mapping, agreeing = (bytes.fromhex(key) for key in header["keys"])
    return establish(header["can"], (EphemeralKey(mapping), agreeing)), tape[first:]


def test_a_channel_is_established_as_recorded(trace: Any, play: Any) -> None:
    script, tape = _pace(trace, "establish-secure-channel")
    assert isinstance(play(script, tape), SecureMessaging)


PLAIN = [
    bytes.fromhex(command)
    for command in (
        "00A4040C",
        "00A4040C06D27600000102",
        "00A4020C02D002",
        "00B00000000000",
        "00B00230000000",
    )
]


def test_insurance_data_is_read_through_the_channel_as_recorded(trace: Any, play: Any) -> None:
    script, tape = _pace(trace, "read-vsd")
    messaging = play(script, tape[:7])
    answers = []
    for command, (recorded, answer) in zip(PLAIN, tape[7:], strict=True):
        assert messaging.protect(command).hex() == recorded.hex()
        answers.append(messaging.unprotect(answer))
    assert [answer[-2:].hex() for answer in answers] == ["9000"] * 4 + ["6b00"]
    assert answers[3][:8].hex() == "0008014d014e022f"
    assert len(answers[3]) == 0x230 + 2


def test_a_batch_is_protected_before_its_first_answer(trace: Any, play: Any) -> None:
    """The counter runs by itself: the channel's five commands could have gone out together."""
    script, tape = _pace(trace, "read-vsd")
    messaging = play(script, tape[:7])

    def read() -> Script[tuple[bytes, ...]]:
        return (yield tuple(Step(command, (0x9000, 0x6B00)) for command in PLAIN))

    answers = play(protected(messaging, read()), tape[7:])
    assert len(answers[3]) == 0x230 + 2


def test_every_flipped_bit_of_a_recorded_answer_is_refused(trace: Any, play: Any) -> None:
    script, tape = _pace(trace, "read-vsd")
    messaging = play(script, tape[:7])
    for number, (_, answer) in enumerate(tape[7:]):
        counter = 2 * number + 2
        open_answer(messaging.keys, counter, answer)
        for bit in range(len(answer) * 8):
            changed = bytearray(answer)
            changed[bit // 8] ^= 1 << bit % 8
            with pytest.raises(SecureMessagingError):
                open_answer(messaging.keys, counter, bytes(changed))


def test_answers_in_another_order_are_refused(trace: Any, play: Any) -> None:
    script, tape = _pace(trace, "read-vsd")
    messaging = play(script, tape[:7])
    for command in PLAIN[:2]:
        messaging.protect(command)
    with pytest.raises(SecureMessagingError):
        messaging.unprotect(tape[8][1])
    with pytest.raises(SecureMessagingError):
        messaging.unprotect(tape[7][1])


@pytest.mark.parametrize(
    "answer", ["9000", "6988", "", "90", "99029000", "8E0800000000000000009000"]
)
def test_an_unprotected_answer_is_refused(answer: str) -> None:
    keys = SessionKeys(bytes(16), bytes(range(16)))
    messaging = SecureMessaging(keys)
    messaging.protect(PLAIN[0])
    with pytest.raises((SecureMessagingError, CardDataError)):
        messaging.unprotect(bytes.fromhex(answer))


def test_another_access_number_is_found_out(trace: Any) -> None:
    header, tape = trace("read-vsd")
    mapping, agreeing = (bytes.fromhex(key) for key in header["keys"])
    script = establish("123124", (EphemeralKey(mapping), agreeing))
    next(script)
    first = next(index for index, (command, _) in enumerate(tape) if command == START)
    script.send(tuple(answer for _, answer in tape[first : first + 5]))
    script.send((tape[first + 5][1],))
    with pytest.raises(CardDataError, match="access number"):
        script.send((tape[first + 6][1],))


@pytest.mark.parametrize("can", ["", "12345", "1234567", "12345x", "１２３４５６"])
def test_an_access_number_has_six_digits(can: str) -> None:
    with pytest.raises(CardDataError, match=r"6 digits"):
        password_key(can)


@given(st.binary(max_size=700), st.integers(1, 65536) | st.none(), st.integers(0, 2**64))
def test_both_ends_of_a_channel_understand_each_other(
    data: bytes, le: int | None, counter: int
) -> None:
    keys = SessionKeys(b"e" * 16, b"m" * 16)
    command = CommandAPDU(0x80, 0xCA, 0x01, 0x02, data, le)
    messaging = SecureMessaging(keys, counter)
    opened = open_command(keys, counter + 1, messaging.protect(command.encode()))
    assert (opened.cla, opened.ins, opened.p1, opened.p2) == (0x80, 0xCA, 0x01, 0x02)
    assert (opened.data, opened.le) == (data, le)
    answer = protect_answer(keys, counter + 2, data, 0x6282, encrypts=bool(counter % 2))
    assert messaging.unprotect(answer) == data + b"\x62\x82"


@given(st.binary(max_size=80))
def test_garbage_is_refused_by_name(garbage: bytes) -> None:
    messaging = SecureMessaging(SessionKeys(bytes(16), bytes(16)))
    messaging.protect(PLAIN[0])
    with pytest.raises((SecureMessagingError, CardDataError)):
        messaging.unprotect(garbage)
    script = establish("123123", (EphemeralKey(b"\1" * 32), b"\2" * 32))
    next(script)
    with pytest.raises(CardDataError):
        script.send((b"\x90\0", garbage + b"\x90\0", b"\x90\0", garbage, garbage))


def test_points_off_the_curve_are_refused() -> None:
    key = EphemeralKey(b"\7" * 32)
    point = bytearray(key.public_point)
    point[-1] ^= 1
    for wrong in (bytes(point), b"\4" + b"\xff" * 64, b"\4" + bytes(64), b"\0", b""):
        with pytest.raises(CardDataError):
            key.shared_secret(wrong)
    with pytest.raises(CardDataError):
        EphemeralKey(bytes(32))
    for scalar in (2, 3, 2**255):
        other = EphemeralKey(scalar.to_bytes(32, "big"))
        public = ec.EllipticCurvePublicKey.from_encoded_point(
            ec.BrainpoolP256R1(), other.public_point
        )
        mine = ec.derive_private_key(int.from_bytes(b"\7" * 32, "big"), ec.BrainpoolP256R1())
        assert mine.exchange(ec.ECDH(), public) == key.shared_secret(other.public_point)
