"""Simulated cards behind the real pcscd, read through PC/SC as any card is."""

import asyncio
import contextlib
import statistics
import threading
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cardserver.cards.opening import OpenedCard, open_card
from cardserver.cards.visit import FirstAnswers
from cardserver.registry.values import Card, CardNumber, CardState
from protocol.card.catalogue import find_opening
from protocol.card.profiles import social_security_card as ssc
from protocol.card.profiles.social_security_keys import Algorithm
from protocol.card.script import Batch, Step
from simulators.card.faults import RemovedCard, RewritingCard, SlowCard
from simulators.card.social_security_card import (
    ALGORITHM_NAMES,
    FICTITIOUS,
    CardData,
    RootKeys,
    print_card,
)
from simulators.card.virtual_reader import VirtualReaderCard
from simulators.pcscd import PORT, virtual_reader
from terminals.readers.channel import (
    BatchAnswers,
    BatchOutcome,
    CardRemovedError,
    ReaderError,
    run_batch,
)
from terminals.readers.pcsc import PCSCChannel, PCSCReader, ReaderEvent, list_readers, watch

CHALLENGE = bytes(range(32))
GET_CHALLENGE: Batch = (Step(ssc.get_challenge(), (0x9000,)),)


class LocalReader:
    """A reader attached to the centre, as `open_card` runs batches on it."""

    def __init__(self, reader: PCSCReader) -> None:
        self._reader = reader

    async def run(self, batch: Batch) -> BatchAnswers:
        return await self._reader.run_batch(batch, b"")


class OneCard:
    """A registry of one card."""

    def __init__(self, data: CardData) -> None:
        self._card = Card(
            card_no=1,
            profile=ssc.PROFILE,
            identity=data.identity,
            region=data.region,
            card_number=CardNumber(data.card_number),
            card_id=data.card_id,
            person_no=1,
            version=data.version,
            algorithm=int(data.algorithm),
            card_class=data.card_class,
            issuer=data.issuer,
            begins=data.begins,
            ends=data.ends,
            state=CardState.VALID,
        )

    async def card_by_identity(self, _profile: str, region: str, identity: bytes) -> Card | None:
        card = self._card
        return card if (card.region, card.identity) == (region, identity) else None


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    for usage in ("IRK", "RKSSSE"):
        for algorithm in ("3des", "sm4"):
            path = tmp_path / f"{usage}.{algorithm}.1.key"
            path.write_bytes(Random(f"{usage}{algorithm}").randbytes(16))
            path.chmod(0o600)
    return tmp_path


@pytest.mark.parametrize("algorithm", [Algorithm.TRIPLE_DES, Algorithm.SM4])
@pytest.mark.parametrize("version", ["1.00", "2.00", "3.00"])
async def test_a_card_is_verified_through_a_real_reader(
    slots: Any, connect: Any, keys: Path, keystore_of: Any, version: str, algorithm: Algorithm
) -> None:
    assert algorithm in ALGORITHM_NAMES
    data = replace(FICTITIOUS, version=version, algorithm=algorithm)
    simulated = print_card(data, RootKeys.read(keys, algorithm))
    async with VirtualReaderCard(simulated), PCSCReader(slots[0]) as reader:
        atr = await connect(reader)
        opening = find_opening(atr)
        assert opening is not None
        ran = await reader.run_batch(opening.batch, CHALLENGE)
        opened = await open_card(
            first=FirstAnswers(
                atr, opening.number, CHALLENGE, ran.answers, ran.outcome, ran.card_time_us
            ),
            runner=LocalReader(reader),
            keys=keystore_of(keys),
            cards=OneCard(data),
            issuers=(),
            today=20261121,
            wants_holder=True,
        )
    assert isinstance(opened, OpenedCard), opened
    assert opened.holder_name == "张三"
    assert opened.round_trips == (2 if version == "3.00" else 1)
    assert opened.card_time_us > 0


async def test_the_same_script_gets_the_same_answers_in_process_and_through_pcscd(
    slots: Any, connect: Any, keys: Path
) -> None:
    roots = RootKeys.read(keys, Algorithm.SM4)
    data = replace(FICTITIOUS, version="3.00", algorithm=Algorithm.SM4)
    near = run_batch(print_card(data, roots, Random(1).randbytes), ssc.OPENING, CHALLENGE)
    far_card = print_card(data, roots, Random(1).randbytes)
    async with VirtualReaderCard(far_card), PCSCReader(slots[0]) as reader:
        await connect(reader)
        far = await reader.run_batch(ssc.OPENING, CHALLENGE)
    assert far.outcome is BatchOutcome.COMPLETED
    assert far.answers == near.answers


