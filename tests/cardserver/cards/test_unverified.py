"""Cards that prove nothing: what their claims have to agree with, and what refuses them."""

from dataclasses import replace
from typing import Any

import pytest

from cardserver.cards.opening import OpenedCard
from cardserver.cards.refusals import CardRefusal
from cardserver.cards.refusals import CardRefusalReason as Reason
from cardserver.cards.visit import FirstAnswers
from cardserver.registry.values import Card, CardNumber, CardState
from protocol.card.catalogue import find_opening
from protocol.terminal.messages import PINState, ProofLevel
from simulators.card import taiwan_nhi, thai_nhso
from simulators.card.faults import RemovedCard, RewritingCard
from simulators.card.taiwan_nhi import TaiwanNHICard
from simulators.card.thai_nhso import ThaiNHSOCard
from terminals.readers.channel import BatchOutcome, run_batch

TAIWAN = taiwan_nhi.FICTITIOUS
THAI = thai_nhso.FICTITIOUS


def register(registry: Any, data: Any, **changes: object) -> Card:
    """Put the row that a card agrees with into the registry."""
    row = data.registry_row(card_no=8, person_no=2)
    card = Card(
        card_no=8,
        profile=row["profile"],
        identity=bytes.fromhex(row["identity"]),
        region=row["region"],
        card_number=CardNumber(row["card_number"]),
        card_id=bytes.fromhex(row["card_id"]),
        person_no=2,
        version=row["version"],
        algorithm=int(row["algorithm"]),
        card_class=row["card_class"],
        issuer=bytes.fromhex(row["issuer"]),
        begins=int(row["begins"]),
        ends=int(row["ends"]),
        state=CardState.VALID,
    )
    card = replace(card, **changes)
    registry.cards[card.profile, card.region, card.identity] = card
    return card


def first_of(channel: Any) -> FirstAnswers:
    """What a terminal sends along that has the opening batches in hand."""
    opening = find_opening(channel.atr)
    assert opening is not None
    ran = run_batch(channel, opening.batch, b"")
    return FirstAnswers(
        channel.atr, opening.number, bytes(32), ran.answers, ran.outcome, ran.card_time_us
    )


async def refused(counter: Any, channel: Any, **how: Any) -> Reason:
    refusal = await counter.open(channel, first=first_of(channel), **how)
    assert isinstance(refusal, CardRefusal), refusal
    return refusal.reason


CARDS = [(TAIWAN, TaiwanNHICard, "王小明"), (THAI, ThaiNHSOCard, "นายทดสอบ ตัวอย่าง")]


@pytest.mark.parametrize(("data", "make", "name"), CARDS, ids=["taiwan_nhi", "thai_nhso"])
async def test_a_card_opens_unverified_in_one_round_trip(
    counter: Any, registry: Any, data: Any, make: Any, name: str
) -> None:
    card = register(registry, data)
    channel = make(data)
    opened = await counter.open(channel, first=first_of(channel))
    assert isinstance(opened, OpenedCard), opened
    assert opened.card == card
    assert opened.proof == ProofLevel.UNVERIFIED_CARD
    assert (opened.pin_state, opened.pin_tries) == (PINState.NOT_REQUIRED, -1)
    assert (opened.holder_name, opened.birth_date) == (name, 19810101)
    assert (opened.round_trips, opened.external_authentications) == (1, 0)


@pytest.mark.parametrize(
    ("data", "make", "commands"),
    [(TAIWAN, TaiwanNHICard, 2), (THAI, ThaiNHSOCard, 36)],  # T=0: each of 18, and GET RESPONSE
    ids=["taiwan_nhi", "thai_nhso"],
)
def test_the_exchanges_are_counted(data: Any, make: Any, commands: int) -> None:
    channel = make(data)
    first_of(channel)
    assert channel.commands_count == commands


