"""A month is cleared once, to the fen, and only when kept and recomputed sums agree."""

from dataclasses import replace

import pytest

from cardserver.clearing.clearing_store import (
    activate_terms,
    begin_hold,
    read_holds,
    release_holds,
    stored_clearings,
)
from cardserver.clearing.plan import Clearing, Left
from cardserver.clearing.readiness import NotReadyError
from cardserver.clearing.run import TotalsDisagreeError, read_month
from ledger.accounts import Account
from ledger.entries import EntryKind
from tests.cardserver.clearing.month import (
    COMMUNITY,
    HOSPITAL,
    INPATIENT,
    OFFICER,
    OUTPATIENT,
    PHARMACY,
    PHARMACY_TYPE,
    TERMS,
    Fund,
)

OCTOBER, NOVEMBER, DECEMBER = 202610, 202611, 202612
LATER = replace(OFFICER, now_ms=OFFICER.now_ms + 1)


async def cleared(fund: Fund, month: int) -> dict[tuple[int, int], Clearing]:
    rows = await fund.database.report(lambda one: stored_clearings(one, month=month))
    return {one.clearing.place: one.clearing for one in rows}


async def test_what_is_applied_is_paid_withheld_or_deducted(fund: Fund) -> None:
    await fund.settle(HOSPITAL, 100_000, insutype=310)
    await fund.settle(HOSPITAL, 50_001, insutype=390)
    await fund.settle(HOSPITAL, 700_000, clearing_type=INPATIENT)
    number = await fund.settle(HOSPITAL, 300, insutype=390)
    await fund.undo(number)
    await fund.review(HOSPITAL, 10_000)
    await fund.settle(PHARMACY, 4_000, clearing_type=PHARMACY_TYPE)
    fund.clock.be(20261102)
    await fund.close(OCTOBER)
    report = await fund.run(OCTOBER)
    assert report.cleared_count == 3
    found = await cleared(fund, OCTOBER)
    outpatient = found[HOSPITAL, OUTPATIENT]
    assert (outpatient.totals.settled_count, outpatient.totals.undone_count) == (3, 1)
    assert (outpatient.totals.settled_fen, outpatient.totals.undone_fen) == (150_301, -300)
    assert outpatient.totals.earlier_fen == 0
    assert outpatient.result.applied_fen == 150_001
    assert outpatient.deduction_fen == 10_000
    assert outpatient.result.withheld_fen == 3_500  # 2.5 % of 140,001 fen
    assert outpatient.result.paid_fen == 136_501
    assert found[HOSPITAL, INPATIENT].result.paid_fen == 682_500
    assert found[PHARMACY, PHARMACY_TYPE].result.paid_fen == 3_800
    paid_fen = sum(one.result.paid_fen for one in found.values())
    assert await fund.held_fen(Account.PAYMENTS_UNDER_WAY) == -paid_fen
    assert await fund.held_fen(Account.INSTITUTION_PAYABLE) == 0
    assert await fund.held_fen(Account.DEDUCTIONS) == 10_000
    assert (await fund.balance()).is_equal


async def test_a_month_run_twice_is_the_same(fund: Fund) -> None:
    await fund.settle(HOSPITAL, 100_000)
    fund.clock.be(20261102)
    await fund.close(OCTOBER)
    await fund.run(OCTOBER)
    first = await cleared(fund, OCTOBER)
    entries = (await fund.balance()).entry_count
    report = await fund.run(OCTOBER)
    assert report.cleared_count == 0
    assert await cleared(fund, OCTOBER) == first
    assert (await fund.balance()).entry_count == entries


async def test_an_open_month_is_not_cleared(fund: Fund) -> None:
    await fund.settle(HOSPITAL, 100_000)
    with pytest.raises(NotReadyError, match="202610 is open"):
        await fund.run(OCTOBER)
    assert (await read_month(fund.database, OCTOBER)).plan.to_clear


