"""Attempts through lost, late, garbled and refused replies: one settlement, and its end known."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from protocol.terminal import messages as m
from protocol.terminal.bodies import encode_body
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import MessageType
from terminals.attempts import AttemptRunner
from terminals.client import TerminalClient
from terminals.config import TerminalConfig
from terminals.msgids import Msgids
from terminals.outbox import Attempt, AttemptState, Outbox

OPERATOR, PASSWORD = "1001", "correct horse"


class Clock:
    """The terminal's wall clock, which a test moves."""

    def __init__(self) -> None:
        self.now_ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now_ms


class Counter:
    """A signed-on terminal with its outbox."""

    def __init__(self, config: TerminalConfig, outbox: type[Outbox] = Outbox) -> None:
        self.clock = Clock()
        self.outbox = outbox(Path(config.outbox.file))
        msgids = Msgids(
            institution=config.terminal.institution,
            zone=ZoneInfo("Asia/Shanghai"),
            now_ms=self.clock,
            reserve=self.outbox.reserve_msgids,
        )
        self.client = TerminalClient(config, msgids=msgids, now_ms=self.clock)
        self.runner = AttemptRunner(self.client, self.outbox, now_ms=self.clock)


@pytest.fixture
async def counter(config: TerminalConfig) -> AsyncIterator[Counter]:
    counter = Counter(config)
    await counter.client.sign_on(OPERATOR, PASSWORD)
    yield counter
    await counter.client.close()
    counter.outbox.close()


def settle_body(total_fen: int = 2_510) -> m.Settle:
    fund = total_fen * 3 // 10
    line = m.Line("XB05BA", "ampoule", 25_100_000, 10_000, total_fen)
    bill = m.Bill("310", "11", total_fen, True, "INV-1", (line,))  # noqa: FBT003
    return m.Settle(bill, fund, 1_000, total_fen - fund - 1_000)


async def test_a_settlement_is_written_before_and_ended_after(
    centre: Any, counter: Counter
) -> None:
    seen: list[AttemptState] = []

    async def look(_peer: Any, request: m.Request) -> Any:
        seen.append(counter.outbox.get(request.msgid).state)
        return centre.keep(request)

    centre.rule(MessageType.SETTLE, look)
    outcome = await counter.runner.settle(settle_body(), holder="张*")
    assert seen == [AttemptState.PENDING]
    assert outcome.attempt.state is AttemptState.SETTLED
    assert outcome.attempt.ended_by == "reply"
    assert isinstance(outcome.body, m.Settled)
    assert outcome.attempt.setl_id == outcome.body.setl_id
    assert outcome.attempt.business_date == "2026-11-21"
    assert counter.outbox.open_attempts() == []


async def test_a_lost_reply_is_resolved_by_status(centre: Any, counter: Counter) -> None:
    centre.rule(MessageType.SETTLE, centre.lose_reply)
    outcome = await counter.runner.settle(settle_body())
    assert outcome.attempt.state is AttemptState.SETTLED
    assert outcome.attempt.ended_by == "status"
    assert isinstance(outcome.body, m.Settled)
    assert centre.settlements == 1
    assert centre.count(MessageType.SETTLE) == 1
    assert centre.count(MessageType.STATUS) == 1


async def test_a_lost_request_is_repeated_under_its_msgid(centre: Any, counter: Counter) -> None:
    centre.rule(MessageType.SETTLE, centre.lose_request)
    outcome = await counter.runner.settle(settle_body())
    assert outcome.attempt.state is AttemptState.SETTLED
    assert outcome.attempt.ended_by == "repetition"
    settles = [one for one in centre.requests if one.type == MessageType.SETTLE]
    assert len(settles) == 2
    assert settles[0].msgid == settles[1].msgid
    assert bytes(settles[0].body) == bytes(settles[1].body)
    assert centre.settlements == 1


