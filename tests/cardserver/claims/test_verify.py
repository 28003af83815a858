"""`cardserver verify-ledger`: a row changed by hand is found and named, on both databases."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec import json

from cardserver.registry.history_store import audit
from cardserver.registry.values import Actor
from ledger.bulk_store import Row
from ledger.database_store import Database
from ledger.sealing import as_sealed, seal
from tests.cardserver.claims.books import Books

Document = dict[str, Any]


def verify(books: Books, *more: str) -> tuple[int, Document]:
    status, printed = books.command("verify-ledger", "--json", *more)
    document: Document = json.decode(printed)
    assert document["is_as_written"] is (status == 0)
    return status, document


def named(document: Document) -> list[str]:
    return [f"{one['table']} {one['key']}" for one in document["differences"]]


def test_a_ledger_as_it_was_written_is_called_that(books: Books) -> None:
    status, document = verify(books)
    assert (status, document["differences"]) == (0, [])
    assert document["rows"]["claim"] == 8
    assert document["rows"]["request"] == 12
    assert document["rows"]["entry"] == 10
    status, printed = books.command("verify-ledger")
    assert status == 0
    assert "as written" in printed
    assert "rows/s" in printed


def test_several_processes_find_the_same(books: Books) -> None:
    assert verify(books, "--jobs", "2")[0] == 0
    books.query("UPDATE claim SET operator_no = operator_no + 1 WHERE undoes IS NOT NULL")
    status, document = verify(books, "--jobs", "2")
    alone = verify(books)[1]
    assert status == 1
    assert document["differences"] == alone["differences"]
    assert document["rows"] == alone["rows"]


# What a hand does, and the row that must be named. `{name}` are the entries of `Numbers`.
CHANGES = [
    # entries
    ("UPDATE entry SET person_no = 2 WHERE entry_no = {settled}", "entry entry_no={settled}"),
    ("UPDATE entry SET kind = 3 WHERE entry_no = {settled}", "entry entry_no={settled}"),
    ("UPDATE entry SET period = 202610 WHERE entry_no = {settled}", "entry entry_no={settled}"),
    (
        "UPDATE entry SET business_date = 20261120 WHERE entry_no = {settled}",
        "entry entry_no={settled}",
    ),
    ("UPDATE entry SET institution_no = 2 WHERE entry_no = {cash}", "entry entry_no={cash}"),
    ("UPDATE entry SET clearing_type = 41 WHERE entry_no = {cash}", "entry entry_no={cash}"),
    ("UPDATE entry SET undoes = {later} WHERE entry_no = {cancel}", "entry entry_no={cancel}"),
    (
        "UPDATE entry SET recorded_time_ms = recorded_time_ms - 1 WHERE entry_no = {settled}",
        "entry entry_no={settled}",
    ),
    ("DELETE FROM entry WHERE entry_no = {settled}", "entry entry_no={settled}"),
    ("DELETE FROM entry WHERE entry_no = {cash}", "entry entry_no={cash}"),
    (
        (
            "INSERT INTO entry SELECT entry_no + 1099511627776, person_no, kind, period,"
            " business_date, institution_no, clearing_type, undoes, recorded_time_ms FROM entry"
            " WHERE entry_no = {settled}"
        ),
        "entry entry_no={beyond}",
    ),
    # postings
    (
        "UPDATE posting SET amount_fen = amount_fen + 1 WHERE entry_no = {settled} AND line = 1",
        "posting entry_no={settled} line=1",
    ),
    (
        "UPDATE posting SET account = 5020 WHERE entry_no = {settled} AND line = 1",
        "posting entry_no={settled} line=1",
    ),
    (
        "UPDATE posting SET owner = 2 WHERE entry_no = {settled} AND account = 2030",
        "posting entry_no={settled} line=2",
    ),
    (
        "DELETE FROM posting WHERE entry_no = {settled} AND line = 3",
        "posting entry_no={settled} line=3",
    ),
    (
        "INSERT INTO posting VALUES ({settled}, 9, 2030, 1, -5)",
        "posting entry_no={settled} line=9",
    ),
    (
        "INSERT INTO posting VALUES ({beyond}, 1, 2030, 1, -5)",
        "posting entry_no={beyond} line=1",
    ),
    # claims
    *(
        (f"UPDATE claim SET {column} WHERE entry_no = {{settled}}", "claim entry_no={settled}")
        for column in (
            "person_no = 2",
            "institution_no = 2",
            "terminal_no = 2",
            "operator_no = 8",
            "type = 22",
            "insutype = '390'",
            "med_type = '41'",
            "business_date = 20261120",
            "care_date = 20261120",
            "total_fen = total_fen + 1",
            "fund_pay_fen = fund_pay_fen - 1",
            "account_pay_fen = 0",
            "mutual_aid_fen = 7",
            "cash_fen = cash_fen + 1",
            "policy = 'another@2026#0'",
            "card_no = 20",
            "proof = 1",
            "exception = 'reader-broken'",
            "list_version = 9",
            "msgid = 'H11010100001202611210000009999'",
        )
    ),
    ("DELETE FROM claim WHERE entry_no = {settled}", "claim entry_no={settled}"),
    ("UPDATE claim SET undoes = {later} WHERE entry_no = {cancel}", "claim entry_no={cancel}"),
    # stored outcomes
    *(
        (f"UPDATE request SET {column} WHERE entry_no = {{settled}}", "request month=202611")
        for column in (
            "type = 22",
            "code = 504",
            "entry_no = {later}",
            "business_date = 20261120",
            "recorded_time_ms = 5",
            "seal_no = seal_no + 1",
        )
    ),
    ("UPDATE request SET body = NULL WHERE entry_no = {settled}", "request month=202611"),
    ("UPDATE request SET month = 202610 WHERE entry_no = {settled}", "request month=202610"),
    ("UPDATE request SET msgid = '9' WHERE entry_no = {settled}", "request month=202611"),
    ("DELETE FROM request WHERE entry_no = {settled}", "request institution_no=1 terminal_no=1"),
    ("DELETE FROM request WHERE type = 0", "request of seal slot={slot}"),
    ("UPDATE request SET code = 0 WHERE entry_no IS NULL AND code <> 0", "request month=202611"),
    # what is kept beside
    (
        "UPDATE account_balance SET balance_fen = balance_fen + 1 WHERE owner = 1",
        "account_balance owner=1 account=2030",
    ),
    ("DELETE FROM account_balance WHERE owner = 2", "account_balance owner=2 account=2030"),
    ("INSERT INTO account_balance VALUES (77, 2030, 5)", "account_balance owner=77 account=2030"),
    (
        "UPDATE accumulator SET pool_fen = pool_fen - 1 WHERE person_no = 1",
        "accumulator person_no=1 year=2026 insutype=310 scheme=outpatient",
    ),
    ("DELETE FROM accumulator WHERE person_no = 2", "accumulator person_no=2"),
    (
        "INSERT INTO accumulator VALUES (9, 2026, '310', 'inpatient', 1, 1, 1, 1, 1)",
        "accumulator person_no=9",
    ),
    (
        "UPDATE opening_accumulator SET deductible_fen = deductible_fen + 1",
        "accumulator person_no=1",
    ),
    (
        "DELETE FROM opening_accumulator WHERE person_no = 1",
        "opening_accumulator all rows",
    ),
    (
        "UPDATE period_total SET debit_fen = debit_fen + 1 WHERE account = 5010",
        "period_total slot=",
    ),
    ("UPDATE period_total SET count = count + 1 WHERE account = 2010", "period_total slot="),
    ("UPDATE period_total SET kind = 5 WHERE account = 2010 AND kind = 2", "period_total slot="),
    ("DELETE FROM period_total WHERE account = 5010", "period_total slot="),
    (
        "UPDATE balance_snapshot SET balance_fen = balance_fen - 1 WHERE account = 2030",
        "balance_snapshot period=202611 account=2030 owner=1",
    ),
    ("DELETE FROM balance_snapshot WHERE account = 2010", "balance_snapshot period=202611"),
    ("DELETE FROM undoing WHERE entry_no = {cancel}", "undoing undoes={undone}"),
    ("UPDATE undoing SET undoes = {cash} WHERE undoes = {undone}", "undoing undoes={undone}"),
    ("INSERT INTO undoing VALUES ({cash}, {cancel})", "undoing undoes={cash}"),
    (
        "UPDATE balance_snapshot_slot SET sequence = 99",
        "balance_snapshot_slot period=202611 slot={slot}",
    ),
    ("UPDATE period SET is_closed = 0", "period period=202611"),
    ("DELETE FROM period", "period period=202611"),
    # the chain itself
    (
        "UPDATE seal SET last_sequence = 99 WHERE last_sequence = {settled_sequence}",
        "seal slot={slot} last_sequence={settled_sequence}",
    ),
    (
        (
            "UPDATE seal SET first_sequence = first_sequence - 1"
            " WHERE last_sequence = {settled_sequence}"
        ),
        "seal slot={slot} last_sequence={settled_sequence}",
    ),
    (
        "DELETE FROM seal WHERE last_sequence = {settled_sequence}",
        "seal slot={slot} last_sequence={settled_sequence}",
    ),
    ("DELETE FROM seal WHERE last_sequence > {settled_sequence}", "writer_slot slot={slot}"),
    ("INSERT INTO seal VALUES ({slot}, 999, 999, '', '')", "writer_slot slot={slot}"),
    ("INSERT INTO seal VALUES (77, 1, 1, '', '')", "writer_slot slot=77"),
    (
        "UPDATE writer_slot SET sequence = sequence - 1 WHERE slot = {slot}",
        "writer_slot slot={slot}",
    ),
    (
        "UPDATE writer_slot SET sequence = sequence + 1 WHERE slot = {slot}",
        "writer_slot slot={slot}",
    ),
    ("DELETE FROM writer_slot WHERE slot = {slot}", "writer_slot slot={slot}"),
]


@pytest.mark.parametrize(("sql", "row"), CHANGES)
def test_a_row_changed_by_hand_is_found_and_named(books: Books, sql: str, row: str) -> None:
    numbers = books.numbers
    words = {
        "settled": numbers.settled, "cash": numbers.cash, "cancel": numbers.cancel,
        "later": numbers.later, "undone": numbers.undone, "slot": numbers.slot,
        "beyond": numbers.settled + (1 << 40),
        "settled_sequence": numbers.sequence(numbers.settled),
    }  # fmt: skip
    before = books.query("SELECT count(*) FROM claim")
    assert before == [(8,)]
    books.query(sql.format_map(words))
    status, document = verify(books)
    assert status == 1, sql
    wanted = row.format_map(words)
    assert any(one.startswith(wanted) for one in named(document)), named(document)
    assert document["difference_count"] >= len(document["differences"]) > 0


@pytest.mark.parametrize(
    ("table", "column", "where"),
    [
        ("claim", "detail", "entry_no = {settled}"),
        ("request", "body", "entry_no = {settled}"),
        ("request", "request_hash", "entry_no = {settled}"),
        ("request", "body", "entry_no = {cancel}"),
        ("request", "body", "entry_no IS NULL AND code <> 0 AND type <> 0"),
        ("seal", "digest", "last_sequence = {settled_sequence}"),
        ("seal", "checks", "last_sequence = {settled_sequence}"),
        ("writer_slot", "chain_head", "slot = {slot}"),
    ],
)
def test_a_byte_changed_by_hand_is_found_and_named(
    books: Books, table: str, column: str, where: str
) -> None:
    numbers = books.numbers
    where = where.format(
        settled=numbers.settled, cancel=numbers.cancel, slot=numbers.slot,
        settled_sequence=numbers.sequence(numbers.settled),
    )  # fmt: skip
    ((value,),) = books.query(f"SELECT {column} FROM {table} WHERE {where}")
    changed = bytes([*value[:-1], value[-1] ^ 1])
    books.query(f"UPDATE {table} SET {column} = $1 WHERE {where}", (changed,))
    status, document = verify(books)
    assert status == 1
    assert any(one.startswith(f"{table} ") for one in named(document)), named(document)


def test_an_amount_changed_everywhere_is_found_by_the_seal_and_the_row_is_named(
    books: Books,
) -> None:
    """Money is moved from one person's account to another's, in every place that says so."""
    numbers = books.numbers
    for sql in (
        "UPDATE posting SET owner = 2 WHERE owner = 1 AND account = 2030 AND entry_no = {later}",
        (
            "UPDATE account_balance SET balance_fen = balance_fen + (SELECT amount_fen FROM posting"
            " WHERE entry_no = {later} AND account = 2030) WHERE owner = 1"
        ),
        (
            "UPDATE account_balance SET balance_fen = balance_fen - (SELECT amount_fen FROM posting"
            " WHERE entry_no = {later} AND account = 2030) WHERE owner = 2"
        ),
    ):
        books.query(sql.format(later=numbers.later))
    status, document = verify(books)
    assert status == 1
    assert set(named(document)) == {f"posting entry_no={numbers.later} line=2"}
    assert document["differences"][0]["what"] == "row as sealed"


def test_the_first_row_that_differs_comes_first(books: Books) -> None:
    books.query("UPDATE claim SET operator_no = 5")
    status, document = verify(books)
    assert status == 1
    assert document["difference_count"] == 8
    assert named(document) == sorted(named(document))
    _, printed = books.command("verify-ledger")
    first = named(document)[0]
    assert f"first row that differs 首条不一致：{first}" in printed
    assert "8 differences" in printed


def test_earlier_periods_can_be_left_out(books: Books) -> None:
    books.query(f"UPDATE claim SET operator_no = 5 WHERE entry_no = {books.numbers.settled}")
    assert verify(books)[0] == 1
    status, document = verify(books, "--from-period", "202612")
    assert status == 0, document
    assert document["rows"]["claim"] == 1
    books.query(f"UPDATE claim SET operator_no = 5 WHERE entry_no = {books.numbers.later}")
    assert verify(books, "--from-period", "202612")[0] == 1


# --- digests kept elsewhere --------------------------------------------------------------------


def allow_audit_changes(books: Books) -> None:
    """Do what an insider with the database's password can: take its guard away."""
    if books.url.startswith("sqlite"):
        for verb in ("update", "delete"):
            books.query(f"DROP TRIGGER audit_no_{verb}")
    else:
        books.query("ALTER TABLE audit DISABLE TRIGGER audit_append_only")


