"""Random policies and bills: the invariants, and a second implementation that agrees."""

import random
import tomllib
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardserver.benefits.adjudication import adjudicate, negated
from cardserver.benefits.policy import Policy, load_policy
from cardserver.benefits.values import (
    NO_PURSES,
    NOTHING_USED,
    Accumulated,
    Adjudication,
    BillLine,
    BillRefusal,
    Moved,
    added,
    stay_of,
)
from tests.cardserver.benefits.random_policies import (
    Bill,
    Care,
    some_bill,
    some_policy,
    some_yearly_policy,
)
from tests.cardserver.benefits.simple_division import Divided, Pencil

TESTED = settings(max_examples=250)


def result_of(policy: Policy, bill: Bill, *, explain: bool = False) -> Adjudication | BillRefusal:
    return adjudicate(
        policy, bill.case, bill.lines, bill.used, bill.purses, explain=explain, stay=bill.stay
    )


def decide(text: str, bill: Bill, *, explain: bool = False) -> Adjudication:
    result = result_of(load_policy(text), bill, explain=explain)
    assert isinstance(result, Adjudication), result
    return result


def some_decided(draw: random.Random) -> tuple[str, Bill]:
    """Draw a policy, and a bill that it does not exclude."""
    while True:
        text, cares = some_policy(draw)
        policy = load_policy(text)
        for _ in range(5):
            bill = some_bill(draw, draw.choice(cares))
            if isinstance(result_of(policy, bill), Adjudication):
                return text, bill


# --- a second implementation ---------------------------------------------------------------------


def by_pencil(text: str, bill: Bill) -> Divided:
    return Pencil(text, bill.case, bill.lines, bill.used, bill.purses, bill.stay).divided()


def by_us(policy: Policy, bill: Bill) -> Divided:
    result = result_of(policy, bill)
    if isinstance(result, BillRefusal):
        return Divided(result.reason)
    return Divided("", result.split, result.line_splits, result.moved, result.clearing_type)


def compare(policies: int, bills: int) -> Counter[str]:
    seen: Counter[str] = Counter()
    for seed in range(policies):
        draw = random.Random(seed)
        text, cares = some_policy(draw)
        policy = load_policy(text)
        for _ in range(bills):
            bill = some_bill(draw, draw.choice(cares))
            found = by_us(policy, bill)
            assert found == by_pencil(text, bill), (seed, text, bill)
            seen[found.refused or f"{len(found.moved)} rows"] += 1
    return seen


def test_the_second_implementation_agrees_on_6000_bills() -> None:
    seen = compare(300, 20)
    assert seen["CARE_EXCLUDED"] > 100
    assert min(seen[f"{count} rows"] for count in (1, 2, 3, 4)) > 100


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_second_implementation_agrees_on_100000_bills() -> None:
    compare(2_500, 40)


# --- properties --------------------------------------------------------------------------------

# A whole policy and bill need more choices than Hypothesis likes to make; a seed makes them all.
draws = st.integers(0, 2**32 - 1).map(random.Random)


@TESTED
@given(draws)
def test_the_invariants_hold(draw: random.Random) -> None:
    text, bill = some_decided(draw)
    result = decide(text, bill)
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
    assert split.layers[0].paid_fen <= split.in_scope_fen - split.deductible_fen
    assert split.fund_pay_fen <= split.total_fen - split.fully_own_fen
    if bill.purses.uses_account:
        assert split.account_pay_fen <= bill.purses.account_fen
        assert split.mutual_aid_fen <= bill.purses.mutual_aid_fen
    else:
        assert split.account_pay_fen == split.mutual_aid_fen == 0
    assert negated(negated(split)) == split
    assert negated(split).total_fen + split.total_fen == 0


@TESTED
@given(draws, st.sampled_from([1, 9]))
def test_the_explanation_adds_up(draw: random.Random, times: int) -> None:
    text, bill = some_decided(draw)
    bill.lines *= times
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
    text, bill = some_decided(draw)
    less = decide(text, bill).split
    # A layer of shares rounds on what the layers before left of them, band by band.
    slack = text.count("ratios")
    fen = draw.choice([1, 7, 10**6])
    item = bill.lines[0].item
    bill.lines.append(BillLine(item, 1, 0, None, fen * 10_000, 10_000, fen))
    more = decide(text, bill).split
    assert more.in_scope_fen >= less.in_scope_fen
    assert more.fund_pay_fen >= less.fund_pay_fen - slack


def after(used: dict[str, Accumulated], moved: tuple[Moved, ...]) -> dict[str, Accumulated]:
    rows = {one.scheme: added(used.get(one.scheme, NOTHING_USED), one.amounts) for one in moved}
    return used | rows


