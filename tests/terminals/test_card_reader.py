"""PINs at the counter: asked once, put into commands that are for PINs, and into no other."""

import asyncio
from collections.abc import Sequence

import pytest

from protocol.terminal.messages import (
    CardStep,
    PINFormat,
    PINKind,
    PINPlace,
    Relay,
    RelayOutcome,
)
from terminals.card_reader import PIN_MARGIN_MS, PINRequest, Relaying, relayed
from terminals.readers.channel import BatchAnswers, StepLike, run_batch

CURRENT = PINPlace(5, PINKind.CURRENT, PINFormat.BCD, 3)
NEW = PINPlace(6, PINKind.NEW, PINFormat.BCD, -1)
VERIFY = CardStep(bytes.fromhex("0020000000"), (0x9000,), pins=(CURRENT,))
CHANGE = CardStep(bytes.fromhex("805E010001FF"), (0x9000,), pins=(CURRENT, NEW))


class Agreeable:
    """A reader with a card that takes everything."""

    name = "agreeable"
    atr = b"\x3b\x00"

    def __init__(self) -> None:
        self.sent: list[str] = []

    def transmit(self, command: bytes) -> bytes:
        self.sent.append(command.hex().upper())
        return b"\x90\x00"

    async def connect(self) -> bytes:
        return self.atr

    async def run_batch(self, steps: Sequence[StepLike], challenge: bytes, /) -> BatchAnswers:
        return run_batch(self, steps, challenge)


class Holder:
    """Who is asked."""

    def __init__(self, *typed: str | None) -> None:
        self._typed = list(typed)
        self.asked: list[PINRequest] = []

    async def __call__(self, request: PINRequest) -> str | None:
        self.asked.append(request)
        return self._typed.pop(0)


def relay(*steps: CardStep, time_left_ms: int = PIN_MARGIN_MS + 5_000) -> Relay:
    return Relay(1, 1, steps, time_left_ms)


async def test_each_kind_of_pin_is_asked_for_once() -> None:
    reader, holder = Agreeable(), Holder("123456", "654321")
    answer = await relayed(
        relay(CHANGE, VERIFY), relaying := Relaying(reader, 1000, pin_entry=holder)
    )
    assert answer.outcome is RelayOutcome.COMPLETED
    assert holder.asked == [PINRequest(PINKind.CURRENT, 3), PINRequest(PINKind.NEW, -1)]
    assert reader.sent == ["805E010007123456FF654321", "0020000003123456"]
    assert relaying.has_asked_pin
    assert relaying.exchanges_count == 2


async def test_a_terminal_that_offered_no_pin_gives_none() -> None:
    reader = Agreeable()
    answer = await relayed(relay(VERIFY), Relaying(reader, 1000))
    assert (answer.outcome, reader.sent) == (RelayOutcome.READER_FAULT, [])


@pytest.mark.parametrize("template", ["00D6000000", "0088000000", "00A4040000", "0020000001", "00"])
async def test_a_pin_for_another_command_is_not_even_asked_for(template: str) -> None:
    reader, holder = Agreeable(), Holder("123456")
    step = CardStep(bytes.fromhex(template), (0x9000,), pins=(CURRENT,))
    answer = await relayed(relay(step), Relaying(reader, 1000, pin_entry=holder))
    assert (answer.outcome, reader.sent, holder.asked) == (RelayOutcome.READER_FAULT, [], [])


@pytest.mark.parametrize("typed", [None, "12", "abcdef", "1234567890123"])
async def test_without_a_pin_the_batch_ends_at_its_step(typed: str | None) -> None:
    reader = Agreeable()
    select = CardStep(bytes.fromhex("00A40000023F00"), (0x9000,))
    answer = await relayed(
        relay(select, VERIFY, select), Relaying(reader, 1000, pin_entry=Holder(typed))
    )
    assert answer.outcome is RelayOutcome.UNEXPECTED_STATUS
    assert answer.answers == (b"\x90\x00", b"")
    assert reader.sent == ["00A40000023F00"]


async def test_a_holder_who_takes_too_long_gave_none() -> None:
    async def never(_request: PINRequest) -> str | None:
        await asyncio.Event().wait()
        return None

    reader = Agreeable()
    answer = await relayed(
        relay(VERIFY, time_left_ms=PIN_MARGIN_MS + 50), Relaying(reader, 1000, pin_entry=never)
    )
    assert (answer.outcome, answer.answers) == (RelayOutcome.UNEXPECTED_STATUS, (b"",))
    assert reader.sent == []
