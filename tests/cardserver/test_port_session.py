"""Who may do what once admitted: sign-on, operators, attempts, card sessions, deadlines."""

import asyncio
import datetime as dt
import hmac
import time
from collections.abc import AsyncIterator
from hashlib import sha256

import msgspec
import pytest
from msgspec import Struct

from cardserver.cards.session_token import CardSession, CardSessions
from cardserver.commands.database import acting_user, open_database
from cardserver.dispatch import HANDLERS
from cardserver.registry import administration_store as administration
from cardserver.registry.registry_store import Registry
from protocol.terminal import messages
from protocol.terminal.bodies import decode_reply_body
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import (
    Cancel,
    CardException,
    CardOpen,
    Echo,
    Eligibility,
    MemberQuery,
    MessageType,
    Preview,
    PrintAck,
    RelayOutcome,
    Reply,
    Request,
    Reverse,
    Settle,
    Settled,
    SignOff,
    SignOn,
    Status,
    StatusFound,
    StatusState,
)
from simulators.raw_terminal import Credentials, RawTerminal
from tests.cardserver.desk import HOSPITAL, OTHER_HOSPITAL, Desk, Reader, open_card, settle_of

LINE = messages.VisitLine("1", dt.date(2026, 11, 21), "D1", "", 10_000, 10_000, 1)
THIRD_HOSPITAL = "H11019900003"  # its operators are locked here, one after the other


@pytest.fixture
async def credentials(desk: Desk) -> Credentials:
    return await desk.enrol("SESSION")


@pytest.fixture
async def terminal(desk: Desk, credentials: Credentials) -> AsyncIterator[RawTerminal]:
    """Signed on."""
    async with desk.raw(credentials, operator="c001") as terminal:
        yield terminal


@pytest.fixture
async def token(desk: Desk, credentials: Credentials) -> bytes:
    """A session of a card opened at this terminal, on another connection of it."""
    async with desk.client(credentials) as client:
        return await open_card(client, desk.card())


def bodies(desk: Desk) -> dict[MessageType, Struct]:
    msgid = f"{HOSPITAL}202611210000000001"
    bill = desk.bill()
    return {
        MessageType.SIGN_OFF: SignOff(),
        MessageType.CARD_OPEN: CardOpen(
            "", b"", 0, 0, RelayOutcome.COMPLETED, (), wants_holder=False, card_time_us=0
        ),
        MessageType.MEMBER_QUERY: MemberQuery("02", "110199198301060015"),
        MessageType.ELIGIBILITY: Eligibility("1", "310", "11"),
        MessageType.PREVIEW: Preview(bill),
        MessageType.SETTLE: Settle(bill, 0, 0, bill.total_fen),
        MessageType.CANCEL: Cancel("1", ""),
        MessageType.REVERSE: Reverse("SESSION", msgid, ""),
        MessageType.STATUS: Status("SESSION", msgid),
        MessageType.PRINT_ACK: PrintAck("1", is_printed=True),
        MessageType.ACCUMULATORS: messages.Accumulators("1"),
        MessageType.EXPLAIN: messages.Explain("1"),
        MessageType.REFUND: messages.Refund("1", (messages.RefundLine(1, 1),), "", commits=True),
        MessageType.REGISTER: messages.Register("310", "11", None, "R1"),
        MessageType.ADMIT: messages.Admit("310", "21", None, "A1"),
        MessageType.DISCHARGE: messages.Discharge("1", None),
        MessageType.VISIT_CANCEL: messages.VisitCancel("1", ""),
        MessageType.DISCHARGE_CANCEL: messages.DischargeCancel("1", ""),
        MessageType.LINES: messages.Lines("1", (LINE,)),
        MessageType.LINES_CANCEL: messages.LinesCancel("1", ("1",), ""),
        MessageType.VISIT_QUERY: messages.VisitQuery("1"),
        MessageType.LIST_DOWNLOAD: messages.ListDownload("revocations", 0, b"", 0),
        MessageType.RECONCILE: messages.Reconcile(
            LINE.date, messages.ReconcileScope.TERMINAL, totals=()
        ),
        MessageType.RECONCILE_DETAIL: messages.ReconcileDetail("1", None, (), is_last=True),
        MessageType.CLEARING_APPLY: messages.ClearingApply(
            202611, messages.ClearingTotal(11, 0, 0, 0, 0)
        ),
        MessageType.CLEARING_CANCEL: messages.ClearingCancel("1"),
        MessageType.CLEARING_QUERY: messages.ClearingQuery(202611),
        MessageType.REVIEW_CASES: messages.ReviewCases(202611),
        MessageType.REVIEW_APPEAL: messages.ReviewAppeal("1", "made up"),
    }


