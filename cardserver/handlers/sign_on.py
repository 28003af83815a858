"""SIGN_ON, SIGN_OFF, ECHO, and the check of the sign-on that every later request carries."""

import secrets

from cardserver.centre import Answer, Centre, Exchange
from cardserver.handlers.lists import newest_lists
from cardserver.observe.stages import Stage
from cardserver.registry.passwords import verify_password
from cardserver.registry.values import Operator, Terminal
from cardserver.session import SignedOnOperator, TerminalSession, card_steps
from ledger.calendar import day_number
from protocol.card.catalogue import OPENINGS
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import (
    PROTOCOL_VERSION,
    Challenge,
    Echo,
    Echoed,
    MessageType,
    OpeningBatch,
    SignedOff,
    SignedOn,
    SignOff,
    SignOn,
)

COUNTER_ROLES = frozenset({"cashier", "supervisor"})
_UNDOING = frozenset({MessageType.CANCEL, MessageType.REFUND, MessageType.REVERSE})

_OPENINGS = tuple(
    OpeningBatch(opening.number, opening.atr, opening.atr_mask, card_steps(opening.batch))
    for opening in OPENINGS
)


async def sign_on(exchange: Exchange, body: SignOn) -> Answer:
    """SIGN_ON (9001): prove the operator, agree on a version, hand out challenges."""
    centre, session = exchange.centre, exchange.session
    if PROTOCOL_VERSION not in body.versions:
        return Answer(
            ResponseCode.UNSUPPORTED_VERSION,
            detail_zh=f"本中心支持版本 {PROTOCOL_VERSION}",
            detail_en=f"this centre speaks version {PROTOCOL_VERSION}",
        )
    if exchange.request.operator != body.operator:
        return Answer(ResponseCode.OPERATOR_MISMATCH)
    if (code := await _refusal_of_terminal(exchange)) is not None:
        return Answer(code)
    # One guess after another, of a terminal too: it shall not have all the threads to itself.
    async with centre.proving(-session.terminal.terminal_no):
        institution_no = session.institution.institution_no
        operator = await centre.registry.operator(institution_no, body.operator)
        if operator is None:
            if exchange.time_left_ms() <= 0:
                return Answer(ResponseCode.DEADLINE_PASSED)
            # As long as a wrong password takes, so that operator numbers can't be guessed by time.
            await verify_password("", body.password)
            return Answer(ResponseCode.OPERATOR_REFUSED)
        # Guesses made at once count as they do in turn.
        async with centre.proving(operator.operator_no):
            refusal = await _prove(exchange, body)
            if refusal is not None:
                return refusal
            return await _open(exchange, operator, wants_stages=body.wants_stages)


async def _refusal_of_terminal(exchange: Exchange) -> ResponseCode | None:
    """Say why the terminal may not work any more; it was admitted when it connected."""
    centre, session = exchange.centre, exchange.session
    terminal = await centre.registry.terminal_by_no(session.terminal.terminal_no)
    institution = await centre.registry.institution_by_code(session.institution.code)
    if terminal is None or institution is None:
        return ResponseCode.TERMINAL_UNKNOWN
    if (refusal := _refusal_of_certificate(exchange, terminal)) is not None:
        return refusal
    return None if institution.is_active else ResponseCode.INSTITUTION_SUSPENDED


def _refusal_of_certificate(exchange: Exchange, terminal: Terminal) -> ResponseCode | None:
    """Compare the connection's certificate with what the registry and the list say now."""
    certificate = exchange.session.terminal.certificate_sha256
    if not terminal.is_active or exchange.centre.revocations.is_certificate_revoked(certificate):
        return ResponseCode.TERMINAL_DISABLED
    if terminal.certificate_sha256 != certificate:
        return ResponseCode.CERTIFICATE_REPLACED
    return None


async def _prove(exchange: Exchange, body: SignOn) -> Answer | None:
    """Check the operator's password, and count it where it is wrong."""
    centre, session = exchange.centre, exchange.session
    operator = await centre.registry.operator(session.institution.institution_no, body.operator)
    if operator is None or not operator.is_active:
        return Answer(ResponseCode.OPERATOR_LOCKED)
    if exchange.time_left_ms() <= 0:  # others' guesses took it
        return Answer(ResponseCode.DEADLINE_PASSED)
    if await verify_password(operator.password_hash, body.password):
        return None
    locked = await centre.registry.record_failure(
        operator.operator_no, failures_max=centre.config.sign_on.failures_max
    )
    return Answer(ResponseCode.OPERATOR_LOCKED if locked else ResponseCode.OPERATOR_REFUSED)


