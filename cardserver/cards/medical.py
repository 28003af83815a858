"""Reading a proven card's medical directory, with the holder's PIN asked at the terminal.

The PIN never comes here: batches carry templates, and of their answers only status words. Whatever
comes of it, the card stays opened: nothing that it says decides anything. Not here: commands and
layouts (`protocol/card/profiles/social_security_medical.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum, unique
from typing import TypeVar

from cardserver.cards.refusals import CardRefusal, CardRefusalReason
from cardserver.cards.visit import BatchRunner
from protocol.card.errors import CardDataError
from protocol.card.profiles import social_security_medical as medical
from protocol.card.profiles.social_security_card import PINState
from protocol.card.profiles.social_security_medical import MedicalRecords
from protocol.card.script import Batch, Script
from protocol.card.status_word import StatusWord, tries_left
from terminals.readers.channel import BatchAnswers, BatchOutcome

T = TypeVar("T")


@unique
class PINAction(IntEnum):
    """What the terminal is ready to ask for; the numbers are the wire's."""

    NONE = 0
    VERIFY = 1
    CHANGE = 2


@unique
class PINResult(IntEnum):
    """What became of the PIN; the numbers are the wire's."""

    NOT_ASKED = 0
    RIGHT = 1
    WRONG = 2
    BLOCKED = 3
    NOT_GIVEN = 4
    CHANGED = 5
    FAILED = 6


@dataclass(frozen=True, slots=True)
class MedicalVisit:
    """What came of it.

    Attributes:
        records: None where they were not wanted, or could not be read.
        pin_state: As it is now.
        pin_tries: As the card said last; -1 unknown.
    """

    records: MedicalRecords | None = field(repr=False)
    pin_state: PINState
    pin_tries: int
    pin_result: PINResult = PINResult.NOT_ASKED
    round_trips: int = 0
    card_time_us: int = 0


async def visit_medical(
    runner: BatchRunner,
    *,
    pin_state: PINState,
    pin_tries: int,
    action: PINAction,
    wants_records: bool,
) -> MedicalVisit | CardRefusal:
    """Read the medical directory, verify the PIN for it or change it: one round trip at most.

    Args:
        runner: Runs batches, and has the holder asked for the PINs in them.
        pin_state: What the opening batch's probe said.
        pin_tries: The same; -1 unknown.
        action: What the terminal is ready to ask for.
        wants_records: Whether to read the directory.
    """
    script = _script_for(pin_state, pin_tries, action, wants_records=wants_records)
    if script is None:
        return MedicalVisit(None, pin_state, pin_tries)
    batch = next(script)
    try:
        ran = await runner.run(batch)
        # A card may do without a PIN, or want none yet: then none was put anywhere.
        is_pin_used = any(step.pins for step in batch)
        result = PINResult.NOT_ASKED
        match ran.outcome:
            case BatchOutcome.CARD_REMOVED:
                return CardRefusal(CardRefusalReason.CARD_REMOVED)
            case BatchOutcome.READER_FAULT:
                return CardRefusal(CardRefusalReason.CARD_READER_FAULT)
            case BatchOutcome.UNEXPECTED_STATUS:
                return _stopped(batch, ran, pin_state, pin_tries)
            case BatchOutcome.COMPLETED:
                _check(batch, ran.answers)
        records = _send(script, ran.answers)
    except CardDataError as malformed:
        return CardRefusal(CardRefusalReason.CARD_DATA_MALFORMED, detail_en=str(malformed))
    finally:
        script.close()
    if is_pin_used:
        result = PINResult.CHANGED if action is PINAction.CHANGE else PINResult.RIGHT
    # A PIN that was right gives back all its tries; how many the card does not say.
    tries = -1 if is_pin_used else pin_tries
    return MedicalVisit(records, pin_state, tries, result, 1, ran.card_time_us)


def _script_for(
    state: PINState, tries: int, action: PINAction, *, wants_records: bool
) -> Script[MedicalRecords | None] | None:
    """Choose the batch; a PIN that is blocked is never tried."""
    if state is PINState.BLOCKED:
        return None
    if action is PINAction.CHANGE and state is not PINState.NOT_REQUIRED:
        if wants_records:
            return _optional(medical.change_pin_and_read(tries))
        return _optional(medical.change_holder_pin(tries))
    if not wants_records:
        return None
    if state is PINState.NOT_REQUIRED:
        return _optional(medical.read_freely())
    if action is PINAction.NONE:
        return None
    return _optional(medical.read_with_pin(tries))


def _optional(script: Script[T]) -> Script[T | None]:
    return (yield from script)


def _send(script: Script[T], answers: tuple[bytes, ...]) -> T:
    """Hand a script the answers to its only batch."""
    try:
        script.send(answers)
    except StopIteration as stop:
        value: T = stop.value
        return value
    raise AssertionError("the script has another batch")


def _stopped(
    batch: Batch, ran: BatchAnswers, state: PINState, tries: int
) -> MedicalVisit | CardRefusal:
    """Say why the card stopped the batch: the PIN, or something else."""
    if not 0 < len(ran.answers) <= len(batch):
        return _violation("a batch stopped outside itself")
    answer = ran.answers[-1]
    if not batch[len(ran.answers) - 1].pins:
        return MedicalVisit(None, state, tries, PINResult.FAILED, 1, ran.card_time_us)
    if not answer:
        return MedicalVisit(None, state, tries, PINResult.NOT_GIVEN, 1, ran.card_time_us)
    word = int.from_bytes(answer, "big")
    left = tries_left(word)
    if word == StatusWord.AUTHENTICATION_BLOCKED or left == 0:
        state, tries, result = PINState.BLOCKED, 0, PINResult.BLOCKED
    elif left is not None:
        state, tries, result = PINState.REQUIRED, left, PINResult.WRONG
    else:
        result = PINResult.FAILED
    return MedicalVisit(None, state, tries, result, 1, ran.card_time_us)


def _check(batch: Batch, answers: Sequence[bytes]) -> None:
    """Let only answers pass that the batch can have had; a terminal may say anything.

    Raises:
        CardDataError: They can't be.
    """
    if len(answers) != len(batch):
        raise CardDataError(f"{len(answers)} answers to {len(batch)} commands")
    for index, (step, answer) in enumerate(zip(batch, answers, strict=True)):
        if int.from_bytes(answer[-2:], "big") not in step.expected:
            raise CardDataError(f"step {index + 1} did not end as it should")
        if step.pins and len(answer) != 2:  # noqa: PLR2004 - SW1 and SW2
            raise CardDataError("more than a status word came back from a PIN")


def _violation(en: str) -> CardRefusal:
    return CardRefusal(CardRefusalReason.CARD_RELAY_VIOLATION, detail_en=en)
