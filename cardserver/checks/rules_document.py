"""A rules file's shape: closed structs, one a table of the TOML, one a kind of rule.

Not here: what must hold beyond the shape (`rules_check.py`), what the rules find
(`evaluation.py`), reading a file (`rule_book.py`).
"""

import datetime as dt
import re
from typing import Literal, TypeAlias

from msgspec import Struct

InstitutionKind = Literal["hospital", "community", "pharmacy"]
INSTITUTION_KINDS: tuple[InstitutionKind, ...] = ("hospital", "community", "pharmacy")  # from 1
ItemClassName = Literal["A", "B", "C"]
ITEM_CLASSES: tuple[ItemClassName, ...] = ("A", "B", "C")  # from 1
ItemKind = Literal["drug", "service", "consumable"]
ITEM_KINDS: tuple[ItemKind, ...] = ("drug", "service", "consumable")  # from 1
Sex = Literal["male", "female"]
SEXES: tuple[Sex, ...] = ("male", "female")  # from 1
Where = Literal["elsewhere", "here", "anywhere"]

_YUAN = re.compile(r"(\d{1,9})(?:\.(\d{1,2}))?", re.ASCII)
_QUANTITY = re.compile(r"(\d{1,6})(?:\.(\d{1,4}))?", re.ASCII)


class AmountFen(int):
    """An amount, written in yuan: `1800`, `1800.5` or `"1800.50"`."""

    __slots__ = ()


class QuantityE4(int):
    """A quantity in the catalogue's unit, with at most four decimals: `12` or `"0.5"`."""

    __slots__ = ()


