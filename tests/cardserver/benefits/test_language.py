"""What the policy language can say beyond the shipped policies, each by a bill or two."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from cardserver.benefits.adjudication import adjudicate
from cardserver.benefits.bill_file import load_bill
from cardserver.benefits.policy import PolicyBook, load_policy
from cardserver.benefits.values import (
    NO_PURSES,
    NOTHING_BEFORE,
    NOTHING_USED,
    Accumulated,
    Adjudication,
    BillLine,
    BillRefusal,
    Case,
    Moved,
    Stay,
    added,
    stay_of,
)
from tests.cardserver.benefits.made_up_policies import (
    HEAD,
    INPATIENT,
    LAYERS,
    OUTPATIENT,
    REFERRALS,
    SPECIAL,
    STAYS,
)


def case(med_type: str = "11", **more: Any) -> Case:
    facts: dict[str, Any] = {
        "insutype": "310",
        "med_type": med_type,
        "person_type": "11",
        "age": 45,
        "institution_kind": 1,
        "institution_level": 3,
        "region": "130100",
        "care_date": 20260302,
    }
    return Case(**(facts | more))


def line(amount_fen: int, item: str = "A1", **more: Any) -> BillLine:
    facts: dict[str, Any] = {
        "item": item,
        "item_class": 1,
        "self_pay_ratio_e4": 0,
        "price_limit_microyuan": None,
        "price_microyuan": amount_fen * 10_000,
        "quantity_e4": 10_000,
        "gross_fen": amount_fen,
    }
    return BillLine(**(facts | more))


def decide(text: str, whom: Case, *lines: BillLine, **more: Any) -> Adjudication:
    facts: dict[str, Any] = {"used": NOTHING_BEFORE, "purses": NO_PURSES, "explain": True}
    facts |= more
    used, purses = facts.pop("used"), facts.pop("purses")
    result = adjudicate(load_policy(text), whom, lines, used, purses, **facts)
    assert isinstance(result, Adjudication), result
    adds_up(result)
    return result


def refuse(text: str, whom: Case, *lines: BillLine) -> BillRefusal:
    policy = load_policy(text)
    result = adjudicate(policy, whom, lines, NOTHING_BEFORE, NO_PURSES, explain=False)
    assert isinstance(result, BillRefusal)
    return result


def adds_up(result: Adjudication) -> None:
    told: dict[str, int] = {}
    for step in result.explanation:
        told[step.field] = told.get(step.field, 0) + step.amount_fen
    split = result.split
    for name in split.__struct_fields__:
        if name != "layers":
            assert told.get(name, 0) == getattr(split, name), name
    for layer in split.layers:
        assert told.get(layer.field, 0) == layer.paid_fen


def rules_told(result: Adjudication) -> str:
    return "\n".join(f"{step.rule} {step.text_en} {step.text_zh}" for step in result.explanation)


def layer_paid(result: Adjudication, field: str) -> int:
    return {layer.field: layer.paid_fen for layer in result.split.layers}[field]


# --- referral and designated institutions --------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "deductible", "paid"),
    [
        ({}, 50_000, 760_000),
        ({"referral": "referred"}, 50_000, 760_000),
        ({"is_designated": False}, 50_000, 570_000),
        ({"referral": "emergency"}, 100_000, 630_000),
        ({"referral": "unreferred"}, 100_000, 450_000),
        ({"referral": "unreferred", "is_designated": False}, 100_000, 450_000),
    ],
)
def test_how_the_patient_came_decides(more: dict[str, Any], deductible: int, paid: int) -> None:
    result = decide(REFERRALS, case("21", **more), line(1_000_000))
    assert (result.split.deductible_fen, result.split.fund_pay_fen) == (deductible, paid)


def test_care_that_is_refused_without_referral() -> None:
    found = refuse(REFERRALS, case("21", referral="unreferred", age=17), line(100))
    assert found.reason == "CARE_EXCLUDED"
    assert found.detail_en.startswith("a minor is referred first (test-city@")
    assert found.detail_zh.startswith("未成年人须转诊（")
    assert refuse(REFERRALS, case("21", referral="by air"), line(100)).reason == "POLICY_NOT_FOUND"


def test_a_policy_tells_whether_it_needs_filings() -> None:
    assert load_policy(REFERRALS).needs_filings("inpatient")
    assert not load_policy(HEAD + INPATIENT).needs_filings("inpatient")


# --- special schemes -----------------------------------------------------------------------------


def chronic(disease: str = "M039", **more: Any) -> Case:
    return case("14", disease=disease, **more)


def test_a_disease_chooses_the_scheme() -> None:
    policy = load_policy(SPECIAL)
    found = [policy.care_of("14", disease) for disease in ("M039", "M005", "M999", "")]
    assert found == ["chronic", "severe", None, None]
    assert policy.needs_filings("chronic")
    assert policy.needs_filings("special_drugs")
    assert not policy.needs_filings("outpatient")
    assert decide(SPECIAL, chronic("M005"), line(10_000)).split.fund_pay_fen == 9_000
    assert refuse(SPECIAL, chronic("M999"), line(10_000)).reason == "POLICY_NOT_FOUND"


def test_a_special_scheme_covers_its_items_only() -> None:
    result = decide(SPECIAL, chronic(), line(60_000, "XC77"), line(40_000, "XD01"),
                    line(5_000, "XD02"))  # fmt: skip
    assert (result.split.fully_own_fen, result.split.in_scope_fen) == (5_000, 100_000)
    assert result.split.fund_pay_fen == 49_000
    assert result.moved[0] == Moved("chronic", Accumulated(30_000, 100_000, 49_000, 0, 0))
    assert "Line 3: not among the scheme's items, the patient's own: 50.00" in rules_told(result)
    assert "special[0].bands[0].ratios[0]" in rules_told(result)
    assert "Active, aged 45, hospital of level 3, Hypertension (M039)" in rules_told(result)
    assert "三级医院，高血压（M039）" in rules_told(result)


def test_a_special_schemes_limits_and_deductible_count_with_others() -> None:
    whole = line(1_000_000, "XC1")
    assert decide(SPECIAL, chronic(), whole).split.fund_pay_fen == 100_000
    assert decide(SPECIAL, chronic("M016"), whole).split.fund_pay_fen == 150_000
    used = {"outpatient": Accumulated(10_000, 400_000, 180_000, 0, 0)}
    result = decide(SPECIAL, chronic("M016"), whole, used=used)
    assert result.split.deductible_fen == 20_000
    assert result.split.fund_pay_fen == 70_000  # 2,500 together, 1,800 of them paid
    assert "special[0].caps[1]" in rules_told(result)
    assert "2500.00 paid this year, together with outpatient" in rules_told(result)
    assert "borne before this year 100.00, together with outpatient" in rules_told(result)
    assert load_policy(SPECIAL).rows_of("chronic") == ("chronic", "outpatient")


def test_a_special_drug_is_covered_where_it_is_filed() -> None:
    drugs = case("1403", filed_items=("XL01", "XL99"))
    result = decide(SPECIAL, drugs, line(10_000, "XL01"), line(10_000, "XL02"),
                    line(10_000, "XL99"))  # fmt: skip
    assert (result.split.in_scope_fen, result.split.fund_pay_fen) == (10_000, 6_000)


def test_clearing_follows_from_care_and_institution() -> None:
    inpatient = SPECIAL + INPATIENT
    stay = decide(inpatient, case("21"), line(100))
    visit = decide(inpatient, case("11"), line(100))
    shop = decide(inpatient, case("41", institution_kind=3), line(100))
    drug = decide(inpatient, chronic(institution_kind=3), line(100, "XC1"))
    found = [each.clearing_type for each in (stay, visit, shop, drug)]
    assert found == [21, 11, 41, 41]


# --- layers --------------------------------------------------------------------------------------


def test_layers_in_their_order() -> None:
    # 10,000 in scope and 500 of class B: 1,000 deductible, 7,200 pool, 1,800 own share
    lines = [line(900_000), line(150_000, item_class=2, self_pay_ratio_e4=3333)]
    result = decide(LAYERS, case("21"), *lines)
    split = result.split
    assert (split.pre_self_pay_fen, split.deductible_fen) == (49_995, 100_000)
    assert layer_paid(result, "hifp_pay") == 720_004
    assert layer_paid(result, "hifob_pay") == 0
    # 499.95 + 1,000 + 1,800.01 entered; 1,299.96 are above 2,000: 1,000 at 60 %, the rest at 70 %
    assert layer_paid(result, "hifmi_pay") == 60_000 + 20_997
    assert [layer.field for layer in split.layers] == ["hifp_pay", "hifob_pay", "hifmi_pay"]
    assert result.moved[1] == Moved("hifmi_pay", Accumulated(200_000, 329_996, 80_997, 0, 0))


def test_a_layer_is_for_some_persons_only() -> None:
    civil = decide(LAYERS, case("21", person_type="12"), line(200_000))
    # 1,000 deductible, 800 pool, 200 own: 1,200 are not above 2,000; half of the 200
    assert (layer_paid(civil, "hifmi_pay"), layer_paid(civil, "cvlserv_pay")) == (0, 10_000)
    poor = decide(LAYERS, case("21", person_type="15"), line(200_000))
    # 200 above 1,000 at 60 %; of the 1,080 left at most 500 in scope at 80 %
    assert (layer_paid(poor, "hifmi_pay"), layer_paid(poor, "maf_pay")) == (12_000, 40_000)
    assert "left over 580.00" in rules_told(poor)
    assert [layer.field for layer in poor.split.layers][-1] == "maf_pay"


def test_a_layers_deductible_counts_over_the_year() -> None:
    used = {"hifmi_pay": Accumulated(200_000, 350_000, 95_000, 0, 0)}
    result = decide(LAYERS, case("21"), line(200_000), used=used)
    # of the year 1,500 are above the deductible already: all 1,200 at 70 %
    assert layer_paid(result, "hifmi_pay") == 84_000
    assert "serious-illness insurance's deductible" in rules_told(result).lower()


def test_the_strictest_cap_cuts() -> None:
    first = decide(LAYERS, case("21"), line(3_000_000))
    assert layer_paid(first, "hifob_pay") == 500_000
    assert "caps[0]" in rules_told(first)
    used = {"hifob_pay": Accumulated(0, 800_000, 650_000, 0, 0)}
    later = decide(LAYERS, case("21"), line(3_000_000), used=used)
    assert layer_paid(later, "hifob_pay") == 150_000
    assert "layers[0].caps[1]" in rules_told(later)


# --- stays ---------------------------------------------------------------------------------------


def test_a_transfer_tops_the_deductible_up_and_gives_nothing_back() -> None:
    lower = decide(STAYS, case("21", institution_level=2), line(300_000))
    stay = stay_of(1, [lower.moved])
    higher = decide(STAYS, case("21", institution_level=3), line(300_000), stay=stay)
    assert (lower.split.deductible_fen, higher.split.deductible_fen) == (50_000, 70_000)
    back = stay_of(1, [lower.moved, higher.moved])
    again = decide(STAYS, case("21", institution_level=2), line(300_000), stay=back)
    assert again.split.deductible_fen == 0
    assert [each.moved[0].amounts.admissions for each in (lower, higher, again)] == [1, 0, 0]


def test_a_stay_over_the_turn_of_the_year_pays_no_second_deductible() -> None:
    old = decide(STAYS, case("21", care_date=20251231), line(300_000))
    stay = stay_of(1, [], earlier=[old.moved])
    new = decide(STAYS, case("21", care_date=20260110), line(300_000), stay=stay)
    assert (old.split.deductible_fen, new.split.deductible_fen) == (120_000, 0)
    assert (old.year, new.year) == (2025, 2026)
    anew = STAYS.replace("deductible = { per", "deductible = { per_year_anew = true, per")
    again = decide(anew, case("21", care_date=20260110), line(300_000), stay=stay)
    assert again.split.deductible_fen == 120_000
    later = Stay(1, again.moved[0].amounts, (), old.moved[0].amounts)
    assert load_policy(STAYS).is_settled_at_year_end("inpatient")
    assert load_policy(STAYS).is_entitled_by_day("inpatient")
    assert load_policy(STAYS).is_one_stay_after_transfer("inpatient")
    assert later.admission == 1


@pytest.mark.parametrize(("before", "deductible"), [(0, 120_000), (1, 30_000), (2, 0), (9, 0)])
def test_later_stays_bear_less(before: int, deductible: int) -> None:
    used = {"inpatient": Accumulated(0, 0, 0, 0, before)}
    result = decide(STAYS, case("21"), line(300_000), used=used)
    assert result.split.deductible_fen == deductible


def test_days_without_cover_are_the_patients_own() -> None:
    lines = [line(200_000), line(50_000, is_covered=False), line(1_000, item_class=3)]
    result = decide(STAYS, case("21"), *lines)
    assert (result.split.fully_own_fen, result.split.in_scope_fen) == (51_000, 200_000)
    told = rules_told(result)
    assert "Line 2: not insured on the day, the patient's own: 500.00" in told
    assert "第2行：当日未参保，全部自费500.00元" in told
    many = decide(STAYS, case("21"), *(lines * 30))
    assert "30 lines of not insured on the day" in rules_told(many)


# --- what the institution bears, rounding, accounts ----------------------------------------------


def test_the_institution_bears_what_is_above_the_limit() -> None:
    text = HEAD + OUTPATIENT + 'institution_bears = ["over_limit"]\n'
    dear = line(10_000, price_limit_microyuan=80_000_000)
    split = decide(text, case(), dear).split
    assert (split.over_limit_fen, split.hospital_part_fen) == (2_000, 2_000)
    assert (split.fund_pay_fen, split.person_part_fen, split.cash_fen) == (4_000, 4_000, 4_000)


def test_payments_are_rounded_as_the_policy_says() -> None:
    assert decide(HEAD + OUTPATIENT, case(), line(101)).split.fund_pay_fen == 51
    down = 'rounding = "down"\n' + HEAD + OUTPATIENT
    assert decide(down, case(), line(101)).split.fund_pay_fen == 50


def test_cash_is_cut_to_the_jiao() -> None:
    text = 'cash_rounding = "jiao"\n' + HEAD + OUTPATIENT
    result = decide(text, case(), line(138))
    split = result.split
    assert (split.fund_pay_fen, split.hospital_part_fen, split.cash_fen) == (69, 9, 60)
    assert "cash_rounding" in rules_told(result)


def test_the_account_pays_where_the_policy_says() -> None:
    text = (
        HEAD
        + OUTPATIENT
        + """