def agrees(text: str, name: str, parts: Accumulated, at_once: Accumulated, count: int) -> None:
    """Assert that settling in parts comes to the same, within one fen a band and settlement."""
    rules = tomllib.loads(text)[name]
    slack = len(rules["bands"]) + count
    assert parts.in_scope_fen == at_once.in_scope_fen
    assert parts.deductible_fen == at_once.deductible_fen
    assert parts.admissions == at_once.admissions
    assert abs(parts.pool_fen - at_once.pool_fen) <= slack


def layer_agrees(
    text: str, name: str, parts: Accumulated, at_once: Accumulated, count: int
) -> None:
    """Assert the same of a layer, whose base differs by what the pool's payments do."""
    rules = tomllib.loads(text)[name]
    slack = len(rules["bands"]) + count
    assert abs(parts.in_scope_fen - at_once.in_scope_fen) <= slack
    assert abs(parts.deductible_fen - at_once.deductible_fen) <= slack
    slack += len(rules["layers"][0]["bands"]) + count if "layers" in rules else 0
    assert abs(parts.pool_fen - at_once.pool_fen) <= slack


@TESTED
@given(draws)
def test_a_year_in_parts_or_at_once(draw: random.Random) -> None:
    text = some_yearly_policy(draw, "outpatient")
    whole = some_bill(draw, Care("outpatient", ["11"]))
    whole.lines *= 3
    at_once = after(whole.used, decide(text, whole).moved)
    used = whole.used
    count = 0
    for start in range(0, len(whole.lines), 2):
        part = Bill(whole.case, whole.lines[start : start + 2], used, NO_PURSES, None)
        used = after(used, decide(text, part).moved)
        count += 1
    agrees(text, "outpatient", used["outpatient"], at_once["outpatient"], count)
    layers = [rows.get("hifmi_pay", NOTHING_USED) for rows in (used, at_once)]
    layer_agrees(text, "outpatient", layers[0], layers[1], count)


@TESTED
@given(draws)
def test_a_stay_in_parts_or_at_once(draw: random.Random) -> None:
    text = some_yearly_policy(draw, "inpatient")
    whole = some_bill(draw, Care("inpatient", ["21"], has_stays=True))
    whole.stay = None
    whole.lines *= 3
    at_once = decide(text, whole).moved
    number = whole.used["inpatient"].admissions + 1
    used = whole.used
    settled: list[tuple[Moved, ...]] = []
    for start in range(0, len(whole.lines), 2):
        going_on = stay_of(number, settled) if settled else None
        part = Bill(whole.case, whole.lines[start : start + 2], used, NO_PURSES, going_on)
        moved = decide(text, part).moved
        used = after(used, moved)
        settled.append(moved)
    stay = stay_of(number, settled)
    agrees(text, "inpatient", stay.moved, at_once[0].amounts, len(settled))
    rows = [{one.scheme: one.amounts for one in moved} for moved in (stay.layers, at_once)]
    layers = [each.get("hifmi_pay", NOTHING_USED) for each in rows]
    layer_agrees(text, "inpatient", layers[0], layers[1], len(settled))


@TESTED
@given(draws)
def test_a_stay_across_years_pays_one_deductible(draw: random.Random) -> None:
    """Settled at the year's end and then on, or at once; unless the policy says anew."""
    text = some_yearly_policy(draw, "inpatient")
    whole = some_bill(draw, Care("inpatient", ["21"], has_stays=True))
    whole.stay = None
    whole.lines *= 2
    half = len(whole.lines) // 2
    at_once = decide(text, whole).split
    first = Bill(whole.case, whole.lines[:half], whole.used, NO_PURSES, None)
    old_year = decide(text, first).moved
    # The new year's accumulators are empty, and the stay keeps its number.
    number = whole.used["inpatient"].admissions + 1
    stay = stay_of(number, [], earlier=[old_year])
    second = Bill(whole.case, whole.lines[half:], {}, NO_PURSES, stay)
    new_year = decide(text, second)
    borne = old_year[0].amounts.deductible_fen
    assert borne + new_year.split.deductible_fen == at_once.deductible_fen
    assert new_year.moved[0].amounts.admissions == 0
    if '"admission", amounts' in text and "deductible = {" in text.split("layers")[0]:
        anew = text.replace("bands_per", 'stay_across_years = "year_end", bands_per', 1).replace(
            'deductible = { per = "admission"',
            'deductible = { per_year_anew = true, per = "admission"', 1,
        )  # fmt: skip
        again = decide(anew, second).split
        fresh = Bill(whole.case, second.lines, {"inpatient": whole.used["inpatient"]}, NO_PURSES,
                     None)  # fmt: skip
        assert again.deductible_fen == decide(text, fresh).split.deductible_fen
