"""Bills that cannot be decided, bill files, accounts, and what the command prints."""

import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cardserver.benefits.adjudication import adjudicate
from cardserver.benefits.bill_file import BillFileError, load_bill
from cardserver.benefits.explanation import LINES_EXPLAINED_MAX
from cardserver.benefits.policy import Policy
from cardserver.benefits.values import (
    NO_PURSES,
    NOTHING_BEFORE,
    Accumulated,
    Adjudication,
    BillLine,
    BillRefusal,
    BillRefusalReason,
    Case,
    Moved,
    Purses,
    Stay,
    stay_of,
    yuan,
)
from cardserver.commands.adjudicate import adjudicate as command

OUTPATIENT = Case("310", "11", "11", 45, 1, 3, "110000", 20260302)
INPATIENT = Case("310", "21", "11", 45, 1, 3, "110000", 20260302)
LINE = BillLine("A1", 1, 0, None, 3_500_000, 90_000, 3150)

BILL: dict[str, Any] = {
    "insutype": "310",
    "med_type": "11",
    "psn_type": "11",
    "age": 45,
    "medins_kind": "hospital",
    "medins_lv": 3,
    "care_date": "2026-03-02",
    "lines": [{"med_list_codg": "A1", "chrgitm_lv": "01", "pric": "3.5", "cnt": 9}],
}


def refusal(
    policy: Policy,
    *lines: BillLine,
    case: Case = OUTPATIENT,
    total_fen: int | None = None,
) -> BillRefusal:
    result = adjudicate(
        policy, case, lines, NOTHING_BEFORE, NO_PURSES, explain=False, total_fen=total_fen
    )
    assert isinstance(result, BillRefusal)
    return result


# --- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (BillLine("B1", 1, 0, None, 3_500_000, 90_000, 3151), "says 31.51"),
        (BillLine("B1", 1, 0, None, 3_500_000, 0, 0), "above zero"),
        (BillLine("B1", 1, 0, None, 3_500_000, -90_000, -3150), "above zero"),
        (BillLine("B1", 1, 0, None, -3_500_000, 90_000, -3150), "above zero"),
        (BillLine("B1", 1, 500, None, 3_500_000, 90_000, 3150), "catalogue"),
        (BillLine("B1", 2, 10_001, None, 3_500_000, 90_000, 3150), "catalogue"),
        (BillLine("B1", 2, -1, None, 3_500_000, 90_000, 3150), "catalogue"),
        (BillLine("B1", 4, 0, None, 3_500_000, 90_000, 3150), "catalogue"),
        (BillLine("B1", 0, 0, None, 3_500_000, 90_000, 3150), "catalogue"),
        (BillLine("B1", 1, 0, -1, 3_500_000, 90_000, 3150), "catalogue"),
    ],
)
def test_a_wrong_line_is_named(beijing: Policy, line: BillLine, words: str) -> None:
    found = refusal(beijing, LINE, line)
    assert found.reason is BillRefusalReason.BILL_INVALID
    assert "line 2 (B1)" in found.detail_en
    assert "第2行（B1）" in found.detail_zh
    assert words in found.detail_en


def test_a_line_rounds_half_up(beijing: Policy) -> None:
    for price, gross in ((4_994_999, 499), (4_995_000, 500), (5_000, 1), (4_999, 0)):
        line = BillLine("A1", 1, 0, None, price, 10_000, gross)
        result = adjudicate(beijing, OUTPATIENT, [line], NOTHING_BEFORE, NO_PURSES, explain=False)
        assert isinstance(result, Adjudication)
        assert result.split.total_fen == gross


def test_no_lines(beijing: Policy) -> None:
    assert refusal(beijing).reason is BillRefusalReason.BILL_INVALID


def test_a_total_that_is_not_the_sum(beijing: Policy) -> None:
    found = refusal(beijing, LINE, LINE, total_fen=6301)
    assert found.reason is BillRefusalReason.TOTAL_MISMATCH
    assert "63.01" in found.detail_en
    assert "63.00" in found.detail_zh


