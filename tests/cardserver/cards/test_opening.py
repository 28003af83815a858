"""What opening a card accepts, and each refusal that a card can earn."""

from dataclasses import replace
from typing import Any

import pytest

from cardserver.cards.file_keystore import FileKeyStore
from cardserver.cards.keystore import CardKeyName, ProvenCard
from cardserver.cards.opening import OpenedCard
from cardserver.cards.refusals import CardRefusal
from cardserver.cards.refusals import CardRefusalReason as Reason
from cardserver.cards.visit import FirstAnswers
from cardserver.registry.values import CardState
from protocol.card.catalogue import OPENINGS
from protocol.card.profiles.social_security_keys import Algorithm
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import PINState, ProofLevel, RelayOutcome
from simulators.card.faults import RemovedCard, RewritingCard
from simulators.card.social_security_card import print_card, print_clone, with_public_data_of
from terminals.readers.channel import BatchOutcome

VERSIONS = ("1.00", "2.00", "3.00")
ALGORITHMS = (Algorithm.TRIPLE_DES, Algorithm.SM4)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("version", VERSIONS)
async def test_every_version_opens_with_its_holder(
    counter: Any, registry: Any, roots: Any, data: Any, version: str, algorithm: Algorithm
) -> None:
    data = replace(data, version=version, algorithm=algorithm)
    card = registry.register(data)
    opened = await counter.open(print_card(data, roots[algorithm], counter.random.randbytes))
    assert isinstance(opened, OpenedCard), opened
    assert opened.card == card
    assert opened.proof == ProofLevel.GENUINE_CARD
    assert opened.pin_state == PINState.NOT_REQUIRED
    assert (opened.holder_name, opened.holder_id) == ("张三", "111111198101011110")
    assert opened.round_trips == (2 if version == "3.00" else 1)
    assert opened.external_authentications == (1 if version == "3.00" else 0)


@pytest.mark.parametrize("version", VERSIONS)
async def test_without_holder_every_version_opens_in_one_round_trip(
    counter: Any, registry: Any, roots: Any, data: Any, version: str
) -> None:
    data = replace(data, version=version)
    registry.register(data)
    opened = await counter.open(print_card(data, roots[data.algorithm]), wants_holder=False)
    assert isinstance(opened, OpenedCard), opened
    assert (opened.round_trips, opened.holder_name) == (1, "")
    assert opened.external_authentications == 0


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_long_name_is_read_with_its_extension(
    counter: Any, registry: Any, roots: Any, data: Any, version: str
) -> None:
    # 31 bytes: the field's end cuts the last character in two; two are GB18030 only.
    name = "阿卜杜勒·热西提·买买提㐇A𠀀"
    assert len(name.encode("gb18030")) > 30
    data = replace(data, version=version, holder_name=name)
    registry.register(data)
    opened = await counter.open(print_card(data, roots[data.algorithm]))
    assert isinstance(opened, OpenedCard), opened
    assert (opened.holder_name, opened.round_trips) == (name, 2)


async def test_a_card_with_pin_says_how_many_tries_are_left(
    counter: Any, registry: Any, roots: Any, data: Any
) -> None:
    data = replace(data, pin="123456")
    registry.register(data)
    card = print_card(data, roots[data.algorithm])
    opened = await counter.open(card)
    assert isinstance(opened, OpenedCard), opened
    assert (opened.pin_state, opened.pin_tries) == (PINState.REQUIRED, 6)
    again = await counter.open(card)  # the probe took no try
    assert isinstance(again, OpenedCard)
    assert again.pin_tries == 6
    card.reset()
    counter.first_answers(card)
    for _ in range(6):
        card.transmit(bytes.fromhex("0020000003654321"))
    blocked = await counter.open(card)
    assert isinstance(blocked, OpenedCard)
    assert (blocked.pin_state, blocked.pin_tries) == (PINState.BLOCKED, 0)


async def test_the_centre_runs_the_opening_itself_where_the_terminal_did_not(
    counter: Any, registry: Any, roots: Any, data: Any
) -> None:
    registry.register(data)
    channel = print_card(data, roots[data.algorithm])
    first = FirstAnswers(channel.atr, 0, bytes(range(32)), (), BatchOutcome.COMPLETED)
    opened = await counter.open(channel, first=first)
    assert isinstance(opened, OpenedCard), opened
    assert opened.round_trips == 1


async def _refused(counter: Any, channel: Any, **how: Any) -> Reason:
    refusal = await counter.open(channel, **how)
    assert isinstance(refusal, CardRefusal), refusal
    return refusal.reason


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_clone_is_refused(
    counter: Any, registry: Any, data: Any, algorithm: Algorithm
) -> None:
    data = replace(data, algorithm=algorithm)
    registry.register(data)
    assert await _refused(counter, print_clone(data)) is Reason.CARD_NOT_GENUINE