async def codes(terminal: RawTerminal, desk: Desk, **envelope: str) -> dict[MessageType, int]:
    return {
        type_: (await terminal.reply_to(terminal.request(type_, body, **envelope))).code
        for type_, body in bodies(desk).items()
    }


def all_refused(desk: Desk, code: ResponseCode) -> dict[MessageType, int]:
    return dict.fromkeys(bodies(desk), code)


async def preview_and_settle(
    desk: Desk,
    terminal: RawTerminal,
    token: bytes,
    *,
    seed: int,
    lines: int = 3,
    **envelope: object,
) -> Reply:
    bill = desk.bill(seed, lines=lines)
    shown = await terminal.reply_to(
        terminal.request(MessageType.PREVIEW, Preview(bill), card_session=token)
    )
    assert shown.code == ResponseCode.APPROVED, shown
    body = decode_reply_body(MessageType.PREVIEW, shown.code, shown.body)
    settle = settle_of(bill, body.split)
    return await terminal.reply_to(
        terminal.request(MessageType.SETTLE, settle, card_session=token, **envelope)
    )


async def status_of(terminal: RawTerminal, msgid: str) -> StatusState:
    asked = Status(terminal.credentials.terminal, msgid)
    reply = await terminal.reply_to(terminal.request(MessageType.STATUS, asked))
    found = decode_reply_body(MessageType.STATUS, reply.code, reply.body)
    assert isinstance(found, StatusFound)
    return found.state


# --- sign-on ----------------------------------------------------------------------------------


async def test_without_a_sign_on_only_echo_is_served(desk: Desk, credentials: Credentials) -> None:
    assert set(HANDLERS) == set(MessageType)
    assert set(bodies(desk)) == set(HANDLERS) - {MessageType.SIGN_ON, MessageType.ECHO}
    async with desk.raw(credentials) as terminal:
        assert await codes(terminal, desk) == all_refused(desk, ResponseCode.NOT_SIGNED_ON)
        made_up = {"sign_no": "0" * 24, "operator": "c001"}
        assert await codes(terminal, desk, **made_up) == all_refused(
            desk, ResponseCode.NOT_SIGNED_ON
        )
        reply = await terminal.reply_to(terminal.request(MessageType.ECHO, Echo(b"x")))
        assert reply.code == ResponseCode.APPROVED
        assert reply.challenges == ()


async def test_who_is_refused_at_sign_on(desk: Desk, credentials: Credentials) -> None:
    async with desk.raw(credentials) as terminal:
        for operator, password, code in (
            ("c002", "wrong password", ResponseCode.OPERATOR_REFUSED),
            ("c002", "", ResponseCode.OPERATOR_REFUSED),
            ("nobody", desk.password, ResponseCode.OPERATOR_REFUSED),
            ("fund-1", desk.password, ResponseCode.OPERATOR_REFUSED),  # the fund's, not ours
            ("", desk.password, ResponseCode.OPERATOR_REFUSED),
        ):
            assert (await terminal.sign_on(operator, password)).code == code, operator
        body = SignOn("c001", desk.password, 1, "", (2, 3))
        request = terminal.request(MessageType.SIGN_ON, body, operator="c001")
        assert (await terminal.reply_to(request)).code == ResponseCode.UNSUPPORTED_VERSION
        body = SignOn("c001", desk.password, 1, "", (1,))
        request = terminal.request(MessageType.SIGN_ON, body, operator="c002")
        assert (await terminal.reply_to(request)).code == ResponseCode.OPERATOR_MISMATCH
        assert (await terminal.sign_on("c002", desk.password)).code == ResponseCode.APPROVED


