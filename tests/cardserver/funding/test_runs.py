"""Allotments and interest: by rule, once, going on where they were broken off."""

import asyncio
import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest

from cardserver.funding import runs
from cardserver.funding.allotment import allotment_purpose
from cardserver.funding.rules import FundingRules, load_rules
from cardserver.funding.runs import Prepared, rehearse
from cardserver.funding.runs_store import RuleSum
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.merge_store import merge_persons
from ledger.accounts import Account
from ledger.entries import Draft, EntryKind, Posting
from ledger.fund_acts import Act, Acted, ActKey, ActType
from ledger.scripts import Script
from ledger.store_errors import StoreUnavailableError
from tests.cardserver.claims.fund import SHANGHAI
from tests.cardserver.funding.conftest import ACTIVE, DEAD, OLD, OTHER, RETIRED
from tests.cardserver.funding.fund import ACTOR, MONTH, Fund, insurance_row, person_row, write
from tests.cardserver.funding.fund import row as line
from tests.cardserver.funding.test_rules import ALLOTMENT, INTEREST, rules

SUMS = [RuleSum("retired", 1, 10_000), RuleSum("retired-70", 1, 11_000)]
SHARES = rules(
    ALLOTMENT,
    'share = "1/3"\nof = "base"\nleast = 20\nmost = 5000\nperson_types = ["11"]\n',
)


async def test_a_month_is_allotted_once(fund: Fund) -> None:
    purpose = allotment_purpose(fund.database, fund.rules, MONTH)
    assert await rehearse(fund.database, purpose) == SUMS
    assert await fund.held(RETIRED, OLD) == {RETIRED: 0, OLD: 0}
    first = await fund.allot()
    again = await fund.allot()
    assert first.sums == again.sums == SUMS
    assert (first.steps_done, again.steps_done) == (3, 0)
    assert await fund.held(1, RETIRED, OLD, DEAD) == {1: 0, RETIRED: 10_000, OLD: 11_000, DEAD: 0}
    assert await fund.totals() == {2030: -21_000, 3010: 21_000}
    await fund.assert_sound()


async def test_each_month_is_its_own(fund: Fund) -> None:
    await fund.allot(MONTH - 1)
    await fund.allot(MONTH)
    # In 2019 the rules did not hold, and on 1 November 2020 nobody was seventy yet.
    with pytest.raises(AdministrationError, match="allot"):
        await fund.allot(201911)
    assert await fund.held(RETIRED, OLD) == {RETIRED: 20_000, OLD: 22_000}


async def test_a_share_is_of_the_latest_files_bases(fund: Fund, tmp_path: Path) -> None:
    await fund.post(write(tmp_path / "a.csv", [line(ACTIVE), line(ACTIVE, 4_000, employer="B"),
                                               line(OTHER, 36_000)]))  # fmt: skip
    await fund.post(write(tmp_path / "b.csv", [line(ACTIVE, 6_000)]))
    fund.rules = FundingRules([load_rules(SHARES)])
    assert (await fund.allot()).sums == [RuleSum("a", 2, 333_333 + 500_000)]
    held = await fund.held(ACTIVE, OTHER)
    assert held == {ACTIVE: 12_000 + 8_000 + 333_333, OTHER: 72_000 + 500_000}
    await fund.assert_sound()


async def test_a_merged_persons_contributions_count_for_the_one_who_is_kept(
    fund: Fund, tmp_path: Path
) -> None:
    await fund.post(write(tmp_path / "a.csv", [line(OTHER, 6_000)]))
    await merge_persons(fund.database, kept=ACTIVE, gone=OTHER, actor=ACTOR, timezone=SHANGHAI)
    fund.rules = FundingRules([load_rules(SHARES)])
    assert (await fund.allot()).sums == [RuleSum("a", 1, 200_000)]


async def test_a_late_run_is_for_those_who_were_left_out(fund: Fund) -> None:
    with pytest.raises(AdministrationError, match="left one out"):
        await fund.allot(is_late=True)
    await fund.allot()
    await fund.add(person_row(7, 19500101), insurance_row(7, "12"))
    assert (await fund.allot()).steps_done == 0
    late = await fund.allot(is_late=True)
    assert (late.run.attempt, late.sums) == (2, [RuleSum("retired-70", 1, 11_000)])
    assert await fund.held(RETIRED, OLD, 7) == {RETIRED: 10_000, OLD: 11_000, 7: 11_000}
    nobody = await fund.allot(is_late=True)
    assert (nobody.run.attempt, nobody.sums) == (3, [])
    await fund.assert_sound()