@pytest.mark.parametrize(
    "case",
    [
        Case("390", "11", "11", 45, 1, 3, "110000", 20260302),
        Case("310", "51", "11", 45, 1, 3, "110000", 20260302),
        Case("310", "11", "14", 45, 1, 3, "110000", 20260302),
        Case("310", "11", "11", -1, 1, 3, "110000", 20260302),
        Case("310", "11", "11", 45, 4, 3, "110000", 20260302),
        Case("310", "11", "11", 45, 1, 4, "110000", 20260302),
        Case("310", "11", "11", 45, 1, 3, "110000", 20221231),
        Case("310", "21", "11", 45, 3, 0, "110000", 20260302),  # a stay at a pharmacy
    ],
)
def test_a_case_that_the_policy_does_not_cover(beijing: Policy, case: Case) -> None:
    found = refusal(beijing, LINE, case=case)
    assert found.reason is BillRefusalReason.POLICY_NOT_FOUND
    assert "beijing-employees" in found.detail_en


# --- stays, ages, accounts -------------------------------------------------------------------


def decide(
    policy: Policy,
    case: Case,
    amount_fen: int,
    *,
    used: Mapping[str, Accumulated] = NOTHING_BEFORE,
    purses: Purses = NO_PURSES,
    stay: Stay | None = None,
) -> Adjudication:
    line = BillLine("A1", 1, 0, None, amount_fen * 10_000, 10_000, amount_fen)
    result = adjudicate(policy, case, [line], used, purses, explain=True, stay=stay)
    assert isinstance(result, Adjudication)
    return result


def test_what_a_bill_moves(beijing: Policy) -> None:
    stay = decide(beijing, INPATIENT, 12_000_000)
    assert stay.moved == (
        Moved("inpatient", Accumulated(130_000, 12_000_000, 10_000_000, 840_605, 1)),
        Moved("hifob_pay", Accumulated(0, 988_947, 840_605, 0, 0)),
    )
    assert (stay.scheme, stay.year, stay.policy) == ("inpatient", 2026, beijing.identity)
    visit = decide(beijing, OUTPATIENT, 300_000)
    assert visit.moved == (Moved("outpatient", Accumulated(180_000, 300_000, 84_000, 0, 0)),)
    assert (visit.scheme, visit.year) == ("outpatient", 2026)


def test_an_interim_settlement_goes_on_where_the_stay_was(beijing: Policy) -> None:
    first = decide(beijing, INPATIENT, 2_000_000)
    used = {one.scheme: one.amounts for one in first.moved}
    stay = stay_of(1, [first.moved])
    second = decide(beijing, INPATIENT, 3_000_000, used=used, stay=stay)
    at_once = decide(beijing, INPATIENT, 5_000_000)
    assert second.moved[0].amounts.admissions == 0
    assert second.split.deductible_fen == 0
    parts = first.moved[0].amounts.pool_fen + second.moved[0].amounts.pool_fen
    assert parts == at_once.moved[0].amounts.pool_fen
    another = decide(beijing, INPATIENT, 2_000_000, used=used)
    assert another.split.deductible_fen == 65_000


@pytest.mark.parametrize("age", [0, 69, 70, 130, 200])
def test_any_age(beijing: Policy, age: int) -> None:
    case = Case("310", "11", "12", age, 1, 3, "110000", 20260302)
    expected = 144_500 if age < 70 else 153_000
    assert decide(beijing, case, 300_000).split.fund_pay_fen == expected


@pytest.mark.parametrize(
    ("purses", "expected"),
    [
        (Purses(50_000, 0, uses_account=False), (0, 0, 216_000)),
        (Purses(50_000, 0, uses_account=True), (50_000, 0, 166_000)),
        (Purses(50_000, 30_000, uses_account=True), (50_000, 30_000, 136_000)),
        (Purses(500_000, 30_000, uses_account=True), (216_000, 0, 0)),
        (Purses(-5, -7, uses_account=True), (0, 0, 216_000)),
    ],
)
def test_accounts(beijing: Policy, purses: Purses, expected: tuple[int, int, int]) -> None:
    split = decide(beijing, OUTPATIENT, 300_000, purses=purses).split
    assert (split.account_pay_fen, split.mutual_aid_fen, split.cash_fen) == expected


