"""What opening an eGK accepts, in how many round trips, and each refusal that one can earn."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardserver.cards.challenges import Challenges
from cardserver.cards.egk import ALGORITHM_BRAINPOOL_P256R1
from cardserver.cards.opening import OpenedCard, open_card
from cardserver.cards.refusals import CardRefusal
from cardserver.cards.refusals import CardRefusalReason as Reason
from cardserver.cards.trust_anchors import TrustAnchorError, TrustAnchors, load_trust_anchors
from cardserver.cards.visit import FirstAnswers
from cardserver.registry.values import Card, CardNumber, CardState
from protocol.card.catalogue import OPENINGS, find_opening
from protocol.card.cv_certificate import CVCertificate, verify_value
from protocol.card.elliptic_curve import EphemeralKey
from protocol.card.errors import CardProtocolError
from protocol.card.pace import establish
from protocol.card.profiles import egk
from protocol.card.profiles.egk import OpenedEGK
from protocol.card.profiles.egk_data import decode_insurance_data, decode_personal_data
from protocol.card.script import Batch, Script
from protocol.card.secure_messaging import protected
from protocol.terminal.messages import STEPS_MAX, PINState, ProofLevel
from simulators.card.egk import CardFile, EGKImage, SimulatedEGK, pin_block
from simulators.card.egk_image import read_image
from simulators.card.egk_print import FICTITIOUS_EGK, CardAuthority, EGKData, print_egk
from simulators.card.faults import RemovedCard, RewritingCard
from terminals.readers.channel import BatchAnswers, BatchOutcome, CardChannel, run_batch
from terminals.readers.paced_channel import PacedChannel

TODAY = 20261121
VECTORS = Path(__file__).resolve().parents[4] / "shared" / "vectors"


class Registry:
    def __init__(self) -> None:
        self.cards: dict[tuple[str, str, bytes], Card] = {}

    def register(self, data: EGKData, **changes: Any) -> Card:
        card = Card(
            card_no=8,
            profile="egk",
            identity=bytes.fromhex(data.iccsn),
            region="",
            card_number=CardNumber(data.iccsn),
            card_id=data.kvnr.encode(),
            person_no=2,
            version="G2.1",
            algorithm=ALGORITHM_BRAINPOOL_P256R1,
            card_class="1",
            issuer=data.insurer.encode().ljust(12, b"\0"),
            begins=data.begins,
            ends=data.ends,
            state=CardState.VALID,
        )
        card = replace(card, **changes)
        self.cards[card.profile, card.region, card.identity] = card
        return card

    async def card_by_identity(self, profile: str, region: str, identity: bytes) -> Card | None:
        return self.cards.get((profile, region, identity))


class Relay:
    def __init__(self, channel: CardChannel) -> None:
        self.channel = channel
        self.batches: list[Batch] = []

    async def run(self, batch: Batch) -> BatchAnswers:
        self.batches.append(batch)
        return run_batch(self.channel, batch, b"")


@dataclass
class Counter:
    """A counter: puts a card in, sends the opening batch's answers, relays what follows."""

    keys: Any
    registry: Registry
    anchors: TrustAnchors
    random: Random
    issuers: tuple[bytes, ...] = ()

    def first_answers(self, channel: CardChannel, challenge: bytes | None = None) -> FirstAnswers:
        challenge = challenge or self.random.randbytes(32)
        opening = find_opening(channel.atr)
        assert opening is not None
        ran = run_batch(channel, opening.batch, challenge)
        return FirstAnswers(
            channel.atr, opening.number, challenge, ran.answers, ran.outcome, ran.card_time_us
        )

    async def open(
        self,
        channel: CardChannel,
        *,
        first: FirstAnswers | None = None,
        today: int = TODAY,
        wants_holder: bool = True,
        relay: Relay | None = None,
    ) -> OpenedCard | CardRefusal:
        return await open_card(
            first=first or self.first_answers(channel),
            runner=relay or Relay(channel),
            keys=self.keys,
            cards=self.registry,
            issuers=self.issuers,
            today=today,
            wants_holder=wants_holder,
            anchors=self.anchors,
        )

    async def refusal(self, channel: CardChannel, **how: Any) -> Reason:
        refused = await self.open(channel, **how)
        assert isinstance(refused, CardRefusal), refused
        return refused.reason


