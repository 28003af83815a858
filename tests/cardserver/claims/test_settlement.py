"""Settlements and what may be done to them, through the writer, on both databases."""

import asyncio
import datetime as dt

import pytest
from msgspec import msgpack, structs

from cardserver.claims.claim_detail import decode_detail, encode_detail
from cardserver.claims.claims_store import (
    NOTE_STAGES,
    accumulators,
    find_status,
    stages_row,
)
from cardserver.claims.settlement import settle_work, split_message
from cardserver.claims.values import Presented, request_key
from cardserver.registry import tables as registry
from ledger.accounts import Account
from ledger.bulk_store import delete, insert, plain, update
from ledger.database_store import Database
from ledger.decisions import Answer, NotTaken
from ledger.ledger_store import balances
from ledger.trial_balance_store import trial_balance
from ledger.writer import find_outcome
from protocol.terminal import messages
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import MessageType, ReverseResult, StatusState
from tests.cardserver.claims.fund import (
    CHILD,
    COMMUNITY,
    DEAD,
    HOSPITAL,
    PAUSED,
    PERSON,
    PHARMACY,
    RETIRED,
    TODAY,
    Counter,
    bill,
)

SETTLED = msgpack.Decoder(messages.Settled)
PREVIEWED = msgpack.Decoder(messages.Previewed)
REVERSED = msgpack.Decoder(messages.Reversed)
PRINTED = msgpack.Decoder(messages.PrintAcked)

COUNT = {
    table: plain(f"count {table}", postgresql=f"SELECT count(*) FROM {table}",
                 sqlite=f"SELECT count(*) FROM {table}")
    for table in ("entry", "claim", "request", "audit", "posting", "request_stage", "print_ack")
}  # fmt: skip


async def count(database: Database, table: str) -> int:
    ((number,),) = await database.fetch(COUNT[table]())
    return int(number)


async def used_of(counter: Counter, person: int) -> tuple[int, ...]:
    found = (await accumulators(counter.database, [person], 2026))[person]
    return tuple(structs.astuple(found[0][1])) if found else (0, 0, 0, 0, 0)


async def assert_equal_books(counter: Counter) -> None:
    balance = await counter.database.report(trial_balance)
    assert balance.is_equal
    assert not balance.differences


async def test_a_settlement_posts_what_was_shown(counter: Counter) -> None:
    outcome = await counter.settle(bill(("A1", 300_000)))
    settled = SETTLED.decode(outcome.body)
    assert outcome.code == ResponseCode.APPROVED
    assert outcome.business_date == TODAY
    assert settled.setl_id == str(outcome.entry_no)
    # Beijing, active, hospital: (3000 - 1800) x 70 %.
    assert settled.split.fund_pay_fen == 84_000
    assert settled.split.account_pay_fen == 100_000
    assert settled.balance_after_fen == 0
    assert await balances(counter.database, [PERSON]) == {PERSON: 0}
    assert await used_of(counter, PERSON) == (180_000, 300_000, 84_000, 0, 0)
    await assert_equal_books(counter)
    totals = (await counter.database.report(trial_balance)).by_account
    assert totals[Account.POOL_BENEFIT].balance_fen == 84_000
    assert totals[Account.INSTITUTION_PAYABLE].balance_fen == -184_000


async def test_stage_times_add_up(counter: Counter) -> None:
    outcome = await counter.settle(bill(("A1", 100)))
    assert [stage for stage, _ in outcome.stages] == [
        "commit_wait", "lookup", "adjudication", "commit",
    ]  # fmt: skip
    assert all(time >= 0 for _, time in outcome.stages)
    assert sum(time for _, time in outcome.stages) > 0


async def test_the_same_again_repeats_the_reply_and_posts_once(counter: Counter) -> None:
    msgid = counter.msgid()
    first = await counter.settle(bill(("A1", 5_000)), shown=(0, 5_000, 0), msgid=msgid)
    second = await counter.settle(bill(("A1", 5_000)), shown=(0, 5_000, 0), msgid=msgid)
    assert (first.is_duplicate, second.is_duplicate) == (False, True)
    assert first.body == second.body
    assert first.entry_no == second.entry_no
    assert await count(counter.database, "claim") == 1


async def test_duplicates_within_a_group_fold(counter: Counter) -> None:
    msgid = counter.msgid()
    outcomes = await asyncio.gather(
        *(counter.settle(bill(("A1", 5_000)), shown=(0, 5_000, 0), msgid=msgid) for _ in range(5))
    )
    assert sorted(outcome.is_duplicate for outcome in outcomes) == [False, True, True, True, True]
    assert len({outcome.body for outcome in outcomes}) == 1
    assert await count(counter.database, "entry") == 3  # and two opening balances