async def test_a_key_of_another_city_is_refused(
    counter: Any, registry: Any, roots: Any, data: Any
) -> None:
    registry.register(data, region="639900")
    elsewhere = print_card(replace(data, region="630100"), roots[data.algorithm])
    channel = RewritingCard(elsewhere, {bytes.fromhex("630100D156"): bytes.fromhex("639900D156")})
    # Its card id says 639900 as registered, its key was diversified for 630100.
    assert await _refused(counter, channel) is Reason.CARD_NOT_GENUINE


async def test_a_replayed_answer_is_refused(
    counter: Any, registry: Any, roots: Any, data: Any
) -> None:
    registry.register(data)
    channel = print_card(data, roots[data.algorithm])
    recorded = counter.first_answers(channel)
    assert isinstance(await counter.open(channel, first=recorded), OpenedCard)
    replayed = replace(recorded, challenge=counter.random.randbytes(32))
    assert await _refused(counter, channel, first=replayed) is Reason.CARD_NOT_GENUINE


async def test_a_recorded_relay_is_refused(
    counter: Any, registry: Any, roots: Any, data: Any
) -> None:
    data = replace(data, version="3.00")
    registry.register(data)
    genuine = RewritingCard(print_card(data, roots[data.algorithm]), {})
    assert isinstance(await counter.open(genuine), OpenedCard)
    assert await _refused(counter, genuine.recording()) is Reason.CARD_NOT_GENUINE


async def test_the_data_of_another_card_is_refused(
    counter: Any, registry: Any, roots: Any, data: Any
) -> None:
    other = replace(
        data,
        historical=data.historical[:9] + bytes.fromhex("00BF7C7B"),
        card_id=bytes.fromhex("639900D15600000500BF7C7B11223344"),
        card_number="X00000020",
        holder_name="李四",
    )
    registry.register(data)
    registry.register(other)
    crossed = print_card(with_public_data_of(data, other), roots[data.algorithm])
    assert crossed.atr == data.atr
    assert await _refused(counter, crossed) is Reason.CARD_IDENTITY_MISMATCH


@pytest.mark.parametrize(
    ("on_card", "reason"),
    [
        ({"card_number": "X00000028"}, Reason.CARD_IDENTITY_MISMATCH),
        ({"ends": 20991231}, Reason.CARD_IDENTITY_MISMATCH),
        ({"begins": 20010101}, Reason.CARD_IDENTITY_MISMATCH),
        ({"issuer": bytes(12)}, Reason.CARD_ISSUER_REFUSED),
        ({"card_class": "1"}, Reason.CARD_CLASS_REFUSED),
        ({"version": "2.00"}, Reason.CARD_VERSION_MISMATCH),
        ({"version": "3.00"}, Reason.CARD_VERSION_MISMATCH),
    ],
)
async def test_what_differs_from_the_registry_is_refused(
    counter: Any, registry: Any, roots: Any, data: Any, on_card: dict[str, Any], reason: Reason
) -> None:
    registry.register(data)
    channel = print_card(replace(data, **on_card), roots[data.algorithm])
    assert await _refused(counter, channel) is reason


@pytest.mark.parametrize(
    ("registered", "reason"),
    [
        ({"state": CardState.LOST}, Reason.CARD_REVOKED),
        ({"state": CardState.REPLACED}, Reason.CARD_REVOKED),
        ({"state": CardState.FROZEN}, Reason.CARD_REVOKED),
        ({"algorithm": 2}, Reason.CARD_ALGORITHM_UNSUPPORTED),
        ({"algorithm": 3}, Reason.CARD_ALGORITHM_MISMATCH),
        ({"version": "3.00"}, Reason.CARD_VERSION_MISMATCH),
        ({"region": "110000"}, Reason.CARD_NOT_REGISTERED),
        ({"identity": bytes(8)}, Reason.CARD_NOT_REGISTERED),
        ({"profile": "egk"}, Reason.CARD_NOT_REGISTERED),
    ],
)
async def test_the_registry_decides(
    counter: Any, registry: Any, roots: Any, data: Any, registered: dict[str, Any], reason: Reason
) -> None:
    registry.register(data, **registered)
    assert await _refused(counter, print_card(data, roots[data.algorithm])) is reason