@pytest.fixture(scope="module")
def authority() -> CardAuthority:
    return CardAuthority(Random(1).randbytes)


@pytest.fixture(scope="module")
def image(authority: CardAuthority) -> EGKImage:
    return print_egk(FICTITIOUS_EGK, authority, Random(2).randbytes)


@pytest.fixture
def anchors(authority: CardAuthority, tmp_path: Path) -> TrustAnchors:
    (tmp_path / "root.cvc").write_bytes(authority.root.encode())
    return load_trust_anchors(tmp_path)


@pytest.fixture
def counter(anchors: TrustAnchors) -> Counter:
    # An eGK needs no root key of the fund's: a store that is asked for one fails the test.
    registry = Registry()
    registry.register(FICTITIOUS_EGK)
    return Counter(None, registry, anchors, Random(20261121))


@pytest.fixture
def card(image: EGKImage) -> SimulatedEGK:
    return SimulatedEGK(image, random_bytes=Random(3).randbytes)


def _with_file(image: EGKImage, fid: int, content: bytes) -> EGKImage:
    """Put other contents into one file of a card, as somebody would who may write it."""
    applications = {
        name: tuple(
            CardFile(each.fid, each.sfi, content, each.access) if each.fid == fid else each
            for each in files
        )
        for name, files in image.applications.items()
    }
    return replace(image, applications=applications)


def _content(image: EGKImage, fid: int) -> bytes:
    return next(
        each.content for files in image.applications.values() for each in files if each.fid == fid
    )


async def test_a_card_opens_in_one_round_trip(counter: Counter, card: SimulatedEGK) -> None:
    relay = Relay(card)
    opened = await counter.open(card, relay=relay)
    assert isinstance(opened, OpenedCard), opened
    assert relay.batches == []
    assert opened.round_trips == 1
    assert opened.proof == ProofLevel.GENUINE_CARD
    assert (opened.holder_name, opened.holder_id) == ("Erika Mustermann", "X110540756")
    assert (opened.pin_state, opened.pin_tries) == (PINState.REQUIRED, 3)
    assert opened.card.card_no == 8
    assert card.commands_count == 16


async def test_the_holder_is_not_told_where_nobody_asked(
    counter: Counter, card: SimulatedEGK
) -> None:
    opened = await counter.open(card, wants_holder=False)
    assert isinstance(opened, OpenedCard), opened
    assert (opened.holder_name, opened.holder_id) == ("", "")


async def test_the_centre_runs_the_opening_itself_where_the_terminal_did_not(
    counter: Counter, card: SimulatedEGK
) -> None:
    first = FirstAnswers(card.atr, 0, bytes(range(32)), (), BatchOutcome.COMPLETED)
    opened = await counter.open(card, first=first)
    assert isinstance(opened, OpenedCard), opened
    assert opened.round_trips == 1


async def test_a_card_of_unknown_atr_is_found_by_its_application(
    counter: Counter, image: EGKImage
) -> None:
    atr = bytes.fromhex("3B80800101")
    card = SimulatedEGK(replace(image, atr=atr))
    first = FirstAnswers(atr, 0, bytes(range(32)), (), BatchOutcome.COMPLETED)
    opened = await counter.open(card, first=first)
    assert isinstance(opened, OpenedCard), opened
    assert opened.round_trips == 2


async def test_through_the_air_the_terminal_opens_pace_and_one_round_trip_is_enough(
    counter: Counter, image: EGKImage
) -> None:
    card = SimulatedEGK(image, is_contactless=True, random_bytes=Random(4).randbytes)
    channel = PacedChannel.open(card, "123123", Random(5).randbytes)
    relay = Relay(channel)
    opened = await counter.open(channel, relay=relay)
    assert isinstance(opened, OpenedCard), opened
    assert (opened.round_trips, relay.batches) == (1, [])
    assert opened.holder_name == "Erika Mustermann"


async def test_through_the_air_nothing_is_read_without_pace(
    counter: Counter, image: EGKImage
) -> None:
    card = SimulatedEGK(image, is_contactless=True)
    assert await counter.refusal(card) is Reason.CARD_UNEXPECTED_STATUS


async def test_a_blocked_pin_does_not_refuse_the_card(counter: Counter, card: SimulatedEGK) -> None:
    command = bytes.fromhex("0020000108") + pin_block("654321")
    assert [card.transmit(command).hex() for _ in range(4)] == ["63c2", "63c1", "63c0", "6983"]
    opened = await counter.open(card)
    assert isinstance(opened, OpenedCard), opened
    assert (opened.pin_state, opened.pin_tries) == (PINState.BLOCKED, 0)