async def test_other_content_under_the_same_msgid_changes_nothing(counter: Counter) -> None:
    msgid = counter.msgid()
    await counter.settle(bill(("A1", 5_000)), shown=(0, 5_000, 0), msgid=msgid)
    body = messages.Settle(bill(("A1", 6_000)), 0, 6_000, 0)
    attempt = counter.attempt(MessageType.SETTLE, body, msgid)
    work = settle_work(attempt, body, Presented(PERSON, 10, 2), counter.rules, today=TODAY)
    assert await counter.writer.submit(work) is NotTaken.MSGID_REUSED
    key = request_key(HOSPITAL, HOSPITAL, msgid)
    found = await find_outcome(
        counter.database, key, message_type=MessageType.SETTLE, request_hash=bytes(32)
    )
    assert found is NotTaken.MSGID_REUSED
    assert await balances(counter.database, [PERSON]) == {PERSON: 95_000}


async def test_a_split_that_changed_is_refused_with_the_new_one(counter: Counter) -> None:
    outcome = await counter.settle(bill(("A1", 5_000)), shown=(0, 4_999, 1))
    assert outcome.code == ResponseCode.SPLIT_CHANGED
    assert PREVIEWED.decode(outcome.body).split.account_pay_fen == 5_000
    assert await count(counter.database, "claim") == 0
    assert await balances(counter.database, [PERSON]) == {PERSON: 100_000}


async def test_a_bill_of_cash_alone_has_a_claim_and_an_empty_entry(counter: Counter) -> None:
    outcome = await counter.settle(bill(("X", 700), uses_account=False))
    assert SETTLED.decode(outcome.body).split.cash_fen == 700
    assert await count(counter.database, "claim") == 1
    assert await count(counter.database, "posting") == 4  # those of two opening balances
    cancelled = await counter.cancel(str(outcome.entry_no))
    assert SETTLED.decode(cancelled.body).split.cash_fen == -700


async def test_one_person_twice_in_a_group_sees_the_first(counter: Counter) -> None:
    one, two = await asyncio.gather(
        counter.settle(bill(("A1", 60_000)), shown=(0, 60_000, 0)),
        counter.settle(bill(("A1", 60_000)), shown=(0, 60_000, 0)),
    )
    assert one.code == ResponseCode.APPROVED
    assert two.code == ResponseCode.SPLIT_CHANGED
    assert PREVIEWED.decode(two.body).split.account_pay_fen == 40_000


async def test_a_cancel_is_the_exact_negative_and_gives_everything_back(counter: Counter) -> None:
    settled = SETTLED.decode((await counter.settle(bill(("A1", 300_000), ("B1", 999)))).body)
    outcome = await counter.cancel(settled.setl_id)
    undone = SETTLED.decode(outcome.body)
    assert undone.cancels == settled.setl_id
    assert undone.balance_after_fen == 100_000
    for field in structs.fields(messages.Split):
        if field.name != "layers":
            assert getattr(undone.split, field.name) == -getattr(settled.split, field.name)
    assert await used_of(counter, PERSON) == (0, 0, 0, 0, 0)
    await assert_equal_books(counter)
    totals = (await counter.database.report(trial_balance)).by_account
    assert totals[Account.INSTITUTION_PAYABLE].balance_fen == 0
    again = await counter.cancel(settled.setl_id)
    assert again.code == ResponseCode.ALREADY_UNDONE
    undo_the_undo = await counter.cancel(undone.setl_id)
    assert undo_the_undo.code == ResponseCode.ORIGINAL_NOT_SETTLED


@pytest.mark.parametrize("setl_id", ["", "0", "999", "-1", "1e3", "9" * 19, "x"])
async def test_a_cancel_of_nothing_is_refused(counter: Counter, setl_id: str) -> None:
    assert (await counter.cancel(setl_id)).code == ResponseCode.ORIGINAL_NOT_FOUND


async def test_another_institution_sees_no_claim(counter: Counter) -> None:
    settled = SETTLED.decode((await counter.settle(bill(("A1", 500)))).body)
    assert (await counter.cancel(settled.setl_id, place=2)).code == ResponseCode.ORIGINAL_NOT_FOUND
    assert (await counter.print_ack(settled.setl_id, place=2)).code == (
        ResponseCode.ORIGINAL_NOT_FOUND
    )


