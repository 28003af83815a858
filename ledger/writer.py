"""The posting writer: requests that wait together share one commit.

One a process. There is no timer: it takes what queued while the last commit was under way, up to a
limit. It is a task of its own, which no request's cancellation reaches. Not here: what a group
does (`group.py`).
"""

import asyncio
import datetime as dt
import secrets
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

from ledger.bulk_store import Row, Statement
from ledger.calendar import Clock, business_date
from ledger.database_store import Database
from ledger.decisions import B, N, NotTaken, Outcome, Participant, R, Work
from ledger.group import Group, GroupResult, repeated
from ledger.ledger_store import (
    RequestKey,
    Slot,
    lease_slot,
    read_requests,
    release_slot,
)
from ledger.months import slots_of
from ledger.scripts import Script
from ledger.store_errors import (
    CommitUnknownError,
    StoreError,
    StoreUnavailableError,
)

# A group fails together at most this often before its requests are tried one by one.
_ATTEMPTS_MAX = 3
# How long requests wait for a database that is away: a restart takes seconds.
_AWAY_MAX_S = 5.0
# How long a commit's unknown outcome is asked for; afterwards it is answered as unknown.
_UNKNOWN_MAX_S = 60.0
_PAUSE_S = 0.05
_LATER_MAX = 4096


@dataclass(slots=True)
class _Waiting(Generic[N, B, R]):
    work: Work[N, B, R]
    answer: asyncio.Future[Outcome | NotTaken]
    queued_ns: int
    # Whether an attempt's commit ended unknown: from then on it is no longer "nothing recorded".
    is_unknown: bool = False