async def test_a_downgraded_cipher_is_refused(
    counter: Any, registry: Any, roots: Any, data: Any
) -> None:
    """A card made with 3DES keys for an identity whose registered cipher is SM4."""
    registry.register(replace(data, algorithm=Algorithm.SM4))
    channel = print_card(data, roots[Algorithm.TRIPLE_DES])
    assert await _refused(counter, channel) is Reason.CARD_ALGORITHM_MISMATCH
    lying = RewritingCard(channel, {bytes.fromhex("860101"): bytes.fromhex("860103")})
    assert await _refused(counter, lying) is Reason.CARD_NOT_GENUINE


async def test_an_ssf33_card_is_unsupported(
    counter: Any, registry: Any, roots: Any, data: Any
) -> None:
    data = replace(data, algorithm=Algorithm.SSF33)
    registry.register(data)
    channel = print_card(data, roots[data.algorithm])
    assert await _refused(counter, channel) is Reason.CARD_ALGORITHM_UNSUPPORTED


async def test_an_ssf33_card_is_handed_to_a_key_store_that_knows_the_cipher(
    counter: Any, registry: Any, roots: Any, data: Any
) -> None:
    class DeviceStore(FileKeyStore):
        """Computes SSF33 as a device would; here its answer to a card is any."""

        algorithms = frozenset(Algorithm)

        def internal_authentication(self, card: CardKeyName, **_given: bytes) -> ProvenCard:
            return ProvenCard(card, 1)

    data = replace(data, algorithm=Algorithm.SSF33)
    registry.register(data)
    counter.keys.__class__ = DeviceStore
    assert isinstance(await counter.open(print_card(data, roots[data.algorithm])), OpenedCard)


@pytest.mark.parametrize(
    ("today", "reason"),
    [(20100930, Reason.CARD_NOT_YET_VALID), (20391002, Reason.CARD_EXPIRED)],
)
async def test_dates_of_validity_hold(
    counter: Any, registry: Any, roots: Any, data: Any, today: int, reason: Reason
) -> None:
    registry.register(data)
    channel = print_card(data, roots[data.algorithm])
    assert await _refused(counter, channel, today=today) is reason


@pytest.mark.parametrize("today", [20101001, 20391001])
async def test_the_first_and_the_last_day_are_valid(
    counter: Any, registry: Any, roots: Any, data: Any, today: int
) -> None:
    registry.register(data)
    opened = await counter.open(print_card(data, roots[data.algorithm]), today=today)
    assert isinstance(opened, OpenedCard)


async def test_an_issuer_that_is_not_accepted_is_refused(
    counter: Any, registry: Any, roots: Any, data: Any
) -> None:
    registry.register(data)
    counter.issuers = (bytes.fromhex("6301"),)
    channel = print_card(data, roots[data.algorithm])
    assert await _refused(counter, channel) is Reason.CARD_ISSUER_REFUSED
    for accepted in (bytes.fromhex("6301"), bytes.fromhex("6399")), (data.issuer,):
        counter.issuers = accepted
        assert isinstance(await counter.open(channel), OpenedCard)


async def test_an_unknown_atr_is_refused(counter: Any, roots: Any, data: Any) -> None:
    channel = print_card(data, roots[data.algorithm])
    first = counter.first_answers(channel)
    bank_card = replace(first, atr=bytes.fromhex("3B6800000073C84012009000"))
    assert await _refused(counter, channel, first=bank_card) is Reason.CARD_UNKNOWN


async def test_the_first_refusal_that_applies_is_reported(
    counter: Any, registry: Any, roots: Any, data: Any
) -> None:
    registry.register(data, state=CardState.LOST, ends=20200101, card_class="9")
    assert await _refused(counter, print_clone(data)) is Reason.CARD_NOT_GENUINE
    registry.register(data, state=CardState.LOST, card_class="9")
    channel = print_card(data, roots[data.algorithm])
    assert await _refused(counter, channel, today=20990101) is Reason.CARD_REVOKED


@pytest.mark.parametrize("commands", range(14))
async def test_a_card_pulled_half_way_is_refused(
    counter: Any, registry: Any, roots: Any, data: Any, commands: int
) -> None:
    registry.register(data)
    pulled = RemovedCard(print_card(data, roots[data.algorithm]), commands)
    assert await _refused(counter, pulled) is Reason.CARD_REMOVED


async def test_a_card_pulled_in_the_second_round_trip_is_refused_and_audited(
    counter: Any, registry: Any, roots: Any, data: Any
) -> None:
    data = replace(data, version="3.00")
    registry.register(data)
    card = print_card(data, roots[data.algorithm])
    counter.first_answers(card)
    pulled = RemovedCard(print_card(data, roots[data.algorithm]), card.commands_count + 1)
    refusal = await counter.open(pulled)
    assert isinstance(refusal, CardRefusal)
    assert refusal.reason is Reason.CARD_REMOVED
    assert refusal.external_authentications == 1