async def test_a_role_that_does_not_serve_counters_may_not_sign_on(
    desk: Desk, credentials: Credentials
) -> None:
    async with open_database(desk.config) as database:
        registry = Registry(database)
        institution = await registry.institution_by_code(HOSPITAL)
        cashier = await registry.operator(1, "c001")
        assert institution is not None
        assert cashier is not None
        await administration.add_operator(
            database,
            institution=institution,
            code="r001",
            name="李四",
            role="registrar",
            password_hash=cashier.password_hash,
            actor=acting_user(),
        )
    async with desk.raw(credentials) as terminal:
        reply = await terminal.sign_on("r001", desk.password)
        assert reply.code == ResponseCode.OPERATOR_NOT_PERMITTED
        assert (await terminal.sign_on("s001", desk.password)).code == ResponseCode.APPROVED


async def test_three_wrong_passwords_lock(desk: Desk) -> None:
    credentials = await desk.enrol("GUESSER", institution=THIRD_HOSPITAL)
    async with desk.raw(credentials) as terminal:
        codes = [(await terminal.sign_on("c001", "wrong")).code for _ in range(4)]
        assert codes == [
            ResponseCode.OPERATOR_REFUSED,
            ResponseCode.OPERATOR_REFUSED,
            ResponseCode.OPERATOR_LOCKED,
            ResponseCode.OPERATOR_LOCKED,
        ]
        assert (await terminal.sign_on("c001", desk.password)).code == ResponseCode.OPERATOR_LOCKED


async def test_a_right_password_forgives_the_wrong_ones_before(desk: Desk) -> None:
    credentials = await desk.enrol("TYPIST", institution=THIRD_HOSPITAL)
    async with desk.raw(credentials) as terminal:
        for _ in range(2):
            for _ in range(2):
                reply = await terminal.sign_on("c002", "wrong")
                assert reply.code == ResponseCode.OPERATOR_REFUSED
            assert (await terminal.sign_on("c002", desk.password)).code == ResponseCode.APPROVED


async def test_many_guesses_at_once_are_not_more_than_in_turn(desk: Desk) -> None:
    """Of twenty at once on several connections, the right one among the last is not accepted."""
    credentials = [await desk.enrol(f"P{i}", institution=THIRD_HOSPITAL) for i in range(4)]

    async def guess(who: Credentials, passwords: list[str]) -> list[int]:
        async with desk.raw(who) as terminal:
            requests = [
                terminal.request(
                    MessageType.SIGN_ON, SignOn("c003", one, 1, "", (1,)), operator="c003"
                )
                for one in passwords
            ]
            await terminal.say(*requests)
            heard = [await terminal.hear() for _ in requests]
            return [reply.code for reply in heard if isinstance(reply, Reply)]

    wrong = [f"wrong {number}" for number in range(4)]
    found = await asyncio.gather(*(guess(one, [*wrong, desk.password]) for one in credentials))
    flat = [code for part in found for code in part]
    assert len(flat) == 20
    # Two are told so, the third locks, and from then on nothing is even looked at.
    assert flat.count(ResponseCode.OPERATOR_REFUSED) == 2
    assert flat.count(ResponseCode.OPERATOR_LOCKED) == 18


