"""The writer among others, and when things break: the books stay exact, the answers true."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec import msgpack
from msgspec.structs import replace
from sqlalchemy import Connection, text

from cardserver.claims.claims_store import accumulators, claims_participants
from cardserver.claims.settlement import settle_work
from cardserver.claims.values import ClaimsDecision, ClaimsView, ClaimsWriter, Presented, Rules
from cardserver.migrations.schema import upgrade
from ledger import tables
from ledger.bulk_store import plain, update
from ledger.database_store import Database
from ledger.decisions import NotTaken, Outcome
from ledger.ledger_store import balances
from ledger.store_errors import CommitUnknownError, StoreUnavailableError
from ledger.trial_balance_store import trial_balance
from ledger.writer import GroupWriter
from protocol.terminal import messages
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import MessageType, ReverseResult
from simulators.postgres import PostgreSQLCluster
from tests.cardserver.claims.fund import (
    PERSON,
    RETIRED,
    SHANGHAI,
    TODAY,
    Counter,
    TestClock,
    bill,
    fill,
    open_personal_accounts,
)

SHARED = range(100, 112)
OPENING_FEN = 10_000_000
SETTLED = msgpack.Decoder(messages.Settled)
REVERSED = msgpack.Decoder(messages.Reversed)


@asynccontextmanager
async def open_counter(url: str, rules: Rules, **limits: int) -> AsyncIterator[Counter]:
    """A writer of its own on a database that is filled already."""
    database = Database.open(url)
    await database.start()
    clock = TestClock()
    writer: ClaimsWriter = GroupWriter(
        database, claims_participants(), clock=clock, timezone=SHANGHAI, **limits
    )
    await writer.start()
    yield Counter(writer, database, rules, clock)
    await writer.stop()
    await database.close()


async def query(database: Database, sql: str) -> list[tuple[object, ...]]:
    return await database.fetch(plain("test", postgresql=sql, sqlite=sql)())


async def test_two_writers_share_persons_without_deadlock_and_are_exact(
    fresh_postgres_url: str, rules: Rules
) -> None:
    async with (
        open_counter(fresh_postgres_url, rules, group_max=8) as one,
        open_counter(fresh_postgres_url, rules, group_max=8) as two,
    ):
        await fill(one.database, SHARED)
        await open_personal_accounts(one.database, dict.fromkeys(SHARED, OPENING_FEN), one.clock)
        two.numbers = one.numbers
        chance = random.Random(20261121)
        spent = dict.fromkeys(SHARED, 0)

        async def attempt() -> None:
            person, fen = chance.choice(SHARED), chance.randint(1, 500)
            msgid = one.msgid()
            kind = chance.random()
            here, there = chance.sample((one, two), 2)
            shown = (0, fen, 0)
            both = (
                here.settle(bill(("A1", fen)), person, shown=shown, msgid=msgid),
                there.settle(bill(("A1", fen)), person, shown=shown, msgid=msgid),
            )
            if kind < 0.3:  # the same request at both
                first, second = await asyncio.gather(*both)
                assert first.body == second.body
                assert {first.is_duplicate, second.is_duplicate} == {False, True}
                spent[person] += fen
                return
            both[1].close()
            if kind < 0.6:  # a reversal at the other, early, late or at once
                settled, reversal = await asyncio.gather(both[0], there.reverse(msgid))
                result = REVERSED.decode(reversal.body).result
                if settled.code == ResponseCode.TOMBSTONED:
                    assert result is ReverseResult.NOT_FOUND
                else:
                    assert (settled.code, result) == (0, ReverseResult.REVERSED)
                return
            settled = await both[0]
            assert settled.code == ResponseCode.APPROVED
            if kind < 0.8:  # cancelled at both
                cancels = await asyncio.gather(
                    here.cancel(str(settled.entry_no)), there.cancel(str(settled.entry_no))
                )
                assert sorted(cancel.code for cancel in cancels) == [0, 603]
                return
            spent[person] += fen

        await asyncio.gather(*(attempt() for _ in range(300)))
        held = await balances(one.database, SHARED)
        assert held == {person: OPENING_FEN - spent[person] for person in SHARED}
        used = await accumulators(one.database, SHARED, 2026)
        for person, rows in used.items():
            assert sum(amounts.in_scope_fen for _, amounts in rows) == spent[person]
        books = await one.database.report(trial_balance)
        assert books.is_equal
        assert len(await query(one.database, "SELECT slot FROM writer_slot")) >= 2
        ((deadlocks,),) = await query(
            one.database,
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()",
        )
        assert deadlocks == 0


async def test_a_slot_taken_by_another_is_given_up_for_a_new_one(counter: Counter) -> None:
    await counter.settle(bill(("A1", 500)))
    steal = update(tables.writer_slot, set=("owner", "lease_until_ms", "sequence"), by=("slot",))
    rows = await query(counter.database, "SELECT slot, sequence FROM writer_slot ORDER BY slot")
    thefts = [("thief", 2**60, sequence, slot) for slot, sequence in rows]
    await counter.database.execute(steal(thefts))
    outcome = await counter.settle(bill(("A1", 500)))
    assert outcome.code == ResponseCode.APPROVED
    assert outcome.entry_no is not None
    assert outcome.entry_no >> 40 not in {slot for slot, _ in rows}
    assert (await counter.database.report(trial_balance)).is_equal


async def test_a_decision_that_fails_fails_alone(counter: Counter) -> None:
    body = messages.Settle(bill(("A1", 500)), 0, 500, 0)
    attempt = counter.attempt(MessageType.SETTLE, body)
    work = settle_work(attempt, body, Presented(PERSON, 10, 2), counter.rules, today=TODAY)

    def broken(_: ClaimsView) -> ClaimsDecision:
        raise ZeroDivisionError

    results = await asyncio.gather(
        counter.settle(bill(("A1", 100)), shown=(0, 100, 0)),
        counter.writer.submit(replace(work, decide=broken)),
        counter.settle(bill(("A1", 200)), shown=(0, 200, 0)),
        return_exceptions=True,
    )
    assert isinstance(results[1], ZeroDivisionError)
    assert [r.code for r in results if isinstance(r, Outcome)] == [0, 0]
    assert await balances(counter.database, [PERSON]) == {PERSON: 99_700}


async def test_a_full_queue_is_busy_and_never_grows(
    database: Database, database_url: str, rules: Rules
) -> None:
    await fill(database)
    async with open_counter(database_url, rules, queue_max=4, group_max=2) as counter:
        body = messages.Settle(bill(("X", 500), uses_account=False), 0, 0, 500)

        async def submit() -> object:
            attempt = counter.attempt(MessageType.SETTLE, body)
            presented = Presented(RETIRED, 20, 2)
            return await counter.writer.submit(
                settle_work(attempt, body, presented, counter.rules, today=TODAY)
            )

        results = await asyncio.gather(*(submit() for _ in range(20)))
        assert results.count(NotTaken.BUSY) == 16
        assert sum(isinstance(result, Outcome) for result in results) == 4
        assert counter.writer.waiting_count == 0


async def terminate_at_commit(database: Database, wait_event: str) -> None:
    """End the backend that waits for this while it commits."""
    sql = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE"
        f" datname = current_database() AND wait_event = '{wait_event}'"
    )
    for _ in range(500):
        if await query(database, sql):
            return
        await asyncio.sleep(0.01)
    pytest.fail("nobody committed")


async def prepare(url: str) -> None:
    database = Database.open(url)
    await database.administer(upgrade)
    await database.start()
    await fill(database)
    await open_personal_accounts(database, {PERSON: 100_000}, TestClock())
    await database.close()


async def assert_settled_once(counter: Counter, outcome: Outcome) -> None:
    assert outcome.code == ResponseCode.APPROVED
    assert not outcome.is_duplicate
    assert SETTLED.decode(outcome.body).balance_after_fen == 99_500
    assert await balances(counter.database, [PERSON]) == {PERSON: 99_500}
    assert await query(counter.database, "SELECT count(*) FROM claim") == [(1,)]
    assert (await counter.database.report(trial_balance)).is_equal


async def test_a_connection_lost_before_the_commit_stands(
    postgres_cluster: PostgreSQLCluster, rules: Rules
) -> None:
    url = postgres_cluster.create_database("lost_before")
    await prepare(url)
    async with open_counter(url, rules) as counter:

        def sleep_at_commit(connection: Connection) -> None:
            connection.execute(
                text(
                    "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS"
                    " $$ BEGIN PERFORM pg_sleep(5); RETURN NULL; END $$"
                )
            )
            connection.execute(
                text(
                    "CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON claim"
                    " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait()"
                )
            )

        await counter.database.administer(sleep_at_commit)
        settling = asyncio.create_task(counter.settle(bill(("A1", 500)), shown=(0, 500, 0)))
        await terminate_at_commit(counter.database, "PgSleep")
        await counter.database.administer(
            lambda connection: connection.execute(text("DROP TRIGGER wait ON claim"))
        )
        await assert_settled_once(counter, await settling)
    postgres_cluster.drop_database("lost_before")


async def test_a_connection_lost_after_the_commit_stands(rules: Rules) -> None:
    with PostgreSQLCluster() as cluster:
        url = cluster.create_database("lost_after")
        await prepare(url)
        async with open_counter(url, rules) as counter:
            # Commits are flushed, and then wait for a standby that never comes.
            await counter.settle(bill(("A1", 1)), person=RETIRED, shown=(0, 0, 1))
            await query(counter.database, "SELECT 1")
            await configure(counter.database, "synchronous_standby_names", "nobody")
            settling = asyncio.create_task(counter.settle(bill(("A1", 500)), shown=(0, 500, 0)))
            await terminate_at_commit(counter.database, "SyncRep")
            await configure(counter.database, "synchronous_standby_names", "")
            outcome = await settling
            assert outcome.code == ResponseCode.APPROVED
            assert not outcome.is_duplicate
            assert await balances(counter.database, [PERSON]) == {PERSON: 99_500}
            assert await query(counter.database, "SELECT count(*) FROM claim") == [(2,)]
            assert (await counter.database.report(trial_balance)).is_equal


async def configure(database: Database, setting: str, value: str) -> None:
    """Change a server setting, and see that it holds."""
    opened = Database.open(database.url)
    await opened.start()
    alter = plain("alter", postgresql=f"ALTER SYSTEM SET {setting} = '{value}'", sqlite="")
    await opened.fetch(alter())
    await query(opened, "SELECT pg_reload_conf()")
    for _ in range(200):
        if await query(opened, f"SHOW {setting}") == [(value,)]:
            break
        await asyncio.sleep(0.01)
    await opened.close()


async def test_a_restart_of_the_server_is_only_slow(rules: Rules) -> None:
    with PostgreSQLCluster() as cluster:
        url = cluster.create_database("restarted")
        await prepare(url)
        async with open_counter(url, rules) as counter:
            await counter.settle(bill(("A1", 100)), shown=(0, 100, 0))
            await asyncio.to_thread(cluster.crash)
            settling = asyncio.create_task(counter.settle(bill(("A1", 400)), shown=(0, 400, 0)))
            await asyncio.sleep(0.2)
            await asyncio.to_thread(cluster.start)
            assert (await settling).code == ResponseCode.APPROVED
            assert await balances(counter.database, [PERSON]) == {PERSON: 99_500}


async def test_a_server_that_stays_away_is_unavailable_and_nothing_is_recorded(
    rules: Rules, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.writer._AWAY_MAX_S", 0.3)
    with PostgreSQLCluster() as cluster:
        url = cluster.create_database("away")
        await prepare(url)
        async with open_counter(url, rules) as counter:
            await asyncio.to_thread(cluster.stop)
            with pytest.raises(StoreUnavailableError):
                await counter.settle(bill(("A1", 400)), shown=(0, 400, 0))
            await asyncio.to_thread(cluster.start)
            assert (await counter.settle(bill(("A1", 400)))).code == ResponseCode.APPROVED
            assert await query(counter.database, "SELECT count(*) FROM claim") == [(1,)]


def test_an_unknown_commit_is_not_one_of_the_errors_that_say_nothing_was_recorded() -> None:
    assert not issubclass(CommitUnknownError, StoreUnavailableError.__mro__[1])