# Refusals


async def test_a_replayed_answer_is_refused(counter: Counter, card: SimulatedEGK) -> None:
    recorded = counter.first_answers(card)
    assert isinstance(await counter.open(card, first=recorded), OpenedCard)
    replayed = replace(recorded, challenge=counter.random.randbytes(32))
    assert await counter.refusal(card, first=replayed) is Reason.CARD_NOT_GENUINE


async def test_a_relay_that_answers_from_recordings_is_refused(
    counter: Counter, card: SimulatedEGK
) -> None:
    genuine = RewritingCard(card, {})
    assert isinstance(await counter.open(genuine), OpenedCard)
    assert await counter.refusal(genuine.recording()) is Reason.CARD_NOT_GENUINE
    first = FirstAnswers(card.atr, 0, bytes(range(32)), (), BatchOutcome.COMPLETED)
    assert await counter.refusal(genuine.recording(), first=first) is Reason.CARD_NOT_GENUINE


async def test_a_late_challenge_is_dead(counter: Counter, card: SimulatedEGK) -> None:
    now_ms = 0
    challenges = Challenges(counter.random.randbytes, lambda: now_ms)
    number, value = challenges.issue()
    recorded = counter.first_answers(card, value)
    now_ms = challenges.life_ms
    assert challenges.take(number) is None
    _, fresh = challenges.issue()
    late = replace(recorded, challenge=fresh)
    assert await counter.refusal(card, first=late) is Reason.CARD_NOT_GENUINE


async def test_a_copy_without_the_key_is_refused(counter: Counter, image: EGKImage) -> None:
    clone = SimulatedEGK(replace(image, card_key=Random(6).randbytes(32)))
    assert await counter.refusal(clone) is Reason.CARD_NOT_GENUINE


OTHER = replace(FICTITIOUS_EGK, iccsn="80276009999900000026", kvnr="X110639491", given_name="Max")


@pytest.mark.parametrize("first_changed", range(1, len(egk.OPENING)))
async def test_another_cards_identity_half_way_is_refused(
    counter: Counter, authority: CardAuthority, image: EGKImage, first_changed: int
) -> None:
    """From some answer on another genuine card answers: two cards never mix."""
    counter.registry.register(OTHER)
    other = SimulatedEGK(print_egk(OTHER, authority, Random(7).randbytes))
    challenge = counter.random.randbytes(32)
    mine = counter.first_answers(SimulatedEGK(image), challenge)
    theirs = counter.first_answers(other, challenge)
    mixed = replace(mine, answers=mine.answers[:first_changed] + theirs.answers[first_changed:])
    outcome = await counter.open(SimulatedEGK(image), first=mixed)
    last_personal = max(
        index for index in range(10, egk._INSURANCE) if mine.answers[index] not in {b"", b"\x6b\0"}
    )
    if first_changed == 1:  # all but the SELECT: it is the other card
        assert isinstance(outcome, OpenedCard)
        assert outcome.holder_id == OTHER.kvnr
    elif first_changed > last_personal:  # what is left is the same on both
        assert isinstance(outcome, OpenedCard)
        assert outcome.holder_id == FICTITIOUS_EGK.kvnr
    else:
        assert isinstance(outcome, CardRefusal), outcome
        assert outcome.reason in {
            Reason.CARD_NOT_GENUINE,
            Reason.CARD_IDENTITY_MISMATCH,
            Reason.CARD_DATA_MALFORMED,
        }


@pytest.mark.parametrize("fid", [0x2F02, 0x2F06, 0xD001])
async def test_a_file_of_another_card_is_refused(
    counter: Counter, authority: CardAuthority, image: EGKImage, fid: int
) -> None:
    counter.registry.register(OTHER)
    other = print_egk(OTHER, authority, Random(7).randbytes)
    crossed = SimulatedEGK(_with_file(image, fid, _content(other, fid)))
    wanted = Reason.CARD_NOT_GENUINE if fid == 0x2F06 else Reason.CARD_IDENTITY_MISMATCH
    assert await counter.refusal(crossed) is wanted


