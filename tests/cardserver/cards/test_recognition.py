"""Which card is it: by ATR, or by the first application that lets itself be selected."""

from dataclasses import replace
from typing import Any

import pytest

from cardserver.cards.attached_reader import AttachedReader
from cardserver.cards.opening import OpenedCard
from cardserver.cards.refusals import CardRefusal
from cardserver.cards.refusals import CardRefusalReason as Reason
from cardserver.cards.visit import FirstAnswers
from cardserver.registry.values import Card, CardNumber, CardState
from protocol.card.catalogue import PROFILES, find_opening
from protocol.card.profiles import taiwan_nhi as nhi
from protocol.card.script import Batch
from simulators.card import taiwan_nhi, thai_nhso
from simulators.card.faults import RemovedCard
from simulators.card.social_security_card import print_card
from simulators.card.taiwan_nhi import TaiwanNHICard
from simulators.card.thai_nhso import ATR_OLD, ThaiNHSOCard
from terminals.readers.channel import BatchAnswers, BatchOutcome, run_batch

UNKNOWN_ATR = bytes.fromhex("3B6500002063CB6600")
NAMES = [profile.name for profile in PROFILES]


def before(name: str) -> int:
    """How many profiles are asked for before this one."""
    return NAMES.index(name)


def register(registry: Any, data: Any) -> None:
    row = data.registry_row(card_no=8, person_no=2)
    registry.cards[row["profile"], "", data.identity] = Card(
        8, row["profile"], data.identity, "", CardNumber(row["card_number"]),
        bytes.fromhex(row["card_id"]), 2, row["version"], 0, "3", bytes(12), int(row["begins"]),
        int(row["ends"]), CardState.VALID,
    )  # fmt: skip


