"""Checks in PREVIEW and SETTLE, on both databases: what counts as bought, and who decides."""

import asyncio
import datetime as dt
from dataclasses import replace

import pytest
from msgspec import msgpack

from cardserver.checks.counter_checks import CounterChecks
from cardserver.checks.rule_book import RuleBook, load_rules
from cardserver.checks.values import Position
from cardserver.claims import history_store, tables
from cardserver.claims.claim_detail import decode_detail
from cardserver.claims.settlement import settle_work
from cardserver.claims.values import Checked, Presented, Rules
from ledger.bulk_store import plain, select
from ledger.decisions import Answer, Outcome
from protocol.terminal import messages
from protocol.terminal.bodies import decode_reply_body
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import MessageType
from tests.cardserver.claims.fund import (
    COMMUNITY,
    HOSPITAL,
    PERSON,
    RETIRED,
    TODAY,
    Counter,
    bill,
    fill,
)
from tests.cardserver.claims.refunds import decoded, refund
from tests.cardserver.claims.test_writers import open_counter

BEIJING_AND_TIANJIN = {
    HOSPITAL: Position(39_904_200, 116_407_400),
    COMMUNITY: Position(39_084_200, 117_200_900),
}
_AUDIT_TEXT = "SELECT action, subject, detail FROM audit ORDER BY recorded_time_ms, seal_no, line"
AUDIT = plain("read the audit", postgresql=_AUDIT_TEXT, sqlite=_AUDIT_TEXT)
DETAIL = select(tables.claim, ("detail",), by=("entry_no",))
HEAD = """
name = "test"
title_zh = "测试"
title_en = "Test"
begins = 2026-01-01
[[sources]]
title = "test"
supports = "all"
standing = "choice"
"""
REPEAT = """
[[rules]]
name = "same-elsewhere"
kind = "repeat"
action = "refuse"
override = "supervisor"
reason_zh = "已在别处购买"
reason_en = "bought elsewhere"
items = { codes = ["A1"] }
days = 3
"""
MANY = """
[[rules]]
name = "many"
kind = "quantity"
action = "warn"
reason_zh = "数量过多"
reason_en = "a large quantity"
items = { prefixes = ["A"] }
most = 2
days = 7
"""
TRAVEL = """
[[rules]]
name = "far"
kind = "travel"
action = "refuse"
reason_zh = "两地用卡"
reason_en = "two distant places"
speed_kmh = 100
km_from = 50
earlier = "all"
"""
OVERLAP = """
[[rules]]
name = "overlap"
kind = "overlap"
action = "refuse"
reason_zh = "住院重叠"
reason_en = "stays overlap"
"""


def checked_by(counter: Counter, *rules: str, positions: dict[int, Position] | None = None) -> None:
    book = RuleBook([load_rules(HEAD + "".join(rules))])
    counter.rules = replace(counter.rules, checks=CounterChecks(book, positions or {}))


def one_a1(quantity: int = 1) -> messages.Bill:
    line = messages.Line("A1", "甲类药", 1_000_000, quantity * 10_000, quantity * 100)
    return messages.Bill("310", "11", quantity * 100, uses_account=True, invoice="", lines=(line,))


def refused_by(outcome: Outcome | Answer[object]) -> list[str]:
    assert outcome.code == ResponseCode.CHECK_REFUSED
    body = decode_reply_body(MessageType.SETTLE, outcome.code, outcome.body)
    assert isinstance(body, messages.CheckRefused)
    return [one.rule for one in body.refusals]


def settled(outcome: Outcome) -> messages.Settled:
    assert outcome.code == ResponseCode.APPROVED, outcome
    return msgpack.decode(outcome.body, type=messages.Settled)


async def settle(
    counter: Counter,
    bill: messages.Bill,
    place: int = HOSPITAL,
    *,
    person: int = PERSON,
    msgid: str = "",
    override: str = "",
    card: bool = True,
) -> Outcome:
    """Settle with the amounts of a division by rules without checks."""
    unchecked = replace(counter, rules=replace(counter.rules, checks=CounterChecks()))
    shown = await unchecked.preview(bill, person, place)
    assert isinstance(shown, messages.Previewed)
    split = shown.split
    body = messages.Settle(
        bill, split.fund_pay_fen, split.account_pay_fen + split.mutual_aid_fen, split.cash_fen,
        override=override,
    )  # fmt: skip
    presented = Presented(person, person * 10 if card else 0, 2)
    attempt = counter.attempt(MessageType.SETTLE, body, msgid, place)
    return await counter.submit(settle_work(attempt, body, presented, counter.rules, today=TODAY))


