"""Take over the balances of personal accounts: as entries that balance, each person once.

An entry opens at most a thousand accounts: debit the balances taken over, credit each person. A
person whose account is open is left alone, so that loading again changes nothing.
"""

import datetime as dt
import secrets
from collections.abc import Callable
from pathlib import Path

from cardserver.registry import import_files, tables
from cardserver.registry.import_files import NumberedRow, Rejection
from cardserver.registry.import_reader import chunks_of
from cardserver.registry.import_store import PERSON_EXISTS, FileResult, ImportRun, References
from ledger.accounts import Account
from ledger.bulk_store import select
from ledger.calendar import Clock, business_date, open_period
from ledger.database_store import Database
from ledger.entries import Draft, EntryKind, Posting, entry_number
from ledger.ledger_store import (
    LOCK_DAY,
    OPEN_BALANCES,
    GroupTime,
    PostedEntry,
    Slot,
    last_closed_period,
    lease_slot,
    release_slot,
    write_entries,
)
from ledger.scripts import Script

PERSONS_AN_ENTRY_MAX = 1_000
# Renewed with every entry; a load that was killed gives the slot back after this time.
LEASE_MS = 60_000

# Settlements of these persons wait for the entry, and it for them, in the same order.
_LOCK_PERSONS = select(tables.person, (), by=("person_no",), lock=True)


async def load_balances(
    database: Database,
    run: ImportRun,
    path: Path,
    result: FileResult,
    on_progress: Callable[[int], None],
    *,
    clock: Clock,
    timezone: dt.tzinfo,
) -> FileResult:
    """Load the file of opening balances; tell `on_progress` how many rows are done with.

    Raises:
        ImportFileError: The file can't be read; entries before that point stand.
        StoreError: The database failed; entries before that point stand. Load again.
    """
    owner = f"import {secrets.token_hex(8)}"

    def lease() -> Script[Slot]:
        now_ms = clock.now_ms()
        return (yield from lease_slot(owner, now_ms=now_ms, lease_until_ms=now_ms + LEASE_MS))

    slot = await database.transact(lease)
    references = References(import_files.BALANCES, (PERSON_EXISTS,))
    done = 0
    async with chunks_of(path, import_files.BALANCES, PERSONS_AN_ENTRY_MAX) as chunks:
        async for chunk in chunks:
            for rejection in chunk.rejections:
                result.reject(rejection)
            rows = await references.check(database, run, chunk.rows, result)
            if rows:
                slot = await _open_accounts(database, slot, rows, result, clock, timezone)
            done += chunk.count
            on_progress(done)
    last = slot
    await database.transact(lambda: release_slot(last))
    return result


async def _open_accounts(
    database: Database,
    slot: Slot,
    rows: list[NumberedRow],
    result: FileResult,
    clock: Clock,
    timezone: dt.tzinfo,
) -> Slot:
    """Open the accounts of one entry and count what became of each row."""
    amounts: dict[int, int] = {}
    for row in rows:
        amounts.setdefault(*row.values)

    def script() -> Script[tuple[Slot, set[int]]]:
        yield LOCK_DAY()
        now_ms = clock.now_ms()
        day = business_date(now_ms, timezone)
        when = GroupTime(day, open_period(day, (yield from last_closed_period())), now_ms)
        persons = sorted(amounts)
        yield _LOCK_PERSONS([(person_no,) for person_no in persons])
        opened = yield OPEN_BALANCES(
            [
                (person_no, int(Account.PERSONAL_ACCOUNT), amounts[person_no])
                for person_no in persons
            ]
        )
        new = {row[0] for row in opened}
        if not new:
            return slot, new
        number = entry_number(slot=slot.slot, sequence=slot.sequence + 1)
        entry = PostedEntry(number, _draft({person_no: amounts[person_no] for person_no in new}))
        lease_until_ms = now_ms + LEASE_MS
        after = yield from write_entries(slot, [entry], when, lease_until_ms=lease_until_ms)
        return after, new

    after, new = await database.transact(script)
    opened: set[int] = set()
    for row in rows:
        person_no, balance_fen = row.values
        if person_no not in new:
            result.unchanged += 1
        elif balance_fen != amounts[person_no]:
            reason = "the file names two balances of this person"
            result.reject(Rejection(result.file, row.line, "balance_fen", reason))
        elif person_no in opened:
            result.unchanged += 1
        else:
            opened.add(person_no)
            result.added += 1
    return after


def _draft(amounts: dict[int, int]) -> Draft:
    """Make the entry: what was taken over, against what each person holds."""
    return Draft(
        kind=EntryKind.OPENING,
        postings=(
            Posting(Account.OPENING, 0, sum(amounts.values())),
            *(
                Posting(Account.PERSONAL_ACCOUNT, person_no, -amounts[person_no])
                for person_no in sorted(amounts)
            ),
        ),
    )
