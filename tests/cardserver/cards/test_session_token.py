"""A card session holds for its terminal and its time, and for nobody else."""

import hmac
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardserver.cards.refusals import CardRefusalReason as Reason
from cardserver.cards.session_token import CardSession, CardSessions

SECRET = bytes(range(32))
NOW = 1_800_000_000_000
SESSION = CardSession(3, 2, 7, 1, 2, NOW, b"nonce")


def check(token: bytes, terminal_no: int = 3, now_ms: int = NOW) -> CardSession | Reason:
    return CardSessions(SECRET).check(token, terminal_no=terminal_no, now_ms=now_ms)


def test_a_session_holds_for_its_terminal_and_its_time() -> None:
    token = CardSessions(SECRET).issue(SESSION)
    assert len(token) < 512  # what the envelope holds
    assert check(token) == SESSION
    assert check(token, now_ms=NOW + 599_999) == SESSION
    assert check(token, now_ms=NOW - 5_000) == SESSION
    assert check(token, now_ms=NOW + 600_000) is Reason.CARD_SESSION_EXPIRED
    assert check(token, now_ms=NOW - 5_001) is Reason.CARD_SESSION_NOT_VALID
    assert check(token, terminal_no=4) is Reason.CARD_SESSION_NOT_VALID
    assert check(token, terminal_no=4, now_ms=NOW + 600_000) is Reason.CARD_SESSION_NOT_VALID, (
        "another terminal learns nothing of a session's age"
    )


def test_another_secret_signs_nothing_here() -> None:
    token = CardSessions(bytes(32)).issue(SESSION)
    assert check(token) is Reason.CARD_SESSION_NOT_VALID


@given(st.binary(max_size=200))
def test_garbage_is_not_valid(token: bytes) -> None:
    assert check(token) is Reason.CARD_SESSION_NOT_VALID


@given(st.integers(0, 1_000), st.integers(1, 255))
def test_a_changed_byte_is_not_valid(index: int, change: int) -> None:
    token = bytearray(CardSessions(SECRET).issue(SESSION))
    token[index % len(token)] ^= change
    assert check(bytes(token)) is Reason.CARD_SESSION_NOT_VALID


@pytest.mark.parametrize("body", [[1, 2], [1, 2, 3, 4, 5, 6, b"n", "more"], {"a": 1}, "text"])
def test_a_session_of_another_layout_is_not_valid(body: object) -> None:
    written = msgspec.msgpack.encode(body)
    token = hmac.digest(SECRET, b"card session" + written, sha256) + written
    assert check(token) is Reason.CARD_SESSION_NOT_VALID


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        CardSessions(bytes(31))