async def test_an_old_doubt_is_reversed(centre: Any, counter: Counter) -> None:
    async def lose_and_age(peer: Any, request: m.Request) -> Any:
        counter.clock.now_ms += 3_600_000
        return await centre.lose_request(peer, request)

    centre.rule(MessageType.SETTLE, lose_and_age)
    outcome = await counter.runner.settle(settle_body())
    assert outcome.attempt.state is AttemptState.REVERSED
    assert outcome.attempt.ended_by == "reversal"
    assert outcome.attempt.msgid in centre.tombstones
    assert centre.settlements == 0
    assert counter.outbox.open_attempts() == []


async def test_a_reversal_whose_reply_is_lost_is_repeated(centre: Any, counter: Counter) -> None:
    done = await counter.runner.settle(settle_body())
    centre.rule(MessageType.REVERSE, centre.lose_reply)
    outcome = await counter.runner.reverse(done.attempt.msgid, "test")
    assert outcome.attempt.state is AttemptState.SETTLED
    assert isinstance(outcome.body, m.Reversed)
    assert outcome.body.result is m.ReverseResult.REVERSED
    assert counter.outbox.get(done.attempt.msgid).state is AttemptState.REVERSED
    reversals = {one.msgid for one in centre.requests if one.type == MessageType.REVERSE}
    assert len(reversals) == 1
    assert centre.settlements == 0


async def test_what_is_reversed_for_another_terminal_is_not_ours(
    centre: Any, counter: Counter
) -> None:
    """Two terminals of an institution may use the same msgid: it is made of the time."""
    done = await counter.runner.settle(settle_body())

    async def not_found(_peer: Any, _request: m.Request) -> Any:
        return 0, m.Reversed(m.ReverseResult.NOT_FOUND, "", "", 0)

    centre.rule(MessageType.REVERSE, not_found)
    outcome = await counter.runner.reverse(done.attempt.msgid, "dead", terminal="T99")
    assert outcome.attempt.state is AttemptState.SETTLED
    assert counter.outbox.get(done.attempt.msgid) == done.attempt
    await counter.runner.reverse(done.attempt.msgid, "ours", terminal=counter.runner._terminal)
    assert counter.outbox.get(done.attempt.msgid).state is AttemptState.REVERSED


async def test_a_cancel_in_doubt_is_repeated_not_reversed(centre: Any, counter: Counter) -> None:
    done = await counter.runner.settle(settle_body())
    centre.rule(MessageType.CANCEL, centre.lose_reply)
    outcome = await counter.runner.cancel(done.attempt.setl_id, "wrong item")
    assert outcome.attempt.state is AttemptState.SETTLED
    assert isinstance(outcome.body, m.Settled)
    assert outcome.body.cancels == done.attempt.setl_id
    assert counter.outbox.get(done.attempt.msgid).state is AttemptState.REVERSED
    assert centre.count(MessageType.REVERSE) == 0
    assert centre.count(MessageType.STATUS) == 0
    assert centre.settlements == 0


async def test_a_doubt_ends_also_where_the_reply_is_kept_no_longer(
    centre: Any, counter: Counter
) -> None:
    done = await counter.runner.settle(settle_body())

    async def lose_for_months(peer: Any, request: m.Request) -> Any:
        await centre.decide(peer, request)
        centre.stored[request.msgid].body = msgspec.Raw(b"\xc0")
        peer.writer.transport.abort()
        raise ConnectionAbortedError

    centre.rule(MessageType.CANCEL, lose_for_months)
    outcome = await counter.runner.cancel(done.attempt.setl_id, "wrong item")
    assert outcome.attempt.state is AttemptState.SETTLED
    assert outcome.body is None
    assert centre.count(MessageType.CANCEL) == 2
    assert centre.settlements == 0