async def test_two_cancels_at_once_undo_once(counter: Counter) -> None:
    settled = SETTLED.decode((await counter.settle(bill(("A1", 500)))).body)
    outcomes = await asyncio.gather(*(counter.cancel(settled.setl_id) for _ in range(4)))
    assert sorted(outcome.code for outcome in outcomes) == [0, 603, 603, 603]
    assert await balances(counter.database, [PERSON]) == {PERSON: 100_000}


async def test_a_reversal_undoes(counter: Counter) -> None:
    msgid = counter.msgid()
    settled = SETTLED.decode((await counter.settle(bill(("A1", 500)), msgid=msgid)).body)
    found = REVERSED.decode((await counter.reverse(msgid)).body)
    assert found.result is ReverseResult.REVERSED
    assert found.setl_id == settled.setl_id
    assert found.balance_after_fen == 100_000
    again = REVERSED.decode((await counter.reverse(msgid)).body)
    assert again.result is ReverseResult.ALREADY_UNDONE
    assert again.undo_setl_id == found.undo_setl_id
    # The settlement itself, repeated, still has the answer that it had.
    status = await find_status(counter.database, request_key(1, 1, msgid))
    assert status.state is StatusState.UNDONE
    assert SETTLED.decode(status.body) == settled


async def test_a_reversal_that_overtakes_leaves_a_tombstone(counter: Counter) -> None:
    msgid = counter.msgid()
    found = REVERSED.decode((await counter.reverse(msgid)).body)
    assert found.result is ReverseResult.NOT_FOUND
    late = await counter.settle(bill(("A1", 500)), msgid=msgid)
    assert late.code == ResponseCode.TOMBSTONED
    assert (await counter.settle(bill(("A1", 700)), msgid=msgid)).code == ResponseCode.TOMBSTONED
    again = REVERSED.decode((await counter.reverse(msgid)).body)
    assert again.result is ReverseResult.NOT_FOUND
    status = await find_status(counter.database, request_key(1, 1, msgid))
    assert status.state is StatusState.TOMBSTONED
    assert await count(counter.database, "claim") == 0


async def test_reversal_and_original_in_one_group(counter: Counter) -> None:
    first, second = counter.msgid(), counter.msgid()
    settled, reversed_, overtaking, late = await asyncio.gather(
        counter.settle(bill(("A1", 500)), shown=(0, 500, 0), msgid=first),
        counter.reverse(first),
        counter.reverse(second),
        counter.settle(bill(("A1", 500)), shown=(0, 500, 0), msgid=second),
    )
    assert settled.code == ResponseCode.APPROVED
    assert REVERSED.decode(reversed_.body).result is ReverseResult.REVERSED
    assert REVERSED.decode(overtaking.body).result is ReverseResult.NOT_FOUND
    assert late.code == ResponseCode.TOMBSTONED
    assert await balances(counter.database, [PERSON]) == {PERSON: 100_000}
    await assert_equal_books(counter)


async def test_a_refused_original_has_nothing_to_reverse(counter: Counter) -> None:
    msgid = counter.msgid()
    await counter.settle(bill(("A1", 500)), shown=(1, 1, 1), msgid=msgid)
    assert REVERSED.decode((await counter.reverse(msgid)).body).result is ReverseResult.NOT_SETTLED


async def test_a_cancel_is_not_reversible(counter: Counter) -> None:
    settled = SETTLED.decode((await counter.settle(bill(("A1", 500)))).body)
    msgid = counter.msgid()
    await counter.cancel(settled.setl_id, msgid=msgid)
    assert (await counter.reverse(msgid)).code == ResponseCode.ORIGINAL_NOT_SETTLED


async def test_a_reversal_of_itself_is_refused(counter: Counter) -> None:
    msgid = counter.msgid()
    assert (await counter.reverse(msgid, msgid=msgid)).code == ResponseCode.ORIGINAL_NOT_SETTLED


async def test_a_printed_receipt_can_be_cancelled_only(counter: Counter) -> None:
    msgid = counter.msgid()
    settled = SETTLED.decode((await counter.settle(bill(("A1", 500)), msgid=msgid)).body)
    copies = [
        PRINTED.decode((await counter.print_ack(settled.setl_id, is_printed=done)).body).copies
        for done in (False, True, True)
    ]
    assert copies == [0, 0, 1]
    assert (await counter.reverse(msgid)).code == ResponseCode.ALREADY_PRINTED
    assert (await counter.cancel(settled.setl_id)).code == ResponseCode.APPROVED
    assert await count(counter.database, "print_ack") == 3


