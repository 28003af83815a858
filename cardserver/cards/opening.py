"""Opening a card: what is proven of it, and whether the registry lets it pass.

The terminal is believed nothing that matters. The card's key proves its identity to the centre's
own challenge; the registry's row of that identity decides; what else the card or the terminal
says has to agree with it. Checks follow part 7 of the card standard after that, the first
refusal that applies is the one reported. Not here: commands and layouts (`protocol/card`), keys
(`keystore.py`), card sessions (`session_token.py`).
"""

from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from cardserver.cards.keystore import CardKeyName, KeyStore, NotGenuineError, ProvenCard
from cardserver.cards.refusals import CardRefusal, CardRefusalReason
from cardserver.registry.values import Card, CardState
from protocol.card.catalogue import PROFILES, Opening, find_opening
from protocol.card.errors import AlgorithmUnsupportedError, CardDataError
from protocol.card.profiles import social_security_card
from protocol.card.profiles.social_security_card import Holder, OpenedFile
from protocol.card.profiles.social_security_keys import Algorithm
from protocol.card.script import Batch, Script, fill_challenge
from terminals.readers.channel import BatchAnswers, BatchOutcome, is_condition_met

T = TypeVar("T")
Reason = CardRefusalReason

OPENINGS: tuple[Opening, ...] = PROFILES
"""The opening batches, in the order in which their ATR is compared."""

PROOF_GENUINE_CARD = 2
"""The wire's `ProofLevel.GENUINE_CARD`: the card proved its key to the centre's own challenge."""

_BATCHES_MAX = 8


@dataclass(frozen=True, slots=True)
class FirstAnswers:
    """What a terminal sent along with CARD_OPEN.

    Attributes:
        opening: Number of the opening batch that it ran; 0 where it ran none, and the centre
            runs it now.
        challenge: The centre's challenge, taken from `Challenges` or, with opening 0, drawn now.
        answers: The batch's answers.
        outcome: How the terminal says that its reader fared.
        card_time_us: As the terminal measured it.
    """

    atr: bytes
    opening: int
    challenge: bytes = field(repr=False)
    answers: tuple[bytes, ...] = field(repr=False)
    outcome: BatchOutcome
    card_time_us: int = 0


class BatchRunner(Protocol):
    """Runs batches on the card at hand: over a relay to a terminal, or on a local reader."""

    async def run(self, batch: Batch) -> BatchAnswers:
        """Run one batch; its places are filled already."""
        ...


class CardRegistry(Protocol):
    """Where cards as issued are found."""

    async def card_by_identity(self, profile: str, region: str, identity: bytes) -> Card | None:
        """Find a card by what its key proves."""
        ...


@dataclass(frozen=True, slots=True)
class OpenedCard:
    """A card that passed.

    Attributes:
        card: As the registry has it.
        proof: A `ProofLevel` of the wire.
        pin_state: A `PINState` of the wire.
        pin_tries: -1 unknown.
        holder_name: From the card's holder file; empty where it was not read.
        holder_id: The social-security number from there.
        round_trips: Batches that were waited for, the opening batch included.
        card_time_us: Time in reader and card, in microseconds.
        external_authentications: How often the centre proved itself to the card: for the audit.
    """

    card: Card
    proof: int
    pin_state: int
    pin_tries: int
    holder_name: str = field(repr=False)
    holder_id: str = field(repr=False)
    round_trips: int
    card_time_us: int
    external_authentications: int


class _RefusedError(Exception):
    """Carries a refusal out of the steps below; never leaves this module."""

    def __init__(self, reason: CardRefusalReason, zh: str = "", en: str = "") -> None:
        super().__init__(reason.name)
        self.refusal = CardRefusal(reason, zh, en)


