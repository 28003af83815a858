"""Random policies and bills: the invariants, and a second implementation that agrees.

The second implementation reads the policy's TOML by itself and counts in fractions of a fen. It
shares nothing with the first but the format of the file.
"""

import random
import tomllib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardserver.benefits.adjudication import adjudicate, negated
from cardserver.benefits.policy import load_policy
from cardserver.benefits.values import (
    NO_PURSES,
    NOTHING_USED,
    Accumulated,
    Adjudication,
    BillLine,
    Case,
    Layer,
    Moved,
    Purses,
    Split,
    Stay,
    added,
    stay_of,
)

Content = dict[str, Any]
KINDS = ["hospital", "community", "pharmacy"]
LAYERS = ["hifob_pay", "cvlserv_pay", "hifmi_pay", "maf_pay"]
SHARES = ["fully_own", "over_limit", "pre_self_pay", "deductible", "own_share"]
TESTED = settings(max_examples=250, deadline=None)


# --- random policies -------------------------------------------------------------------------


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(toml(each) for each in value) + "]"
    return str(value) if isinstance(value, int) else f'"{value}"'


def some_yuan(draw: random.Random, most: int) -> str:
    return f"{draw.randint(0, most)}.{draw.choice([0, 0, 1, 37, 50, 99]):02d}"


def some_percent(draw: random.Random) -> str:
    return f"{draw.randint(0, 99)}.{draw.choice([0, 0, 5, 33])}%" if draw.randint(0, 9) else "100%"


def some_parts(draw: random.Random, key: str) -> list[Content]:
    """Divide all cases in two."""
    if key == "age":
        age = draw.randint(1, 90)
        return [{"age_below": age}, {"age_from": age}]
    if key == "admission":
        number = draw.randint(1, 3)
        return [{"admission_to": number}, {"admission_from": number + 1}]
    values: list[Any] = {
        "person_types": ["11", "12"],
        "institution_kinds": list(KINDS),
        "levels": [0, 1, 2, 3],
    }[key]
    draw.shuffle(values)
    cut = draw.randint(1, len(values) - 1)
    return [{key: values[:cut]}, {key: values[cut:]}]


def some_rows(
    draw: random.Random, scheme: str, value: Callable[[Content], Content]
) -> list[Content]:
    keys = ["person_types", "institution_kinds", "levels", "age"]
    keys += ["admission"] if scheme == "inpatient" else []
    rows: list[Content] = [{}]
    for key in draw.sample(keys, draw.randint(0, 2)):
        parts = some_parts(draw, key)
        rows = [row | part for row in rows for part in parts]
    return [row | value(row) for row in rows]


def some_ratios(draw: random.Random, scheme: str) -> list[Content]:
    def value(row: Content) -> Content:
        if row.get("person_types") == ["12"] and draw.randint(0, 1):
            return {"own_share": some_percent(draw), "of_person_type": "11"}
        if not draw.randint(0, 5):
            return {
                "by_age": {
                    "base": f"{draw.randint(10, 60)}%",
                    "from_age": draw.randint(20, 70),
                    "each_year": f"0.{draw.randint(1, 99):02d}%",
                    "most": f"{draw.randint(60, 95)}%",
                }
            }
        return {"ratio": some_percent(draw)}

    return some_rows(draw, scheme, value)


def some_amounts(draw: random.Random, scheme: str, most: int) -> list[Content]:
    return some_rows(draw, scheme, lambda _row: {"amount": some_yuan(draw, most)})


def some_cap(draw: random.Random, scheme: str, pers: list[str], measures: list[str]) -> Content:
    return {
        "measure": draw.choice(measures),
        "per": draw.choice(pers),
        "amounts": some_amounts(draw, scheme, draw.choice([5, 2_000, 20_000])),
    }


def some_layers(draw: random.Random, scheme: str, pers: list[str]) -> list[Content]:
    layers: list[Content] = []
    fields = draw.sample(LAYERS, draw.randint(0, 3))
    of_left_over = draw.randint(0, len(fields))
    for index, field in enumerate(fields):
        takes_left_over = index < of_left_over
        layer = {
            "field": field,
            "base": "left_over" if takes_left_over else "own_share",
            "ratios": some_ratios(draw, scheme),
        }
        measures = ["paid", "in_scope"] if takes_left_over else ["paid"]
        if draw.randint(0, 1):
            layer["cap"] = some_cap(draw, scheme, pers, measures)
        layers.append(layer)
    return layers


