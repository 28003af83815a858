"""A replay by several processes: each takes ranges of persons, and one puts their sums together.

Not here: one person's claims (`replay.py`).
"""

import asyncio
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager

from msgspec import Struct

from cardserver.claims.replay import (
    Difference,
    Months,
    ReplayRules,
    Unreplayed,
    replay_person,
)
from cardserver.claims.replay_report import PersonRow, Tally
from cardserver.claims.replay_store import PersonClaims, PersonRange, read_persons
from ledger.database_store import Database

CLAIMS_MAX = 4_000  # of a range: some megabytes at a time
_AHEAD = 2  # ranges that wait for each process, so that none stands idle


class Job(Struct, frozen=True):
    """What every process of a replay knows.

    Attributes:
        url: The database's.
        password: The database's.
        versions: Texts of every version that was ever activated.
        drafts: Texts of the drafts.
        is_control: Whether to compare with the versions that decided.
        months: Which claims.
    """

    url: str
    password: str
    versions: tuple[str, ...]
    drafts: tuple[str, ...]
    is_control: bool
    months: Months


class RangeReplayed(Struct, frozen=True):
    """What one range of persons came to."""

    persons: PersonRange
    tally: Tally
    rows: list[PersonRow]
    unreplayed: list[Unreplayed]
    refused: list[Unreplayed]
    differences: list[Difference]


class _Worker:
    """One process's part: its rules, loaded once."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._rules = ReplayRules(job.versions, job.drafts, is_control=job.is_control)

    def replay(self, persons: PersonRange) -> RangeReplayed:
        """Replay a range of persons."""
        return asyncio.run(self._replay(persons))

    async def _replay(self, persons: PersonRange) -> RangeReplayed:
        done = RangeReplayed(persons, Tally(), [], [], [], [])

        def take(one: PersonClaims) -> None:
            person = replay_person(
                one.person_no, one.claims, one.now, self._rules, self._job.months
            )
            row = done.tally.take(person)
            done.tally.claim_count += len(one.claims)
            if row is not None:
                done.rows.append(row)
            done.unreplayed.extend(person.unreplayed)
            done.refused.extend(person.refused)
            done.differences.extend(person.differences)

        database = Database.open(self._job.url, self._job.password, readers_max=1)
        try:
            await read_persons(database, persons, self._job.months, take)
        finally:
            await database.close()
        return done


_workers: list[_Worker] = []  # of a process of a replay: its one worker


def replay_ranges(job: Job, ranges: Sequence[PersonRange], *, jobs: int) -> Iterator[RangeReplayed]:
    """Replay ranges of persons, and give each as it is done; leaving early ends the processes."""
    if jobs == 1:
        worker = _Worker(job)
        for persons in ranges:
            yield worker.replay(persons)
        return
    with _pool(job, jobs) as submit:
        waiting: set[Future[RangeReplayed]] = set()
        left = iter(ranges)
        for persons in left:
            waiting.add(submit(persons))
            if len(waiting) < jobs * _AHEAD:
                continue
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for one in done:
                yield one.result()
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for one in done:
                yield one.result()


@contextmanager
def _pool(job: Job, jobs: int) -> Iterator[Callable[[PersonRange], Future[RangeReplayed]]]:
    """Keep processes for a replay; on leaving, what has begun ends, what waits is dropped."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=(job,))

    def submit(persons: PersonRange) -> Future[RangeReplayed]:
        # A process starts with the first range for it, and must not hear of an interrupt, which is
        # for the parent: what is blocked here is blocked there.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return pool.submit(_replay_range, persons)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    try:
        yield submit
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(job: Job) -> None:
    """Make a process's worker."""
    _workers.append(_Worker(job))


def _replay_range(persons: PersonRange) -> RangeReplayed:
    return _workers[0].replay(persons)
