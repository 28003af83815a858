"""A second implementation of the whole policy language, deliberately simple.

It reads a policy's TOML by itself and counts in fractions of a fen, the way one would with pencil
and paper. It shares nothing with the first but the format of the file and the facts of the bill.
"""

import tomllib
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import floor
from typing import Any

from cardserver.benefits.values import (
    NOTHING_USED,
    Accumulated,
    BillLine,
    Case,
    Layer,
    LineSplit,
    Moved,
    Purses,
    Split,
    Stay,
    added,
)

Content = dict[str, Any]
KINDS = ["hospital", "community", "pharmacy"]
SHARES = ["fully_own", "over_limit", "pre_self_pay", "deductible", "own_share"]
ENDLESS = 10**15


def half_away(amount: Fraction) -> int:
    return floor(amount + Fraction(1, 2)) if amount >= 0 else -floor(-amount + Fraction(1, 2))


def in_fen(text: object) -> int:
    amount = Fraction(str(text)) * 100
    assert amount.denominator == 1
    return int(amount)


def in_parts(text: str) -> Fraction:
    return Fraction(text.removesuffix("%")) / 100


@lru_cache(maxsize=1)
def read(text: str) -> Content:
    return tomllib.loads(text, parse_float=str)


@dataclass
class Divided:
    """What a bill comes to, or why it comes to nothing."""

    refused: str = ""
    split: Split | None = None
    line_splits: tuple[LineSplit, ...] = ()
    moved: tuple[Moved, ...] = ()
    clearing_type: int = 0


