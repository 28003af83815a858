"""Receipts to the column, masked, exact."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.terminal import messages as m
from terminals.receipt import (
    ReceiptContext,
    decimal,
    masked_name,
    masked_number,
    receipt_text,
    receipt_values,
    width_of,
    yuan,
)

# 2026-11-21 16:30:00 in Shanghai
SETTLED_MS = int(dt.datetime(2026, 11, 21, 8, 30, tzinfo=dt.UTC).timestamp() * 1000)
SPLIT = m.Split(
    total_fen=452,
    fully_own_fen=0,
    over_limit_fen=0,
    pre_self_pay_fen=23,
    in_scope_fen=429,
    deductible_fen=429,
    layers=(m.Layer("hifp_pay", 0),),
    fund_pay_fen=0,
    hospital_part_fen=0,
    person_part_fen=452,
    account_pay_fen=452,
    mutual_aid_fen=0,
    cash_fen=0,
)
SETTLED = m.Settled("S000000001", "11000000000001", SPLIT, 137_363, SETTLED_MS)
LINE = m.Line("XB05BA", "氯化钠注射液", 2_260_000, 20_000, 452)
BILL = m.Bill(
    insutype="310",
    med_type="11",
    total_fen=452,
    uses_account=True,
    invoice="INV-0001",
    lines=(LINE,),
)


def context(**changes: object) -> ReceiptContext:
    values = {
        "fund_zh": "示范市医疗保障基金",
        "fund_en": "Model City medical insurance fund",
        "institution": "H11010500001",
        "institution_name": "示范市第一医院",
        "terminal": "T01",
        "operator": "1001",
        "holder": "张*",
        "msgid": "H11010500001202611211630000001",
        "business_date": "2026-11-21",
        "bill": BILL,
        "is_copy": False,
        "is_void": False,
        "time_zone": "Asia/Shanghai",
    } | changes
    return ReceiptContext(**values)  # type: ignore[arg-type]


EXPECTED = """\
            示范市医疗保障基金
    Model City medical insurance fund
              医疗保险结算单
                 RECEIPT
==========================================
机构 institution
               示范市第一医院 H11010500001
终端/操作员 terminal/op.          T01/1001
姓名 name                              张*
人员编号 person             **********0001
结算编号 settlement             S000000001
结算时间 time          2026-11-21 16:30:00
业务日期 business date          2026-11-21
类别 care                  门诊 outpatient
发票号 invoice                    INV-0001
------------------------------------------
氯化钠注射液                          4.52
  2 x 2.26
------------------------------------------
费用总额 TOTAL                        4.52
先行自付 class B own                  0.23
范围内 in scope                       4.29
起付线 deductible                     4.29
基金支付 FUNDS PAY                    0.00
个人账户 PERSONAL ACCOUNT             4.52
现金支付 CASH                         0.00
==========================================
账户余额 balance after             1373.63
------------------------------------------
H11010500001202611211630000001
"""


def test_the_worked_example_of_hebei_as_a_receipt() -> None:
    assert receipt_text(SETTLED, context(), columns=42) == EXPECTED


def test_a_copy_says_so_twice() -> None:
    text = receipt_text(SETTLED, context(is_copy=True), columns=48)
    assert text.count("*** 副本 COPY ***") == 2


def test_a_refund_names_what_it_cancels() -> None:
    refund = m.Settled("S2", SETTLED.psn_no, SPLIT, 137_815, SETTLED_MS, "S000000001")
    text = receipt_text(refund, context(bill=None), columns=42)
    assert "退费结算单" in text
    assert "撤销结算 cancels                S000000001" in text


REFUNDED = m.Refunded(
    "S000000001", "S000000002", "S000000003", SETTLED.psn_no, SPLIT,
    m.Split(904, 0, 0, 45, 859, 859, (m.Layer("hifp_pay", 0),), 0, 0, 904, 904, 0, 0),
    (m.RefundedLine(2, "XB05BA", "氯化钠注射液", 2_260_000, 20_000, 452),), 137_815, SETTLED_MS,
)  # fmt: skip
EXPECTED_REFUND = """\
            示范市医疗保障基金
    Model City medical insurance fund
            医疗保险退费结算单
              REFUND RECEIPT
==========================================
机构 institution
               示范市第一医院 H11010500001
终端/操作员 terminal/op.          T01/1001
姓名 name                              张*
人员编号 person             **********0001
结算编号 settlement             S000000002
撤销结算 cancels                S000000001
结算时间 time          2026-11-21 16:30:00
业务日期 business date          2026-11-21
------------------------------------------
氯化钠注射液                         -4.52
  -2 x 2.26
------------------------------------------
费用总额 TOTAL                       -4.52
先行自付 class B own                 -0.23
范围内 in scope                      -4.29
起付线 deductible                    -4.29
基金支付 FUNDS PAY                    0.00
个人账户 PERSONAL ACCOUNT            -4.52
现金支付 CASH                         0.00
------------------------------------------
剩余结算 NEW SETTLEMENT         S000000003
剩余总额 TOTAL REMAINING              9.04
  基金支付 funds pay                  0.00
  个人账户 accounts                   9.04
  现金支付 cash                       0.00