async def test_answers_that_the_batch_cannot_have_had_are_refused(
    counter: Any, registry: Any, roots: Any, data: Any
) -> None:
    registry.register(data)
    channel = print_card(data, roots[data.algorithm])
    good = counter.first_answers(channel)
    skipped = next(index for index, answer in enumerate(good.answers) if not answer)
    answers = good.answers
    bad = [
        answers[:-1],
        (*answers, b"\x90\x00"),
        (),
        (b"\x6a\x82", *answers[1:]),
        (b"\x90", *answers[1:]),
        (b"", *answers[1:]),
        (*answers[:skipped], b"\x90\x00", *answers[skipped + 1 :]),
    ]
    for each in bad:
        first = replace(good, answers=each)
        assert await _refused(counter, channel, first=first) is Reason.CARD_RELAY_VIOLATION


async def test_another_opening_than_the_atr_asks_for_is_refused(
    counter: Any, registry: Any, roots: Any, data: Any
) -> None:
    registry.register(data)
    channel = print_card(data, roots[data.algorithm])
    first = replace(counter.first_answers(channel), opening=99)
    assert await _refused(counter, channel, first=first) is Reason.CARD_RELAY_VIOLATION


async def test_a_challenge_that_is_too_short_is_refused(
    counter: Any, registry: Any, roots: Any, data: Any
) -> None:
    registry.register(data)
    channel = print_card(data, roots[data.algorithm])
    first = replace(counter.first_answers(channel), challenge=bytes(15))
    assert await _refused(counter, channel, first=first) is Reason.CHALLENGE_NOT_VALID


async def test_what_the_reader_reports_is_refused(
    counter: Any, registry: Any, roots: Any, data: Any
) -> None:
    registry.register(data)
    channel = print_card(data, roots[data.algorithm])
    good = counter.first_answers(channel)
    for outcome, answers, reason in (
        (BatchOutcome.READER_FAULT, (), Reason.CARD_READER_FAULT),
        (BatchOutcome.CARD_REMOVED, good.answers[:3], Reason.CARD_REMOVED),
        (BatchOutcome.UNEXPECTED_STATUS, (b"\x65\x81",), Reason.CARD_UNEXPECTED_STATUS),
        (BatchOutcome.UNEXPECTED_STATUS, (b"\x6a\x82",), Reason.CARD_UNKNOWN),
        (BatchOutcome.UNEXPECTED_STATUS, (), Reason.CARD_UNEXPECTED_STATUS),
    ):
        first = replace(good, outcome=outcome, answers=answers)
        assert await _refused(counter, channel, first=first) is reason


async def test_a_malformed_record_is_refused(
    counter: Any, registry: Any, roots: Any, data: Any
) -> None:
    registry.register(data)
    card = print_card(data, roots[data.algorithm])
    for real, wrong in (
        ("0110639900", "0210639900"),
        ("0110639900", "0111639900"),
        ("050420101001", "05042010A001"),
        ("860101", "860104"),
    ):
        channel = RewritingCard(card, {bytes.fromhex(real): bytes.fromhex(wrong)})
        assert await _refused(counter, channel) is Reason.CARD_DATA_MALFORMED


async def test_no_external_authentication_is_computed_for_a_card_that_proved_nothing(
    counter: Any, registry: Any, data: Any
) -> None:
    """The centre is no oracle: a clone with challenges of its choice gets nothing computed."""
    data = replace(data, version="3.00")
    registry.register(data)
    clone = print_clone(data)
    relay = _Silent()
    refusal = await counter.open(clone, relay=relay)
    assert isinstance(refusal, CardRefusal)
    assert refusal.external_authentications == 0
    assert relay.batches == []


class _Silent:
    """A relay that must not be used."""

    def __init__(self) -> None:
        self.batches: list[Any] = []

    async def run(self, batch: Any) -> Any:
        self.batches.append(batch)
        raise AssertionError("nothing may be sent to this card")


def test_reasons_are_named_as_the_codes_that_tell_them() -> None:
    codes = [ResponseCode[reason.name] for reason in Reason]
    assert codes == sorted(codes), "the order is the one in which refusals are reported"
    assert [int(each) for each in BatchOutcome] == [int(each) for each in RelayOutcome]


def test_a_number_names_one_batch() -> None:
    named = {opening.number: opening.batch for opening in OPENINGS}
    assert all(opening.batch == named[opening.number] for opening in OPENINGS)
    assert len(set(named.values())) == len(named)
    assert 0 not in named
