"""Challenge bytes go into their places and nowhere else."""

from hypothesis import given
from hypothesis import strategies as st

from protocol.card.script import Span, Step, challenge_size, fill_challenge


@given(st.binary(min_size=20, max_size=20), st.binary(min_size=32, max_size=32), st.data())
def test_only_the_places_change(command: bytes, challenge: bytes, data: st.DataObject) -> None:
    size = data.draw(st.integers(0, 8))
    span = Span(data.draw(st.integers(0, 20 - size)), data.draw(st.integers(0, 32 - size)), size)
    (filled,) = fill_challenge((Step(command, (0x9000,), (span,)),), challenge)
    start, end = span.command_offset, span.command_offset + size
    assert filled.command[:start] + filled.command[end:] == command[:start] + command[end:]
    assert filled.command[start:end] == challenge[span.challenge_offset :][:size]


def test_a_batch_says_how_long_a_challenge_it_wants() -> None:
    assert challenge_size(()) == 0
    assert challenge_size((Step(bytes(30), (0x9000,), (Span(5, 24, 8), Span(13, 0, 8))),)) == 32
