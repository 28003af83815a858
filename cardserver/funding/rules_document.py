"""A funding rules file's shape: closed structs, one a table of the TOML.

Not here: what must hold beyond the shape (`rules_check.py`), what the rules give (`division.py`),
reading a file (`rules.py`).
"""

import datetime as dt
import re
from fractions import Fraction
from typing import Literal

from msgspec import Struct

Rounding = Literal["half_up", "down"]
Source = Literal["contributions", "pooled_fund"]
ShareOf = Literal["base", "paid", "amount"]
BalanceOf = Literal["daily", "opening"]

PERCENT = 100
_YUAN = re.compile(r"(\d{1,9})(?:\.(\d{1,2}))?", re.ASCII)
_PERCENT = re.compile(r"(\d{1,3})(?:\.(\d{1,6}))?%", re.ASCII)
_FRACTION = re.compile(r"(\d{1,6})/(\d{1,6})", re.ASCII)


class AmountFen(int):
    """An amount, written in yuan: `100`, `100.5` or `"100.50"`."""

    __slots__ = ()


class Ratio(Fraction):
    """An exact ratio, written as a percentage or a fraction: `"2%"`, `"2.125%"`, `"1/3"`."""

    __slots__ = ()


class Persons(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """For whom a rule is; what is left out is no condition.

    Attributes:
        insutype: The insurance: for an allotment in force on the month's first day, for a
            contribution on any day of the month.
        person_types: Any of these: 11 active, 12 retired, ...
        age_from: This age or older on the month's first day.
        age_below: Younger than this.
        regions: Where the person is insured; a province's or city's covers the places under it.
    """

    insutype: str
    person_types: tuple[str, ...] | None = None
    age_from: int | None = None
    age_below: int | None = None
    regions: tuple[str, ...] | None = None


class ToAccount(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What of a contribution goes to the personal account: the sum of these shares.

    Attributes:
        of_base: Of the wage base.
        of_employer: Of what the employer pays.
        of_personal: Of what the person pays.
    """

    of_base: Ratio = Ratio(0)
    of_employer: Ratio = Ratio(0)
    of_personal: Ratio = Ratio(0)


NOTHING = ToAccount()


class ContributionRule(Persons, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How contributions for some persons are divided; the pool has what the account has not.

    Attributes:
        name: Lower-case letters, digits and hyphens; unique among the contribution rules.
        account: What goes to the personal account.
        rounding: How that is rounded to the fen.
        base_least: The wage base is at least this.
        base_most: And at most this.
        employer_ratio: What the employer pays, as a share of the base.
        personal_ratio: What the person pays.
        tolerance: By how much either may differ from that.
    """

    name: str
    account: ToAccount = NOTHING
    rounding: Rounding = "half_up"
    base_least: AmountFen | None = None
    base_most: AmountFen | None = None
    employer_ratio: Ratio | None = None
    personal_ratio: Ratio | None = None
    tolerance: AmountFen = AmountFen(0)


class AllotmentRule(Persons, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What some persons' accounts are given each month; give `monthly`, or `share` and `of`.

    Attributes:
        name: Lower-case letters, digits and hyphens; unique among the allotment rules.
        title_zh: What a statement says, in Chinese.
        title_en: The same in English.
        source: From which account of the fund.
        monthly: A fixed sum.
        share: A share of `of`.
        of: `base` or `paid` (by employer and person) of the month's contributions, or `amount`.
        amount: With `of = "amount"`: the sum of which a share is given, such as the region's
            average basic pension.
        rounding: How a share is rounded to the fen.
        least: A share is at least this.
        most: A share is at most this.
    """

    name: str
    title_zh: str
    title_en: str
    source: Source = "contributions"
    monthly: AmountFen | None = None
    share: Ratio | None = None
    of: ShareOf | None = None
    amount: AmountFen | None = None
    rounding: Rounding = "half_up"
    least: AmountFen | None = None
    most: AmountFen | None = None


class InterestRule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A yearly rate; within a year a later version's rate holds from its first day on.

    Attributes:
        insutype: From whose interest it is paid: 310 employees.
        rate: A year's.
        balance: `daily`: of what the account held at each day's end. `opening`: of what it held
            when the year began.
        year_days: What a year counts in days: 360 as banks do, or 365.
        rounding: How the year's interest is rounded to the fen, once.
        source_zh: Where the rate comes from, in Chinese.
        source_en: The same in English.
    """

    insutype: str
    rate: Ratio
    balance: BalanceOf = "daily"
    year_days: int = 360
    rounding: Rounding = "half_up"
    source_zh: str
    source_en: str


class RulesDocument(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole file.

    Attributes:
        name: All versions share it.
        begins: The first day on which it holds: that of a month.
        sources: Where the rules come from.
        contributions: The first that fits a row divides it; a row that none fits is refused.
        allotments: The first that fits a person gives; whom none fits gets nothing.
        interest: Left out, no interest is given.
    """

    name: str
    title_zh: str
    title_en: str
    begins: dt.date
    sources: tuple[str, ...]
    contributions: tuple[ContributionRule, ...] = ()
    allotments: tuple[AllotmentRule, ...] = ()
    interest: InterestRule | None = None


def decode_number(type_: type, value: object) -> object:
    """Read an amount or a ratio; for msgspec.

    Raises:
        ValueError: Saying what is expected.
    """
    if type_ is AmountFen:
        return _amount(value)
    if type_ is Ratio:
        return _ratio(value)
    raise TypeError(f"no such value in a rules file: {type_}")


def _amount(value: object) -> AmountFen:
    match = _YUAN.fullmatch(str(value)) if isinstance(value, int | str) else None
    if match is None or isinstance(value, bool):
        raise ValueError("expected yuan with at most two decimals, such as 1800 or 1800.50")
    return AmountFen(int(match[1]) * PERCENT + int((match[2] or "").ljust(2, "0")))


def _ratio(value: object) -> Ratio:
    text = value if isinstance(value, str) else ""
    if match := _PERCENT.fullmatch(text):
        decimals = match[2] or ""
        return Ratio(int(match[1] + decimals), PERCENT * 10 ** len(decimals))
    if (match := _FRACTION.fullmatch(text)) and int(match[2]):
        return Ratio(int(match[1]), int(match[2]))
    raise ValueError('expected a percentage such as "2.5%" or a fraction such as "1/3"')
