"""Parts by month, and stored replies that expire, through a counter on both databases."""

import datetime as dt

import pytest
from msgspec import msgpack
from sqlalchemy import text

from cardserver.claims.accumulators_store import open_accumulators
from cardserver.claims.claims_store import find_status
from cardserver.claims.values import request_key
from cardserver.storage.expiry_store import KEPT_MS, expire_replies
from cardserver.storage.parts_store import make_parts_ahead, read_parts
from cardserver.storage.sizes_store import read_sizes
from cardserver.verification import Wish, verify
from ledger.bulk_store import plain
from ledger.database_store import Database
from ledger.entries import Draft, EntryKind, entry_number
from ledger.ledger_store import GroupTime, PostedEntry, lease_slot, release_slot, write_entries
from ledger.months import numbers_of, slots_of
from ledger.period_store import close_period
from ledger.scripts import Script
from ledger.sealing import seal
from ledger.store_errors import ConstraintError
from protocol.terminal import messages
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import StatusState
from tests.cardserver.claims.books import Books
from tests.cardserver.claims.fund import HOSPITAL, PERSON, SHANGHAI, Counter, bill

DECEMBER = int(dt.datetime(2026, 12, 3, 9, tzinfo=SHANGHAI).timestamp() * 1000)


async def query(database: Database, sql: str) -> list[tuple[object, ...]]:
    return await database.fetch(plain("test", postgresql=sql, sqlite=sql)())


async def differences(database: Database) -> list[str]:
    found = await verify(database.url, "", Wish(), lambda _done, _of: None)
    return [str(one) for one in found.findings.differences]


async def close_november(counter: Counter) -> None:
    counter.clock.ms = DECEMBER
    assert await counter.database.transact(lambda: close_period(202611, clock=counter.clock))


# --- numbers and parts by month ----------------------------------------------------------------


async def test_a_new_month_has_slots_and_a_part_of_its_own(counter: Counter) -> None:
    database = counter.database
    await make_parts_ahead(database, month=202611, count=2)
    november = await counter.settle(bill(("A1", 30_000)))
    counter.clock.ms = DECEMBER
    december = await counter.settle(bill(("A1", 40_000)))
    cancel = await counter.cancel(str(november.entry_no))
    for month, outcome in ((202611, november), (202612, december), (202612, cancel)):
        assert outcome.entry_no is not None
        first, end = numbers_of(month)
        assert first <= outcome.entry_no < end
        assert outcome.entry_no >> 40 in slots_of(month)
    assert await differences(database) == []
    if database.dialect == "postgresql":
        rows = await query(database, "SELECT entry_no FROM claim_202612 ORDER BY entry_no")
        assert rows == [(december.entry_no,), (cancel.entry_no,)]
        # The slot of the opening is of the month by universal time, as the counter's.
        assert await query(database, "SELECT count(*) FROM entry_other") == [(0,)]


async def test_an_entry_is_undone_once_in_whatever_month(counter: Counter) -> None:
    settled = await counter.settle(bill(("A1", 30_000)))
    assert (await counter.cancel(str(settled.entry_no))).code == ResponseCode.APPROVED
    counter.clock.ms = DECEMBER
    again = await counter.cancel(str(settled.entry_no))
    assert again.code == ResponseCode.ALREADY_UNDONE

    def undo_all_the_same() -> Script[None]:
        slot = yield from lease_slot("t", now_ms=DECEMBER, lease_until_ms=0, month=202612)
        draft = Draft(kind=EntryKind.CANCELLATION, postings=(), undoes=settled.entry_no)
        number = entry_number(slot=slot.slot, sequence=slot.sequence + 1)
        when = GroupTime(20261203, 202612, DECEMBER)
        slot = yield from write_entries(slot, [PostedEntry(number, draft)], when, lease_until_ms=0)
        yield from release_slot(slot)

    with pytest.raises(ConstraintError):
        await counter.database.transact(undo_all_the_same)


