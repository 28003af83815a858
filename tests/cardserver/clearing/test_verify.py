"""A clearing or a payment that somebody changed by hand is found, and named."""

import pytest

from cardserver.clearing.verify_store import check_clearings
from tests.cardserver.clearing.month import Fund
from tests.cardserver.clearing.test_payments import (
    REGION,
    answer,
    cleared_october,
    pay_signed,
    take,
)


@pytest.mark.parametrize(
    ("change", "table", "what"),
    [
        ("UPDATE clearing SET paid_fen = paid_fen + 1 WHERE institution_no = 2",
         "clearing", "paid_fen"),
        ("UPDATE clearing SET settled_fen = settled_fen + 1 WHERE institution_no = 2",
         "clearing", "applied_fen"),
        ("UPDATE clearing_fund SET paid_fen = paid_fen - 1 WHERE insutype = 390",
         "clearing", "paid_fen, by insurance"),
        ("UPDATE payment SET amount_fen = amount_fen + 100 WHERE institution_no = 2",
         "payment", "amount_fen"),
        ("UPDATE payment_part SET amount_fen = amount_fen + 1", "payment_part", "amount_fen"),
        ("UPDATE payment SET entry_no = 1 WHERE institution_no = 2",
         "payment", "amount_fen, of its entry"),
        ("DELETE FROM payment_fund WHERE insutype = 390", "payment", "amount_fen, by insurance"),
    ],
)  # fmt: skip
async def test_a_change_by_hand_is_named(fund: Fund, change: str, table: str, what: str) -> None:
    await cleared_october(fund)
    made = await pay_signed(fund)
    await take(fund, answer(made.run.run_no, REGION, {}, group="ACSC"))
    found = await fund.database.report(check_clearings)
    assert found.differences == []
    assert (found.rows["clearing"], found.rows["payment"]) == (4, 3)
    await fund.execute(change)
    found = await fund.database.report(check_clearings)
    assert (table, what) in {(one.table, one.what) for one in found.differences}
