"""The msgid: made, parsed, refused."""

import contextlib
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.terminal import msgid
from protocol.terminal.codes import ResponseCode
from protocol.terminal.errors import LocalProtocolError, RemoteProtocolError


@given(
    institution=st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=12, max_size=12),
    time=st.datetimes(timezones=st.just(dt.UTC)),
    sequence=st.integers(0, 9999),
)
def test_what_is_made_is_parsed(institution: str, time: dt.datetime, sequence: int) -> None:
    made = msgid.make(institution=institution, time=time, sequence=sequence)
    assert len(made) == 30
    parts = msgid.parse(made)
    assert parts.institution == institution
    assert parts.sequence == sequence
    assert parts.time == made[12:26]
    assert msgid.month(made) == time.year * 100 + time.month


@pytest.mark.parametrize(
    "text",
    [
        "",
        "H1101000000120261121093000000",
        "H110100000012026112109300000010",
        "h11010000001202611210930000001",
        "H11010000001202613210930000001",
        "H11010000001202602300930000001",
        "H11010000001202611212430000001",
        "H11010000001202611210960000001",
        "H1101000000120261121093000000１",
        "H11010000001202611210930000001\n",
        "H110100 0001202611210930000001",
    ],
)
def test_what_is_not_well_formed_is_refused(text: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        msgid.parse(text)
    assert caught.value.code is ResponseCode.INVALID_MSGID


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with contextlib.suppress(RemoteProtocolError):
        parts = msgid.parse(text)
        assert text == f"{parts.institution}{parts.time}{parts.sequence:04d}"


@pytest.mark.parametrize(
    ("institution", "sequence"),
    [("H1101000000", 1), ("h11010000001", 1), ("H11010000001", 10_000), ("H11010000001", -1)],
)
def test_a_part_that_does_not_fit_is_not_made(institution: str, sequence: int) -> None:
    with pytest.raises(LocalProtocolError):
        msgid.make(
            institution=institution,
            time=dt.datetime(2026, 11, 21, tzinfo=dt.UTC),
            sequence=sequence,
        )
