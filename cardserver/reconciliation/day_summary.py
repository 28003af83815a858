"""A day of all institutions: who has reconciled, who hasn't, and with what outcome."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, unique

from cardserver.reconciliation.day_store import Share, day_shares
from cardserver.reconciliation.institutions_store import InstitutionNamed, institutions
from cardserver.reconciliation.record_store import runs_of_day
from cardserver.reconciliation.resolving_store import LIMIT_MAX, Wanted, list_differences
from cardserver.reconciliation.values import Run
from ledger.database_store import Database
from protocol.terminal.messages import ReconcileOutcome


@unique
class DayState(Enum):
    """How far an institution's day is reconciled; text in Chinese and English."""

    AGREED = "对平", "agreed"
    DIFFERS = "不平", "differs"
    PARTLY = "部分终端已对账", "some terminals have reconciled"
    PROVISIONAL = "仅暂定", "provisionally only"
    MISSING = "未对账", "not reconciled"
    NOTHING = "无交易", "nothing happened"


@dataclass(frozen=True, slots=True)
class Figures:
    """The centre's sums: settlements less undoings."""

    count: int = 0
    refund_count: int = 0
    total_fen: int = 0
    fund_pay_fen: int = 0
    account_pay_fen: int = 0
    cash_fen: int = 0


@dataclass(frozen=True, slots=True)
class InstitutionDay:
    """An institution's day.

    Attributes:
        outcome: Of the comparison that counts for the whole institution; None where its terminals
            reconcile for themselves, or nobody does.
        terminals: How many terminals did something.
        terminals_reconciled: How many of them have reconciled the day when it was over.
        open_count: Differences that are open.
    """

    institution: InstitutionNamed
    state: DayState
    outcome: ReconcileOutcome | None
    figures: Figures
    terminals: int
    terminals_reconciled: int
    open_count: int


@dataclass(slots=True)
class _Gathered:
    shares: list[Share] = field(default_factory=list)
    runs: dict[int, Run] = field(default_factory=dict)
    open_count: int = 0


async def summarize_day(database: Database, day: int) -> list[InstitutionDay]:
    """Say of each institution how its day stands, in the order of their codes.

    Institutions whose contract is over are left out where nothing happened.
    """
    found: dict[int, _Gathered] = {}
    for share in await day_shares(database, day):
        found.setdefault(share.institution_no, _Gathered()).shares.append(share)
    for run in await runs_of_day(database, day):
        # In order, so that the last one counts.
        found.setdefault(run.institution_no, _Gathered()).runs[run.terminal_no] = run
    for one in await list_differences(database, Wanted(day=day, limit=LIMIT_MAX)):
        found.setdefault(one.difference.institution_no, _Gathered()).open_count += 1
    return [
        _day_of(one, found.get(one.institution_no, _Gathered()))
        for one in await institutions(database)
        if one.institution_no in found or one.is_contracted(day)
    ]


def _day_of(institution: InstitutionNamed, gathered: _Gathered) -> InstitutionDay:
    whole = gathered.runs.get(0)
    terminals = {share.terminal_no for share in gathered.shares}
    own = {number: run for number, run in gathered.runs.items() if number}
    reconciled = {number for number, run in own.items() if not run.is_provisional}
    return InstitutionDay(
        institution=institution,
        state=_state(gathered, whole, own, terminals=terminals, reconciled=reconciled),
        outcome=None if whole is None else whole.outcome,
        figures=_figures(gathered.shares),
        terminals=len(terminals),
        terminals_reconciled=len(terminals & reconciled),
        open_count=gathered.open_count,
    )


def _state(
    gathered: _Gathered,
    whole: Run | None,
    own: dict[int, Run],
    *,
    terminals: set[int],
    reconciled: set[int],
) -> DayState:
    if whole is not None and not whole.is_provisional:
        return _of_runs([whole], gathered.open_count)
    if reconciled and terminals <= reconciled:
        return _of_runs([own[number] for number in sorted(reconciled)], gathered.open_count)
    if reconciled:
        return DayState.DIFFERS if gathered.open_count else DayState.PARTLY
    if gathered.runs:
        return DayState.PROVISIONAL
    return DayState.MISSING if terminals else DayState.NOTHING


def _of_runs(runs: Sequence[Run], open_count: int) -> DayState:
    """Judge comparisons of a day that is over; what was found row by row and resolved is gone."""
    if open_count:
        return DayState.DIFFERS
    unequal = [run for run in runs if run.outcome is not ReconcileOutcome.EQUAL]
    return DayState.AGREED if all(run.is_detailed for run in unequal) else DayState.DIFFERS


def _figures(shares: Iterable[Share]) -> Figures:
    figures = Figures()
    for one in shares:
        figures = Figures(
            figures.count + (0 if one.is_refund else one.count),
            figures.refund_count + (one.count if one.is_refund else 0),
            figures.total_fen + one.total_fen,
            figures.fund_pay_fen + one.fund_pay_fen,
            figures.account_pay_fen + one.account_pay_fen,
            figures.cash_fen + one.cash_fen,
        )
    return figures