async def test_an_authority_of_nobodys_is_refused(counter: Counter) -> None:
    elsewhere = print_egk(FICTITIOUS_EGK, CardAuthority(Random(8).randbytes))
    assert await counter.refusal(SimulatedEGK(elsewhere)) is Reason.CARD_NOT_GENUINE


async def test_without_anchors_no_card_is_genuine(counter: Counter, card: SimulatedEGK) -> None:
    counter.anchors = TrustAnchors()
    assert await counter.refusal(card) is Reason.CARD_NOT_GENUINE


async def test_an_authority_out_of_force_is_refused(
    tmp_path_factory: pytest.TempPathFactory, counter: Counter
) -> None:
    directory = tmp_path_factory.mktemp("aged")
    aged = CardAuthority(Random(9).randbytes, begins=20200101, ends=20260930)
    (directory / "aged.cvc").write_bytes(aged.root.encode())
    counter.anchors = load_trust_anchors(directory)
    card = SimulatedEGK(print_egk(FICTITIOUS_EGK, aged))
    assert isinstance(await counter.open(card, today=20260930), OpenedCard)
    assert await counter.refusal(card, today=20261001) is Reason.CARD_NOT_GENUINE


async def test_a_card_can_not_certify_another(counter: Counter, authority: CardAuthority) -> None:
    """A genuine card's key signs a certificate for a made-up card: it is no authority."""

    class _Signer(CardAuthority):
        def sign_as(self, certificate: CVCertificate, key: bytes) -> None:
            self.certificate, self._key = certificate, key

    signer = _Signer(Random(1).randbytes)
    name = b"XXCARD\x01\x25"
    key = Random(11).randbytes(32)
    signer.sign_as(authority.certify(name, key, begins=20250101, ends=20301231), key)
    signer.name = name
    forged = SimulatedEGK(print_egk(FICTITIOUS_EGK, signer, Random(12).randbytes))
    assert await counter.refusal(forged) is Reason.CARD_NOT_GENUINE


@pytest.mark.parametrize(
    ("registered", "reason"),
    [
        ({"identity": bytes(10)}, Reason.CARD_NOT_REGISTERED),
        ({"region": "110000"}, Reason.CARD_NOT_REGISTERED),
        ({"profile": "social_security_card"}, Reason.CARD_NOT_REGISTERED),
        ({"algorithm": 1}, Reason.CARD_ALGORITHM_MISMATCH),
        ({"card_number": CardNumber("80276009999900000034")}, Reason.CARD_IDENTITY_MISMATCH),
        ({"card_id": b"X110639491"}, Reason.CARD_IDENTITY_MISMATCH),
        ({"begins": 20250102}, Reason.CARD_IDENTITY_MISMATCH),
        ({"ends": 20991231}, Reason.CARD_IDENTITY_MISMATCH),
        ({"state": CardState.LOST}, Reason.CARD_REVOKED),
        ({"state": CardState.FROZEN}, Reason.CARD_REVOKED),
        ({"issuer": b"104212505\0\0\0"}, Reason.CARD_ISSUER_REFUSED),
        ({"version": "G2.0"}, Reason.CARD_VERSION_MISMATCH),
    ],
)
async def test_the_registry_decides(
    counter: Counter, card: SimulatedEGK, registered: dict[str, Any], reason: Reason
) -> None:
    counter.registry.cards.clear()
    counter.registry.register(FICTITIOUS_EGK, **registered)
    assert await counter.refusal(card) is reason


async def test_issuers_of_social_security_cards_are_no_insurers(
    counter: Counter, card: SimulatedEGK
) -> None:
    counter.issuers = (b"\x63\x99",)
    assert isinstance(await counter.open(card), OpenedCard)


@pytest.mark.parametrize(
    ("today", "reason"), [(20241231, Reason.CARD_NOT_YET_VALID), (20310101, Reason.CARD_EXPIRED)]
)
async def test_dates_of_validity_hold(
    counter: Counter, card: SimulatedEGK, today: int, reason: Reason
) -> None:
    assert await counter.refusal(card, today=today) is reason


async def test_an_update_that_was_not_finished_is_refused(
    counter: Counter, image: EGKImage
) -> None:
    status = b"1" + _content(image, 0xD00C)[1:]
    card = SimulatedEGK(_with_file(image, 0xD00C, status))
    assert await counter.refusal(card) is Reason.CARD_DATA_MALFORMED