async def test_cards_that_come_and_go_are_told(slots: Any) -> None:
    card = print_card(FICTITIOUS, RootKeys.draw())
    seen: asyncio.Queue[ReaderEvent] = asyncio.Queue()

    async def listen() -> None:
        async with contextlib.aclosing(watch()) as events:
            async for event in events:
                if event.reader == slots[0]:
                    seen.put_nowait(event)

    async with asyncio.timeout(20):
        listening = asyncio.create_task(listen())
        assert await seen.get() == ReaderEvent(slots[0], is_present=False, atr=b"")
        for _ in range(2):
            async with VirtualReaderCard(card):
                assert await seen.get() == ReaderEvent(slots[0], is_present=True, atr=card.atr)
            assert await seen.get() == ReaderEvent(slots[0], is_present=False, atr=b"")
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening


async def test_a_watch_ends_its_thread(slots: Any) -> None:
    async with asyncio.timeout(10):
        async with contextlib.aclosing(watch()) as events:
            event = await anext(events)
            assert event.reader in slots
        for thread in threading.enumerate():
            if thread.name == "reader watch":
                await asyncio.to_thread(thread.join)


async def test_a_watch_outlives_the_service() -> None:
    """Where pcscd runs already we may not stop it, and see only that the watch goes on."""
    card = print_card(FICTITIOUS, RootKeys.draw())
    async with asyncio.timeout(60), contextlib.aclosing(watch()) as events:

        async def wait_for(event: ReaderEvent) -> None:
            async for seen in events:
                if seen == event:
                    return

        for _ in range(2):
            with virtual_reader() as service:
                slot = service.slots[0]
                async with VirtualReaderCard(card):
                    await wait_for(ReaderEvent(slot, is_present=True, atr=card.atr))
            await wait_for(ReaderEvent(slot, is_present=False, atr=b""))


async def test_a_card_that_is_in_already_is_told_first(slots: Any, connect: Any) -> None:
    card = print_card(FICTITIOUS, RootKeys.draw())
    async with VirtualReaderCard(card), PCSCReader(slots[0]) as reader:
        await connect(reader)
        async with asyncio.timeout(10), contextlib.aclosing(watch()) as events:
            assert await anext(events) == ReaderEvent(slots[0], is_present=True, atr=card.atr)


@pytest.mark.parametrize("commands", [0, 3, 12])
async def test_a_card_pulled_half_way_is_removed(slots: Any, connect: Any, commands: int) -> None:
    pulled = RemovedCard(print_card(FICTITIOUS, RootKeys.draw()), commands)
    async with VirtualReaderCard(pulled) as inserted, PCSCReader(slots[0]) as reader:
        await connect(reader)
        ran = await reader.run_batch(ssc.OPENING, CHALLENGE)
        assert ran.outcome is BatchOutcome.CARD_REMOVED
        assert len(ran.answers) <= commands
        again = await reader.run_batch(GET_CHALLENGE, b"")
        assert again.outcome is BatchOutcome.CARD_REMOVED
        assert not inserted.is_inserted


async def test_a_card_pulled_and_put_back_is_another_visit(slots: Any, connect: Any) -> None:
    card = print_card(FICTITIOUS, RootKeys.draw())
    async with PCSCReader(slots[0]) as reader:
        async with VirtualReaderCard(card):
            await connect(reader)
            assert (await reader.run_batch(ssc.OPENING, CHALLENGE)).outcome == 0
        async with VirtualReaderCard(card):
            stale = await reader.run_batch(GET_CHALLENGE, b"")
            assert stale.outcome is not BatchOutcome.COMPLETED
            await connect(reader)
            assert (await reader.run_batch(ssc.OPENING, CHALLENGE)).outcome == 0


async def test_cards_swapped_at_once_are_two_cards(slots: Any, connect: Any) -> None:
    """A reader that polls takes a card put in too soon for the one before."""
    async with PCSCReader(slots[0]) as reader:
        for index in range(3):
            data = replace(FICTITIOUS, historical=bytes([index]) * 13)
            async with VirtualReaderCard(print_card(data, RootKeys.draw())):
                assert await connect(reader) == data.atr


async def test_what_was_proven_to_a_card_does_not_outlast_the_connection(
    slots: Any, connect: Any
) -> None:
    card = print_card(replace(FICTITIOUS, pin="123456"), RootKeys.draw())
    verify = (
        Step(ssc.select_ssse(), (0x9000,)),
        Step(bytes.fromhex("0020000003123456"), (0x9000,)),
    )
    probe = (Step(ssc.select_ssse(), (0x9000,)), Step(ssc.probe_pin(), (0x63C6,)))
    async with VirtualReaderCard(card), PCSCReader(slots[0]) as reader:
        await connect(reader)
        assert (await reader.run_batch(verify, b"")).outcome is BatchOutcome.COMPLETED
        await reader.disconnect()
        await connect(reader)
        assert (await reader.run_batch(probe, b"")).outcome is BatchOutcome.COMPLETED


