"""Commands and answers survive their encoding; garbage is an error and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.card.apdu import CommandAPDU, ResponseAPDU, decode_command, decode_response
from protocol.card.errors import CardDataError

BYTE = st.integers(0, 0xFF)
SHORT = st.builds(
    CommandAPDU,
    cla=BYTE,
    ins=BYTE,
    p1=BYTE,
    p2=BYTE,
    data=st.binary(max_size=255),
    le=st.none() | st.integers(1, 256),
)
EXTENDED = st.builds(
    CommandAPDU,
    cla=BYTE,
    ins=BYTE,
    p1=BYTE,
    p2=BYTE,
    data=st.binary(min_size=1, max_size=600),
    le=st.none() | st.integers(1, 65_536),
    is_extended=st.just(value=True),
)


@given(SHORT | EXTENDED)
def test_a_command_survives_its_encoding(command: CommandAPDU) -> None:
    assert decode_command(command.encode()) == command


@pytest.mark.parametrize(
    ("text", "data", "le", "is_extended"),
    [
        ("00200000", b"", None, False),
        ("0084000008", b"", 8, False),
        ("00B2012C00", b"", 256, False),
        ("00A40000023F00", b"\x3f\x00", None, False),
        ("00A40000023F0000", b"\x3f\x00", 256, False),
        ("00B00000000000", b"", 65_536, True),
        ("00B00000000100", b"", 256, True),
        ("002A00BE000002ABCD", b"\xab\xcd", None, True),
        ("108600000000027C000000", b"\x7c\x00", 65_536, True),
    ],
)
def test_the_seven_forms(text: str, data: bytes, le: int | None, is_extended: bool) -> None:  # noqa: FBT001 - one column of the table
    command = decode_command(bytes.fromhex(text))
    assert (command.data, command.le, command.is_extended) == (data, le, is_extended)
    assert command.encode().hex().upper() == text


def test_lengths_that_need_it_are_extended() -> None:
    long_data = CommandAPDU(0, 0xD6, 0, 0, bytes(256))
    assert long_data.encode()[:7].hex() == "00d60000000100"
    assert CommandAPDU(0, 0xB0, 0, 0, le=257).encode().hex() == "00b00000000101"


@given(st.binary(max_size=40))
def test_garbage_is_a_command_or_an_error(data: bytes) -> None:
    try:
        command = decode_command(data)
    except CardDataError:
        return
    assert decode_command(command.encode()).data == command.data


@given(st.binary(max_size=300), st.integers(0, 0xFFFF))
def test_an_answer_survives_its_encoding(data: bytes, status_word: int) -> None:
    answer = ResponseAPDU(data, status_word)
    assert decode_response(answer.encode()) == answer


@pytest.mark.parametrize("text", ["", "90"])
def test_an_answer_without_status_word_is_refused(text: str) -> None:
    with pytest.raises(CardDataError):
        decode_response(bytes.fromhex(text))
