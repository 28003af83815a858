"""What reconciliation is told and keeps, as values."""

from enum import IntEnum, unique

from msgspec import Struct

from protocol.terminal.messages import (
    DifferenceKind,
    ReconcileAdvice,
    ReconcileOutcome,
    RowDifference,
    TotalCompared,
)


@unique
class Source(IntEnum):
    """How an institution's side came."""

    MESSAGE = 1
    FILE = 2


@unique
class Resolution(IntEnum):
    """What became of a difference."""

    OPEN = 0
    AGREED = 1
    """A later comparison, row by row, did not find it any more."""
    DECIDED = 2
    """A person of the fund said why it may stay."""


class Origin(Struct, frozen=True):
    """Who sent the institution's side, and when.

    Attributes:
        operator_no: 0: nobody was named.
    """

    source: Source
    operator_no: int
    now_ms: int


class Run(Struct, frozen=True):
    """One comparison of totals, as kept.

    Attributes:
        terminal_no: 0: the whole institution's.
        business_date: YYYYMMDD.
        is_detailed: Whether it was followed row by row to the end.
    """

    run_no: int
    institution_no: int
    business_date: int
    terminal_no: int
    recorded_time_ms: int
    source: Source
    operator_no: int
    outcome: ReconcileOutcome
    is_provisional: bool
    is_detailed: bool
    compared: tuple[TotalCompared, ...]


class KeptDifference(Struct, frozen=True):
    """One difference, as kept.

    Attributes:
        terminal: The terminal's code as the row names it.
        gap_fen: What the fund would owe by the centre's row less what by the institution's.
        first_time_ms: Since when it is known.
        last_time_ms: When a comparison saw it last.
        resolved_time_ms: 0: it is open.
        operator_no: Who resolved it; 0 nobody.
    """

    difference_no: int
    institution_no: int
    business_date: int
    msgid: str
    terminal: str
    is_refund: bool
    run_no: int
    kind: DifferenceKind
    advice: ReconcileAdvice
    clearing_type: int
    gap_fen: int
    content: RowDifference
    first_time_ms: int
    last_time_ms: int
    resolution: Resolution
    resolved_time_ms: int
    operator_no: int
    reason: str
