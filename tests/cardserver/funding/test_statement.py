"""A personal account's statement, of every kind of movement, beside settlements."""

import asyncio

from cardserver.funding.acts import open_fund_acts
from cardserver.funding.allotment import allotment_purpose
from cardserver.funding.rules import FundingRules, load_rules
from cardserver.funding.rules_store import activate_rules
from cardserver.funding.runs import run
from cardserver.funding.statement import statement_of
from cardserver.verification import Wish, verify
from ledger.ledger_store import balances
from tests.cardserver.claims.fund import CHILD, PERSON, RETIRED, SHANGHAI, Counter, bill
from tests.cardserver.funding.fund import ACTOR, MONTH
from tests.cardserver.funding.test_rules import ALLOTMENT
from tests.cardserver.funding.test_rules import rules as text_of_rules

TEXT = text_of_rules(ALLOTMENT, "monthly = 50\n")


async def test_every_movement_has_its_reason(counter: Counter) -> None:
    database = counter.database
    version = load_rules(TEXT)
    await activate_rules(database, version, TEXT, ACTOR)
    settled = await counter.settle(bill(("A1", 3_000)))
    aided = await counter.settle(bill(("A1", 2_000)), CHILD)
    await run(
        database,
        lambda: open_fund_acts(database, SHANGHAI, counter.clock),
        allotment_purpose(database, FundingRules([version]), MONTH),
        ACTOR,
    )
    counter.clock.ms += 1_000
    await counter.cancel(str(settled.entry_no))
    statement = await statement_of(database, PERSON, first_day=20261101, last_day=20261130)
    found = [(line.kind, line.amount_fen, line.reason_zh) for line in statement.lines]
    assert found == [
        ("opening", 100_000, "期初余额转入"),
        ("settlement", -3_000, "第一医院 结算"),
        ("settlement", -2_000, f"家庭共济（{CHILD}）：第一医院 结算"),
        ("allotment", 5_000, "202611 划拨"),
        ("cancellation", 3_000, f"撤销结算 {settled.entry_no}"),
    ]
    assert aided.entry_no is not None
    held = await balances(database, [PERSON, RETIRED])
    assert statement.closing_fen == held[PERSON] == 103_000
    assert (statement.opening_fen, statement.gained_fen, statement.paid_fen) == (0, 108_000, 5_000)
    later = await statement_of(database, PERSON, first_day=20261201, last_day=20261231)
    assert (later.opening_fen, later.lines, later.closing_fen) == (103_000, (), 103_000)
    nobody = await statement_of(database, 999, first_day=20261101, last_day=20261130)
    assert (nobody.opening_fen, nobody.lines, nobody.closing_fen) == (0, (), 0)


async def test_an_allotment_goes_on_beside_settlements(counter: Counter) -> None:
    database = counter.database
    version = load_rules(TEXT)
    purposes = [
        allotment_purpose(database, FundingRules([version]), month) for month in (202610, MONTH)
    ]

    async def allot() -> None:
        for purpose in purposes:
            await run(
                database,
                lambda: open_fund_acts(database, SHANGHAI, counter.clock),
                purpose,
                ACTOR,
                step_size=1,
            )

    async def settle() -> int:
        # The shown split is the same whatever the account holds: it is not used.
        outcomes = [
            await counter.settle(bill(("A1", 1_000), uses_account=False), person)
            for _ in range(5)
            for person in (PERSON, RETIRED)
        ]
        return sum(outcome.code == 0 for outcome in outcomes)

    _, settled = await asyncio.gather(allot(), settle())
    assert settled == 10
    # CHILD too; who is paused or had died gets nothing.
    assert await balances(database, [PERSON, RETIRED, CHILD]) == {
        PERSON: 110_000, RETIRED: 60_000, CHILD: 10_000,
    }  # fmt: skip
    verified = await verify(database.url, "", Wish(), lambda _done, _total: None)
    assert not verified.findings.differences
