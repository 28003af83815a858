"""The fund's own acts: contributions, allotments, interest, reviews, clearings, payments.

They go the way of settlements: a `GroupWriter` with a slot of its own, so that numbering, seals,
period and business date, persons' locks in key order and verification are those that exist. An
act's key has institution and terminal 0, and a msgid made of its type and its numbers
(`ActKey`): done twice, the stored outcome is found and nothing is posted again.

    async with FundActs(database, lock_persons, clock=..., timezone=...) as acts:
        outcome = await acts.post(Act(key, content, persons, read, decide))

`cardserver/funding/acts.py` opens one for a configuration. Acts that are posted at once share
commits, never with more than 1,000 persons locked. Not here: what is decided, which is each
owner's.
"""

import asyncio
import datetime as dt
import hashlib
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, unique
from typing import Generic, Self, TypeAlias, TypeVar

from ledger.bulk_store import Query, Row, Statement
from ledger.calendar import Clock
from ledger.database_store import Database
from ledger.decisions import (
    Answer,
    Decided,
    Decision,
    GroupView,
    NotTaken,
    Outcome,
    Part,
    Post,
    Posted,
    Work,
)
from ledger.entries import Draft
from ledger.ledger_store import GroupTime, RequestKey, StoredRequest
from ledger.scripts import Script
from ledger.store_errors import StoreError
from ledger.writer import GroupWriter, find_outcome

T = TypeVar("T")

PERSONS_MAX = 1_000
"""Persons whose rows one commit locks at most: so long does a settlement of one of them wait."""

ACT_MIN = 1_000
"""Types of stored outcomes from here on are the fund's acts; below are terminals' messages."""

DONE, REFUSED = 0, 1
"""An act's code; only what is done is stored."""

_MSGID_SIZE_MAX = 30  # of the column
_QUEUE_MAX = 1_000_000  # `FundActs` itself bounds what waits
_NEVER_MS = 2**62


@unique
class ActType(IntEnum):
    """What an act is. A number is never changed or used again."""

    CONTRIBUTION = 1001
    """Some rows of an employer's file, or their correction."""
    ALLOTMENT = 1002
    """A step of a month's allotments."""
    INTEREST = 1003
    """A step of a year's interest."""
    REVIEW = 1010
    """A step of a review case, or what follows from it."""
    CLEARING = 1020
    """An institution's month, applied for, or cancelled."""
    PAYMENT = 1021
    """A payment, made, confirmed or returned."""
    DEPOSIT = 1022
    """A deposit, released or withheld."""
    RECONCILIATION = 1030
    """A difference of a day, resolved."""


class ActReusedError(Exception):
    """The key of an act was used before for other content; nothing was done."""


@dataclass(frozen=True, slots=True)
class ActKey:
    """What names an act for ever.

    Attributes:
        type: What it is.
        month: The run's, YYYYMM; stored outcomes are partitioned by it.
        numbers: The run's, and its part's; their digits must fit into 24 characters.
    """

    type: ActType
    month: int
    numbers: tuple[int, ...]

    @property
    def request_key(self) -> RequestKey:
        """The key of its stored outcome: the msgid is `1002-17-3` or the like."""
        msgid = "-".join(map(str, (int(self.type), *self.numbers)))
        assert len(msgid) <= _MSGID_SIZE_MAX, "an act's numbers are too long"
        return RequestKey(self.month, 0, 0, msgid)


@dataclass(frozen=True, slots=True)
class ActPosted:
    """Where an act was put.

    Attributes:
        numbers: Of its entries, in the order of their drafts.
        when: The group's time.
    """

    numbers: tuple[int, ...]
    when: GroupTime


def _nothing_to_write(_: ActPosted) -> Sequence[Query]:
    return ()


def _no_body(_: ActPosted) -> bytes:
    return b""


