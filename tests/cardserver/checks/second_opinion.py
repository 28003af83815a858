"""A second, deliberately simple reading of the rules: from the file's own words, without the code.

It knows rules as the TOML's tables, counts days with `datetime`, looks at every earlier line for
every line of the bill, and says which rules find something at which lines.
"""

import datetime as dt
import math
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from cardserver.checks.values import CheckedLine, ItemFacts, Occasion, Situation

KINDS = {1: "hospital", 2: "community", 3: "pharmacy"}
CLASSES = {1: "A", 2: "B", 3: "C"}
ITEM_KINDS = {0: "", 1: "drug", 2: "service", 3: "consumable"}
SEXES = {1: "male", 2: "female", 9: "unknown"}
Table = dict[str, Any]


def findings(text: str, situation: Situation, today: int) -> list[tuple[str, int]]:
    """Say what a rules file finds: names of rules and numbers of lines."""
    rules = tomllib.loads(text, parse_float=Decimal)["rules"]
    return [
        (rule["name"], line)
        for rule in rules
        if is_about(rule, situation)
        for line in lines_found(rule, situation, date(today))
    ]


def is_about(rule: Table, situation: Situation) -> bool:
    now, patient = situation.now, situation.patient
    wanted = {
        "insutypes": now.insutype,
        "med_types": now.med_type,
        "institution_kinds": KINDS[now.place.kind],
        "levels": now.place.level,
        "person_types": patient.person_type,
        "sexes": SEXES[patient.sex],
    }
    if any(key in rule and value not in rule[key] for key, value in wanted.items()):
        return False
    if "regions" in rule:
        region = patient.region
        around = {region, region[:4] + "00", region[:2] + "0000", "000000"}
        if not around & set(rule["regions"]):
            return False
    return rule.get("age_from", 0) <= patient.age < rule.get("age_below", 1000)


def lines_found(rule: Table, situation: Situation, today: dt.date) -> Iterator[int]:
    yield from {
        "quantity": quantity,
        "repeat": repeat,
        "person": person,
        "together": together,
        "travel": travel,
        "overlap": overlap,
        "during_stay": during_stay,
        "readmission": readmission,
        "visits": visits,
        "amount": amount,
    }[rule["kind"]](rule, situation, today)


def quantity(rule: Table, situation: Situation, today: dt.date) -> Iterator[int]:
    seen = set()
    for number, line in bill(rule, "items", situation):
        key = line.item if rule.get("per", "item") == "item" else "all"
        if key in seen:
            continue
        seen.add(key)
        if "most" in rule:
            limit = Decimal(rule["most"])
        else:
            daily = situation.facts_of(line.item).daily_quantity_max_e4
            if daily == 0:
                continue
            limit = Decimal(daily) / 10_000 * rule["catalogue_days"]
        bought = [one for _, one in bill(rule, "items", situation)]
        bought += [one for _, one in earlier_lines(rule, "items", situation, today)]
        total = sum(Decimal(one.quantity_e4) / 10_000 for one in bought if key in {one.item, "all"})
        if total > limit:
            yield number


def repeat(rule: Table, situation: Situation, today: dt.date) -> Iterator[int]:
    size = rule.get("same_prefix", 100)
    seen = set()
    for number, line in bill(rule, "items", situation):
        same = line.item[:size]
        if same not in seen and any(
            one.item[:size] == same and is_there(rule, "elsewhere", situation, occasion)
            for occasion, one in earlier_lines(rule, "items", situation, today)
        ):
            yield number
        seen.add(same)


def person(rule: Table, situation: Situation, _today: dt.date) -> Iterator[int]:
    patient = situation.patient
    for number, line in bill(rule, "items", situation):
        fits = rule["fits"]
        if fits == "catalogue":
            facts = situation.facts_of(line.item)
            sex, age_from = SEXES.get(facts.sex), facts.age_from
            age_below = facts.age_below or 1000
        else:
            sex, age_from = fits.get("sex"), fits.get("age_from", 0)
            age_below = fits.get("age_below", 1000)
        is_wrong_sex = sex is not None and patient.sex != 9 and SEXES[patient.sex] != sex
        if is_wrong_sex or not age_from <= patient.age < age_below:
            yield number


def together(rule: Table, situation: Situation, today: dt.date) -> Iterator[int]:
    for number, _ in bill(rule, "items", situation):
        others = [at for at, _ in bill(rule, "with_items", situation) if at != number]
        if others or any(earlier_lines(rule, "with_items", situation, today)):
            yield number


def travel(rule: Table, situation: Situation, today: dt.date) -> Iterator[int]:
    now = situation.now
    rule = {"days": 2, **rule}
    for occasion in earlier(rule, situation, today):
        places = [situation.positions.get(one.place.institution_no) for one in (now, occasion)]
        if None in places or not (now.is_card_present and occasion.is_card_present):
            continue
        km = math.floor(arc_km(*places))
        hours = Decimal(abs(now.time_ms - occasion.time_ms)) / 3_600_000
        if km >= rule["km_from"] and km > rule["speed_kmh"] * hours:
            yield 0
            return


def overlap(rule: Table, situation: Situation, _today: dt.date) -> Iterator[int]:
    now = situation.now
    for stay in stays(rule, situation):
        common = set(days_of(now)) & set(days_of(stay))
        if is_there(rule, "anywhere", situation, stay) and len(common) > rule.get(
            "days_allowed", 1
        ):
            yield 0
            return