async def test_a_sign_no_serves_its_own_terminal_on_any_connection(
    desk: Desk, credentials: Credentials, terminal: RawTerminal
) -> None:
    other = await desk.enrol("OTHER")
    elsewhere = await desk.enrol("ELSEWHERE", institution=OTHER_HOSPITAL)
    held = {"sign_no": terminal.sign_no, "operator": "c001"}
    for stranger in (other, elsewhere):
        async with desk.raw(stranger) as thief:
            assert await codes(thief, desk, **held) == (
                all_refused(desk, ResponseCode.NOT_SIGNED_ON)
            )
    async with desk.raw(credentials) as again:
        echo = again.request(MessageType.ECHO, Echo(b""), **held)
        reply = await again.reply_to(echo)
        assert len(reply.challenges) == 4  # as good as a sign-on's for opening cards
        query = again.request(MessageType.MEMBER_QUERY, bodies(desk)[MessageType.MEMBER_QUERY])
        query = msgspec.structs.replace(query, **held)
        assert (await again.reply_to(query)).code in {
            ResponseCode.APPROVED,
            ResponseCode.PERSON_UNKNOWN,
        }


async def test_another_operators_name_under_a_sign_no_is_refused(
    desk: Desk, terminal: RawTerminal
) -> None:
    assert await codes(terminal, desk, operator="s001") == (
        all_refused(desk, ResponseCode.OPERATOR_MISMATCH)
    )


async def test_after_sign_off_the_sign_no_is_refused_everywhere(
    desk: Desk, credentials: Credentials, terminal: RawTerminal
) -> None:
    query = bodies(desk)[MessageType.MEMBER_QUERY]
    over = {ResponseCode.NOT_SIGNED_ON, ResponseCode.SIGN_ON_EXPIRED}
    async with desk.raw(credentials) as other:
        other.sign_no, other.operator = terminal.sign_no, terminal.operator
        assert (await other.reply_to(other.request(MessageType.MEMBER_QUERY, query))).code not in (
            over
        )
        reply = await terminal.reply_to(terminal.request(MessageType.SIGN_OFF, SignOff()))
        assert reply.code == ResponseCode.APPROVED
        # At once where it was said, and within the time of belief elsewhere.
        again = await terminal.reply_to(terminal.request(MessageType.MEMBER_QUERY, query))
        assert again.code in over
        await asyncio.sleep(0.45)
        elsewhere = await other.reply_to(other.request(MessageType.MEMBER_QUERY, query))
        assert elsewhere.code in over


async def test_a_sign_on_expires(desk: Desk, credentials: Credentials) -> None:
    async with desk.raw(credentials, operator="c001") as terminal:
        async with open_database(desk.config) as database:
            await Registry(database).close_sign_on(
                terminal.sign_no, ends_time_ms=time.time_ns() // 1_000_000
            )
        await asyncio.sleep(0.45)
        assert await codes(terminal, desk) == all_refused(desk, ResponseCode.SIGN_ON_EXPIRED)


async def test_an_operator_locked_while_signed_on_is_refused(
    desk: Desk, credentials: Credentials
) -> None:
    all_bodies = bodies(desk)
    async with desk.raw(credentials, operator="c004") as terminal:
        query = terminal.request(MessageType.MEMBER_QUERY, all_bodies[MessageType.MEMBER_QUERY])
        await terminal.reply_to(query)
        async with open_database(desk.config) as database:
            operator = await Registry(database).operator(1, "c004")
            assert operator is not None
            await administration.set_operator_active(
                database, operator, acting_user(), is_active=False
            )
        for type_ in (MessageType.CANCEL, MessageType.REFUND, MessageType.REVERSE):  # at once
            reply = await terminal.reply_to(terminal.request(type_, all_bodies[type_]))
            assert reply.code == ResponseCode.OPERATOR_LOCKED
        await asyncio.sleep(0.45)
        assert await codes(terminal, desk) == all_refused(desk, ResponseCode.OPERATOR_LOCKED)


# --- deadlines and the queue ------------------------------------------------------------------


