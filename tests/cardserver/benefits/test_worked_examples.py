"""The worked examples that are known from elsewhere, to the fen, through the command."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from cardserver.benefits.adjudication import negated
from cardserver.benefits.values import Adjudication

# --- Beijing ---------------------------------------------------------------------------------


def beijing_bill(
    in_scope: str,
    *,
    med_type: str = "21",
    person: str = "11",
    age: int = 45,
    kind: str = "hospital",
    level: int = 3,
    used: Any = None,
) -> dict[str, Any]:
    return {
        "insutype": "310",
        "med_type": med_type,
        "psn_type": person,
        "age": age,
        "insuplc_admdvs": "110000",
        "medins_kind": kind,
        "medins_lv": level,
        "care_date": "2026-03-02",
        "accumulated": used_rows("inpatient" if med_type == "21" else "outpatient", used or {}),
        "medfee_sumamt": in_scope,
        "lines": [{"med_list_codg": "S1", "chrgitm_lv": "01", "pric": in_scope, "cnt": 1}],
    }


def used_rows(care: str, used: dict[str, Any]) -> dict[str, Any]:
    """What was used before: the care's own row, and what the large-amount scheme paid."""
    large = {"hifob_pay": {"hifp_pay": used["hifob_pay"]}} if "hifob_pay" in used else {}
    return {care: used} | large


def paid(run: Any) -> tuple[str, str]:
    assert run.exit_code == 0, run.stderr
    return str(run.answer["hifp_pay"]), str(run.answer["hifob_pay"])


@pytest.mark.parametrize(
    ("in_scope", "stays_before", "pool", "large_amount"),
    [
        ("10000", 0, "7395.00", "0.00"),
        ("30000", 0, "24395.00", "0.00"),
        ("35000", 0, "28895.00", "0.00"),
        ("50000", 1, "43447.50", "0.00"),
        ("50000", 7, "43447.50", "0.00"),
        ("120000", 0, "100000.00", "8406.05"),
    ],
)
def test_beijing_active_inpatient_at_level_three(
    cli: Callable[..., Any],
    beijing_text: str,
    in_scope: str,
    stays_before: int,
    pool: str,
    large_amount: str,
) -> None:
    bill = beijing_bill(in_scope, used={"admissions": stays_before})
    assert paid(cli(beijing_text, bill, "--json")) == (pool, large_amount)


def test_beijing_cap_cuts_at_the_fen_that_reaches_it(
    cli: Callable[..., Any], beijing_text: str
) -> None:
    answer = cli(beijing_text, beijing_bill("120000"), "--json").answer
    left_over = [
        step for step in answer["explanation"] if step["rule"].endswith("inpatient.cap.amounts[0]")
    ]
    assert [str(step["amount"]) for step in left_over] == ["9889.47"]
    exactly = cli(beijing_text, beijing_bill("110110.53"), "--json")
    assert paid(exactly) == ("100000.00", "0.00")


def test_beijing_cap_read_as_in_scope(cli: Callable[..., Any], beijing_text: str) -> None:
    cap = '[inpatient.cap]\nmeasure = "paid" '
    assert cap in beijing_text
    text = beijing_text.replace(cap, '[inpatient.cap]\nmeasure = "in_scope" ')
    assert paid(cli(text, beijing_bill("120000"), "--json")) == ("90395.00", "17000.00")


@pytest.mark.parametrize(
    ("amount", "place", "used", "fund"),
    [
        ("3000", ("hospital", "11", 45), "0", "840.00"),
        ("300", ("community", "11", 45), "1700", "180.00"),
        ("3000", ("hospital", "12", 65), "0", "1445.00"),
        ("3000", ("hospital", "12", 69), "0", "1445.00"),
        ("3000", ("hospital", "12", 70), "0", "1530.00"),
        ("3000", ("community", "12", 65), "0", "1530.00"),
        ("3000", ("community", "11", 45), "0", "1080.00"),
        ("1000", ("hospital", "11", 45), "20000", "600.00"),
        ("1000", ("community", "11", 45), "20000", "600.00"),
        ("1000", ("hospital", "12", 65), "20000", "800.00"),
        # 1,000 of it below 20,000 at 70 %, 2,000 above at 60 %
        ("3000", ("hospital", "11", 45), "19000", "1900.00"),
    ],
)
def test_beijing_outpatient(
    cli: Callable[..., Any],
    beijing_text: str,
    amount: str,
    place: tuple[str, str, int],
    used: str,
    fund: str,
) -> None:
    kind, person, age = place
    bill = beijing_bill(
        amount,
        med_type="11",
        kind=kind,
        person=person,
        age=age,
        used={"act_pay_dedc": str(min(int(used), 1800)), "inscp_scp_amt": used},
    )
    assert paid(cli(beijing_text, bill, "--json")) == (fund, "0.00")