class Pencil:
    """Divides one bill by a policy's text."""

    def __init__(
        self,
        text: str,
        case: Case,
        lines: list[BillLine],
        used: dict[str, Accumulated],
        purses: Purses,
        stay: Stay | None,
    ) -> None:
        self.policy = read(text)
        self.case, self.lines, self.use, self.purses, self.stay = case, lines, used, purses, stay
        self.name, self.rules = self.care()
        self.own = used.get(self.name, NOTHING_USED)
        self.has_stays = self.rules.get("care", self.name) == "inpatient"
        self.facts: Content = {
            "person_types": case.person_type,
            "institution_kinds": KINDS[case.institution_kind - 1],
            "levels": case.institution_level,
            "med_types": case.med_type,
            "referrals": case.referral,
            "diseases": case.disease,
            "age": case.age,
            "designated": case.is_designated,
            "admission": stay.admission if stay else self.own.admissions + 1,
        }

    def care(self) -> tuple[str, Content]:
        """Find the rules: outpatient, inpatient, or the special scheme of medical type, disease."""
        for name in ("outpatient", "inpatient"):
            if self.case.med_type in self.policy.get(name, {}).get("med_types", []):
                return name, self.policy[name]
        for scheme in self.policy.get("special", []):
            diseases = scheme.get("diseases") or [self.case.disease]
            if self.case.med_type in scheme["med_types"] and self.case.disease in diseases:
                return scheme["name"], scheme
        return "", {}

    # --- rows ---

    def meets(self, row: Content, facts: Content) -> bool:
        lists = ("person_types", "institution_kinds", "levels", "med_types", "referrals",
                 "diseases")  # fmt: skip
        return (
            all(facts[key] in row[key] for key in lists if key in row)
            and row.get("age_from", 0) <= facts["age"] < row.get("age_below", 1000)
            and (
                not self.has_stays
                or row.get("admission_from", 0) <= facts["admission"] <= row.get("admission_to", 99)
            )
            and row.get("designated", facts["designated"]) == facts["designated"]
        )

    def row(self, rows: list[Content], **instead: str) -> Content:
        [row] = [row for row in rows if self.meets(row, self.facts | instead)]
        return row

    def amount(self, rows: list[Content]) -> int:
        return in_fen(self.row(rows)["amount"])

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

    # --- what was used before ---

    def before(self, rule: Content, row: str = "") -> Accumulated:
        """What was used over a rule's time of the care's own row or a layer's, and of others."""
        if rule["per"] == "year":
            total = self.use.get(row or self.name, NOTHING_USED)
            for other in rule.get("counts_with", []):
                total = added(total, self.use.get(other, NOTHING_USED))
            return total
        if rule["per"] == "bill" or self.stay is None:
            return NOTHING_USED
        if not row:
            return self.stay.moved
        return {one.scheme: one.amounts for one in self.stay.layers}.get(row, NOTHING_USED)

    # --- paying ---

    def rounded(self, amount: Fraction) -> int:
        return floor(amount) if self.policy.get("rounding") == "down" else half_away(amount)

    def stretches(
        self, bands: list[Content], use: Accumulated, *, entered: int, borne: int, above: bool
    ) -> list[tuple[int, Fraction]]:
        """Cut what is to be paid where a band ends; give the pieces with their ratios."""
        start = use.in_scope_fen + borne
        if above:
            start = max(0, use.in_scope_fen - use.deductible_fen)
        end = start + entered - borne
        pieces = []
        for band in bands:
            low = max(in_fen(band["from"]), start)
            high = min(in_fen(band.get("to", ENDLESS)), end)
            if high > low:
                pieces.append((high - low, self.ratio(band["ratios"])))
        return pieces

    def pay(self, pieces: list[tuple[int, Fraction]], room: int, reach: int) -> tuple[int, int]:
        """Pay pieces of an amount; give what is paid, and what a cap left over."""
        whole = sum(amount for amount, _ in pieces)
        paid = spent = 0
        for amount, ratio in pieces:
            if paid == room or spent >= reach:
                return paid, whole - spent
            part = min(amount, reach - spent)
            pay = self.rounded(part * ratio)
            if paid + pay > room:
                return room, whole - spent - half_away((room - paid) / ratio)
            paid += pay
            spent += part
        return paid, whole - spent

    # --- the bill ---

    def divided(self) -> Divided:
        if not self.rules:
            return Divided("POLICY_NOT_FOUND")
        if any(self.meets(row, self.facts) for row in self.rules.get("excluded", [])):
            return Divided("CARE_EXCLUDED")
        line_splits = tuple(self.line_split(line) for line in self.lines)
        own, over, pre, scope = (
            sum(int(getattr(split, f"{share}_fen")) for split in line_splits)
            for share in ("fully_own", "over_limit", "pre_self_pay", "in_scope")
        )
        deductible = self.deductible(scope)
        pool, left = self.pool(scope, deductible)
        shares = dict(
            zip(SHARES, (own, over, pre, deductible, scope - deductible - pool), strict=True)
        )
        hospital = 0
        for share in self.rules.get("institution_bears", []):
            hospital += shares[share]
            shares[share] = 0
        layers, moved = self.layers(scope, left, shares)
        layers = [Layer("hifp_pay", pool), *layers]
        large = sum(layer.paid_fen for layer in layers if layer.field == "hifob_pay")
        fund = sum(layer.paid_fen for layer in layers)
        total = own + over + pre + scope
        account, aid = self.accounts(shares)
        cash = total - fund - hospital - account - aid
        if self.policy.get("cash_rounding") == "jiao":
            hospital += cash - cash // 10 * 10
            cash = cash // 10 * 10
        split = Split(
            total, own, over, pre, scope, deductible, tuple(layers), fund, hospital,
            account + aid + cash, account, aid, cash,
        )  # fmt: skip
        is_counted = self.stay is not None and self.stay.moved.admissions > 0
        stays = int(self.has_stays and not is_counted)
        use = Moved(self.name, Accumulated(deductible, scope, pool, large, stays))
        clearing_type = 21 if self.has_stays else 11
        if self.case.institution_kind == 3:
            clearing_type = 41
        return Divided("", split, line_splits, (use, *moved), clearing_type)

    def line_split(self, line: BillLine) -> LineSplit:
        price, limit = line.price_microyuan, line.price_limit_microyuan
        count = Fraction(line.quantity_e4, 10**4)
        gross = half_away(Fraction(price, 10**4) * count)
        if line.item_class == 3 or not line.is_covered or not self.is_on_list(line.item):
            return LineSplit(3, limit, 10_000, gross, 0, 0, 0)
        above = 0
        if limit is not None and price > limit:
            above = half_away(Fraction(price - limit, 10**4) * count)
        first = half_away((gross - above) * Fraction(line.self_pay_ratio_e4, 10**4))
        return LineSplit(
            line.item_class, limit, line.self_pay_ratio_e4, 0, above, first, gross - above - first
        )

    def is_on_list(self, item: str) -> bool:
        if self.rules.get("items_filed") and item not in self.case.filed_items:
            return False
        wanted = self.rules.get("items")
        if not wanted:
            return True
        return any(
            item.startswith(code[:-1]) if code.endswith("*") else item == code for code in wanted
        )

    def deductible(self, scope: int) -> int:
        if "deductible" not in self.rules:
            return 0
        rule = self.rules["deductible"]
        borne = self.before(rule).deductible_fen
        if rule.get("per_year_anew") and self.stay is not None:
            borne -= self.stay.earlier_years.deductible_fen
        return min(scope, max(0, self.amount(rule["amounts"]) - borne))

    def pool(self, scope: int, deductible: int) -> tuple[int, int]:
        rules = self.rules
        pieces = self.stretches(
            rules["bands"],
            self.before({"per": rules.get("bands_per", "year")}),
            entered=scope,
            borne=deductible,
            above=rules.get("bands_from") == "deductible",
        )
        room = reach = ENDLESS
        for cap in rules.get("caps", []):
            use, limit = self.before(cap), self.amount(cap["amounts"])
            if cap["measure"] == "paid":
                room = min(room, max(0, limit - use.pool_fen))
            else:
                reach = min(reach, max(0, limit - use.in_scope_fen - deductible))
        return self.pay(pieces, room, reach)

    def layers(
        self, scope: int, left: int, shares: dict[str, int]
    ) -> tuple[list[Layer], list[Moved]]:
        layers: list[Layer] = []
        moved: list[Moved] = []
        for rule in self.rules.get("layers", []):
            whom = rule.get("only_for", [])
            if whom and not any(self.meets(row, self.facts) for row in whom):
                continue
            takes_left_over = rule["base"] == "left_over"
            of = ["own_share"] if isinstance(rule["base"], str) else rule["base"]
            entered = left if takes_left_over else sum(shares[share] for share in of)
            if not entered:
                layers.append(Layer(rule["field"], 0))
                continue
            below = scope - left if takes_left_over else None
            borne, paid, left_now = self.layer(rule, entered, below)
            if takes_left_over:
                left = left_now
            rest = paid
            for share in reversed(SHARES):
                if share in of:
                    taken = min(rest, shares[share])
                    shares[share] -= taken
                    rest -= taken
            layers.append(Layer(rule["field"], paid))
            row = rule.get("accumulator", rule["field"])
            moved.append(Moved(row, Accumulated(borne, entered, paid, 0, 0)))
        return layers, moved

    def layer(self, rule: Content, entered: int, below: int | None) -> tuple[int, int, int]:
        """Give what a layer's deductible takes, what it pays, and what its caps leave over."""
        row = rule.get("accumulator", rule["field"])
        borne = 0
        if "deductible" in rule:
            full = self.amount(rule["deductible"]["amounts"])
            before = self.before(rule["deductible"], row).deductible_fen
            borne = min(entered, max(0, full - before))
        pieces = self.stretches(
            rule.get("bands") or [{"from": 0, "ratios": rule["ratios"]}],
            self.before({"per": rule.get("bands_per", "year")}, row),
            entered=entered,
            borne=borne,
            above=rule.get("bands_from") == "deductible",
        )
        room = reach = ENDLESS
        for cap in rule.get("caps", []):
            limit = self.amount(cap["amounts"])
            if cap["measure"] == "paid":
                room = min(room, max(0, limit - self.before(cap, row).pool_fen))
            elif below is None:
                start = self.before(cap, row).in_scope_fen + borne
                reach = min(reach, max(0, limit - start))
            else:
                start = self.before(cap).in_scope_fen + below + borne
                reach = min(reach, max(0, limit - start))
        return borne, *self.pay(pieces, room, reach)

    def accounts(self, shares: dict[str, int]) -> tuple[int, int]:
        if not self.purses.uses_account or not self.rules.get("account"):
            return 0, 0
        rows = self.rules["account"]
        rule = self.row(rows if isinstance(rows, list) else [rows])
        aided = rule.get("mutual_aid_pays", [])
        balance, aid = self.purses.account_fen, self.purses.mutual_aid_fen
        account_paid = aid_paid = 0
        for share in sorted(rule["pays"], key=lambda share: share in aided):
            pay = min(shares[share], balance - account_paid)
            shares[share] -= pay
            account_paid += pay
        for share in aided:
            pay = min(shares[share], aid - aid_paid)
            aid_paid += pay
        return account_paid, aid_paid
