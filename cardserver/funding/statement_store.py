"""A personal account's movements, as the statement reads them.

Not here: what they are called (`statement.py`).
"""

from collections.abc import Collection
from typing import NamedTuple

from ledger.accounts import Account
from ledger.bulk_store import plain
from ledger.database_store import Database
from ledger.ledger_store import FIND_POSTINGS

_PERSONAL = Account.PERSONAL_ACCOUNT.value
_MOVES_TEXT = (
    "SELECT p.entry_no, -p.amount_fen, e.kind, e.business_date, e.recorded_time_ms, e.person_no,"  # noqa: S608 - a number of our own
    " e.undoes, i.name FROM posting p JOIN entry e ON e.entry_no = p.entry_no"
    " LEFT JOIN institution i ON i.institution_no = e.institution_no"
    f" WHERE p.account = {_PERSONAL} AND p.owner = {{}}"
    " ORDER BY e.business_date, e.recorded_time_ms, p.entry_no, p.line"
)
_MOVES = plain(
    "movements of an account",
    postgresql=_MOVES_TEXT.format("$1"), sqlite=_MOVES_TEXT.format("?"),
)  # fmt: skip


class Movement(NamedTuple):
    """One posting of a personal account.

    Attributes:
        amount_fen: What the account gained.
        person_no: Whose entry it is; another's where this account aided them; 0: many persons'.
        undoes: The entry that it undoes, if it does.
        institution: Where, if anywhere.
    """

    entry_no: int
    amount_fen: int
    kind: int
    business_date: int
    recorded_time_ms: int
    person_no: int
    undoes: int | None
    institution: str | None


async def movements_of(database: Database, person_no: int) -> list[Movement]:
    """Return all of an account's movements, the first one first."""
    return [Movement(*row) for row in await database.fetch(_MOVES([(person_no,)]))]


async def owners_of(database: Database, entries: Collection[int]) -> dict[int, set[int]]:
    """Return whose personal accounts some entries moved."""
    if not entries:
        return {}
    owners: dict[int, set[int]] = {}
    for number, _, account, owner, _ in await database.fetch(
        FIND_POSTINGS([(number,) for number in sorted(entries)])
    ):
        if account == _PERSONAL:
            owners.setdefault(number, set()).add(owner)
    return owners