def some_policy(draw: random.Random, scheme: str, *, only_per_year: bool = False) -> str:
    pers = ["year", "bill"] if scheme == "outpatient" else ["year", "admission", "bill"]
    if only_per_year:
        pers = ["year"]
    ends = sorted({draw.randint(1, 40) * 100_000 + draw.randint(0, 1) for _ in range(3)})
    bands: list[Content] = []
    start = 0
    for end in ends[: draw.randint(0, 3)]:
        bands.append({"from": start, "to": end})
        start = end
    bands.append({"from": start})
    for band in bands:
        band |= {key: f"{fen // 100}.{fen % 100:02d}" for key, fen in band.items()}
        band["ratios"] = some_ratios(draw, scheme)
    rules: Content = {
        "med_types": ["11", "41"] if scheme == "outpatient" else ["21"],
        "institution_kinds": KINDS,
        "bands": bands,
        "bands_per": draw.choice(pers),
        "layers": [] if only_per_year else some_layers(draw, scheme, pers),
    }
    if draw.randint(0, 3):
        rules["deductible"] = {
            "per": draw.choice(pers),
            "amounts": some_amounts(draw, scheme, draw.choice([5, 2_000])),
        }
    if draw.randint(0, 2):
        rules["cap"] = some_cap(draw, scheme, pers, ["paid", "in_scope"])
    if draw.randint(0, 3):
        rules["account"] = {
            "pays": draw.sample(SHARES, draw.randint(0, 5)),
            "mutual_aid_pays": draw.sample(SHARES, draw.randint(0, 5)),
        }
    return f"""
name = "random"
title_zh = "随机"
title_en = "random"
regions = ["130100"]
insutypes = ["310"]
person_types = ["11", "12"]
begins = 2020-01-01
sources = [{{ title = "chance", supports = "all", standing = "verified" }}]
{scheme} = {toml(rules)}
"""


