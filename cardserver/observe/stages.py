"""Where one request's time goes: a clock that is told when a stage ends.

Not here: how stages are shown (`metrics.py`), or stored (the ledger's writer).
"""

import time
from collections.abc import Iterable
from enum import StrEnum, unique


@unique
class Stage(StrEnum):
    """The stages of a request, in the order in which they come."""

    QUEUE = "queue"
    """From the frame's last byte to the start of its handling."""
    DECODE = "decode"
    CARD_ROUND_TRIPS = "card_round_trips"
    """Waiting for a terminal's or the centre's reader, the chip included."""
    CHIP = "chip"
    """Of the round trips, the time in reader and card as the terminal reports it."""
    VERIFICATION = "verification"
    LOOKUP = "lookup"
    ADJUDICATION = "adjudication"
    COMMIT_WAIT = "commit_wait"
    """Waiting for a commit group to take the posting."""
    COMMIT = "commit"
    ENCODE = "encode"
    WRITE = "write"
    """Handing the reply to the transport."""


class StageClock:
    """Times of one request's stages, each added up where it comes more than once."""

    __slots__ = ("_at_ns", "nanoseconds", "started_ns", "waited_for_person")

    def __init__(self, started_ns: int | None = None) -> None:
        """Start at a reading of `time.perf_counter_ns`, by default now."""
        self.started_ns = time.perf_counter_ns() if started_ns is None else started_ns
        self._at_ns = self.started_ns
        self.nanoseconds: dict[str, int] = {}
        self.waited_for_person = False
        """Whether someone was asked for a PIN meanwhile: no objective holds for that."""

    def end(self, stage: str) -> None:
        """Count the time since the last call as this stage's."""
        now_ns = time.perf_counter_ns()
        self.nanoseconds[stage] = self.nanoseconds.get(stage, 0) + now_ns - self._at_ns
        self._at_ns = now_ns

    def add(self, stage: str, nanoseconds: int) -> None:
        """Count time that was measured elsewhere, and leave the running stage as it is."""
        self.nanoseconds[stage] = self.nanoseconds.get(stage, 0) + nanoseconds

    def skip(self) -> None:
        """Let the time since the last call belong to no stage, since it was added in parts."""
        self._at_ns = time.perf_counter_ns()

    def microseconds(self) -> list[tuple[str, int]]:
        """All stages so far, in whole microseconds."""
        return [(stage, value // 1000) for stage, value in self.nanoseconds.items()]

    def total_ns(self) -> int:
        """From the start to the last call."""
        return self._at_ns - self.started_ns


def in_order(stages: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """Sort stage times by the order in which the stages come; unknown ones last."""
    order = {stage.value: index for index, stage in enumerate(Stage)}
    return sorted(stages, key=lambda pair: order.get(pair[0], len(order)))
