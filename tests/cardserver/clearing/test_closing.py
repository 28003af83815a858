"""A period is closed beside what is being posted: nothing straddles it, nothing is lost."""

import asyncio

from cardserver.clearing.totals_store import kept_totals, recompute
from ledger.accounts import Account
from ledger.entries import Draft, EntryKind, Posting
from ledger.fund_acts import Act, Acted, ActKey, ActType, ActView
from ledger.period_store import read_periods
from ledger.scripts import Script
from tests.cardserver.clearing.month import HOSPITAL, OUTPATIENT, Fund

ACTS, FEN = 120, 7
OCTOBER, NOVEMBER = 202610, 202611


def deduction(number: int) -> Act[None]:
    """Return an act that posts seven fen."""
    draft = Draft(
        kind=EntryKind.REVIEW_DEDUCTION,
        postings=(
            Posting(Account.INSTITUTION_PAYABLE, HOSPITAL, FEN),
            Posting(Account.DEDUCTIONS, HOSPITAL, -FEN),
        ),
        institution_no=HOSPITAL,
        clearing_type=OUTPATIENT,
    )

    def read() -> Script[None]:
        yield from ()

    def decide(_: ActView, __: None) -> Acted:
        return Acted((draft,))

    # Of one subject, so that each has a commit of its own and the close comes between some.
    return Act(ActKey(ActType.REVIEW, OCTOBER, (number,)), b"", (), read, decide, subject="one")


async def review_fen(fund: Fund, month: int) -> int:
    totals = await fund.database.report(lambda connection: kept_totals(connection, month))
    return sum(one.review_fen for one in totals.values())


async def test_nothing_is_posted_to_a_period_once_it_is_closed(fund: Fund) -> None:
    posting = [asyncio.create_task(fund.acts.post(deduction(number))) for number in range(ACTS)]
    # The ledger raises no event.
    while await review_fen(fund, OCTOBER) < 10 * FEN:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert (await fund.close(OCTOBER, is_early=True)).was_open
    closed_fen = await review_fen(fund, OCTOBER)
    await asyncio.gather(*posting)
    assert await review_fen(fund, OCTOBER) == closed_fen
    assert closed_fen + await review_fen(fund, NOVEMBER) == ACTS * FEN
    for month in (OCTOBER, NOVEMBER):
        found = await fund.database.report(lambda one, of=month: recompute(one, of))
        assert found.differences == []
        assert sum(one.review_fen for one in found.totals.values()) == await review_fen(fund, month)
    assert (await fund.balance()).is_equal


async def test_two_who_close_at_once_close_it_once(fund: Fund) -> None:
    await fund.settle(HOSPITAL, 100)
    fund.clock.be(20261102)
    closings = await asyncio.gather(*(fund.close(OCTOBER) for _ in range(4)))
    assert sorted(one.was_open for one in closings) == [False, False, False, True]
    (period,) = await fund.database.report(read_periods)
    assert (period.period, period.is_closed, period.postings_count) == (OCTOBER, True, 2)