async def test_prints_at_once_are_numbered(counter: Counter) -> None:
    settled = SETTLED.decode((await counter.settle(bill(("A1", 500)))).body)
    outcomes = await asyncio.gather(*(counter.print_ack(settled.setl_id) for _ in range(3)))
    assert [PRINTED.decode(outcome.body).copies for outcome in outcomes] == [0, 1, 2]


async def test_an_unprinted_receipt_can_be_reversed(counter: Counter) -> None:
    msgid = counter.msgid()
    settled = SETTLED.decode((await counter.settle(bill(("A1", 500)), msgid=msgid)).body)
    await counter.print_ack(settled.setl_id, is_printed=False)
    assert REVERSED.decode((await counter.reverse(msgid)).body).result is ReverseResult.REVERSED


async def test_the_family_pays_what_the_own_account_cannot(counter: Counter) -> None:
    outcome = await counter.settle(bill(("A1", 30_000)), person=CHILD)
    settled = SETTLED.decode(outcome.body)
    assert settled.split.mutual_aid_fen == 30_000
    assert settled.balance_after_fen == 0
    assert await balances(counter.database, [PERSON, CHILD]) == {PERSON: 70_000, CHILD: 0}
    one, two = await asyncio.gather(
        counter.settle(bill(("A1", 50_000)), person=PERSON, shown=(0, 50_000, 0)),
        counter.settle(bill(("A1", 30_000)), person=CHILD, shown=(0, 20_000, 10_000)),
    )
    assert (one.code, two.code) == (0, 0)
    assert await balances(counter.database, [PERSON, CHILD]) == {PERSON: 0, CHILD: 0}
    await counter.cancel(str(two.entry_no))
    assert await balances(counter.database, [PERSON, CHILD]) == {PERSON: 20_000, CHILD: 0}
    await assert_equal_books(counter)


@pytest.mark.parametrize(
    ("person", "card", "place", "med_type", "code"),
    [
        (PERSON, 999, HOSPITAL, "11", ResponseCode.CARD_NOT_REGISTERED),
        (PERSON, 20, HOSPITAL, "11", ResponseCode.CARD_SESSION_NOT_VALID),
        (777, 0, HOSPITAL, "11", ResponseCode.PERSON_UNKNOWN),
        (DEAD, 50, HOSPITAL, "11", ResponseCode.PERSON_DECEASED),
        (PAUSED, 40, HOSPITAL, "11", ResponseCode.COVERAGE_PAUSED),
        (PERSON, 10, PHARMACY, "41", ResponseCode.INSTITUTION_NOT_CONTRACTED),
        (PERSON, 10, HOSPITAL, "41", ResponseCode.CARE_TYPE_NOT_CONTRACTED),
        (PERSON, 10, COMMUNITY, "41", ResponseCode.CARE_TYPE_NOT_CONTRACTED),
        (PERSON, 10, HOSPITAL, "99", ResponseCode.POLICY_NOT_FOUND),
    ],
)
async def test_refusals(
    counter: Counter, person: int, card: int, place: int, med_type: str, code: ResponseCode
) -> None:
    msgid = counter.msgid()
    outcome = await counter.settle(
        bill(("A1", 500), med_type=med_type), person, card=card, place=place, shown=(0, 0, 500),
        msgid=msgid,
    )  # fmt: skip
    assert outcome.code == code
    again = await counter.settle(
        bill(("A1", 500), med_type=med_type), person, card=card, place=place, shown=(0, 0, 500),
        msgid=msgid,
    )  # fmt: skip
    assert again.is_duplicate is code.is_stored
    assert await count(counter.database, "claim") == 0


@pytest.mark.parametrize(
    ("table", "column", "value", "code"),
    [
        ("card", "state", 2, ResponseCode.CARD_REVOKED),
        ("card", "ends", 20261120, ResponseCode.CARD_EXPIRED),
        ("card", "begins", 20261122, ResponseCode.CARD_NOT_YET_VALID),
        ("terminal", "state", 2, ResponseCode.TERMINAL_DISABLED),
        ("institution", "state", 2, ResponseCode.INSTITUTION_SUSPENDED),
    ],
)
async def test_a_state_that_changed_since_the_card_was_opened_refuses_and_is_not_kept(
    counter: Counter, table: str, column: str, value: int, code: ResponseCode
) -> None:
    number, key = {"card": (10, "card_no"), "terminal": (1, "terminal_no"),
                   "institution": (1, "institution_no")}[table]  # fmt: skip
    change = update(registry.metadata.tables[table], set=(column,), by=(key,))
    await counter.database.execute(change([(value, number)]))
    msgid = counter.msgid()
    outcome = await counter.settle(bill(("A1", 500)), shown=(0, 500, 0), msgid=msgid)
    assert outcome.code == code
    status = await find_status(counter.database, request_key(1, 1, msgid))
    assert status.state is StatusState.NOT_SEEN


