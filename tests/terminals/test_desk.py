"""The desk behind the commands: whose card is meant, and what is kept between commands."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from terminals.commands.attend import counter_of
from terminals.commands.desk import Desk
from terminals.config import TerminalConfig
from terminals.state import KeptCard, load_state, save_state

FIRST = KeptCard(b"first", 2**52, "11000000000001", "张*")
NEXT = KeptCard(b"next", 2**52, "11000000000002", "李*")


async def test_a_doubt_is_never_repeated_with_the_next_patients_card(
    centre: Any, config: TerminalConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert centre.port
    async with Desk(config) as desk:

        async def open_card() -> None:
            desk.state = msgspec.structs.replace(desk.state, card=NEXT)

        monkeypatch.setattr(desk, "open_card", open_card)
        await open_card()  # the next patient is at the counter already
        assert await desk._reopened_session(FIRST.psn_no) is None
        assert await desk._reopened_session(NEXT.psn_no) == NEXT.session


async def test_a_command_keeps_what_it_changed_and_no_more(
    centre: Any, config: TerminalConfig
) -> None:
    """Of two commands at once the one that ends last must not bring a patient back."""
    assert centre.port
    file = Path(config.state_file)
    save_state(file, msgspec.structs.replace(load_state(file), card=FIRST))
    async with Desk(config) as long:
        async with Desk(config) as short:
            await short.client.sign_on("1001", "correct horse")
            short.state = msgspec.structs.replace(short.state, card=NEXT)
        await long.client.echo()  # felt, and so to be kept
    kept = load_state(file)
    assert kept.card == NEXT
    assert kept.sign_on is not None
    assert kept.untold


async def test_what_the_cashier_waited_is_there_to_be_said(
    centre: Any, config: TerminalConfig
) -> None:
    """`attend` and `watch` tell the fund of it over the broker."""
    assert centre.port
    async with Desk(config) as desk:
        assert counter_of(desk).felt.summary().count == 0
        await desk.client.echo()
        await desk.client.echo()
        assert counter_of(desk).felt.summary().count == 2