async def _open(exchange: Exchange, operator: Operator, *, wants_stages: bool) -> Answer:
    """Begin the sign-on of an operator who is proven."""
    centre, session = exchange.centre, exchange.session
    exchange.clock.end(Stage.VERIFICATION)
    if operator.role not in COUNTER_ROLES:
        return Answer(ResponseCode.OPERATOR_NOT_PERMITTED)
    now_ms = centre.clock.now_ms()
    ends_ms = now_ms + centre.config.sign_on.life_ms
    sign_no = secrets.token_hex(12)
    batch_no = await centre.registry.open_sign_on(
        sign_no=sign_no,
        terminal_no=session.terminal.terminal_no,
        operator_no=operator.operator_no,
        begins_time_ms=now_ms,
        ends_time_ms=ends_ms,
        business_date=day_number(centre.today()),
        wants_stages=wants_stages,
    )
    session.sign_on = SignedOnOperator(
        sign_no, operator, ends_ms, centre.clock.monotonic_ms(), wants_stages=wants_stages
    )
    return Answer(
        ResponseCode.APPROVED,
        SignedOn(
            sign_no=sign_no,
            version=PROTOCOL_VERSION,
            batch_no=batch_no,
            fund_zh=centre.config.fund.name_zh,
            fund_en=centre.config.fund.name_en,
            challenges=fresh_challenges(centre, session),
            openings=_OPENINGS,
            in_flight_max=centre.config.listener.in_flight_max,
            frame_size_max=centre.config.listener.frame_size_max,
            expires_time_ms=ends_ms,
            lists=await newest_lists(centre, session.institution),
        ),
    )


async def sign_off(exchange: Exchange, _body: SignOff) -> Answer:
    """SIGN_OFF (9002): the sign-on ends now."""
    await exchange.centre.registry.close_sign_on(
        exchange.request.sign_no, ends_time_ms=exchange.centre.clock.now_ms()
    )
    exchange.session.sign_on = None
    return Answer(ResponseCode.APPROVED, SignedOff())


async def echo(_exchange: Exchange, body: Echo) -> Answer:
    """ECHO: the same bytes back."""
    return Answer(ResponseCode.APPROVED, Echoed(body.payload))


async def check_sign_on(exchange: Exchange) -> Answer | None:
    """Refuse a request whose sign-on is missing, over, or another operator's.

    What was seen a few seconds ago is believed, except before a settlement is undone. SETTLE reads
    terminal and institution again within its own transaction.
    """
    centre, session, request = exchange.centre, exchange.session, exchange.request
    if not request.sign_no:
        return Answer(ResponseCode.NOT_SIGNED_ON)
    known = session.sign_on
    is_stale = (
        known is None
        or known.sign_no != request.sign_no
        or exchange.type in _UNDOING
        or centre.clock.monotonic_ms() - known.seen_ms > centre.config.sign_on.recheck_ms
    )
    if is_stale:
        found = await centre.registry.sign_on(request.sign_no)
        if found is None or found.terminal.terminal_no != session.terminal.terminal_no:
            return Answer(ResponseCode.NOT_SIGNED_ON)
        if (refusal := _refusal_of_certificate(exchange, found.terminal)) is not None:
            return Answer(refusal)
        if not found.institution_is_active:
            return Answer(ResponseCode.INSTITUTION_SUSPENDED)
        if not found.operator.is_active:
            return Answer(ResponseCode.OPERATOR_LOCKED)
        known = SignedOnOperator(
            request.sign_no,
            found.operator,
            found.ends_time_ms,
            centre.clock.monotonic_ms(),
            wants_stages=found.wants_stages,
        )
        session.sign_on = known
    assert known is not None
    if known.ends_time_ms <= centre.clock.now_ms():
        return Answer(ResponseCode.SIGN_ON_EXPIRED)
    if request.operator != known.operator.code:
        return Answer(ResponseCode.OPERATOR_MISMATCH)
    exchange.operator = known.operator
    return None


def fresh_challenges(centre: Centre, session: TerminalSession) -> tuple[Challenge, ...]:
    """Top the terminal's challenges up to what it may hold."""
    life_ms = centre.config.cards.challenge_life_ms
    return tuple(
        Challenge(number, value, life_ms)
        for number, value in (
            session.challenges.issue() for _ in range(session.challenges.missing_count)
        )
    )
