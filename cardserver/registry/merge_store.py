"""Make one person of two who turned out to be one.

The record that goes gives the one that is kept its documents, cards, insurances, filings, opening
amounts and balance, and its number leads there from then on. Claims and visits are not rewritten:
they are sealed with the number that they were made under. So a record that has any can be kept,
and can't go.
"""

import datetime as dt
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Table

from cardserver.claims import tables as claims_tables
from cardserver.claims.accumulators_store import AMOUNTS, KEY, note_openings
from cardserver.registry import tables
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.history_store import ADD_CHANGES, audit, change_row
from cardserver.registry.person_import_store import ADD_MERGED, COLUMNS
from cardserver.registry.values import Actor
from cardserver.visits import tables as visits_tables
from ledger.accounts import Account
from ledger.bulk_store import Row, Statement, add, delete, insert, select, update
from ledger.calendar import business_date, open_period
from ledger.database_store import Database
from ledger.entries import Draft, EntryKind, Posting, entry_number
from ledger.ledger_store import (
    LOCK_DAY,
    PUT_BALANCES,
    GroupTime,
    PostedEntry,
    Slot,
    last_closed_period,
    lease_slot,
    read_balances,
    release_slot,
    write_entries,
)
from ledger.scripts import Script

LEASE_MS = 60_000