async def test_the_same_item_elsewhere_is_refused_with_its_reason(counter: Counter) -> None:
    checked_by(counter, REPEAT)
    settled(await settle(counter, one_a1(2)))
    outcome = await settle(counter, one_a1(), COMMUNITY)
    assert refused_by(outcome) == ["same-elsewhere"]
    assert outcome.detail_zh == "已在别处购买（甲类药 2026-11-21已购2）"
    assert outcome.detail_en == "bought elsewhere (甲类药: 2 on 2026-11-21)"
    # Where it was bought, it may be bought again; another person may buy it here.
    settled(await settle(counter, one_a1()))
    settled(await settle(counter, one_a1(), COMMUNITY, person=RETIRED))
    # PREVIEW says the same.
    shown = await counter.preview(one_a1(), place=COMMUNITY)
    assert isinstance(shown, Answer)
    assert refused_by(shown) == ["same-elsewhere"]
    assert shown.detail_zh.startswith("已在别处购买")


async def test_a_refusal_is_kept_and_audited(counter: Counter) -> None:
    checked_by(counter, REPEAT)
    first = settled(await settle(counter, one_a1()))
    msgid = counter.msgid()
    refused = await settle(counter, one_a1(), COMMUNITY, msgid=msgid)
    await counter.cancel(first.setl_id)
    again = await settle(counter, one_a1(), COMMUNITY, msgid=msgid)
    assert again.is_duplicate
    assert (again.code, again.body) == (refused.code, refused.body)
    assert ("check_refused", msgid, "same-elsewhere") in await counter.database.fetch(AUDIT())


async def test_what_was_cancelled_or_reversed_does_not_count(counter: Counter) -> None:
    checked_by(counter, REPEAT)
    for undo in (True, False):
        msgid = counter.msgid()
        first = settled(await settle(counter, one_a1(), msgid=msgid))
        assert refused_by(await settle(counter, one_a1(), COMMUNITY))
        await (counter.cancel(first.setl_id) if undo else counter.reverse(msgid))
        second = settled(await settle(counter, one_a1(), COMMUNITY))
        await counter.cancel(second.setl_id, place=COMMUNITY)


async def test_a_repeated_request_is_no_second_purchase(counter: Counter) -> None:
    checked_by(counter, MANY)
    msgid = counter.msgid()
    first = await settle(counter, one_a1(2), msgid=msgid)
    again = await settle(counter, one_a1(2), msgid=msgid)
    assert again.is_duplicate
    assert first.body == again.body
    assert settled(first).warnings == ()
    (warning,) = settled(await settle(counter, one_a1())).warnings
    assert warning.text_en == "a large quantity (甲类药 1 now, 2 before within 7 days, limit 2)"
    assert warning.text_zh == "数量过多（甲类药 本次1，7天内此前2，限2）"
    assert warning.line == 1


async def test_a_warning_is_shown_kept_and_audited(counter: Counter) -> None:
    checked_by(counter, MANY)
    shown = await counter.preview(one_a1(3))
    assert isinstance(shown, messages.Previewed)
    done = settled(await settle(counter, one_a1(3)))
    assert [one.rule for one in done.warnings] == ["many"]
    assert shown.warnings == done.warnings
    rows = await counter.database.fetch(DETAIL([(int(done.setl_id),)]))
    identity = load_rules(HEAD + MANY).identity
    assert decode_detail(rows[0][1]).checked == Checked(warned=(f"{identity}/many",))
    audit = await counter.database.fetch(AUDIT())
    assert ("settle", done.setl_id, f"warned {identity}/many") in audit


