"""What the counter felt of its requests, by stages: kept until the next request tells the centre.

It is told once, and lost with a request that is not answered: nothing depends on it. Not here:
where the time went at the centre, which its reply says (`answer.py`).
"""

from collections import deque
from collections.abc import Callable, Iterable
from enum import StrEnum, unique
from typing import Final

from msgspec import structs

from protocol.terminal.messages import Felt, StageTime

UNTOLD_MAX: Final = 8
"""Of requests answered at once; with the next one each takes one report along."""

_UINT32_MAX: Final = 2**32 - 1
_MICROSECONDS: Final = 1_000_000


@unique
class TerminalStage(StrEnum):
    """The stages at a terminal, in the order in which they mostly come."""

    POWER_UP = "power_up"
    """Of the card, by the reader."""
    CHIP = "chip"
    """The opening batch, run before the centre is asked."""
    QUEUE = "queue"
    """Waiting for a place among the requests in flight."""
    CONNECT = "connect"
    ROUND_TRIP = "round_trip"
    """From sending to the answer, or to what the centre wants of the card."""
    READER = "reader"
    """What the centre wanted of the card meanwhile."""
    PAUSE = "pause"
    """Between repetitions."""
    SIGN_ON = "sign_on"
    """Signing on again."""


class FeltClock:
    """Times of one request's stages at the terminal."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        """Start now, by a clock in seconds."""
        self._now_s = now_s
        self._started_s = self._at_s = now_s()
        self._stages: dict[TerminalStage, float] = {}

    def end(self, stage: TerminalStage) -> None:
        """Count the time since the last call as this stage's."""
        now_s = self._now_s()
        self._stages[stage] = self._stages.get(stage, 0.0) + now_s - self._at_s
        self._at_s = now_s

    def felt(self, type_: int, msgid: str, *, code: int, sends: int) -> Felt:
        """Say what was felt until now."""
        return Felt(
            type_,
            msgid,
            code,
            _microseconds(self._now_s() - self._started_s),
            sends,
            tuple(
                StageTime(stage.value, microseconds)
                for stage, seconds in self._stages.items()
                if (microseconds := _microseconds(seconds))
            ),
        )


class Untold:
    """Reports that the centre has not been told yet, a bounded number."""

    def __init__(self, outbox_doubts: Callable[[str], tuple[int, int]]) -> None:
        """Begin without any.

        Args:
            outbox_doubts: How many attempts are in doubt beside the one of a msgid, and for how
                many milliseconds the oldest.
        """
        self._outbox_doubts = outbox_doubts
        self._reports: deque[Felt] = deque(maxlen=UNTOLD_MAX)

    @property
    def reports(self) -> tuple[Felt, ...]:
        """What is to be told, oldest first."""
        return tuple(self._reports)

    def extend(self, reports: Iterable[Felt]) -> None:
        """Keep these too."""
        self._reports.extend(reports)

    def take(self, msgid: str) -> Felt | None:
        """Give the oldest report, to go with the request of this msgid; None without one."""
        if not self._reports:
            return None
        count, age_ms = self._outbox_doubts(msgid)
        return structs.replace(
            self._reports.popleft(),
            outbox_count=min(count, _UINT32_MAX),
            outbox_age_ms=max(age_ms, 0),
        )


def no_outbox(_msgid: str) -> tuple[int, int]:
    """Doubts of a terminal without an outbox."""
    return 0, 0


def _microseconds(seconds: float) -> int:
    return min(round(seconds * _MICROSECONDS), _UINT32_MAX)