async def test_a_wrong_total_says_what_is_wrong(counter: Counter) -> None:
    wrong = structs.replace(bill(("A1", 500)), total_fen=501)
    outcome = await counter.settle(wrong, shown=(0, 500, 0))
    assert outcome.code == ResponseCode.TOTAL_MISMATCH
    assert outcome.detail_zh
    assert outcome.detail_en


async def test_an_inpatient_stay_goes_by_its_last_day(counter: Counter) -> None:
    stay = bill(
        ("A1", 1_000_000), med_type="21",
        admitted=dt.date(2025, 12, 20), discharged=dt.date(2025, 12, 31),
    )  # fmt: skip
    outcome = await counter.settle(stay)
    assert SETTLED.decode(outcome.body).split.fund_pay_fen == 739_500
    found = (await accumulators(counter.database, [PERSON], 2025))[PERSON]
    assert found[0][1].admissions == 1
    await counter.cancel(str(outcome.entry_no))
    found = (await accumulators(counter.database, [PERSON], 2025))[PERSON]
    assert structs.astuple(found[0][1]) == (0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("admitted", "discharged"),
    [(dt.date(2026, 11, 1), dt.date(2026, 11, 22)), (dt.date(2026, 11, 3), dt.date(2026, 11, 2))],
)
async def test_a_stay_out_of_order_is_refused(
    counter: Counter, admitted: dt.date, discharged: dt.date
) -> None:
    stay = bill(("A1", 500), med_type="21", admitted=admitted, discharged=discharged)
    outcome = await counter.settle(stay, shown=(0, 0, 500))
    assert outcome.code == ResponseCode.BILL_INVALID


async def test_a_request_whose_time_has_passed_is_not_taken(counter: Counter) -> None:
    body = messages.Settle(bill(("A1", 500)), 0, 500, 0)
    attempt = structs.replace(counter.attempt(MessageType.SETTLE, body), deadline_ms=-1)
    work = settle_work(attempt, body, Presented(PERSON, 10, 2), counter.rules, today=TODAY)
    assert await counter.writer.submit(work) is NotTaken.DEADLINE_PASSED
    assert await count(counter.database, "claim") == 0


async def test_a_cancelled_request_still_commits(counter: Counter) -> None:
    msgid = counter.msgid()
    task = asyncio.create_task(counter.settle(bill(("A1", 500)), shown=(0, 500, 0), msgid=msgid))
    await asyncio.sleep(0)
    key = request_key(1, 1, msgid)
    assert counter.writer.is_in_progress(key)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await counter.writer.stop()
    assert not counter.writer.is_in_progress(key)
    status = await find_status(counter.database, key)
    assert status.state is StatusState.SETTLED


async def test_an_attempt_under_way_is_in_progress(counter: Counter) -> None:
    key = request_key(1, 1, counter.msgid())
    status = await find_status(counter.database, key, is_in_progress=True)
    assert status.state is StatusState.IN_PROGRESS


async def test_a_stopped_writer_takes_nothing(counter: Counter) -> None:
    await counter.writer.stop()
    body = messages.Settle(bill(("A1", 500)), 0, 500, 0)
    attempt = counter.attempt(MessageType.SETTLE, body)
    work = settle_work(attempt, body, Presented(PERSON, 10, 2), counter.rules, today=TODAY)
    assert await counter.writer.submit(work) is NotTaken.STOPPING


async def test_what_is_left_for_later_is_written(counter: Counter) -> None:
    outcome = await counter.settle(bill(("A1", 500)))
    row = stages_row(
        request_key(1, 1, counter.msgid()), time_ms=outcome.recorded_time_ms,
        message_type=21, code=0, stages=outcome.stages, trace=bytes(range(16)),
    )  # fmt: skip
    counter.writer.append_later(NOTE_STAGES, row)
    counter.writer.append_later(NOTE_STAGES, row)
    await counter.settle(bill(("A1", 500)))
    await counter.writer.stop()
    assert await count(counter.database, "request_stage") == 1