async def test_a_supervisor_lets_pass_what_the_rule_allows(counter: Counter) -> None:
    checked_by(counter, REPEAT, MANY)
    settled(await settle(counter, one_a1(2)))
    refused = await settle(counter, one_a1(), COMMUNITY)
    body = decode_reply_body(MessageType.SETTLE, refused.code, refused.body)
    assert isinstance(body, messages.CheckRefused)
    assert body.override == "supervisor"
    assert [one.rule for one in body.warnings] == ["many"]
    passed = settled(await settle(counter, one_a1(), COMMUNITY, override="医生电话确认"))
    assert [one.rule for one in passed.warnings] == ["same-elsewhere", "many"]
    rows = await counter.database.fetch(DETAIL([(int(passed.setl_id),)]))
    checked = decode_detail(rows[0][1]).checked
    assert checked is not None
    assert [path.split("/")[1] for path in checked.overridden] == ["same-elsewhere"]
    assert [path.split("/")[1] for path in checked.warned] == ["many"]
    assert checked.override == "医生电话确认"
    audit = await counter.database.fetch(AUDIT())
    assert any("医生电话确认" in detail for action, _, detail in audit if action == "settle")


async def test_nobody_lets_pass_what_the_rule_does_not_allow(counter: Counter) -> None:
    checked_by(counter, REPEAT.replace('override = "supervisor"\n', ""))
    settled(await settle(counter, one_a1()))
    refused = await settle(counter, one_a1(), COMMUNITY, override="请放行")
    body = decode_reply_body(MessageType.SETTLE, refused.code, refused.body)
    assert isinstance(body, messages.CheckRefused)
    assert body.override == ""


async def test_of_two_at_once_one_is_the_earlier(counter: Counter) -> None:
    checked_by(counter, REPEAT)
    for _ in range(5):
        outcomes = await asyncio.gather(
            *(settle(counter, one_a1(), place) for place in (HOSPITAL, COMMUNITY))
        )
        done = [one for one in outcomes if one.code == ResponseCode.APPROVED]
        assert len(done) == 1
        (refused,) = (one for one in outcomes if one not in done)
        assert refused_by(refused) == ["same-elsewhere"]
        place = HOSPITAL if outcomes[0] is done[0] else COMMUNITY
        await counter.cancel(settled(done[0]).setl_id, place=place)


async def test_within_one_group_the_book_is_kept(counter: Counter) -> None:
    checked_by(counter, MANY)
    outcomes = await asyncio.gather(*(settle(counter, one_a1()) for _ in range(4)))
    warned = sorted(len(settled(one).warnings) for one in outcomes)
    assert warned == [0, 0, 1, 1]


async def test_days_end_at_midnight_of_the_fund(counter: Counter) -> None:
    checked_by(counter, REPEAT)
    settled(await settle(counter, one_a1()))
    for days, is_refused in ((2, True), (3, False)):
        counter.clock.ms += 86_400_000 * (days if days == 2 else 1)
        shown = await counter.preview(one_a1(), place=COMMUNITY)
        assert isinstance(shown, Answer) is is_refused, days


async def test_a_card_at_two_distant_places(counter: Counter) -> None:
    checked_by(counter, TRAVEL, positions=BEIJING_AND_TIANJIN)
    settled(await settle(counter, one_a1()))
    counter.clock.ms += 30 * 60_000
    outcome = await settle(counter, one_a1(), COMMUNITY)
    assert refused_by(outcome) == ["far"]
    assert outcome.detail_en == "two distant places (used 113 km away 30 minutes before)"
    settled(await settle(counter, one_a1()))  # at the same place
    counter.clock.ms += 70 * 60_000
    settled(await settle(counter, one_a1(), COMMUNITY))


async def test_without_card_or_place_nobody_travels(counter: Counter) -> None:
    place = {HOSPITAL: Position(39_904_200, 116_407_400)}
    checked_by(counter, TRAVEL, positions=place)
    settled(await settle(counter, one_a1()))
    settled(await settle(counter, one_a1(), COMMUNITY))
    checked_by(counter, TRAVEL, positions={**place, COMMUNITY: Position(0, 0)})
    settled(await settle(counter, one_a1(), COMMUNITY, card=False))


async def test_stays_that_overlap(counter: Counter) -> None:
    checked_by(counter, OVERLAP)

    def stay(first: int, last: int) -> messages.Bill:
        return bill(
            ("A1", 1000), med_type="21",
            admitted=dt.date(2026, 11, first), discharged=dt.date(2026, 11, last),
        )  # fmt: skip

    settled(await settle(counter, stay(1, 10)))
    outcome = await settle(counter, stay(9, 12))
    assert refused_by(outcome) == ["overlap"]
    assert outcome.detail_zh == "住院重叠（2026-11-01至2026-11-10住院）"
    settled(await settle(counter, stay(10, 12)))  # the day of a transfer is both's


