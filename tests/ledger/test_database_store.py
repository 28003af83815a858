"""The contract of a database, on both kinds."""

import asyncio
import time
from pathlib import Path

import pytest
from sqlalchemy import Connection

from cardserver.registry import tables as registry
from ledger import tables
from ledger.bulk_store import Query, Row, add, at_once, delete, insert, plain, put, select, update
from ledger.database_store import Database
from ledger.scripts import Script, along
from ledger.store_errors import (
    ConstraintError,
    StoreError,
    StoreUnavailableError,
    UnsafeDatabaseError,
)

KEYS = ("month", "institution_no", "terminal_no", "msgid")
INSERT = insert(tables.request, (*KEYS, "type", "request_hash", "body"))
INSERT_NEW = insert(tables.request, (*KEYS, "type", "request_hash", "body"), ignore_existing=True)
FIND = select(tables.request, columns=("type", "request_hash", "body"), by=KEYS)
ADD = add(tables.period_total, sums=("debit_fen", "credit_fen", "count"), by=(
    "slot", "business_date", "period", "account", "institution_no", "clearing_type", "kind"
))  # fmt: skip
BALANCE = select(tables.account_balance, columns=("account", "balance_fen"), by=("owner",))
PUT_BALANCE = put(tables.account_balance, set=("balance_fen",), by=("owner", "account"))


def request_row(number: int, body: bytes | None = b"\x93") -> tuple[object, ...]:
    return (202611, 7, number % 3, f"m{number}", 21, bytes([number % 256]) * 32, body)


async def test_rows_come_back_by_key(database: Database) -> None:
    rows = [request_row(number) for number in range(50)]
    await database.execute(INSERT(rows))
    found = await database.fetch(FIND([row[:4] for row in rows[10:20]]))
    assert sorted(found) == sorted(rows[10:20])


async def test_same_key_twice_is_read_once(database: Database) -> None:
    await database.execute(INSERT([request_row(1, None)]))
    key = request_row(1)[:4]
    assert await database.fetch(FIND([key, key])) == [request_row(1, None)]


async def test_insert_tells_what_was_new(database: Database) -> None:
    first = await database.execute(INSERT_NEW([request_row(1), request_row(2)]))
    second = await database.execute(INSERT_NEW([request_row(2), request_row(3)]))
    assert sorted(first[0]) == [request_row(1)[:4], request_row(2)[:4]]
    assert second[0] == [request_row(3)[:4]]


async def test_update_is_compare_and_set(database: Database) -> None:
    await database.execute(PUT_BALANCE([(1, 2030, 500), (2, 2030, 700)]))
    swap = update(
        tables.account_balance, set=("balance_fen",), by=("owner", "account", "balance_fen")
    )
    (changed,) = await database.execute(swap([(450, 2, 2030, 700), (9, 1, 2030, 999)]))
    assert changed == [(2, 2030)]
    assert await database.fetch(BALANCE([(2,)])) == [(2, 2030, 450)]


async def test_sums_add_up(database: Database) -> None:
    key = (1, 20261121, 202611, 5010, 3, 11, 1)
    await database.execute(ADD([(*key, 100, 0, 1)]), ADD([(*key, 50, 7, 2)]))
    total = select(tables.period_total, ("debit_fen", "credit_fen", "count"), ("slot",))
    assert await database.fetch(total([(1,)])) == [(1, 150, 7, 3)]


async def test_deleted_rows_are_gone(database: Database) -> None:
    await database.execute(INSERT([request_row(1), request_row(2)]))
    remove = delete(tables.request, KEYS)
    await database.execute(remove([request_row(1)[:4]]))
    assert await database.fetch(FIND([request_row(1)[:4], request_row(2)[:4]])) == [request_row(2)]


async def test_a_script_commits_as_one_or_not_at_all(database: Database) -> None:
    def half() -> Script[None]:
        yield PUT_BALANCE([(1, 2030, 500)])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.transact(half)
    assert await database.fetch(BALANCE([(1,)])) == []


async def test_a_broken_rule_of_the_schema_is_named(database: Database) -> None:
    with pytest.raises(ConstraintError):
        await database.execute(PUT_BALANCE([(1, 2030, -1)]))
    assert await database.fetch(BALANCE([(1,)])) == []
    await database.execute(PUT_BALANCE([(1, 2030, 1)]))


async def test_an_unknown_table_is_a_store_error(database: Database) -> None:
    broken = plain("broken", postgresql="SELECT 1 FROM nowhere", sqlite="SELECT 1 FROM nowhere")
    with pytest.raises(StoreError):
        await database.fetch(broken())


