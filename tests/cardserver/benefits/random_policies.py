"""Random policies that use the whole language, and random bills for them.

Everything is drawn from a `random.Random`, so that a seed tells which it was.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from cardserver.benefits.values import Accumulated, BillLine, Case, Moved, Purses, Stay
from tests.cardserver.benefits.simple_division import half_away

Content = dict[str, Any]
KINDS = ["hospital", "community", "pharmacy"]
REFERRALS = ["local", "referred", "unreferred", "emergency"]
FIELDS = ["hifob_pay", "cvlserv_pay", "hifes_pay", "hifmi_pay", "maf_pay", "oth_pay"]
SHARES = ["fully_own", "over_limit", "pre_self_pay", "deductible", "own_share"]
ITEMS = ["XA01", "XA02", "XB01", "Y"]
FURTHER_ROWS = ["large_too", "aid_too"]


@dataclass
class Care:
    """What is drawn for one kind of care: `keys` are the conditions that its tables may use."""

    name: str
    med_types: list[str]
    has_stays: bool = False
    diseases: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    is_special: bool = False

    @property
    def pers(self) -> list[str]:
        return ["year", "admission", "bill"] if self.has_stays else ["year", "bill"]


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(toml(each) for each in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else f'"{value}"'


def some_of(draw: random.Random, values: list[str]) -> list[str]:
    return draw.sample(values, draw.randint(0, len(values)))


def is_so(draw: random.Random, one_in: int) -> bool:
    return draw.randint(1, one_in) == 1


# --- rows ------------------------------------------------------------------------------------


def some_yuan(draw: random.Random, most: int) -> str:
    return f"{draw.randint(0, most)}.{draw.choice([0, 0, 1, 37, 50, 99]):02d}"


def some_percent(draw: random.Random) -> str:
    return f"{draw.randint(0, 99)}.{draw.choice([0, 0, 5, 33])}%" if draw.randint(0, 9) else "100%"


def some_parts(draw: random.Random, care: Care, key: str) -> list[Content]:
    """Divide all cases in two."""
    if key == "age":
        age = draw.randint(1, 90)
        return [{"age_below": age}, {"age_from": age}]
    if key == "admission":
        number = draw.randint(1, 3)
        return [{"admission_to": number}, {"admission_from": number + 1}]
    if key == "designated":
        return [{key: True}, {key: False}]
    values: list[Any] = {
        "person_types": ["11", "12", "13"],
        "institution_kinds": list(KINDS),
        "levels": [0, 1, 2, 3],
        "referrals": list(REFERRALS),
        "diseases": list(care.diseases),
        "med_types": list(care.med_types),
    }[key]
    draw.shuffle(values)
    cut = draw.randint(1, len(values) - 1)
    return [{key: values[:cut]}, {key: values[cut:]}]


def some_rows(
    draw: random.Random, care: Care, value: Callable[[Content], Content], *, without: str = ""
) -> list[Content]:
    keys = [key for key in care.keys if key != without]
    rows: list[Content] = [{}]
    for key in draw.sample(keys, draw.randint(0, 2)):
        parts = some_parts(draw, care, key)
        rows = [row | part for row in rows for part in parts]
    return [row | value(row) for row in rows]


def some_ratios(draw: random.Random, care: Care, *, without: str = "") -> list[Content]:
    def value(row: Content) -> Content:
        persons = row.get("person_types")
        if persons is not None and "11" not in persons and draw.randint(0, 1):
            return {"own_share": some_percent(draw), "of_person_type": "11"}
        if is_so(draw, 6):
            return {
                "by_age": {
                    "base": f"{draw.randint(10, 60)}%",
                    "from_age": draw.randint(20, 70),
                    "each_year": f"0.{draw.randint(1, 99):02d}%",
                    "most": f"{draw.randint(60, 95)}%",
                }
            }
        return {"ratio": some_percent(draw)}

    return some_rows(draw, care, value, without=without)


def some_amounts(draw: random.Random, care: Care, most: int, *, without: str = "") -> list[Content]:
    return some_rows(draw, care, lambda _: {"amount": some_yuan(draw, most)}, without=without)


# --- rules -----------------------------------------------------------------------------------


def some_bands(draw: random.Random, care: Care, *, without: str = "") -> list[Content]:
    ends = sorted({draw.randint(1, 40) * 100_000 + draw.randint(0, 1) for _ in range(3)})
    bands: list[Content] = []
    start = 0
    for end in ends[: draw.randint(0, 3)]:
        bands.append({"from": start, "to": end})
        start = end
    bands.append({"from": start})
    return [
        {key: f"{fen // 100}.{fen % 100:02d}" for key, fen in band.items()}
        | {"ratios": some_ratios(draw, care, without=without)}
        for band in bands
    ]


def some_cap(draw: random.Random, care: Care, others: list[str], *, without: str = "") -> Content:
    cap: Content = {
        "measure": draw.choice(["paid", "in_scope"]),
        "per": draw.choice(care.pers),
        "amounts": some_amounts(draw, care, draw.choice([5, 2_000, 20_000]), without=without),
    }
    if cap["per"] == "year" and is_so(draw, 3):
        cap["counts_with"] = some_of(draw, others)
    return cap


def some_layers(
    draw: random.Random, care: Care, cares: list[str], rows: dict[str, str]
) -> list[Content]:
    fields = draw.sample(FIELDS, draw.randint(0, 3))
    of_left_over = draw.randint(0, len(fields))
    layers: list[Content] = []
    for index, name in enumerate(fields):
        takes_left_over = index < of_left_over
        shares = draw.sample(SHARES[1:], draw.randint(1, 4))
        layer: Content = {
            "field": name,
            "base": "left_over" if takes_left_over else draw.choice(["own_share", shares]),
        }
        row = name
        if is_so(draw, 4):
            free = [other for other in FURTHER_ROWS if rows.get(other, name) == name]
            if free:
                row = layer["accumulator"] = draw.choice(free)
        rows[row] = name
        whom = ""
        if is_so(draw, 3):
            whom = draw.choice(care.keys)
            layer["only_for"] = [draw.choice(some_parts(draw, care, whom))]
        if draw.randint(0, 1):
            layer["ratios"] = some_ratios(draw, care, without=whom)
        else:
            layer["bands"] = some_bands(draw, care, without=whom)
            layer["bands_per"] = draw.choice(care.pers)
        if draw.randint(0, 1):
            layer["deductible"] = {
                "per": draw.choice(care.pers),
                "amounts": some_amounts(draw, care, draw.choice([5, 2_000]), without=whom),
            }
            layer["bands_from"] = draw.choice(["zero", "deductible"])
        others = [other for other in cares if other != care.name] if takes_left_over else []
        layer["caps"] = [
            some_cap(draw, care, others, without=whom) for _ in range(draw.choice([0, 1, 1, 2]))
        ]
        for cap in layer["caps"]:
            # What is paid counts with other layers' rows, and those are none of this test's.
            if cap["measure"] == "paid" or not takes_left_over:
                cap.pop("counts_with", None)
        layers.append(layer)
    return layers


def some_rules(draw: random.Random, care: Care, cares: list[str], rows: dict[str, str]) -> Content:
    others = [other for other in cares if other != care.name]
    rules: Content = {"med_types": care.med_types, "institution_kinds": KINDS}
    if is_so(draw, 4):
        excluded = care.keys.pop(draw.randrange(len(care.keys)))
        part = draw.choice(some_parts(draw, care, excluded))
        rules["excluded"] = [part | {"reason_zh": "不予支付", "reason_en": "not covered"}]
    rules["bands"] = some_bands(draw, care)
    rules["bands_per"] = draw.choice(care.pers)
    rules["bands_from"] = draw.choice(["zero", "zero", "deductible"])
    rules["caps"] = [some_cap(draw, care, others) for _ in range(draw.choice([0, 1, 1, 2]))]
    rules["layers"] = some_layers(draw, care, cares, rows)
    if care.has_stays and draw.randint(0, 1):
        rules["stay_across_years"] = "year_end"
    if draw.randint(0, 3):
        per = draw.choice([*care.pers, "admission"] if care.has_stays else care.pers)
        rules["deductible"] = {"per": per}
        rules["deductible"]["amounts"] = some_amounts(draw, care, draw.choice([5, 2_000]))
        if per == "year" and is_so(draw, 3):
            rules["deductible"]["counts_with"] = some_of(draw, others)
        if per == "admission" and "stay_across_years" in rules:
            rules["deductible"]["per_year_anew"] = bool(draw.randint(0, 2))
    if is_so(draw, 4):
        rules["institution_bears"] = ["over_limit"]
    if draw.randint(0, 3):
        rules["account"] = some_rows(
            draw, care,
            lambda _: {"pays": some_of(draw, SHARES), "mutual_aid_pays": some_of(draw, SHARES)},
        )  # fmt: skip
    return rules


def some_cares(draw: random.Random) -> list[Care]:
    """Draw outpatient and inpatient care, and some special schemes."""
    found = [Care("outpatient", ["11", "41"]), Care("inpatient", ["21"], has_stays=True)]
    special = [
        Care("chronic", ["14"], diseases=["M01", "M02"], is_special=True),
        Care("severe", ["14", "9901"], diseases=["M03"], is_special=True),
        Care("drugs", ["1403"], is_special=True),
        Care("maternity", ["52"], has_stays=True, is_special=True),
    ]
    found += draw.sample(special, draw.randint(0, 3))
    for care in found:
        care.keys = ["person_types", "institution_kinds", "levels", "age", "referrals"]
        care.keys += ["designated"]
        care.keys += ["admission"] if care.has_stays else []
        care.keys += ["diseases"] if len(care.diseases) > 1 else []
        care.keys += ["med_types"] if len(care.med_types) > 1 else []
    return found


def some_policy(draw: random.Random) -> tuple[str, list[Care]]:
    """Draw a policy of the whole language; give its text and kinds of care."""
    cares = some_cares(draw)
    names = [care.name for care in cares]
    diseases = [disease for care in cares for disease in care.diseases]
    rows: dict[str, str] = {}
    parts = [
        f'rounding = "{draw.choice(["half_away_from_zero"] * 3 + ["down"])}"',
        f'cash_rounding = "{draw.choice(["fen", "fen", "jiao"])}"',
        "diseases = "
        + toml([{"code": code, "title_zh": code, "title_en": code} for code in diseases]),
    ]
    special: list[Content] = []
    for care in cares:
        rules = some_rules(draw, care, names, rows)
        if not care.is_special:
            parts.append(f"{care.name} = {toml(rules)}")
            continue
        rules |= {"name": care.name, "title_zh": care.name, "title_en": care.name}
        rules["care"] = "inpatient" if care.has_stays else "outpatient"
        rules["diseases"] = care.diseases
        if draw.randint(0, 1):
            rules["items"] = draw.choice([["XA01", "Y"], ["XA*"], ["XA*", "XB01"]])
        rules["items_filed"] = is_so(draw, 3)
        special.append(rules)
    parts.append(f"special = {toml(special)}")
    return policy_text("\n".join(parts)), cares


def policy_text(rules: str) -> str:
    return f"""