async def test_a_deadline_that_has_passed_posts_nothing(
    desk: Desk, terminal: RawTerminal, token: bytes
) -> None:
    msgid = terminal.msgid()
    reply = await preview_and_settle(desk, terminal, token, seed=1, msgid=msgid, time_left_ms=0)
    assert reply.code == ResponseCode.DEADLINE_PASSED
    assert await status_of(terminal, msgid) == StatusState.NOT_SEEN
    reply = await preview_and_settle(desk, terminal, token, seed=1, msgid=msgid)
    assert reply.code == ResponseCode.APPROVED
    assert not reply.duplicate


async def test_what_waits_too_long_or_finds_no_place_in_the_queue_is_not_posted(
    desk: Desk, credentials: Credentials, terminal: RawTerminal, token: bytes
) -> None:
    """Here a group holds one posting and the queue four."""

    async def rush(turn: int) -> list[tuple[Request, int]]:
        async with desk.raw(credentials) as one:
            one.sign_no, one.operator = terminal.sign_no, terminal.operator
            settles = [
                one.request(
                    MessageType.SETTLE,
                    # The split is wrong on purpose: what counts is whether it was looked at.
                    Settle(desk.bill(seed), 0, 0, 1),
                    card_session=token,
                    time_left_ms=20_000 if turn else 1,
                )
                for seed in range(8)
            ]
            await one.say(*settles)
            heard = [await one.hear() for _ in settles]
            found = {reply.exchange: reply.code for reply in heard if isinstance(reply, Reply)}
            return [(request, found[request.exchange]) for request in settles]

    rushes = await asyncio.gather(*(rush(turn) for turn in range(5)))
    ends = [end for one in rushes for end in one]
    looked_at, busy, late = (
        [request for request, code in ends if code == wanted]
        for wanted in (
            ResponseCode.SPLIT_CHANGED,
            ResponseCode.BUSY,
            ResponseCode.DEADLINE_PASSED,
        )
    )
    assert len(looked_at) + len(busy) + len(late) == 40
    assert looked_at
    assert busy
    assert late
    for request, code in ends:
        state = await status_of(terminal, request.msgid)
        assert (state == StatusState.REFUSED) == (code == ResponseCode.SPLIT_CHANGED)
    # Who was told BUSY comes again with the same msgid and is served.
    again = msgspec.structs.replace(busy[0], exchange=5000, time_left_ms=20_000)
    reply = await terminal.reply_to(again)
    assert reply.code == ResponseCode.SPLIT_CHANGED
    assert not reply.duplicate


# --- attempts ---------------------------------------------------------------------------------


async def test_a_repeated_attempt_is_answered_alike_and_posted_once(
    desk: Desk, terminal: RawTerminal, token: bytes
) -> None:
    msgid = terminal.msgid()
    first = await preview_and_settle(desk, terminal, token, seed=2, msgid=msgid)
    assert first.code == ResponseCode.APPROVED
    settled = decode_reply_body(MessageType.SETTLE, first.code, first.body)
    assert isinstance(settled, Settled)
    split = settled.split
    settle = settle_of(desk.bill(2), split)
    again = terminal.request(MessageType.SETTLE, settle, card_session=token, msgid=msgid)
    second = await terminal.reply_to(again)
    assert second.duplicate
    assert bytes(second.body) == bytes(first.body)
    # The stored outcome wins over whatever became of the card session since.
    for worthless in (b"", b"not a token", token[:-1] + bytes([token[-1] ^ 1])):
        again = terminal.request(MessageType.SETTLE, settle, card_session=worthless, msgid=msgid)
        third = await terminal.reply_to(again)
        assert third.duplicate
        assert bytes(third.body) == bytes(first.body)
    # Other content under the same msgid, with a good token and with none.
    other = msgspec.structs.replace(settle, cash_fen=settle.cash_fen + 1)
    for presented in (token, b""):
        request = terminal.request(MessageType.SETTLE, other, card_session=presented, msgid=msgid)
        assert (await terminal.reply_to(request)).code == ResponseCode.MSGID_REUSED
    cancel = terminal.request(MessageType.CANCEL, Cancel(settled.setl_id, ""), msgid=msgid)
    assert (await terminal.reply_to(cancel)).code == ResponseCode.MSGID_REUSED


