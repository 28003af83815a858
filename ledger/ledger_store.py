"""The ledger's rows: requests, entries, postings, balances, totals, slots and seals.

Scripts and statements only; they decide nothing. Not here: how they are run
(`database_store.py`), in which order a group runs them (`writer.py`).
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ledger import tables
from ledger.accounts import Account
from ledger.bulk_store import Query, Row, add, insert, plain, put, select, together, update
from ledger.database_store import Database
from ledger.entries import Draft, Posting, entry_number
from ledger.months import slots_of
from ledger.scripts import Script
from ledger.sealing import as_sealed, seal
from ledger.store_errors import StoreError

# A number of our own for PostgreSQL's advisory lock on the running day and period: groups hold it
# shared, closing and day's end exclusively. Chosen once; "fund" in ASCII.
DAY_LOCK = 0x66756E64


class SlotLostError(StoreError):
    """Another writer took over the slot; nothing was recorded."""


class RequestKey(NamedTuple):
    """What names one attempt, for ever.

    Attributes:
        month: The msgid's own, YYYYMM; requests are partitioned by it.
        institution_no: From the certificate.
        terminal_no: From the certificate.
        msgid: The sender's.
    """

    month: int
    institution_no: int
    terminal_no: int
    msgid: str


class StoredRequest(NamedTuple):
    """The outcome kept for an attempt; `type` 0 is a tombstone, the original never came."""

    type: int
    request_hash: bytes
    code: int
    body: bytes
    entry_no: int | None
    business_date: int
    recorded_time_ms: int


class PostedEntry(NamedTuple):
    """An entry and the number that it got."""

    entry_no: int
    draft: Draft


@dataclass(frozen=True, slots=True)
class Slot:
    """A writer's numbered place: its own sequence and chain of seals."""

    slot: int
    owner: str
    sequence: int
    chain_head: bytes

    def seal_no(self, entries_count: int) -> int:
        """Return the number of the next seal, which is that of its last entry."""
        return entry_number(slot=self.slot, sequence=self.sequence + max(entries_count, 1))


@dataclass(frozen=True, slots=True)
class GroupTime:
    """When a group belongs: the same for all its entries."""

    business_date: int
    period: int
    recorded_time_ms: int


_KEY = ("month", "institution_no", "terminal_no", "msgid")
_STORED = StoredRequest._fields

FIND_REQUESTS = select(tables.request, columns=_STORED, by=_KEY)
_INSERT_REQUESTS = insert(tables.request, (*_KEY, *_STORED, "seal_no"), is_sealed=True)
FIND_BALANCES = select(tables.account_balance, ("account", "balance_fen"), ("owner",))
PUT_BALANCES = put(tables.account_balance, set=("balance_fen",), by=("owner", "account"))
OPEN_BALANCES = insert(
    tables.account_balance, ("owner", "account", "balance_fen"), ignore_existing=True
)
FIND_ENTRIES = select(
    tables.entry,
    ("kind", "person_no", "institution_no", "clearing_type", "undoes", "period",
     "business_date", "recorded_time_ms"),
    ("entry_no",),
)  # fmt: skip
FIND_POSTINGS = select(tables.posting, ("line", "account", "owner", "amount_fen"), ("entry_no",))
LOCK_DAY = plain(
    "lock the day",
    postgresql=f"SELECT pg_advisory_xact_lock_shared({DAY_LOCK})",
    sqlite="SELECT 1",
    opens=True,
)
LAST_CLOSED = plain(
    "last closed period",
    postgresql="SELECT max(period) FROM period WHERE is_closed = 1",
    sqlite="SELECT max(period) FROM period WHERE is_closed = 1",
)
_INSERT_ENTRIES = insert(
    tables.entry,
    ("entry_no", "person_no", "kind", "period", "business_date", "institution_no",
     "clearing_type", "undoes", "recorded_time_ms"),
    is_sealed=True,
)  # fmt: skip
_INSERT_POSTINGS = insert(
    tables.posting, ("entry_no", "line", "account", "owner", "amount_fen"), is_sealed=True
)
_INSERT_UNDOING = insert(tables.undoing, ("undoes", "entry_no"))
_ADD_TOTALS = add(
    tables.period_total,
    sums=("debit_fen", "credit_fen", "count"),
    by=("slot", "business_date", "period", "account", "institution_no", "clearing_type", "kind"),
)
_INSERT_SEALS = insert(tables.seal, ("slot", "last_sequence", "first_sequence", "digest", "checks"))
_ADVANCE_SLOT = update(
    tables.writer_slot,
    set=("sequence", "chain_head", "lease_until_ms"),
    by=("slot", "owner", "sequence"),
)
_FREE_SLOT = plain(
    "find a slot",
    postgresql=(
        "SELECT slot, sequence, chain_head FROM writer_slot WHERE slot BETWEEN $3 AND $4"
        " AND (owner = $1 OR lease_until_ms < $2) ORDER BY (owner = $1) DESC, slot LIMIT 1"
        " FOR UPDATE SKIP LOCKED"
    ),
    sqlite=(
        "SELECT slot, sequence, chain_head FROM writer_slot WHERE slot BETWEEN ?3 AND ?4"
        " AND (owner = ?1 OR lease_until_ms < ?2) ORDER BY (owner = ?1) DESC, slot LIMIT 1"
    ),
)
# For a copy of a database: the writers that held its slots are those of the original.
FREE_SLOTS = plain(
    "free all slots",
    postgresql="UPDATE writer_slot SET owner = '', lease_until_ms = 0",
    sqlite="UPDATE writer_slot SET owner = '', lease_until_ms = 0",
)
_LAST_SLOT = plain(
    "last slot",
    postgresql="SELECT max(slot) FROM writer_slot WHERE slot BETWEEN $1 AND $2",
    sqlite="SELECT max(slot) FROM writer_slot WHERE slot BETWEEN ? AND ?",
)
_INSERT_SLOT = insert(
    tables.writer_slot,
    ("slot", "owner", "lease_until_ms", "sequence", "chain_head"),
    ignore_existing=True,
)
_NEW_SLOT_ATTEMPTS_MAX = 100
_TAKE_SLOT = update(tables.writer_slot, set=("owner", "lease_until_ms"), by=("slot",))
_RELEASE_SLOT = update(tables.writer_slot, set=("owner", "lease_until_ms"), by=("slot", "owner"))
_GENESIS = bytes(32)


