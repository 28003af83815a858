"""One card's time in a reader: which card it is, its scripts driven, its round trips counted.

Not here: what a card's answers prove; each profile has a module for that (`opening.py` names
them).
"""

from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from cardserver.cards.keystore import KeyStore
from cardserver.cards.refusals import CardRefusal, CardRefusalReason
from cardserver.cards.trust_anchors import TrustAnchors
from cardserver.registry.values import Card
from protocol.card.catalogue import (
    NOT_THIS_APPLICATION,
    PROFILES,
    Opening,
    Profile,
    after_select,
    find_opening,
    probe,
)
from protocol.card.script import Batch, Script, fill_challenge
from protocol.card.status_word import StatusWord
from terminals.readers.channel import BatchAnswers, BatchOutcome, is_condition_met

T = TypeVar("T")
Reason = CardRefusalReason

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
        """Find a card by what it proves, or claims, to be."""
        ...


@dataclass(frozen=True, slots=True)
class Trust:
    """What a card is judged by.

    Attributes:
        keys: Root keys.
        cards: The registry.
        issuers: Beginnings of the initialising organisations accepted; empty accepts all that are
            registered.
        today: The fund's day, YYYYMMDD.
        wants_holder: Whether to read the holder's file where that takes another round trip.
        anchors: Who is trusted to certify cards that have certificates.
    """

    keys: KeyStore
    cards: CardRegistry
    issuers: tuple[bytes, ...]
    today: int
    wants_holder: bool
    anchors: TrustAnchors = field(default_factory=TrustAnchors)


class RefusedError(Exception):
    """Carries a refusal out of a verification; never leaves `open_card`."""

    def __init__(self, reason: CardRefusalReason, zh: str = "", en: str = "") -> None:
        super().__init__(reason.name)
        self.refusal = CardRefusal(reason, zh, en)


class Visit:
    """One card's time in a reader.

    Args:
        first: The opening batch's answers, which the terminal sent along.
        runner: Runs further batches.
        trust: What the card is judged by.
    """

    def __init__(self, first: FirstAnswers, runner: BatchRunner, trust: Trust) -> None:
        self.trust = trust
        self.atr = first.atr
        self.challenge = first.challenge
        self.round_trips = 0
        self.card_time_us = first.card_time_us
        self.external_authentications = 0
        self._first = first
        self._runner = runner
        self._opened: tuple[bytes, ...] = ()

    async def recognise(self) -> Opening:
        """Say which card it is, and have its opening batch answered.

        The ATR tells, or, where it is unknown or its application is not on the card, the first
        application that lets itself be selected.
        """
        opening = find_opening(self.atr)
        if opening is None:
            # A terminal has nothing to send along to an ATR that the centre does not know.
            if self._first.opening:
                raise self._unknown()
            return await self._probe(PROFILES)
        if self._first.opening not in {0, opening.number}:
            raise RefusedError(
                Reason.CARD_RELAY_VIOLATION, en="the opening sent does not belong to this ATR"
            )
        ran = await self._first_ran(opening)
        if _is_other_card(ran):
            return await self._probe([each for each in PROFILES if each.name != opening.profile])
        self._opened = _complete(opening.batch, ran)
        return opening

    async def follow(self, script: Script[T], opening: Opening | None = None) -> T:
        """Drive a script to its end; its first batch is the opening's, where one is given."""
        try:
            batch = next(script)
            if opening is not None:
                assert batch == opening.batch
                batch = script.send(self._opened)
            for _ in range(_BATCHES_MAX):
                batch = script.send(_complete(batch, await self._run(batch)))
        except StopIteration as stop:
            value: T = stop.value
            return value
        finally:
            script.close()
        raise AssertionError("a script has no end")

    async def _first_ran(self, opening: Opening) -> BatchAnswers:
        if not self._first.opening:
            return await self._run(self._filled(opening, opening.batch))
        self._check_challenge(opening)
        self.round_trips += 1
        return BatchAnswers(self._first.outcome, self._first.answers, 0)

    async def _probe(self, profiles: tuple[Profile, ...] | list[Profile]) -> Opening:
        """Find the card's application in one batch, then open the card in another."""
        batch = probe(profiles)
        ran = await self._run(batch)
        if ran.outcome is not BatchOutcome.UNEXPECTED_STATUS:
            _complete(batch, ran)
            raise self._unknown()
        found = len(ran.answers) - 1
        if not 0 <= found < len(profiles):
            raise RefusedError(Reason.CARD_RELAY_VIOLATION, en="answers to no commands")
        _check_answers(batch[:found], ran.answers[:found])
        selected = ran.answers[found]
        if int.from_bytes(selected[-2:], "big") != StatusWord.OK:
            _complete(batch, ran)
        opening = profiles[found].openings[0]
        rest = after_select(opening, profiles[found].select)
        if rest is None:
            ran = await self._run(self._filled(opening, opening.batch))
            self._opened = _complete(opening.batch, ran)
        else:
            ran = await self._run(self._filled(opening, rest))
            self._opened = (selected, *_complete(rest, ran))
        return opening

    async def _run(self, batch: Batch) -> BatchAnswers:
        assert not any(step.spans for step in batch)
        self.round_trips += 1
        ran = await self._runner.run(batch)
        self.card_time_us += ran.card_time_us
        return ran

    def _unknown(self) -> RefusedError:
        return RefusedError(Reason.CARD_UNKNOWN, en=f"ATR {self.atr.hex().upper()}")

    def _check_challenge(self, opening: Opening) -> None:
        if len(self.challenge) < opening.challenge_size:
            raise RefusedError(Reason.CHALLENGE_NOT_VALID)

    def _filled(self, opening: Opening, batch: Batch) -> Batch:
        self._check_challenge(opening)
        return fill_challenge(batch, self.challenge)