@pytest.mark.parametrize(
    ("account", "aid", "expected"),
    [
        # own 10.00, class B 5.00, deductible 20.00, own share 8.00; aid may pay the last only
        ("100", "100", ("33.00", "0.00", "10.00")),
        ("25", "100", ("25.00", "8.00", "10.00")),
        ("30", "100", ("30.00", "3.00", "10.00")),
        ("0", "100", ("0.00", "8.00", "35.00")),
    ],
)
def test_the_account_pays_first_what_only_it_may_pay(
    cli: Callable[..., Any],
    outpatient_text: Callable[..., str],
    account: str,
    aid: str,
    expected: tuple[str, ...],
) -> None:
    rules = """
deductible = { per = "year", amounts = [{ amount = 20 }] }
bands = [{ from = 0, ratios = [{ ratio = "80%" }] }]
"""
    lines = [
        {"med_list_codg": "C", "chrgitm_lv": 3, "pric": 10, "cnt": 1},
        {"med_list_codg": "B", "chrgitm_lv": 2, "selfpay_prop": "0.1", "pric": 50, "cnt": 1},
        {"med_list_codg": "A", "chrgitm_lv": 1, "pric": 15, "cnt": 1},
    ]
    bill = BILL | {
        "lines": lines,
        "acct_used_flag": "1",
        "balc": account,
        "acct_mulaid_balc": aid,
    }
    answer = cli(outpatient_text(rules), bill, "--json").answer
    assert str(answer["hifp_pay"]) == "32.00"
    fields = ("acct_pay", "acct_mulaid_pay", "psn_cash_pay")
    assert tuple(str(answer[field]) for field in fields) == expected


CAPS_USED_UP = """
[[outpatient.bands]]
from = 0
to = 1000
ratios = [{ ratio = "80%" }]
[[outpatient.bands]]
from = 1000
ratios = [{ ratio = "0%" }]
[[outpatient.caps]]
measure = "paid"
per = "year"
amounts = [{ amount = 500 }]
[[outpatient.layers]]
field = "hifob_pay"
base = "left_over"
ratios = [{ ratio = "10%" }]
caps = [{ measure = "paid", per = "year", amounts = [{ amount = 20 }] }]
[[outpatient.layers]]
field = "oth_pay"
base = "left_over"
ratios = [{ ratio = "100%" }]
"""


@pytest.mark.parametrize("in_scope_before", ["700", "2000"])
@pytest.mark.parametrize("amount", ["0.01", "0.04", "0.05", "300"])
def test_all_goes_on_once_caps_are_used_up(
    cli: Callable[..., Any], outpatient_text: Callable[..., str], amount: str, in_scope_before: str
) -> None:
    """Also what is too little to be paid a fen of, and what would be paid at nothing."""
    used = {
        "outpatient": {"inscp_scp_amt": in_scope_before, "hifp_pay": "500"},
        "hifob_pay": {"hifp_pay": "20"},
    }
    lines = [{"med_list_codg": "A", "chrgitm_lv": 1, "pric": amount, "cnt": 1}]
    bill = BILL | {"accumulated": used, "lines": lines}
    answer = cli(outpatient_text(CAPS_USED_UP), bill, "--json").answer
    assert [str(answer[field]) for field in ("hifp_pay", "hifob_pay")] == ["0.00", "0.00"]
    assert answer["oth_pay"] == Decimal(amount)