def test_beijing_deductible_is_topped_up_at_the_next_institution(
    cli: Callable[..., Any], beijing_text: str
) -> None:
    bill = beijing_bill(
        "300",
        med_type="11",
        kind="community",
        used={"act_pay_dedc": "1700", "inscp_scp_amt": "1700"},
    )
    answer = cli(beijing_text, bill, "--json").answer
    assert str(answer["act_pay_dedc"]) == "100.00"
    assert str(answer["moved"]["outpatient"]["act_pay_dedc"]) == "100.00"
    assert str(answer["moved"]["outpatient"]["inscp_scp_amt"]) == "300.00"


def test_beijing_pharmacy_pays_as_outpatient_care(
    cli: Callable[..., Any], beijing_text: str
) -> None:
    bill = beijing_bill("3000", med_type="41", kind="pharmacy", level=0)
    assert paid(cli(beijing_text, bill, "--json")) == ("840.00", "0.00")


@pytest.mark.parametrize(
    ("in_scope", "level", "person", "pool"),
    [
        ("10000", 1, "11", "7830.00"),
        ("10000", 2, "11", "7569.00"),
        # a retired person bears 60 % of 15 %, 13 % and 10 %
        ("10000", 3, "12", "7917.00"),
        ("10000", 2, "12", "8021.40"),
        ("10000", 1, "12", "8178.00"),
        # 28,700 at 91 %, 10,000 at 94 %, 10,000 at 97 %
        ("50000", 3, "12", "45217.00"),
    ],
)
def test_beijing_inpatient_by_level_and_person(
    cli: Callable[..., Any], beijing_text: str, in_scope: str, level: int, person: str, pool: str
) -> None:
    bill = beijing_bill(in_scope, level=level, person=person, age=66)
    assert paid(cli(beijing_text, bill, "--json")) == (pool, "0.00")


def test_beijing_large_amount_scheme_above_a_pool_already_used_up(
    cli: Callable[..., Any], beijing_text: str
) -> None:
    used = {"hifp_pay": "100000", "inscp_scp_amt": "110110.53", "admissions": 1}
    active = beijing_bill("10650", used=used)
    assert paid(cli(beijing_text, active, "--json")) == ("0.00", "8500.00")
    retired = beijing_bill("10650", used=used, person="12", age=66)
    assert paid(cli(beijing_text, retired, "--json")) == ("0.00", "8000.00")
    nearly = beijing_bill("10650", used=used | {"hifob_pay": "399000"})
    assert paid(cli(beijing_text, nearly, "--json")) == ("0.00", "1000.00")


# --- Hebei, and amounts printed elsewhere ----------------------------------------------------

SIMPLE = """
deductible = { per = "year", amounts = [{ amount = 300 }] }
bands = [{ from = 0, ratios = [{ ratio = "80%" }] }]
"""


def simple_bill(lines: Any, **more: Any) -> dict[str, Any]:
    return {
        "insutype": "310",
        "med_type": "11",
        "psn_type": "12",
        "age": 66,
        "medins_kind": "hospital",
        "medins_lv": 2,
        "care_date": "2026-03-02",
        "lines": lines,
    } | more


def line(
    item_class: str, price: str, count: int = 1, ratio: str = "0", **more: Any
) -> dict[str, Any]:
    return {
        "med_list_codg": f"X{item_class}",
        "chrgitm_lv": item_class,
        "pric": price,
        "cnt": count,
        "selfpay_prop": ratio,
    } | more


