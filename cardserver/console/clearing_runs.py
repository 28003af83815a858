"""Clearings run from the console: one at a time, each with its progress, whoever looks.

Not here: clearing itself (`cardserver/clearing/`), and the page (`pages/clearing.py`).
"""

import asyncio
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from cardserver.clearing.clearing_store import uncleared_before
from cardserver.clearing.errors import ClearingError
from cardserver.clearing.plan import Clearing, Left
from cardserver.clearing.readiness import NotReadyError
from cardserver.clearing.run import RunWish, TotalsDisagreeError, run
from cardserver.clearing.terms import TermsError
from cardserver.funding.acts import open_fund_acts
from cardserver.registry.values import Actor
from ledger.calendar import Clock
from ledger.database_store import Database
from ledger.ledger_store import last_closed_period
from ledger.store_errors import StoreError

log = structlog.get_logger("cardserver.console")


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a month is not cleared.

    Attributes:
        word: Names a text of `words.py`.
        values: What stands in it.
        detail: What goes with it as it was said, such as rows that differ.
    """

    word: str
    values: tuple[object, ...] = ()
    detail: str = ""


_BROKEN_OFF = Fault("clearing.broken_off")


@dataclass(slots=True)
class Progress:
    """How far a run is.

    Attributes:
        number: Of the run, counted from 1 since the console began.
        done: Clearings that were posted.
        count: Of how many; None while the month is still recomputed.
        left: What the run left out, and why.
        fault: Why it was broken off; None while it runs and when it ended well.
        is_ended: Whether it runs no more.
    """

    number: int
    month: int
    done: int = 0
    count: int | None = None
    left: Sequence[tuple[Clearing, Left]] = field(default=())
    fault: Fault | None = None
    is_ended: bool = False


class ClearingRuns:
    """The run under way, or the last one."""

    def __init__(self, database: Database, clock: Clock, timezone: dt.tzinfo) -> None:
        """Begin without one."""
        self._database = database
        self._clock = clock
        self._timezone = timezone
        self.progress: Progress | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a run is under way."""
        return self._task is not None and not self._task.done()

    def start(self, wish: RunWish, actor: Actor) -> bool:
        """Begin a run in the background; refuse while another one goes on."""
        if self.is_busy:
            return False
        number = 1 if self.progress is None else self.progress.number + 1
        self.progress = Progress(number, wish.month)
        self._task = asyncio.create_task(self._run(wish, actor, self.progress))
        self._task.add_done_callback(_note_end)
        return True

    async def stop(self) -> None:
        """Let a run be broken off, as the console ends; the next one goes on where it was."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, wish: RunWish, actor: Actor, progress: Progress) -> None:
        fault: Fault | None = _BROKEN_OFF
        try:
            fault = await self._clear(wish, actor, progress)
        except StoreError as error:
            log.warning("clearing broken off", month=wish.month, error=str(error))
        finally:
            progress.fault = fault
            progress.is_ended = True

    async def _clear(self, wish: RunWish, actor: Actor, progress: Progress) -> Fault | None:
        def on_progress(done: int, count: int) -> None:
            progress.done, progress.count = done, count

        try:
            async with open_fund_acts(self._database, self._timezone, self._clock) as acts:
                report = await run(self._database, acts, wish, actor, on_progress)
        except ClearingError as error:
            log.warning("clearing refused", month=wish.month, error=str(error))
            return _fault_of(error, wish.month)
        progress.left = report.read.plan.left
        return None


async def out_of_turn(database: Database, month: int) -> Fault | None:
    """Say why it is not a month's turn; None if it is."""
    last_closed = await database.fetch_script(last_closed_period())
    if last_closed is None or month > last_closed:
        return Fault("clearing.period_open", (month,))
    before = await database.report(lambda connection: uncleared_before(connection, month))
    return None if before is None else Fault("clearing.earlier_first", (before,))


def _fault_of(error: ClearingError, month: int) -> Fault:
    match error:
        case NotReadyError(reasons=reasons) if reasons:  # which the page lists
            return Fault("clearing.not_ready", (month,))
        case TotalsDisagreeError():
            rows = "\n".join(map(str, error.differences))
            return Fault("clearing.disagree", (month,), rows)
        case TermsError():
            return Fault("clearing.no_terms", (month,), str(error))
        case _:
            return Fault("clearing.broken_off", (), str(error))


def _note_end(task: asyncio.Task[None]) -> None:
    """Log what nobody expected; whoever looks is told that the run was broken off."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("clearing failed", exc_info=error)