async def test_a_msgid_of_another_institution_is_refused(
    desk: Desk, terminal: RawTerminal, token: bytes
) -> None:
    foreign = OTHER_HOSPITAL + terminal.msgid()[12:]
    reply = await preview_and_settle(desk, terminal, token, seed=3, msgid=foreign)
    assert reply.code == ResponseCode.INVALID_MSGID
    for type_, body in (
        (MessageType.STATUS, Status("SESSION", foreign)),
        (MessageType.REVERSE, Reverse("SESSION", foreign, "")),
    ):
        reply = await terminal.reply_to(terminal.request(type_, body))
        assert reply.code == ResponseCode.INVALID_MSGID
    unknown = terminal.request(MessageType.STATUS, Status("NOBODY", terminal.msgid()))
    assert (await terminal.reply_to(unknown)).code == ResponseCode.INVALID_FIELD


async def test_another_institution_can_neither_see_nor_undo(
    desk: Desk, terminal: RawTerminal, token: bytes
) -> None:
    reply = await preview_and_settle(desk, terminal, token, seed=4)
    settled = decode_reply_body(MessageType.SETTLE, reply.code, reply.body)
    assert isinstance(settled, Settled)
    elsewhere = await desk.enrol("SESSION", institution=OTHER_HOSPITAL)  # even of the same name
    async with desk.raw(elsewhere, operator="c001") as stranger:
        cancel = stranger.request(MessageType.CANCEL, Cancel(settled.setl_id, ""))
        assert (await stranger.reply_to(cancel)).code == ResponseCode.ORIGINAL_NOT_FOUND
        ack = stranger.request(MessageType.PRINT_ACK, PrintAck(settled.setl_id, is_printed=True))
        assert (await stranger.reply_to(ack)).code == ResponseCode.ORIGINAL_NOT_FOUND
    cancel = terminal.request(MessageType.CANCEL, Cancel(settled.setl_id, ""))
    assert (await terminal.reply_to(cancel)).code == ResponseCode.APPROVED


# --- card sessions and exceptions -------------------------------------------------------------


async def test_card_sessions_that_do_not_hold(
    desk: Desk, terminal: RawTerminal, token: bytes
) -> None:
    secret = (desk.city.directory / "session.secret").read_bytes()
    other = await desk.enrol("OTHER")
    async with desk.client(other) as client:
        others = await open_card(client, desk.card())
    session = msgspec.msgpack.decode(token[32:], type=CardSession)
    body = msgspec.msgpack.encode(session)
    someone_else = msgspec.structs.replace(session, person_no=session.person_no + 1)
    weak = CardSessions(secret).issue(msgspec.structs.replace(session, proof=1))
    old = msgspec.structs.replace(session, opened_time_ms=session.opened_time_ms - 600_000)
    forged = {
        "none": (b"", ResponseCode.CARD_SESSION_REQUIRED),
        "of another terminal": (others, ResponseCode.CARD_SESSION_NOT_VALID),
        "another person put in": (
            token[:32] + msgspec.msgpack.encode(someone_else),
            ResponseCode.CARD_SESSION_NOT_VALID,
        ),
        "signed with another secret": (
            CardSessions(b"x" * 32).issue(session),
            ResponseCode.CARD_SESSION_NOT_VALID,
        ),
        "signed for another purpose": (
            hmac.digest(secret, body, sha256) + body,
            ResponseCode.CARD_SESSION_NOT_VALID,
        ),
        "cut": (token[:-1], ResponseCode.CARD_SESSION_NOT_VALID),
        "only a tag": (token[:32], ResponseCode.CARD_SESSION_NOT_VALID),
        "too old": (CardSessions(secret).issue(old), ResponseCode.CARD_SESSION_EXPIRED),
        "not proven": (weak, ResponseCode.CARD_PROOF_TOO_WEAK),
    }
    for name, (presented, code) in forged.items():
        for type_, asked in (
            (MessageType.PREVIEW, Preview(desk.bill())),
            (MessageType.SETTLE, Settle(desk.bill(), 0, 0, 0)),
        ):
            request = terminal.request(type_, asked, card_session=presented)
            assert (await terminal.reply_to(request)).code == code, (name, type_)
    good = terminal.request(MessageType.PREVIEW, Preview(desk.bill()), card_session=token)
    assert (await terminal.reply_to(good)).code == ResponseCode.APPROVED