async def test_reads_of_one_moment_each_get_their_own(database: Database) -> None:
    await database.execute(PUT_BALANCE([(owner, 2030, owner * 10) for owner in range(200)]))
    answers = await asyncio.gather(
        *(database.fetch(BALANCE([(owner,), (owner + 1,)])) for owner in range(200))
    )
    for owner, rows in enumerate(answers):
        expected = [(o, 2030, o * 10) for o in (owner, owner + 1) if o < 200]
        assert rows == expected


async def test_a_cancelled_caller_does_not_stop_the_transaction(database: Database) -> None:
    task = asyncio.create_task(database.execute(PUT_BALANCE([(1, 2030, 5)])))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(500):
        if await database.fetch(BALANCE([(1,)])):
            return
        await asyncio.sleep(0.01)
    pytest.fail("the transaction never came")


async def test_transactions_at_once_lose_nothing(database: Database) -> None:
    lock = select(registry.person, ("name",), ("person_no",), lock=True)
    person = insert(registry.person, (
        "person_no", "id_number", "name", "sex", "birth_date", "family_no", "employer_no"
    ))  # fmt: skip
    await database.execute(person([(1, "111111198101011110", "张三", 1, 19810101, 0, 0)]))
    await database.execute(PUT_BALANCE([(1, 2030, 0)]))

    def increment() -> Script[None]:
        yield lock([(1,)])
        ((_, _, balance),) = yield BALANCE([(1,)])
        yield PUT_BALANCE([(1, 2030, balance + 1)])

    await asyncio.gather(*(database.transact(increment) for _ in range(40)))
    assert await database.fetch(BALANCE([(1,)])) == [(1, 2030, 40)]


@pytest.mark.parametrize("setting", ["synchronous=NORMAL", "synchronous=OFF"])
async def test_sqlite_that_does_not_sync_refuses(fresh_sqlite_url: str, setting: str) -> None:
    opened = Database.open(f"{fresh_sqlite_url}?{setting}")
    with pytest.raises(UnsafeDatabaseError, match="synchronous is"):
        await opened.start()
    await opened.close()


async def test_sqlite_without_write_ahead_log_refuses(fresh_sqlite_url: str) -> None:
    opened = Database.open(f"{fresh_sqlite_url}?journal_mode=MEMORY")
    with pytest.raises(UnsafeDatabaseError, match="journal_mode is"):
        await opened.start()
    await opened.close()


async def test_what_does_not_fit_a_column_is_no_fault_of_the_database(
    fresh_postgres_url: str,
) -> None:
    opened = Database.open(fresh_postgres_url)
    await opened.start()
    with pytest.raises(StoreError) as caught:
        await opened.fetch(BALANCE([("not a number",)]))
    assert not isinstance(caught.value, StoreUnavailableError)
    with pytest.raises(StoreError) as caught:
        await opened.execute(INSERT([(2**31, 1, 1, "m", 21, bytes(32), b"")]))
    assert not isinstance(caught.value, StoreUnavailableError)
    assert await opened.fetch(BALANCE([(1,)])) == []
    await opened.close()


SEALS = insert(tables.seal, ("slot", "last_sequence", "first_sequence", "digest", "checks"))
FIND_SEALS = select(tables.seal, ("digest",), ("slot", "last_sequence"))
COUNT_SEALS = plain(
    "count", postgresql="SELECT count(*) FROM seal", sqlite="SELECT count(*) FROM seal"
)


async def fill_for_at_once(database: Database) -> None:
    await database.execute(
        PUT_BALANCE([(1, 2030, 500), (2, 2030, 700)]),
        SEALS([(1, last, last, bytes([last]), b"") for last in range(1, 4)]),
    )


def three(owners: list[int], sequences: list[int]) -> Query:
    return at_once([
        BALANCE([(owner,) for owner in owners]),
        COUNT_SEALS(),
        FIND_SEALS([(1, sequence) for sequence in sequences]),
    ])  # fmt: skip


async def test_several_reads_at_once_give_each_its_rows(database: Database) -> None:
    await fill_for_at_once(database)
    balances, (count,), seals = await database.fetch(three([2, 9, 2], [3, 1, 4]))
    assert balances == ((2, 2030, 700),)
    assert count == (3,)
    assert sorted(seals) == [(1, 1, b"\1"), (1, 3, b"\3")]
    assert await database.fetch(three([], [])) == [(), ((3,),), ()]


async def test_reads_at_once_of_one_moment_are_told_apart(database: Database) -> None:
    await fill_for_at_once(database)
    asked = [([1], [1]), ([2], [1, 2]), ([], []), ([1, 2], [3])]
    answers = await asyncio.gather(*(database.fetch(three(*one)) for one in asked))
    for (owners, sequences), (balances, (count,), seals) in zip(asked, answers, strict=True):
        assert sorted(row[0] for row in balances) == owners
        assert count == (3,)
        assert sorted(row[1] for row in seals) == sequences