def test_a_long_bill_is_told_by_class(beijing: Policy) -> None:
    lines = [
        LINE,
        BillLine("B1", 2, 500, 3_000_000, 4_520_000, 10_000, 452),
        BillLine("C1", 3, 0, None, 1_500_000, 10_000, 150),
    ] * LINES_EXPLAINED_MAX
    result = adjudicate(beijing, OUTPATIENT, lines, NOTHING_BEFORE, NO_PURSES, explain=True)
    assert isinstance(result, Adjudication)
    assert len(result.explanation) < 20
    for field in ("total_fen", "fully_own_fen", "over_limit_fen", "pre_self_pay_fen"):
        told = sum(step.amount_fen for step in result.explanation if step.field == field)
        assert told == getattr(result.split, field) > 0


# --- bill files and the command --------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"colour": 1}, "$.colour: no such key"),
        ({"age": "old"}, "$.age"),
        ({"medins_kind": "spa"}, "$.medins_kind"),
        ({"medins_lv": 5}, "$.medins_lv"),
        ({"care_date": "yesterday"}, "$.care_date"),
        ({"balc": -1}, "$.balc"),
        ({"balc": 0.001}, "$.balc: '0.001' is not an amount in yuan"),
        ({"acct_used_flag": "yes"}, "$.acct_used_flag"),
        ({"accumulated": {"outpatient": {"hifp": 1}}}, "hifp: no such key"),
        (
            {"accumulated": {"outpatiet": {"hifp_pay": 1}}},
            "$.accumulated.outpatiet: no such row",
        ),
        ({"stay": {"admission": 1, "moved": {"ward": {}}}}, "$.stay.moved.ward: no such row"),
        ({"lines": [{"med_list_codg": "A"}]}, "$.lines[0].pric: this key is missing"),
        ({"lines": [BILL["lines"][0] | {"chrgitm_lv": 4}]}, "$.lines[0].chrgitm_lv"),
        ({"lines": [BILL["lines"][0] | {"selfpay_prop": 1.5}]}, "above one"),
    ],
)
def test_mistakes_in_a_bill_file(beijing: Policy, change: dict[str, Any], words: str) -> None:
    with pytest.raises(BillFileError) as caught:
        load_bill(json.dumps(BILL | change), "json", beijing)
    assert words in str(caught.value)


def test_a_bill_file_that_says_something_twice(beijing: Policy) -> None:
    with pytest.raises(BillFileError, match="age stands twice"):
        load_bill(json.dumps(BILL).replace('"age": 45', '"age": 45, "age": 46'), "json", beijing)


@pytest.mark.parametrize("form", ["json", "toml"])
def test_a_bill_file_that_is_none(beijing: Policy, form: Any) -> None:
    with pytest.raises(BillFileError, match=f"not {form.upper()}"):
        load_bill("{", form, beijing)


def test_amounts_never_pass_through_binary_fractions(beijing: Policy) -> None:
    text = json.dumps(BILL).replace('"3.5"', "0.285").replace('"cnt": 9', '"cnt": 100.0001')
    [line] = load_bill(text, "json", beijing).lines
    assert (line.price_microyuan, line.quantity_e4, line.gross_fen) == (285_000, 1_000_001, 2850)


