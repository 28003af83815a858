"""What funding rules give: a contribution divided, an allotment, a year's interest. Pure.

Every ratio is exact, and each result is rounded to the fen once.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum, unique
from fractions import Fraction

from cardserver.funding.rules_document import (
    AllotmentRule,
    ContributionRule,
    InterestRule,
    Persons,
    Rounding,
    RulesDocument,
)

_DAY = 100
_YEAR = 10_000


@unique
class NotDivided(StrEnum):
    """Why the rules refuse a contribution."""

    NO_RULE = "no rule fits this person"
    BASE_BELOW = "the wage base is below its least"
    BASE_ABOVE = "the wage base is above its most"
    EMPLOYER_PART = "the employer's part is not its share of the base"
    PERSONAL_PART = "the personal part is not its share of the base"
    ABOVE_PAID = "the account would get more than is paid"


@dataclass(frozen=True, slots=True)
class Insured:
    """A person's insurance as it is on a month's first day."""

    insutype: str
    person_type: str
    region: str


@dataclass(frozen=True, slots=True)
class Paid:
    """What was paid for a person for a month.

    Attributes:
        base_fen: The wage base.
        employer_fen: By the employer.
        personal_fen: By the person.
    """

    base_fen: int
    employer_fen: int
    personal_fen: int

    @property
    def total_fen(self) -> int:
        """Return what both paid."""
        return self.employer_fen + self.personal_fen


def rounded(exact: Fraction, rounding: Rounding) -> int:
    """Round an amount that is not negative."""
    assert exact >= 0, "amounts are divided, not debts"
    numerator, denominator = exact.numerator, exact.denominator
    if rounding == "half_up":
        return (2 * numerator + denominator) // (2 * denominator)
    return numerator // denominator


def age_on(birth_date: int, day: int) -> int:
    """Return full years on a day, both YYYYMMDD; born on 29 February counts from 1 March."""
    return (day - birth_date) // _YEAR


def fits(rule: Persons, insured: Insured, age: int) -> bool:
    """Tell whether a rule is for a person."""
    return (
        rule.insutype == insured.insutype
        and (rule.person_types is None or insured.person_type in rule.person_types)
        and (rule.age_from is None or age >= rule.age_from)
        and (rule.age_below is None or age < rule.age_below)
        and (
            rule.regions is None
            or any(insured.region.startswith(_head(region)) for region in rule.regions)
        )
    )


def divide(document: RulesDocument, insured: Insured, age: int, paid: Paid) -> int | NotDivided:
    """Return what of a contribution goes to the personal account, in fen."""
    for rule in document.contributions:
        if fits(rule, insured, age):
            return _divide(rule, paid)
    return NotDivided.NO_RULE


def _divide(rule: ContributionRule, paid: Paid) -> int | NotDivided:
    if rule.base_least is not None and paid.base_fen < rule.base_least:
        return NotDivided.BASE_BELOW
    if rule.base_most is not None and paid.base_fen > rule.base_most:
        return NotDivided.BASE_ABOVE
    for ratio, part_fen, refusal in (
        (rule.employer_ratio, paid.employer_fen, NotDivided.EMPLOYER_PART),
        (rule.personal_ratio, paid.personal_fen, NotDivided.PERSONAL_PART),
    ):
        if ratio is not None and abs(part_fen - paid.base_fen * ratio) > rule.tolerance:
            return refusal
    account = rule.account
    exact = (
        account.of_base * paid.base_fen
        + account.of_employer * paid.employer_fen
        + account.of_personal * paid.personal_fen
    )
    account_fen = rounded(Fraction(exact), rule.rounding)
    return NotDivided.ABOVE_PAID if account_fen > paid.total_fen else account_fen


def allotment_rule(
    document: RulesDocument, insurances: Iterable[Insured], age: int
) -> AllotmentRule | None:
    """Return the first rule that fits one of a person's insurances."""
    some = tuple(insurances)
    for rule in document.allotments:
        if any(fits(rule, insured, age) for insured in some):
            return rule
    return None


def allotted(rule: AllotmentRule, base_fen: int, paid_fen: int) -> int:
    """Return what a rule gives.

    Args:
        rule: The one that fits the person.
        base_fen: The wage bases of the month's contributions for its insurance.
        paid_fen: What was paid for it in the month.
    """
    if rule.monthly is not None:
        return rule.monthly
    assert rule.share is not None, "as the check of rules says"
    of_fen = {"base": base_fen, "paid": paid_fen, "amount": rule.amount or 0}[rule.of or "amount"]
    given_fen = rounded(Fraction(rule.share * of_fen), rule.rounding)
    if not given_fen:
        return 0  # who paid nothing is not given the least
    if rule.least is not None:
        given_fen = max(given_fen, rule.least)
    return given_fen if rule.most is None else min(given_fen, rule.most)


def interest_of(
    rates: Sequence[tuple[int, InterestRule]], year: int, opening_fen: int, moves: dict[int, int]
) -> int:
    """Return a year's interest on an account, rounded once, as its first rate's rule says.

    Args:
        rates: As `FundingRules.interest_rates` gives them.
        year: Of which every day counts once, the last one included.
        opening_fen: What the account held when the year began.
        moves: What it gained, by day of the year, YYYYMMDD.
    """
    if not rates:
        return 0
    end = dt.date(year + 1, 1, 1)
    first = dt.date(year, 1, 1)
    begins = [date_of(day) for day, _ in rates]
    spans = list(zip(begins, [*begins[1:], end], rates, strict=True))
    exact = Fraction(0)
    for span_begins, span_ends, (_, rule) in spans:
        days = (span_ends - span_begins).days
        day_fen = opening_fen * days
        if rule.balance == "daily":
            for day, moved_fen in moves.items():
                # What came on a day is there at its end: the day counts.
                held_from = max(date_of(day), span_begins, first)
                day_fen += moved_fen * max((span_ends - held_from).days, 0)
        exact += Fraction(rule.rate * day_fen, rule.year_days)
    return rounded(max(exact, Fraction(0)), rates[0][1].rounding)


def date_of(day: int) -> dt.date:
    """Read a day, YYYYMMDD."""
    return dt.date(day // _YEAR, day // _DAY % _DAY, day % _DAY)


def _head(region: str) -> str:
    """Return what codes of places under a province's, city's or district's begin with."""
    return region[:2] if region.endswith("0000") else region[:4] if region[4:] == "00" else region