def recompute_chains(books: Books) -> None:
    """Do what an insider with the database's password can: make every seal anew."""
    tables: dict[str, list[Row]] = {
        "entry": books.query("SELECT * FROM entry ORDER BY entry_no"),
        "posting": books.query("SELECT * FROM posting ORDER BY entry_no, line"),
        "claim": books.query("SELECT * FROM claim ORDER BY entry_no"),
        "request": books.query("SELECT * FROM request"),
        "audit": books.query("SELECT * FROM audit ORDER BY seal_no, line"),
    }
    tables["request"].sort(key=lambda row: row[:4])
    heads: dict[int, bytes] = {}
    for slot, first, last in books.query(
        "SELECT slot, first_sequence, last_sequence FROM seal ORDER BY slot, last_sequence"
    ):
        numbers = range((slot << 40) + first, (slot << 40) + last + 1)
        rows = {
            table: [row for row in all_rows if row[-1 if table == "request" else 0] in numbers]
            for table, all_rows in tables.items()
        }
        covered = dict(as_sealed(table, found) for table, found in rows.items() if found)
        heads[slot], checks = seal(heads.get(slot, bytes(32)), covered)
        books.query(
            f"UPDATE seal SET digest = $1, checks = $2 WHERE slot = {slot}"
            f" AND last_sequence = {last}",
            (heads[slot], checks),
        )
    for slot, head in heads.items():
        books.query(f"UPDATE writer_slot SET chain_head = $1 WHERE slot = {slot}", (head,))


