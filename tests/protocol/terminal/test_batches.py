"""A batch run as the specification's "Opening a card" says, and as our readers run it: the same.

The runner here is written from the words of `protocol/README.md` alone.
"""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from protocol.terminal.messages import (
    CardStep,
    ChallengeSpan,
    RelayOutcome,
    StepCondition,
)
from terminals.readers.channel import CardRemovedError, ReaderError, run_batch

CHALLENGE = bytes(range(0x80, 0xA0))


class TalkativeCard:
    """Answers any command by a hash of it: words of all kinds, data of a few bytes."""

    atr = b"\x3b\x00"

    def __init__(self, seed: int, fails_at: int) -> None:
        self.seed = seed
        self.fails_at = fails_at
        self.commands: list[bytes] = []

    def transmit(self, command: bytes) -> bytes:
        self.commands.append(command)
        if len(self.commands) == self.fails_at:
            raise CardRemovedError("pulled") if self.seed % 2 else ReaderError("broken")
        # A card's answers change: GET RESPONSE, sent again, must come to an end.
        place = bytes([self.seed, len(self.commands)])
        digest = hashlib.sha256(command + place).digest()
        if command[1] == 0xC0:
            return digest[: digest[0] % 4] + (b"\x61\x04" if digest[1] < 60 else b"\x90\x00")
        if digest[0] < 40 and len(command) == 5 and command[4] != 4:
            return b"\x6c\x04"
        words = (b"\x61\x03", b"\x90\x00", b"\x90\x00", b"\x90\x00", b"\x63\xc2", b"\x6a\x83")
        return digest[: digest[1] % 6] + words[digest[2] % len(words)]


def run_as_specified(
    card: TalkativeCard, steps: list[CardStep], challenge: bytes
) -> tuple[RelayOutcome, list[bytes]]:
    answers: list[bytes] = []
    for step in steps:
        if step.condition is not None:
            known = answers[step.condition.step][:-2]
            end = step.condition.offset + len(step.condition.value)
            if known[step.condition.offset : end] != step.condition.value:
                answers.append(b"")
                continue
        command = bytearray(step.command)
        for span in step.spans:
            part = challenge[span.challenge_offset : span.challenge_offset + span.size]
            command[span.command_offset : span.command_offset + span.size] = part
        try:
            answer = exchange_as_specified(card, bytes(command))
        except CardRemovedError:
            return RelayOutcome.CARD_REMOVED, answers
        except ReaderError:
            return RelayOutcome.READER_FAULT, answers
        answers.append(answer)
        if int.from_bytes(answer[-2:], "big") not in step.expected:
            return RelayOutcome.UNEXPECTED_STATUS, answers
    return RelayOutcome.COMPLETED, answers


def exchange_as_specified(card: TalkativeCard, command: bytes) -> bytes:
    answer = card.transmit(command)
    if len(answer) == 2 and answer[0] == 0x6C:
        answer = card.transmit(command[:4] + answer[1:])
    data = b""
    while answer[-2] == 0x61:
        data += answer[:-2]
        answer = card.transmit(bytes([command[0] & 3, 0xC0, 0, 0, answer[-1]]))
    return data + answer


# Commands without data (ISO/IEC 7816-3:2006, 12.1.3, cases 1 and 2) and one with challenge bytes.
COMMANDS = st.builds(
    lambda ins, p1, le: bytes([0x00, ins, p1, 0x00]) + le,
    st.sampled_from((0xB2, 0x84, 0xCA)),
    st.integers(0, 255),
    st.sampled_from((b"\x00", b"\x08")),
)
AUTHENTICATIONS = st.builds(
    CardStep,
    st.just(bytes.fromhex("0088000010") + bytes(16)),
    st.just((0x9000, 0x63C2, 0x6A83)),
    st.just((ChallengeSpan(5, 8, 8), ChallengeSpan(13, 0, 8))),
)


@st.composite
def batches(draw: st.DrawFn) -> list[CardStep]:
    steps: list[CardStep] = []
    for index in range(draw(st.integers(0, 8))):
        if draw(st.integers(0, 4)) == 0:
            steps.append(draw(AUTHENTICATIONS))
            continue
        condition = None
        if index and draw(st.booleans()):
            condition = StepCondition(
                draw(st.integers(0, index - 1)),
                draw(st.integers(0, 3)),
                draw(st.binary(max_size=1)),
            )
        expected = draw(st.sampled_from(((0x9000,), (0x9000, 0x63C2), (0x9000, 0x63C2, 0x6A83))))
        steps.append(CardStep(draw(COMMANDS), expected, (), condition))
    return steps


@given(steps=batches(), seed=st.integers(0, 255), fails_at=st.integers(0, 12))
def test_our_readers_run_batches_as_specified(
    steps: list[CardStep], seed: int, fails_at: int
) -> None:
    specified, ours = TalkativeCard(seed, fails_at), TalkativeCard(seed, fails_at)
    outcome, answers = run_as_specified(specified, steps, CHALLENGE)
    ran = run_batch(ours, steps, CHALLENGE)
    assert (int(ran.outcome), list(ran.answers)) == (int(outcome), answers)
    assert ours.commands == specified.commands


def test_the_challenge_goes_where_the_spans_say() -> None:
    card = TalkativeCard(0, 0)
    step = CardStep(
        bytes.fromhex("0088000010") + bytes(16),
        (0x9000,),
        (ChallengeSpan(5, 8, 8), ChallengeSpan(13, 0, 8)),
    )
    run_as_specified(card, [step], CHALLENGE)
    assert card.commands[0] == bytes.fromhex("0088000010") + CHALLENGE[8:16] + CHALLENGE[:8]
