"""Whatever single row of a small ledger is changed, added or removed: it is always found."""

import asyncio
import itertools
import shutil
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cardserver.verification import Wish, verify
from tests.cardserver.claims.books import Numbers

# Every table that money depends on. Not looked at: who holds a slot and until when, which says
# nothing of the past; when a snapshot was made; ends of snapshots, which may be too low without
# harm.
IGNORED = {"writer_slot": {"owner", "lease_until_ms"}}
TABLES = (
    "entry", "posting", "request", "claim", "seal", "writer_slot", "account_balance",
    "period_total", "accumulator", "opening_accumulator", "balance_snapshot", "undoing",
)  # fmt: skip
BIG = 2**40
_numbers = itertools.count(1)


def changed(value: object, by: int) -> object:
    """Return another value of the same kind."""
    match value:
        case int():
            return value + by
        case str():
            return f"{value[: by % (len(value) + 1)]}x{value[by % (len(value) + 1) + 1 :]}"
        case bytes() if value:
            place = by % len(value)
            return value[:place] + bytes([value[place] ^ (1 + by % 255)]) + value[place + 1 :]
        case bytes():
            return b"x"
        case _:
            return by  # of nothing


def mutate(path: Path, data: st.DataObject) -> str:
    """Change one row; return how, or nothing where the database did not let it be."""
    connection = sqlite3.connect(path)
    table = data.draw(st.sampled_from(TABLES))
    names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    columns = [name for name in names if name not in IGNORED.get(table, ())]
    rows = connection.execute(f"SELECT rowid, * FROM {table}").fetchall()
    rowid, *values = data.draw(st.sampled_from(rows))
    how = data.draw(st.sampled_from(("change", "remove", "add")))
    column = data.draw(st.sampled_from(columns))
    by = data.draw(st.integers(1, BIG) | st.integers(-BIG, -1) | st.sampled_from((1, -1)))
    new = changed(values[names.index(column)], by)
    assume(new != values[names.index(column)])
    try:
        with connection:
            if how == "change":
                connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (new, rowid))
            elif how == "remove":
                connection.execute(f"DELETE FROM {table} WHERE rowid = ?", (rowid,))
            else:
                values[names.index(column)] = new
                marks = ", ".join("?" * len(names))
                connection.execute(f"INSERT INTO {table} VALUES ({marks})", values)
    except (sqlite3.IntegrityError, OverflowError):
        return ""
    finally:
        connection.close()
    return f"{how} {table}.{column} of {rowid} by {by}"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_single_change_is_found(
    sqlite_books: tuple[Path, Numbers], tmp_path: Path, data: st.DataObject
) -> None:
    template, _ = sqlite_books
    path = tmp_path / f"changed{next(_numbers)}.db"  # nobody else's WAL beside it
    shutil.copyfile(template, path)
    how = mutate(path, data)
    assume(how)
    verified = asyncio.run(verify(f"sqlite:///{path}", "", Wish(), lambda _done, _total: None))
    path.unlink()
    assert verified.findings.count, how


def test_without_a_change_nothing_is_found(
    sqlite_books: tuple[Path, Numbers], tmp_path: Path
) -> None:
    path = tmp_path / "same.db"
    shutil.copyfile(sqlite_books[0], path)
    verified = asyncio.run(verify(f"sqlite:///{path}", "", Wish(), lambda _done, _total: None))
    assert not verified.findings.count


def test_a_text_that_is_none_any_more_is_found(
    sqlite_books: tuple[Path, Numbers], tmp_path: Path
) -> None:
    template, numbers = sqlite_books
    path = tmp_path / "no_text.db"
    shutil.copyfile(template, path)
    connection = sqlite3.connect(path)
    with connection:
        select = "SELECT body FROM request WHERE entry_no = ?"
        ((body,),) = connection.execute(select, (numbers.settled,))
        at = body.index(str(numbers.settled).encode())
        changed_body = body[:at] + b"\xa1" + body[at + 1 :]
        connection.execute(
            "UPDATE request SET body = ? WHERE entry_no = ?", (changed_body, numbers.settled)
        )
    connection.close()
    verified = asyncio.run(verify(f"sqlite:///{path}", "", Wish(), lambda _done, _total: None))
    assert verified.findings.count


# SQLite keeps in a column of numbers what it is given; each of these was passed over, or ended in
# a fault without a row's name.
STRANGE = (
    (
        "INSERT INTO entry SELECT entry_no + 0.5, person_no, kind, period, business_date,"
        " institution_no, clearing_type, NULL, recorded_time_ms FROM entry WHERE entry_no = {cash}"
    ),
    "INSERT INTO posting VALUES ('x', 1, 2010, 1, 5)",
    "INSERT INTO posting VALUES (-9223372036854775808, 1, 2010, 1, 5)",
    "UPDATE posting SET amount_fen = 'x' WHERE entry_no = {settled}",
    "UPDATE posting SET line = x'00' WHERE entry_no = {settled} AND line = 2",
    "UPDATE request SET type = 'x' WHERE entry_no = {settled}",
    "UPDATE request SET body = NULL WHERE entry_no = {settled}",
    "UPDATE request SET body = 7 WHERE entry_no = {settled}",
    "UPDATE claim SET detail = 'x' WHERE entry_no = {settled}",
    "UPDATE seal SET slot = 'x' WHERE last_sequence = 1",
    "UPDATE writer_slot SET sequence = 'x' WHERE slot = {slot}",
    "UPDATE period_total SET credit_fen = 'x' WHERE credit_fen = 0",
    "UPDATE accumulator SET admissions = 'x' WHERE admissions = 0",
    "UPDATE balance_snapshot_slot SET sequence = 'x'",
    "UPDATE undoing SET entry_no = entry_no + 0.5",
)


@pytest.mark.parametrize("sql", STRANGE)
def test_what_is_no_number_is_named(
    sqlite_books: tuple[Path, Numbers], tmp_path: Path, sql: str
) -> None:
    template, numbers = sqlite_books
    path = tmp_path / "strange.db"
    shutil.copyfile(template, path)
    connection = sqlite3.connect(path)
    with connection:
        words = {"cash": numbers.cash, "settled": numbers.settled, "slot": numbers.slot}
        assert connection.execute(sql.format_map(words)).rowcount > 0
    connection.close()
    verified = asyncio.run(verify(f"sqlite:///{path}", "", Wish(), lambda _done, _total: None))
    assert verified.findings.differences[0].table in sql