@pytest.mark.parametrize("commands", range(16))
async def test_a_card_pulled_half_way_is_refused(
    counter: Counter, card: SimulatedEGK, commands: int
) -> None:
    assert await counter.refusal(RemovedCard(card, commands)) is Reason.CARD_REMOVED


@pytest.mark.parametrize("at", range(len(egk.OPENING)))
async def test_every_answer_that_is_changed_is_refused_or_of_no_matter(
    counter: Counter, card: SimulatedEGK, at: int
) -> None:
    """One bit of each byte of an answer: what still opens the card says nothing else of it."""
    first = counter.first_answers(card)
    right = await counter.open(card, first=first)
    assert isinstance(right, OpenedCard)
    # Versions and the status of the insurance data have no check sum; the PIN's state has none.
    is_free = at in {2, 7, 9}
    for index in range(len(first.answers[at])):
        changed = bytearray(first.answers[at])
        changed[index] ^= 1 << index % 8
        answers = (*first.answers[:at], bytes(changed), *first.answers[at + 1 :])
        outcome = await counter.open(card, first=replace(first, answers=answers))
        if isinstance(outcome, OpenedCard):
            is_status = index >= len(changed) - 2
            assert is_free or is_status, (at, index)
            assert outcome.card == right.card
            assert outcome.holder_id == right.holder_id


@given(data=st.data())
@settings(max_examples=150)
def test_any_answers_give_a_result_or_a_refusal(image: EGKImage, data: st.DataObject) -> None:
    card = SimulatedEGK(image)
    answers = list(run_batch(card, egk.OPENING, bytes(range(32))).answers)
    for _ in range(data.draw(st.integers(1, 4))):
        index = data.draw(st.integers(0, len(answers) - 1))
        answers[index] = data.draw(
            st.binary(max_size=300) | st.sampled_from(answers) | st.just(answers[index][:-3])
        )
    replies = tuple(answers)

    running = egk.open_card()
    next(running)
    with pytest.raises((StopIteration, CardProtocolError)):
        running.send(replies)


# What the batch itself is


def test_the_opening_fits_the_wire_and_the_challenge() -> None:
    found = [each for each in OPENINGS if each.profile == "egk"]
    assert {each.number for each in found} == {4}
    assert len(egk.OPENING) <= STEPS_MAX
    assert found[0].challenge_size == 24


@pytest.mark.parametrize(
    "atr",
    [
        "3BD096FF81B1FE451F032E",
        "3BD097FF81B1FE451F072B",
        "3BD396FF81B1FE451F078081052D",
        "3B909681B1FE451F0391",
        "3B858001300101301014",
        "3B858001300101303034",
    ],
)
def test_known_answers_to_reset_are_recognised(atr: str) -> None:
    opening = find_opening(bytes.fromhex(atr))
    assert opening is not None
    assert opening.profile == "egk"


# Trust anchors


def test_a_directory_of_anchors_is_checked(authority: CardAuthority, tmp_path: Path) -> None:
    with pytest.raises(TrustAnchorError, match="no certificates"):
        load_trust_anchors(tmp_path)
    (tmp_path / "root.cvc").write_bytes(authority.root.encode())
    anchors = load_trust_anchors(tmp_path)
    assert anchors.anchors[authority.root_name].ends == 20331231
    (tmp_path / "second.cvc").write_bytes(authority.root.encode()[:-1] + b"\0")
    with pytest.raises(TrustAnchorError, match="second"):
        load_trust_anchors(tmp_path)
    (tmp_path / "second.cvc").write_bytes(CardAuthority(Random(77).randbytes).root.encode())
    with pytest.raises(TrustAnchorError, match="another key"):
        load_trust_anchors(tmp_path)
    (tmp_path / "second.cvc").unlink()
    (tmp_path / "x.der").write_bytes(b"\x30\x00")
    with pytest.raises(TrustAnchorError, match=r"x\.der"):
        load_trust_anchors(tmp_path)


# Published cards


@pytest.fixture
def published() -> Callable[[int], EGKImage]:
    if not VECTORS.is_dir():
        pytest.skip("the independent vectors (../shared/vectors) are not on this machine")
    return lambda number: read_image(
        VECTORS / "egk-images" / f"EGK_802768831100001685{number}_gema5.xml"
    )


