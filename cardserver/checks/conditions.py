"""To which settlements, persons and items a rule applies."""

import datetime as dt

from cardserver.checks.rules_check import is_excepted
from cardserver.checks.rules_document import (
    INSTITUTION_KINDS,
    ITEM_CLASSES,
    ITEM_KINDS,
    SEXES,
    EarlierRule,
    Items,
    Rule,
    Where,
)
from cardserver.checks.values import CheckedPlace, FactsOf, Occasion, Patient

ALL_ITEMS = Items()


def applies_to_care(rule: Rule, insutype: str, med_type: str) -> bool:
    """Tell whether a rule is about this kind of care under this insurance."""
    return (rule.med_types is None or med_type in rule.med_types) and (
        rule.insutypes is None or insutype in rule.insutypes
    )


def applies_to_place(rule: Rule, place: CheckedPlace) -> bool:
    """Tell whether a rule is about this place."""
    return (
        rule.institution_kinds is None
        or INSTITUTION_KINDS[place.kind - 1] in rule.institution_kinds
    ) and (rule.levels is None or place.level in rule.levels)


def applies_to_patient(rule: Rule, patient: Patient) -> bool:
    """Tell whether a rule is about this person; a sex that isn't stated is neither."""
    return (
        (rule.person_types is None or patient.person_type in rule.person_types)
        and (rule.sexes is None or sex_name(patient.sex) in rule.sexes)
        and (rule.age_from is None or patient.age >= rule.age_from)
        and (rule.age_below is None or patient.age < rule.age_below)
        and (rule.regions is None or _covers(rule.regions, patient.region))
    )


def counts(rule: EarlierRule, earlier: Occasion) -> bool:
    """Tell whether an earlier settlement, or a stay, is one that the rule looks at."""
    return rule.earlier == "all" or (
        (rule.med_types is None or earlier.med_type in rule.med_types)
        and applies_to_place(rule, earlier.place)
    )


def is_where(where: Where, now: Occasion, earlier: Occasion) -> bool:
    """Tell whether an earlier settlement was made where the rule means."""
    if where == "anywhere":
        return True
    is_here = now.place.institution_no == earlier.place.institution_no
    return is_here == (where == "here")


def concerns(items: Items, item: str, facts_of: FactsOf) -> bool:
    """Tell whether an item is one of those that a rule is about."""
    if items is ALL_ITEMS:
        return True
    codes, prefixes = items.codes, items.prefixes
    if (codes is not None or prefixes is not None) and not (
        item in (codes or ()) or item.startswith(prefixes or ())
    ):
        return False
    if is_excepted(items, item):
        return False
    if items.classes is None and items.kinds is None:
        return True
    facts = facts_of(item)
    if items.classes is not None and ITEM_CLASSES[facts.item_class - 1] not in items.classes:
        return False
    return items.kinds is None or (facts.kind > 0 and ITEM_KINDS[facts.kind - 1] in items.kinds)


def sex_name(sex: int) -> str:
    """Give the name that rules have for a sex; empty where it isn't stated."""
    return SEXES[sex - 1] if 1 <= sex <= len(SEXES) else ""


def ordinal(day: int) -> int:
    """Count days, so that they can be subtracted."""
    return dt.date(day // 10_000, day // 100 % 100, day % 100).toordinal()


def first_day_of(last: int, days: int) -> int:
    """Give the first of so many days of which `last` is the last."""
    assert days >= 1
    first = dt.date.fromordinal(max(ordinal(last) - days + 1, 1))
    return first.year * 10_000 + first.month * 100 + first.day


def _covers(regions: tuple[str, ...], region: str) -> bool:
    """Tell whether one of the places is this one, its city, its province, or the country."""
    return (
        region in regions
        or region[:4] + "00" in regions
        or region[:2] + "0000" in regions
        or "000000" in regions
    )
