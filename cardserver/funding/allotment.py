"""What each person's account is given each month, by the rules of that month.

Who is insured on the month's first day decides; whoever had died before gets nothing. Not here:
how a run goes on (`runs.py`), what a rule gives (`division.py`).
"""

from collections.abc import Mapping, Sequence

from cardserver.funding.division import age_on, allotment_rule, allotted
from cardserver.funding.gifts_store import (
    Contributed,
    PersonOfMonth,
    persons_of_month,
    read_given,
    read_given_merged,
)
from cardserver.funding.rules import FundingRules, RulesVersion
from cardserver.funding.rules_document import AllotmentRule
from cardserver.funding.runs import Gift, Prepared, Purpose
from cardserver.registry.administration_store import AdministrationError
from ledger.accounts import Account
from ledger.database_store import Database
from ledger.entries import EntryKind
from ledger.fund_acts import ActType
from ledger.scripts import Script

_ACCOUNTS = {
    "contributions": Account.CONTRIBUTIONS.value,
    "pooled_fund": Account.POOLED_FUND.value,
}
_NOTHING = Contributed(0, 0)


def allotment_purpose(database: Database, rules: FundingRules, month: int) -> Purpose:
    """Return what a month's allotments are.

    Raises:
        AdministrationError: No rules of that month allot anything.
    """
    version = rules.of_month(month)
    if version is None or not version.document.allotments:
        raise AdministrationError(f"no rules in force in {month} allot anything")
    reads_contributions = any(rule.of in {"base", "paid"} for rule in version.document.allotments)

    async def prepare(first: int, last: int, attempt: int) -> Prepared:
        persons, contributed = await persons_of_month(
            database, month, first, last, reads_contributions=reads_contributions
        )
        gifts = _gifts(version, month, persons, contributed)

        def read() -> Script[Sequence[Gift]]:
            merged = yield from read_given_merged(EntryKind.ALLOTMENT, month, first, last)
            given = {kept for kept, _ in merged}
            if attempt > 1:
                given |= yield from read_given(EntryKind.ALLOTMENT, month, attempt, first, last)
            return [gift for gift in gifts if gift.person_no not in given]

        return Prepared(tuple([gift.person_no for gift in gifts]), read)

    return Purpose(EntryKind.ALLOTMENT, ActType.ALLOTMENT, month, version.identity, prepare)


def _gifts(
    version: RulesVersion,
    month: int,
    persons: Sequence[PersonOfMonth],
    contributed: Mapping[tuple[int, str], Contributed],
) -> list[Gift]:
    """Say what each gets, ascending by person."""
    day = month * 100 + 1
    gifts: list[Gift] = []
    # Few combinations of insurance and age there are, and half a million persons.
    known: dict[object, AllotmentRule | None] = {}
    amounts: dict[tuple[str, Contributed], int] = {}
    for person in persons:
        age = age_on(person.birth_date, day)
        key = (person.insurances, age)
        if key in known:
            rule = known[key]
        else:
            rule = known[key] = allotment_rule(version.document, person.insurances, age)
        if rule is None:
            continue
        paid = contributed.get((person.person_no, rule.insutype), _NOTHING)
        amount_fen = amounts.get((rule.name, paid))
        if amount_fen is None:
            amount_fen = allotted(rule, paid.base_fen, paid.paid_fen)
            amounts[rule.name, paid] = amount_fen
        if amount_fen:
            source = _ACCOUNTS[rule.source]
            gifts.append(Gift(rule.name, source, int(rule.insutype), person.person_no, amount_fen))
    return gifts
