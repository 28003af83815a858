"""A month's clearing: previewed, and run.

A run reads and recomputes the month in one snapshot, and refuses where the two disagree. Then it
posts one act a clearing (`ledger/fund_acts.py`), each at most once: killed half-way, the same run
again does what is missing; run twice, it does nothing. Not here: what is cleared, and with what
result (`plan.py`).
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cardserver.clearing.calculation import clearing_entry
from cardserver.clearing.clearing_store import (
    ClearingMonth,
    begin_month,
    clearing_queries,
    end_month,
    read_month_and_terms,
    uncleared_before,
)
from cardserver.clearing.errors import ClearingError
from cardserver.clearing.plan import Clearing, MonthBooks, Plan, plan
from cardserver.clearing.readiness import NotReadyError, be_ready
from cardserver.clearing.terms import Terms
from cardserver.registry.values import Actor
from ledger.bulk_store import Query
from ledger.database_store import Database
from ledger.fund_acts import Act, Acted, ActKey, ActPosted, ActType, ActView, FundActs
from ledger.ledger_store import last_closed_period
from ledger.scripts import Script
from ledger.verify_findings import Difference

_AT_ONCE = 100
"""Acts that are handed in together: they share a few commits, each well below 50 ms on SQLite."""


class TotalsDisagreeError(ClearingError):
    """The sums that were kept of a month and its postings disagree: nothing is cleared.

    Attributes:
        differences: The rows that differ, the first of them.
    """

    def __init__(self, month: int, differences: Sequence[Difference], count: int) -> None:
        self.differences = tuple(differences)
        super().__init__(
            f"the totals of {month} and its postings disagree in {count} rows; nothing is cleared,"
            " and `cardserver verify-ledger` says more:"
            + "".join(f"\n  {one}" for one in differences)
        )


@dataclass(frozen=True, slots=True)
class ReadMonth:
    """A month as read for a preview or a run.

    Attributes:
        books: All of one moment.
        terms: That it is, or will be, cleared by.
        plan: What is, will be and won't be cleared.
        is_closed: Whether nothing is posted to it any more.
        begun: What was noted when its clearing began; None before.
    """

    books: MonthBooks
    terms: Terms
    plan: Plan
    is_closed: bool
    begun: ClearingMonth | None


@dataclass(frozen=True, slots=True)
class RunWish:
    """What is to be run.

    Attributes:
        month: YYYYMM.
        despite: Why it shall run although something is open; empty: it shall not.
    """

    month: int
    despite: str = ""


@dataclass(frozen=True, slots=True)
class RunReport:
    """How a run ended.

    Attributes:
        read: The month as the run found it.
        cleared_count: Clearings that were posted now.
    """

    read: ReadMonth
    cleared_count: int


async def read_month(database: Database, month: int) -> ReadMonth:
    """Read, recompute and plan a month, changing nothing.

    Raises:
        TermsError: No terms hold for it.
        TotalsDisagreeError: What was kept and what was recomputed differ.
    """
    last_closed = await database.fetch_script(last_closed_period())
    is_closed = last_closed is not None and month <= last_closed

    books, terms, begun = await database.report(lambda one: read_month_and_terms(one, month))
    if books.recomputed.differences:
        raise TotalsDisagreeError(
            month, books.recomputed.differences, books.recomputed.differences_count
        )
    return ReadMonth(books, terms, plan(books, terms), is_closed, begun)


async def run(
    database: Database,
    acts: FundActs,
    wish: RunWish,
    actor: Actor,
    on_progress: Callable[[int, int], None],
) -> RunReport:
    """Clear a month: whatever may be cleared and is not.

    Args:
        database: Started.
        acts: Entered.
        wish: Which month.
        actor: Who runs it.
        on_progress: Told how many clearings are done, of how many.

    Raises:
        NotReadyError: It is not its turn, or something is open.
        TermsError: No terms hold for it.
        TotalsDisagreeError: What was kept and what was recomputed differ.
    """
    month = wish.month
    await _be_its_turn(database, month)
    await be_ready(database, month, wish.despite)
    read = await read_month(database, month)
    to_clear = read.plan.to_clear
    recomputed = read.books.recomputed
    await begin_month(
        database, month, read.terms,
        (recomputed.postings_count, recomputed.owed_fen, wish.despite.strip()), actor,
    )  # fmt: skip
    on_progress(0, len(to_clear))
    for start in range(0, len(to_clear), _AT_ONCE):
        some = to_clear[start : start + _AT_ONCE]
        await asyncio.gather(*(acts.post(_act(one)) for one in some))
        on_progress(start + len(some), len(to_clear))
    left = [(clearing.place, reason) for clearing, reason in read.plan.left]
    await end_month(database, month, left, len(to_clear), actor)
    return RunReport(read, len(to_clear))


async def _be_its_turn(database: Database, month: int) -> None:
    last_closed = await database.fetch_script(last_closed_period())
    if last_closed is None or month > last_closed:
        raise NotReadyError(
            f"the period {month} is open: `cardserver period close {month}` first, so that"
            " nothing is posted to it any more"
        )

    before = await database.report(lambda connection: uncleared_before(connection, month))
    if before is not None:
        raise NotReadyError(f"clear {before} first: months are cleared in their order")


def _act(clearing: Clearing) -> Act[None]:
    key = ActKey(
        ActType.CLEARING, clearing.month, (clearing.institution_no, clearing.clearing_type)
    )

    def read() -> Script[None]:
        yield from ()

    def decide(_: ActView, __: None) -> Acted:
        draft = clearing_entry(
            clearing.result,
            institution_no=clearing.institution_no,
            clearing_type=clearing.clearing_type,
        )

        def write(posted: ActPosted) -> Sequence[Query]:
            return clearing_queries(clearing, posted.numbers[0])

        return Acted((draft,), write, lambda posted: str(posted.numbers[0]).encode())

    # What a clearing is asked to do is its key: a run that was broken off and goes on after a hold
    # or an application changed finds what it had done, whatever that came to.
    content = f"{clearing.month}/{clearing.institution_no}/{clearing.clearing_type}".encode()
    return Act(key, content, (), read, decide)