@pytest.mark.parametrize("months", [(), (202611,), (202611, 202612), (202612, 209901)])
async def test_rows_of_any_months_are_read_at_once_with_others(
    database: Database, months: tuple[int, ...]
) -> None:
    every = [(month, *request_row(number)[1:]) for month in (202611, 202612) for number in range(3)]
    await fill_for_at_once(database)
    await database.execute(INSERT(every))
    keys = [(month, *request_row(number)[1:4]) for month in months for number in (0, 2, 9)]
    query = at_once([BALANCE([(2,)]), FIND(keys), COUNT_SEALS()])
    balances, requests, counted = await database.fetch(query)
    assert (balances, counted) == (((2, 2030, 700),), ((3,),))
    assert sorted(requests) == [row for row in every if row[:4] in keys]
    script = along([FIND(keys)], from_now_on(BALANCE([(1,)])))
    (requests,), balances = await database.transact(lambda: script)
    assert (balances, sorted(requests)) == (
        [(1, 2030, 500)], [row for row in every if row[:4] in keys]
    )  # fmt: skip


def from_now_on(query: Query) -> Script[list[Row]]:
    return (yield query)


@pytest.mark.parametrize("reads", [0, 1, 2])
async def test_queries_go_along_with_the_first_of_a_script(database: Database, reads: int) -> None:
    await fill_for_at_once(database)

    def script() -> Script[list[list[Row]]]:
        found: list[list[Row]] = []
        for number in range(reads):
            found += [(yield BALANCE([(number + 1,)]))]
        return found

    (counted, seals), found = await database.fetch_script(
        along([COUNT_SEALS(), FIND_SEALS([(1, 2)])], script())
    )
    assert (counted, seals) == ([(3,)], [(1, 2, b"\2")])
    assert found == [[(1, 2030, 500)], [(2, 2030, 700)]][:reads]


async def test_a_script_whose_first_query_goes_alone_is_run_all_the_same(
    database: Database,
) -> None:
    await fill_for_at_once(database)

    def script() -> Script[list[Row]]:
        yield PUT_BALANCE([(1, 2030, 1)])
        return (yield BALANCE([(1,)]))

    (counted,), found = await database.transact(lambda: along([COUNT_SEALS()], script()))
    assert (counted, found) == ([(3,)], [(1, 2030, 1)])


async def test_what_reports_and_administration_meet_is_of_the_family(database: Database) -> None:
    def ask(connection: Connection) -> None:
        connection.exec_driver_sql("SELECT 1 FROM nowhere")

    for run in (database.report, database.administer):
        with pytest.raises(StoreError, match="nowhere"):
            await run(ask)
    await database.report(lambda connection: connection.exec_driver_sql("SELECT 1"))


async def test_a_broken_rule_does_not_tell_the_row_that_broke_it(database: Database) -> None:
    person = insert(registry.person, (
        "person_no", "id_number", "name", "sex", "birth_date", "family_no", "employer_no"
    ))  # fmt: skip
    row = (1, "111111198101011110", "张三", 1, 19810101, 0, 0)

    def again(connection: Connection) -> None:
        values = dict(zip(registry.person.columns.keys(), (*row, None, None, 0), strict=False))
        connection.execute(registry.person.insert(), values)

    await database.execute(person([row]))
    unwritable = (2, row[1], "张三\ud800", *row[3:])
    for work, family in (
        (database.execute(person([row])), ConstraintError),
        (database.administer(again), ConstraintError),
        (database.execute(person([unwritable])), Exception),
    ):
        with pytest.raises(family) as broken:
            await work
        assert "张三" not in str(broken.value)
        assert row[1] not in str(broken.value)


async def test_a_database_that_is_away_is_said_of_reports_too(tmp_path: Path) -> None:
    for url in (
        f"sqlite:///{tmp_path}/no-such-folder/cardserver.db",
        "postgresql+asyncpg://nobody@127.0.0.1:1/nowhere",  # tcpmux, which nobody serves
    ):
        database = Database.open(url)
        for run in (database.report, database.administer):
            with pytest.raises(StoreUnavailableError):
                await run(lambda connection: connection.exec_driver_sql("SELECT 1"))


async def test_reports_at_once_do_not_take_all_of_the_servers_connections(
    database: Database,
) -> None:
    """Terminals ask for some of them: a reconciliation, a month's clearing."""
    at_once, most = 0, 0

    def slow(connection: Connection) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        if database.dialect == "postgresql":
            connection.exec_driver_sql("SELECT pg_sleep(0.05)")
        else:
            time.sleep(0.05)
        at_once -= 1

    await asyncio.gather(*(database.report(slow) for _ in range(40)))
    assert 1 < most <= (8 if database.dialect == "postgresql" else 32)  # the loop's threads
