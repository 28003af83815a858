"""A German health card behind the real pcscd, in a contact reader and on a contactless one."""

import asyncio
from random import Random
from typing import Any

import pytest

from protocol.card.catalogue import find_opening
from protocol.card.profiles import egk
from simulators.card.egk import SimulatedEGK
from simulators.card.egk_print import FICTITIOUS_EGK, CardAuthority, print_egk
from simulators.card.virtual_reader import VirtualReaderCard
from terminals.readers.channel import BatchAnswers, BatchOutcome, CardRemovedError, ReaderError
from terminals.readers.pcsc import PCSCReader

IMAGE = print_egk(FICTITIOUS_EGK, CardAuthority(Random(1).randbytes), Random(2).randbytes)


async def _run(reader: PCSCReader) -> BatchAnswers:
    async with asyncio.timeout(10):
        while True:
            try:
                atr = await reader.connect()
            except CardRemovedError:
                await asyncio.sleep(0.02)
                continue
            opening = find_opening(atr)
            assert opening is not None
            assert opening.profile == "egk"
            return await reader.run_batch(opening.batch, bytes(range(32)))


def _opened(ran: BatchAnswers) -> egk.OpenedEGK:
    assert ran.outcome is BatchOutcome.COMPLETED
    script = egk.open_card()
    next(script)
    with pytest.raises(StopIteration) as stop:
        script.send(ran.answers)
    file: egk.OpenedEGK = stop.value.value
    return file


async def test_a_card_in_a_contact_reader_is_read(slots: Any) -> None:
    card = SimulatedEGK(IMAGE)
    async with VirtualReaderCard(card), PCSCReader(slots[0]) as reader:
        assert _opened(await _run(reader)).personal.name == "Erika Mustermann"
    assert card.commands_count == 16


async def test_a_card_on_a_contactless_reader_is_read_with_its_number(slots: Any) -> None:
    card = SimulatedEGK(IMAGE, is_contactless=True)
    async with VirtualReaderCard(card), PCSCReader(slots[0], can="123123") as reader:
        for _ in range(2):  # a new connection opens a new channel
            assert _opened(await _run(reader)).personal.name == "Erika Mustermann"
            await reader.disconnect()


async def test_another_number_is_a_readers_fault(slots: Any) -> None:
    card = SimulatedEGK(IMAGE, is_contactless=True)
    async with VirtualReaderCard(card), PCSCReader(slots[0], can="123124") as reader:
        with pytest.raises(ReaderError, match="secure channel"):
            await _run(reader)
