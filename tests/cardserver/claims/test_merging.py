"""Two records of one person: the money and what was used come together, settlements stay."""

import pytest

from cardserver.claims.accumulators_store import open_accumulators
from cardserver.claims.claims_store import accumulators
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.merge_store import merge_persons
from cardserver.registry.values import Actor
from ledger.bulk_store import plain
from ledger.ledger_store import balances
from protocol.terminal.codes import ResponseCode
from tests.cardserver.claims.fund import PERSON, RETIRED, SHANGHAI, Counter, bill

ACTOR = Actor("tester", 1_795_000_000_000)


async def test_balance_and_opening_amounts_come_together(counter: Counter) -> None:
    database = counter.database
    await counter.settle(bill(("A1", 10_000)))  # of the account
    await database.transact(
        lambda: open_accumulators([(RETIRED, 2026, "310", "outpatient", 50_000, 60_000, 0, 0, 0)])
    )
    before = await balances(database, [PERSON, RETIRED])
    merged = await merge_persons(
        database, kept=PERSON, gone=RETIRED, actor=ACTOR, timezone=SHANGHAI
    )
    assert merged.balance_fen == before[RETIRED] == 50_000
    after = await balances(database, [PERSON, RETIRED])
    assert after == {PERSON: before[PERSON] + 50_000, RETIRED: 0}
    text = "SELECT owner, -sum(amount_fen) FROM posting WHERE account = 2030 GROUP BY owner"
    posted = await database.fetch(plain(text, postgresql=text, sqlite=text)())
    assert {owner: int(amount) for owner, amount in posted} == after
    ((_, used),) = (await accumulators(database, [PERSON], 2026))[PERSON]
    assert (used.deductible_fen, used.in_scope_fen) == (60_000, 70_000)
    assert (await accumulators(database, [RETIRED], 2026))[RETIRED] == []
    # Its card is the other's: whoever opened it before the merge opens it again.
    gone = await counter.settle(bill(("A1", 100)), RETIRED, shown=(0, 100, 0))
    assert gone.code == ResponseCode.CARD_SESSION_NOT_VALID
    kept = await counter.settle(bill(("A1", 100)), PERSON, card=RETIRED * 10)
    assert kept.code == ResponseCode.APPROVED


async def test_a_record_with_settlements_is_kept_or_left(counter: Counter) -> None:
    database = counter.database
    await counter.settle(bill(("A1", 10_000)), RETIRED)
    before = await balances(database, [PERSON, RETIRED])
    with pytest.raises(AdministrationError, match="has settlements"):
        await merge_persons(database, kept=PERSON, gone=RETIRED, actor=ACTOR, timezone=SHANGHAI)
    assert await balances(database, [PERSON, RETIRED]) == before
    # Cancelled, they still stand under that number: no sentence may promise otherwise.
    settled = await counter.settle(bill(("A1", 10_000)), RETIRED)
    await counter.cancel(str(settled.entry_no))
    with pytest.raises(AdministrationError, match="cancelled ones too: keep this record"):
        await merge_persons(database, kept=PERSON, gone=RETIRED, actor=ACTOR, timezone=SHANGHAI)
    with pytest.raises(AdministrationError, match="pays for a family"):
        await merge_persons(database, kept=RETIRED, gone=PERSON, actor=ACTOR, timezone=SHANGHAI)
