"""The medical directory is read with a PIN that only the terminal sees."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

from cardserver.cards.medical import MedicalVisit, PINAction, PINResult, visit_medical
from cardserver.cards.refusals import CardRefusal, CardRefusalReason
from protocol.card.pin import PINDigits
from protocol.card.profiles import social_security_medical as medical
from protocol.card.profiles.social_security_card import PINState, probe_pin, select_ssse
from protocol.card.profiles.social_security_keys import (
    Algorithm,
    authentication_data,
    card_key,
    session_key,
)
from protocol.card.profiles.social_security_medical import LogRecord
from protocol.card.script import Batch, PINKind
from simulators.card.faults import RemovedCard
from simulators.card.simulated_card import PoweredCard
from simulators.card.social_security_card import FICTITIOUS, RootKeys, print_card
from terminals.readers.channel import BatchAnswers, BatchOutcome, put_pins, run_batch, run_script

ROOTS = RootKeys.draw()
LOG = tuple(
    LogRecord(number, "2", "110101000001", f"2026110{number}093000", 1200, 300, 4500)
    for number in range(9, 0, -1)
)
DATA = replace(
    FICTITIOUS,
    pin="624815",
    log=LOG,
    medical_items=((0x83, "北京一院"), (0x8F, "1"), (0x8D, "0102")),
)


@dataclass
class Counter:
    """A terminal with a card in its reader and a holder before it."""

    card: PoweredCard
    pins: Mapping[int, str] | None = field(default_factory=lambda: {PINKind.CURRENT: DATA.pin})
    asked: int = 0
    batches: list[Batch] = field(default_factory=list)

    async def run(self, batch: Batch) -> BatchAnswers:
        self.batches.append(batch)
        self.asked += any(step.pins for step in batch)
        pins = None
        if self.pins is not None:
            pins = {kind: PINDigits(typed) for kind, typed in self.pins.items()}
        return run_batch(self.card, put_pins(batch, pins), b"")


async def visited(
    counter: Counter,
    action: PINAction = PINAction.VERIFY,
    state: PINState = PINState.REQUIRED,
    *,
    wants_records: bool = True,
) -> MedicalVisit:
    visit = await visit_medical(
        counter, pin_state=state, pin_tries=6, action=action, wants_records=wants_records
    )
    assert isinstance(visit, MedicalVisit), visit
    return visit


async def test_it_is_read_with_the_pin_in_one_round_trip() -> None:
    counter = Counter(print_card(DATA, ROOTS))
    visit = await visited(counter)
    assert (visit.pin_result, visit.round_trips, counter.asked) == (PINResult.RIGHT, 1, 1)
    assert visit.records is not None
    assert visit.records.items == {
        0x81: "310", 0x84: "639900", 0x8C: "11", 0x80: "20101001", 0x83: "北京一院", 0x8F: "1",
        0x8D: "0102",
    }  # fmt: skip
    assert visit.records.log == LOG
    assert len(visit.records.marks) == 8


async def test_the_centre_never_sees_a_pin() -> None:
    counter = Counter(print_card(DATA, ROOTS))
    await visited(counter)
    for batch in counter.batches:
        assert all(bytes.fromhex(DATA.pin) not in step.command for step in batch)
        assert sum(bool(step.pins) for step in batch) == 1, "a PIN is verified once"


async def test_a_wrong_pin_says_how_many_tries_are_left_and_is_not_repeated() -> None:
    card = print_card(DATA, ROOTS)
    for left in (5, 4, 3, 2, 1):
        visit = await visited(Counter(card, {PINKind.CURRENT: "000000"}))
        assert (visit.pin_result, visit.pin_tries) == (PINResult.WRONG, left)
        assert visit.records is None
    visit = await visited(Counter(card, {PINKind.CURRENT: "000000"}))
    assert (visit.pin_result, visit.pin_state) == (PINResult.BLOCKED, PINState.BLOCKED)


async def test_a_blocked_pin_is_not_asked_for() -> None:
    counter = Counter(print_card(DATA, ROOTS))
    visit = await visited(counter, state=PINState.BLOCKED)
    assert (visit.pin_result, counter.asked, counter.batches) == (PINResult.NOT_ASKED, 0, [])


async def test_a_holder_who_gives_no_pin_loses_no_try() -> None:
    card = print_card(DATA, ROOTS)
    visit = await visited(Counter(card, None))
    assert (visit.pin_result, visit.records) == (PINResult.NOT_GIVEN, None)
    card.transmit(select_ssse())
    assert card.transmit(probe_pin()).hex() == "63c6"


async def test_a_card_without_pin_is_read_freely() -> None:
    counter = Counter(print_card(replace(DATA, pin=""), ROOTS))
    visit = await visited(counter, PINAction.NONE, PINState.NOT_REQUIRED)
    assert visit.records is not None
    assert (visit.pin_result, counter.asked) == (PINResult.NOT_ASKED, 0)


async def test_without_leave_to_ask_nothing_is_read() -> None:
    counter = Counter(print_card(DATA, ROOTS))
    visit = await visited(counter, PINAction.NONE)
    assert (visit.records, counter.batches) == (None, [])


@pytest.mark.parametrize("wants_records", [True, False])
async def test_a_pin_is_changed(wants_records: bool) -> None:  # noqa: FBT001 - a test's parameter
    card = print_card(DATA, ROOTS)
    pins = {PINKind.CURRENT: DATA.pin, PINKind.NEW: "13579"}
    visit = await visited(Counter(card, pins), PINAction.CHANGE, wants_records=wants_records)
    assert visit.pin_result is PINResult.CHANGED
    assert (visit.records is not None) is wants_records
    assert (await visited(Counter(card))).pin_result is PINResult.WRONG
    assert (await visited(Counter(card, {PINKind.CURRENT: "13579"}))).records is not None


async def test_a_card_pulled_meanwhile_is_a_refusal() -> None:
    refusal = await visit_medical(
        Counter(RemovedCard(print_card(DATA, ROOTS), 5)),
        pin_state=PINState.REQUIRED, pin_tries=6, action=PINAction.VERIFY, wants_records=True,
    )  # fmt: skip
    assert isinstance(refusal, CardRefusal)
    assert refusal.reason is CardRefusalReason.CARD_REMOVED


@dataclass
class Liar:
    """A terminal that says what it likes."""

    ran: BatchAnswers

    async def run(self, batch: Batch) -> BatchAnswers:
        assert batch
        return self.ran


@pytest.mark.parametrize(
    ("ran", "reason"),
    [
        (BatchAnswers(BatchOutcome.COMPLETED, (), 0), CardRefusalReason.CARD_DATA_MALFORMED),
        (
            BatchAnswers(BatchOutcome.COMPLETED, (b"\x90\x00",) * 36, 0),
            CardRefusalReason.CARD_DATA_MALFORMED,
        ),
        (
            BatchAnswers(BatchOutcome.COMPLETED, (b"\x63\xc1",) * 36, 0),
            CardRefusalReason.CARD_DATA_MALFORMED,
        ),
        (
            BatchAnswers(BatchOutcome.UNEXPECTED_STATUS, (), 0),
            CardRefusalReason.CARD_RELAY_VIOLATION,
        ),
        (BatchAnswers(BatchOutcome.READER_FAULT, (), 0), CardRefusalReason.CARD_READER_FAULT),
    ],
)
async def test_what_can_not_be_is_refused(ran: BatchAnswers, reason: CardRefusalReason) -> None:
    refusal = await visit_medical(
        Liar(ran),
        pin_state=PINState.REQUIRED, pin_tries=6, action=PINAction.VERIFY, wants_records=True,
    )  # fmt: skip
    assert isinstance(refusal, CardRefusal)
    assert refusal.reason is reason


@pytest.mark.parametrize("algorithm", [Algorithm.TRIPLE_DES, Algorithm.SM4])
def test_a_key_reads_in_place_of_the_pin(algorithm: Algorithm) -> None:
    card = print_card(replace(DATA, algorithm=algorithm), ROOTS)
    original, factor = run_script(card, medical.challenge_for_reading())
    key = card_key(algorithm, ROOTS.external, region=DATA.region, identity=DATA.identity)
    answer = authentication_data(algorithm, session_key(algorithm, key, factor), original)
    records = run_script(card, medical.read_with_key(authentication=answer, original=original))
    assert records.items[0x83] == "北京一院"
    assert records.log == LOG
