"""The fund's own acts on both databases: once and for all, together, verified."""

import asyncio
import datetime as dt
from collections.abc import Callable, Sequence

import pytest

from cardserver.claims.audit_store import INSERT_AUDIT, audit_row
from cardserver.funding.acts import open_fund_acts
from cardserver.verification import Verified, Wish, verify
from ledger.accounts import Account
from ledger.bulk_store import Query, plain
from ledger.database_store import Database
from ledger.entries import Draft, EntryKind, Posting
from ledger.fund_acts import (
    PERSONS_MAX,
    Act,
    Acted,
    ActKey,
    ActPosted,
    ActReusedError,
    ActType,
    ActView,
    FundActs,
    Refused,
)
from ledger.group import OverdrawnError
from ledger.ledger_store import balances
from ledger.scripts import Script
from ledger.trial_balance_store import trial_balance

CHINA = dt.timezone(dt.timedelta(hours=8))
EMPLOYEES = 310
COUNT_AUDIT = plain(
    "count", postgresql="SELECT count(*) FROM audit", sqlite="SELECT count(*) FROM audit"
)


def count_of_audit() -> Script[int]:
    ((count,),) = yield COUNT_AUDIT()
    return int(count)


def given(persons: Sequence[int], fen: int) -> Draft:
    return Draft(
        EntryKind.OPENING,  # an allotment says what it is about, in rows of its own
        (
            Posting(Account.CONTRIBUTIONS, EMPLOYEES, fen * len(persons)),
            *(Posting(Account.PERSONAL_ACCOUNT, person, -fen) for person in persons),
        ),
    )


def noted(posted: ActPosted, what: str) -> Query:
    row = audit_row(
        time_ms=posted.when.recorded_time_ms, institution_no=0, terminal_no=0, operator_no=7,
        action="allot", subject=repr(posted.numbers), detail=what,
    )  # fmt: skip
    return INSERT_AUDIT([row])


def allotment(
    *persons: int,
    fen: int = 100,
    part: int = 1,
    then: Callable[[int], Acted | Refused] | None = None,
    subject: object = None,
) -> Act[int]:
    """Give some persons so much each, and leave a row of our own."""

    def decide(view: ActView, rows_count: int) -> Acted | Refused:
        if then is not None:
            return then(rows_count)
        held = [view.personal_balance(person) for person in persons]
        return Acted(
            (given(persons, fen),),
            lambda posted: [noted(posted, f"{rows_count} rows, held {held}")],
            lambda posted: repr(posted.numbers).encode(),
        )

    key = ActKey(ActType.ALLOTMENT, 202611, (1, part))
    return Act(key, f"{persons} {fen}".encode(), persons, count_of_audit, decide, subject)


def acts_of(database: Database) -> FundActs:
    return open_fund_acts(database, CHINA)


async def rows_of_audit(database: Database) -> list[str]:
    sql = "SELECT detail FROM audit ORDER BY recorded_time_ms, seal_no, line"
    return [row[0] for row in await database.fetch(plain("audit", postgresql=sql, sqlite=sql)())]


async def verified(database: Database) -> Verified:
    return await verify(database.url, "", Wish(), lambda _done, _total: None)


async def test_an_act_is_done_once_with_its_owners_rows(database: Database) -> None:
    async with acts_of(database) as acts:
        first = await acts.post(allotment(1, 2))
        again = await acts.post(allotment(1, 2))
    async with acts_of(database) as acts:
        act = allotment(1, 2)
        assert await acts.find(act.key, act.content) == again
        assert await acts.find(allotment(1, part=2).key, act.content) is None
        later = await acts.post(act)
        with pytest.raises(ActReusedError):
            await acts.post(allotment(1, 2, fen=101))
    assert not first.is_refused
    assert not first.is_duplicate
    assert again.is_duplicate
    assert later.is_duplicate
    assert first.body == again.body == later.body == repr((first.entry_no,)).encode()
    assert (again.business_date, again.recorded_time_ms) == (
        first.business_date, first.recorded_time_ms,
    )  # fmt: skip
    assert await balances(database, (1, 2, 3)) == {1: 100, 2: 100, 3: 0}
    assert await rows_of_audit(database) == ["0 rows, held [0, 0]"]


async def test_acts_at_once_share_commits_and_are_verified(database: Database) -> None:
    async with acts_of(database) as acts:
        await asyncio.gather(*(acts.post(allotment(1, part, part=part)) for part in range(2, 40)))
    assert await balances(database, (1, 2, 39)) == {1: 3800, 2: 100, 39: 100}
    assert (await database.report(trial_balance)).is_equal
    found = await verified(database)
    assert not found.findings.differences
    assert found.findings.rows["request"] == 38
    assert found.findings.rows["seal"] < 38


async def test_no_commit_locks_more_persons_than_allowed(database: Database) -> None:
    acts_count = 4
    persons = [range(1 + n, PERSONS_MAX + n) for n in range(acts_count)]
    async with acts_of(database) as acts:
        await asyncio.gather(
            *(acts.post(allotment(*some, part=n)) for n, some in enumerate(persons))
        )
    sql = "SELECT count(*) FROM seal"
    assert await database.fetch(plain("seals", postgresql=sql, sqlite=sql)()) == [(acts_count,)]


async def test_acts_of_one_subject_see_each_other(database: Database) -> None:
    async with acts_of(database) as acts:
        await asyncio.gather(
            *(acts.post(allotment(1, part=part, subject="case 5")) for part in range(1, 6))
        )
    assert await rows_of_audit(database) == [f"{n} rows, held [{n * 100}]" for n in range(5)]


async def test_a_refusal_is_not_stored(database: Database) -> None:
    async with acts_of(database) as acts:
        refused = await acts.post(allotment(1, then=lambda _: Refused(b"not yet")))
        assert (refused.is_refused, refused.body) == (True, b"not yet")
        done = await acts.post(allotment(1))
    assert not done.is_refused
    assert not done.is_duplicate
    assert await balances(database, (1,)) == {1: 100}


async def test_an_act_without_entries_stores_its_outcome(database: Database) -> None:
    nothing = allotment(
        1, then=lambda _: Acted((), lambda posted: [noted(posted, "seen")], lambda _: b"seen")
    )
    async with acts_of(database) as acts:
        outcomes = [await acts.post(nothing), await acts.post(nothing)]
    assert [(one.body, one.entry_no, one.is_duplicate) for one in outcomes] == [
        (b"seen", None, False), (b"seen", None, True),
    ]  # fmt: skip
    assert await rows_of_audit(database) == ["seen"]
    assert not (await verified(database)).findings.differences


async def test_what_would_overdraw_an_account_fails_alone(database: Database) -> None:
    async with acts_of(database) as acts:
        await acts.post(allotment(1))
        done, failed = await asyncio.gather(
            acts.post(allotment(2, part=2)),
            acts.post(allotment(1, part=3, fen=-101)),
            return_exceptions=True,
        )
    assert isinstance(failed, OverdrawnError)
    assert not isinstance(done, BaseException)
    assert await balances(database, (1, 2)) == {1: 100, 2: 100}
    assert len(await rows_of_audit(database)) == 2


async def test_an_outcome_changed_by_hand_is_named(database: Database) -> None:
    async with acts_of(database) as acts:
        await acts.post(allotment(1, 2))
    sql = "UPDATE request SET code = 1"
    await database.execute(plain("hand", postgresql=sql, sqlite=sql)())
    found = await verified(database)
    assert {row.table for row in found.findings.differences} == {"request"}
    assert "code" in {row.what for row in found.findings.differences}