[[outpatient.account]]
institution_kinds = ["pharmacy"]
pays = ["own_share"]

[[outpatient.account]]
institution_kinds = ["hospital"]
pays = []
mutual_aid_pays = ["own_share"]
"""
    )
    bill = {
        "insutype": "310", "med_type": "11", "psn_type": "11", "age": 45, "medins_kind": "hospital",
        "medins_lv": 3, "care_date": "2026-03-02", "acct_used_flag": True, "balc": 20,
        "acct_mulaid_balc": 30,
        "lines": [{"med_list_codg": "A", "chrgitm_lv": 1, "pric": 100, "cnt": 1}],
    }  # fmt: skip
    found = []
    for kind in ("hospital", "pharmacy"):
        given = load_bill(json.dumps(bill | {"medins_kind": kind}), "json", load_policy(text))
        split = decide(text, given.case, *given.lines, purses=given.purses).split
        found.append((split.account_pay_fen, split.mutual_aid_fen, split.cash_fen))
    assert found == [(0, 3_000, 2_000), (2_000, 0, 3_000)]


def test_a_bill_file_can_say_all_of_it(cli: Callable[..., Any]) -> None:
    bill = {
        "insutype": "310", "med_type": "1403", "psn_type": "11", "age": 45,
        "medins_kind": "hospital", "medins_lv": 3, "care_date": "2026-03-02",
        "refer_type": "referred", "is_designated": False, "filed_items": ["XL01"],
        "lines": [
            {"med_list_codg": "XL01", "chrgitm_lv": 1, "pric": 100, "cnt": 1},
            {"med_list_codg": "XL01", "chrgitm_lv": 1, "pric": 10, "cnt": 1, "is_covered": False},
            {"med_list_codg": "XL02", "chrgitm_lv": 1, "pric": 1, "cnt": 1},
        ],
    }  # fmt: skip
    answer = cli(SPECIAL, bill, "--json").answer
    assert str(answer["fulamt_ownpay_amt"]) == "11.00"
    assert str(answer["hifp_pay"]) == "60.00"
    assert (answer["scheme"], answer["clr_type"]) == ("special_drugs", "11")
    disease = bill | {"med_type": "14", "dise_codg": "M005"}
    assert cli(SPECIAL, disease, "--json").answer["scheme"] == "severe"
    stay = {"admission": 2, "moved": {"inpatient": {"act_pay_dedc": 100, "admissions": 1}},
            "earlier_years": {"act_pay_dedc": 50}}  # fmt: skip
    going_on = bill | {"med_type": "21", "stay": stay, "accumulated": {}}
    answer = cli(STAYS, going_on, "--json").answer
    assert str(answer["act_pay_dedc"]) == "101.00"
    assert str(answer["moved"]["inpatient"]["admissions"]) == "0"


def test_a_version_may_change_within_the_year_and_accumulators_go_on() -> None:
    old = SPECIAL.replace("begins = 2020-01-01", "begins = 2026-01-01")
    new = SPECIAL.replace("begins = 2020-01-01", "begins = 2026-07-01").replace(
        "amount = 1500", "amount = 1800"
    )
    book = PolicyBook([load_policy(old), load_policy(new)])
    used: dict[str, Accumulated] = {}
    paid = []
    for day in (20260630, 20260701, 20260702):
        policy = book.find("310", "130100", "14", day)
        assert policy is not None
        whom = chronic("M016", care_date=day)
        result = adjudicate(
            policy, whom, [line(200_000, "XC1")], used, NO_PURSES, explain=False
        )  # fmt: skip
        assert isinstance(result, Adjudication)
        used = {one.scheme: added(used.get(one.scheme, NOTHING_USED), one.amounts)
                for one in result.moved}  # fmt: skip
        paid.append(result.split.fund_pay_fen)
    # 1,700 at 70 %, then 1,400 of which the new limit leaves 610, then nothing
    assert paid == [119_000, 61_000, 0]
