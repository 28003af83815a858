"""Every card type has all its pieces, and the transcripts play."""

import importlib
from pathlib import Path

import pytest

from cardserver.cards.opening import VERIFIERS
from protocol.card.catalogue import (
    NOT_THIS_APPLICATION,
    OPENINGS,
    PROFILES,
    Opening,
    Profile,
    after_select,
    find_opening,
    probe,
)
from protocol.card.script import Condition, Step
from protocol.terminal.messages import STEPS_MAX
from simulators.card.transcript import Transcript, read_transcript
from terminals.readers.channel import BatchOutcome, run_batch

ROOT = Path(__file__).parents[3]
TRANSCRIPTS = ROOT / "tests" / "vectors" / "cards"
CHALLENGE = bytes(range(32))


class PlayedCard:
    """A card that answers as its transcript says, in order and nothing else."""

    def __init__(self, transcript: Transcript) -> None:
        self.atr = transcript.atr
        (self.exchanges,) = transcript.visits
        self.position = 0

    def transmit(self, command: bytes) -> bytes:
        exchange = self.exchanges[self.position]
        assert exchange.is_for(command), f"exchange {self.position + 1} is {command.hex()}"
        self.position += 1
        return exchange.answer


def missing_pieces(profile: Profile) -> list[str]:
    """Name what a card type still needs."""
    transcript = TRANSCRIPTS / f"{profile.name}.txt"
    readme = (ROOT / "protocol" / "card" / "README.md").read_text(encoding="utf-8")
    pieces = {
        f"protocol/card/profiles/{profile.name}.py": (
            ROOT / "protocol" / "card" / "profiles" / f"{profile.name}.py"
        ).is_file(),
        "a verification in cardserver.cards.opening.VERIFIERS": profile.name in VERIFIERS,
        "an opening in its line of the catalogue": bool(profile.openings),
        f"tests/vectors/cards/{profile.name}.txt": transcript.is_file(),
        f"profiles/{profile.name}.py in protocol/card/README.md": (
            f"profiles/{profile.name}.py" in readme
        ),
    }
    return [piece for piece, is_there in pieces.items() if not is_there]


def test_every_profile_has_all_its_pieces() -> None:
    missing = {profile.name: missing_pieces(profile) for profile in PROFILES}
    assert not any(missing.values()), missing


def test_a_profile_without_pieces_is_told_which() -> None:
    missing = missing_pieces(Profile("nobody", b"\x00\xa4\x04\x00\x01\x00", ()))
    assert len(missing) == 5
    assert "tests/vectors/cards/nobody.txt" in missing


def test_every_transcript_and_verification_belongs_to_a_profile() -> None:
    names = {profile.name for profile in PROFILES}
    assert {path.stem for path in TRANSCRIPTS.glob("*.txt")} <= names
    assert set(VERIFIERS) <= names
    for name in names:
        assert name == importlib.import_module(f"protocol.card.profiles.{name}").PROFILE


@pytest.mark.parametrize("path", sorted(TRANSCRIPTS.glob("*.txt")), ids=lambda path: path.stem)
def test_a_transcript_plays_to_its_end(path: Path) -> None:
    card = PlayedCard(read_transcript(path))
    opening = find_opening(card.atr)
    assert opening is not None
    assert opening.profile == path.stem
    ran = run_batch(card, opening.batch, CHALLENGE)
    assert ran.outcome is BatchOutcome.COMPLETED
    assert card.position == len(card.exchanges)
    assert "made-up" in path.read_text() or "fictitious" in path.read_text()


def test_names_and_selects_are_different() -> None:
    assert len({profile.name for profile in PROFILES}) == len(PROFILES)
    assert len({profile.select for profile in PROFILES}) == len(PROFILES)


def test_every_batch_fits_a_message() -> None:
    for opening in OPENINGS:
        assert len(opening.batch) <= STEPS_MAX
        assert len(opening.atr) == len(opening.atr_mask)
        assert all(len(step.expected) <= 64 for step in opening.batch)
    assert len(OPENINGS) <= 64


def test_no_atr_is_of_two_profiles() -> None:
    """Where all bits that both compare are alike, an ATR could be either's."""
    for one in OPENINGS:
        for other in OPENINGS:
            if one.profile != other.profile and len(one.atr) == len(other.atr):
                assert any(
                    (a ^ b) & m & n
                    for a, b, m, n in zip(
                        one.atr, other.atr, one.atr_mask, other.atr_mask, strict=True
                    )
                ), (one.profile, other.profile)


def test_the_probe_asks_each_profile_once_and_in_order() -> None:
    batch = probe(PROFILES)
    assert [step.command for step in batch] == [profile.select for profile in PROFILES]
    assert all(0x9000 not in step.expected for step in batch)
    assert all(step.expected == NOT_THIS_APPLICATION for step in batch)


def test_conditions_move_with_their_steps() -> None:
    select, other = b"\x00\xa4\x04\x00\x01\x01", b"\x00\xb0\x00\x00\x01"
    step = Step(other, (0x9000,))
    conditional = Step(other, (0x9000,), condition=Condition(1, 0, b"\x01"))

    def opening(*batch: Step) -> Opening:
        return Opening(99, "nobody", b"", b"", batch, 0)

    rest = after_select(opening(Step(select, (0x9000,)), step, conditional), select)
    assert rest == (step, Step(other, (0x9000,), condition=Condition(0, 0, b"\x01")))
    assert after_select(opening(step, step), select) is None
    looks_at_select = Step(other, (0x9000,), condition=Condition(0, 0, b"\x6f"))
    assert after_select(opening(Step(select, (0x9000,)), looks_at_select), select) is None