@pytest.fixture
def digest_file(books: Books, tmp_path: Path) -> Path:
    """A digest of the ledger as it is, and `digest.pub` beside it."""
    public_key = tmp_path / "digest.pub"
    assert books.command("digest key create", "--public-key", str(public_key))[0] == 0
    out = tmp_path / "digest.json"
    status, printed = books.command("digest", "--out", str(out))
    assert status == 0, printed
    return out


def with_digest(digest_file: Path) -> tuple[str, ...]:
    public_key = digest_file.with_name("digest.pub")
    return ("--digest", str(digest_file), "--public-key", str(public_key))


def test_a_chain_that_an_insider_recomputed_is_found_by_the_digest(
    books: Books, digest_file: Path
) -> None:
    assert verify(books, *with_digest(digest_file))[0] == 0
    books.query(f"UPDATE claim SET operator_no = 5 WHERE entry_no = {books.numbers.settled}")
    assert verify(books)[0] == 1
    recompute_chains(books)
    status, document = verify(books)
    assert status == 0, document  # the chain alone can't tell
    status, document = verify(books, *with_digest(digest_file))
    assert status == 1
    assert named(document)[0].startswith(f"seal slot={books.numbers.slot} last_sequence=")
    assert "digest of" in document["differences"][0]["what"]