class Relay:
    """Runs batches on a card, and counts them."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self.batches: list[Batch] = []

    async def run(self, batch: Batch) -> BatchAnswers:
        self.batches.append(batch)
        return run_batch(self.channel, batch, b"")


class Lying:
    """A relay that says what it likes."""

    def __init__(self, *said: BatchAnswers) -> None:
        self.said = list(said)

    async def run(self, _batch: Batch) -> BatchAnswers:
        return self.said.pop(0)


def nothing_sent(atr: bytes) -> FirstAnswers:
    return FirstAnswers(atr, 0, bytes(range(32)), (), BatchOutcome.COMPLETED)


@pytest.mark.parametrize(
    ("card", "profile", "commands"),
    [
        (TaiwanNHICard(replace(taiwan_nhi.FICTITIOUS, atr=UNKNOWN_ATR)), "taiwan_nhi", 2),
        (ThaiNHSOCard(replace(thai_nhso.FICTITIOUS, atr=UNKNOWN_ATR)), "thai_nhso", 36),
        (ThaiNHSOCard(replace(thai_nhso.FICTITIOUS, atr=ATR_OLD)), "thai_nhso", 36),
    ],
    ids=["taiwan_nhi", "thai_nhso", "thai_nhso with the other GET RESPONSE"],
)
async def test_a_known_application_behind_an_unknown_atr_is_found(
    counter: Any, registry: Any, card: Any, profile: str, commands: int
) -> None:
    """It takes one round trip and one refused SELECT a profile more than with its ATR known."""
    assert find_opening(card.atr) is None
    register(registry, taiwan_nhi.FICTITIOUS)
    register(registry, thai_nhso.FICTITIOUS)
    relay = Relay(card)
    opened = await counter.open(card, first=nothing_sent(card.atr), relay=relay)
    assert isinstance(opened, OpenedCard), opened
    assert opened.card.profile == profile
    assert opened.round_trips == len(relay.batches) == 2
    assert card.commands_count == before(profile) + commands


async def test_a_social_security_card_behind_an_unknown_atr_is_found_and_proven(
    counter: Any, registry: Any, roots: Any, data: Any
) -> None:
    registry.register(data)
    plain = print_card(data, roots[data.algorithm])
    counter.first_answers(plain)
    card = print_card(data, roots[data.algorithm])
    # The same historical bytes behind other interface bytes.
    atr = bytes.fromhex("3B7D940000") + data.historical
    opened = await counter.open(card, first=nothing_sent(atr))
    assert isinstance(opened, OpenedCard), opened
    assert (opened.card.card_number, opened.proof) == (data.card_number, 2)
    assert opened.holder_name == "张三"
    assert opened.round_trips == 2
    assert card.commands_count == plain.commands_count


async def test_an_atr_that_another_card_type_has_too_does_not_mislead(
    counter: Any, registry: Any
) -> None:
    """Two of Taiwan's ATRs name the chip's platform only."""
    data = replace(thai_nhso.FICTITIOUS, atr=nhi.ATRS[1])
    register(registry, data)
    card = ThaiNHSOCard(data)
    opening = find_opening(card.atr)
    assert opening is not None
    assert opening.profile == "taiwan_nhi"
    ran = run_batch(card, opening.batch, b"")
    assert (ran.outcome, card.commands_count) == (BatchOutcome.UNEXPECTED_STATUS, 1)
    first = FirstAnswers(card.atr, opening.number, bytes(32), ran.answers, ran.outcome)
    opened = await counter.open(card, first=first)
    assert isinstance(opened, OpenedCard), opened
    assert opened.card.profile == "thai_nhso"
    assert opened.round_trips == 3
    # The one of Taiwan's is not asked for twice.
    assert card.commands_count == 1 + (before("thai_nhso") - 1) + 36


async def test_the_same_where_the_centre_runs_the_opening(counter: Any, registry: Any) -> None:
    data = replace(thai_nhso.FICTITIOUS, atr=nhi.ATRS[2])
    register(registry, data)
    card = ThaiNHSOCard(data)
    opened = await counter.open(card, first=nothing_sent(card.atr))
    assert isinstance(opened, OpenedCard), opened
    assert (opened.card.profile, opened.round_trips) == ("thai_nhso", 3)


class BankCard:
    """A card without any application that is asked for."""

    atr = UNKNOWN_ATR

    def __init__(self, word: int = 0x6A82) -> None:
        self.commands_count = 0
        self._word = word

    def transmit(self, _command: bytes) -> bytes:
        self.commands_count += 1
        return self._word.to_bytes(2, "big")


async def test_a_card_without_known_application_is_unknown(counter: Any) -> None:
    card = BankCard()
    refusal = await counter.open(card, first=nothing_sent(card.atr))
    assert isinstance(refusal, CardRefusal)
    assert refusal.reason is Reason.CARD_UNKNOWN
    assert refusal.detail_en == f"ATR {UNKNOWN_ATR.hex().upper()}"
    assert card.commands_count == len(PROFILES)


async def test_what_no_card_says_of_an_absent_application_ends_the_probe(counter: Any) -> None:
    card = BankCard(0x6F00)
    refusal = await counter.open(card, first=nothing_sent(card.atr))
    assert refusal.reason is Reason.CARD_UNEXPECTED_STATUS
    assert card.commands_count == 1


@pytest.mark.parametrize("after", range(3))
async def test_a_card_pulled_while_it_is_asked_is_refused(
    counter: Any, registry: Any, after: int
) -> None:
    data = replace(taiwan_nhi.FICTITIOUS, atr=UNKNOWN_ATR)
    register(registry, data)
    card = RemovedCard(TaiwanNHICard(data), after)
    refusal = await counter.open(card, first=nothing_sent(card.atr))
    assert refusal.reason is Reason.CARD_REMOVED


ABSENT = b"\x6a\x82"
OK = b"\x90\x00"


@pytest.mark.parametrize(
    ("outcome", "answers"),
    [
        (BatchOutcome.COMPLETED, ()),
        (BatchOutcome.COMPLETED, (OK,) * len(PROFILES)),
        (BatchOutcome.COMPLETED, (ABSENT,) * (len(PROFILES) + 1)),
        (BatchOutcome.UNEXPECTED_STATUS, ()),
        (BatchOutcome.UNEXPECTED_STATUS, (ABSENT,) * len(PROFILES) + (OK,)),
        (BatchOutcome.UNEXPECTED_STATUS, (OK, OK)),
    ],
)
async def test_a_relay_that_answers_what_was_not_asked_is_refused(
    counter: Any, outcome: BatchOutcome, answers: tuple[bytes, ...]
) -> None:
    relay = Lying(BatchAnswers(outcome, answers, 1))
    refusal = await counter.open(BankCard(), first=nothing_sent(UNKNOWN_ATR), relay=relay)
    assert isinstance(refusal, CardRefusal)
    assert refusal.reason is Reason.CARD_RELAY_VIOLATION


async def test_another_card_half_way_is_refused(
    counter: Any, registry: Any, roots: Any, data: Any
) -> None:
    """The application is found on one card, the opening answered by another."""
    registry.register(data)
    register(registry, taiwan_nhi.FICTITIOUS)
    other = TaiwanNHICard(taiwan_nhi.FICTITIOUS)

    class Swapping(Relay):
        async def run(self, batch: Batch) -> BatchAnswers:
            ran = await super().run(batch)
            self.channel = other
            return ran

    genuine = print_card(data, roots[data.algorithm])
    atr = bytes.fromhex("3B7D940000") + data.historical
    refusal = await counter.open(genuine, first=nothing_sent(atr), relay=Swapping(genuine))
    assert isinstance(refusal, CardRefusal)
    assert refusal.reason is Reason.CARD_UNEXPECTED_STATUS


async def test_a_reader_at_the_centre_finds_it_too(counter: Any, registry: Any) -> None:
    class Local:
        async def connect(self) -> bytes:
            card.reset()
            return card.atr

        async def run_batch(self, batch: Any, challenge: bytes) -> BatchAnswers:
            return run_batch(card, batch, challenge)

        async def disconnect(self) -> None:
            card.reset()

    register(registry, thai_nhso.FICTITIOUS)
    card = ThaiNHSOCard(replace(thai_nhso.FICTITIOUS, atr=ATR_OLD))
    reader = AttachedReader(
        Local(),
        keys=counter.keys,
        cards=registry,
        issuers=(),
        random_bytes=counter.random.randbytes,
    )
    opened = await reader.open(today=20261121, wants_holder=True)
    assert isinstance(opened, OpenedCard), opened
    assert (opened.card.profile, opened.proof, opened.round_trips) == ("thai_nhso", 1, 2)


async def test_whatever_a_relay_says_is_a_refusal_or_the_registered_card(
    counter: Any, registry: Any
) -> None:
    """Random words, random lengths, real answers in wrong places: bounded, and no other end."""
    register(registry, taiwan_nhi.FICTITIOUS)
    register(registry, thai_nhso.FICTITIOUS)
    real = [
        answer
        for card in (TaiwanNHICard(taiwan_nhi.FICTITIOUS), ThaiNHSOCard(thai_nhso.FICTITIOUS))
        for answer in run_batch(card, _opening_batch(card.atr), b"").answers
    ]
    draw = counter.random

    class Random:
        runs = 0

        async def run(self, batch: Batch) -> BatchAnswers:
            self.runs += 1
            answers = tuple(
                draw.choice((ABSENT, OK, draw.choice(real), draw.randbytes(draw.randrange(70))))
                for _ in range(draw.choice((len(batch), draw.randrange(20))))
            )
            return BatchAnswers(draw.choice(list(BatchOutcome)), answers, 1)

    for _ in range(2_000):
        relay = Random()
        opened = await counter.open(None, first=nothing_sent(UNKNOWN_ATR), relay=relay)
        assert relay.runs <= 3
        assert isinstance(opened, CardRefusal) or opened.proof == 1


def _opening_batch(atr: bytes) -> Batch:
    opening = find_opening(atr)
    assert opening is not None
    return opening.batch