async def test_an_undoing_after_the_clearing_reduces_the_next_one(fund: Fund) -> None:
    number = await fund.settle(HOSPITAL, 100_000)
    fund.clock.be(20261102)
    await fund.close(OCTOBER)
    await fund.run(OCTOBER)
    await fund.settle(HOSPITAL, 150_000)
    await fund.undo(number, EntryKind.REVERSAL)
    fund.clock.be(20261201)
    await fund.close(NOVEMBER)
    await fund.run(NOVEMBER)
    (clearing,) = (await cleared(fund, NOVEMBER)).values()
    assert clearing.totals.undone_fen == clearing.totals.earlier_fen == -100_000
    assert clearing.result.applied_fen == 50_000


async def test_less_than_nothing_is_carried_until_it_is_made_up(fund: Fund) -> None:
    number = await fund.settle(HOSPITAL, 100_000)
    fund.clock.be(20261102)
    await fund.close(OCTOBER)
    await fund.run(OCTOBER)
    await fund.undo(number)
    await fund.settle(HOSPITAL, 30_000)
    fund.clock.be(20261201)
    await fund.close(NOVEMBER)
    await fund.run(NOVEMBER)
    (november,) = (await cleared(fund, NOVEMBER)).values()
    assert november.result.carried_fen == -70_000
    assert november.result.applied_fen == november.result.paid_fen == 0
    fund.clock.be(20270104)
    await fund.close(DECEMBER)
    await fund.run(DECEMBER)  # nothing came: it is carried on
    (december,) = (await cleared(fund, DECEMBER)).values()
    assert december.before.brought_fen == december.result.carried_fen == -70_000
    await fund.settle(HOSPITAL, 90_000)
    fund.clock.be(20270202)
    await fund.close(202701)
    await fund.run(202701)
    (january,) = (await cleared(fund, 202701)).values()
    assert january.result.applied_fen == 20_000
    assert january.result.paid_fen == 19_500
    assert january.result.carried_fen == 0
    assert await fund.held_fen(Account.INSTITUTION_PAYABLE) == 0


async def test_months_are_cleared_and_closed_in_their_order(fund: Fund) -> None:
    await fund.settle(HOSPITAL, 100_000)
    fund.clock.be(20261102)
    await fund.settle(HOSPITAL, 100_000)
    fund.clock.be(20261202)
    with pytest.raises(NotReadyError, match="close 202610 first"):
        await fund.close(NOVEMBER)
    await fund.close(OCTOBER)
    await fund.close(NOVEMBER)
    with pytest.raises(NotReadyError, match="clear 202610 first"):
        await fund.run(NOVEMBER)
    await fund.run(OCTOBER)
    assert (await fund.run(NOVEMBER)).cleared_count == 1


async def test_a_held_institution_waits_with_its_later_months(fund: Fund) -> None:
    await fund.settle(HOSPITAL, 100_000)
    await fund.settle(COMMUNITY, 100_000)
    await begin_hold(fund.database, HOSPITAL, 0, "a complaint", OFFICER)
    fund.clock.be(20261102)
    await fund.settle(HOSPITAL, 10_000)
    await fund.close(OCTOBER)
    report = await fund.run(OCTOBER)
    assert report.cleared_count == 1
    assert [(one.institution_no, reason) for one, reason in report.read.plan.left] == [
        (HOSPITAL, Left.HELD)
    ]
    fund.clock.be(20261201)
    await fund.close(NOVEMBER)
    (hold,) = await fund.database.report(read_holds)
    assert await release_holds(fund.database, [hold.hold_no], "settled", OFFICER) == 1
    assert await release_holds(fund.database, [hold.hold_no], "settled", OFFICER) == 0
    report = await fund.run(NOVEMBER)
    assert [reason for _, reason in report.read.plan.left] == [Left.EARLIER_MONTH]
    assert (await fund.run(OCTOBER)).cleared_count == 1
    assert (await fund.run(NOVEMBER)).cleared_count == 1


