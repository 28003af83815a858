"""Answers to reset, real ones and garbage."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.card.atr import decode_atr, matches_atr
from protocol.card.catalogue import OPENINGS, find_opening
from protocol.card.errors import CardDataError


@pytest.mark.parametrize(
    ("text", "protocols", "historical", "has_check"),
    [
        # The social security card standard's example (part 2).
        ("3B6D000000814E43238697159900BF7C7A", (0,), "00814E43238697159900BF7C7A", False),
        # A German health card and a Thai identity card.
        ("3BD096FF81B1FE451F032E", (1, 1, 15), "", True),
        ("3B6800005448204E49442036", (0,), "5448204E49442036", False),
        ("3B781800005448204E49442031", (0,), "5448204E49442031", False),
    ],
)
def test_real_atrs(text: str, protocols: tuple[int, ...], historical: str, has_check: bool) -> None:  # noqa: FBT001 - one column of the table
    atr = decode_atr(bytes.fromhex(text))
    assert atr.protocols == protocols
    assert atr.historical.hex().upper() == historical
    assert atr.has_check is has_check


@given(
    st.sampled_from([0x3B, 0x3F]),
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 15)), max_size=4),
    st.binary(max_size=8),
)
def test_an_atr_survives_being_built(
    ts: int, groups: list[tuple[int, int]], historical: bytes
) -> None:
    announced = [low | 8 for low, _ in groups] + [0]
    body = bytearray((announced[0] << 4 | len(historical),))
    for index, (low, protocol) in enumerate(groups):
        body += bytes(low.bit_count())
        body.append(announced[index + 1] << 4 | protocol)
    body += historical
    if any(protocol for _, protocol in groups):
        check = 0
        for each in body:
            check ^= each
        body.append(check)
    atr = decode_atr(bytes((ts,)) + body)
    assert atr.historical == historical
    assert atr.protocols == (tuple(protocol for _, protocol in groups) or (0,))


@given(st.binary(max_size=40) | st.binary(max_size=40).map(lambda data: b"\x3b" + data))
def test_garbage_is_an_atr_or_an_error(data: bytes) -> None:
    find_opening(data)
    try:
        atr = decode_atr(data)
    except CardDataError:
        return
    assert len(atr.historical) <= 15


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("3B", "2 to 33"),
        ("3C00", "3B or 3F"),
        ("3B80", "cut short|announces"),
        ("3BF0", "cut short"),
        ("3B6D0000", "announces"),
        ("3BD096FF81B1FE451F032F", "check byte"),
    ],
)
def test_what_is_wrong_is_said(text: str, complaint: str) -> None:
    with pytest.raises(CardDataError, match=complaint):
        decode_atr(bytes.fromhex(text))


def test_a_mask_compares_the_bits_that_it_has() -> None:
    assert matches_atr(b"\x3b\x12", pattern=b"\x3b\x10", mask=b"\xff\xf0")
    assert not matches_atr(b"\x3b\x22", pattern=b"\x3b\x10", mask=b"\xff\xf0")
    assert not matches_atr(b"\x3b\x12\x00", pattern=b"\x3b\x10", mask=b"\xff\xf0")


def test_every_profile_is_found_by_its_own_atr() -> None:
    for opening in OPENINGS:
        assert find_opening(opening.atr) is opening
        assert opening.challenge_size <= 32
