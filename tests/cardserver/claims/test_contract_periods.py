"""An institution's level and contract are those of the day of care."""

import datetime as dt

import pytest

from cardserver.registry.contract_store import Contract, add_contract
from cardserver.registry.values import FOREVER, Actor
from protocol.terminal import messages
from protocol.terminal.codes import ResponseCode
from tests.cardserver.claims.fund import HOSPITAL, Counter, bill

ACTOR = Actor("tester", 0)


def stay(discharged: dt.date) -> messages.Bill:
    """Ten thousand yuan in scope, of which 8,700 are above the deductible."""
    return bill(
        ("A1", 1_000_000), med_type="21", admitted=dt.date(2026, 6, 25), discharged=discharged
    )


async def test_a_level_counts_from_its_day_on(counter: Counter) -> None:
    """Beijing employees: 85 % at level 3, 90 % at level 1 (TRANSACTIONS.md, section 3)."""
    for level, begins in ((2, 20261001), (1, 20260701)):
        await add_contract(counter.database, Contract(HOSPITAL, begins, FOREVER, level, ""), ACTOR)
    for discharged, share in (
        (dt.date(2026, 6, 30), 85), (dt.date(2026, 7, 1), 90), (dt.date(2026, 9, 30), 90),
        (dt.date(2026, 10, 1), 87),
    ):  # fmt: skip
        done = await counter.preview(stay(discharged))
        assert isinstance(done, messages.Previewed), done
        assert done.split.fund_pay_fen == 8_700 * share


@pytest.mark.parametrize(
    ("contract", "med_type", "code"),
    [
        (Contract(HOSPITAL, 20260101, FOREVER, 3, "11"), "11", None),
        (Contract(HOSPITAL, 20260101, FOREVER, 3, "21"), "11",
         ResponseCode.CARE_TYPE_NOT_CONTRACTED),
        (Contract(HOSPITAL, 20260101, FOREVER, 3, "11 41"), "21",
         ResponseCode.CARE_TYPE_NOT_CONTRACTED),
        (Contract(HOSPITAL, 20260101, 20260601, 3, ""), "11",
         ResponseCode.INSTITUTION_NOT_CONTRACTED),
        (Contract(HOSPITAL, 20270101, FOREVER, 3, "41"), "11", None),
    ],
)  # fmt: skip
async def test_care_that_was_not_agreed_on_that_day_is_refused(
    counter: Counter, contract: Contract, med_type: str, code: ResponseCode | None
) -> None:
    await add_contract(counter.database, contract, ACTOR)
    wanted = bill(("A1", 50_000)) if med_type == "11" else stay(dt.date(2026, 9, 1))
    if code is None:
        assert isinstance(await counter.preview(wanted), messages.Previewed)
    else:
        outcome = await counter.settle(wanted, shown=(0, 0, wanted.total_fen))
        assert outcome.code == code
