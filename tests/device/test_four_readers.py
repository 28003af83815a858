"""Cards of four profiles in four readers, moved at random: none is lost, none is mixed up."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import pytest

from cardserver.cards.attached_reader import AttachedReader
from cardserver.cards.file_keystore import FileKeyStore
from cardserver.cards.opening import OpenedCard
from cardserver.cards.refusals import CardRefusal
from cardserver.cards.refusals import CardRefusalReason as Reason
from cardserver.cards.trust_anchors import TrustAnchors, load_trust_anchors
from cardserver.registry.values import Card, CardNumber, CardState
from protocol.card.profiles import social_security_card as ssc
from protocol.card.profiles.social_security_keys import Algorithm
from simulators.card import taiwan_nhi, thai_nhso
from simulators.card.egk import SimulatedEGK
from simulators.card.egk_print import FICTITIOUS_EGK, CardAuthority, print_egk
from simulators.card.simulated_card import PoweredCard
from simulators.card.social_security_card import (
    ALGORITHM_NAMES,
    FICTITIOUS,
    CardData,
    RootKeys,
    print_card,
)
from simulators.card.virtual_reader import VirtualReaderCard
from simulators.pcscd import PCSCDError, VirtualReader, virtual_reader
from terminals.readers.pcsc import PCSCReader, reader_names

READERS_COUNT = 4
LAST_READS_S = 15
GONE = frozenset({Reason.CARD_REMOVED, Reason.CARD_READER_FAULT})


@dataclass(frozen=True, slots=True)
class Sample:
    """A card of one profile, and what the centre's registry holds of it.

    A profile joins the test by another entry in `samples`.
    """

    row: Card
    make: Callable[[], PoweredCard]

    @property
    def number(self) -> str:
        return str(self.row.card_number)


@dataclass(slots=True)
class Slot:
    """One reader, what is in it as the hand knows that moves cards, and what was read."""

    name: str
    port: int
    number: str = ""
    visits_count: int = 0
    gone_count: int = 0
    reads: Counter[str] = field(default_factory=Counter)


class Registry:
    """The cards of this test."""

    def __init__(self, samples: tuple[Sample, ...]) -> None:
        self._cards = {
            (each.row.profile, each.row.region, each.row.identity): each.row for each in samples
        }

    async def card_by_identity(self, profile: str, region: str, identity: bytes) -> Card | None:
        return self._cards.get((profile, region, identity))


def social_security_sample(keys: Path, number: int, version: str, algorithm: Algorithm) -> Sample:
    serial = number.to_bytes(4, "big")
    data: CardData = replace(
        FICTITIOUS,
        historical=FICTITIOUS.historical[:9] + serial,
        version=version,
        algorithm=algorithm,
        card_number=f"X{number:08d}",
        card_no=number,
    )
    return Sample(
        Card(
            card_no=number,
            profile=ssc.PROFILE,
            identity=data.identity,
            region=data.region,
            card_number=CardNumber(data.card_number),
            card_id=data.card_id,
            person_no=number,
            version=data.version,
            algorithm=int(data.algorithm),
            card_class=data.card_class,
            issuer=data.issuer,
            begins=data.begins,
            ends=data.ends,
            state=CardState.VALID,
        ),
        lambda: print_card(data, RootKeys.read(keys, algorithm)),
    )


def sample_of_row(row: dict[str, str], make: Callable[[], PoweredCard]) -> Sample:
    return Sample(
        Card(
            card_no=int(row["card_no"]),
            profile=row["profile"],
            identity=bytes.fromhex(row["identity"]),
            region=row["region"],
            card_number=CardNumber(row["card_number"]),
            card_id=bytes.fromhex(row["card_id"]),
            person_no=int(row["person_no"]),
            version=row["version"],
            algorithm=int(row["algorithm"]),
            card_class=row["card_class"],
            issuer=bytes.fromhex(row["issuer"]),
            begins=int(row["begins"]),
            ends=int(row["ends"]),
            state=CardState.VALID,
        ),
        make,
    )


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    for usage in ("IRK", "RKSSSE"):
        for algorithm in (Algorithm.TRIPLE_DES, Algorithm.SM4):
            path = tmp_path / f"{usage}.{ALGORITHM_NAMES[algorithm]}.1.key"
            path.touch(mode=0o600)
            path.write_bytes(os.urandom(16))
    return tmp_path


@dataclass(frozen=True, slots=True)
class Judge:
    """What the centre judges the cards by."""

    cards: Registry
    keys: FileKeyStore
    anchors: TrustAnchors

    def reader(self, pcsc: PCSCReader) -> AttachedReader:
        return AttachedReader(
            pcsc,
            keys=self.keys,
            cards=self.cards,
            issuers=(),
            random_bytes=os.urandom,
            anchors=self.anchors,
        )


@pytest.fixture
def authority() -> CardAuthority:
    return CardAuthority(os.urandom)


@pytest.fixture
def samples(keys: Path, authority: CardAuthority) -> tuple[Sample, ...]:
    """A card of each profile; the first takes two round trips."""
    image = print_egk(FICTITIOUS_EGK, authority)
    return (
        social_security_sample(keys, 1, "3.00", Algorithm.SM4),
        sample_of_row(
            FICTITIOUS_EGK.registry_row(card_no=2, person_no=2), lambda: SimulatedEGK(image)
        ),
        sample_of_row(
            taiwan_nhi.FICTITIOUS.registry_row(card_no=3, person_no=3),
            lambda: taiwan_nhi.TaiwanNHICard(taiwan_nhi.FICTITIOUS),
        ),
        sample_of_row(
            thai_nhso.FICTITIOUS.registry_row(card_no=4, person_no=4),
            lambda: thai_nhso.ThaiNHSOCard(thai_nhso.FICTITIOUS),
        ),
    )


@pytest.fixture
def judge(
    samples: tuple[Sample, ...],
    keys: Path,
    authority: CardAuthority,
    keystore_of: Callable[[Path], FileKeyStore],
) -> Judge:
    anchors = keys / "anchors"
    anchors.mkdir()
    (anchors / "root.cvc").write_bytes(authority.root.encode())
    return Judge(Registry(samples), keystore_of(keys), load_trust_anchors(anchors))


@pytest.fixture
def four() -> Iterator[VirtualReader]:
    with virtual_reader(slots_min=READERS_COUNT) as reader:
        yield reader


@pytest.mark.parametrize("seconds", [15, pytest.param(60, marks=pytest.mark.long)])
async def test_four_readers_lose_and_mix_up_nothing(
    four: VirtualReader, samples: tuple[Sample, ...], judge: Judge, seconds: int
) -> None:
    random = Random(20261121)
    slots = [Slot(name, port) for name, port in zip(four.slots, four.ports, strict=True)][
        :READERS_COUNT
    ]
    hand: asyncio.Queue[Sample] = asyncio.Queue()
    for sample in samples:
        hand.put_nowait(sample)
    ends = time.monotonic() + seconds
    async with asyncio.TaskGroup() as tasks:
        for slot in slots:
            tasks.create_task(move_cards(slot, hand, Random(random.random()), ends))
            tasks.create_task(read_again_and_again(slot, judge, ends))
    assert set(four.slots) <= set(reader_names())
    for slot in slots:
        assert slot.visits_count >= seconds // 8, slot
        assert sum(slot.reads.values()) >= seconds, slot
        assert slot.gone_count, "no card was pulled under a reading"
        # Whatever was done to it, a reader that is left alone reads what is in it.
        await last_reading(slot, samples[slots.index(slot)], judge)
    assert sum((slot.reads for slot in slots), Counter()).keys() == {
        sample.number for sample in samples
    }


async def move_cards(slot: Slot, hand: asyncio.Queue[Sample], random: Random, ends: float) -> None:
    """Take some card, put it in, leave it a while, pull it whatever the reader is about."""
    while time.monotonic() < ends:
        sample = hand.get_nowait()
        inserted = VirtualReaderCard(sample.make(), slot.port)
        slot.number = sample.number
        await asyncio.to_thread(inserted.insert)
        await asyncio.sleep(random.uniform(0.05, 1.5))
        await asyncio.to_thread(inserted.remove)
        slot.number = ""
        slot.visits_count += 1
        hand.put_nowait(sample)
        await asyncio.sleep(random.uniform(0, 0.3))


async def read_again_and_again(slot: Slot, judge: Judge, ends: float) -> None:
    """Read what is in: it must be the card that the hand put in, or gone."""
    async with PCSCReader(slot.name) as pcsc:
        reader = judge.reader(pcsc)
        while time.monotonic() < ends:
            number = slot.number
            opened = await reader.open(today=20261121, wants_holder=True)
            if isinstance(opened, OpenedCard):
                read = str(opened.card.card_number)
                assert read in {number, slot.number}, f"{slot.name} holds {number}, read {read}"
                slot.reads[read] += 1
            else:
                assert opened.reason in GONE, opened
                slot.gone_count += 1
                await asyncio.sleep(0.02)


async def last_reading(slot: Slot, sample: Sample, judge: Judge) -> None:
    opened: OpenedCard | CardRefusal | None = None
    async with (
        VirtualReaderCard(sample.make(), slot.port),
        PCSCReader(slot.name) as pcsc,
        asyncio.timeout(LAST_READS_S),
    ):
        reader = judge.reader(pcsc)
        while not isinstance(opened, OpenedCard):
            opened = await reader.open(today=20261121, wants_holder=True)
            await asyncio.sleep(0.02)
    assert str(opened.card.card_number) == sample.number


async def test_more_slots_than_the_service_has_are_asked_for_in_vain(four: VirtualReader) -> None:
    assert len(four.slots) >= READERS_COUNT
    with (
        pytest.raises(PCSCDError, match="virtual slots"),
        virtual_reader(takes_turn=False, slots_min=8),
    ):
        raise AssertionError("a service that runs gets no slots more")
