"""A card as whoever sends it commands sees it, and how a batch of commands is run over it.

Here live the duties that ISO/IEC 7816-4 gives to the sending side: GET RESPONSE on `61xx`, the
exact length on `6Cxx`, stopping at an unexpected status word. Not here: PC/SC (`pcsc.py`).
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum, unique
from typing import Protocol, TypeVar

from msgspec import Struct

from protocol.card.apdu import SHORT_LE_MAX, decode_command
from protocol.card.atr import get_response_p2
from protocol.card.errors import CardDataError, StatusWordError
from protocol.card.pin import PINDigits, PINPlaceLike, fill_pins
from protocol.card.script import Script

T = TypeVar("T")

ANSWER_SIZE_MAX = 65_538
_GET_RESPONSES_MAX = 256
_STATUS_SIZE = 2
_BYTES_WAIT = 0x61
_WRONG_LE = 0x6C
_FOLLOWED = frozenset({_BYTES_WAIT, _WRONG_LE})


class ReaderError(Exception):
    """A reader, or the way to it, failed."""


class CardRemovedError(ReaderError):
    """The card was taken out, or stopped answering, before it had answered."""


class CardChannel(Protocol):
    """A powered card.

    Attributes:
        atr: Its answer to reset.
    """

    @property
    def atr(self) -> bytes:
        """The answer to reset."""
        ...

    def transmit(self, command: bytes) -> bytes:
        """Send one command APDU and wait for its answer.

        Raises:
            CardRemovedError: The card was taken out.
            ReaderError: The reader failed.
        """
        ...


class SpanLike(Protocol):
    """Anything shaped like `protocol.card.script.Span`."""

    @property
    def command_offset(self) -> int: ...  # noqa: D102 - as in Span
    @property
    def challenge_offset(self) -> int: ...  # noqa: D102 - as in Span
    @property
    def size(self) -> int: ...  # noqa: D102 - as in Span


class ConditionLike(Protocol):
    """Anything shaped like `protocol.card.script.Condition`."""

    @property
    def step(self) -> int: ...  # noqa: D102 - as in Condition
    @property
    def offset(self) -> int: ...  # noqa: D102 - as in Condition
    @property
    def value(self) -> bytes: ...  # noqa: D102 - as in Condition


class StepLike(Protocol):
    """Anything shaped like `protocol.card.script.Step`, a relayed step among them."""

    @property
    def command(self) -> bytes: ...  # noqa: D102 - as in Step
    @property
    def expected(self) -> Sequence[int]: ...  # noqa: D102 - as in Step
    @property
    def spans(self) -> Sequence[SpanLike]: ...  # noqa: D102 - as in Step
    @property
    def condition(self) -> ConditionLike | None: ...  # noqa: D102 - as in Step
    @property
    def pins(self) -> Sequence[PINPlaceLike]: ...  # noqa: D102 - as in Step


@dataclass(frozen=True, slots=True)
class PINStep:
    """A step whose PINs are in: sent once at most, of its answer only the status word is kept.

    Attributes:
        command: What is sent; empty where the holder gave no PIN, and the batch ends here.
    """

    command: bytes = field(repr=False)
    expected: Sequence[int]
    condition: ConditionLike | None
    spans: tuple[SpanLike, ...] = ()
    pins: tuple[PINPlaceLike, ...] = ()


@unique
class BatchOutcome(IntEnum):
    """How a batch fared; the numbers are those of the wire's `RelayOutcome`."""

    COMPLETED = 0
    UNEXPECTED_STATUS = 1
    CARD_REMOVED = 2
    READER_FAULT = 3


class BatchAnswers(Struct, frozen=True):
    """What came back from a batch.

    Attributes:
        outcome: With anything but COMPLETED, `answers` ends early; with UNEXPECTED_STATUS its
            last one holds the unexpected word.
        answers: Response APDUs in the order of the steps, empty for a skipped step.
        card_time_us: Time spent in reader and card, in microseconds.
        exchanges_count: Commands sent, GET RESPONSE and repetitions of length counted.
    """

    outcome: BatchOutcome
    answers: tuple[bytes, ...]
    card_time_us: int
    exchanges_count: int = 0


class BatchError(ReaderError):
    """A batch of commands is not well-formed: a place or condition points outside it."""


def run_batch(channel: CardChannel, batch: Sequence[StepLike], challenge: bytes) -> BatchAnswers:
    """Send a batch of commands, one after another, until one is answered unexpectedly.

    Args:
        channel: The card.
        batch: Steps; those of `protocol.card.script` or those of the wire.
        challenge: What fills the steps' places.

    Raises:
        BatchError: A place or condition points outside the batch, or a PIN is not in its place;
            nothing was sent of that step.
    """
    started = time.perf_counter_ns()
    transmit = channel.transmit
    answers: list[bytes] = []
    exchanges_count = 0
    outcome = BatchOutcome.COMPLETED
    try:
        for step in batch:
            if step.condition is not None and not is_condition_met(step.condition, answers):
                answers.append(b"")
                continue
            command = _command_of(step, challenge) if step.pins or step.spans else step.command
            # Where no PIN was given nothing is sent, and the batch ends here.
            answer = transmit(command) if command else b""
            exchanges_count += 1
            # Between two commands the chip works, and this has left the processor's caches: so
            # what most answers don't need is elsewhere.
            if len(answer) < _STATUS_SIZE or answer[-2] in _FOLLOWED or isinstance(step, PINStep):
                answer, more_count = _followed(channel, step, command, answer)
                exchanges_count += more_count
            answers.append(answer)
            if int.from_bytes(answer[-2:], "big") not in step.expected:
                outcome = BatchOutcome.UNEXPECTED_STATUS
                break
    except CardRemovedError:
        outcome = BatchOutcome.CARD_REMOVED
    except BatchError:
        raise
    except ReaderError:
        outcome = BatchOutcome.READER_FAULT
    card_time_us = (time.perf_counter_ns() - started) // 1000
    return BatchAnswers(outcome, tuple(answers), card_time_us, exchanges_count)