==========================================
账户余额 balance after             1378.15
------------------------------------------
H11010500001202611211630000001
"""


def test_a_refund_of_a_line_shows_what_comes_back_and_what_remains() -> None:
    assert receipt_text(REFUNDED, context(bill=None), columns=42) == EXPECTED_REFUND
    values = receipt_values(REFUNDED, context(bill=None))
    assert (values["setl_id"], values["cancels"], values["replaced_by"]) == (
        "S000000002", "S000000001", "S000000003",
    )  # fmt: skip
    assert values["split"]["total_fen"] == -452  # type: ignore[index]
    assert values["remaining"]["total_fen"] == 904  # type: ignore[index]


def test_a_refund_of_all_leaves_nothing() -> None:
    whole = m.Refunded(
        "S1", "S2", "", SETTLED.psn_no, SPLIT, None, REFUNDED.lines, 137_815, SETTLED_MS
    )
    text = receipt_text(whole, context(bill=None), columns=32)
    assert "剩余 REMAINING              0.00" in text
    assert receipt_values(whole, context(bill=None))["remaining"] is None


def test_a_settlement_undone_is_void() -> None:
    assert "已撤销 VOID" in receipt_text(SETTLED, context(is_void=True), columns=42)


def test_no_control_character_reaches_the_printer() -> None:
    line = m.Line("X", "evil\x1b[2J\nname", 4_520_000, 10_000, 452)
    bill = m.Bill("310", "11", 452, True, "", (line,))  # noqa: FBT003
    text = receipt_text(SETTLED, context(bill=bill), columns=42)
    assert "\x1b" not in text
    assert "evil[2Jname" in text


@given(
    columns=st.sampled_from([32, 42, 48, 80]),
    name=st.text(max_size=60),
    institution_name=st.text(max_size=60),
    amount_fen=st.integers(-(10**13), 10**13),
)
def test_no_line_is_wider_than_the_paper(
    columns: int, name: str, institution_name: str, amount_fen: int
) -> None:
    line = m.Line("X", name, 10**12, 1, 0)
    bill = m.Bill("310", "99", 0, True, "i" * 40, (line,))  # noqa: FBT003
    split = m.Split(*([amount_fen] * 6), (m.Layer("hifp_pay", amount_fen),), *([amount_fen] * 6))
    settled = m.Settled("S" * 40, "1" * 40, split, amount_fen, SETTLED_MS, "S" * 40)
    text = receipt_text(
        settled, context(bill=bill, institution_name=institution_name), columns=columns
    )
    assert all(width_of(one) <= columns for one in text.splitlines())


def test_values_are_stable_and_masked() -> None:
    values = receipt_values(SETTLED, context())
    assert values["psn_no"] == "**********0001"
    assert values["settled_time"] == "2026-11-21T16:30:00+08:00"
    assert values["invoice"] == "INV-0001"


@pytest.mark.parametrize(
    ("name", "masked"),
    [("张三", "张*"), ("欧阳小明", "欧**"), ("阿", "阿"), ("", ""), ("买买提江·努尔", "买**")],
)
def test_names_are_masked(name: str, masked: str) -> None:
    assert masked_name(name) == masked


def test_numbers_are_masked() -> None:
    assert masked_number("1234567") == "***4567"
    assert masked_number("123") == "123"


@pytest.mark.parametrize(
    ("amount_fen", "text"), [(0, "0.00"), (5, "0.05"), (-5, "-0.05"), (-2_510, "-25.10")]
)
def test_yuan_is_exact(amount_fen: int, text: str) -> None:
    assert yuan(amount_fen) == text


@pytest.mark.parametrize(
    ("scaled", "places_min", "text"),
    [(10_000, 0, "1"), (12_500, 0, "1.25"), (1, 0, "0.0001"), (20_000, 2, "2.00")],
)
def test_decimals_are_exact(scaled: int, places_min: int, text: str) -> None:
    assert decimal(scaled, places=4, places_min=places_min) == text


def test_width_counts_wide_and_combining_characters() -> None:
    assert width_of("张三ab") == 6
    assert width_of("（）") == 4
    assert width_of("e\u0301") == 1


def visit_bill(med_type: str = "21", until: dt.date | None = None) -> m.Bill:
    return m.Bill(
        "310", med_type, 452, uses_account=True, invoice="", lines=(), discharged=until,
        mdtrt_id="1099511627778",
    )  # fmt: skip


def test_a_stays_papers_say_whether_it_goes_on() -> None:
    interim = receipt_text(
        SETTLED, context(bill=visit_bill(until=dt.date(2026, 12, 31))), columns=42
    )
    for words in ("住院中途结算单", "INTERIM RECEIPT OF A STAY", "1099511627778", "2026-12-31"):
        assert words in interim
    final = receipt_text(SETTLED, context(bill=visit_bill()), columns=42)
    for words in ("住院结算单", "FINAL RECEIPT OF A STAY", "就诊编号 visit"):
        assert words in final
    assert "charges until" not in final
    assert "--\n--" not in final  # no lines, and no rule for them
    values = receipt_values(SETTLED, context(bill=visit_bill(until=dt.date(2026, 12, 31))))
    assert (values["mdtrt_id"], values["until"]) == ("1099511627778", "2026-12-31")


def test_an_outpatient_visits_paper_is_a_receipt_with_its_number() -> None:
    text = receipt_text(SETTLED, context(bill=visit_bill("11")), columns=42)
    assert "医疗保险结算单" in text
    assert "1099511627778" in text