async def open_card(
    *,
    first: FirstAnswers,
    runner: BatchRunner,
    keys: KeyStore,
    cards: CardRegistry,
    issuers: tuple[bytes, ...],
    today: int,
    wants_holder: bool,
) -> OpenedCard | CardRefusal:
    """Verify a card and look it up.

    Args:
        first: The opening batch's answers, which the terminal sent along.
        runner: Runs further batches.
        keys: Root keys.
        cards: The registry.
        issuers: Beginnings of the initialising organisations accepted; empty accepts all that are
            registered.
        today: The fund's day, YYYYMMDD.
        wants_holder: Whether to read the holder's file where that takes another round trip.
    """
    visit = _Visit(first, runner)
    try:
        opening = _opening_of(first)
        file = await visit.follow(social_security_card.open_card(), opening)
        card = await _registered(first.atr, file, opening.profile, cards)
        proven = _proven(card, file, first.challenge, keys)
        _check_card(card, file, issuers, today)
        holder = await _read_holder(visit, file, proven, keys) if wants_holder else None
        holder_name = holder.name if holder else ""
    except _RefusedError as refused:
        return replace(refused.refusal, external_authentications=visit.external_authentications)
    except CardDataError as malformed:
        return CardRefusal(
            Reason.CARD_DATA_MALFORMED,
            detail_en=str(malformed),
            external_authentications=visit.external_authentications,
        )
    return OpenedCard(
        card=card,
        proof=PROOF_GENUINE_CARD,
        pin_state=int(file.pin_state),
        pin_tries=file.pin_tries,
        holder_name=holder_name,
        holder_id=holder.number if holder else "",
        round_trips=visit.round_trips,
        card_time_us=visit.card_time_us,
        external_authentications=visit.external_authentications,
    )


class _Visit:
    """One card's time in a reader: drives scripts, counts round trips."""

    def __init__(self, first: FirstAnswers, runner: BatchRunner) -> None:
        self._first = first
        self._runner = runner
        self.round_trips = 0
        self.card_time_us = first.card_time_us
        self.external_authentications = 0

    async def follow(self, script: Script[T], opening: Opening | None = None) -> T:
        """Drive a script to its end; its first batch may have been run before."""
        try:
            batch = next(script)
            if opening is not None:
                assert batch == opening.batch
                batch = script.send(await self._open(opening))
            for _ in range(_BATCHES_MAX):
                batch = script.send(await self._run(batch))
        except StopIteration as stop:
            value: T = stop.value
            return value
        finally:
            script.close()
        raise AssertionError("a script has no end")

    async def _open(self, opening: Opening) -> tuple[bytes, ...]:
        first = self._first
        if len(first.challenge) < opening.challenge_size:
            raise _RefusedError(Reason.CHALLENGE_NOT_VALID)
        if not first.opening:
            return await self._run(fill_challenge(opening.batch, first.challenge))
        self.round_trips += 1
        return _complete(opening.batch, first.outcome, first.answers)

    async def _run(self, batch: Batch) -> tuple[bytes, ...]:
        assert not any(step.spans for step in batch)
        self.round_trips += 1
        ran = await self._runner.run(batch)
        self.card_time_us += ran.card_time_us
        return _complete(batch, ran.outcome, ran.answers)


def _opening_of(first: FirstAnswers) -> Opening:
    opening = find_opening(first.atr)
    if opening is None:
        raise _RefusedError(Reason.CARD_UNKNOWN, en=f"ATR {first.atr.hex().upper()}")
    if first.opening not in {0, opening.number}:
        raise _RefusedError(
            Reason.CARD_RELAY_VIOLATION, en="the opening sent does not belong to this ATR"
        )
    return opening


