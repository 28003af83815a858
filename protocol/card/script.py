"""A card script: a generator that yields batches of commands and is sent their answers.

A script knows commands and layouts, not readers: whoever drives it runs each batch over a local
reader, relays it to a terminal, or takes the answers from a transcript. It is sent answers only
of a batch that ran to its end; where a batch stops early, its driver closes it.
"""

from collections.abc import Generator
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


class Step(Struct, frozen=True):
    """One command of a batch.

    Attributes:
        command: The command APDU; zeros where a challenge goes.
        expected: Status words on which the batch goes on.
        spans: Places for challenge bytes.
        condition: When to skip the step; a skipped step's answer is empty.
    """

    command: bytes
    expected: tuple[int, ...]
    spans: tuple[Span, ...] = ()
    condition: Condition | None = None


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
        Step(_filled(step, challenge), step.expected, (), step.condition) for step in batch
    )


def _filled(step: Step, challenge: bytes) -> bytes:
    command = bytearray(step.command)
    for span in step.spans:
        part = challenge[span.challenge_offset : span.challenge_offset + span.size]
        command[span.command_offset : span.command_offset + span.size] = part
    return bytes(command)