_LOCK = select(tables.person, COLUMNS[1:], by=("person_no",), lock=True)
_CLAIMS = select(claims_tables.claim, ("entry_no",), by=("person_no",))
_VISITS = select(visits_tables.visit, (), by=("person_no",))
_PAYS = select(tables.family, ("family_no",), by=("payer_person_no",))
_REMOVE_PERSON = delete(tables.person, by=("person_no",))
_REPOINT = update(tables.merged_person, set=("kept_person_no",), by=("kept_person_no",))
_REMOVE_PAIRS = delete(tables.similar_person, by=("person_no",))
_REMOVE_OTHER_PAIRS = delete(tables.similar_person, by=("other_no",))
_OPENINGS = select(claims_tables.opening_accumulator, (*KEY[1:], *AMOUNTS), by=("person_no",))
_ADD_OPENINGS = add(claims_tables.opening_accumulator, sums=AMOUNTS, by=KEY)
_ADD_ACCUMULATORS = add(claims_tables.accumulator, sums=AMOUNTS, by=KEY)
_REMOVE_OPENINGS = delete(claims_tables.opening_accumulator, by=("person_no",))
_REMOVE_ACCUMULATORS = delete(claims_tables.accumulator, by=("person_no",))


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge moved.

    Attributes:
        dropped: Rows that the record that is kept had already.
        entry_no: The entry that moved the balance; 0 where there was none to move.
    """

    moved: int
    dropped: int
    balance_fen: int
    entry_no: int


class _Possession:
    """Rows of a table that belong to a person, and are moved to another one."""

    def __init__(self, table: Table, key: Sequence[str], others: Sequence[str]) -> None:
        self.name = table.name
        self._columns = ("person_no", *key, *others)
        self._key_size = len(key)
        self._read = select(table, self._columns[1:], by=("person_no",))
        self._is_unique = "person_no" in [column.name for column in table.primary_key.columns]
        self._add = insert(table, self._columns)
        self._move: Statement = update(table, set=("person_no",), by=("person_no", *key))
        self._remove = delete(table, by=("person_no", *key))

    def move(self, actor: Actor, kept: int, gone: int) -> Script[tuple[int, int]]:
        """Move rows, and drop those whose key the other person has; return how many of each."""
        theirs = yield self._read([(kept,), (gone,)])
        held = {row[1 : 1 + self._key_size] for row in theirs if row[0] == kept}
        changes: list[Row] = []
        moving: list[Row] = []
        dropping: list[Row] = []
        for row in theirs:
            if row[0] != gone:
                continue
            key = row[1 : 1 + self._key_size]
            is_held = self._is_unique and key in held
            (dropping if is_held else moving).append(key)
            before = dict(zip(self._columns, row, strict=True))
            changes.append(
                change_row(
                    actor, self.name, row[: 1 + self._key_size] if self._is_unique else key,
                    person_no=kept, before=before,
                    after=None if is_held else before | {"person_no": kept},
                )
            )  # fmt: skip
        if moving:
            yield self._move([(kept, gone, *key) for key in moving])
        if dropping:
            yield self._remove([(gone, *key) for key in dropping])
        if changes:
            yield ADD_CHANGES(changes)
        return len(moving), len(dropping)


_POSSESSIONS = (
    _Possession(tables.identity, ("number", "id_type"), ("ends",)),
    _Possession(tables.card, ("card_no",), ()),
    _Possession(
        tables.insurance, ("insutype", "begins"), ("ends", "state", "person_type", "region")
    ),
    _Possession(tables.filing, ("kind", "code", "institution_no", "begins"), ("ends",)),
)


async def merge_persons(
    database: Database, *, kept: int, gone: int, actor: Actor, timezone: dt.tzinfo
) -> Merged:
    """Keep one of two records; the other's number leads to it from then on.

    A balance is moved by an entry of the ledger; opening amounts of accumulators are added up.

    Raises:
        AdministrationError: The record that would go has claims or visits, or pays for a family.
    """
    if kept == gone:
        raise AdministrationError("these are one record already")
    owner = f"merge {secrets.token_hex(8)}"

    def script() -> Script[Merged]:
        yield LOCK_DAY()
        rows = yield _LOCK([(number,) for number in sorted((kept, gone))])
        persons = {row[0]: row for row in rows}
        for number in (kept, gone):
            if number not in persons:
                raise AdministrationError(f"there is no person {number}")
        yield from _check_may_go(gone)
        moved = dropped = 0
        for possession in _POSSESSIONS:
            counts = yield from possession.move(actor, kept, gone)
            moved, dropped = moved + counts[0], dropped + counts[1]
        yield from _move_openings(kept, gone)
        balance_fen, entry_no = yield from _move_balance(owner, kept, gone, actor, timezone)
        yield _REMOVE_PERSON([(gone,)])
        yield _REPOINT([(kept, gone)])
        yield ADD_MERGED([(gone, kept, 0)])
        yield _REMOVE_PAIRS([(gone,)])
        yield _REMOVE_OTHER_PAIRS([(gone,)])
        before = dict(zip(COLUMNS, persons[gone], strict=True))
        yield ADD_CHANGES(
            [
                change_row(actor, tables.person.name, (gone,), person_no=kept, before=before),
                change_row(
                    actor, tables.merged_person.name, (gone,), person_no=kept,
                    after={"kept_person_no": kept, "balance_fen": balance_fen,
                           "entry_no": str(entry_no)},
                ),
            ]
        )  # fmt: skip
        yield audit(actor, "persons merged", f"person {gone}", f"kept as {kept}")
        return Merged(moved, dropped, balance_fen, entry_no)

    return await database.transact(script)


def _check_may_go(gone: int) -> Script[None]:
    claims = yield _CLAIMS([(gone,)])
    if claims:
        raise AdministrationError(
            f"person {gone} has settlements ({len(claims)}), which stay under that number,"
            " cancelled ones too: keep this record"
        )
    if (yield _VISITS([(gone,)])):
        raise AdministrationError(f"person {gone} has visits, which stay under that number")
    if (yield _PAYS([(gone,)])):
        raise AdministrationError(f"person {gone} pays for a family: name another payer first")


def _move_openings(kept: int, gone: int) -> Script[None]:
    """Add up what both had used before this centre; the record that goes has used nothing since."""
    rows = yield _OPENINGS([(gone,)])
    if rows:
        before = yield _OPENINGS([(kept,)])
        sums = [(kept, *row[1:]) for row in rows]
        yield _ADD_OPENINGS(sums)
        yield _ADD_ACCUMULATORS(sums)
        after = yield _OPENINGS([(kept,)])
        yield note_openings(after, [*before, *rows])
    yield _REMOVE_OPENINGS([(gone,)])
    yield _REMOVE_ACCUMULATORS([(gone,)])


def _move_balance(
    owner: str, kept: int, gone: int, actor: Actor, timezone: dt.tzinfo
) -> Script[tuple[int, int]]:
    """Post the balance over: debit the account that ends, credit the one that is kept."""
    account = int(Account.PERSONAL_ACCOUNT)
    balances = yield from read_balances([kept, gone])
    balance_fen = balances.get((gone, account), 0)
    if not balance_fen:
        return 0, 0
    slot: Slot = yield from lease_slot(
        owner, now_ms=actor.now_ms, lease_until_ms=actor.now_ms + LEASE_MS
    )
    day = business_date(actor.now_ms, timezone)
    when = GroupTime(day, open_period(day, (yield from last_closed_period())), actor.now_ms)
    number = entry_number(slot=slot.slot, sequence=slot.sequence + 1)
    draft = Draft(
        kind=EntryKind.MERGE,
        postings=(
            Posting(Account.PERSONAL_ACCOUNT, gone, balance_fen),
            Posting(Account.PERSONAL_ACCOUNT, kept, -balance_fen),
        ),
        person_no=kept,
    )
    after = yield from write_entries(
        slot, [PostedEntry(number, draft)], when, lease_until_ms=actor.now_ms + LEASE_MS
    )
    yield from release_slot(after)
    held = balances.get((kept, account), 0) + balance_fen
    yield PUT_BALANCES([(gone, account, 0), (kept, account, held)])
    return balance_fen, number