@pytest.mark.parametrize(
    ("data", "make", "registered", "reason"),
    [
        (TAIWAN, TaiwanNHICard, {"identity": b"888888888888"}, Reason.CARD_NOT_REGISTERED),
        (TAIWAN, TaiwanNHICard, {"profile": "thai_nhso"}, Reason.CARD_NOT_REGISTERED),
        (TAIWAN, TaiwanNHICard, {"card_id": b"A123456789"}, Reason.CARD_IDENTITY_MISMATCH),
        (TAIWAN, TaiwanNHICard, {"begins": 20150705}, Reason.CARD_IDENTITY_MISMATCH),
        (TAIWAN, TaiwanNHICard, {"card_number": "1"}, Reason.CARD_IDENTITY_MISMATCH),
        (TAIWAN, TaiwanNHICard, {"state": CardState.LOST}, Reason.CARD_REVOKED),
        (TAIWAN, TaiwanNHICard, {"ends": 20261120}, Reason.CARD_EXPIRED),
        (THAI, ThaiNHSOCard, {"identity": b"9999999999986"}, Reason.CARD_NOT_REGISTERED),
        (THAI, ThaiNHSOCard, {"begins": 20210101}, Reason.CARD_IDENTITY_MISMATCH),
        (THAI, ThaiNHSOCard, {"ends": 20310413}, Reason.CARD_IDENTITY_MISMATCH),
        (THAI, ThaiNHSOCard, {"state": CardState.REPLACED}, Reason.CARD_REVOKED),
        (THAI, ThaiNHSOCard, {"state": CardState.FROZEN}, Reason.CARD_REVOKED),
    ],
)
async def test_the_registry_decides(
    counter: Any, registry: Any, data: Any, make: Any, registered: dict[str, Any], reason: Reason
) -> None:
    register(registry, data, **registered)
    assert await refused(counter, make(data)) is reason


@pytest.mark.parametrize(
    ("data", "today", "reason"),
    [
        (THAI, 20310413, Reason.CARD_EXPIRED),
        (THAI, 20220412, Reason.CARD_NOT_YET_VALID),
        (TAIWAN, 20150703, Reason.CARD_NOT_YET_VALID),
    ],
)
async def test_validity_is_the_registrys(
    counter: Any, registry: Any, data: Any, today: int, reason: Reason
) -> None:
    register(registry, data)
    channel = TaiwanNHICard(data) if data is TAIWAN else ThaiNHSOCard(data)
    assert await refused(counter, channel, today=today) is reason


async def test_a_card_for_life_has_no_last_day(counter: Any, registry: Any) -> None:
    data = replace(THAI, expiry_date=99991231)
    register(registry, data)
    channel = ThaiNHSOCard(data)
    assert isinstance(await counter.open(channel, first=first_of(channel)), OpenedCard)


@pytest.mark.parametrize(
    ("channel", "wrong", "reason"),
    [
        # Another registered card's identity, the rest as it was.
        (TaiwanNHICard(TAIWAN), {b"9" * 12: b"8" * 12}, Reason.CARD_IDENTITY_MISMATCH),
        (ThaiNHSOCard(THAI), {b"9999999999994": b"9999999999986"}, Reason.CARD_IDENTITY_MISMATCH),
        # A digit that is no check digit of the rest.
        (TaiwanNHICard(TAIWAN), {b"Y199999998": b"Y199999999"}, Reason.CARD_DATA_MALFORMED),
        (ThaiNHSOCard(THAI), {b"9999999999994": b"9999999999995"}, Reason.CARD_DATA_MALFORMED),
        # No date, no calendar, too short.
        (TaiwanNHICard(TAIWAN), {b"0700101": b"0701301"}, Reason.CARD_DATA_MALFORMED),
        (TaiwanNHICard(TAIWAN), {b"1040704\x90": b"\x90"}, Reason.CARD_DATA_MALFORMED),
        (ThaiNHSOCard(THAI), {b"25740412": b"25741312"}, Reason.CARD_DATA_MALFORMED),
        (ThaiNHSOCard(THAI), {b"25740412": b"2574041"}, Reason.CARD_DATA_MALFORMED),
        # Said by the card and registered otherwise.
        (TaiwanNHICard(TAIWAN), {b"1040704": b"1050704"}, Reason.CARD_IDENTITY_MISMATCH),
        (ThaiNHSOCard(THAI), {b"25740412": b"25750412"}, Reason.CARD_IDENTITY_MISMATCH),
    ],
)
async def test_what_is_rewritten_on_the_way_is_refused(
    counter: Any, registry: Any, channel: Any, wrong: dict[bytes, bytes], reason: Reason
) -> None:
    register(registry, TAIWAN)
    register(registry, replace(TAIWAN, card_number="8" * 12, id_number="A123456789"))
    register(registry, THAI)
    register(registry, replace(THAI, cid="9999999999986", issue_date=20200101))
    assert await refused(counter, RewritingCard(channel, wrong)) is reason


