"""Closing a period: whether it may be, and what comes after.

Not here: the closing itself (`ledger/period_store.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from cardserver.clearing.readiness import NotReadyError, Open, be_ready
from cardserver.registry.history_store import audit
from cardserver.registry.values import Actor
from ledger.balances_store import make_snapshots
from ledger.calendar import Clock
from ledger.database_store import Database
from ledger.period_store import close_period, read_periods

_DESPITE_MAX = 200


@dataclass(frozen=True, slots=True)
class Closing:
    """How a closing ended.

    Attributes:
        period: YYYYMM.
        was_open: Whether it was closed just now.
        despite: What was open all the same.
        snapshots: Periods whose balances were kept now.
    """

    period: int
    was_open: bool
    despite: tuple[Open, ...]
    snapshots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ClosingWish:
    """What is to be closed.

    Attributes:
        period: YYYYMM.
        today: The fund's day, YYYYMMDD.
        despite: Why it shall be closed although something is open; empty: it shall not.
        is_early: Whether it may be closed before the month is over.
    """

    period: int
    today: int
    despite: str = ""
    is_early: bool = False


async def close(
    database: Database,
    wish: ClosingWish,
    actor: Actor,
    clock: Clock,
    on_progress: Callable[[int, int], None],
) -> Closing:
    """Close a period; done again it changes nothing but makes the balances that are missing.

    Args:
        database: Started.
        wish: What is to be closed.
        actor: Who closes it.
        clock: The world's time.
        on_progress: Told of the balances that are kept: period, rows.

    Raises:
        NotReadyError: It may not be closed yet.
    """
    periods = await database.report(read_periods)
    is_closed = any(one.period >= wish.period and one.is_closed for one in periods)
    despite: tuple[Open, ...] = ()
    was_open = False
    if not is_closed:
        _refuse_out_of_turn(wish, [one.period for one in periods if not one.is_closed])
        despite = await be_ready(database, wish.period, wish.despite)
        detail = f"despite {len(despite)}: {wish.despite}"[:_DESPITE_MAX] if despite else ""
        also = [audit(actor, "period closed", str(wish.period), detail)]
        was_open = await database.transact(
            lambda: close_period(wish.period, clock=clock, also=also)
        )
    made = await make_snapshots(database, clock, on_progress)
    return Closing(wish.period, was_open, despite, tuple(made))


def _refuse_out_of_turn(wish: ClosingWish, still_open: list[int]) -> None:
    running = wish.today // 100
    if wish.period > running:
        raise NotReadyError(f"{wish.period} has not begun")
    if wish.period == running and not wish.is_early:
        raise NotReadyError(
            f"{wish.period} is not over; to have all that still comes count in the next month,"
            " close it with --early"
        )
    earlier = [period for period in still_open if period < wish.period]
    if earlier:
        raise NotReadyError(f"close {min(earlier)} first: it has postings and is open")
