"""What of the past has to be read to try the rules on a bill: no more than they look at."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, assert_never

from cardserver.checks.conditions import applies_to_care, concerns, first_day_of
from cardserver.checks.rules_check import DAYS_MAX
from cardserver.checks.rules_document import (
    AmountRule,
    AnyRule,
    DuringStayRule,
    Items,
    OverlapRule,
    PersonRule,
    QuantityRule,
    ReadmissionRule,
    RepeatRule,
    TogetherRule,
    TravelRule,
    VisitsRule,
)
from cardserver.checks.values import FOREVER, FactsOf


class Lookback(NamedTuple):
    """What of the past the rules want to see.

    Attributes:
        first_day: Settlements from this business day on; 0 none.
        needs_stays: Whether stays that are open matter.
    """

    first_day: int
    needs_stays: bool


NO_LOOKBACK = Lookback(0, needs_stays=False)


class Asked(NamedTuple):
    """What is known of a bill before anything was read.

    Attributes:
        admitted: First day of the stay; 0 without one, None where that isn't known yet.
        items: The codes of its lines; None where they aren't known yet.
        has_card: Whether the card is there.
    """

    insutype: str
    med_type: str
    admitted: int | None
    items: Sequence[str] | None
    has_card: bool


def lookback(rules: Iterable[AnyRule], asked: Asked, *, today: int, facts_of: FactsOf) -> Lookback:
    """Tell what has to be read; who the patient is and where they are isn't known yet."""
    first_day, needs_stays = FOREVER, False
    for rule in rules:
        if applies_to_care(rule, asked.insutype, asked.med_type):
            first_day = min(first_day, _first_day(rule, asked, today, facts_of))
            needs_stays |= (isinstance(rule, OverlapRule) and asked.admitted != 0) or (
                isinstance(rule, DuringStayRule) and not asked.admitted
            )
    return Lookback(0 if first_day == FOREVER else first_day, needs_stays)


def _first_day(rule: AnyRule, asked: Asked, today: int, facts_of: FactsOf) -> int:
    """Tell from which day on a rule looks at settlements; FOREVER for none."""
    match rule:
        case PersonRule():
            return FOREVER
        case OverlapRule() | DuringStayRule():
            return _first_day_of_stay(asked, today, 0)
        case ReadmissionRule():
            return _first_day_of_stay(asked, today, rule.days)
        case QuantityRule() | RepeatRule() | TogetherRule():
            looks = rule.days > 0 and _has_one(rule.items, asked, facts_of)
        case AmountRule():
            looks = rule.days > 0 and (
                rule.measure == "fund" or _has_one(rule.items, asked, facts_of)
            )
        case TravelRule():
            looks = asked.has_card
        case VisitsRule():
            looks = True
        case _:
            assert_never(rule)
    return first_day_of(today, rule.days) if looks else FOREVER


def _first_day_of_stay(asked: Asked, today: int, days: int) -> int:
    """Tell from which day on what was settled may touch a stay, or end so many days before it."""
    if asked.admitted == 0:
        return FOREVER
    if asked.admitted is None:
        return first_day_of(today, DAYS_MAX)
    return first_day_of(asked.admitted, days + 1)


def _has_one(items: Items, asked: Asked, facts_of: FactsOf) -> bool:
    return asked.items is None or any(concerns(items, code, facts_of) for code in asked.items)