def aged(desk: Desk, token: bytes, age_ms: int) -> bytes:
    """The same card session, as if the card had been opened earlier."""
    secret = (desk.city.directory / "session.secret").read_bytes()
    session = msgspec.msgpack.decode(token[32:], type=CardSession)
    opened = time.time_ns() // 1_000_000 - age_ms
    return CardSessions(secret).issue(msgspec.structs.replace(session, opened_time_ms=opened))


async def test_a_stored_outcome_wins_over_an_expired_card_session(
    desk: Desk, terminal: RawTerminal, token: bytes
) -> None:
    msgid = terminal.msgid()
    first = await preview_and_settle(
        desk, terminal, aged(desk, token, 590_000), seed=5, msgid=msgid
    )
    assert first.code == ResponseCode.APPROVED
    settled = decode_reply_body(MessageType.SETTLE, first.code, first.body)
    assert isinstance(settled, Settled)
    settle, expired = settle_of(desk.bill(5), settled.split), aged(desk, token, 600_000)
    new = terminal.request(MessageType.SETTLE, settle, card_session=expired)
    assert (await terminal.reply_to(new)).code == ResponseCode.CARD_SESSION_EXPIRED
    again = terminal.request(MessageType.SETTLE, settle, card_session=expired, msgid=msgid)
    repeated = await terminal.reply_to(again)
    assert repeated.code == ResponseCode.APPROVED
    assert repeated.duplicate
    assert bytes(repeated.body) == bytes(first.body)


async def test_a_large_sum_needs_a_card_that_answered_just_now(
    desk: Desk, terminal: RawTerminal, token: bytes
) -> None:
    """Above 5,000 yuan here, at most two minutes ago."""
    large, small = desk.bill(0, lines=100), desk.bill(0, lines=1)
    assert large.total_fen > 500_000 > small.total_fen
    for bill, age_ms, code in (
        (large, 119_000, ResponseCode.APPROVED),
        (large, 121_000, ResponseCode.CARD_PROOF_TOO_WEAK),
        (small, 121_000, ResponseCode.APPROVED),
    ):
        presented = aged(desk, token, age_ms)
        for type_, body in (
            (MessageType.PREVIEW, Preview(bill)),
            (MessageType.SETTLE, Settle(bill, 0, 0, 1)),
        ):
            request = terminal.request(type_, body, card_session=presented)
            found = (await terminal.reply_to(request)).code
            assert found == code or (found == ResponseCode.SPLIT_CHANGED and not code)


