"""A card script: a generator that yields batches of commands and is sent their answers.

A script knows commands and layouts, not readers: whoever drives it runs each batch over a local
reader, relays it to a terminal, or takes the answers from a transcript. It is sent answers only
of a batch that ran to its end; where a batch stops early, its driver closes it.
"""

from collections.abc import Generator
from enum import IntEnum, unique
from typing import TypeVar

from msgspec import Struct

T = TypeVar("T")


class Span(Struct, frozen=True):
    """Where bytes of a challenge are put into a command before it is sent.

    Attributes:
        command_offset: Index of the first byte replaced.
        challenge_offset: Index of the first byte taken from the challenge.
        size: How many bytes.
    """

    command_offset: int
    challenge_offset: int
    size: int


class Condition(Struct, frozen=True):
    """Send the step only if an earlier answer of the batch holds these bytes.

    Attributes:
        step: Index of the earlier step in the batch.
        offset: Index into its answer, without status word.
        value: What must stand there.
    """

    step: int
    offset: int
    value: bytes


@unique
class PINKind(IntEnum):
    """Which PIN is put into a command; the numbers are the wire's."""

    CURRENT = 1
    NEW = 2


@unique
class PINFormat(IntEnum):
    """How a PIN is written into a command; the numbers are the wire's."""

    BCD = 1
    """Two digits a byte, an odd one padded with F."""
    BLOCK_2 = 2
    """Eight bytes: 2, how many digits, the digits, F (ISO 9564-1:2017, format 2)."""


class PINPlace(Struct, frozen=True):
    """Where whoever asks the holder for a PIN puts it; the centre never sees one.

    Attributes:
        command_offset: Index in the template before which the PIN is inserted; Lc, the fifth byte,
            grows with it.
        kind: Which PIN, a `PINKind`.
        form: How it is written, a `PINFormat`.
        tries_left: What the card said last; -1 unknown. To be shown to the holder.
    """

    command_offset: int
    kind: PINKind
    form: PINFormat
    tries_left: int = -1


class Step(Struct, frozen=True):
    """One command of a batch.

    Attributes:
        command: The command APDU; zeros where a challenge goes.
        expected: Status words on which the batch goes on.
        spans: Places for challenge bytes.
        condition: When to skip the step; a skipped step's answer is empty.
        pins: Places for PINs. Such a step is sent once at most, whatever the card answers, and of
            its answer only the status word is kept. Where the holder gives no PIN, its answer is
            empty and the batch ends with it.
    """

    command: bytes
    expected: tuple[int, ...]
    spans: tuple[Span, ...] = ()
    condition: Condition | None = None
    pins: tuple[PINPlace, ...] = ()


Batch = tuple[Step, ...]
Script = Generator[Batch, tuple[bytes, ...], T]


def challenge_size(batch: Batch) -> int:
    """Say how many bytes a challenge must have to fill a batch's places."""
    return max(
        (span.challenge_offset + span.size for step in batch for span in step.spans), default=0
    )


def fill_challenge(batch: Batch, challenge: bytes) -> Batch:
    """Put a challenge into its places, so that whoever runs the batch needs none."""
    assert len(challenge) >= challenge_size(batch)
    return tuple(
        Step(_filled(step, challenge), step.expected, (), step.condition, step.pins)
        for step in batch
    )


def _filled(step: Step, challenge: bytes) -> bytes:
    command = bytearray(step.command)
    for span in step.spans:
        part = challenge[span.challenge_offset : span.challenge_offset + span.size]
        command[span.command_offset : span.command_offset + span.size] = part
    return bytes(command)