def _is_other_card(ran: BatchAnswers) -> bool:
    """Say whether the card's first words are that it has no such application."""
    return (
        ran.outcome is BatchOutcome.UNEXPECTED_STATUS
        and len(ran.answers) == 1
        and len(ran.answers[0]) == 2  # noqa: PLR2004 - SW1 and SW2
        and int.from_bytes(ran.answers[0], "big") in NOT_THIS_APPLICATION
    )


def _complete(batch: Batch, ran: BatchAnswers) -> tuple[bytes, ...]:
    """Let only answers pass that the batch can have had; a terminal may say anything."""
    match ran.outcome:
        case BatchOutcome.READER_FAULT:
            raise RefusedError(Reason.CARD_READER_FAULT)
        case BatchOutcome.CARD_REMOVED:
            raise RefusedError(Reason.CARD_REMOVED)
        case BatchOutcome.UNEXPECTED_STATUS:
            word = ran.answers[-1][-2:].hex().upper() if ran.answers else ""
            raise RefusedError(
                Reason.CARD_UNEXPECTED_STATUS, f"第{len(ran.answers)}步 {word}",
                f"step {len(ran.answers)}: {word}",
            )  # fmt: skip
        case BatchOutcome.COMPLETED:
            _check_answers(batch, ran.answers)
            return ran.answers


def _check_answers(batch: Batch, answers: tuple[bytes, ...]) -> None:
    if len(answers) != len(batch):
        raise RefusedError(
            Reason.CARD_RELAY_VIOLATION, en=f"{len(answers)} answers to {len(batch)} commands"
        )
    for index, (step, answer) in enumerate(zip(batch, answers, strict=True)):
        if step.condition is not None and not is_condition_met(step.condition, answers):
            if answer:
                raise RefusedError(
                    Reason.CARD_RELAY_VIOLATION, en=f"step {index + 1} was to be skipped"
                )
        elif int.from_bytes(answer[-2:], "big") not in step.expected:
            raise RefusedError(
                Reason.CARD_RELAY_VIOLATION, en=f"step {index + 1} did not end as it should"
            )
