"""Times computed by hand from ISO/IEC 7816-3, and the field's figures met."""

from dataclasses import replace

import pytest

from protocol.card.profiles import social_security_card as ssc
from simulators.card.chip_timing import (
    CHIP,
    CONTACTLESS_CHIP,
    FAST_CHIP,
    ChipTiming,
    TimedCard,
    Transmission,
)
from simulators.card.social_security_card import FICTITIOUS, RootKeys, print_card
from terminals.readers.channel import run_batch


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_t0_counts_header_procedure_byte_data_and_status() -> None:
    # 372 cycles at 4 MHz are 93 us, a byte is twelve of them: 1116 us.
    command, answer = bytes.fromhex("00B2072C0B"), bytes(11) + b"\x90\x00"
    assert CHIP.wire_us(command, answer) == (5 + 1 + 13) * 1116
    assert CHIP.wire_us(bytes.fromhex("0020000000"), b"\x63\xc3") == (5 + 2) * 1116
    assert CHIP.wire_us(bytes.fromhex("00A40000023F00"), b"\x90\x00") == (7 + 1 + 2) * 1116
    # T=0 sends no Le behind data.
    assert CHIP.wire_us(bytes.fromhex("00A40000023F0000"), b"\x90\x00") == (7 + 1 + 2) * 1116


def test_t1_counts_blocks() -> None:
    timing = ChipTiming(Transmission.T1, clock_hz=4_000_000)
    # Eleven bits a byte, four bytes around a block, 22 bits to turn round, twice.
    assert timing.wire_us(bytes(7), bytes(2)) == ((7 + 4 + 2 + 4) * 11 + 44) * 93
    long = timing.wire_us(bytes(300), bytes(2)) - timing.wire_us(bytes(299), bytes(2))
    assert long == 11 * 93
    chained = timing.wire_us(bytes(255), bytes(2)) - timing.wire_us(bytes(254), bytes(2))
    assert chained == 5 * 11 * 93


def test_cryptography_and_writing_take_longer_than_reading() -> None:
    reading = CHIP.chip_us(bytes.fromhex("00B2072C0B"))
    assert CHIP.chip_us(bytes.fromhex("0088000010") + bytes(16)) == reading + 60_000
    assert CHIP.chip_us(bytes.fromhex("0020000003123456")) == reading + 10_000
    assert CHIP.chip_us(bytes.fromhex("0020000000")) == reading, "the probe writes nothing"


def opening_s(timing: ChipTiming, version: str) -> tuple[float, int]:
    clock = Clock()
    card = print_card(replace(FICTITIOUS, version=version), RootKeys.draw())
    batch = ssc.OPENING
    if timing.transmission is not Transmission.T0:
        batch = ssc.OPENING_CONTACTLESS
        card = print_card(
            replace(FICTITIOUS, version=version, is_contactless=True), RootKeys.draw()
        )
    ran = run_batch(TimedCard(card, timing, clock.sleep, clock), batch, bytes(16))
    assert ran.outcome == 0
    return clock.now, ran.exchanges_count


def test_a_contact_card_takes_about_40_ms_a_command() -> None:
    """The field's figure for contact cards."""
    seconds, exchanges = opening_s(CHIP, "1.00")
    assert 0.025 < seconds / exchanges < 0.055


def test_faster_cards_are_faster() -> None:
    slow, _ = opening_s(CHIP, "3.00")
    fast, _ = opening_s(FAST_CHIP, "3.00")
    air, _ = opening_s(CONTACTLESS_CHIP, "3.00")
    assert fast < slow / 2
    assert air < slow / 2


def test_what_the_simulation_takes_counts_in() -> None:
    clock = Clock()

    class Slow:
        atr = b"\x3b\x00"

        def reset(self) -> None:
            return

        def transmit(self, _command: bytes) -> bytes:
            clock.sleep(0.005)
            return b"\x90\x00"

    TimedCard(Slow(), CHIP, clock.sleep, clock).transmit(bytes.fromhex("0020000000"))
    assert clock.now == pytest.approx((7 * 1116 + 8000) / 1e6)
