"""One commit group, as the script of its transaction.

Order: day's lock; the originals of what is to be undone; stored outcomes and the persons' lock at
once; then period, balances and the participant's reads at once; then decisions in memory, in order
of arrival; then one write a table, the requests' keys and the slot last. The primary key of
`request` decides between two writers that hold the same attempt: whoever comes second finds the key
taken, and tries again with the first one's outcome.
Not here: who waits for it (`writer.py`).
"""

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic

from ledger.bulk_store import Query, together
from ledger.calendar import Clock, business_date, open_period
from ledger.chain_store import numbered
from ledger.decisions import (
    Answer,
    B,
    Decided,
    GroupView,
    N,
    NotTaken,
    Outcome,
    Participant,
    Post,
    Posted,
    R,
    Work,
)
from ledger.entries import Draft, entry_number, movements
from ledger.ledger_store import (
    LAST_CLOSED,
    LOCK_DAY,
    GroupTime,
    PostedEntry,
    RequestKey,
    Slot,
    SlotLostError,
    StoredRequest,
    balance_queries,
    balances_of,
    entry_queries,
    find_balances,
    find_requests,
    last_closed_of,
    read_requests,
    request_queries,
    requests_of,
)
from ledger.scripts import Script, along
from ledger.sealing import is_expired
from ledger.store_errors import StoreError

TOMBSTONE_TYPE = 0
_NO_HASH = bytes(32)


class OverdrawnError(StoreError):
    """A decision would leave a limited account below zero; nothing was recorded."""


@dataclass(frozen=True, slots=True)
class GroupResult:
    """What became of a group.

    Attributes:
        outcomes: In the order of the works.
        slot: As it stands after the commit.
        decided_ns: For each work when its decision began and ended (`perf_counter_ns`).
    """

    outcomes: list[Outcome | NotTaken]
    slot: Slot
    decided_ns: list[tuple[int, int]]