async def test_what_was_broken_off_goes_on(fund: Fund) -> None:
    purpose = allotment_purpose(fund.database, fund.rules, MONTH)
    steps = 0

    async def breaking(first: int, last: int, attempt: int) -> Prepared:
        nonlocal steps
        steps += 1
        if steps > 2:
            raise StoreUnavailableError("the server is gone")
        return await purpose.prepare(first, last, attempt)

    broken = replace(purpose, prepare=breaking)
    with pytest.raises(ExceptionGroup):
        await runs.run(fund.database, fund.open_acts, broken, ACTOR, step_size=2, lanes=1)
    assert await fund.held(RETIRED) == {RETIRED: 10_000}
    with pytest.raises(AdministrationError, match="was begun by employees@2025-01-01"):
        await runs.run(fund.database, fund.open_acts, replace(purpose, rules="others"), ACTOR)
    rest = await fund.allot()
    assert (rest.steps_done, rest.sums) == (1, SUMS)
    assert await fund.held(RETIRED, OLD) == {RETIRED: 10_000, OLD: 11_000}
    await fund.assert_sound()


async def test_a_step_that_was_posted_but_not_noted_is_not_posted_twice(fund: Fund) -> None:
    await fund.allot()
    await fund.change("UPDATE funding_step SET is_done = 0")
    assert (await fund.allot()).steps_done == 3
    assert await fund.held(RETIRED, OLD) == {RETIRED: 10_000, OLD: 11_000}
    await fund.assert_sound()


async def test_two_at_once_do_one_run_together(fund: Fund) -> None:
    both = await asyncio.gather(fund.allot(step_size=1), fund.allot(step_size=1))
    assert both[0].run.run_no == both[1].run.run_no
    assert await fund.held(RETIRED, OLD) == {RETIRED: 10_000, OLD: 11_000}
    await fund.assert_sound()


async def test_who_is_merged_while_a_step_is_prepared_is_left_out(fund: Fund) -> None:
    purpose = allotment_purpose(fund.database, fund.rules, MONTH)

    async def merging(first: int, last: int, attempt: int) -> Prepared:
        prepared = await purpose.prepare(first, last, attempt)
        await merge_persons(fund.database, kept=OLD, gone=RETIRED, actor=ACTOR, timezone=SHANGHAI)
        return prepared

    merged = replace(purpose, prepare=merging)
    await runs.run(fund.database, fund.open_acts, merged, ACTOR, step_size=100, lanes=1)
    assert await fund.held(RETIRED, OLD) == {RETIRED: 0, OLD: 11_000}
    await fund.assert_sound()


async def test_who_was_given_under_a_number_that_was_merged_is_not_given_again(
    fund: Fund,
) -> None:
    await fund.allot()
    await fund.add(person_row(7, 19500101), insurance_row(7, "14", "390"))
    await merge_persons(fund.database, kept=7, gone=OLD, actor=ACTOR, timezone=SHANGHAI)
    assert await fund.held(7) == {7: 11_000}
    late = await fund.allot(is_late=True)
    assert late.sums == []
    await fund.allot(MONTH + 1)
    assert await fund.held(7) == {7: 22_000}
    await fund.assert_sound()


async def test_who_is_merged_between_two_steps_is_given_once(fund: Fund) -> None:
    purpose = allotment_purpose(fund.database, fund.rules, MONTH)
    await fund.add(person_row(7, 19500101), insurance_row(7, "14", "390"))

    async def merging(first: int, last: int, attempt: int) -> Prepared:
        if first > OLD:
            await merge_persons(fund.database, kept=7, gone=OLD, actor=ACTOR, timezone=SHANGHAI)
        return await purpose.prepare(first, last, attempt)

    merged = replace(purpose, prepare=merging)
    await runs.run(fund.database, fund.open_acts, merged, ACTOR, step_size=OLD, lanes=1)
    assert await fund.held(7) == {7: 11_000}
    await fund.assert_sound()


async def test_no_step_locks_more_persons_than_it_says(fund: Fund) -> None:
    await fill_many(fund, 25)
    ran = await fund.allot(step_size=10)
    assert ran.steps_done == 4
    rows = await fund.query(
        "SELECT count(*) FROM posting p JOIN request r ON r.entry_no = p.entry_no"
        " WHERE p.account = 2030 GROUP BY r.msgid ORDER BY 1"
    )
    assert max(row[0] for row in rows) == 10
    assert [one.persons_count for one in ran.sums] == [26, 1]


async def fill_many(fund: Fund, count: int) -> None:
    for number in range(101, 101 + count):
        await fund.add(person_row(number, 19620101), insurance_row(number, "12"))


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("UPDATE funding_entry SET amount_fen = amount_fen + 1", "funding_entry"),
        ("UPDATE funding_entry SET rule = 'mine'", "funding_entry"),
        ("UPDATE posting SET amount_fen = amount_fen - 1 WHERE owner = 3", "posting"),
        ("UPDATE account_balance SET balance_fen = 1 WHERE owner = 3", "account_balance"),
    ],
)
async def test_a_row_changed_by_hand_is_found(fund: Fund, change: str, table: str) -> None:
    await fund.allot()
    await fund.change(change)
    assert table in await fund.tables_that_differ()