def put_pins(
    batch: Sequence[StepLike], pins: Mapping[int, PINDigits] | None
) -> tuple[StepLike, ...]:
    """Put PINs into the steps that have places for them.

    Args:
        batch: Steps.
        pins: By `PINKind`; None where the holder gave none, and the batch will end there.

    Raises:
        BatchError: A template is malformed, or is of a command that no PIN goes into.
    """
    try:
        return tuple(_with_pins(step, pins) if step.pins else step for step in batch)
    except CardDataError as malformed:
        raise BatchError(str(malformed)) from malformed


def run_script(channel: CardChannel, script: Script[T], challenge: bytes = b"") -> T:
    """Run a whole script over a card that is at hand.

    Raises:
        StatusWordError: A command was answered by an unexpected status word.
        CardRemovedError: The card was taken out.
        ReaderError: The reader failed.
        CardDataError: The script could not read an answer.
    """
    try:
        batch = next(script)
        while True:
            batch = script.send(_complete(run_batch(channel, batch, challenge)))
    except StopIteration as stop:
        value: T = stop.value
        return value
    finally:
        script.close()


def is_condition_met(condition: ConditionLike, answers: Sequence[bytes]) -> bool:
    """Say whether the step that has this condition is to be sent, after these answers.

    Raises:
        BatchError: It looks at a step that has not been answered yet.
    """
    if condition.step >= len(answers):
        raise BatchError("a condition looks at a later step")
    data = answers[condition.step][:-2]
    return data[condition.offset : condition.offset + len(condition.value)] == condition.value


def _complete(ran: BatchAnswers) -> tuple[bytes, ...]:
    match ran.outcome:
        case BatchOutcome.COMPLETED:
            return ran.answers
        case BatchOutcome.UNEXPECTED_STATUS:
            raise StatusWordError(int.from_bytes(ran.answers[-1][-2:], "big"))
        case BatchOutcome.CARD_REMOVED:
            raise CardRemovedError("the card was removed")
        case BatchOutcome.READER_FAULT:
            raise ReaderError("the reader failed")


def _command_of(step: StepLike, challenge: bytes) -> bytes:
    if step.pins:
        raise BatchError("a PIN is wanted that nobody was asked for")
    return _filled(step, challenge)


def _followed(
    channel: CardChannel, step: StepLike, command: bytes, answer: bytes
) -> tuple[bytes, int]:
    """See to `6Cxx` and `61xx` (ISO/IEC 7816-4:2020, 5.6, 11.8.1), or to a PIN's answer.

    Returns:
        The whole answer, and how many more exchanges it took.
    """
    if isinstance(step, PINStep):
        # Never repeated: each time takes a try, and a card that says otherwise is not believed.
        return (_checked(answer)[-2:], 0) if command else (b"", -1)
    more_count = 0
    if len(_checked(answer)) == _STATUS_SIZE and answer[0] == _WRONG_LE:
        answer = _checked(channel.transmit(_with_le(command, answer[-1])))
        more_count += 1
    if answer[-2] != _BYTES_WAIT:
        return answer, more_count
    collected = bytearray(answer[:-2])
    # GET RESPONSE goes on the command's own logical channel, without secure messaging.
    get_response = bytes((command[0] & 0x03, 0xC0, 0x00, get_response_p2(channel.atr)))
    for _ in range(_GET_RESPONSES_MAX):
        answer = _checked(channel.transmit(get_response + answer[-1:]))
        more_count += 1
        collected += answer[:-2]
        if answer[-2] != _BYTES_WAIT or len(collected) > ANSWER_SIZE_MAX:
            break
    if len(collected) + _STATUS_SIZE > ANSWER_SIZE_MAX or answer[-2] == _BYTES_WAIT:
        raise ReaderError("the card's answer has no end")
    return bytes(collected) + answer[-2:], more_count


def _checked(answer: bytes) -> bytes:
    if len(answer) < _STATUS_SIZE:
        raise ReaderError(f"the reader gave {len(answer)} bytes, an answer has at least 2")
    return answer


def _with_pins(step: StepLike, pins: Mapping[int, PINDigits] | None) -> PINStep:
    if step.spans:
        raise CardDataError("a command has places for a challenge and for a PIN")
    command = b"" if pins is None else fill_pins(step.command, step.pins, pins)
    return PINStep(command, step.expected, step.condition)


def _filled(step: StepLike, challenge: bytes) -> bytes:
    command = bytearray(step.command)
    for span in step.spans:
        part = challenge[span.challenge_offset : span.challenge_offset + span.size]
        if len(part) != span.size or span.command_offset + span.size > len(command):
            raise BatchError("a place for challenge bytes lies outside challenge or command")
        command[span.command_offset : span.command_offset + span.size] = part
    return bytes(command)


def _with_le(command: bytes, le: int) -> bytes:
    try:
        parts = decode_command(command)
    except CardDataError as malformed:
        raise BatchError("a command is malformed") from malformed
    return replace(parts, le=le or SHORT_LE_MAX, is_extended=False).encode()
