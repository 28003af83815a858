"""What must hold in a rules file beyond its shape: every mistake with its path and a sentence."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from cardserver.benefits.mistakes import Mistake
from cardserver.checks.rules_document import (
    AmountRule,
    AnyRule,
    DuringStayRule,
    Fits,
    Items,
    OverlapRule,
    PersonRule,
    QuantityRule,
    ReadmissionRule,
    RepeatRule,
    RulesDocument,
    TogetherRule,
    TravelRule,
    VisitsRule,
)

DAYS_MAX = 366
"""How far any rule looks back: a year, so that what one decision reads stays bounded."""
REASON_SIZE_MAX = 120
NAME_SIZE_MAX = 40
RULES_MAX = 200
_AGE_MAX = 130
_LEVELS = (0, 1, 2, 3)
_SPEED_MAX = 2_000
_KM_MAX = 20_000
_CODE_SIZE_MAX = 40
_COUNT_MAX = 10_000
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)
_REGION = re.compile(r"\d{6}", re.ASCII)
_INSUTYPE = re.compile(r"\d{3}", re.ASCII)
_MED_TYPE = re.compile(r"\d{2,6}", re.ASCII)
_PERSON_TYPE = re.compile(r"\d{2,4}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def mistakes_of(document: RulesDocument) -> Iterator[Mistake]:
    """Find every mistake."""
    yield from _name("$.name", document.name)
    if document.ends is not None and document.ends < document.begins:
        yield Mistake(
            "$.ends", f"it ends on {document.ends}, before it begins on {document.begins}"
        )
    if not document.sources:
        yield Mistake("$.sources", "name at least one source: rules come from somewhere")
    if not document.rules:
        yield Mistake("$.rules", "there are no rules; to end what is in force, give it `ends`")
    if len(document.rules) > RULES_MAX:
        yield Mistake("$.rules", f"{len(document.rules)} rules are more than {RULES_MAX}")
    names = [rule.name for rule in document.rules]
    for index, rule in enumerate(document.rules):
        path = f"$.rules[{index}]"
        if rule.name in names[:index]:
            first = names.index(rule.name)
            yield Mistake(f"{path}.name", f"$.rules[{first}] has the name {rule.name!r} already")
        yield from _head(path, rule)
        yield from _conditions(path, rule)
        yield from _own(path, rule)


def _name(path: str, name: str) -> Iterator[Mistake]:
    if _NAME.fullmatch(name) is None or len(name) > NAME_SIZE_MAX:
        yield Mistake(
            path,
            f"{name!r} is not a name of lower-case letters, digits and hyphens, "
            f"{NAME_SIZE_MAX} at most",
        )


def _head(path: str, rule: AnyRule) -> Iterator[Mistake]:
    yield from _name(f"{path}.name", rule.name)
    if rule.override != "none" and rule.action == "warn":
        yield Mistake(f"{path}.override", "a warning refuses nothing that could be overridden")
    for key, reason in (("reason_zh", rule.reason_zh), ("reason_en", rule.reason_en)):
        if not reason.strip():
            yield Mistake(f"{path}.{key}", "say why: the cashier and the patient read it")
        if len(reason) > REASON_SIZE_MAX:
            yield Mistake(
                f"{path}.{key}",
                f"{len(reason)} characters are more than {REASON_SIZE_MAX}; figures are added",
            )
        if _CONTROL.search(reason):
            yield Mistake(f"{path}.{key}", "it is one line, without control characters")


def _conditions(path: str, rule: AnyRule) -> Iterator[Mistake]:
    for key, values, pattern, what in (
        ("insutypes", rule.insutypes, _INSUTYPE, "an insurance of three digits, as 310"),
        ("med_types", rule.med_types, _MED_TYPE, "a medical type of two to six digits, as 11"),
        ("regions", rule.regions, _REGION, "a GB/T 2260 code of six digits"),
        ("person_types", rule.person_types, _PERSON_TYPE, "a type of two to four digits, as 11"),
    ):
        if values is None:
            continue
        yield from _different(f"{path}.{key}", values)
        for index, value in enumerate(values):
            if pattern.fullmatch(value) is None:
                yield Mistake(f"{path}.{key}[{index}]", f"{value!r} is not {what}")
    for key, choices in (
        ("institution_kinds", rule.institution_kinds), ("levels", rule.levels),
        ("sexes", rule.sexes),
    ):  # fmt: skip
        if choices is not None:
            yield from _different(f"{path}.{key}", choices)
    for index, level in enumerate(rule.levels or ()):
        if level not in _LEVELS:
            yield Mistake(f"{path}.levels[{index}]", f"{level} is not a level from 0 to 3")
    yield from _ages(path, rule.age_from, rule.age_below)


def _own(path: str, rule: AnyRule) -> Iterator[Mistake]:  # noqa: C901, PLR0912 - a table
    """Find what is wrong with what only this kind of rule says."""
    match rule:
        case QuantityRule():
            yield from _quantity(path, rule)
        case RepeatRule():
            yield from _items(f"{path}.items", rule.items)
            yield from _range(f"{path}.days", rule.days, 1, DAYS_MAX)
            if rule.same_prefix is not None:
                yield from _range(f"{path}.same_prefix", rule.same_prefix, 1, _CODE_SIZE_MAX)
        case PersonRule():
            yield from _items(f"{path}.items", rule.items)
            if isinstance(rule.fits, Fits):
                yield from _ages(f"{path}.fits", rule.fits.age_from, rule.fits.age_below)
                if rule.fits == Fits():
                    yield Mistake(f"{path}.fits", "say which sex or age the items are for")
        case TogetherRule():
            yield from _items(f"{path}.items", rule.items, is_needed=True)
            yield from _items(f"{path}.with_items", rule.with_items, is_needed=True)
            yield from _range(f"{path}.days", rule.days, 0, DAYS_MAX)
        case TravelRule():
            yield from _range(f"{path}.speed_kmh", rule.speed_kmh, 1, _SPEED_MAX)
            yield from _range(f"{path}.km_from", rule.km_from, 1, _KM_MAX)
            yield from _range(f"{path}.days", rule.days, 1, DAYS_MAX)
        case OverlapRule():
            yield from _range(f"{path}.days_allowed", rule.days_allowed, 0, DAYS_MAX)
        case DuringStayRule():
            return
        case ReadmissionRule():
            yield from _range(f"{path}.days", rule.days, 0, DAYS_MAX)
        case VisitsRule():
            yield from _range(f"{path}.days", rule.days, 1, DAYS_MAX)
            yield from _range(f"{path}.most", rule.most, 1, _COUNT_MAX)
        case AmountRule():
            yield from _items(f"{path}.items", rule.items)
            yield from _range(f"{path}.days", rule.days, 0, DAYS_MAX)
            if rule.measure == "fund" and rule.items != Items():
                yield Mistake(
                    f"{path}.items", "what the funds pay is known of a bill, not of its items"
                )


def _quantity(path: str, rule: QuantityRule) -> Iterator[Mistake]:
    yield from _items(f"{path}.items", rule.items)
    yield from _range(f"{path}.days", rule.days, 0, DAYS_MAX)
    if (rule.most is None) == (rule.catalogue_days is None):
        yield Mistake(path, "give exactly one of most and catalogue_days")
    if rule.catalogue_days is not None:
        yield from _range(f"{path}.catalogue_days", rule.catalogue_days, 1, DAYS_MAX)
        if rule.per == "rule":
            yield Mistake(f"{path}.per", "the catalogue's limit is each item's own")


def _items(path: str, items: Items, *, is_needed: bool = False) -> Iterator[Mistake]:
    if is_needed and items.codes is None and items.prefixes is None:
        yield Mistake(path, "name codes or prefixes: every item would not go with any")
    for key in ("codes", "prefixes", "except_codes", "except_prefixes", "classes", "kinds"):
        values: Sequence[str] | None = getattr(items, key)
        if values is None:
            continue
        yield from _different(f"{path}.{key}", values)
        for index, value in enumerate(values):
            if not 1 <= len(value) <= _CODE_SIZE_MAX:
                yield Mistake(
                    f"{path}.{key}[{index}]", f"{value!r} is not of 1 to {_CODE_SIZE_MAX} letters"
                )
    for key in ("codes", "prefixes"):
        for index, value in enumerate(getattr(items, key) or ()):
            if is_excepted(items, value):
                yield Mistake(f"{path}.{key}[{index}]", f"{value!r} is excepted again")


def is_excepted(items: Items, code: str) -> bool:
    """Tell whether the exceptions take a code out."""
    return code in (items.except_codes or ()) or code.startswith(items.except_prefixes or ())


def _ages(path: str, age_from: int | None, age_below: int | None) -> Iterator[Mistake]:
    if age_from is not None:
        yield from _range(f"{path}.age_from", age_from, 0, _AGE_MAX)
    if age_below is not None:
        yield from _range(f"{path}.age_below", age_below, 1, _AGE_MAX)
    if age_from is not None and age_below is not None and age_below <= age_from:
        yield Mistake(f"{path}.age_below", f"nobody is {age_from} or older and below {age_below}")


def _range(path: str, value: int, least: int, most: int) -> Iterator[Mistake]:
    if not least <= value <= most:
        yield Mistake(path, f"{value} is not from {least} to {most}")


def _different(path: str, values: Sequence[str | int]) -> Iterator[Mistake]:
    if not values:
        yield Mistake(path, "the list is empty")
    for value, count in Counter(values).items():
        if count > 1:
            yield Mistake(path, f"{value!r} is named {count} times")