# --- interest ------------------------------------------------------------------------------------


async def give(fund: Fund, day: str, person_no: int, fen: int) -> None:
    """Move an account on a day."""
    fund.clock.ms = int(dt.datetime.fromisoformat(f"{day}T09:00+08:00").timestamp() * 1000)
    account = Account.PERSONAL_ACCOUNT
    draft = Draft(
        EntryKind.OPENING, (Posting(Account.OPENING, 0, fen), Posting(account, person_no, -fen))
    )

    def nothing() -> Script[None]:
        yield from ()

    async with fund.open_acts() as acts:
        key = ActKey(ActType.REVIEW, MONTH, (person_no, int(day.replace("-", ""))))
        await acts.post(Act(key, b"", (person_no,), nothing, lambda _view, _none: Acted((draft,))))


async def test_interest_is_by_daily_balances_and_given_once(fund: Fund) -> None:
    # A person of each kind: before the year, in the year, after it, and in and out again.
    await give(fund, "2024-06-01", ACTIVE, 1_000_000)
    await give(fund, "2025-07-01", OTHER, 720_000)
    await give(fund, "2026-01-02", RETIRED, 900_000)
    await give(fund, "2025-03-01", OLD, 500_000)
    await give(fund, "2025-03-31", OLD, -500_000)
    ran = await fund.pay_interest(2025, 20260105)
    wanted = {
        ACTIVE: 3_549,  # 10,000.00 x 0.35 % x 365 / 360 = 35.486
        OTHER: 1_288,  # 7,200.00 x 0.35 % x 184 / 360 = 12.880
        RETIRED: 0,
        OLD: 146,  # 5,000.00 x 0.35 % x 30 / 360 = 1.458
    }
    assert ran.sums == [RuleSum("interest", 3, sum(wanted.values()))]
    assert (await fund.pay_interest(2025, 20260105)).steps_done == 0
    held = await fund.held(ACTIVE, OTHER, RETIRED, OLD)
    assert held == {
        ACTIVE: 1_003_549, OTHER: 721_288, RETIRED: 900_000, OLD: 146,
    }  # fmt: skip
    assert (await fund.totals())[4020] == sum(wanted.values())
    await fund.assert_sound()


async def test_an_account_that_was_merged_bears_interest_from_its_beginning(fund: Fund) -> None:
    await give(fund, "2024-06-01", OTHER, 1_000_000)
    await give(fund, "2025-07-01", ACTIVE, 720_000)
    await give(fund, "2025-03-01", OLD, 500_000)
    await give(fund, "2025-03-31", OLD, -500_000)
    await fund.add(person_row(7, 19500101), insurance_row(7, "14", "390"))
    fund.clock.ms = ACTOR.now_ms
    await merge_persons(fund.database, kept=ACTIVE, gone=OTHER, actor=ACTOR, timezone=SHANGHAI)
    await merge_persons(fund.database, kept=7, gone=OLD, actor=ACTOR, timezone=SHANGHAI)
    ran = await fund.pay_interest(2025, 20270105)
    # 10,000.00 x 365 and 7,200.00 x 184 days of 360 at 0.35 %; what OLD had, and had no more.
    assert ran.sums == [RuleSum("interest", 2, 3_549 + 1_288 + 146)]
    assert await fund.held(ACTIVE, 7) == {ACTIVE: 1_720_000 + 3_549 + 1_288, 7: 146}
    await fund.assert_sound()


async def test_who_is_merged_after_the_interest_is_not_given_it_again(fund: Fund) -> None:
    await give(fund, "2024-06-01", OTHER, 1_000_000)
    fund.clock.ms = ACTOR.now_ms
    await fund.pay_interest(2025, 20270105)
    await fund.add(person_row(7, 19500101), insurance_row(7, "14", "390"))
    await merge_persons(fund.database, kept=7, gone=OTHER, actor=ACTOR, timezone=SHANGHAI)
    assert (await fund.pay_interest(2025, 20270105, is_late=True)).sums == []
    assert await fund.held(7) == {7: 1_003_549}


async def test_a_rate_that_changed_within_the_year(fund: Fund) -> None:
    await give(fund, "2024-06-01", ACTIVE, 3_600_000)
    fund.rules = FundingRules(
        load_rules(rules(INTEREST.replace("1%", rate), begins=begins))
        for begins, rate in (("2024-01-01", "1%"), ("2025-12-01", "2%"))
    )
    ran = await fund.pay_interest(2025, 20260101)
    assert ran.sums == [RuleSum("interest", 1, 33_400 + 6_200)]


async def test_interest_of_a_year_that_goes_on_is_refused(fund: Fund) -> None:
    with pytest.raises(AdministrationError, match="not ended"):
        await fund.pay_interest(2026, 20261231)
    with pytest.raises(AdministrationError, match="no rules"):
        await fund.pay_interest(2023, 20261231)
