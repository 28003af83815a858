"""A year's interest on personal accounts, by the rates that held in the year.

Not here: how a run goes on (`runs.py`), what interest is (`division.py`).
"""

from collections.abc import Sequence

from cardserver.funding.division import interest_of
from cardserver.funding.gifts_store import (
    accounts_between,
    read_given,
    read_given_merged,
    read_year,
)
from cardserver.funding.rules import FundingRules
from cardserver.funding.runs import Gift, Prepared, Purpose
from cardserver.registry.administration_store import AdministrationError
from ledger.accounts import Account
from ledger.database_store import Database
from ledger.entries import EntryKind
from ledger.fund_acts import ActType
from ledger.scripts import Script

RULE = "interest"


def interest_purpose(database: Database, rules: FundingRules, year: int, *, today: int) -> Purpose:
    """Return what a year's interest is.

    Args:
        database: Started.
        rules: In force.
        year: Which has ended.
        today: The fund's day, YYYYMMDD.

    Raises:
        AdministrationError: The year has not ended, or no rules give interest in it.
    """
    if today // 10_000 <= year:
        raise AdministrationError(f"the year {year} has not ended")
    rates = rules.interest_rates(year)
    version = rules.of_month(year * 100 + 12)
    if not rates or version is None:
        raise AdministrationError(f"no rules in force in {year} give interest")
    insurance = int(rates[-1][1].insutype)
    month = year * 100 + 12

    async def prepare(first: int, last: int, attempt: int) -> Prepared:
        persons = await accounts_between(database, first, last)

        def read() -> Script[Sequence[Gift]]:
            given: frozenset[int] = frozenset()
            if attempt > 1:
                given = yield from read_given(EntryKind.INTEREST, month, attempt, first, last)
            # Whoever was given interest of the year before the merge is not given it again.
            apart = yield from read_given_merged(EntryKind.INTEREST, month, first, last)
            accounts = yield from read_year(year, persons, apart)
            gifts = [
                Gift(
                    RULE, Account.INTEREST.value, insurance, person_no,
                    interest_of(rates, year, opening_fen, moves),
                )
                for person_no, (opening_fen, moves) in sorted(accounts.items())
                if person_no not in given
            ]  # fmt: skip
            return [gift for gift in gifts if gift.amount_fen]

        return Prepared(persons, read)

    return Purpose(EntryKind.INTEREST, ActType.INTEREST, month, version.identity, prepare)