class Items(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which items a rule is about; what is left out is no condition.

    Attributes:
        codes: Any of these items, or of those that begin with one of `prefixes`.
        prefixes: As `codes`.
        except_codes: But none of these.
        except_prefixes: And none that begins so.
        classes: Any of these classes of the catalogue.
        kinds: Any of these kinds of the catalogue.
    """

    codes: tuple[str, ...] | None = None
    prefixes: tuple[str, ...] | None = None
    except_codes: tuple[str, ...] | None = None
    except_prefixes: tuple[str, ...] | None = None
    classes: tuple[ItemClassName, ...] | None = None
    kinds: tuple[ItemKind, ...] | None = None


class Rule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"):
    """What every rule says; the conditions that are left out are none.

    Attributes:
        name: Lower-case letters, digits and hyphens; unique among all rules in force.
        action: What happens when it finds something.
        override: Whether a supervisor may let a refusal pass, with a reason that is kept.
        reason_zh: What the cashier reads, in Chinese; the figures are added.
        reason_en: The same in English.
        insutypes: Any of these insurances.
        med_types: Any of these kinds of care.
        institution_kinds: Any of these.
        levels: Any of these institution levels; 0 is an institution without one.
        regions: Where the person is insured; a province's or city's covers the places under it.
        person_types: Any of these.
        sexes: Any of these.
        age_from: This age or older.
        age_below: Younger than this.
    """

    name: str
    action: Literal["warn", "refuse"]
    override: Literal["none", "supervisor"] = "none"
    reason_zh: str
    reason_en: str
    insutypes: tuple[str, ...] | None = None
    med_types: tuple[str, ...] | None = None
    institution_kinds: tuple[InstitutionKind, ...] | None = None
    levels: tuple[int, ...] | None = None
    regions: tuple[str, ...] | None = None
    person_types: tuple[str, ...] | None = None
    sexes: tuple[Sex, ...] | None = None
    age_from: int | None = None
    age_below: int | None = None


class EarlierRule(Rule, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A rule that looks at earlier settlements.

    Attributes:
        earlier: Which of them count: `alike`, those to whose `med_types`, `institution_kinds` and
            `levels` the rule would apply too; or all.
    """

    earlier: Literal["alike", "all"] = "alike"


class QuantityRule(
    EarlierRule, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="quantity"
):
    """More of an item than a limit, by this bill and the earlier ones of so many days.

    Attributes:
        items: About which.
        most: The limit; this or `catalogue_days`.
        catalogue_days: The limit is what the catalogue allows a day, so many times; items of which
            the catalogue says nothing are not looked at.
        per: Whether each item has the limit, or all of the rule's items together.
        days: Over how many days, today's among them; 0: this bill alone.
    """

    items: Items = Items()
    most: QuantityE4 | None = None
    catalogue_days: int | None = None
    per: Literal["item", "rule"] = "item"
    days: int


class RepeatRule(EarlierRule, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="repeat"):
    """The same item as in an earlier bill.

    Attributes:
        items: About which.
        where: At which institution the earlier bill was made.
        same_prefix: How many of a code's characters make it the same item; left out, all.
        days: How many days back, today's among them.
    """

    items: Items = Items()
    where: Where = "elsewhere"
    same_prefix: int | None = None
    days: int


class Fits(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """For whom items are; what is left out is no condition."""

    sex: Sex | None = None
    age_from: int | None = None
    age_below: int | None = None


class PersonRule(Rule, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="person"):
    """An item that is not for a person of this sex or age.

    Attributes:
        items: About which.
        fits: For whom they are; `catalogue`: for whom the catalogue says that each is.
    """

    items: Items = Items()
    fits: Fits | Literal["catalogue"]


class TogetherRule(
    EarlierRule, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="together"
):
    """Two items that don't go together.

    Attributes:
        items: The one, in this bill.
        with_items: The other, in this bill or an earlier one.
        days: Over how many days, today's among them; 0: this bill alone.
    """

    items: Items
    with_items: Items
    days: int = 0


class TravelRule(EarlierRule, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="travel"):
    """The card at two places further apart than anyone travels in the time between.

    Attributes:
        speed_kmh: How fast one can travel.
        km_from: Nearer places are not looked at.
        days: How many days back, today's among them.
    """

    speed_kmh: int
    km_from: int
    days: int = 2


class OverlapRule(
    EarlierRule, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="overlap"
):
    """A stay on days of another one.

    Attributes:
        where: At which institution the other stay is.
        days_allowed: So many days in common are no overlap: on the day of a transfer two
            institutions have the patient.
    """

    where: Where = "anywhere"
    days_allowed: int = 1


class DuringStayRule(
    Rule, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="during_stay"
):
    """Care outside a stay on one of its days, its first and last excepted.

    It finds the bill of an outpatient who is in hospital, and the bill of a stay in which there
    were outpatient bills.

    Attributes:
        where: At which institution the other of the two is.
    """

    where: Where = "elsewhere"


class ReadmissionRule(
    EarlierRule, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="readmission"
):
    """A stay that begins soon after another one ended.

    Attributes:
        where: At which institution the earlier stay was.
        days: How many days after its last day; 0: on that day alone.
    """

    where: Where = "here"
    days: int


class VisitsRule(EarlierRule, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="visits"):
    """More bills, or more institutions, than a limit.

    Attributes:
        count: What is counted.
        most: The limit.
        days: Over how many days, today's among them.
    """

    count: Literal["settlements", "institutions"] = "settlements"
    most: int
    days: int


class AmountRule(EarlierRule, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="amount"):
    """More money than a limit.

    Attributes:
        items: About which; with `fund` none can be named.
        measure: `gross`: what the items cost. `fund`: what the funds pay of the bills.
        most: The limit.
        days: Over how many days, today's among them; 0: this bill alone.
    """

    items: Items = Items()
    measure: Literal["gross", "fund"] = "gross"
    most: AmountFen
    days: int


AnyRule: TypeAlias = (
    QuantityRule
    | RepeatRule
    | PersonRule
    | TogetherRule
    | TravelRule
    | OverlapRule
    | DuringStayRule
    | ReadmissionRule
    | VisitsRule
    | AmountRule
)


class Source(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where rules come from.

    Attributes:
        title: Of the document.
        supports: Which rules it lays down.
        standing: How well we know it; `choice`: nobody laid it down, whoever wrote the file did.
        url: Where it can be read.
    """

    title: str
    supports: str
    standing: Literal["verified", "recollection", "choice"]
    url: str = ""


class RulesDocument(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A rules file.

    Attributes:
        name: Lower-case letters, digits and hyphens; the same in every version.
        title_zh: For people, in Chinese.
        title_en: For people, in English.
        begins: First business day that it applies to.
        ends: Last one; left out, until a later version of the same name begins.
        sources: Where the rules come from.
        rules: The rules; what they find is reported in this order.
    """

    name: str
    title_zh: str
    title_en: str
    begins: dt.date
    ends: dt.date | None = None
    sources: tuple[Source, ...]
    rules: tuple[AnyRule, ...]


def decode_number(type_: type, value: object) -> object:
    """Decode `AmountFen` and `QuantityE4`, as msgspec's `dec_hook`."""
    if type_ is AmountFen:
        scaled = _scaled(_YUAN, 2, value)
        if scaled is None:
            raise ValueError(
                f"{value!r} is not an amount in yuan, with at most two decimals, as 1800 or 0.50"
            )
        return AmountFen(scaled)
    if type_ is QuantityE4:
        scaled = _scaled(_QUANTITY, 4, value)
        if scaled is None:
            raise ValueError(
                f"{value!r} is not a quantity, with at most four decimals, as 12 or 0.5"
            )
        return QuantityE4(scaled)
    raise TypeError(f"no such value in a rules file: {type_}")


def _scaled(pattern: re.Pattern[str], places: int, value: object) -> int | None:
    if not isinstance(value, int | str) or isinstance(value, bool):
        return None
    match = pattern.fullmatch(str(value).replace("_", ""))  # TOML groups digits by it
    if match is None:
        return None
    return int(match[1] + (match[2] or "").ljust(places, "0"))