def test_a_bill_as_toml(tmp_path: Path, beijing_text: str) -> None:
    policy, bill = tmp_path / "policy.toml", tmp_path / "bill.toml"
    policy.write_text(beijing_text, encoding="utf-8")
    bill.write_text("""
insutype = "310"
med_type = "21"
psn_type = "11"
age = 45
medins_kind = "hospital"
medins_lv = 3
care_date = 2026-03-02
lines = [{ med_list_codg = "A1", chrgitm_lv = 1, pric = 10_000.00, cnt = 1 }]
""")
    app = typer.Typer()
    app.command()(command)
    arguments = ["--policy", str(policy), "--bill", str(bill)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    for words in ("北京市职工基本医疗保险", "8700.00 × 85% = 7395.00元", "8700.00 x 85% = 7395.00",
                  "inpatient.bands[0].ratios[2]", "psn_cash_pay", "2605.00"):  # fmt: skip
        assert words in result.output
    missing = CliRunner().invoke(app, ["--policy", str(policy), "--bill", str(tmp_path / "none")])
    assert missing.exit_code == 2
    assert "none" in missing.output


def test_a_refusal_at_the_command(cli: Callable[..., Any], beijing_text: str) -> None:
    wrong = BILL | {"medfee_sumamt": "31.51"}
    run = cli(beijing_text, wrong, "--json")
    assert run.exit_code == 1
    assert run.answer["refused"]["reason"] == "TOTAL_MISMATCH"
    run = cli(beijing_text, wrong)
    assert run.exit_code == 1
    assert "账单合计31.51元" in run.stderr
    assert not run.stdout


def test_a_policy_mistake_at_the_command(cli: Callable[..., Any], beijing_text: str) -> None:
    run = cli(beijing_text.replace('"70%"', '"700%"'), BILL, "--json")
    assert run.exit_code == 2
    assert "policy.toml: $.outpatient.bands[0].ratios[0].ratio: a ratio of 700%" in run.stderr
    assert not run.stdout


def test_every_field_has_its_national_name(cli: Callable[..., Any], beijing_text: str) -> None:
    answer = cli(beijing_text, BILL, "--json").answer
    names = """medfee_sumamt fulamt_ownpay_amt overlmt_selfpay preselfpay_amt inscp_scp_amt
        act_pay_dedc hifp_pay hifob_pay cvlserv_pay hifes_pay hifmi_pay maf_pay oth_pay
        fund_pay_sumamt hosp_part_amt psn_part_amt acct_pay acct_mulaid_pay psn_cash_pay balc"""
    assert set(names.split()) <= set(answer)
    assert all(str(answer[name]) == f"{answer[name]:.2f}" for name in names.split())
    told: dict[str, Any] = {}
    for step in answer["explanation"]:
        told[step["field"]] = told.get(step["field"], 0) + step["amount"]
    told.pop("")
    assert all(told[name] == answer[name] for name in told)
    assert {"medfee_sumamt", "inscp_scp_amt", "psn_cash_pay"} <= set(told)


def test_yuan() -> None:
    assert [yuan(fen) for fen in (0, 5, -5, 100, -12_345)] == [
        "0.00",
        "0.05",
        "-0.05",
        "1.00",
        "-123.45",
    ]


def indented_blocks(text: str) -> list[str]:
    found = re.findall(r"(?m)(?:^    .+\n)+", text)
    return [dedent(block) for block in found]


def test_the_readmes_examples(
    cli: Callable[..., Any],
    beijing_text: str,
    outpatient_text: Callable[..., str],
    inpatient_text: Callable[..., str],
) -> None:
    blocks = indented_blocks(
        (files("cardserver.benefits") / "README.md").read_text(encoding="utf-8")
    )
    [bill] = [block for block in blocks if block.startswith('{"insutype"')]
    answer = cli(beijing_text, bill, "--json").answer
    assert (str(answer["hifp_pay"]), str(answer["acct_pay"])) == ("840.00", "1378.15")
    [layer] = [block for block in blocks if block.startswith("[[inpatient.layers]]")]
    stay = BILL | {
        "med_type": "21",
        "psn_type": "12",
        "lines": [BILL["lines"][0] | {"cnt": 90_000}],
    }
    half = "bands = [{ from = 0, ratios = [{ ratio = '50%' }] }]"
    answer = cli(inpatient_text(f"{half}\n{layer}"), stay, "--json").answer
    # of 315,000 half are borne; above 30,404 are 127,096: 50,000 at 60 %, the rest at 70 %
    assert str(answer["hifmi_pay"]) == "83967.20"
    [rows] = [block for block in blocks if "of_person_type" in block]
    for row in rows.splitlines():
        if row.startswith("{ by_age"):
            text = outpatient_text(f"bands = [{{ from = 0, ratios = [{row}] }}]")
            # 55 years: 70 % and ten times half a point of 31.50
            answer = cli(text, BILL | {"age": 55}, "--json").answer
            assert str(answer["hifp_pay"]) == "23.63"
            return
    pytest.fail("the README has lost its formula of age")