def during_stay(rule: Table, situation: Situation, _today: dt.date) -> Iterator[int]:
    now = situation.now
    for one in situation.past:
        if bool(one.admitted) == bool(now.admitted):
            continue
        stay, other = (now, one) if now.admitted else (one, now)
        inner = list(days_of(stay))[1:]
        if stay.discharged != 99991231:
            inner = inner[:-1]
        if date(other.day) in inner and is_there(rule, "elsewhere", situation, one):
            yield 0
            return


def readmission(rule: Table, situation: Situation, _today: dt.date) -> Iterator[int]:
    for stay in stays(rule, situation):
        if stay.is_settled and is_there(rule, "here", situation, stay):
            gap = (date(situation.now.admitted) - date(stay.discharged)).days
            if 0 <= gap <= rule["days"]:
                yield 0
                return


def visits(rule: Table, situation: Situation, today: dt.date) -> Iterator[int]:
    others = list(earlier(rule, situation, today))
    if rule.get("count", "settlements") == "settlements":
        count = 1 + len(others)
    else:
        count = len({one.place.institution_no for one in [situation.now, *others]})
    if count > rule["most"]:
        yield 0


def amount(rule: Table, situation: Situation, today: dt.date) -> Iterator[int]:
    if rule.get("measure", "gross") == "fund":
        mine = situation.now.fund_pay_fen
        before = sum(one.fund_pay_fen for one in earlier(rule, situation, today))
    else:
        mine = sum(line.gross_fen for _, line in bill(rule, "items", situation))
        before = sum(line.gross_fen for _, line in earlier_lines(rule, "items", situation, today))
    if mine > 0 and Decimal(mine + before) / 100 > Decimal(rule["most"]):
        yield 0


# --- what they share ---------------------------------------------------------------------------


def bill(rule: Table, key: str, situation: Situation) -> list[tuple[int, CheckedLine]]:
    return [
        (number, line)
        for number, line in enumerate(situation.now.lines, 1)
        if is_one_of(rule.get(key, {}), line.item, situation.facts_of(line.item))
    ]


def is_one_of(items: Table, code: str, facts: ItemFacts) -> bool:
    named = "codes" not in items and "prefixes" not in items
    named = named or code in items.get("codes", [])
    named = named or any(code.startswith(one) for one in items.get("prefixes", []))
    excepted = code in items.get("except_codes", []) or any(
        code.startswith(one) for one in items.get("except_prefixes", [])
    )
    return (
        named
        and not excepted
        and CLASSES[facts.item_class] in items.get("classes", "ABC")
        and ("kinds" not in items or ITEM_KINDS[facts.kind] in items["kinds"])
    )


def earlier(rule: Table, situation: Situation, today: dt.date) -> Iterator[Occasion]:
    days = {today - dt.timedelta(days=back) for back in range(rule.get("days", 0))}
    for one in situation.past:
        if one.is_settled and date(one.day) in days and is_alike(rule, one):
            yield one


def earlier_lines(
    rule: Table, key: str, situation: Situation, today: dt.date
) -> Iterator[tuple[Occasion, CheckedLine]]:
    for one in earlier(rule, situation, today):
        for line in one.lines:
            if is_one_of(rule.get(key, {}), line.item, situation.facts_of(line.item)):
                yield one, line


def is_alike(rule: Table, one: Occasion) -> bool:
    if rule.get("earlier", "alike") == "all":
        return True
    return (
        one.med_type in rule.get("med_types", [one.med_type])
        and KINDS[one.place.kind] in rule.get("institution_kinds", [KINDS[one.place.kind]])
        and one.place.level in rule.get("levels", [one.place.level])
    )


def is_there(rule: Table, default: str, situation: Situation, one: Occasion) -> bool:
    here = situation.now.place.institution_no == one.place.institution_no
    return {"anywhere": True, "here": here, "elsewhere": not here}[rule.get("where", default)]


def stays(rule: Table, situation: Situation) -> Iterator[Occasion]:
    now = situation.now
    for one in situation.past:
        is_part = now.visit and now.visit == one.visit
        if now.admitted and one.admitted and not is_part and is_alike(rule, one):
            yield one


def days_of(stay: Occasion) -> Iterator[dt.date]:
    """Give a stay's days; of one that is open, those of the next year."""
    first = date(stay.admitted)
    last = first + dt.timedelta(days=365)
    if stay.discharged != 99991231:
        last = date(stay.discharged)
    while first <= last:
        yield first
        first += dt.timedelta(days=1)


def date(day: int) -> dt.date:
    return dt.datetime.strptime(str(day), "%Y%m%d").date()  # noqa: DTZ007 - a day has no zone


def arc_km(here: Any, there: Any) -> float:
    """Measure by the angle between two vectors, not by the haversine."""
    vectors = []
    for place in (here, there):
        north = math.radians(place.latitude_e6 / 1e6)
        east = math.radians(place.longitude_e6 / 1e6)
        vectors.append(
            (math.cos(north) * math.cos(east), math.cos(north) * math.sin(east), math.sin(north))
        )
    (ax, ay, az), (bx, by, bz) = vectors
    cross = math.hypot(ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx)
    return 6371.0088 * math.atan2(cross, ax * bx + ay * by + az * bz)