def test_a_ledger_cut_short_is_found_by_the_digest(books: Books, digest_file: Path) -> None:
    later = books.numbers.later  # in the next month's slot
    slot, last = later >> 40, later & (2**40 - 1)
    before = books.query(
        f"SELECT last_sequence, digest FROM seal WHERE slot = {slot} AND last_sequence < {last}"
        " ORDER BY last_sequence DESC LIMIT 1"
    )
    head = before[0][1] if before else bytes(32)
    ((person_no, pool_fen),) = books.query(
        f"SELECT person_no, account_pay_fen FROM claim WHERE entry_no = {later}"
    )
    assert pool_fen
    books.query(f"DELETE FROM seal WHERE slot = {slot} AND last_sequence = {last}")
    books.query(
        f"UPDATE writer_slot SET sequence = sequence - 1, chain_head = $1 WHERE slot = {slot}",
        (head,),
    )
    allow_audit_changes(books)
    books.query(f"DELETE FROM audit WHERE seal_no = {(slot << 40) + last}")
    for table in ("request", "claim", "posting", "entry"):
        books.query(f"DELETE FROM {table} WHERE entry_no = {later}")
    books.query("DELETE FROM period_total WHERE period = 202612")
    books.query(
        f"UPDATE account_balance SET balance_fen = balance_fen + {pool_fen}"
        f" WHERE owner = {person_no}"
    )
    assert named(verify(books)[1]) in (
        [], [f"accumulator person_no={person_no} year=2026 insutype=310 scheme=outpatient"],
    )  # fmt: skip
    status, document = verify(books, *with_digest(digest_file))
    assert status == 1
    assert f"seal slot={slot} last_sequence={last}" in named(document)