name = "random"
title_zh = "随机"
title_en = "random"
regions = ["130100"]
insutypes = ["310"]
person_types = ["11", "12", "13"]
begins = 2020-01-01
sources = [{{ title = "chance", supports = "all", standing = "verified" }}]
{rules}
"""


def some_yearly_policy(draw: random.Random, name: str) -> str:
    """Draw a policy whose amounts all go by the year, or by the stay, its layer's too."""
    per = "admission" if name == "inpatient" else "year"
    care = Care(name, ["21" if name == "inpatient" else "11"], has_stays=name == "inpatient")
    care.keys = ["person_types", "institution_kinds", "levels", "age", "referrals"]
    rules: Content = {
        "med_types": care.med_types,
        "institution_kinds": KINDS,
        "bands": some_bands(draw, care),
        "bands_per": per,
        "bands_from": draw.choice(["zero", "deductible"]),
    }
    if draw.randint(0, 3):
        amounts = some_amounts(draw, care, draw.choice([5, 2_000]))
        rules["deductible"] = {"per": per, "amounts": amounts}
    if draw.randint(0, 2):
        rules["caps"] = [some_cap(draw, care, []) | {"per": per}]
    if draw.randint(0, 2):
        layer: Content = {
            "field": "hifmi_pay",
            "base": ["deductible", "own_share"],
            "bands": some_bands(draw, care),
            "bands_per": per,
            "deductible": {"per": per, "amounts": some_amounts(draw, care, 2_000)},
            "bands_from": draw.choice(["zero", "deductible"]),
        }
        if draw.randint(0, 1):
            layer["caps"] = [some_cap(draw, care, []) | {"per": per, "measure": "paid"}]
        rules["layers"] = [layer]
    return policy_text(f"{name} = {toml(rules)}")


