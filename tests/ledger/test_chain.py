"""Rows that seals cover: in groups, in any other transaction, side by side; and nothing else."""

import asyncio

import pytest

from cardserver.audit_desk import find, verify_audit
from cardserver.claims.audit_search_store import AuditQuery
from cardserver.claims.audit_store import INSERT_AUDIT, audit_row
from ledger.bulk_store import Query, plain
from ledger.database_store import Database
from ledger.scripts import Script
from ledger.store_errors import StoreError

TRIES = 24
ADDED = (
    "INSERT INTO audit SELECT seal_no, 9, recorded_time_ms, institution_no, terminal_no,"
    " operator_no, action, 'thing 99', detail"
)


def note(number: int, *, operator_no: int = 7, action: str = "act", time_ms: int = 0) -> Query:
    row = audit_row(
        time_ms=time_ms or 1_000 + number, institution_no=0, terminal_no=0,
        operator_no=operator_no, action=action, subject=f"thing {number}", detail="by a test",
    )  # fmt: skip
    return INSERT_AUDIT([row])


async def sql(database: Database, text: str) -> list[tuple[object, ...]]:
    (rows,) = await database.execute(plain("by hand", postgresql=text, sqlite=text)())
    return rows


async def test_transactions_side_by_side_leave_every_row_sealed(database: Database) -> None:
    await asyncio.gather(
        *(database.execute(note(number), note(number + 1000)) for number in range(TRIES))
    )
    findings = await verify_audit(database)
    assert (findings.count, findings.rows["audit"]) == (0, 2 * TRIES)
    assert findings.rows["seal"] == TRIES
    found = await find(database, AuditQuery(limit=1000))
    assert {row.subject for row in found} == {
        f"thing {number}" for first in range(TRIES) for number in (first, first + 1000)
    }


async def test_a_transaction_that_fails_leaves_no_row_and_a_sound_chain(database: Database) -> None:
    def failing() -> Script[None]:
        yield note(1)
        raise StoreError("it was not to be")

    await database.execute(note(0))
    with pytest.raises(StoreError, match="not to be"):
        await database.transact(failing)
    await database.execute(note(2))
    findings = await verify_audit(database)
    assert (findings.count, findings.rows["audit"]) == (0, 2)


async def test_a_script_gets_the_result_that_it_returned(database: Database) -> None:
    def script() -> Script[str]:
        rows = yield note(1)
        assert rows == []
        counted = yield plain("one", postgresql="SELECT 1", sqlite="SELECT 1")()
        return f"{counted[0][0]} row"

    assert await database.transact(script) == "1 row"


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit SET operator_no = 8", "DELETE FROM audit", "DELETE FROM audit WHERE line = 9"],
)
async def test_the_database_itself_refuses_to_change_the_audit(
    database: Database, statement: str
) -> None:
    await database.execute(note(1))
    if database.dialect == "sqlite" and "line = 9" in statement:
        return  # its triggers are called for rows, of which there is none here
    with pytest.raises(StoreError, match="append-only"):
        await sql(database, statement)
    assert (await verify_audit(database)).rows["audit"] == 1


async def test_postgresql_refuses_to_empty_the_audit(database: Database) -> None:
    if database.dialect == "postgresql":
        with pytest.raises(StoreError, match="append-only"):
            await sql(database, "TRUNCATE audit")


def guards(database: Database) -> list[str]:
    if database.dialect == "sqlite":
        return ["DROP TRIGGER audit_no_update", "DROP TRIGGER audit_no_delete"]
    return ["ALTER TABLE audit DISABLE TRIGGER audit_append_only"]


@pytest.mark.parametrize(
    ("tampering", "named"),
    [
        ("UPDATE audit SET operator_no = 8 WHERE subject = 'thing 2'", "row as sealed"),
        ("UPDATE audit SET detail = '' WHERE subject = 'thing 2'", "row as sealed"),
        ("DELETE FROM audit WHERE subject = 'thing 2'", "row as sealed"),
        ("UPDATE audit SET seal_no = 5 WHERE subject = 'thing 2'", "seal_no"),
        (f"{ADDED} FROM audit WHERE subject = 'thing 2'", "row as sealed"),
        ("DELETE FROM seal WHERE last_sequence = 2", "row"),
    ],
)
async def test_whoever_takes_the_guard_away_is_still_found_out(
    database: Database, tampering: str, named: str
) -> None:
    for number in range(4):
        await database.execute(note(number))
    for statement in guards(database):
        await sql(database, statement)
    try:
        await sql(database, tampering)
        findings = await verify_audit(database)
        assert findings.count
        assert any(one.what == named for one in findings.differences), findings.differences
    finally:
        if database.dialect == "postgresql":
            await sql(database, "ALTER TABLE audit ENABLE TRIGGER audit_append_only")


async def test_rows_are_found_by_who_what_and_when(database: Database) -> None:
    for number in range(20):
        await database.execute(
            note(number, operator_no=number % 3, action="card lost" if number % 2 else "settle")
        )

    async def subjects(**asked: object) -> list[int]:
        found = await find(database, AuditQuery(**asked))  # type: ignore[arg-type]
        return [int(row.subject.split()[1]) for row in found]

    assert await subjects() == list(range(20))
    assert await subjects(limit=3) == [17, 18, 19]
    assert await subjects(operator_no=2) == [2, 5, 8, 11, 14, 17]
    assert await subjects(subject="thing 7") == [7]
    assert await subjects(subject="thing 1*") == [1, *range(10, 20)]
    assert await subjects(action="card*") == list(range(1, 20, 2))
    assert await subjects(from_ms=1_005, to_ms=1_009) == [5, 6, 7, 8]
    assert await subjects(from_ms=1_005, to_ms=1_009, operator_no=0) == [6]
    assert await subjects(from_ms=9_999) == []
    assert await subjects(subject="100%*") == []