class GroupWriter(Generic[N, B, R]):
    """Posts what requests decide.

    Args:
        database: Started.
        participant: Who reads and writes beside the ledger.
        clock: The world's time.
        timezone: Whose local day is the business date.
        queue_max: Requests that may wait; above, they are told BUSY.
        group_max: Requests that share a commit.
        lease_ms: For how long a slot stays ours without a group.
        flush_after_s: When rows handed to `append_later` are written without a group.
    """

    def __init__(  # noqa: PLR0913 - the writer's limits, each with a default
        self,
        database: Database,
        participant: Participant[N, B, R],
        *,
        clock: Clock,
        timezone: dt.tzinfo,
        queue_max: int = 2048,
        group_max: int = 128,
        lease_ms: int = 30_000,
        flush_after_s: float = 1.0,
    ) -> None:
        self._database = database
        self._participant = participant
        self._clock = clock
        self._timezone = timezone
        self._queue_max = queue_max
        self._group_max = group_max
        self._lease_ms = lease_ms
        self._flush_after_s = flush_after_s
        # Names this writer among all processes; a lease must not be ours by chance.
        self._owner = secrets.token_hex(16)
        self._slot: Slot | None = None
        self._queue: deque[_Waiting[N, B, R]] = deque()
        self._in_progress: dict[RequestKey, int] = {}
        self._later: dict[Statement, list[Row]] = {}
        self._later_count = 0
        self._wake = asyncio.Event()
        self._is_stopping = False
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting_count(self) -> int:
        """How many requests wait for a group."""
        return len(self._queue)

    def is_in_progress(self, key: RequestKey) -> bool:
        """Tell whether this process holds the attempt without an answer yet."""
        return key in self._in_progress

    async def start(self) -> None:
        """Lease a slot and begin."""
        assert self._task is None
        await self._lease()
        self._task = asyncio.create_task(self._run(), name="posting writer")

    async def stop(self) -> None:
        """Take no more, post what waits, release the slot."""
        self._is_stopping = True
        self._wake.set()
        if self._task is not None:
            await asyncio.shield(self._task)
            self._task = None

    async def submit(self, work: Work[N, B, R]) -> Outcome | NotTaken:
        """Have one request decided and its outcome made durable.

        To cancel the caller does not undo the request: it is posted all the same.

        Raises:
            StoreError: Nothing was recorded.
            CommitUnknownError: It may be recorded or not; ask for it later.
        """
        if self._is_stopping or self._task is None:
            return NotTaken.STOPPING
        if len(self._queue) >= self._queue_max:
            return NotTaken.BUSY
        answer: asyncio.Future[Outcome | NotTaken] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(work, answer, time.perf_counter_ns()))
        self._in_progress[work.key] = self._in_progress.get(work.key, 0) + 1
        self._wake.set()
        return await answer

    def append_later(self, statement: Statement, row: Row) -> None:
        """Write a row with a later group; a crash may lose it, and so does a full buffer.

        The statement must be one that no row can make fail (`ignore_existing`).
        """
        if self._later_count < _LATER_MAX:
            self._later.setdefault(statement, []).append(row)
            self._later_count += 1
            self._wake.set()

    # --- the task --------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            await self._until_there_is_work()
            if self._queue:
                await self._serve(self._take())
            elif self._later:
                await self._flush()
            elif self._is_stopping:
                break
        await self._release()

    async def _until_there_is_work(self) -> None:
        flush_at = time.monotonic() + self._flush_after_s
        while not self._queue and not self._is_stopping:
            self._wake.clear()
            left_s = flush_at - time.monotonic() if self._later else None
            try:
                async with asyncio.timeout(left_s):
                    await self._wake.wait()
            except TimeoutError:
                return

    def _take(self) -> list[_Waiting[N, B, R]]:
        """Take a group; those whose time has passed are told so, and end here."""
        now_ms = self._clock.monotonic_ms()
        group: list[_Waiting[N, B, R]] = []
        while self._queue and len(group) < self._group_max:
            waiting = self._queue.popleft()
            if waiting.work.deadline_ms < now_ms:
                self._answer(waiting, NotTaken.DEADLINE_PASSED)
            else:
                group.append(waiting)
        return group

    async def _serve(
        self, group: Sequence[_Waiting[N, B, R]], began_s: float | None = None
    ) -> None:
        """Answer every request of the group, come what may.

        Args:
            group: Taken together, or one of those that were.
            began_s: Since when its requests are served, where that was before (`time.monotonic`).
        """
        if not group:
            return
        began_s = time.monotonic() if began_s is None else began_s
        attempts = 0
        while True:
            try:
                await self._commit(group)
            except (CommitUnknownError, StoreUnavailableError) as error:
                self._slot = None
                if isinstance(error, CommitUnknownError):
                    # The next attempt finds what was recorded, or records it.
                    for waiting in group:
                        waiting.is_unknown = True
                if not self._is_patient(began_s, is_unknown=group[0].is_unknown):
                    self._fail(group, error)
                    return
                await asyncio.sleep(_PAUSE_S)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is someone's answer
                self._slot = None
                attempts += 1
                if attempts == _ATTEMPTS_MAX or not isinstance(error, StoreError):
                    await self._serve_singly(group, error, began_s)
                    return
            else:
                return

    def _is_patient(self, began_s: float, *, is_unknown: bool) -> bool:
        waited_s = time.monotonic() - began_s
        if is_unknown:
            return waited_s < _UNKNOWN_MAX_S
        return waited_s < _AWAY_MAX_S and not self._is_stopping

    async def _serve_singly(
        self, group: Sequence[_Waiting[N, B, R]], error: Exception, began_s: float
    ) -> None:
        """Let the request fail whose fault it is, and no other.

        A database that goes away meanwhile is waited for once, not by each of them.
        """
        if len(group) == 1:
            self._fail(group, error)
            return
        for waiting in group:
            await self._serve([waiting], began_s)

    async def _commit(self, group: Sequence[_Waiting[N, B, R]]) -> None:
        slot = await self._slot_of_the_month()
        began_ns = time.perf_counter_ns()
        later = [statement(rows) for statement, rows in self._later.items()]

        def script() -> Script[GroupResult]:
            return Group(
                works=[waiting.work for waiting in group],
                participant=self._participant,
                slot=slot,
                clock=self._clock,
                timezone=self._timezone,
                lease_ms=self._lease_ms,
                later=later,
            ).script()

        self._later, self._later_count = {}, 0
        result = await self._database.transact(script)
        self._slot = result.slot
        # The loop comes to this when the next group has been begun: the database works on that one
        # while the answers to this one are written.
        asyncio.get_running_loop().call_soon(
            self._answer_all, group, result, began_ns, time.perf_counter_ns()
        )

    def _answer_all(
        self,
        group: Sequence[_Waiting[N, B, R]],
        result: GroupResult,
        began_ns: int,
        ended_ns: int,
    ) -> None:
        for waiting, outcome, (decided_ns, done_ns) in zip(
            group, result.outcomes, result.decided_ns, strict=True
        ):
            if isinstance(outcome, Outcome):
                outcome.stages = (
                    ("commit_wait", (began_ns - waiting.queued_ns) // 1000),
                    ("lookup", (decided_ns - began_ns) // 1000),
                    ("adjudication", (done_ns - decided_ns) // 1000),
                    ("commit", (ended_ns - done_ns) // 1000),
                )
            self._answer(waiting, outcome)

    async def _flush(self) -> None:
        """Write what was left for later, as nobody came along to write it with."""
        later = [statement(rows) for statement, rows in self._later.items()]
        self._later, self._later_count = {}, 0
        try:
            await self._database.execute(*later)
        except (StoreError, CommitUnknownError):
            # They may be lost, as `append_later` says; whoever posts next meets the fault itself.
            return

    async def _slot_of_the_month(self) -> Slot:
        """Return our slot; in a new month another one, as a month has slots of its own."""
        slot = self._slot
        if slot is not None and slot.slot in slots_of(self._month()):
            return slot
        await self._release()
        return await self._lease()

    def _month(self) -> int:
        return business_date(self._clock.now_ms(), self._timezone) // 100

    async def _lease(self) -> Slot:
        """Take a slot, ours again if it is still ours."""
        now_ms, month = self._clock.now_ms(), self._month()
        lease_until_ms = now_ms + self._lease_ms
        self._slot = await self._database.transact(
            lambda: lease_slot(
                self._owner, now_ms=now_ms, lease_until_ms=lease_until_ms, month=month
            )
        )
        return self._slot

    async def _release(self) -> None:
        slot, self._slot = self._slot, None
        if slot is not None:
            try:
                await self._database.transact(lambda: release_slot(slot))
            except (StoreError, CommitUnknownError):
                return  # The lease ends by itself.

    def _fail(self, group: Sequence[_Waiting[N, B, R]], error: Exception) -> None:
        for waiting in group:
            cause = CommitUnknownError(str(error)) if waiting.is_unknown else error
            self._leave(waiting)
            if not waiting.answer.done():
                waiting.answer.set_exception(cause)

    def _answer(self, waiting: _Waiting[N, B, R], outcome: Outcome | NotTaken) -> None:
        if isinstance(outcome, Outcome) and waiting.is_unknown:
            # What is repeated is most likely our own commit; either way it is what stands.
            outcome.is_duplicate = False
        self._leave(waiting)
        if not waiting.answer.done():
            waiting.answer.set_result(outcome)

    def _leave(self, waiting: _Waiting[N, B, R]) -> None:
        key = waiting.work.key
        left = self._in_progress[key] - 1
        if left:
            self._in_progress[key] = left
        else:
            del self._in_progress[key]


async def find_outcome(
    database: Database, key: RequestKey, *, message_type: int, request_hash: bytes
) -> Outcome | NotTaken | None:
    """Look an attempt up before it is worked on: its stored outcome, if there is one.

    A tombstone is an outcome too: it refuses the attempt.
    """
    stored = (await database.fetch_script(read_requests([key]))).get(key)
    return None if stored is None else repeated(stored, message_type, request_hash)
