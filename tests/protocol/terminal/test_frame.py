"""Frames: cut right however the bytes arrive, bounded whatever they announce."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.terminal.codes import ResponseCode
from protocol.terminal.errors import LocalProtocolError, RemoteProtocolError
from protocol.terminal.frame import FrameReader, encode_frame


def payloads_of(reader: FrameReader) -> list[bytes]:
    payloads = []
    while (payload := reader.next_frame()) is not None:
        payloads.append(payload)
    return payloads


@given(
    payloads=st.lists(st.binary(min_size=1, max_size=300), max_size=8),
    cuts=st.lists(st.integers(1, 50), min_size=1),
)
def test_payloads_come_back_however_they_are_cut(payloads: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(encode_frame(payload) for payload in payloads)
    reader = FrameReader()
    seen = []
    position = 0
    for index in range(len(stream)):
        size = cuts[index % len(cuts)]
        reader.receive(stream[position : position + size])
        seen += payloads_of(reader)
        position += size
    assert seen == payloads
    assert not reader.is_mid_frame


def test_a_huge_size_is_refused_from_its_four_bytes() -> None:
    reader = FrameReader(1000)
    reader.receive((1001).to_bytes(4, "big"))
    with pytest.raises(RemoteProtocolError) as caught:
        reader.next_frame()
    assert caught.value.code is ResponseCode.FRAME_TOO_LARGE


def test_the_largest_size_is_allowed() -> None:
    reader = FrameReader(1000)
    reader.receive(encode_frame(bytes(1000), 1000))
    assert reader.next_frame() == bytes(1000)


def test_an_empty_frame_is_malformed() -> None:
    reader = FrameReader()
    reader.receive(bytes(4))
    with pytest.raises(RemoteProtocolError) as caught:
        reader.next_frame()
    assert caught.value.code is ResponseCode.MALFORMED_FRAME


@pytest.mark.parametrize("payload", [b"", bytes(11)])
def test_an_empty_or_too_large_payload_is_not_sent(payload: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        encode_frame(payload, 10)


def test_mid_frame_is_from_the_first_byte_to_the_last() -> None:
    reader = FrameReader()
    frame = encode_frame(b"abc")
    assert not reader.is_mid_frame
    for byte in frame[:-1]:
        reader.receive(bytes([byte]))
        assert reader.next_frame() is None
        assert reader.is_mid_frame
    reader.receive(frame[-1:])
    assert reader.next_frame() == b"abc"
    assert not reader.is_mid_frame


def test_frames_not_taken_are_bounded() -> None:
    reader = FrameReader(10)
    reader.receive(encode_frame(bytes(10), 10) * 2)
    with pytest.raises(LocalProtocolError):
        reader.receive(b"x")
    assert payloads_of(reader) == [bytes(10)] * 2
    reader.receive(b"")


@pytest.mark.timeout(20)
def test_many_small_frames_at_once_cost_linear_time() -> None:
    # Copying the rest at each frame would move 500 gigabytes here.
    count = 300_000
    reader = FrameReader()
    reader.receive(encode_frame(b"0123456789") * count)
    assert len(payloads_of(reader)) == count


@pytest.mark.timeout(20)
def test_one_large_frame_byte_by_byte_costs_linear_time() -> None:
    frame = encode_frame(bytes(262_144))
    reader = FrameReader()
    for index in range(len(frame)):
        assert reader.next_frame() is None
        reader.receive(frame[index : index + 1])
    assert reader.next_frame() == bytes(262_144)
