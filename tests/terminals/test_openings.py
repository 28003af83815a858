"""Challenges are used once and in time; an opening batch is found by ATR and mask."""

from protocol.terminal.messages import Challenge, OpeningBatch
from terminals.openings import LIFE_MARGIN_MS, ChallengeWallet, opening_of


def challenge(number: int, life_ms: int = 120_000) -> Challenge:
    return Challenge(number, bytes([number]) * 32, life_ms)


class Clock:
    now_ms = 0.0

    def __call__(self) -> float:
        return self.now_ms


def test_the_one_that_dies_first_is_used_first_and_once() -> None:
    wallet = ChallengeWallet(Clock())
    wallet.add((challenge(1, 60_000), challenge(2, 30_000)))
    taken = [wallet.take(), wallet.take(), wallet.take()]
    assert [one.number if one else None for one in taken] == [2, 1, None]


def test_life_counts_from_receipt() -> None:
    clock = Clock()
    wallet = ChallengeWallet(clock)
    wallet.add((challenge(1, 10_000),))
    clock.now_ms = 10_000 - LIFE_MARGIN_MS
    wallet.add((challenge(2, 10_000),))
    clock.now_ms += 1
    taken = wallet.take()
    assert taken is not None
    assert taken.number == 2, "the first is too near its end"
    assert wallet.take() is None


def test_at_most_four_are_held_and_the_oldest_go() -> None:
    wallet = ChallengeWallet(Clock())
    wallet.add(challenge(number, 10_000 * number) for number in range(1, 7))
    assert len(wallet) == 4
    taken = wallet.take()
    assert taken is not None
    assert taken.number == 3


def test_an_opening_matches_by_length_and_masked_bits_in_order() -> None:
    def opening(number: int, atr: bytes, mask: bytes) -> OpeningBatch:
        return OpeningBatch(number, atr, mask, ())

    openings = (
        opening(1, b"\x3b\x6d\x00", b"\xff\xff\x00"),
        opening(2, b"\x3b\x60", b"\xff\xf0"),
        opening(3, b"\x3b\x6d\x00", b"\xff\x00\x00"),
    )
    for atr, expected in (
        (b"\x3b\x6d\x99", 1),
        (b"\x3b\x6f", 2),
        (b"\x3b\x11\x99", 3),
        (b"\x3f\x6d\x00", None),
        (b"\x3b\x6d\x00\x00", None),
        (b"", None),
    ):
        found = opening_of(openings, atr)
        assert (found.opening if found else None) == expected