async def test_a_refund_in_doubt_is_repeated_not_reversed(centre: Any, counter: Counter) -> None:
    done = await counter.runner.settle(settle_body())
    asked = m.Refund(done.attempt.setl_id, (m.RefundLine(1, 10_000),), "", commits=True)
    centre.rule(MessageType.REFUND, centre.lose_reply)
    outcome = await counter.runner.refund(asked)
    assert outcome.attempt.state is AttemptState.SETTLED
    assert isinstance(outcome.body, m.Refunded)
    assert outcome.body.refunds == done.attempt.setl_id
    assert outcome.attempt.setl_id == outcome.body.setl_id
    assert counter.outbox.get(done.attempt.msgid).state is AttemptState.REVERSED
    assert counter.outbox.get(done.attempt.msgid).ended_by == "refund"
    assert (centre.count(MessageType.REVERSE), centre.count(MessageType.STATUS)) == (0, 0)
    assert len({one.msgid for one in centre.requests if one.type == MessageType.REFUND}) == 1


async def test_the_same_refund_again_follows_the_one_in_doubt(
    centre: Any, counter: Counter
) -> None:
    done = await counter.runner.settle(settle_body())
    asked = m.Refund(done.attempt.setl_id, (m.RefundLine(1, 10_000),), "", commits=True)
    new = counter.runner._new(MessageType.REFUND, asked)
    counter.outbox.add(new)
    counter.outbox.release(new.msgid)
    other = msgspec.structs.replace(asked, lines=(m.RefundLine(2, 10_000),))
    assert counter.runner._twin(new, asked) is not None
    assert counter.runner._twin(new, other) is None
    outcome = await counter.runner.refund(asked)
    assert outcome.is_taken_up
    assert outcome.attempt.msgid == new.msgid
    assert outcome.attempt.state is AttemptState.SETTLED
    assert centre.count(MessageType.REFUND) == 1


REGISTER = m.Register("310", "11", None, "MZ-1")


async def test_a_registration_in_doubt_is_repeated_not_reversed(
    centre: Any, counter: Counter
) -> None:
    centre.rule(MessageType.REGISTER, centre.lose_reply)
    outcome = await counter.runner.record(MessageType.REGISTER, REGISTER, card_session=b"x")
    assert outcome.attempt.state is AttemptState.SETTLED
    assert isinstance(outcome.body, m.Registered)
    assert (centre.count(MessageType.REVERSE), centre.count(MessageType.STATUS)) == (0, 0)
    msgids = {one.msgid for one in centre.requests if one.type == MessageType.REGISTER}
    assert msgids == {outcome.attempt.msgid}
    assert counter.outbox.open_attempts() == []


async def test_the_same_registration_again_follows_the_one_in_doubt(
    centre: Any, counter: Counter
) -> None:
    new = msgspec.structs.replace(counter.runner._new(MessageType.REGISTER, REGISTER), psn_no="7")
    counter.outbox.add(new)
    counter.outbox.release(new.msgid)
    other = await counter.runner.record(MessageType.REGISTER, REGISTER, psn_no="8")
    assert not other.is_taken_up
    outcome = await counter.runner.record(
        MessageType.REGISTER, REGISTER, card_session=b"newer", psn_no="7"
    )
    assert outcome.is_taken_up
    assert outcome.attempt.msgid == new.msgid
    assert outcome.attempt.state is AttemptState.SETTLED
    (sent,) = [one for one in centre.requests if one.msgid == new.msgid]
    assert sent.card_session == b"newer"
    # Once it has ended, the same again is another visit.
    third = await counter.runner.record(MessageType.REGISTER, REGISTER, psn_no="7")
    assert third.attempt.msgid != new.msgid


async def test_a_registration_in_doubt_whose_card_session_ended_is_repeated_with_a_new_one(
    centre: Any, counter: Counter
) -> None:
    async def reopened(psn_no: str) -> bytes:
        assert psn_no == "7"
        return b"reopened"

    counter.runner._reopen_card = reopened
    centre.rule(
        MessageType.REGISTER,
        centre.lose_request,
        centre.refusing(ResponseCode.CARD_SESSION_EXPIRED),
    )
    outcome = await counter.runner.record(
        MessageType.REGISTER, REGISTER, card_session=b"old", psn_no="7"
    )
    assert outcome.attempt.state is AttemptState.SETTLED
    sessions = [one.card_session for one in centre.requests if one.type == MessageType.REGISTER]
    assert (sessions[0], sessions[-1]) == (b"old", b"reopened")


