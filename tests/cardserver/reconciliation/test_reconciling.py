"""A day of a hospital beside the centre's, on both databases, with differences planted."""

from msgspec import structs

from cardserver.reconciliation.readiness_store import unresolved
from protocol.terminal.messages import (
    DifferenceKind,
    ReconcileAdvice,
    ReconcileOutcome,
    RowState,
)
from tests.cardserver.claims.fund import TODAY, Counter, bill
from tests.cardserver.reconciliation.institution import Institution

A_DAY_MS = 86_400_000
TOMORROW = TODAY + 1


async def test_a_day_on_which_both_sides_have_the_same(counter: Counter) -> None:
    institution = Institution(counter)
    first = await institution.settle(bill(("A1", 10_000)))
    await institution.settle(bill(("B1", 20_000)), 2)
    await institution.cancel(first)
    told = await institution.reconcile(TODAY)
    assert told.outcome is ReconcileOutcome.EQUAL
    assert [(one.centre.clearing_type, one.centre.is_refund) for one in told.compared] == [
        (11, False), (11, True),
    ]  # fmt: skip
    assert [one.centre.count for one in told.compared] == [2, 1]
    assert not told.wants_detail
    assert await institution.differences(TODAY, told) == []


async def test_a_reply_that_was_lost(counter: Counter) -> None:
    institution = Institution(counter)
    await institution.settle(bill(("A1", 10_000)))
    lost = await institution.settle(bill(("B1", 20_000)), 2)
    institution.rows[TODAY].remove(lost)
    told = await institution.reconcile(TODAY)
    assert told.outcome is ReconcileOutcome.CENTRE_MORE
    assert told.wants_detail
    (found,) = await institution.differences(TODAY, told)
    assert (found.kind, found.advice) == (DifferenceKind.ONLY_CENTRE, ReconcileAdvice.STATUS)
    assert found.centre == lost
    institution.rows[TODAY].append(lost)
    again = await institution.reconcile(TODAY)
    assert (again.outcome, again.open_count, again.wants_detail) == (0, 1, True)
    assert await institution.differences(TODAY, again) == []
    assert (await institution.reconcile(TODAY)).open_count == 0


async def test_totals_that_differ_hold_up_the_month_until_their_rows_are_compared(
    counter: Counter,
) -> None:
    institution = Institution(counter)
    lost = await institution.settle(bill(("A1", 10_000)))
    institution.rows[TODAY].remove(lost)
    told = await institution.reconcile(TODAY)
    (found,) = await unresolved(counter.database, TODAY // 100)
    assert (found.count, found.totals_count, found.oldest_day) == (1, 1, TODAY)
    assert "rows were not compared" in str(found)
    await institution.differences(TODAY, told)
    (found,) = await unresolved(counter.database, TODAY // 100)
    assert (found.count, found.totals_count) == (1, 0)
    institution.rows[TODAY].append(lost)
    await institution.differences(TODAY, await institution.reconcile(TODAY))
    assert await unresolved(counter.database, TODAY // 100) == []


async def test_an_amount_changed_by_hand(counter: Counter) -> None:
    institution = Institution(counter)
    row = await institution.settle(bill(("A1", 10_000)))
    institution.rows[TODAY] = [structs.replace(row, cash_fen=row.cash_fen + 1)]
    told = await institution.reconcile(TODAY)
    assert told.outcome is ReconcileOutcome.INSTITUTION_MORE
    (found,) = await institution.differences(TODAY, told)
    assert found.kind is DifferenceKind.AMOUNTS_DIFFER
    assert (found.centre, found.institution) == (row, institution.rows[TODAY][0])


async def test_a_reversal_after_midnight_belongs_to_the_next_day(counter: Counter) -> None:
    institution = Institution(counter)
    row = await institution.settle(bill(("A1", 10_000)))
    counter.clock.ms += A_DAY_MS
    undoing = await institution.reverse(row)
    for day in (TODAY, TOMORROW):
        told = await institution.reconcile(day)
        assert (told.outcome, told.wants_detail) == (ReconcileOutcome.EQUAL, False)
        assert await institution.differences(day, told) == []
    # The reversal's answer gets lost: its own day shows that, and the day before shows the state.
    institution.rows[TOMORROW].remove(undoing)
    institution.rows[TODAY] = [structs.replace(row, state=RowState.STANDS)]
    told = await institution.reconcile(TOMORROW)
    assert told.outcome is ReconcileOutcome.CENTRE_MORE
    (found,) = await institution.differences(TOMORROW, told)
    assert found.centre == undoing
    told = await institution.reconcile(TODAY)
    assert told.outcome is ReconcileOutcome.EQUAL
    (found,) = await institution.differences(TODAY, told)
    assert (found.kind, found.advice) == (DifferenceKind.STATE_DIFFERS, ReconcileAdvice.STATUS)


async def test_a_journal_that_was_lost(counter: Counter) -> None:
    institution = Institution(counter)
    rows = [await institution.settle(bill(("A1", 1_000 + index))) for index in range(7)]
    institution.rows.clear()
    told = await institution.reconcile(TODAY)
    assert told.outcome is ReconcileOutcome.CENTRE_MORE
    found = await institution.differences(TODAY, told)
    assert [one.centre for one in found] == rows


async def test_pages_find_what_one_page_finds(counter: Counter) -> None:
    institution = Institution(counter)
    rows = [await institution.settle(bill(("A1", 1_000 + index))) for index in range(9)]
    await institution.cancel(rows[4])
    for row in (rows[0], rows[3], rows[8]):
        institution.rows[TODAY].remove(row)
    told = await institution.reconcile(TODAY)
    whole = await institution.differences(TODAY, told)
    assert [one.centre for one in whole] == [rows[0], rows[3], rows[8]]
    for size in (1, 2, 3):
        assert await institution.differences(TODAY, told, page_size=size) == whole
    assert (await institution.reconcile(TODAY)).open_count == 3


async def test_of_a_day_that_is_not_over_nothing_is_kept(counter: Counter) -> None:
    institution = Institution(counter)
    await institution.settle(bill(("A1", 10_000)))
    institution.rows.clear()
    told = await institution.reconcile(TODAY, is_provisional=True)
    assert told.is_provisional
    assert len(await institution.differences(TODAY, told)) == 1
    assert (await institution.reconcile(TODAY, is_provisional=True)).open_count == 0
