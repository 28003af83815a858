"""The trial balance: what each account was debited and credited, and whether it all agrees.

It also compares what is kept beside the postings (persons' balances, period totals) with the
postings themselves. It reads everything; not for the hot path.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import BigInteger, Connection, case, cast, func, select

from ledger.accounts import Account
from ledger.tables import account_balance, entry, period_total, posting

_NAMED_MAX = 10


@dataclass(frozen=True, slots=True)
class AccountTotal:
    """One account's sums in fen; the balance is debit less credit."""

    debit_fen: int
    credit_fen: int

    @property
    def balance_fen(self) -> int:
        """Return debit less credit."""
        return self.debit_fen - self.credit_fen


@dataclass(frozen=True, slots=True)
class TrialBalance:
    """All accounts, and what does not agree.

    Attributes:
        by_account: Sums of postings by `Account` number.
        entry_count: How many entries there are.
        differences: One sentence for each thing that does not agree, the first few of a kind.
    """

    by_account: Mapping[int, AccountTotal]
    entry_count: int
    differences: tuple[str, ...]

    @property
    def debit_fen(self) -> int:
        """Return all debits."""
        return sum(total.debit_fen for total in self.by_account.values())

    @property
    def credit_fen(self) -> int:
        """Return all credits."""
        return sum(total.credit_fen for total in self.by_account.values())

    @property
    def is_equal(self) -> bool:
        """Whether debits equal credits and all else agrees."""
        return self.debit_fen == self.credit_fen and not self.differences


def trial_balance(connection: Connection) -> TrialBalance:
    """Sum up all postings and compare; for `Database.report`, which gives one snapshot."""
    by_account = _sums(connection)
    kept = _kept_totals(connection)
    differences = [
        *_unbalanced_entries(connection),
        *_wrong_balances(connection),
        *(
            f"period totals of account {account} are {kept.get(account)}, postings {total}"
            for account, total in by_account.items()
            if kept.get(account) != total
        ),
        *(
            f"period totals of account {account} have no postings"
            for account in kept.keys() - by_account.keys()
        ),
    ]
    entry_count = connection.execute(select(func.count()).select_from(entry)).scalar_one()
    return TrialBalance(by_account, entry_count, tuple(differences))


def _sums(connection: Connection) -> dict[int, AccountTotal]:
    amount = posting.c.amount_fen
    debit = func.sum(case((amount > 0, amount), else_=0))
    credit = func.sum(case((amount < 0, -amount), else_=0))
    rows = connection.execute(
        select(posting.c.account, cast(debit, BigInteger), cast(credit, BigInteger))
        .group_by(posting.c.account)
        .order_by(posting.c.account)
    )
    return {account: AccountTotal(debit_fen, credit_fen) for account, debit_fen, credit_fen in rows}


def _kept_totals(connection: Connection) -> dict[int, AccountTotal]:
    rows = connection.execute(
        select(
            period_total.c.account,
            cast(func.sum(period_total.c.debit_fen), BigInteger),
            cast(func.sum(period_total.c.credit_fen), BigInteger),
        ).group_by(period_total.c.account)
    )
    return {account: AccountTotal(debit_fen, credit_fen) for account, debit_fen, credit_fen in rows}


def _unbalanced_entries(connection: Connection) -> list[str]:
    total = cast(func.sum(posting.c.amount_fen), BigInteger)
    rows = connection.execute(
        select(posting.c.entry_no, total)
        .group_by(posting.c.entry_no)
        .having(func.sum(posting.c.amount_fen) != 0)
        .order_by(posting.c.entry_no)
        .limit(_NAMED_MAX)
    )
    return [f"entry {number} adds up to {sum_fen}" for number, sum_fen in rows]


def _wrong_balances(connection: Connection) -> list[str]:
    """Compare each limited account's kept balance with its postings, in both directions."""
    limited = [account.value for account in Account if account.is_limited]
    postings = (
        select(
            posting.c.owner,
            posting.c.account,
            cast(-func.sum(posting.c.amount_fen), BigInteger).label("held_fen"),
        )
        .where(posting.c.account.in_(limited))
        .group_by(posting.c.owner, posting.c.account)
        .subquery()
    )
    kept = account_balance
    joined = kept.outerjoin(
        postings,
        (kept.c.owner == postings.c.owner) & (kept.c.account == postings.c.account),
    )
    held = func.coalesce(postings.c.held_fen, 0)
    differing = connection.execute(
        select(kept.c.owner, kept.c.account, kept.c.balance_fen, held)
        .select_from(joined)
        .where(kept.c.balance_fen != held)
        .order_by(kept.c.owner)
        .limit(_NAMED_MAX)
    )
    missing = connection.execute(
        select(postings.c.owner, postings.c.account, postings.c.held_fen)
        .select_from(
            postings.outerjoin(
                kept,
                (kept.c.owner == postings.c.owner) & (kept.c.account == postings.c.account),
            )
        )
        .where(kept.c.owner.is_(None), postings.c.held_fen != 0)
        .order_by(postings.c.owner)
        .limit(_NAMED_MAX)
    )
    return [
        *(
            f"account {account} of owner {owner} holds {balance_fen}, its postings {held_fen}"
            for owner, account, balance_fen, held_fen in differing
        ),
        *(
            f"account {account} of owner {owner} has no balance, its postings {held_fen}"
            for owner, account, held_fen in missing
        ),
    ]
