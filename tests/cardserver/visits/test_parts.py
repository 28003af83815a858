"""Settled in parts or at once a stay comes to the same; undone in any order, to nothing."""

import datetime as dt
from random import Random

import pytest

from ledger.ledger_store import balances
from ledger.trial_balance_store import trial_balance
from protocol.terminal import messages
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import VisitLineState, VisitState
from tests.cardserver.claims.fund import PERSON
from tests.cardserver.visits.test_visits import used
from tests.cardserver.visits.ward import Ward

FIRST, LAST = dt.date(2026, 10, 1), dt.date(2026, 11, 10)
BANDS = 3
ITEMS = ("A1", "B1", "C9")  # wholly in scope, a tenth borne first, not in the catalogue
PRICES = (0.335, 12.5, 199.99, 4_800)


def lines_of(random: Random, count: int) -> list[messages.VisitLine]:
    lines: list[messages.VisitLine] = []
    for index in range(count):
        price = int(random.choice(PRICES) * 1_000_000)
        quantity = random.randint(1, 60_000)
        gross = (price * quantity + 5 * 10**7) // 10**8
        date = FIRST + dt.timedelta(days=random.randint(0, (LAST - FIRST).days))
        item = random.choice(ITEMS)
        lines.append(messages.VisitLine(f"N{index}", date, item, item, price, quantity, gross))
    return lines


async def stand(ward: Ward, stay: str) -> tuple[object, ...]:
    """All that settling and undoing may move, but for the numbers that it gives out."""
    found = await ward.found(stay)
    (visit,) = found.visits
    return (
        await used(ward),
        await balances(ward.database, [PERSON]),
        visit,
        [(line.line, line.state, line.left_e4, line.left_fen) for line in found.lines],
    )


async def settle_in_parts(ward: Ward, stay: str, cuts: list[dt.date]) -> list[messages.Settled]:
    return [
        await ward.settled(stay, cut)
        for cut in [*cuts, LAST]
        if (await ward.bill(stay, cut)).total_fen
    ]


def sums(settled: list[messages.Settled]) -> tuple[int, int, int]:
    splits = [one.split for one in settled]
    return (
        sum(split.total_fen for split in splits),
        sum(split.in_scope_fen for split in splits),
        sum(split.deductible_fen for split in splits),
    )


def fund_of(settled: list[messages.Settled]) -> int:
    return sum(one.split.fund_pay_fen for one in settled)


@pytest.mark.parametrize("seed", range(6))
async def test_in_parts_or_at_once_and_undone_in_any_order(ward: Ward, seed: int) -> None:
    random = Random(seed)
    ward.uses_account = True
    stay = await ward.admitted(FIRST)
    lines = lines_of(random, random.randint(4, 25))
    assert (await ward.lines(stay, *lines)).code == ResponseCode.APPROVED
    for line in random.sample(lines, 2):
        await ward.lines_cancel(stay, line.number)
    await ward.discharge(stay, LAST)
    before = await stand(ward, stay)

    (at_once,) = await settle_in_parts(ward, stay, [])
    after = await used(ward)
    await ward.cancel(at_once.setl_id)
    assert await stand(ward, stay) == before

    cuts = sorted(random.choice(lines).date for _ in range(random.randint(1, 5)))
    parts = await settle_in_parts(ward, stay, cuts)
    assert (await ward.visit(stay)).state is VisitState.CLOSED
    assert sums(parts) == sums([at_once])
    assert abs(fund_of(parts) - at_once.split.fund_pay_fen) <= BANDS * len(parts)
    if len(parts) == 1:
        assert await used(ward) == after

    order = random.sample(parts, len(parts))
    anew = random.choice(order)
    for one in order:
        await ward.cancel(one.setl_id)
        if one is anew and len(order) > 1:  # settled again in between, whatever else stands
            for again in await settle_in_parts(ward, stay, []):
                await ward.cancel(again.setl_id)
    assert await stand(ward, stay) == before
    assert {state for _, state, _, _ in before[3]} <= {  # type: ignore[attr-defined]
        VisitLineState.UNSETTLED, VisitLineState.CANCELLED,
    }  # fmt: skip
    assert (await ward.database.report(trial_balance)).is_equal