def _complete(batch: Batch, outcome: BatchOutcome, answers: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Let only answers pass that the batch can have had; a terminal may say anything."""
    match outcome:
        case BatchOutcome.READER_FAULT:
            raise _RefusedError(Reason.CARD_READER_FAULT)
        case BatchOutcome.CARD_REMOVED:
            raise _RefusedError(Reason.CARD_REMOVED)
        case BatchOutcome.UNEXPECTED_STATUS:
            word = answers[-1][-2:].hex().upper() if answers else ""
            raise _RefusedError(
                Reason.CARD_UNEXPECTED_STATUS, f"第{len(answers)}步 {word}",
                f"step {len(answers)}: {word}",
            )  # fmt: skip
        case BatchOutcome.COMPLETED:
            _check_answers(batch, answers)
            return answers


def _check_answers(batch: Batch, answers: tuple[bytes, ...]) -> None:
    if len(answers) != len(batch):
        raise _RefusedError(
            Reason.CARD_RELAY_VIOLATION, en=f"{len(answers)} answers to {len(batch)} commands"
        )
    for index, (step, answer) in enumerate(zip(batch, answers, strict=True)):
        if step.condition is not None and not is_condition_met(step.condition, answers):
            if answer:
                raise _RefusedError(
                    Reason.CARD_RELAY_VIOLATION, en=f"step {index + 1} was to be skipped"
                )
        elif int.from_bytes(answer[-2:], "big") not in step.expected:
            raise _RefusedError(
                Reason.CARD_RELAY_VIOLATION, en=f"step {index + 1} did not end as it should"
            )


async def _registered(atr: bytes, file: OpenedFile, profile: str, cards: CardRegistry) -> Card:
    card = await cards.card_by_identity(profile, file.region, social_security_card.identity(atr))
    if card is None:
        raise _RefusedError(Reason.CARD_NOT_REGISTERED)
    return card


def _proven(card: Card, file: OpenedFile, challenge: bytes, keys: KeyStore) -> ProvenCard:
    """Verify the card's answer with the cipher that the registry, not the card, names."""
    algorithm = Algorithm(card.algorithm)
    if algorithm is Algorithm.SSF33:
        raise _RefusedError(Reason.CARD_ALGORITHM_UNSUPPORTED, en="SSF33")
    if file.algorithm is not algorithm:
        raise _RefusedError(
            Reason.CARD_ALGORITHM_MISMATCH,
            en=f"the card says {file.algorithm.name}, the registry {algorithm.name}",
        )
    try:
        return keys.internal_authentication(
            CardKeyName(algorithm, card.region, card.identity),
            factor=challenge[8:16],
            original=challenge[0:8],
            answer=file.authentication,
        )
    except AlgorithmUnsupportedError:
        raise _RefusedError(Reason.CARD_ALGORITHM_UNSUPPORTED) from None
    except NotGenuineError:
        raise _RefusedError(Reason.CARD_NOT_GENUINE) from None


def _check_card(card: Card, file: OpenedFile, issuers: tuple[bytes, ...], today: int) -> None:
    """Check in the order of part 7: list, organisation, class, version, validity."""
    if file.card_id != card.card_id:
        raise _RefusedError(Reason.CARD_IDENTITY_MISMATCH, "卡识别码", "card id")
    if file.card_number != card.card_number:
        raise _RefusedError(Reason.CARD_IDENTITY_MISMATCH, "社会保障卡号", "card number")
    if (file.begins, file.ends) != (card.begins, card.ends):
        raise _RefusedError(Reason.CARD_IDENTITY_MISMATCH, "卡有效期", "dates of validity")
    if card.state is not CardState.VALID:
        raise _RefusedError(Reason.CARD_REVOKED, _STATES_ZH[card.state], card.state.name.lower())
    if file.issuer != card.issuer or not card.issuer.startswith(issuers or b""):
        raise _RefusedError(Reason.CARD_ISSUER_REFUSED)
    if file.card_class != card.card_class:
        raise _RefusedError(Reason.CARD_CLASS_REFUSED)
    if file.version != card.version:
        raise _RefusedError(
            Reason.CARD_VERSION_MISMATCH, f"{file.version} {card.version}",
            f"the card says {file.version}, the registry {card.version}",
        )  # fmt: skip
    if today < card.begins:
        raise _RefusedError(Reason.CARD_NOT_YET_VALID, str(card.begins), str(card.begins))
    if today > card.ends:
        raise _RefusedError(Reason.CARD_EXPIRED, str(card.ends), str(card.ends))


async def _read_holder(
    visit: _Visit, file: OpenedFile, proven: ProvenCard, keys: KeyStore
) -> Holder | None:
    """Read the holder's file where the opening batch could not, or not the whole name."""
    if file.external_challenges is not None:
        original, factor = file.external_challenges
        authentication = keys.external_authentication(proven, factor=factor, original=original)
        visit.external_authentications += 1
        return await visit.follow(
            social_security_card.read_locked_holder(
                authentication=authentication, original=original
            )
        )
    if file.holder is not None and file.holder.name_continues:
        return await visit.follow(social_security_card.read_name_extension(file.holder))
    return file.holder


_STATES_ZH = {
    CardState.LOST: "已挂失",
    CardState.REPLACED: "已换发",
    CardState.FROZEN: "已冻结",
}