def last_closed_period() -> Script[int | None]:
    """Read the last closed period; under the day's lock it holds until the commit."""
    return last_closed_of((yield LAST_CLOSED()))


def last_closed_of(rows: Sequence[Row]) -> int | None:
    """Return what `LAST_CLOSED` read."""
    ((last,),) = rows
    return None if last is None else int(last)


def read_requests(keys: Iterable[RequestKey]) -> Script[dict[RequestKey, StoredRequest]]:
    """Read the outcomes that are stored for these keys."""
    return requests_of((yield find_requests(keys)))


def find_requests(keys: Iterable[RequestKey]) -> Query:
    """Return the query for the outcomes that are stored."""
    return FIND_REQUESTS(sorted(set(keys)))


def requests_of(rows: Iterable[Row]) -> dict[RequestKey, StoredRequest]:
    """Return what `find_requests` read."""
    return {RequestKey(*row[:4]): StoredRequest(*row[4:]) for row in rows}


def request_queries(stored: dict[RequestKey, StoredRequest], *, seal_no: int) -> list[Query]:
    """Store outcomes in key order; a key that is taken breaks the transaction.

    Args:
        stored: By key.
        seal_no: `Slot.seal_no` of their group.
    """
    if not stored:
        return []
    return [_INSERT_REQUESTS([(*key, *stored[key], seal_no) for key in sorted(stored)])]


def read_balances(owners: Iterable[int]) -> Script[dict[tuple[int, int], int]]:
    """Read the balances of limited accounts by (owner, account)."""
    return balances_of((yield find_balances(owners)))


def find_balances(owners: Iterable[int]) -> Query:
    """Return the query for the balances of limited accounts."""
    return FIND_BALANCES([(owner,) for owner in sorted(owners)])


def balances_of(rows: Iterable[Row]) -> dict[tuple[int, int], int]:
    """Return what `find_balances` read by (owner, account)."""
    return {(owner, account): balance for owner, account, balance in rows}


def balance_queries(balances: dict[tuple[int, int], int]) -> list[Query]:
    """Write balances in key order."""
    return [PUT_BALANCES([(*key, balances[key]) for key in sorted(balances)])] if balances else []


def read_drafts(entry_numbers: Iterable[int]) -> Script[dict[int, Draft]]:
    """Read entries as they were posted."""
    keys = [(number,) for number in sorted(set(entry_numbers))]
    entries = yield FIND_ENTRIES(keys)
    postings = yield FIND_POSTINGS(keys)
    by_entry: dict[int, list[Row]] = {}
    for number, *posting in postings:
        by_entry.setdefault(number, []).append(tuple(posting))
    return {row[0]: make_draft(row, by_entry.get(row[0], ())) for row in entries}


def make_draft(entry: Row, postings: Iterable[Row]) -> Draft:
    """Make a draft of rows of `FIND_ENTRIES` and, less their entry number, `FIND_POSTINGS`."""
    _, kind, person_no, institution_no, clearing_type, undoes, *_ = entry
    return Draft(
        kind=kind,
        postings=tuple(Posting(*row[1:]) for row in sorted(postings)),
        person_no=person_no,
        institution_no=institution_no,
        clearing_type=clearing_type,
        undoes=undoes,
    )