@pytest.mark.parametrize(
    ("number", "kvnr", "name"),
    [
        (83, "X110639491", "Kriemhild Amelie Abigail Hannelore Freifrau Bruser"),
        (84, "X110630769", "Dörthe Abigail Freifrau Dåmmer-Ørsted"),
    ],
)
@pytest.mark.parametrize("can", ["", "123123"])
async def test_published_cards_open_under_the_published_roots(
    counter: Counter,
    published: Callable[[int], EGKImage],
    number: int,
    kvnr: str,
    name: str,
    can: str,
) -> None:
    card = SimulatedEGK(published(number), is_contactless=bool(can))
    data = replace(
        FICTITIOUS_EGK,
        iccsn=f"802768831100001685{number}",
        kvnr=kvnr,
        begins=20250407,
        ends=20300406,
    )
    counter.anchors = load_trust_anchors(VECTORS / "cvc")
    counter.registry.register(data)
    channel = PacedChannel.open(card, can) if can else card
    opened = await counter.open(channel)
    assert isinstance(opened, OpenedCard), opened
    assert (opened.round_trips, opened.holder_name) == (1, name)


@pytest.mark.usefixtures("published")
def test_published_roots_load() -> None:
    anchors = load_trust_anchors(VECTORS / "cvc")
    assert sorted(name.hex()[-6:] for name in anchors.anchors) == ["820214", "870222", "880224"]
    assert len(anchors.certificates) == 3
    assert len(anchors.holder_authorities) == 1


def test_the_batch_reads_every_length_of_file(image: EGKImage) -> None:
    """Lengths around every edge of a chunk and of a byte, one too many commands at most."""
    for file, begins, maximum in (("personal", 2, 850), ("insurance", 8, 1250)):
        for size in sorted(_edges(begins, maximum)):
            content = _sized(file, size)
            fid = 0xD001 if file == "personal" else 0xD002
            card = SimulatedEGK(_with_file(image, fid, content))
            ran = run_batch(card, egk.OPENING, bytes(32))
            assert ran.outcome is BatchOutcome.COMPLETED
            if file == "personal":
                answers = ran.answers[10 : egk._INSURANCE]
            else:
                answers = ran.answers[egk._INSURANCE :]
            assert egk.join_chunks(answers) == content
            wasted = sum(answer == b"\x6b\x00" for answer in answers)
            assert wasted <= 1


def _edges(begins: int, maximum: int) -> set[int]:
    edges = {
        edge + shift
        for edge in (*range(0, maximum + 1, 252), *range(0, maximum + 1, 256))
        for shift in range(-3, 4)
    }
    return {edge for edge in edges | {maximum} if begins + 100 <= edge <= maximum}


def _sized(file: str, size: int) -> bytes:
    if file == "personal":
        return (size - 2).to_bytes(2, "big") + bytes(size - 2)
    return bytes.fromhex("0008 0010 0011") + (size - 1).to_bytes(2, "big") + bytes(size - 8)


def test_decoders_take_what_the_printer_writes(image: EGKImage) -> None:
    assert decode_personal_data(_content(image, 0xD001)).kvnr == FICTITIOUS_EGK.kvnr
    assert decode_insurance_data(_content(image, 0xD002)).insurer.number == FICTITIOUS_EGK.insurer


async def test_the_centre_can_open_pace_itself_over_the_relay(
    counter: Counter, image: EGKImage
) -> None:
    """Where the counter gives the access number: three round trips more."""
    card = SimulatedEGK(image, is_contactless=True)
    relay = Relay(card)
    nonce = counter.random.randbytes(32)[:24]

    def script() -> Script[OpenedEGK]:
        keys = (EphemeralKey(b"\1" * 32), b"\2" * 32)
        messaging = yield from establish("123123", keys)
        return (yield from protected(messaging, egk.open_card_whole(nonce)))

    file = await _drive(script(), relay)
    assert len(relay.batches) == 4
    assert file.personal.kvnr == FICTITIOUS_EGK.kvnr
    counter.anchors.verify_card(file.certificate, file.authority, today=TODAY)
    verify_value(file.certificate.point, file.signature, egk.signed_value(nonce))


async def _drive(script: Script[OpenedEGK], relay: Relay) -> OpenedEGK:
    try:
        batch = next(script)
        while True:
            batch = script.send((await relay.run(batch)).answers)
    except StopIteration as stop:
        file: OpenedEGK = stop.value
        return file
