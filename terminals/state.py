"""What a terminal keeps between two commands: its sign-on and the card session, in a 0600 file.

Not here: attempts (`outbox.py`), and passwords and PINs, which are kept nowhere.
"""

import os
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from protocol.terminal.messages import Felt, OpeningBatch
from terminals.client import SignOnState

STATE_SIZE_MAX: Final = 1_000_000


class StateError(Exception):
    """The state file cannot be read or written."""


class KeptSignOn(Struct, frozen=True):
    """As `SignOnState`."""

    operator: str
    sign_no: str
    expires_time_ms: int
    openings: tuple[OpeningBatch, ...]
    fund_zh: str
    fund_en: str
    in_flight_max: int
    frame_size_max: int


class KeptCard(Struct, frozen=True):
    """The card opened last.

    Attributes:
        session: Goes into the envelope.
        ends_ms: By the terminal's clock, counted from receipt.
        psn_no: Whose card it is.
        holder: Their masked name, for the receipt.
    """

    session: bytes
    ends_ms: int
    psn_no: str
    holder: str


class State(Struct, frozen=True):
    """The whole file.

    Attributes:
        untold: What was felt and the centre has not been told yet.
    """

    sign_on: KeptSignOn | None = None
    card: KeptCard | None = None
    untold: tuple[Felt, ...] = ()

    def __repr__(self) -> str:
        """Show no secret."""
        return f"State(sign_on={self.sign_on is not None}, card={self.card is not None})"


def load_state(file: Path) -> State:
    """Read the state; an absent or outdated file is an empty one, for nothing in it is lost money.

    Raises:
        StateError: Others may read the file, or it cannot be read.
    """
    try:
        if file.stat().st_mode & 0o077:
            raise StateError(f"{file}: others may read it; use mode 0600")
        data = file.read_bytes()[:STATE_SIZE_MAX]
    except FileNotFoundError:
        return State()
    except OSError as error:
        raise StateError(f"{file}: {error}") from error
    try:
        return msgspec.json.decode(data, type=State)
    except msgspec.DecodeError:
        return State()


def save_state(file: Path, state: State) -> None:
    """Write the state, all or nothing.

    Raises:
        StateError: It cannot be written.
    """
    draft = file.with_name(f"{file.name}.{os.getpid()}.draft")
    try:
        draft.touch(mode=0o600)
        draft.write_bytes(msgspec.json.encode(state))
        draft.replace(file)
    except OSError as error:
        raise StateError(f"{file}: {error}") from error


def kept_sign_on(state: SignOnState) -> KeptSignOn:
    """Put a client's sign-on into the file's form."""
    return KeptSignOn(
        state.operator,
        state.sign_no,
        state.expires_time_ms,
        state.openings,
        state.fund_zh,
        state.fund_en,
        state.in_flight_max,
        state.frame_size_max,
    )


def sign_on_state(kept: KeptSignOn) -> SignOnState:
    """Give the client's form back."""
    return SignOnState(
        kept.operator,
        kept.sign_no,
        kept.expires_time_ms,
        kept.openings,
        kept.fund_zh,
        kept.fund_en,
        kept.in_flight_max,
        kept.frame_size_max,
    )
