"""A rule in words that a person can read: when it applies, what it finds, what happens then."""

from typing import assert_never

from msgspec import Struct

from cardserver.checks.rules_document import (
    AmountRule,
    AnyRule,
    DuringStayRule,
    EarlierRule,
    Fits,
    Items,
    OverlapRule,
    PersonRule,
    QuantityRule,
    ReadmissionRule,
    RepeatRule,
    TogetherRule,
    TravelRule,
    VisitsRule,
    Where,
)

_CONDITIONS = (
    ("insutypes", "险种 insurance"),
    ("med_types", "医疗类别 care"),
    ("institution_kinds", "机构 institution"),
    ("levels", "等级 level"),
    ("regions", "参保地 insured in"),
    ("person_types", "人员类别 person"),
    ("sexes", "性别 sex"),
)
_ITEMS = (
    ("codes", "编码 code"),
    ("prefixes", "编码开头 code begins"),
    ("except_codes", "除 except"),
    ("except_prefixes", "除开头 except beginning"),
    ("classes", "类 class"),
    ("kinds", "种类 kind"),
)
_WHERE: dict[Where, str] = {
    "elsewhere": "其他机构 elsewhere",
    "here": "同一机构 same institution",
    "anywhere": "任何机构 anywhere",
}


class RuleInWords(Struct, frozen=True):
    """One row of the table.

    Attributes:
        action: `warn`, `refuse`, or `refuse` with who may override.
        applies: To what; empty for everything.
        finds: What it looks for.
    """

    name: str
    kind: str
    action: str
    applies: str
    finds: str
    reason_zh: str
    reason_en: str


def in_words(rule: AnyRule) -> RuleInWords:
    """Say what a rule says."""
    if rule.action == "warn":
        action = "提醒 warn"
    elif rule.override == "none":
        action = "拒绝 refuse"
    else:
        action = "拒绝，主管可放行 refuse; a supervisor may override"
    applies = [
        f"{words} {', '.join(str(one) for one in getattr(rule, key))}"
        for key, words in _CONDITIONS
        if getattr(rule, key) is not None
    ]
    if rule.age_from is not None or rule.age_below is not None:
        applies.append(_ages(rule.age_from, rule.age_below))
    finds = _finds(rule)
    if isinstance(rule, EarlierRule) and rule.earlier == "all":
        finds += "；计入所有类别 earlier ones of every kind count"
    return RuleInWords(
        name=rule.name,
        kind=str(rule.__struct_config__.tag),
        action=action,
        applies="；".join(applies),
        finds=finds,
        reason_zh=rule.reason_zh,
        reason_en=rule.reason_en,
    )


def _finds(rule: AnyRule) -> str:  # noqa: C901 - a table
    match rule:
        case QuantityRule():
            limit = (
                f"目录日用量×{rule.catalogue_days} catalogue's daily x {rule.catalogue_days}"
                if rule.most is None
                else f"{rule.most / 10_000:.15g}"
            )
            per = "每项 each item" if rule.per == "item" else "合计 together"
            text = f"{_items(rule.items)}，{per}，{_days(rule.days)} > {limit}"
        case RepeatRule():
            same = f"，前{rule.same_prefix}位相同 same first" if rule.same_prefix else ""
            text = f"{_items(rule.items)}{same}，{_days(rule.days)}，{_WHERE[rule.where]}"
        case PersonRule():
            fits = rule.fits
            wanted = (
                f"{fits.sex or ''} {_ages(fits.age_from, fits.age_below)}".strip()
                if isinstance(fits, Fits)
                else "目录限定 as the catalogue says"
            )
            text = f"{_items(rule.items)}，仅限 only for {wanted}"
        case TogetherRule():
            text = f"{_items(rule.items)} + {_items(rule.with_items)}，{_days(rule.days)}"
        case TravelRule():
            text = f"≥ {rule.km_from} km，> {rule.speed_kmh} km/h，{_days(rule.days)}"
        case OverlapRule():
            text = f"{_WHERE[rule.where]}，重叠 common days > {rule.days_allowed}"
        case DuringStayRule():
            text = f"{_WHERE[rule.where]}，住院期间门诊购药 outpatient during a stay"
        case ReadmissionRule():
            text = f"{_WHERE[rule.where]}，出院后 after discharge ≤ {rule.days} 天 days"
        case VisitsRule():
            counted = "结算 settlements" if rule.count == "settlements" else "机构 institutions"
            text = f"{counted}，{_days(rule.days)} > {rule.most}"
        case AmountRule():
            measured = "基金支付 funds pay" if rule.measure == "fund" else _items(rule.items)
            text = f"{measured}，{_days(rule.days)} > {rule.most / 100:.2f}"
        case _:
            assert_never(rule)
    return text


def _items(items: Items) -> str:
    parts = [
        f"{words} {', '.join(getattr(items, key))}"
        for key, words in _ITEMS
        if getattr(items, key) is not None
    ]
    return " ".join(parts) or "所有项目 all items"


def _days(days: int) -> str:
    return f"{days}天内 in {days} days" if days else "本单 this bill"


def _ages(age_from: int | None, age_below: int | None) -> str:
    first = "" if age_from is None else f"{age_from}"
    last = "" if age_below is None else f"{age_below - 1}"
    return f"{first}–{last}岁 years" if first or last else ""