def test_a_digest_of_a_day_that_ended_holds_when_more_is_posted(
    books: Books, tmp_path: Path
) -> None:
    public_key, out = tmp_path / "digest.pub", tmp_path / "day.json"
    books.command("digest key create", "--public-key", str(public_key))
    # The ledger's own time is made up, and may not have come yet: move it back by ten years.
    for table, column in (("entry", "business_date"), ("period_total", "business_date")):
        books.query(f"UPDATE {table} SET {column} = {column} - 100000")
    status, printed = books.command("digest", "--out", str(out), "--day", "2016-11-21")
    assert status == 0, printed
    digest = json.decode(out.read_bytes().splitlines()[0])
    assert digest["is_ended"] is True
    ends = {slot["slot"]: slot["sequence"] for slot in digest["slots"]}
    numbers = books.numbers
    ((last,),) = books.query("SELECT max(entry_no) FROM entry WHERE business_date <= 20161121")
    assert ends[numbers.slot] >= numbers.sequence(last)
    assert numbers.later >> 40 not in ends  # nothing but a later day's entry is in its slot
    debit = sum(account["debit_fen"] for account in digest["totals"])
    assert debit == sum(account["credit_fen"] for account in digest["totals"]) > 0
    assert not any(
        "digest of" in one["what"] or "totals until" in one["what"]
        for one in verify(books, "--digest", str(out), "--public-key", str(public_key))[1][
            "differences"
        ]
    )
    books.query("UPDATE period_total SET debit_fen = debit_fen + 1 WHERE account = 5010")
    found = verify(books, "--digest", str(out), "--public-key", str(public_key))[1]["differences"]
    assert any("totals until 20161121" in one["what"] for one in found)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE request SET code = 0 WHERE type = 0",
        "UPDATE audit SET detail = 'nothing of note' WHERE action = 'noted by hand'",
    ],
)
def test_what_was_sealed_without_an_entry_is_held_by_a_digest_of_an_ended_day(
    books: Books, tmp_path: Path, change: str
) -> None:
    """Tombstones, refusals and the audit of a slot that has no entry after them, or none at all."""
    public_key, out = tmp_path / "digest.pub", tmp_path / "day.json"
    books.command("digest key create", "--public-key", str(public_key))

    async def note() -> None:
        database = Database.open(books.url)
        await database.start()
        await database.execute(audit(Actor("test", 0), "noted by hand", "test", "of some note"))
        await database.close()

    asyncio.run(note())
    for table in ("entry", "period_total"):  # the ledger's own time is made up
        books.query(f"UPDATE {table} SET business_date = business_date - 100000")
    recompute_chains(books)
    status, printed = books.command("digest", "--out", str(out), "--day", "2016-12-31")
    assert status == 0, printed

    def differing() -> list[str]:
        document = verify(books, "--digest", str(out), "--public-key", str(public_key))[1]
        return [one["table"] for one in document["differences"] if "digest of" in one["what"]]

    assert differing() == []
    if "audit" in change:
        allow_audit_changes(books)
    books.query(change)
    recompute_chains(books)
    assert differing() == ["seal"]


def test_a_digest_that_was_changed_or_is_another_keys_is_refused(
    books: Books, digest_file: Path, tmp_path: Path
) -> None:
    content = digest_file.read_bytes()
    digest_file.write_bytes(content.replace(b'"sequence":', b'"sequence": ', 1))
    status, printed = books.command("verify-ledger", *with_digest(digest_file))
    assert status == 1
    assert "is not as it was signed" in printed
    digest_file.write_bytes(content)
    other = tmp_path / "other"
    other.mkdir()
    (books.config_file.parent / "digest.key").unlink()
    books.command("digest key create", "--public-key", str(other / "digest.pub"))
    status, printed = books.command(
        "verify-ledger", "--digest", str(digest_file), "--public-key", str(other / "digest.pub")
    )
    assert status == 1
    assert "another key" in printed
    status, printed = books.command("digest", "--out", str(digest_file))
    assert status == 1
    assert "exists" in printed
