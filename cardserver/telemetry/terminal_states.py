"""The terminals' last states, as the worker that listens to the broker holds them.

What comes from outside is checked here, and bounded: a state counts under the name in its topic,
which the broker's access list lets nobody else use. Not here: the table in which they are kept
(`terminal_states_store.py`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, unique

from msgspec import structs

from protocol.telemetry.messages import Presence, TelemetryError, TerminalState, decode_state
from protocol.telemetry.topics import TerminalName, terminal_of


@unique
class PresenceCode(IntEnum):
    """`Presence` in the table."""

    SIGNED_ON = 1
    SIGNED_OFF = 2
    LOST = 3


PRESENCE_CODES = {one: PresenceCode[one.name] for one in Presence}


@dataclass(frozen=True, slots=True)
class HeardState:
    """A terminal's state and when it was heard.

    Attributes:
        state: The last one that said more than that the terminal is lost, with its presence now.
        changed_time_ms: Since when its presence or session is what it is, by the centre's clock.
        heard_time_ms: When it was last heard, by the centre's clock.
        clock_skew_ms: By how much the terminal's clock was ahead of the centre's then.
    """

    state: TerminalState
    changed_time_ms: int
    heard_time_ms: int
    clock_skew_ms: int


class TerminalStates:
    """The last state of each terminal.

    Attributes:
        heard_count: States taken.
        refused_count: Payloads that were none, and states beyond `states_max`.
    """

    def __init__(self, states_max: int) -> None:
        """Hold at most so many."""
        self._states: dict[TerminalName, HeardState] = {}
        self._changed: dict[TerminalName, None] = {}  # in the order of their changes
        self._states_max = states_max
        self.heard_count = 0
        self.refused_count = 0

    def __len__(self) -> int:
        return len(self._states)

    @property
    def changed_count(self) -> int:
        """How many changed since they were taken."""
        return len(self._changed)

    def get(self, name: TerminalName) -> HeardState | None:
        """Give a terminal's state; None where nothing was heard of it."""
        return self._states.get(name)

    def counts(self) -> dict[Presence, int]:
        """Count terminals by presence."""
        counts = dict.fromkeys(Presence, 0)
        for heard in self._states.values():
            counts[heard.state.presence] += 1
        return counts

    def load(self, known: Iterable[tuple[TerminalName, HeardState]]) -> None:
        """Begin with what is kept in the table; what was heard meanwhile is newer."""
        for name, heard in known:
            if len(self._states) < self._states_max:
                self._states.setdefault(name, heard)

    def hear(self, topic: str, payload: bytes, *, now_ms: int) -> str:
        """Take a state from the broker.

        Returns:
            Why it was refused, for the log; empty where it was taken.
        """
        name = terminal_of(topic)
        if name is None:
            self.refused_count += 1
            return "the topic names no terminal"
        try:
            state = decode_state(payload)
        except TelemetryError as error:
            self.refused_count += 1
            return str(error)
        before = self._states.get(name)
        if before is None and len(self._states) >= self._states_max:
            self.refused_count += 1
            return "there are as many states as may be"
        if before is not None and _is_known(before.state, state):
            return ""  # kept by the broker, or sent twice
        self.heard_count += 1
        self._states[name] = _heard(before, state, now_ms)
        self._changed[name] = None
        return ""

    def take_changed(self, count_max: int) -> list[tuple[TerminalName, HeardState]]:
        """Take up to so many of those that changed since they were taken, the oldest first."""
        names = list(self._changed)[:count_max]
        for name in names:
            del self._changed[name]
        return [(name, self._states[name]) for name in names]

    def put_back(self, names: Iterable[TerminalName]) -> None:
        """Have them taken again: they could not be kept."""
        for name in names:
            self._changed[name] = None


def _is_known(before: TerminalState, state: TerminalState) -> bool:
    """Tell whether this state says nothing new."""
    if state.presence is Presence.LOST:
        return before.presence is Presence.LOST and before.session == state.session
    is_same = before.session == state.session and state.sequence <= before.sequence
    return is_same and before.presence is not Presence.LOST


def _heard(before: HeardState | None, state: TerminalState, now_ms: int) -> HeardState:
    if state.presence is Presence.LOST:
        # The last will was written when the terminal connected: it knows nothing but that.
        last = state if before is None else before.state
        return HeardState(
            structs.replace(last, presence=Presence.LOST, session=state.session),
            changed_time_ms=now_ms,
            heard_time_ms=now_ms if before is None else before.heard_time_ms,
            clock_skew_ms=0 if before is None else before.clock_skew_ms,
        )
    is_same_life = (
        before is not None
        and before.state.presence is state.presence
        and before.state.session == state.session
    )
    return HeardState(
        state,
        changed_time_ms=before.changed_time_ms if before is not None and is_same_life else now_ms,
        heard_time_ms=now_ms,
        clock_skew_ms=state.sent_time_ms - now_ms,
    )