async def test_a_changed_total_is_named_and_nothing_is_cleared(fund: Fund) -> None:
    await fund.settle(HOSPITAL, 100_000)
    fund.clock.be(20261102)
    await fund.close(OCTOBER)
    await fund.execute(
        "UPDATE period_total SET credit_fen = credit_fen + 1"
        " WHERE account = 2010 AND institution_no = 1"
    )
    with pytest.raises(TotalsDisagreeError) as caught:
        await fund.run(OCTOBER)
    (difference,) = caught.value.differences
    assert difference.table == "period_total"
    assert "institution_no=1" in difference.key
    assert "account=2010" in difference.key
    assert difference.stored == "0, 100001, 1"
    assert difference.recomputed == "0, 100000, 1"
    assert not await cleared(fund, OCTOBER)


async def test_a_changed_posting_of_any_account_is_found(fund: Fund) -> None:
    await fund.settle(HOSPITAL, 100_000)
    fund.clock.be(20261102)
    await fund.close(OCTOBER)
    await fund.execute("UPDATE posting SET amount_fen = amount_fen + 1 WHERE account = 5010")
    with pytest.raises(TotalsDisagreeError, match="account=5010"):
        await fund.run(OCTOBER)


async def test_terms_hold_for_a_month_from_when_its_clearing_begins(fund: Fund) -> None:
    await fund.settle(HOSPITAL, 100_000)
    await begin_hold(fund.database, HOSPITAL, 0, "a complaint", OFFICER)
    fund.clock.be(20261102)
    await fund.close(OCTOBER)
    await fund.run(OCTOBER)
    await activate_terms(fund.database, TERMS.replace('"2.5"', "50"), LATER)
    (hold,) = await fund.database.report(read_holds)
    await release_holds(fund.database, [hold.hold_no], "settled", OFFICER)
    await fund.run(OCTOBER)
    (clearing,) = (await cleared(fund, OCTOBER)).values()
    assert clearing.deposit_e4 == 250


async def test_what_comes_after_an_early_close_counts_in_the_next_month(fund: Fund) -> None:
    await fund.settle(HOSPITAL, 100_000)
    with pytest.raises(NotReadyError, match="not over"):
        await fund.close(OCTOBER)
    assert (await fund.close(OCTOBER, is_early=True)).was_open
    assert not (await fund.close(OCTOBER)).was_open
    await fund.settle(HOSPITAL, 7)
    await fund.run(OCTOBER)
    (clearing,) = (await cleared(fund, OCTOBER)).values()
    assert clearing.result.applied_fen == 100_000
    november = await read_month(fund.database, NOVEMBER)
    assert [one.totals.settled_fen for one in november.plan.to_clear] == [7]


CAPPED = (
    TERMS
    + """
[[caps]]
institution = "H11019900001"
clearing_type = 21
per = "year"
amount = 1000
above_percent = 40
"""
)


async def test_a_yearly_cap_cuts_what_lies_above_and_gives_back_what_is_undone(fund: Fund) -> None:
    await activate_terms(fund.database, CAPPED, LATER)
    number = await fund.settle(HOSPITAL, 90_000, clearing_type=INPATIENT)
    fund.clock.be(20261102)
    await fund.close(OCTOBER)
    await fund.run(OCTOBER)
    await fund.settle(HOSPITAL, 30_000, clearing_type=INPATIENT)
    fund.clock.be(20261202)
    await fund.close(NOVEMBER)
    await fund.run(NOVEMBER)
    (november,) = (await cleared(fund, NOVEMBER)).values()
    assert november.result.cap_fen == 12_000  # of 20,000 above it the fund pays 40 %
    assert await fund.held_fen(Account.DEDUCTIONS) == 12_000
    await fund.undo(number)
    await fund.settle(HOSPITAL, 80_000, clearing_type=INPATIENT)
    fund.clock.be(20270105)
    await fund.close(DECEMBER)
    await fund.run(DECEMBER)
    (december,) = (await cleared(fund, DECEMBER)).values()
    assert december.result.cap_fen == -6_000  # 110,000 in all: 6,000 to be cut, 12,000 were
    assert await fund.held_fen(Account.DEDUCTIONS) == 6_000
    assert (await fund.balance()).is_equal