# --- random bills ------------------------------------------------------------------------------


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
        item="X",
        item_class=item_class,
        self_pay_ratio_e4=draw.choice([500, 1000, draw.randint(0, 10_000)]) * (item_class == 2),
        price_limit_microyuan=draw.choice([None, None, price // 2, draw.randint(0, 10**7)]),
        price_microyuan=price,
        quantity_e4=quantity,
        gross_fen=round_half_away(Fraction(price * quantity, 10**8)),
    )


def some_use(draw: random.Random, admissions: int) -> Accumulated:
    in_scope = draw.randint(0, 5_000_000)
    pool = draw.randint(0, in_scope)
    return Accumulated(
        draw.randint(0, 250_000), in_scope, pool, draw.randint(0, in_scope - pool), admissions
    )


def some_layer_use(draw: random.Random) -> Accumulated:
    entered = draw.randint(0, 3_000_000)
    return Accumulated(0, entered, draw.randint(0, entered), 0, 0)


def some_of(draw: random.Random, values: list[str]) -> list[str]:
    return draw.sample(values, draw.randint(0, len(values)))


def some_bill(draw: random.Random, scheme: str) -> Bill:
    is_inpatient = scheme == "inpatient"
    stay = None
    if is_inpatient and draw.randint(0, 3) == 0:
        layers = tuple(Moved(field, some_layer_use(draw)) for field in some_of(draw, LAYERS))
        stay = Stay(draw.randint(1, 4), some_use(draw, 1), layers)
    before = draw.randint(0, 4) if is_inpatient else 0
    use = some_use(draw, before) if draw.randint(0, 2) else Accumulated(0, 0, 0, 0, before)
    used = {scheme: use} | {field: some_layer_use(draw) for field in some_of(draw, LAYERS)}
    return Bill(
        Case(
            insutype="310",
            med_type="21" if is_inpatient else draw.choice(["11", "41"]),
            person_type=draw.choice(["11", "12"]),
            age=draw.randint(0, 105),
            institution_kind=draw.randint(1, 3),
            institution_level=draw.randint(0, 3),
            region="130100",
            care_date=20260302,
        ),
        [some_line(draw) for _ in range(draw.randint(1, 6))],
        used,
        Purses(draw.randint(0, 300_000), draw.randint(0, 300_000), bool(draw.randint(0, 2))),
        stay,
    )


def decide(text: str, bill: Bill, *, explain: bool = False) -> Adjudication:
    result = adjudicate(
        load_policy(text),
        bill.case,
        bill.lines,
        bill.used,
        bill.purses,
        explain=explain,
        stay=bill.stay,
    )
    assert isinstance(result, Adjudication), result
    return result


# --- the second implementation -----------------------------------------------------------------


def round_half_away(amount: Fraction) -> int:
    return floor(amount + Fraction(1, 2)) if amount >= 0 else -floor(-amount + Fraction(1, 2))


def in_fen(text: object) -> int:
    amount = Fraction(str(text)) * 100
    assert amount.denominator == 1
    return int(amount)


def in_parts(text: str) -> Fraction:
    return Fraction(text.removesuffix("%")) / 100


class Simple:
    """Divides a bill the way one would with pencil and paper."""

    def __init__(self, text: str, scheme: str, bill: Bill) -> None:
        self.rules: Content = tomllib.loads(text, parse_float=str)[scheme]
        self.bill = bill
        self.own = bill.used.get(scheme, NOTHING_USED)
        number = bill.stay.admission if bill.stay else self.own.admissions + 1
        self.facts: Content = {
            "person_types": bill.case.person_type,
            "institution_kinds": KINDS[bill.case.institution_kind - 1],
            "levels": bill.case.institution_level,
            "age": bill.case.age,
            "admission": number,
        }

    def row(self, rows: list[Content], **instead: str) -> Content:
        facts = self.facts | instead
        [row] = [
            row
            for row in rows
            if all(facts[key] in row[key] for key in facts if key in row)
            and row.get("age_from", 0) <= facts["age"] < row.get("age_below", 1000)
            and row.get("admission_from", 0) <= facts["admission"] <= row.get("admission_to", 1000)
        ]
        return row

    def ratio(self, rows: list[Content], **instead: str) -> Fraction:
        row = self.row(rows, **instead)
        if "ratio" in row:
            return in_parts(row["ratio"])
        if "by_age" in row:
            formula = row["by_age"]
            ratio = in_parts(formula["base"])
            for age in range(200):
                if formula["from_age"] < age <= self.facts["age"]:
                    ratio += in_parts(formula["each_year"])
            return min(ratio, in_parts(formula["most"]))
        other = self.ratio(rows, person_types=row["of_person_type"])
        return 1 - in_parts(row["own_share"]) * (1 - other)

    def used(self, per: str, field: str = "") -> Accumulated:
        """What was used of the care's own row, or of a layer's."""
        stay = self.bill.stay
        if per == "year":
            return self.bill.used.get(field, NOTHING_USED) if field else self.own
        if per == "bill" or stay is None:
            return NOTHING_USED
        if not field:
            return stay.moved
        return {one.scheme: one.amounts for one in stay.layers}.get(field, NOTHING_USED)

    def layer(
        self, stretches: list[tuple[int, Fraction]], cap: Content | None, field: str, at: int
    ) -> tuple[int, int]:
        """Pay stretches of amount at their ratios; give what is paid and what is left over."""
        whole = sum(amount for amount, _ in stretches)
        room = reach = 10**15
        if cap is not None:
            limit = in_fen(self.row(cap["amounts"])["amount"])
            if cap["measure"] == "paid":
                room = max(0, limit - self.used(cap["per"], field).pool_fen)
            else:
                reach = max(0, limit - (self.used(cap["per"]).in_scope_fen + at))
        paid = spent = 0
        for amount, ratio in stretches:
            if paid == room or spent >= reach:
                return paid, whole - spent
            part = min(amount, reach - spent)
            pay = round_half_away(part * ratio)
            if paid + pay > room:
                return room, whole - spent - round_half_away((room - paid) / ratio)
            paid += pay
            spent += part
        return paid, whole - spent

    def split(self) -> Split:
        own = over = pre = total = 0
        for line in self.bill.lines:
            price, limit = line.price_microyuan, line.price_limit_microyuan
            gross = round_half_away(Fraction(price, 10**4) * Fraction(line.quantity_e4, 10**4))
            total += gross
            if line.item_class == 3:
                own += gross
                continue
            above = 0
            if limit is not None and price > limit:
                per_unit = Fraction(price - limit, 10**4)
                above = round_half_away(per_unit * Fraction(line.quantity_e4, 10**4))
            over += above
            pre += round_half_away((gross - above) * Fraction(line.self_pay_ratio_e4, 10**4))
        scope = total - own - over - pre
        deductible = 0
        if "deductible" in self.rules:
            rule = self.rules["deductible"]
            full = in_fen(self.row(rule["amounts"])["amount"])
            borne = self.used(rule["per"]).deductible_fen
            deductible = min(scope, max(0, full - borne))
        layers = self.layers(scope, deductible)
        fund = sum(layer.paid_fen for layer in layers)
        shares = dict(
            zip(SHARES, (own, over, pre, deductible, scope - deductible - fund), strict=True)
        )
        account, aid = self.accounts(shares)
        person = total - fund
        return Split(
            total, own, over, pre, scope, deductible, tuple(layers), fund, 0,
            person, account, aid, person - account - aid,
        )  # fmt: skip

    def layers(self, scope: int, deductible: int) -> list[Layer]:
        before = self.used(self.rules["bands_per"]).in_scope_fen
        stretches = []
        for band in self.rules["bands"]:
            low = max(in_fen(band["from"]), before + deductible)
            high = min(in_fen(band.get("to", 10**12)), before + scope)
            if high > low:
                stretches.append((high - low, self.ratio(band["ratios"])))
        paid, left = self.layer(stretches, self.rules.get("cap"), "", deductible)
        layers = [Layer("hifp_pay", paid)]
        for rule in self.rules["layers"]:
            ratio = self.ratio(rule["ratios"])
            field = rule["field"]
            if rule["base"] == "left_over":
                stretch = [(left, ratio)]
                paid, left = self.layer(stretch, rule.get("cap"), field, scope - left)
            else:
                rest = scope - deductible - sum(layer.paid_fen for layer in layers)
                paid, _ = self.layer([(rest, ratio)], rule.get("cap"), field, 0)
            layers.append(Layer(rule["field"], paid))
        return layers

    def accounts(self, shares: dict[str, int]) -> tuple[int, int]:
        rule = self.rules.get("account", {"pays": [], "mutual_aid_pays": []})
        if not self.bill.purses.uses_account:
            return 0, 0
        balance, aid = self.bill.purses.account_fen, self.bill.purses.mutual_aid_fen
        account_paid = aid_paid = 0
        only_first = sorted(rule["pays"], key=lambda share: share in rule["mutual_aid_pays"])
        for share in only_first:
            pay = min(shares[share], balance - account_paid)
            shares[share] -= pay
            account_paid += pay
        for share in rule["mutual_aid_pays"]:
            pay = min(shares[share], aid - aid_paid)
            aid_paid += pay
        return account_paid, aid_paid


def compare(policies: int, bills: int) -> None:
    for seed in range(policies):
        draw = random.Random(seed)
        scheme = draw.choice(["outpatient", "inpatient"])
        text = some_policy(draw, scheme)
        policy = load_policy(text)
        for _ in range(bills):
            bill = some_bill(draw, scheme)
            result = adjudicate(
                policy, bill.case, bill.lines, bill.used, bill.purses,
                explain=False, stay=bill.stay,
            )  # fmt: skip
            assert isinstance(result, Adjudication), (seed, result)
            assert result.split == Simple(text, scheme, bill).split(), (seed, text, bill)


def test_the_second_implementation_agrees_on_6000_bills() -> None:
    compare(300, 20)


@pytest.mark.long
def test_the_second_implementation_agrees_on_100000_bills() -> None:
    compare(2_500, 40)


# --- properties --------------------------------------------------------------------------------

draws = st.randoms(use_true_random=False)
schemes = st.sampled_from(["outpatient", "inpatient"])


@TESTED
@given(draws, schemes)
def test_the_invariants_hold(draw: random.Random, scheme: str) -> None:
    bill = some_bill(draw, scheme)
    result = decide(some_policy(draw, scheme), bill)
    split, parts = result.split, result.line_splits
    assert split.total_fen == sum(line.gross_fen for line in bill.lines)
    for field in ("fully_own_fen", "over_limit_fen", "pre_self_pay_fen", "in_scope_fen"):
        assert getattr(split, field) == sum(getattr(part, field) for part in parts)
    for line, part in zip(bill.lines, parts, strict=True):
        own = part.fully_own_fen + part.over_limit_fen + part.pre_self_pay_fen
        assert line.gross_fen == own + part.in_scope_fen
    assert split.total_fen == (
        split.fully_own_fen + split.over_limit_fen + split.pre_self_pay_fen + split.in_scope_fen
    )
    assert split.total_fen == split.fund_pay_fen + split.person_part_fen + split.hospital_part_fen
    assert split.person_part_fen == (split.account_pay_fen + split.mutual_aid_fen + split.cash_fen)
    assert split.fund_pay_fen == sum(layer.paid_fen for layer in split.layers)
    amounts = [getattr(split, field) for field in split.__struct_fields__ if field != "layers"]
    assert all(amount >= 0 for amount in amounts)
    assert split.fund_pay_fen <= split.in_scope_fen - split.deductible_fen
    if bill.purses.uses_account:
        assert split.account_pay_fen <= bill.purses.account_fen
        assert split.mutual_aid_fen <= bill.purses.mutual_aid_fen
    else:
        assert split.account_pay_fen == split.mutual_aid_fen == 0
    assert negated(negated(split)) == split
    assert negated(split).total_fen + split.total_fen == 0


@TESTED
@given(draws, schemes, st.sampled_from([1, 9]))
def test_the_explanation_adds_up(draw: random.Random, scheme: str, times: int) -> None:
    bill = some_bill(draw, scheme)
    bill.lines *= times
    text = some_policy(draw, scheme)
    result = decide(text, bill, explain=True)
    assert result.split == decide(text, bill).split
    told: Counter[str] = Counter()
    for step in result.explanation:
        told[step.field] += step.amount_fen
        assert step.rule
        assert len(step.rule) <= 200
        assert 0 < len(step.text_zh) <= 500
        assert 0 < len(step.text_en) <= 500
        assert step.text_zh != step.text_en
    for field in result.split.__struct_fields__:
        if field != "layers":
            assert told.pop(field, 0) == getattr(result.split, field), field
    for layer in result.split.layers:
        assert told.pop(layer.field, 0) == layer.paid_fen
    told.pop("")
    assert not told


@TESTED
@given(draws)
def test_more_in_scope_never_lowers_what_the_funds_pay(draw: random.Random) -> None:
    text, bill = some_policy(draw, "inpatient"), some_bill(draw, "inpatient")
    less = decide(text, bill).split
    # A layer of the own share rounds on what the layers before left of it.
    slack = text.count('"own_share", ratios')
    fen = draw.choice([1, 7, 10**6])
    bill.lines.append(BillLine("Y", 1, 0, None, fen * 10_000, 10_000, fen))
    more = decide(text, bill).split
    assert more.in_scope_fen > less.in_scope_fen
    assert more.fund_pay_fen >= less.fund_pay_fen - slack


def after(used: dict[str, Accumulated], moved: tuple[Moved, ...]) -> dict[str, Accumulated]:
    rows = {one.scheme: added(used.get(one.scheme, NOTHING_USED), one.amounts) for one in moved}
    return used | rows


@TESTED
@given(draws)
def test_a_year_in_parts_or_at_once(draw: random.Random) -> None:
    text = some_policy(draw, "outpatient", only_per_year=True)
    whole = some_bill(draw, "outpatient")
    whole.lines *= 3
    at_once = after(whole.used, decide(text, whole).moved)["outpatient"]
    used = whole.used
    settlements = 0
    for start in range(0, len(whole.lines), 2):
        part = Bill(whole.case, whole.lines[start : start + 2], used, NO_PURSES, None)
        used = after(used, decide(text, part).moved)
        settlements += 1
    use = used["outpatient"]
    assert use.in_scope_fen == at_once.in_scope_fen
    assert use.deductible_fen == at_once.deductible_fen
    bands = len(tomllib.loads(text)["outpatient"]["bands"])
    assert abs(use.pool_fen - at_once.pool_fen) <= bands + settlements


@TESTED
@given(draws)
def test_a_stay_in_parts_or_at_once(draw: random.Random) -> None:
    text = some_policy(draw, "inpatient", only_per_year=True).replace('"year"', '"admission"')
    whole = some_bill(draw, "inpatient")
    whole.stay = None
    whole.lines *= 3
    at_once = decide(text, whole).moved[0].amounts
    number = whole.used["inpatient"].admissions + 1
    used = whole.used
    settled: list[tuple[Moved, ...]] = []
    for start in range(0, len(whole.lines), 2):
        going_on = stay_of(number, settled) if settled else None
        part = Bill(whole.case, whole.lines[start : start + 2], used, NO_PURSES, going_on)
        moved = decide(text, part).moved
        used = after(used, moved)
        settled.append(moved)
    stay = stay_of(number, settled).moved
    assert stay.in_scope_fen == at_once.in_scope_fen
    assert stay.deductible_fen == at_once.deductible_fen
    assert stay.admissions == at_once.admissions == 1
    bands = len(tomllib.loads(text)["inpatient"]["bands"])
    assert abs(stay.pool_fen - at_once.pool_fen) <= bands + len(settled)