@dataclass(frozen=True, slots=True)
class Acted:
    """What an act does.

    Attributes:
        drafts: Its entries; all are posted or none. None: the outcome alone is stored.
        write: The owner's changes of rows, in the same transaction; pure. Changes of acts that
            share a commit are put together by statement, so a `put` must not meet a key twice
            (give such acts one `subject`).
        body_of: What is stored as outcome, for whoever asks again.
    """

    drafts: tuple[Draft, ...] = ()
    write: Callable[[ActPosted], Sequence[Query]] = _nothing_to_write
    body_of: Callable[[ActPosted], bytes] = _no_body


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing is done and nothing stored; the same act may come again.

    Attributes:
        body: Why, in the owner's words.
    """

    body: bytes


@dataclass(slots=True)
class ActBook:
    """What was read for the acts of a group.

    Attributes:
        persons: The rows of persons that were locked, by number, as `lock_persons` reads them; who
            is not in it is not in the registry any more.
        decide: By act, its decision bound to what it read.
    """

    persons: dict[int, Row] = field(default_factory=dict)

    decide: "dict[RequestKey, Callable[[GroupView[ActBook]], Acted | Refused]]" = field(
        default_factory=dict
    )


ActView: TypeAlias = GroupView[ActBook]


@dataclass(frozen=True, slots=True)
class Act(Generic[T]):
    """One act.

    Attributes:
        key: Names it for ever.
        content: What it is asked to do, as bytes: under one key only one content is ever done.
        persons: Whose accounts it moves: locked, ascending, at most 1,000. A `Draft` that moves
            another's account is an error.
        read: Runs in the transaction, after the locks: the owner's own statements, which may lock
            rows of the owner's tables, that no settlement touches.
        decide: Pure; called once all was read, again when a group is retried. The view has the
            group's time and the persons' balances.
        subject: Acts of one subject never share a commit: each reads what the one before wrote.
            None: it has nothing in common with others.
    """

    key: ActKey
    content: bytes
    persons: tuple[int, ...]
    read: Callable[[], Script[T]]
    decide: Callable[[ActView, T], Acted | Refused]
    subject: Hashable = None


@dataclass(frozen=True, slots=True)
class ActOutcome:
    """What became of an act.

    Attributes:
        body: As stored, or why it was refused.
        is_refused: Nothing was done.
        is_duplicate: It had been done before; nothing was done now.
        entry_no: Of its first entry, if it has any.
        business_date: The fund's day on which it was done, YYYYMMDD.
        recorded_time_ms: When.
    """

    body: bytes
    is_refused: bool
    is_duplicate: bool
    entry_no: int | None
    business_date: int
    recorded_time_ms: int


_Write: TypeAlias = Callable[[ActPosted], Sequence[Query]]
_Need: TypeAlias = tuple[
    RequestKey, Callable[[], Script[Callable[[ActView], Acted | Refused]]]
]  # what is to be read, and what decides on it


@dataclass(frozen=True, slots=True)
class _Record:
    """What an act leaves; further entries of it leave nothing of their own."""

    entries_count: int = 0
    write: _Write | None = None


class FundActs:
    """Posts the fund's acts; leases a slot while it is open, and gives it back.

    Args:
        database: Started.
        lock_persons: A `select` with `lock` of persons' rows, whose one key is the person's number.
        clock: The world's time.
        timezone: Whose local day is the business date.
    """

    def __init__(
        self, database: Database, lock_persons: Statement, *, clock: Clock, timezone: dt.tzinfo
    ) -> None:
        self._database = database
        self._writer: GroupWriter[_Need, ActBook, _Record] = GroupWriter(
            database,
            _ActParticipant(lock_persons),
            clock=clock,
            timezone=timezone,
            queue_max=_QUEUE_MAX,
        )
        self._room = asyncio.Condition()
        self._persons_count = 0
        self._busy: set[Hashable] = set()

    async def __aenter__(self) -> Self:
        """Lease a slot and begin."""
        await self._writer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Post what waits and give the slot back."""
        await self._writer.stop()

    async def post(self, act: Act[T]) -> ActOutcome:
        """Have an act done, once and for all; it is durable on return.

        Raises:
            ActReusedError: The key was used before for other content.
            StoreError: Nothing was recorded.
            CommitUnknownError: It may be recorded or not; post it again to find out.
        """
        assert len(act.persons) <= PERSONS_MAX
        await self._enter(act.subject, len(act.persons))
        try:
            outcome = await self._writer.submit(_work_of(act))
        finally:
            await self._leave(act.subject, len(act.persons))
        return _outcome_of(act.key, outcome)

    async def find(self, key: ActKey, content: bytes) -> ActOutcome | None:
        """Return what became of an act, or None where it was not done yet.

        Raises:
            ActReusedError: The key was used before for other content.
        """
        found = await find_outcome(
            self._database,
            key.request_key,
            message_type=key.type,
            request_hash=_hash_of(key, content),
        )
        return None if found is None else _outcome_of(key, found)

    async def _enter(self, subject: Hashable, count: int) -> None:
        """Wait until the persons fit into a commit, and no act of this subject is under way."""
        async with self._room:
            await self._room.wait_for(
                lambda: self._persons_count + count <= PERSONS_MAX and subject not in self._busy
            )
            self._persons_count += count
            if subject is not None:
                self._busy.add(subject)

    async def _leave(self, subject: Hashable, count: int) -> None:
        async with self._room:
            self._persons_count -= count
            self._busy.discard(subject)
            self._room.notify_all()