async def test_a_reader_without_card_says_so(slots: Any) -> None:
    async with PCSCReader(slots[0]) as reader:
        with pytest.raises(CardRemovedError, match="no card"):
            await reader.connect()
        with pytest.raises(ReaderError, match="not connected"):
            await reader.run_batch(GET_CHALLENGE, b"")


async def test_an_unknown_reader_says_so(slots: Any) -> None:
    assert slots
    async with PCSCReader("No such reader") as reader:
        with pytest.raises(ReaderError, match="No such reader"):
            await reader.connect()


async def test_a_card_is_held_by_one_program(slots: Any, connect: Any) -> None:
    card = print_card(FICTITIOUS, RootKeys.draw())
    async with VirtualReaderCard(card), PCSCReader(slots[0]) as reader:
        await connect(reader)
        async with PCSCReader(slots[0]) as other:
            with pytest.raises(ReaderError, match="another program holds the card"):
                await other.connect()


async def test_both_slots_hold_cards_at_once(slots: Any, connect: Any) -> None:
    assert set(slots) <= set(await list_readers())
    cards = [
        print_card(replace(FICTITIOUS, historical=bytes([index]) * 13), RootKeys.draw())
        for index in (1, 2)
    ]
    async with (
        VirtualReaderCard(cards[0], PORT),
        VirtualReaderCard(cards[1], PORT + 1),
        PCSCReader(slots[0]) as first,
        PCSCReader(slots[1]) as second,
    ):
        assert [await connect(first), await connect(second)] == [card.atr for card in cards]
        both = await asyncio.gather(
            first.run_batch(ssc.OPENING, CHALLENGE), second.run_batch(ssc.OPENING, CHALLENGE)
        )
    assert [each.outcome for each in both] == [BatchOutcome.COMPLETED] * 2


async def test_a_slot_holds_one_card(slots: Any) -> None:
    assert slots
    cards = [print_card(FICTITIOUS, RootKeys.draw()) for _ in range(2)]
    async with VirtualReaderCard(cards[0]):
        with pytest.raises(ReaderError, match="holds another card"):
            await asyncio.to_thread(VirtualReaderCard(cards[1], PORT, 1_000).insert)


async def test_a_command_takes_no_acknowledgement_delay(slots: Any, connect: Any) -> None:
    """A lost TCP_QUICKACK costs 40 ms a command; a loaded machine costs less than 20."""
    card = print_card(FICTITIOUS, RootKeys.draw())
    async with VirtualReaderCard(card), PCSCReader(slots[0]) as reader:
        await connect(reader)
        times = [(await reader.run_batch(GET_CHALLENGE, b"")).card_time_us for _ in range(100)]
    assert statistics.median(times) < 20_000


async def test_a_malformed_answer_of_a_card_is_a_reader_fault(slots: Any, connect: Any) -> None:
    mute = RewritingCard(print_card(FICTITIOUS, RootKeys.draw()), {b"\x90\x00": b"\x90"})
    async with VirtualReaderCard(mute), PCSCReader(slots[0]) as reader:
        await connect(reader)
        batch = (Step(bytes.fromhex("00A40000023F00"), (0x9000,)),)
        ran = await reader.run_batch(batch, b"")
        assert ran.outcome is BatchOutcome.READER_FAULT


async def test_a_reader_that_does_not_come_back_is_given_up(slots: Any, connect: Any) -> None:
    slow = SlowCard(print_card(FICTITIOUS, RootKeys.draw()), 500)
    async with VirtualReaderCard(slow), PCSCReader(slots[0]) as reader:
        await connect(reader)
        with pytest.raises(ReaderError, match="no answer within 100 ms"):
            await reader.run_batch(GET_CHALLENGE, b"", timeout_ms=100)


async def test_the_card_in_the_given_reader_answers_its_opening(
    request: pytest.FixtureRequest,
) -> None:
    """With --reader on a real card, whose keys we don't have; else on a simulated one."""
    name = request.config.getoption("--reader", default=None)
    with contextlib.ExitStack() as stack:
        if name is None:
            name = request.getfixturevalue("slots")[0]
            stack.enter_context(VirtualReaderCard(print_card(FICTITIOUS, RootKeys.draw())))
            await request.getfixturevalue("connect")(reader := PCSCReader(name))
            await reader.close()
        channel = stack.enter_context(PCSCChannel(name))
        opening = find_opening(channel.atr)
        assert opening is not None, f"no profile knows the ATR {channel.atr.hex()}"
        ran = run_batch(channel, opening.batch, CHALLENGE)
        assert ran.outcome is BatchOutcome.COMPLETED, ran