def test_hebei_2207(cli: Callable[..., Any], outpatient_text: Callable[..., str]) -> None:
    bill = simple_bill([line("02", "4.52", ratio="0.05")], acct_used_flag=True, balc="1378.15")
    answer = cli(outpatient_text(SIMPLE), bill, "--json").answer
    expected = {
        "medfee_sumamt": "4.52",
        "preselfpay_amt": "0.23",
        "inscp_scp_amt": "4.29",
        "act_pay_dedc": "4.29",
        "fund_pay_sumamt": "0.00",
        "acct_pay": "4.52",
        "psn_cash_pay": "0.00",
        "balc": "1373.63",
    }
    assert {key: str(answer[key]) for key in expected} == expected


def test_hebei_2208_is_the_exact_negative(
    cli: Callable[..., Any],
    outpatient_text: Callable[..., str],
    decide: Callable[..., Adjudication],
) -> None:
    lines = [line("02", "4.52", ratio="0.05"), line("01", "20.58")]
    bill = simple_bill(lines, acct_used_flag=True, balc="1378.15")
    answer = cli(outpatient_text(SIMPLE), bill, "--json").answer
    shown = ("medfee_sumamt", "preselfpay_amt", "inscp_scp_amt", "acct_pay", "balc")
    assert [str(answer[key]) for key in shown] == ["25.10", "0.23", "24.87", "25.10", "1353.05"]
    cancel = negated(decide(outpatient_text(SIMPLE), bill).split)
    assert cancel.total_fen == -2510
    assert cancel.pre_self_pay_fen == -23
    assert cancel.in_scope_fen == -2487
    assert cancel.account_pay_fen == -2510
    assert answer["balc"] - Decimal(cancel.account_pay_fen) / 100 == Decimal("1378.15")


def test_lines(cli: Callable[..., Any], outpatient_text: Callable[..., str]) -> None:
    bill = simple_bill(
        [line("01", "2.0", 3), line("03", "1.5"), line("01", "3.5", 9)], medfee_sumamt="39.00"
    )
    answer = cli(outpatient_text(SIMPLE), bill, "--json").answer
    lines = [
        (str(each["inscp_scp_amt"]), str(each["fulamt_ownpay_amt"])) for each in answer["lines"]
    ]
    assert lines == [("6.00", "0.00"), ("0.00", "1.50"), ("31.50", "0.00")]
    assert str(answer["inscp_scp_amt"]) == "37.50"
    assert str(answer["fulamt_ownpay_amt"]) == "1.50"


def test_retired_three_thousand(
    cli: Callable[..., Any], outpatient_text: Callable[..., str]
) -> None:
    bill = simple_bill([line("01", "2000"), line("02", "1000", ratio="0.1")])
    answer = cli(outpatient_text(SIMPLE), bill, "--json").answer
    assert str(answer["preselfpay_amt"]) == "100.00"
    assert str(answer["act_pay_dedc"]) == "300.00"
    assert str(answer["fund_pay_sumamt"]) == "2080.00"
    assert str(answer["psn_part_amt"]) == "920.00"


def test_printed_wrong_7488_51_is_not_reproduced(
    cli: Callable[..., Any], outpatient_text: Callable[..., str]
) -> None:
    rules = """
deductible = { per = "year", amounts = [{ amount = 700 }] }
bands = [{ from = 0, ratios = [{ ratio = "100%" }] }]
"""
    bill = simple_bill([line("03", "501.97"), line("01", "8088.51")], medfee_sumamt="8590.48")
    answer = cli(outpatient_text(rules), bill, "--json").answer
    assert str(answer["hifp_pay"]) == "7388.51"
    assert str(answer["hifp_pay"]) != "7488.51"


def test_printed_wrong_8700_is_not_reproduced(
    cli: Callable[..., Any], outpatient_text: Callable[..., str]
) -> None:
    rules = SIMPLE.replace("80%", "90%")
    answer = cli(outpatient_text(rules), simple_bill([line("01", "10000")]), "--json").answer
    assert str(answer["hifp_pay"]) == "8730.00"
    assert str(answer["hifp_pay"]) != "8700.00"


# --- other cities: what the language must be able to say ---------------------------------------