def _work_of(act: Act[T]) -> Work[_Need, ActBook, _Record]:
    key = act.key.request_key

    def read() -> Script[Callable[[ActView], Acted | Refused]]:
        found = yield from act.read()
        return lambda view: act.decide(view, found)

    def decide(view: ActView) -> Decision[_Record]:
        return _decision(view.book.decide[key](view), view.when)

    return Work(
        key=key,
        type=act.key.type,
        request_hash=_hash_of(act.key, act.content),
        persons=act.persons,
        original=None,
        needs=(key, read),
        decide=decide,
        deadline_ms=_NEVER_MS,
    )


def _hash_of(key: ActKey, content: bytes) -> bytes:
    return hashlib.sha256(key.type.to_bytes(2, "big") + content).digest()


def _outcome_of(key: ActKey, outcome: Outcome | NotTaken) -> ActOutcome:
    if outcome is NotTaken.MSGID_REUSED:
        raise ActReusedError(f"{key.request_key.msgid} was done with other content")
    if isinstance(outcome, NotTaken):
        raise StoreError(outcome.value)
    return ActOutcome(
        body=outcome.body,
        is_refused=outcome.code == REFUSED,
        is_duplicate=outcome.is_duplicate,
        entry_no=outcome.entry_no,
        business_date=outcome.business_date,
        recorded_time_ms=outcome.recorded_time_ms,
    )


def _decision(done: Acted | Refused, when: GroupTime) -> Decision[_Record]:
    if isinstance(done, Refused):
        return Answer(REFUSED, done.body, is_stored=False)
    record = _Record(len(done.drafts), done.write)
    if not done.drafts:
        return Answer(DONE, done.body_of(ActPosted((), when)), record=record)

    def body_of(posted: Posted) -> bytes:
        return done.body_of(ActPosted((posted.entry_no, *posted.further), posted.when))

    first, *rest = done.drafts
    return Post(first, DONE, body_of, record, tuple(Part(draft, _Record()) for draft in rest))


class _ActParticipant:
    """Reads what acts need, and writes what they change beside the ledger."""

    tombstone_code = REFUSED  # no act is ever reversed by its msgid

    def __init__(self, lock_persons: Statement) -> None:
        self._lock_persons = lock_persons

    def find(
        self,
        needs: Sequence[_Need],  # noqa: ARG002 - acts name all their persons themselves
        requests: Mapping[RequestKey, StoredRequest],  # noqa: ARG002
    ) -> Script[tuple[ActBook, set[int]]]:
        """Begin a book."""
        yield from ()
        return ActBook(), set()

    def lock(
        self,
        book: ActBook,
        needs: Sequence[_Need],  # noqa: ARG002 - acts name all their persons themselves
        persons: Sequence[int],
    ) -> Script[frozenset[int]]:
        """Lock the persons' rows in ascending order."""
        if persons:
            for number, *state in (yield self._lock_persons([(person,) for person in persons])):
                book.persons[number] = tuple(state)
        return frozenset(persons)

    def read(self, book: ActBook, needs: Sequence[_Need]) -> Script[None]:
        """Read what each act wants to."""
        for key, read in needs:
            book.decide[key] = yield from read()

    def apply(self, book: ActBook, decided: Decided[_Record]) -> None:
        """Nothing: acts that depend on each other have one subject."""

    def write(
        self,
        book: ActBook,  # noqa: ARG002 - acts' own closures hold what they read
        decided: Collection[Decided[_Record]],
    ) -> list[Query]:
        """Return the acts' changes, one query a statement."""
        rows: dict[Statement, list[Row]] = {}
        for one in decided:
            record = one.record
            if record.write is None:
                continue
            first = 0 if one.posted is None else one.posted.entry_no
            numbers = tuple(range(first, first + record.entries_count))
            for statement, some in record.write(ActPosted(numbers, one.when)):
                rows.setdefault(statement, []).extend(some)
        return [statement(some) for statement, some in rows.items() if some]