@dataclass(slots=True)
class Group(Generic[N, B, R]):
    """A group's means: made anew for every attempt at its transaction.

    Attributes:
        works: In order of arrival.
        slot: The writer's.
        lease_ms: For how long the slot is leased on.
        later: Queries to run along, whose loss would not matter.
    """

    works: Sequence[Work[N, B, R]]
    participant: Participant[N, B, R]
    slot: Slot
    clock: Clock
    timezone: dt.tzinfo
    lease_ms: int
    later: Sequence[Query] = ()
    _entries: list[PostedEntry] = field(default_factory=list)
    _decided: list[Decided[R]] = field(default_factory=list)
    _stored: dict[RequestKey, StoredRequest] = field(default_factory=dict)
    _moved: set[tuple[int, int]] = field(default_factory=set)

    def script(self) -> Script[GroupResult]:
        """Read, decide and write; the caller commits."""
        view = yield from self._read()
        outcomes: list[Outcome | NotTaken] = []
        decided_ns: list[tuple[int, int]] = []
        for work in self.works:
            began_ns = time.perf_counter_ns()
            outcomes.append(self._decide(work, view))
            decided_ns.append((began_ns, time.perf_counter_ns()))
        slot = yield from self._write(view)
        return GroupResult(outcomes, slot, decided_ns)

    def _read(self) -> Script[GroupView[B]]:
        yield LOCK_DAY()
        now_ms = self.clock.now_ms()
        day = business_date(now_ms, self.timezone)
        originals = {work.original for work in self.works if work.original is not None}
        requests = (yield from read_requests(originals)) if originals else {}
        needs = [work.needs for work in self.works]
        book, found = yield from self.participant.find(needs, requests)
        persons = sorted(found.union(*(work.persons for work in self.works)))
        keys = {work.key for work in self.works} - originals
        (rows,), locked = yield from along(
            [find_requests(keys)], self.participant.lock(book, needs, persons)
        )
        requests |= requests_of(rows)
        (balances, closed), _ = yield from along(
            [find_balances(locked), LAST_CLOSED()], self.participant.read(book, needs)
        )
        period = open_period(day, last_closed_of(closed))
        return GroupView(
            when=GroupTime(day, period, now_ms),
            requests=requests,
            balances=balances_of(balances),
            locked=locked,
            book=book,
        )

    def _decide(self, work: Work[N, B, R], view: GroupView[B]) -> Outcome | NotTaken:
        stored = view.requests.get(work.key)
        if stored is not None:
            return repeated(stored, work.type, work.request_hash)
        decision = work.decide(view)
        if isinstance(decision, Post):
            posted = self._post_all(work, decision, view)
            entry_no, body = posted.entry_no, decision.body_of(posted)
        else:
            entry_no, body = None, decision.body
            if decision.record is not None:
                self._keep(Decided(work.key, work.type, decision.record, None, view.when), view)
            if decision.body_of is not None:
                body = decision.body_of()
        if isinstance(decision, Post) or decision.is_stored:
            self._store(work.key, work.type, work.request_hash, decision.code, body, entry_no, view)
        if isinstance(decision, Answer) and decision.tombstone is not None:
            code = self.participant.tombstone_code
            self._store(decision.tombstone, TOMBSTONE_TYPE, _NO_HASH, code, b"", None, view)
        return Outcome(
            code=decision.code,
            body=body,
            is_duplicate=False,
            business_date=view.when.business_date,
            recorded_time_ms=view.when.recorded_time_ms,
            entry_no=entry_no,
            detail_zh=decision.detail_zh if isinstance(decision, Answer) else "",
            detail_en=decision.detail_en if isinstance(decision, Answer) else "",
        )

    def _post_all(self, work: Work[N, B, R], decision: Post[R], view: GroupView[B]) -> Posted:
        """Post a decision's entries; later decisions see each that had its record applied."""
        when = view.when
        entry_no = self._post(decision.draft, view)
        posted = Posted(entry_no, when)
        self._keep(Decided(work.key, work.type, decision.record, posted, when), view)
        if not decision.further:
            return posted
        numbers: list[int] = []
        for part in decision.further:
            number = self._post(part.draft, view)
            numbers.append(number)
            self._keep(Decided(work.key, work.type, part.record, Posted(number, when), when), view)
        return Posted(entry_no, when, tuple(numbers))

    def _post(self, draft: Draft, view: GroupView[B]) -> int:
        """Number an entry and move the balances of limited accounts by it."""
        for key, moved_fen in movements(draft).items():
            assert key[0] in view.locked, "a limited account moves under its owner's lock"
            balance_fen = view.balances.get(key, 0) + moved_fen
            if balance_fen < 0:
                raise OverdrawnError(f"account {key[1]} would hold {balance_fen}")
            view.balances[key] = balance_fen
            self._moved.add(key)
        sequence = self.slot.sequence + len(self._entries) + 1
        entry_no = entry_number(slot=self.slot.slot, sequence=sequence)
        self._entries.append(PostedEntry(entry_no, draft))
        return entry_no

    def _keep(self, decided: Decided[R], view: GroupView[B]) -> None:
        self._decided.append(decided)
        self.participant.apply(view.book, decided)

    def _store(
        self,
        key: RequestKey,
        message_type: int,
        request_hash: bytes,
        code: int,
        body: bytes,
        entry_no: int | None,
        view: GroupView[B],
    ) -> None:
        when = view.when
        stored = StoredRequest(
            message_type, request_hash, code, body, entry_no,
            when.business_date, when.recorded_time_ms,
        )  # fmt: skip
        view.requests[key] = stored
        self._stored[key] = stored

    def _write(self, view: GroupView[B]) -> Script[Slot]:
        moved = {key: view.balances[key] for key in self._moved}
        slot = self.slot
        seal_no = slot.seal_no(len(self._entries))
        queries = [
            *self.later,
            *balance_queries(moved),
            *request_queries(self._stored, seal_no=seal_no),
        ]
        if self._decided:
            queries += numbered(self.participant.write(view.book, self._decided), seal_no)
        sealed = [query for query in queries if query.statement.sealed_table]
        if self._entries or sealed:
            lease_until_ms = view.when.recorded_time_ms + self.lease_ms
            posting, slot = entry_queries(
                slot, self._entries, view.when, lease_until_ms=lease_until_ms, sealed=sealed
            )
            queries += posting
        if queries:
            advanced = yield together(queries)
            if slot is not self.slot and not advanced:
                raise SlotLostError(f"slot {slot.slot} is no longer ours")
        return slot


def repeated(stored: StoredRequest, message_type: int, request_hash: bytes) -> Outcome | NotTaken:
    """Return the stored outcome for the second coming of an attempt."""
    is_tombstone = stored.type == TOMBSTONE_TYPE
    if not is_tombstone and (stored.type != message_type or stored.request_hash != request_hash):
        return NotTaken.MSGID_REUSED
    body = b"" if is_expired(stored.body) else stored.body
    return Outcome(
        stored.code, body, not is_tombstone, stored.business_date,
        stored.recorded_time_ms, stored.entry_no,
    )  # fmt: skip