TENGZHOU = """
[outpatient.deductible]
per = "year"
amounts = [
    { levels = [0, 1], amount = 200 },
    { levels = [2], amount = 400 },
    { levels = [3], amount = 600 },
]
[[outpatient.bands]]
from = 0
ratios = [
    { person_types = ["11"], levels = [0, 1], ratio = "80%" },
    { person_types = ["11"], levels = [2], ratio = "70%" },
    { person_types = ["11"], levels = [3], ratio = "60%" },
    { person_types = ["12"], levels = [0, 1], ratio = "85%" },
    { person_types = ["12"], levels = [2], ratio = "75%" },
    { person_types = ["12"], levels = [3], ratio = "65%" },
]
[outpatient.cap]
measure = "paid"
per = "year"
amounts = [{ person_types = ["11"], amount = 3500 }, { person_types = ["12"], amount = 4500 }]
[[outpatient.layers]]
field = "hifob_pay"
base = "left_over"
ratios = [{ ratio = "50%" }]
cap = { measure = "paid", per = "year", amounts = [{ amount = 1000 }] }
"""


@pytest.mark.parametrize(
    ("level", "amount", "used", "expected"),
    [
        (1, "1000", "0", ("200.00", "640.00", "0.00")),
        # 200 were borne at level 1: level 3 asks for the other 400
        (3, "1000", "200", ("400.00", "360.00", "0.00")),
        # and after 600 at level 3, level 1 asks for nothing
        (1, "1000", "600", ("0.00", "800.00", "0.00")),
        # 4,375 in scope bring 3,500; of the other 625, half
        (1, "5000", "600", ("0.00", "3500.00", "312.50")),
        (1, "9000", "600", ("0.00", "3500.00", "1000.00")),
    ],
)
def test_tengzhou_tops_the_deductible_up_across_levels(
    cli: Callable[..., Any],
    outpatient_text: Callable[..., str],
    level: int,
    amount: str,
    used: str,
    expected: tuple[str, ...],
) -> None:
    bill = simple_bill(
        [line("01", amount)],
        psn_type="11",
        medins_lv=level,
        accumulated={"outpatient": {"act_pay_dedc": used, "inscp_scp_amt": used}},
    )
    run = cli(outpatient_text(TENGZHOU), bill, "--json")
    assert (str(run.answer["act_pay_dedc"]), *paid(run)) == expected


DONGPING = """
[inpatient.deductible]
per = "admission"
amounts = [
    { admission_to = 1, amount = 500 },
    { admission_from = 2, admission_to = 2, amount = 250 },
    { admission_from = 3, amount = 0 },
]
[[inpatient.bands]]
from = 0
ratios = [{ person_types = ["11"], ratio = "88%" }, { person_types = ["12"], ratio = "93%" }]
[inpatient.cap]
measure = "in_scope"
per = "year"
amounts = [{ amount = 200_000 }]
[[inpatient.layers]]
field = "hifob_pay"
base = "left_over"
ratios = [{ ratio = "90%" }]
cap = { measure = "in_scope", per = "year", amounts = [{ amount = 400_000 }] }
"""


@pytest.mark.parametrize(
    ("amount", "stays", "used", "expected"),
    [
        ("10500", 0, "0", ("8800.00", "0.00")),
        ("10250", 1, "0", ("8800.00", "0.00")),
        ("10000", 2, "0", ("8800.00", "0.00")),
        # 10,000 up to 200,000, then 5,000 above
        ("15000", 2, "190000", ("8800.00", "4500.00")),
        ("300000", 2, "190000", ("8800.00", "180000.00")),
        ("300000", 2, "390000", ("0.00", "9000.00")),
        ("300000", 2, "400000", ("0.00", "0.00")),
    ],
)
def test_dongping_inpatient(
    cli: Callable[..., Any],
    inpatient_text: Callable[..., str],
    amount: str,
    stays: int,
    used: str,
    expected: tuple[str, ...],
) -> None:
    bill = simple_bill(
        [line("01", amount)],
        med_type="21",
        psn_type="11",
        accumulated={"inpatient": {"admissions": stays, "inscp_scp_amt": used}},
    )
    assert paid(cli(inpatient_text(DONGPING), bill, "--json")) == expected