async def test_each_change_leaves_an_audit_row(counter: Counter) -> None:
    settled = SETTLED.decode((await counter.settle(bill(("A1", 500)))).body)
    await counter.print_ack(settled.setl_id)
    await counter.cancel(settled.setl_id)
    rows = await counter.database.fetch(
        plain("audit", postgresql="SELECT action, subject, operator_no FROM audit ORDER BY 1",
              sqlite="SELECT action, subject, operator_no FROM audit ORDER BY 1")()
    )  # fmt: skip
    assert rows == [
        ("cancel", settled.setl_id, 9), ("print_ack", settled.setl_id, 9),
        ("settle", settled.setl_id, 9),
    ]  # fmt: skip


async def test_retired_rates_apply(counter: Counter) -> None:
    outcome = await counter.settle(bill(("A1", 300_000), uses_account=False), person=RETIRED)
    # 70 or older at a hospital: (3000 - 1300) x 90 %.
    assert SETTLED.decode(outcome.body).split.fund_pay_fen == 153_000


async def test_what_a_claim_keeps_reads_back_as_it_was(counter: Counter) -> None:
    asked = bill(("A1", 300_000), ("B1", 999), ("X", 5))
    outcome = await counter.settle(asked)
    shown = SETTLED.decode(outcome.body).split
    ((stored,),) = await counter.database.fetch(
        plain("detail", postgresql="SELECT detail FROM claim", sqlite="SELECT detail FROM claim")()
    )
    kept = decode_detail(stored)
    assert kept.bill == asked
    assert split_message(kept.split) == shown
    assert [line.item_class for line in kept.line_splits] == [1, 2, 3]
    assert sum(line.in_scope_fen for line in kept.line_splits) == shown.in_scope_fen
    assert (kept.scheme, kept.year) == ("outpatient", 2026)
    assert encode_detail(kept) == stored


async def test_what_a_terminal_may_say_is_always_stored(counter: Counter) -> None:
    body = messages.Settle(bill(("X\0", 500), uses_account=False), 0, 0, 500)
    attempt = structs.replace(counter.attempt(MessageType.SETTLE, body), list_version=2**32 - 1)
    work = settle_work(attempt, body, Presented(PERSON, 10, 2), counter.rules, today=TODAY)
    settled = await counter.submit(work)
    assert settled.code == ResponseCode.APPROVED
    cancelled = await counter.cancel(str(settled.entry_no), reason="错\0了" + "长" * 1_000)
    assert cancelled.code == ResponseCode.APPROVED


async def test_outpatient_care_is_of_the_day_whatever_the_bill_says(counter: Counter) -> None:
    """Only a stay has days of its own: last year's deductible is not for this year's purchase."""
    for admitted, discharged in (
        (None, dt.date(2025, 12, 31)),
        (dt.date(2026, 11, 20), None),
        (dt.date(2026, 11, 20), dt.date(2026, 11, 21)),
    ):
        asked = bill(("A1", 300_000), admitted=admitted, discharged=discharged)
        found = await counter.preview(asked)
        assert isinstance(found, Answer), found
        assert found.code == ResponseCode.BILL_INVALID
        assert "is no stay" in found.detail_en


@pytest.mark.parametrize("is_later_first", [False, True])
async def test_of_two_insurances_in_force_the_one_that_began_last_decides(
    counter: Counter, *, is_later_first: bool
) -> None:
    """An earlier one is often left without an end when the person retires."""
    columns = ("begins", "ends", "state", "person_type", "region", "person_no", "insutype")
    rows = [
        (20200101, 99991231, 1, "11", "110105", PAUSED, "310"),
        (20260101, 99991231, 1, "12", "110105", PAUSED, "310"),
    ]
    gone = delete(registry.insurance, by=("person_no",))
    add = insert(registry.insurance, columns)
    await counter.database.execute(
        gone([(PAUSED,)]), *(add([row]) for row in (reversed(rows) if is_later_first else rows))
    )
    shown = await counter.preview(bill(("A1", 300_000)), PAUSED)
    assert isinstance(shown, messages.Previewed)
    assert shown.split.deductible_fen == 130_000  # a retired person's
    # One that is paused decides only where none is in force.
    paused = update(registry.insurance, set=("state",), by=("person_no", "begins"))
    await counter.database.execute(paused([(2, PAUSED, 20260101)]))
    shown = await counter.preview(bill(("A1", 300_000)), PAUSED)
    assert isinstance(shown, messages.Previewed)
    assert shown.split.deductible_fen == 180_000