def entry_queries(
    slot: Slot,
    entries: Sequence[PostedEntry],
    when: GroupTime,
    *,
    lease_until_ms: int,
    sealed: Sequence[Query] = (),
) -> tuple[list[Query], Slot]:
    """Store entries numbered from the slot's next on, with totals and seal; advance the slot.

    The last query returns a row if the slot is still ours; else the transaction must not commit.

    Args:
        slot: The writer's.
        entries: Numbered from the slot's next on; none where a group only stored outcomes, whose
            seal then takes a number without an entry.
        when: The group's time.
        lease_until_ms: Until when the slot is leased on.
        sealed: The group's other queries whose rows the seal covers.
    """
    assert entries or sealed
    first = slot.sequence + 1
    last = slot.sequence + max(len(entries), 1)
    entry_rows, posting_rows = _rows(entries, when)
    queries: list[Query] = []
    if entries:
        assert entries[0].entry_no == entry_number(slot=slot.slot, sequence=first)
        assert entries[-1].entry_no == entry_number(slot=slot.slot, sequence=last)
        queries.append(_INSERT_ENTRIES(entry_rows))
    if posting_rows:
        queries.append(_INSERT_POSTINGS(posting_rows))
    undoing = sorted((draft.undoes, number) for number, draft in entries if draft.undoes)
    covered = dict(
        as_sealed(query.statement.sealed_table, query.rows) for query in (*queries, *sealed)
    )
    head, checks = seal(slot.chain_head, covered)
    if undoing:
        queries.append(_INSERT_UNDOING(undoing))
    if posting_rows:
        queries.append(_ADD_TOTALS(_totals(slot.slot, entries, when)))
    queries += [
        _INSERT_SEALS([(slot.slot, last, first, head, checks)]),
        _ADVANCE_SLOT([(last, head, lease_until_ms, slot.slot, slot.owner, slot.sequence)]),
    ]
    return queries, Slot(slot.slot, slot.owner, last, head)


def write_entries(
    slot: Slot, entries: Sequence[PostedEntry], when: GroupTime, *, lease_until_ms: int
) -> Script[Slot]:
    """Run `entry_queries`.

    Raises:
        SlotLostError: If the slot has another owner or has advanced since.
    """
    if not entries:
        return slot
    queries, advanced = entry_queries(slot, entries, when, lease_until_ms=lease_until_ms)
    if not (yield together(queries)):
        raise SlotLostError(f"slot {slot.slot} is no longer ours")
    return advanced


def lease_slot(
    owner: str, *, now_ms: int, lease_until_ms: int, month: int | None = None
) -> Script[Slot]:
    """Take the owner's own slot again, one whose lease has ended, or a new one.

    Args:
        owner: Names the writer among all.
        now_ms: The time.
        lease_until_ms: Until when it is leased.
        month: Whose slots, YYYYMM (`months.py`); None: the month by universal time.
    """
    slots = slots_of(month or _month_of(now_ms))
    free = yield _FREE_SLOT([(owner, now_ms, slots.start, slots.stop - 1)])
    if free:
        ((number, sequence, head),) = free
        yield _TAKE_SLOT([(owner, lease_until_ms, number)])
        return Slot(number, owner, sequence, head)
    for _ in range(_NEW_SLOT_ATTEMPTS_MAX):
        ((last,),) = yield _LAST_SLOT([(slots.start, slots.stop - 1)])
        number = slots.start if last is None else last + 1
        if number not in slots:
            break
        if (yield _INSERT_SLOT([(number, owner, lease_until_ms, 0, _GENESIS)])):
            return Slot(number, owner, 0, _GENESIS)
        # Another writer took this number at the same moment; its row is visible by now.
    raise StoreError("no free slot was found: too many writers start at once")


def _month_of(time_ms: int) -> int:
    at = dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC)
    return at.year * 100 + at.month


def release_slot(slot: Slot) -> Script[None]:
    """Leave the slot to the next writer."""
    yield _RELEASE_SLOT([("", 0, slot.slot, slot.owner)])


async def balances(database: Database, persons: Iterable[int]) -> dict[int, int]:
    """Return what each person's account holds, in fen; 0 where there is none."""
    wanted = sorted(set(persons))
    rows = await database.fetch(FIND_BALANCES([(person,) for person in wanted]))
    held = dict.fromkeys(wanted, 0)
    for owner, account, balance_fen in rows:
        if account == Account.PERSONAL_ACCOUNT:
            held[owner] = balance_fen
    return held


def _rows(entries: Sequence[PostedEntry], when: GroupTime) -> tuple[list[Row], list[Row]]:
    entry_rows: list[Row] = []
    posting_rows: list[Row] = []
    for number, draft in entries:
        entry_rows.append((
            number, draft.person_no, draft.kind, when.period, when.business_date,
            draft.institution_no, draft.clearing_type, draft.undoes, when.recorded_time_ms,
        ))  # fmt: skip
        posting_rows.extend(
            (number, line, *posting) for line, posting in enumerate(draft.postings, 1)
        )
    return entry_rows, posting_rows


def _totals(slot: int, entries: Sequence[PostedEntry], when: GroupTime) -> list[Row]:
    sums: dict[Row, list[int]] = {}
    for _, draft in entries:
        for account, _, amount_fen in draft.postings:
            key = (account, draft.institution_no, draft.clearing_type, draft.kind)
            total = sums.get(key)
            if total is None:
                total = sums[key] = [0, 0, 0]
            if amount_fen > 0:
                total[0] += amount_fen
            else:
                total[1] -= amount_fen
            total[2] += 1
    return [
        (slot, when.business_date, when.period, *key, *total) for key, total in sorted(sums.items())
    ]