@pytest.mark.parametrize("after", [0, 1])
async def test_a_taiwanese_card_pulled_half_way_is_refused(
    counter: Any, registry: Any, after: int
) -> None:
    register(registry, TAIWAN)
    assert await refused(counter, RemovedCard(TaiwanNHICard(TAIWAN), after)) is Reason.CARD_REMOVED


@pytest.mark.parametrize("after", [0, 1, 2, 17, 35])
async def test_a_thai_card_pulled_half_way_is_refused(
    counter: Any, registry: Any, after: int
) -> None:
    register(registry, THAI)
    assert await refused(counter, RemovedCard(ThaiNHSOCard(THAI), after)) is Reason.CARD_REMOVED


async def test_answers_of_one_card_under_the_atr_of_another_are_refused(
    counter: Any, registry: Any
) -> None:
    register(registry, TAIWAN)
    register(registry, THAI)
    first = first_of(TaiwanNHICard(TAIWAN))
    crossed = replace(first, atr=THAI.atr)
    refusal = await counter.open(ThaiNHSOCard(THAI), first=crossed)
    assert refusal.reason is Reason.CARD_RELAY_VIOLATION
    crossed = replace(first, atr=THAI.atr, opening=3)
    refusal = await counter.open(ThaiNHSOCard(THAI), first=crossed)
    assert refusal.reason is Reason.CARD_RELAY_VIOLATION


@pytest.mark.parametrize("index", range(18))
async def test_an_answer_that_the_batch_cannot_have_had_is_refused(
    counter: Any, registry: Any, index: int
) -> None:
    register(registry, THAI)
    first = first_of(ThaiNHSOCard(THAI))
    answers = list(first.answers)
    answers[index] = b"\x6f\x00"
    refusal = await counter.open(ThaiNHSOCard(THAI), first=replace(first, answers=tuple(answers)))
    assert refusal.reason is Reason.CARD_RELAY_VIOLATION
    refusal = await counter.open(
        ThaiNHSOCard(THAI), first=replace(first, answers=first.answers[:index])
    )
    assert refusal.reason is Reason.CARD_RELAY_VIOLATION
    stopped = replace(
        first,
        answers=(*first.answers[:index], b"\x6f\x00"),
        outcome=BatchOutcome.UNEXPECTED_STATUS,
    )
    refusal = await counter.open(ThaiNHSOCard(THAI), first=stopped)
    assert refusal.reason is Reason.CARD_UNEXPECTED_STATUS


@pytest.mark.parametrize(("data", "make", "_name"), CARDS, ids=["taiwan_nhi", "thai_nhso"])
async def test_mutated_answers_are_a_card_or_a_refusal(
    counter: Any, registry: Any, data: Any, make: Any, _name: str
) -> None:
    """Nothing but the registered card passes, and nothing else than a refusal comes."""
    card = register(registry, data)
    first = first_of(make(data))
    reasons = set()
    for _ in range(2_000):
        answers = list(first.answers)
        index = counter.random.randrange(len(answers))
        answer = bytearray(answers[index])
        match counter.random.randrange(4):
            case 0:
                answer[counter.random.randrange(len(answer))] ^= 1 << counter.random.randrange(8)
            case 1:
                del answer[counter.random.randrange(len(answer)) :]
            case 2:
                answer = bytearray(counter.random.randbytes(counter.random.randrange(120)))
            case _:
                answer = bytearray(answers[counter.random.randrange(len(answers))])
        answers[index] = bytes(answer)
        outcome = counter.random.choice(list(BatchOutcome))
        mutated = replace(first, answers=tuple(answers), outcome=outcome)
        opened = await counter.open(make(data), first=mutated)
        if isinstance(opened, OpenedCard):
            assert opened.card == card
            assert opened.proof == ProofLevel.UNVERIFIED_CARD
        else:
            reasons.add(opened.reason)
    assert {Reason.CARD_DATA_MALFORMED, Reason.CARD_RELAY_VIOLATION} <= reasons
