"""Opening balances: personal accounts taken over from an older system, as balanced entries.

Repeatable without doubling: an account that exists is left alone.
"""

import datetime as dt
import secrets
from collections.abc import Sequence

from ledger.accounts import Account
from ledger.calendar import Clock, business_date, open_period
from ledger.database_store import Database
from ledger.entries import Draft, EntryKind, Posting, entry_number
from ledger.ledger_store import (
    LOCK_DAY,
    OPEN_BALANCES,
    GroupTime,
    PostedEntry,
    last_closed_period,
    lease_slot,
    release_slot,
    write_entries,
)
from ledger.scripts import Script

# Held only for one transaction, which releases it.
_LEASE_MS = 60_000


async def open_personal_accounts(
    database: Database,
    balances: Sequence[tuple[int, int]],
    *,
    clock: Clock,
    timezone: dt.tzinfo,
) -> int:
    """Post opening balances in one transaction; return how many accounts were new.

    Args:
        database: Started.
        balances: Person number and fen; a person at most once, no negative amount.
        clock: The world's time.
        timezone: The fund's.
    """
    owner = secrets.token_hex(16)
    rows = [(person, Account.PERSONAL_ACCOUNT.value, fen) for person, fen in sorted(balances)]
    amounts = dict(balances)
    assert len(amounts) == len(balances), "a person has one opening balance"

    def script() -> Script[int]:
        yield LOCK_DAY()
        now_ms = clock.now_ms()
        day = business_date(now_ms, timezone)
        when = GroupTime(day, open_period(day, (yield from last_closed_period())), now_ms)
        added = yield OPEN_BALANCES(rows)
        slot = yield from lease_slot(owner, now_ms=now_ms, lease_until_ms=now_ms + _LEASE_MS)
        persons = [person for person, _ in sorted(added) if amounts[person]]
        entries = [
            PostedEntry(
                entry_number(slot=slot.slot, sequence=slot.sequence + index),
                _opening_entry(person, amounts[person]),
            )
            for index, person in enumerate(persons, 1)
        ]
        slot = yield from write_entries(slot, entries, when, lease_until_ms=now_ms + _LEASE_MS)
        yield from release_slot(slot)
        return len(added)

    return await database.transact(script)


def _opening_entry(person_no: int, balance_fen: int) -> Draft:
    return Draft(
        kind=EntryKind.OPENING,
        postings=(
            Posting(Account.OPENING, 0, balance_fen),
            Posting(Account.PERSONAL_ACCOUNT, person_no, -balance_fen),
        ),
        person_no=person_no,
    )