async def test_a_doubt_of_a_person_not_known_gets_nobodys_card(
    centre: Any, counter: Counter
) -> None:
    async def reopened(_psn_no: str) -> bytes:
        return b"of whoever is there now"

    counter.runner._reopen_card = reopened
    centre.rule(
        MessageType.SETTLE,
        centre.lose_request,
        centre.refusing(ResponseCode.CARD_SESSION_EXPIRED),
    )
    outcome = await counter.runner.settle(settle_body(), card_session=b"old")
    assert outcome.attempt.state is AttemptState.REVERSED
    sessions = {one.card_session for one in centre.requests if one.type == MessageType.SETTLE}
    assert sessions == {b"old"}


async def test_a_late_reply_is_taken(
    centre: Any, config: TerminalConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("terminals.client.REPLY_GRACE_MS", 50)
    replace = msgspec.structs.replace
    counter = Counter(replace(config, limits=replace(config.limits, request_timeout_ms=100)))
    await counter.client.sign_on(OPERATOR, PASSWORD)

    async def late_unseen(_peer: Any, request: m.Request) -> Any:
        await asyncio.sleep(0.4)
        return centre.keep(request)

    async def in_progress(_peer: Any, _request: m.Request) -> Any:
        return 0, m.StatusFound(m.StatusState.IN_PROGRESS, 21, 0, "", msgspec.Raw(b"\xc0"))

    centre.rule(MessageType.SETTLE, late_unseen)
    centre.rule(MessageType.STATUS, *[in_progress] * 50)
    outcome = await counter.runner.settle(settle_body())
    assert outcome.attempt.state is AttemptState.SETTLED
    assert outcome.attempt.ended_by == "late reply"
    assert centre.count(MessageType.SETTLE) == 1
    await counter.client.close()
    counter.outbox.close()


async def test_a_late_refusal_that_says_nothing_holds_nothing_up(
    centre: Any, config: TerminalConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late BUSY is counted as its copy's answer, and the doubt is followed all the same."""
    monkeypatch.setattr("terminals.client.REPLY_GRACE_MS", 50)
    replace = msgspec.structs.replace
    counter = Counter(replace(config, limits=replace(config.limits, request_timeout_ms=100)))
    await counter.client.sign_on(OPERATOR, PASSWORD)

    async def busy_late(_peer: Any, _request: m.Request) -> Any:
        await asyncio.sleep(0.3)
        return int(ResponseCode.BUSY), None

    async def not_seen(_peer: Any, _request: m.Request) -> Any:
        return 0, m.StatusFound(m.StatusState.NOT_SEEN, 0, 0, "", msgspec.Raw(b"\xc0"))

    async def in_progress(_peer: Any, _request: m.Request) -> Any:
        await asyncio.sleep(0.4)
        return 0, m.StatusFound(m.StatusState.IN_PROGRESS, 21, 0, "", msgspec.Raw(b"\xc0"))

    centre.rule(MessageType.SETTLE, busy_late)
    centre.rule(MessageType.STATUS, in_progress, *[not_seen] * 200)
    outcome = await counter.runner.settle(settle_body())
    assert outcome.attempt.state is AttemptState.SETTLED
    assert outcome.attempt.ended_by == "repetition"
    events = [one.what for one in counter.outbox.events(outcome.attempt.msgid)]
    assert "copy refused" in events
    assert centre.settlements == 1
    await counter.client.close()
    counter.outbox.close()


async def test_a_doubt_says_in_words_why_it_is_one(centre: Any, counter: Counter) -> None:
    async def in_progress(_peer: Any, _request: m.Request) -> Any:
        return 0, m.StatusFound(m.StatusState.IN_PROGRESS, 21, 0, "", msgspec.Raw(b"\xc0"))

    centre.rule(MessageType.SETTLE, centre.lose_request)
    centre.rule(MessageType.STATUS, *[in_progress] * 200)
    outcome = await counter.runner.settle(settle_body())
    assert outcome.attempt.state is AttemptState.UNKNOWN
    assert outcome.reason == "中心正在处理 the centre is at work on it"
    centre.rules.clear()
    centre.rule(MessageType.STATUS, *[centre.refusing(ResponseCode.OPERATOR_NOT_PERMITTED)] * 200)
    (outcome,) = await counter.runner.resolve_all()
    assert outcome.reason == "210 操作员无此权限 / the operator may not do this"


async def nowhere(_protocol: asyncio.Protocol) -> None:
    raise ConnectionRefusedError


@contextmanager
def away_after_a_lost_reply(centre: Any, counter: Counter) -> Iterator[None]:
    """Have the next settlement's reply be lost, and the centre be away from then on."""

    async def die(peer: Any, request: m.Request) -> Any:
        counter.client._connector = nowhere
        return await centre.lose_reply(peer, request)

    connector = counter.client._connector
    centre.rule(MessageType.SETTLE, die)
    yield
    assert counter.client._connector is nowhere
    counter.client._connector = connector


async def test_an_unreachable_centre_leaves_a_doubt_that_is_resolved_later(
    centre: Any, counter: Counter
) -> None:
    with away_after_a_lost_reply(centre, counter):
        outcome = await counter.runner.settle(settle_body())
    assert outcome.attempt.state is AttemptState.UNKNOWN
    assert outcome.reason
    (resolved,) = await counter.runner.resolve_all()
    assert resolved.attempt.state is AttemptState.SETTLED
    assert resolved.attempt.msgid == outcome.attempt.msgid
    assert centre.settlements == 1


async def test_the_same_bill_again_follows_the_doubt_and_makes_no_second_one(
    centre: Any, counter: Counter
) -> None:
    with away_after_a_lost_reply(centre, counter):
        doubtful = await counter.runner.settle(settle_body(), psn_no="11000000000001")
    body = settle_body()
    other_amounts = m.Settle(body.bill, body.fund_pay_fen - 1, 1_000, body.cash_fen + 1)
    again = await counter.runner.settle(other_amounts, psn_no="11000000000001")
    assert again.is_taken_up
    assert again.attempt.msgid == doubtful.attempt.msgid
    assert again.attempt.state is AttemptState.SETTLED
    assert centre.settlements == 1


async def test_a_visit_settled_again_follows_the_doubt_though_nothing_is_due_any_more(
    centre: Any, counter: Counter
) -> None:
    """Once the first is posted, what is due of the visit is another amount, or nothing."""
    replace = msgspec.structs.replace
    bill = replace(settle_body().bill, lines=(), mdtrt_id="V1")
    with away_after_a_lost_reply(centre, counter):
        doubtful = await counter.runner.settle(replace(settle_body(), bill=bill), psn_no="1")
    assert doubtful.attempt.state is AttemptState.UNKNOWN
    left = replace(bill, total_fen=0)
    found = counter.runner.open_settlement_of(left, None, psn_no="1")
    assert found is not None
    assert found.msgid == doubtful.attempt.msgid
    other = replace(left, mdtrt_id="V2")
    assert counter.runner.open_settlement_of(other, None, psn_no="1") is None
    until = replace(left, discharged=dt.date(2026, 11, 20))
    assert counter.runner.open_settlement_of(until, None, psn_no="1") is None
    await counter.runner.resolve_all()
    assert centre.settlements == 1


async def test_the_same_bill_of_another_person_is_an_attempt_of_its_own(
    centre: Any, counter: Counter
) -> None:
    doubtful = Attempt(
        msgid=counter.client.msgid(),
        type=MessageType.SETTLE,
        body=bytes(encode_body(settle_body())),
        psn_no="11000000000001",
        created_ms=counter.clock.now_ms,
    )
    counter.outbox.add(doubtful)
    outcome = await counter.runner.settle(settle_body(), psn_no="11000000000002")
    assert not outcome.is_taken_up
    assert outcome.attempt.msgid != doubtful.msgid
    assert counter.outbox.open_attempts() == [doubtful]
    assert centre.settlements == 1


async def test_never_sent_is_a_refusal_and_no_doubt(centre: Any, counter: Counter) -> None:
    await counter.client.close()
    counter.client._connector = nowhere
    outcome = await counter.runner.settle(settle_body())
    assert outcome.attempt.state is AttemptState.REFUSED
    assert outcome.attempt.ended_by == "not sent"
    assert outcome.attempt.sends == 0
    assert centre.count(MessageType.SETTLE) == 0


async def test_a_refusal_of_the_only_copy_ends_the_attempt(centre: Any, counter: Counter) -> None:
    centre.rule(MessageType.SETTLE, centre.refusing(ResponseCode.CARD_SESSION_EXPIRED))
    outcome = await counter.runner.settle(settle_body())
    assert outcome.attempt.state is AttemptState.REFUSED
    assert outcome.attempt.code == ResponseCode.CARD_SESSION_EXPIRED


async def test_a_refused_repetition_ends_nothing_while_a_copy_may_be_underway(
    centre: Any, counter: Counter
) -> None:
    centre.rule(
        MessageType.SETTLE,
        centre.lose_request,
        centre.refusing(ResponseCode.CARD_SESSION_EXPIRED),
    )
    outcome = await counter.runner.settle(settle_body())
    assert outcome.attempt.state is AttemptState.REVERSED
    assert outcome.attempt.msgid in centre.tombstones


async def test_system_error_is_a_doubt(centre: Any, counter: Counter) -> None:
    async def fail_after_posting(_peer: Any, request: m.Request) -> Any:
        centre.keep(request)
        return int(ResponseCode.SYSTEM_ERROR), None

    centre.rule(MessageType.SETTLE, fail_after_posting)
    outcome = await counter.runner.settle(settle_body())
    assert outcome.attempt.state is AttemptState.SETTLED
    assert outcome.attempt.ended_by == "status"


async def test_an_unknown_code_is_a_doubt(centre: Any, counter: Counter) -> None:
    async def newer(_peer: Any, _request: m.Request) -> Any:
        return 777, None

    centre.rule(MessageType.SETTLE, newer)
    outcome = await counter.runner.settle(settle_body())
    assert outcome.attempt.state is AttemptState.SETTLED
    assert outcome.attempt.ended_by == "repetition"


async def test_a_changed_split_is_refused_with_the_new_one(counter: Counter) -> None:
    body = settle_body()
    outcome = await counter.runner.settle(
        m.Settle(body.bill, body.fund_pay_fen + 1, body.account_pay_fen, body.cash_fen - 1)
    )
    assert outcome.attempt.state is AttemptState.REFUSED
    assert outcome.attempt.code == ResponseCode.SPLIT_CHANGED
    assert isinstance(outcome.body, m.Previewed)


async def test_a_sign_on_that_ended_underway_is_renewed_for_the_same_msgid(
    centre: Any, counter: Counter
) -> None:
    centre.sign_no = "ended at the centre"
    outcome = await counter.runner.settle(settle_body())
    assert outcome.attempt.state is AttemptState.SETTLED
    settles = [one for one in centre.requests if one.type == MessageType.SETTLE]
    assert len({one.msgid for one in settles}) == 1
    assert [one.sign_no for one in settles] == ["sign-1", "sign-2"]


async def test_a_print_is_acknowledged_once(centre: Any, counter: Counter) -> None:
    done = await counter.runner.settle(settle_body())
    centre.rule(MessageType.PRINT_ACK, centre.lose_reply)
    acked = await counter.runner.acknowledge_print(done.attempt.setl_id, is_printed=True)
    assert acked.body == m.PrintAcked(0)
    assert centre.printed[done.attempt.setl_id] == 1


async def test_every_fault_at_once_settles_once(centre: Any, counter: Counter) -> None:
    centre.rule(
        MessageType.SETTLE,
        centre.refusing(ResponseCode.BUSY),
        centre.lose_request,
        centre.garbage,
        centre.lose_reply,
    )
    centre.rule(
        MessageType.STATUS,
        centre.lose_request,
        centre.garbage,
        centre.refusing(ResponseCode.STORE_UNAVAILABLE),
    )
    outcome = await counter.runner.settle(settle_body())
    assert outcome.attempt.state is AttemptState.SETTLED
    assert centre.settlements == 1
    settles = {one.msgid for one in centre.requests if one.type == MessageType.SETTLE}
    assert settles == {outcome.attempt.msgid}


async def test_a_receipt_that_is_out_is_told_once_the_centre_is_back(
    centre: Any, counter: Counter
) -> None:
    """Else the settlement could be reversed while the patient holds the paper."""

    done = await counter.runner.settle(settle_body())
    await counter.client.close()
    connector, counter.client._connector = counter.client._connector, nowhere
    acked = await counter.runner.acknowledge_print(done.attempt.setl_id, is_printed=True)
    assert acked.attempt.state is AttemptState.UNKNOWN
    counter.client._connector = connector
    centre.rule(MessageType.PRINT_ACK, centre.refusing(ResponseCode.OPERATOR_MISMATCH))
    counter.client._password = ""
    (again,) = await counter.runner.resolve_all()
    assert again.attempt.state is AttemptState.UNKNOWN, "nobody was signed on"
    assert again.reason.startswith("209 ")
    (told,) = await counter.runner.resolve_all()
    assert told.attempt.state is AttemptState.SETTLED
    assert centre.printed == {done.attempt.setl_id: 1}


ON_THE_DAY_MS = 1_795_262_400_000
"""On the business date of the centre here."""


class PowerCutError(BaseException):
    """The power goes: nothing that runs here is told."""


class CutOutbox(Outbox):
    """An outbox whose machine loses its power at the end of a transaction, counted from 0."""

    cut_at = -1
    is_committed = True

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        is_cut = self.cut_at == 0
        self.cut_at -= 1
        with super()._transaction() as database:
            yield database
            if is_cut and not self.is_committed:
                raise PowerCutError
        if is_cut:
            raise PowerCutError


@pytest.mark.parametrize("fault", ["none", "lose_reply", "lose_request"])
@pytest.mark.parametrize("is_committed", [False, True])
async def test_a_power_cut_anywhere_leaves_one_settlement(
    centre: Any, config: TerminalConfig, fault: str, *, is_committed: bool
) -> None:
    """Whenever the power goes, the same bill again comes to one settlement and one answer."""
    person = "11000000000001"
    cuts = 0
    for cut_at in range(12):
        bill = msgspec.structs.replace(settle_body().bill, invoice=f"INV-{cut_at}")
        body = msgspec.structs.replace(settle_body(), bill=bill)
        stood = centre.settlements
        counter = Counter(config, CutOutbox)
        counter.clock.now_ms = ON_THE_DAY_MS + 300_000 * cut_at
        await counter.client.sign_on(OPERATOR, PASSWORD)
        if fault != "none":
            centre.rule(MessageType.SETTLE, getattr(centre, fault))
        counter.outbox.cut_at, counter.outbox.is_committed = cut_at, is_committed
        try:
            await counter.runner.settle(body, card_session=b"x", psn_no=person)
            is_cut = False
        except PowerCutError:
            is_cut = True
        centre.rules.clear()
        counter.client.drop()
        counter.outbox.cut_at = -1
        counter.outbox.close()

        again = Counter(config)
        again.clock.now_ms = counter.clock.now_ms + 200_000
        await again.client.sign_on(OPERATOR, PASSWORD)
        if again.runner.standing_settlement_of(bill, None, psn_no=person) is None:
            outcome = await again.runner.settle(body, card_session=b"y", psn_no=person)
            assert outcome.attempt.state is AttemptState.SETTLED
        assert centre.settlements == stood + 1, (cut_at, fault, is_committed)
        standing = again.runner.standing_settlement_of(bill, None, psn_no=person)
        assert standing is not None
        assert centre.stored[standing.msgid].setl_id == standing.setl_id
        assert again.outbox.open_attempts() == []
        await again.client.close()
        again.outbox.close()
        cuts += is_cut
    assert cuts >= (3 if fault == "none" else 4)
