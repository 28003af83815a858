"""Allotments and interest: by rule, once, going on where they were broken off."""

from cardserver.funding.allotment import allotment_purpose
from cardserver.funding.runs import rehearse
from cardserver.funding.runs_store import RuleSum
from tests.cardserver.funding.conftest import OLD, RETIRED
from tests.cardserver.funding.fund import MONTH, Fund

SUMS = [RuleSum("retired", 1, 10_000), RuleSum("retired-70", 1, 11_000)]


async def test_a_month_is_allotted_once(fund: Fund) -> None:
    purpose = allotment_purpose(fund.database, fund.rules, MONTH)
    assert await rehearse(fund.database, purpose) == SUMS
    assert await fund.held(RETIRED, OLD) == {RETIRED: 0, OLD: 0}
    first = await fund.allot()
    again = await fund.allot()
    assert first.sums == again.sums == SUMS
    assert (first.steps_done, again.steps_done) == (3, 0)
    assert await fund.held(1, RETIRED, OLD, 5) == {1: 0, RETIRED: 10_000, OLD: 11_000, 5: 0}
    assert await fund.totals() == {2030: -21_000, 3010: 21_000}
    await fund.assert_sound()
