"""What must hold in a funding rules file beyond its shape: every mistake with its path."""

import re
from collections.abc import Iterator, Sequence

from cardserver.benefits.mistakes import Mistake
from cardserver.funding.rules_document import (
    AllotmentRule,
    ContributionRule,
    InterestRule,
    Persons,
    Ratio,
    RulesDocument,
)

NAME_SIZE_MAX = 40
TITLE_SIZE_MAX = 60
RULES_MAX = 100
_AGE_MAX = 130
_YEAR_DAYS = (360, 365)
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)
_INSUTYPE = re.compile(r"[1-9]\d{2}", re.ASCII)
_PERSON_TYPE = re.compile(r"\d{2,4}", re.ASCII)
_REGION = re.compile(r"\d{6}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def mistakes_of(document: RulesDocument) -> Iterator[Mistake]:
    """Find every mistake."""
    yield from _name("$.name", document.name)
    yield from _titles("$", document.title_zh, document.title_en)
    if document.begins.day != 1:
        yield Mistake("$.begins", "rules hold for whole months: begin on a month's first day")
    if not document.sources or not all(source.strip() for source in document.sources):
        yield Mistake("$.sources", "name at least one source: rules come from somewhere")
    yield from _rules("$.contributions", document.contributions)
    yield from _rules("$.allotments", document.allotments)
    for index, rule in enumerate(document.contributions):
        yield from _contribution(f"$.contributions[{index}]", rule)
    for index, allotment in enumerate(document.allotments):
        yield from _allotment(f"$.allotments[{index}]", allotment)
    if document.interest is not None:
        yield from _interest("$.interest", document.interest)


def _rules(path: str, rules: Sequence[ContributionRule | AllotmentRule]) -> Iterator[Mistake]:
    if len(rules) > RULES_MAX:
        yield Mistake(path, f"{len(rules)} rules are more than {RULES_MAX}")
    names = [rule.name for rule in rules]
    for index, rule in enumerate(rules):
        place = f"{path}[{index}]"
        if rule.name in names[:index]:
            first = names.index(rule.name)
            yield Mistake(f"{place}.name", f"{path}[{first}] has the name {rule.name!r} already")
        yield from _name(f"{place}.name", rule.name)
        yield from _persons(place, rule)
        first_covering = next((n for n in range(index) if _covers(rules[n], rule)), None)
        if first_covering is not None:
            yield Mistake(
                place, f"{path}[{first_covering}] comes first and fits whom this one fits"
            )


def _name(path: str, name: str) -> Iterator[Mistake]:
    if _NAME.fullmatch(name) is None or len(name) > NAME_SIZE_MAX:
        yield Mistake(
            path,
            f"{name!r} is not a name of lower-case letters, digits and hyphens, "
            f"{NAME_SIZE_MAX} at most",
        )


def _titles(path: str, title_zh: str, title_en: str) -> Iterator[Mistake]:
    for key, title in (("title_zh", title_zh), ("title_en", title_en)):
        if not title.strip() or len(title) > TITLE_SIZE_MAX or _CONTROL.search(title):
            yield Mistake(f"{path}.{key}", f"a title is one line of 1 to {TITLE_SIZE_MAX} letters")


def _persons(path: str, rule: Persons) -> Iterator[Mistake]:
    if _INSUTYPE.fullmatch(rule.insutype) is None:
        yield Mistake(f"{path}.insutype", f"{rule.insutype!r} is not three digits, as 310")
    for key, values, pattern, what in (
        ("person_types", rule.person_types, _PERSON_TYPE, "a type of two to four digits, as 11"),
        ("regions", rule.regions, _REGION, "a GB/T 2260 code of six digits"),
    ):
        if values is not None and not values:
            yield Mistake(f"{path}.{key}", "the list is empty")
        for index, value in enumerate(values or ()):
            if pattern.fullmatch(value) is None:
                yield Mistake(f"{path}.{key}[{index}]", f"{value!r} is not {what}")
            if value in (values or ())[:index]:
                yield Mistake(f"{path}.{key}[{index}]", f"{value!r} is named twice")
    for key, age in (("age_from", rule.age_from), ("age_below", rule.age_below)):
        if age is not None and not 0 <= age <= _AGE_MAX:
            yield Mistake(f"{path}.{key}", f"{age} is not from 0 to {_AGE_MAX}")
    if rule.age_from is not None and rule.age_below is not None and rule.age_below <= rule.age_from:
        yield Mistake(
            f"{path}.age_below", f"nobody is {rule.age_from} or older and below {rule.age_below}"
        )


def _covers(first: Persons, later: Persons) -> bool:
    """Tell whether a rule fits everybody whom a later one fits, which then never applies."""
    return (
        first.insutype == later.insutype
        and _is_part(later.person_types, first.person_types)
        and _is_part(later.regions, first.regions)
        and (first.age_from or 0) <= (later.age_from or 0)
        and (first.age_below or _AGE_MAX + 1) >= (later.age_below or _AGE_MAX + 1)
    )


def _is_part(inner: tuple[str, ...] | None, outer: tuple[str, ...] | None) -> bool:
    return outer is None or (inner is not None and set(inner) <= set(outer))


def _contribution(path: str, rule: ContributionRule) -> Iterator[Mistake]:
    for key in ("of_base", "of_employer", "of_personal"):
        yield from _share(f"{path}.account.{key}", getattr(rule.account, key))
    for key in ("employer_ratio", "personal_ratio"):
        yield from _share(f"{path}.{key}", getattr(rule, key))
    yield from _bounds(path, "base_least", rule.base_least, "base_most", rule.base_most)
    paid = (rule.employer_ratio, rule.personal_ratio)
    if paid[0] is not None and paid[1] is not None:
        account = (
            rule.account.of_base
            + rule.account.of_employer * paid[0]
            + rule.account.of_personal * paid[1]
        )
        if account > paid[0] + paid[1]:
            yield Mistake(f"{path}.account", "the account would get more than is paid")


def _allotment(path: str, rule: AllotmentRule) -> Iterator[Mistake]:
    yield from _titles(path, rule.title_zh, rule.title_en)
    if (rule.monthly is None) == (rule.share is None):
        yield Mistake(path, "give exactly one of monthly and share")
    if rule.monthly == 0:
        yield Mistake(f"{path}.monthly", "it gives nothing")
    if rule.share is not None:
        yield from _share(f"{path}.share", rule.share)
        if rule.of is None:
            yield Mistake(f"{path}.of", "say of what: base, paid or amount")
    elif rule.of is not None:
        yield Mistake(f"{path}.of", "a fixed sum is a share of nothing")
    if (rule.of == "amount") != (rule.amount is not None):
        yield Mistake(f"{path}.amount", 'an amount goes with of = "amount", and only with it')
    if rule.share is None and (rule.least is not None or rule.most is not None):
        yield Mistake(path, "least and most bound a share, not a fixed sum")
    yield from _bounds(path, "least", rule.least, "most", rule.most)


def _interest(path: str, rule: InterestRule) -> Iterator[Mistake]:
    if _INSUTYPE.fullmatch(rule.insutype) is None:
        yield Mistake(f"{path}.insutype", f"{rule.insutype!r} is not three digits, as 310")
    yield from _share(f"{path}.rate", rule.rate)
    if rule.year_days not in _YEAR_DAYS:
        yield Mistake(f"{path}.year_days", "a year counts 360 or 365 days")
    for key, text in (("source_zh", rule.source_zh), ("source_en", rule.source_en)):
        if not text.strip():
            yield Mistake(f"{path}.{key}", "say where the rate comes from")


def _share(path: str, ratio: Ratio | None) -> Iterator[Mistake]:
    if ratio is not None and not 0 <= ratio <= 1:
        yield Mistake(path, f"{ratio} is not from 0 to 1")


def _bounds(
    path: str, low: str, least: int | None, high: str, most: int | None
) -> Iterator[Mistake]:
    if least is not None and most is not None and most < least:
        yield Mistake(f"{path}.{high}", f"it is below {low}")