async def test_what_came_before_its_part_is_moved_into_it(counter: Counter) -> None:
    database = counter.database
    if database.dialect == "sqlite":
        assert await make_parts_ahead(database, month=202905) == []
        assert await read_parts(database) == []
        return
    counter.clock.ms = int(dt.datetime(2029, 5, 7, 9, tzinfo=SHANGHAI).timestamp() * 1000)
    settled = await counter.settle(bill(("X", 30_000)))
    try:
        assert await query(database, "SELECT entry_no FROM claim_other") == [(settled.entry_no,)]
        made = await make_parts_ahead(database, month=202905, count=1)
        assert made == ["claim_202905", "entry_202905", "posting_202905", "request_202905"]
        assert await make_parts_ahead(database, month=202905, count=1) == []
        assert await query(database, "SELECT entry_no FROM claim_other") == []
        assert await query(database, "SELECT entry_no FROM claim_202905") == [(settled.entry_no,)]
        assert {part.name for part in await read_parts(database)} >= set(made)
        assert await differences(database) == []
    finally:
        for table in ("claim", "entry", "posting", "request"):
            await query_away(database, f"DROP TABLE IF EXISTS {table}_202905")


async def query_away(database: Database, sql: str) -> None:
    await database.administer(lambda connection: connection.execute(text(sql)))


async def test_sizes_are_told_by_table(counter: Counter) -> None:
    await counter.settle(bill(("A1", 30_000)))
    await query_away(counter.database, "ANALYZE")
    sizes = {one.table: one for one in await read_sizes(counter.database)}
    assert sizes["claim"].rows == 1
    assert sizes["claim"].indexes.keys() >= {"claim_person", "claim_undoes"}
    assert sizes["claim"].whole >= sizes["claim"].size > 0


# --- replies that expire -----------------------------------------------------------------------


async def test_a_reply_expires_two_months_after_its_month_was_closed(counter: Counter) -> None:
    database = counter.database
    await make_parts_ahead(database, month=202611, count=2)
    msgid, request = counter.msgid(), bill(("A1", 300_000))
    settled = await counter.settle(request, msgid=msgid)
    undone = await counter.settle(bill(("A1", 30_000)))
    await counter.cancel(str(undone.entry_no))
    await counter.reverse(counter.msgid())  # leaves a tombstone
    await counter.print_ack(str(settled.entry_no))
    await close_november(counter)
    late = await counter.settle(bill(("A1", 40_000)))
    before = await expire_replies(database, now_ms=DECEMBER + KEPT_MS - 1)
    assert (before.until, before.replies) == (0, 0)

    done = await expire_replies(database, now_ms=DECEMBER + KEPT_MS)
    assert (done.until, done.replies, done.waiting) == (20261131, 3, ())
    again = await expire_replies(database, now_ms=DECEMBER + KEPT_MS)
    assert again.replies == 0
    assert await differences(database) == []

    key = request_key(HOSPITAL, HOSPITAL, msgid)
    status = await find_status(database, key)
    assert (status.state, status.entry_no) == (StatusState.SETTLED, settled.entry_no)
    assert status.body == b""
    split = msgpack.decode(settled.body, type=messages.Settled).split
    repeated = await counter.settle(
        request,
        msgid=msgid,
        shown=(split.fund_pay_fen, split.account_pay_fen, split.cash_fen),
    )
    assert repeated.is_duplicate
    assert (repeated.code, repeated.entry_no) == (ResponseCode.APPROVED, settled.entry_no)
    assert repeated.body == b""
    # December's is kept, and says what it said.
    assert msgpack.decode(late.body, type=messages.Settled).setl_id == str(late.entry_no)
    rows = await query(database, f"SELECT body FROM request WHERE entry_no = {late.entry_no}")
    assert rows == [(late.body,)]


