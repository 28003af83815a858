"""The chart of accounts of a medical-insurance fund.

Numbers follow the five groups of accounting for social-insurance funds: 1 assets, 2 liabilities,
3 the funds themselves, 4 income, 5 benefits paid. A number is never changed or used again.
An account is divided by owner where the table says so: personal accounts by person, payables by
institution, benefits by insurance (310 employees, 390 residents, ...).
"""

from collections.abc import Mapping
from enum import IntEnum, unique
from typing import Self


@unique
class Side(IntEnum):
    """On which side an account grows; the sign of that side's amounts."""

    DEBIT = 1
    CREDIT = -1


@unique
class Owner(IntEnum):
    """By what an account is divided."""

    NONE = 0
    PERSON = 1
    INSTITUTION = 2
    INSURANCE = 3


@unique
class Account(IntEnum):
    """One account: its number, side, division and names.

    Attributes:
        side: Where it grows.
        owner: What its owner number names.
        is_limited: Whether an owner's balance must not fall below zero; only such balances are
            kept, locked and checked when posting. All others are sums of postings.
    """

    side: Side
    owner: Owner
    is_limited: bool
    name_zh: str
    name_en: str

    def __new__(
        cls,
        number: int,
        side: Side,
        owner: Owner,
        name_zh: str,
        name_en: str,
        is_limited: bool = False,  # noqa: FBT001, FBT002 - a column of the chart
    ) -> Self:
        """Make a member that carries its facts beside its number."""
        member = int.__new__(cls, number)
        member._value_ = number
        member.side = side
        member.owner = owner
        member.is_limited = is_limited
        member.name_zh = name_zh
        member.name_en = name_en
        return member

    FISCAL_DEPOSIT = 1010, Side.DEBIT, Owner.INSURANCE, "财政专户存款", "special fiscal deposits"
    PAYMENTS_UNDER_WAY = 1020, Side.DEBIT, Owner.NONE, "在途支付款", "payments under way"

    INSTITUTION_PAYABLE = (
        2010, Side.CREDIT, Owner.INSTITUTION, "应付医药机构款", "payable to institutions",
    )  # fmt: skip
    INSTITUTION_DEPOSIT = (
        2020, Side.CREDIT, Owner.INSTITUTION, "预留质量保证金", "deposits withheld",
    )  # fmt: skip
    PERSONAL_ACCOUNT = (
        2030, Side.CREDIT, Owner.PERSON, "个人账户", "personal accounts", True,
    )  # fmt: skip

    POOLED_FUND = 3010, Side.CREDIT, Owner.INSURANCE, "统筹基金结余", "pooled fund"
    LARGE_AMOUNT_FUND = (
        3020, Side.CREDIT, Owner.INSURANCE, "大额医疗互助资金结余", "large-amount fund",
    )  # fmt: skip
    OPENING = 3900, Side.CREDIT, Owner.NONE, "期初余额", "balances taken over at opening"

    CONTRIBUTIONS = 4010, Side.CREDIT, Owner.INSURANCE, "医疗保险费收入", "contributions"
    INTEREST = 4020, Side.CREDIT, Owner.INSURANCE, "利息收入", "interest"
    DEDUCTIONS = 4030, Side.CREDIT, Owner.INSTITUTION, "违约扣款", "deductions after review"

    POOL_BENEFIT = 5010, Side.DEBIT, Owner.INSURANCE, "统筹基金支出", "pooled-fund benefits"
    LARGE_AMOUNT_BENEFIT = (
        5020, Side.DEBIT, Owner.INSURANCE, "大额医疗互助支出", "large-amount benefits",
    )  # fmt: skip
    CIVIL_SERVANT_BENEFIT = (
        5030, Side.DEBIT, Owner.INSURANCE, "公务员医疗补助支出", "civil servants' benefits",
    )  # fmt: skip
    ENTERPRISE_BENEFIT = (
        5040, Side.DEBIT, Owner.INSURANCE, "企业补充医疗保险支出", "enterprise supplements",
    )  # fmt: skip
    SERIOUS_ILLNESS_BENEFIT = (
        5050, Side.DEBIT, Owner.INSURANCE, "大病保险支出", "serious-illness benefits",
    )  # fmt: skip
    MEDICAL_AID_BENEFIT = 5060, Side.DEBIT, Owner.INSURANCE, "医疗救助支出", "medical aid"
    OTHER_BENEFIT = 5070, Side.DEBIT, Owner.INSURANCE, "其他基金支出", "other benefits"


ACCOUNTS: Mapping[int, Account] = {account.value: account for account in Account}
