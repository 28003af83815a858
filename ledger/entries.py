"""Entries: what is to be posted, as values that balance or don't exist.

Amounts are signed fen: debit positive, credit negative. Pure; not here: numbering and storing
(`ledger_store.py`), when an entry may be made (`writer.py` and whoever decides).
"""

from enum import IntEnum, unique
from typing import NamedTuple

from msgspec import Struct

from ledger.accounts import Account

SEQUENCE_BITS = 40
AMOUNT_MAX_FEN = 10**15


class UnbalancedEntryError(ValueError):
    """The postings of an entry do not add up to zero, or one of them is not a posting."""


@unique
class EntryKind(IntEnum):
    """Why an entry was made. A number is never changed or used again."""

    OPENING = 1
    SETTLEMENT = 2
    CANCELLATION = 3
    REVERSAL = 4
    REFUND = 5
    VISIT = 6
    """A visit begins: without postings, so that it has a number and is sealed."""
    MERGE = 7
    """Two records turned out to be one person: the balance of one goes to the other."""
    CONTRIBUTION = 10
    """An employer's or a person's payment, divided into pool and personal account."""
    ALLOTMENT = 11
    """What a personal account is given each month by rule."""
    INTEREST = 12
    """A year's interest on a personal account."""
    CLEARING = 20
    """A month's applied amount of an institution: to be paid, withheld as deposit, deducted."""
    PAYMENT = 21
    """A payment that the bank confirmed."""
    PAYMENT_RETURNED = 22
    """A payment that the bank returned: owed again."""
    DEPOSIT_RELEASED = 23
    """A deposit that was withheld is owed again."""
    REVIEW_DEDUCTION = 24
    """What review took from an institution, or, undoing that, gave back."""


class Posting(NamedTuple):
    """One amount on one account.

    Attributes:
        account: An `Account`.
        owner: Person, institution or insurance number, as the account is divided; else 0.
        amount_fen: Debit positive, credit negative; never 0.
    """

    account: int
    owner: int
    amount_fen: int


class Draft(Struct, frozen=True):
    """An entry before it has a number.

    An entry may be without postings: a settlement of which the patient paid all moves no money of
    the fund, and still has a number, can be undone once, and counts.

    Attributes:
        kind: An `EntryKind`.
        postings: They add up to zero.
        person_no: Whose; 0 none.
        institution_no: Which institution's; 0 none.
        clearing_type: 11 outpatient, 21 inpatient, 41 pharmacy; 0 none.
        undoes: The number of the entry whose exact negative this is.
    """

    kind: int
    postings: tuple[Posting, ...]
    person_no: int = 0
    institution_no: int = 0
    clearing_type: int = 0
    undoes: int | None = None

    def __post_init__(self) -> None:
        """Refuse to exist without balance."""
        total = 0
        for account, owner, amount_fen in self.postings:
            total += amount_fen
            if not amount_fen or abs(amount_fen) > AMOUNT_MAX_FEN:
                raise UnbalancedEntryError(f"not an amount to post: {amount_fen}")
            if account not in _DIVIDED or (owner > 0) is not _DIVIDED[account]:
                raise UnbalancedEntryError(f"account {account} has no owner {owner}")
        if total:
            raise UnbalancedEntryError(f"the postings add up to {total}, not to 0")


_DIVIDED = {int(account): account.owner > 0 for account in Account}


def negative(draft: Draft, *, kind: EntryKind, undoes: int) -> Draft:
    """Return the entry that undoes this one to the fen.

    Args:
        draft: As it was posted.
        kind: CANCELLATION, REVERSAL or REFUND.
        undoes: Its number.
    """
    return Draft(
        kind=kind,
        postings=tuple(Posting(p.account, p.owner, -p.amount_fen) for p in draft.postings),
        person_no=draft.person_no,
        institution_no=draft.institution_no,
        clearing_type=draft.clearing_type,
        undoes=undoes,
    )


def entry_number(*, slot: int, sequence: int) -> int:
    """Return the number of a slot's entry, so that writers never share a sequence."""
    assert 0 < slot < 1 << 22
    assert 0 < sequence < 1 << SEQUENCE_BITS
    return slot << SEQUENCE_BITS | sequence


def movements(draft: Draft) -> dict[tuple[int, int], int]:
    """Return by (owner, account) how much the balances of limited accounts change."""
    moved: dict[tuple[int, int], int] = {}
    for account, owner, amount_fen in draft.postings:
        if account in _LIMITED:
            key = (owner, account)
            moved[key] = moved.get(key, 0) + amount_fen * _LIMITED[account]
    return moved


_LIMITED = {int(account): int(account.side) for account in Account if account.is_limited}
