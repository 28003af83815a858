"""Clearings run from the console: one at a time, each with its progress, whoever looks.

Not here: clearing itself (`cardserver/clearing/`), and the page (`pages/clearing.py`).
"""

import asyncio
import datetime as dt
from dataclasses import dataclass

import structlog

from cardserver.clearing.errors import ClearingError
from cardserver.clearing.run import RunWish, run
from cardserver.funding.acts import open_fund_acts
from cardserver.registry.values import Actor
from ledger.calendar import Clock
from ledger.database_store import Database
from ledger.store_errors import StoreError

log = structlog.get_logger("cardserver.console")


@dataclass(slots=True)
class Progress:
    """How far a run is.

    Attributes:
        error: Why it was broken off; empty while it runs and when it ended well.
        is_ended: Whether it runs no more.
    """

    month: int
    done: int = 0
    count: int = 0
    error: str = ""
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

    def start(self, wish: RunWish, actor: Actor) -> bool:
        """Begin a run in the background; refuse while another one goes on."""
        if self._task is not None and not self._task.done():
            return False
        self.progress = Progress(wish.month)
        self._task = asyncio.create_task(self._run(wish, actor, self.progress))
        return True

    async def stop(self) -> None:
        """Let a run be broken off, as the console ends; the next one goes on where it was."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, wish: RunWish, actor: Actor, progress: Progress) -> None:
        def on_progress(done: int, count: int) -> None:
            progress.done, progress.count = done, count

        try:
            async with open_fund_acts(self._database, self._timezone, self._clock) as acts:
                await run(self._database, acts, wish, actor, on_progress)
        except (ClearingError, StoreError) as error:
            log.warning("clearing broken off", month=wish.month, error=str(error))
            progress.error = str(error)
        finally:
            progress.is_ended = True