async def test_only_what_rules_ask_for_is_read(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[int, int]] = []
    read = history_store.read_history

    def noted(first_days: dict[int, int]) -> object:
        asked.append(dict(first_days))
        return read(first_days)

    monkeypatch.setattr("cardserver.claims.claims_store.read_history", noted)
    await settle(counter, one_a1())
    checked_by(counter, REPEAT)
    await settle(counter, bill(("B1", 100)))
    assert asked == []  # no rule in force; none about this item
    await settle(counter, one_a1())
    assert asked == [{PERSON: 20261119}]


async def test_rules_hold_from_their_first_day_to_their_last(counter: Counter) -> None:
    for dates, is_refused in (
        ("begins = 2026-11-22", False),
        ("begins = 2026-11-21\nends = 2026-11-21", True),
        ("begins = 2026-01-01\nends = 2026-11-20", False),
    ):
        version = load_rules(
            HEAD.replace("begins = 2026-01-01", dates) + MANY.replace("warn", "refuse")
        )
        counter.rules = replace(counter.rules, checks=CounterChecks(RuleBook([version])))
        shown = await counter.preview(one_a1(3))
        assert isinstance(shown, Answer) is is_refused, dates


async def test_after_a_refund_what_remains_was_bought_when_it_was(counter: Counter) -> None:
    checked_by(counter, MANY, TRAVEL, positions=BEIJING_AND_TIANJIN)
    first = settled(await settle(counter, one_a1(2)))
    counter.clock.ms += 6 * 86_400_000
    assert settled(await settle(counter, one_a1())).warnings  # two and one
    refunded = decoded(await refund(counter, first.setl_id, [(1, 10_000)]))
    assert refunded.remaining is not None
    # Elsewhere, a minute after the refund, which needed no patient; but the purchase here did.
    counter.clock.ms += 60_000
    assert refused_by(await settle(counter, one_a1(), COMMUNITY)) == ["far"]
    counter.clock.ms += 86_400_000
    # Of the first bill one remained, and its seven days are over.
    assert settled(await settle(counter, one_a1(), COMMUNITY)).warnings == ()


async def test_a_refund_brings_no_card(counter: Counter) -> None:
    checked_by(counter, TRAVEL, positions=BEIJING_AND_TIANJIN)
    first = settled(await settle(counter, one_a1(2)))
    counter.clock.ms += 3 * 3_600_000
    refunded = decoded(await refund(counter, first.setl_id, [(1, 10_000)]))
    assert refunded.remaining is not None
    counter.clock.ms += 60_000
    settled(await settle(counter, one_a1(), COMMUNITY))


async def test_no_more_than_the_newest_claims_are_looked_at(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bounded by claims in the statement, and by lines after it."""
    checked_by(counter, MANY)
    for _ in range(3):
        settled(await settle(counter, one_a1()))
    monkeypatch.setattr(history_store, "LINES_MAX", 1)
    assert settled(await settle(counter, one_a1())).warnings == ()
    monkeypatch.undo()
    assert settled(await settle(counter, one_a1())).warnings


async def test_of_two_writers_one_decides_after_the_other(
    fresh_postgres_url: str, rules: Rules
) -> None:
    async with (
        open_counter(fresh_postgres_url, rules) as one,
        open_counter(fresh_postgres_url, rules) as two,
    ):
        await fill(one.database)
        two.numbers = one.numbers
        checked_by(one, REPEAT)
        two.rules = one.rules
        for _ in range(5):
            places = ((one, HOSPITAL), (two, COMMUNITY))
            outcomes = await asyncio.gather(
                *(settle(counter, one_a1(), place) for counter, place in places)
            )
            done = [outcome for outcome in outcomes if outcome.code == ResponseCode.APPROVED]
            assert len(done) == 1
            for outcome, (counter, place) in zip(outcomes, places, strict=True):
                if outcome is done[0]:
                    await counter.cancel(settled(outcome).setl_id, place=place)
                else:
                    assert refused_by(outcome) == ["same-elsewhere"]