async def test_without_a_card_only_as_the_configuration_allows(
    desk: Desk, terminal: RawTerminal
) -> None:
    number = desk.card_data().holder_number
    small = next(bill for seed in range(1000) if (bill := desk.bill(seed, lines=1)).total_fen < 9e3)
    large = desk.bill(0, lines=20)
    assert large.total_fen > 20_000
    pharmacy = msgspec.structs.replace(small, med_type="41")

    async def code_of(bill: Struct, *exception: str) -> int:
        preview = Preview(bill, CardException(*exception))
        return (await terminal.reply_to(terminal.request(MessageType.PREVIEW, preview))).code

    assert await code_of(small, "reader-broken", "02", number) == ResponseCode.APPROVED
    not_allowed = ResponseCode.EXCEPTION_NOT_ALLOWED
    assert await code_of(large, "reader-broken", "02", number) == not_allowed
    assert await code_of(pharmacy, "reader-broken", "02", number) == not_allowed
    assert await code_of(small, "forgot-it", "02", number) == not_allowed
    assert await code_of(small, "", "02", number) == not_allowed
    assert await code_of(small, "reader-broken", "99", number) == ResponseCode.INVALID_FIELD
    unknown = "110199190001010018"
    assert await code_of(small, "reader-broken", "02", unknown) == ResponseCode.PERSON_UNKNOWN
    # A refusal of stage 4 is kept under its msgid.
    msgid = terminal.msgid()
    settle = Settle(small, 0, 0, 0, CardException("reader-broken", "02", unknown))
    for is_duplicate in (False, True):
        request = terminal.request(MessageType.SETTLE, settle, msgid=msgid)
        reply = await terminal.reply_to(request)
        assert reply.code == ResponseCode.PERSON_UNKNOWN
        assert reply.duplicate is is_duplicate
    assert await status_of(terminal, msgid) == StatusState.REFUSED


@pytest.mark.parametrize(
    ("insutype", "med_type", "code"),
    [
        ("310", "11", ResponseCode.APPROVED),
        ("999", "11", ResponseCode.COVERAGE_NOT_FOUND),
        ("310", "41", ResponseCode.CARE_TYPE_NOT_CONTRACTED),
        ("310", "99", ResponseCode.POLICY_NOT_FOUND),
    ],
)
async def test_eligibility_gives_the_reason_that_settle_would(
    desk: Desk, credentials: Credentials, insutype: str, med_type: str, code: ResponseCode
) -> None:
    async with desk.client(credentials) as client:
        token = await open_card(client, desk.card())
        found = await client.request(
            MessageType.ELIGIBILITY, Eligibility("", insutype, med_type), card_session=token
        )
        assert isinstance(found.body, messages.EligibilityFound)
        assert (found.body.is_entitled, found.body.reason) == (code == 0, code)
        bill = msgspec.structs.replace(desk.bill(71), insutype=insutype, med_type=med_type)
        shown = await client.request(MessageType.PREVIEW, Preview(bill), card_session=token)
        assert shown.code == code


async def test_a_challenge_serves_once_and_on_its_connection_only(
    desk: Desk, credentials: Credentials
) -> None:
    async with desk.client(credentials) as client:
        reader = Reader(desk.card())
        for _ in range(6):  # more often than challenges are held at once
            assert (await client.open_card(reader)).answer.is_approved
    async with desk.raw(credentials, operator="c001") as terminal:
        atr = await reader.connect()
        for challenge in (0, 99, 2**32 - 1):
            body = CardOpen(
                "",
                atr,
                1,
                challenge,
                RelayOutcome.COMPLETED,
                (),
                wants_holder=False,
                card_time_us=0,
            )
            reply = await terminal.reply_to(terminal.request(MessageType.CARD_OPEN, body))
            assert reply.code == ResponseCode.CHALLENGE_NOT_VALID
        body = CardOpen(
            "",
            atr,
            99,
            1,
            RelayOutcome.COMPLETED,
            (b"\x90\x00",),
            wants_holder=False,
            card_time_us=0,
        )
        reply = await terminal.reply_to(terminal.request(MessageType.CARD_OPEN, body))
        assert ResponseCode.CARD_READER_FAULT <= reply.code <= ResponseCode.CHALLENGE_NOT_VALID


async def test_a_bill_of_two_thousand_lines_fits(
    desk: Desk, terminal: RawTerminal, token: bytes
) -> None:
    bill = desk.bill(7, lines=2000)
    preview = Preview(bill, None, wants_explanation=True)
    reply = await terminal.reply_to(
        terminal.request(MessageType.PREVIEW, preview, card_session=token)
    )
    assert reply.code == ResponseCode.APPROVED, reply
    settled = await preview_and_settle(desk, terminal, token, seed=8, lines=2000)
    assert settled.code == ResponseCode.APPROVED
