"""Two sides of a day compared: totals, then row by row. Pure.

A row is named by msgid, terminal and whether it took money back; rows come in that order, compared
byte by byte, so that two sides are compared as two packs of sorted cards are. Not here: where rows
come from (`day_store.py`, `day_file.py`), what is kept of differences (`record_store.py`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, unique

from msgspec import structs

from protocol.terminal.messages import (
    DayTotal,
    DifferenceKind,
    ReconcileOutcome,
    ReconcileRow,
    RowKey,
    RowState,
    TotalCompared,
)

TotalKey = tuple[int, bool]
Key = tuple[str, str, bool]
Sides = tuple[ReconcileRow | None, ReconcileRow | None]


@unique
class Undone(IntEnum):
    """Who undid a row of the centre's, as far as its own terminal can know."""

    NOT = 0
    BY_ANOTHER_TERMINAL = 1
    BY_ITS_TERMINAL = 2


@dataclass(frozen=True, slots=True)
class CentreRow:
    """A row as the centre has it.

    Attributes:
        row: Its state is that of now.
        undone: Of a terminal's own day its state is only held against a terminal that undid it.
    """

    row: ReconcileRow
    undone: Undone = Undone.NOT


@dataclass(frozen=True, slots=True)
class Unlike:
    """A row on which the sides differ, before anyone has looked further."""

    kind: DifferenceKind
    centre: ReconcileRow | None
    institution: ReconcileRow | None

    @property
    def row(self) -> ReconcileRow:
        """The row of either side, for what names it."""
        row = self.centre or self.institution
        assert row is not None
        return row

    @property
    def gap_fen(self) -> int:
        """What the fund would owe by the centre's row less what by the institution's."""
        return owed_fen(self.centre) - owed_fen(self.institution)


def key_of(row: ReconcileRow | RowKey) -> Key:
    """Return what names a row, so that keys sort as rows are sent."""
    return row.msgid, row.terminal, row.is_refund


def owed_fen(row: ReconcileRow | None) -> int:
    """Return what the fund owes the institution for a row: what funds and accounts pay."""
    return 0 if row is None else row.fund_pay_fen + row.account_pay_fen


def totals_of(rows: Iterable[ReconcileRow]) -> tuple[DayTotal, ...]:
    """Add rows up by clearing type, refunds apart."""
    sums: dict[TotalKey, list[int]] = {}
    for row in rows:
        add_row(sums, row)
    return totals_from(sums)


def add_row(sums: dict[TotalKey, list[int]], row: ReconcileRow) -> None:
    """Add one row to sums that `totals_from` makes totals of."""
    of = sums.setdefault((row.clearing_type, row.is_refund), [0] * 5)
    for index, amount in enumerate(
        (1, row.total_fen, row.fund_pay_fen, row.account_pay_fen, row.cash_fen)
    ):
        of[index] += amount


def totals_from(sums: Mapping[TotalKey, Sequence[int]]) -> tuple[DayTotal, ...]:
    """Return sums as totals in the order of their keys."""
    return tuple(DayTotal(*key, *sums[key]) for key in sorted(sums))


def compare_totals(
    centre: Iterable[DayTotal], institution: Iterable[DayTotal]
) -> tuple[TotalCompared, ...]:
    """Compare each clearing type of either side; what one side leaves out, it has nothing of."""
    ours = {(one.clearing_type, one.is_refund): one for one in centre}
    theirs = {(one.clearing_type, one.is_refund): one for one in institution}
    compared: list[TotalCompared] = []
    for key in sorted({*ours, *theirs}):
        nothing = DayTotal(*key, 0, 0, 0, 0, 0)
        our, their = ours.get(key, nothing), theirs.get(key, nothing)
        compared.append(TotalCompared(_outcome(our, their), our, their))
    return tuple(compared)


def overall(compared: Iterable[TotalCompared]) -> ReconcileOutcome:
    """Return one outcome of all: that of those which differ, where they agree on it."""
    found = {one.outcome for one in compared} - {ReconcileOutcome.EQUAL}
    match len(found):
        case 0:
            return ReconcileOutcome.EQUAL
        case 1:
            return found.pop()
        case _:
            return ReconcileOutcome.DIFFER


def unlike_rows(
    centre: Iterable[CentreRow], institution: Iterable[ReconcileRow], *, is_one_terminals: bool
) -> Iterator[Unlike]:
    """Compare two sides in the order of their keys, each key once a side, reading each once.

    Args:
        centre: The centre's rows.
        institution: The institution's.
        is_one_terminals: Whether the institution's side is what one terminal knows.
    """
    ours, theirs = iter(centre), iter(institution)
    our, their = next(ours, None), next(theirs, None)
    while our is not None or their is not None:
        if their is None or (our is not None and key_of(our.row) < key_of(their)):
            assert our is not None
            yield Unlike(DifferenceKind.ONLY_CENTRE, our.row, None)
            our = next(ours, None)
        elif our is None or key_of(their) < key_of(our.row):
            yield Unlike(DifferenceKind.ONLY_INSTITUTION, None, their)
            their = next(theirs, None)
        else:
            kind = _kind(our, their, is_one_terminals=is_one_terminals)
            if kind is not None:
                yield Unlike(kind, our.row, their)
            our, their = next(ours, None), next(theirs, None)


def _outcome(centre: DayTotal, institution: DayTotal) -> ReconcileOutcome:
    pairs = list(zip(_sizes(centre), _sizes(institution), strict=True))
    has_more = any(ours > theirs for ours, theirs in pairs)
    has_less = any(ours < theirs for ours, theirs in pairs)
    if has_more and has_less:
        return ReconcileOutcome.DIFFER
    if has_more:
        return ReconcileOutcome.CENTRE_MORE
    return ReconcileOutcome.INSTITUTION_MORE if has_less else ReconcileOutcome.EQUAL


def _sizes(total: DayTotal) -> tuple[int, ...]:
    """Return a total's figures so that of refunds, too, more is more."""
    sign = -1 if total.is_refund else 1
    _, _, count, *amounts = structs.astuple(total)
    return count, *(sign * amount for amount in amounts)


def _kind(
    centre: CentreRow, institution: ReconcileRow, *, is_one_terminals: bool
) -> DifferenceKind | None:
    ours, theirs = _content(centre.row), _content(institution)
    if ours[1:] != theirs[1:] or (theirs[0] and ours[0] != theirs[0]):
        return DifferenceKind.AMOUNTS_DIFFER
    if is_one_terminals and centre.undone is Undone.BY_ANOTHER_TERMINAL:
        return None  # whether it has heard of that is not its own to know
    state = RowState.STANDS if centre.undone is Undone.NOT else RowState.UNDONE
    return None if institution.state is state else DifferenceKind.STATE_DIFFERS


def _content(row: ReconcileRow) -> tuple[str, int, int, int, int, int]:
    return (
        row.setl_id, row.clearing_type, row.total_fen, row.fund_pay_fen, row.account_pay_fen,
        row.cash_fen,
    )  # fmt: skip