async def test_what_is_left_of_a_reply_can_not_be_changed_unseen(counter: Counter) -> None:
    database = counter.database
    await make_parts_ahead(database, month=202611, count=2)
    settled = await counter.settle(bill(("A1", 300_000)))
    await close_november(counter)
    await expire_replies(database, now_ms=DECEMBER + KEPT_MS)
    ((body,),) = await query(
        database, f"SELECT body FROM request WHERE entry_no = {settled.entry_no}"
    )
    assert isinstance(body, bytes)
    other = body[:-1] + bytes([body[-1] ^ 1])
    change = plain(
        "hand",
        postgresql="UPDATE request SET body = $1 WHERE entry_no = $2",
        sqlite="UPDATE request SET body = ? WHERE entry_no = ?",
    )
    await database.execute(change([(other, settled.entry_no)]))
    (found,) = await differences(database)
    assert found.startswith("request month=202611 institution_no=1 terminal_no=1 msgid=")


async def test_replies_of_before_their_hashes_were_sealed_are_kept(counter: Counter) -> None:
    """A seal that knows the stored outcome whole needs the whole."""
    database = counter.database
    await make_parts_ahead(database, month=202611, count=2)
    settled = await counter.settle(bill(("A1", 300_000)))
    assert settled.entry_no is not None
    slot, sequence = settled.entry_no >> 40, settled.entry_no & (2**40 - 1)
    ((previous,),) = await query(
        database,
        f"SELECT digest FROM seal WHERE slot = {slot} AND last_sequence < {sequence}"
        " ORDER BY last_sequence DESC LIMIT 1",
    )
    assert isinstance(previous, bytes)
    rows = {
        table: await query(
            database, f"SELECT * FROM {table} WHERE {by} = {settled.entry_no} ORDER BY {order}"
        )
        for table, by, order in (
            ("audit", "seal_no", "line"), ("claim", "entry_no", "1"), ("entry", "entry_no", "1"),
            ("posting", "entry_no", "line"), ("request", "entry_no", "1"),
        )
    }  # fmt: skip
    digest, checks = seal(previous, rows)
    change = plain(
        "hand",
        postgresql=(
            "UPDATE seal SET digest = $1, checks = $2 WHERE slot = $3 AND last_sequence = $4"
        ),
        sqlite="UPDATE seal SET digest = ?, checks = ? WHERE slot = ? AND last_sequence = ?",
    )
    await database.execute(change([(digest, checks, slot, sequence)]))
    head = plain(
        "hand",
        postgresql="UPDATE writer_slot SET chain_head = $1 WHERE slot = $2",
        sqlite="UPDATE writer_slot SET chain_head = ? WHERE slot = ?",
    )
    await database.execute(head([(digest, slot)]))
    assert await differences(database) == []
    await close_november(counter)
    assert (await expire_replies(database, now_ms=DECEMBER + KEPT_MS)).replies == 0
    assert await differences(database) == []


async def test_what_was_taken_over_can_not_be_changed_unseen(counter: Counter) -> None:
    """Also where the accumulators are changed alike, so that they agree."""
    database = counter.database
    row = (PERSON, 2026, "310", "outpatient", 20_000, 30_000, 5_000, 0, 0)
    await database.transact(lambda: open_accumulators([row]))
    await counter.settle(bill(("A1", 300_000)))
    assert await differences(database) == []
    for table in ("opening_accumulator", "accumulator"):
        await query_away(database, f"UPDATE {table} SET pool_fen = pool_fen + 1")
    (found,) = await differences(database)
    assert found.startswith("opening_accumulator all rows: sum of the rows' hashes")


# --- by command --------------------------------------------------------------------------------


def test_the_commands_show_make_and_expire(books: Books) -> None:
    status, printed = books.command("storage show")
    assert status == 0
    assert "claim" in printed
    assert "MiB in all" in printed
    status, printed = books.command("storage parts", "--ahead", "2")
    assert status == 0
    assert ("request_other" in printed) is (books.dialect == "postgresql")
    # The books' November was closed in December 2026, which is not two months ago for ever.
    books.query("UPDATE period SET closed_time_ms = 1")
    status, printed = books.command("storage expire")
    assert status == 0
    assert "replies expired, of days until 20261131" in printed
    assert books.command("verify-ledger")[0] == 0
    status, printed = books.command("storage expire")
    assert status == 0
    assert "0 replies expired" in printed