# --- bills -----------------------------------------------------------------------------------


@dataclass
class Bill:
    case: Case
    lines: list[BillLine]
    used: dict[str, Accumulated]
    purses: Purses
    stay: Stay | None


def some_line(draw: random.Random) -> BillLine:
    price = draw.choice([draw.randint(0, 10**7), draw.randint(0, 10**10), 4_520_000])
    quantity = draw.choice([10_000, 10_000 * draw.randint(1, 30), draw.randint(1, 10**5)])
    item_class = draw.choice([1, 1, 2, 2, 3])
    return BillLine(
        item=draw.choice(ITEMS),
        item_class=item_class,
        self_pay_ratio_e4=draw.choice([500, 1000, draw.randint(0, 10_000)]) * (item_class == 2),
        price_limit_microyuan=draw.choice([None, None, price // 2, draw.randint(0, 10**7)]),
        price_microyuan=price,
        quantity_e4=quantity,
        gross_fen=half_away(Fraction(price * quantity, 10**8)),
        is_covered=not is_so(draw, 10),
    )


def some_use(draw: random.Random, admissions: int) -> Accumulated:
    in_scope = draw.randint(0, 5_000_000)
    deductible = draw.randint(0, min(250_000, in_scope))
    pool = draw.randint(0, in_scope - deductible)
    large = draw.randint(0, in_scope - deductible - pool)
    return Accumulated(deductible, in_scope, pool, large, admissions)


def some_layer_use(draw: random.Random) -> Accumulated:
    entered = draw.randint(0, 3_000_000)
    deductible = draw.randint(0, min(250_000, entered))
    return Accumulated(deductible, entered, draw.randint(0, entered - deductible), 0, 0)


def some_stay(draw: random.Random) -> Stay:
    layers = tuple(Moved(row, some_layer_use(draw)) for row in some_of(draw, FIELDS + FURTHER_ROWS))
    moved = some_use(draw, draw.choice([0, 1, 1]))
    earlier = Accumulated(draw.randint(0, moved.deductible_fen), 0, 0, 0, 1)
    return Stay(draw.randint(1, 4), moved, layers, earlier)


def some_bill(draw: random.Random, care: Care) -> Bill:
    stay = some_stay(draw) if care.has_stays and is_so(draw, 3) else None
    used = {name: some_use(draw, 0) for name in some_of(draw, ["outpatient", "chronic", "drugs"])}
    used |= {row: some_layer_use(draw) for row in some_of(draw, FIELDS + FURTHER_ROWS)}
    for name in ("inpatient", "maternity", care.name):
        before = draw.randint(0, 4) if name in ("inpatient", "maternity") else 0
        use = some_use(draw, before) if draw.randint(0, 2) else Accumulated(0, 0, 0, 0, before)
        used[name] = use
    return Bill(
        Case(
            insutype="310",
            med_type=draw.choice(care.med_types),
            person_type=draw.choice(["11", "12", "13"]),
            age=draw.randint(0, 105),
            institution_kind=draw.randint(1, 3),
            institution_level=draw.randint(0, 3),
            region="130100",
            care_date=20260302,
            referral=draw.choice(REFERRALS),
            disease=draw.choice(care.diseases or ["", "M99"]),
            is_designated=bool(draw.randint(0, 2)),
            filed_items=tuple(some_of(draw, ITEMS)),
        ),
        [some_line(draw) for _ in range(draw.randint(1, 6))],
        used,
        Purses(draw.randint(0, 300_000), draw.randint(0, 300_000), bool(draw.randint(0, 2))),
        stay,
    )
