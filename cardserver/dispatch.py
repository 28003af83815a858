"""From a request to its reply: the checks that come before every handler, in their order.

Message (1xx), terminal and sign-on (2xx), then the handler. The lowest code that applies is the
one answered. Not here: what each message does (`handlers/`).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from msgspec import Raw, Struct

from cardserver.centre import Answer, Centre, Exchange
from cardserver.handlers.accumulators import accumulators
from cardserver.handlers.card import card_open
from cardserver.handlers.clearing import clearing_apply, clearing_cancel, clearing_query
from cardserver.handlers.eligibility import eligibility
from cardserver.handlers.lists import list_download
from cardserver.handlers.member import member_query
from cardserver.handlers.money import cancel, preview, print_ack, reverse, settle
from cardserver.handlers.reconcile import reconcile, reconcile_detail
from cardserver.handlers.review import review_appeal, review_cases
from cardserver.handlers.settled import explain, refund
from cardserver.handlers.sign_on import check_sign_on, echo, fresh_challenges, sign_off, sign_on
from cardserver.handlers.status import status
from cardserver.handlers.visit import (
    admit,
    discharge,
    discharge_cancel,
    lines,
    lines_cancel,
    register,
    visit_cancel,
    visit_query,
)
from cardserver.observe.logs import correlate
from cardserver.observe.stages import Stage, StageClock
from cardserver.request_notes import note_answered, note_felt, trace_context
from cardserver.session import TerminalSession
from ledger.calendar import date_of
from ledger.store_errors import CommitUnknownError, StoreError
from protocol.terminal import msgid
from protocol.terminal.bodies import NIL, decode_request_body, encode_body
from protocol.terminal.codes import ResponseCode
from protocol.terminal.errors import LocalProtocolError, RemoteProtocolError
from protocol.terminal.messages import MessageType, Reply, Request, StageTime

_MS = 1_000_000  # nanoseconds

log = structlog.get_logger("cardserver.dispatch")


@dataclass(frozen=True, slots=True)
class Handler:
    """What serves a message type, and whether it needs a sign-on."""

    serve: Callable[[Exchange, Any], Awaitable[Answer]]  # Any: each takes its own body type
    needs_sign_on: bool = True


HANDLERS: Mapping[MessageType, Handler] = {
    MessageType.SIGN_ON: Handler(sign_on, needs_sign_on=False),
    MessageType.SIGN_OFF: Handler(sign_off),
    MessageType.ECHO: Handler(echo, needs_sign_on=False),
    MessageType.CARD_OPEN: Handler(card_open),
    MessageType.MEMBER_QUERY: Handler(member_query),
    MessageType.ELIGIBILITY: Handler(eligibility),
    MessageType.ACCUMULATORS: Handler(accumulators),
    MessageType.PREVIEW: Handler(preview),
    MessageType.SETTLE: Handler(settle),
    MessageType.CANCEL: Handler(cancel),
    MessageType.REVERSE: Handler(reverse),
    MessageType.STATUS: Handler(status),
    MessageType.PRINT_ACK: Handler(print_ack),
    MessageType.REGISTER: Handler(register),
    MessageType.ADMIT: Handler(admit),
    MessageType.DISCHARGE: Handler(discharge),
    MessageType.VISIT_CANCEL: Handler(visit_cancel),
    MessageType.DISCHARGE_CANCEL: Handler(discharge_cancel),
    MessageType.LINES: Handler(lines),
    MessageType.LINES_CANCEL: Handler(lines_cancel),
    MessageType.VISIT_QUERY: Handler(visit_query),
    MessageType.LIST_DOWNLOAD: Handler(list_download),
    MessageType.EXPLAIN: Handler(explain),
    MessageType.REFUND: Handler(refund),
    MessageType.RECONCILE: Handler(reconcile),
    MessageType.RECONCILE_DETAIL: Handler(reconcile_detail),
    MessageType.CLEARING_APPLY: Handler(clearing_apply),
    MessageType.CLEARING_CANCEL: Handler(clearing_cancel),
    MessageType.CLEARING_QUERY: Handler(clearing_query),
    MessageType.REVIEW_CASES: Handler(review_cases),
    MessageType.REVIEW_APPEAL: Handler(review_appeal),
}


class Dispatcher:
    """Serves the requests of all sessions of one worker."""

    def __init__(self, centre: Centre) -> None:
        """Serve with these parts."""
        self._centre = centre

    async def serve(self, session: TerminalSession, request: Request, received_ns: int) -> None:
        """Answer one request, whatever happens."""
        clock = StageClock(received_ns)
        clock.end(Stage.QUEUE)
        context = trace_context(request)
        correlate(request.msgid, context.trace_id)
        metrics = self._centre.metrics
        metrics.in_flight.inc()
        try:
            answer = await self._answer(session, request, clock)
            reply = self._reply(session, request, answer, clock)
        except Exception:  # the boundary: a fault of ours is logged, answered, and ends here
            log.exception("fault", msgid=request.msgid, type=request.type)
            answer = Answer(ResponseCode.SYSTEM_ERROR)
            reply = self._reply(session, request, answer, clock)
        finally:
            metrics.in_flight.dec()
        try:
            session.send(reply)
        except LocalProtocolError as error:  # the reply does not fit a frame
            log.warning("reply too large", msgid=request.msgid, error=str(error))
            answer = Answer(ResponseCode.SYSTEM_ERROR, detail_en=str(error))
            session.send(self._reply(session, request, answer, clock))
        clock.end(Stage.WRITE)
        note_answered(self._centre, session, request, answer, clock, context)

    async def _answer(
        self, session: TerminalSession, request: Request, clock: StageClock
    ) -> Answer:
        try:
            exchange, body = self._decode(session, request, clock)
            handler = HANDLERS[exchange.type]
            refusal = self._refusal(exchange)
            if refusal is None and (handler.needs_sign_on or request.sign_no):
                # ECHO is answered without a sign-on, and brings challenges with one.
                of_sign_on = await check_sign_on(exchange)
                refusal = of_sign_on if handler.needs_sign_on else None
            if refusal is None and exchange.time_left_ms() <= 0:
                refusal = Answer(ResponseCode.DEADLINE_PASSED)
            return await handler.serve(exchange, body) if refusal is None else refusal
        except RemoteProtocolError as error:
            return Answer(error.code, detail_zh=error.code.text_zh, detail_en=error.detail)
        except CommitUnknownError as error:
            log.warning("outcome unknown", msgid=request.msgid, error=str(error))
            return Answer(ResponseCode.SYSTEM_ERROR)
        except StoreError as error:
            log.warning("store failed", msgid=request.msgid, error=str(error))
            return Answer(ResponseCode.STORE_UNAVAILABLE)

    def _decode(
        self, session: TerminalSession, request: Request, clock: StageClock
    ) -> tuple[Exchange, Struct]:
        try:
            message_type = MessageType(request.type)
        except ValueError as error:
            raise RemoteProtocolError(
                ResponseCode.UNKNOWN_MESSAGE_TYPE, f"message type {request.type} is unknown"
            ) from error
        body = decode_request_body(message_type, request.body)
        if msgid.parse(request.msgid).institution != session.institution.code:
            raise RemoteProtocolError(
                ResponseCode.INVALID_MSGID, "the msgid begins with another institution's code"
            )
        clock.end(Stage.DECODE)
        centre = self._centre
        exchange = Exchange(
            centre=centre,
            session=session,
            request=request,
            type=message_type,
            clock=clock,
            deadline_ms=centre.clock.monotonic_ms()
            - clock.total_ns() // _MS
            + request.time_left_ms,
        )
        return exchange, body

    def _refusal(self, exchange: Exchange) -> Answer | None:
        centre, request, session = self._centre, exchange.request, exchange.session
        if request.terminal != session.terminal.code:
            return Answer(
                ResponseCode.TERMINAL_MISMATCH,
                detail_zh=f"证书属于终端 {session.terminal.code}",
                detail_en=f"the certificate is that of terminal {session.terminal.code}",
            )
        if centre.is_draining:
            return Answer(ResponseCode.SHUTTING_DOWN)
        if request.felt is not None or request.felt_ms:
            note_felt(centre, session, request)
        skew_ms = abs(centre.clock.now_ms() - request.sent_time_ms)
        if skew_ms > centre.config.observe.clock_skew_max_ms:
            centre.metrics.clock_skewed()
            log.warning(
                "terminal clock is off",
                institution=session.institution.code,
                terminal=session.terminal.code,
                skew_ms=skew_ms,
            )
        return None

    def _reply(
        self, session: TerminalSession, request: Request, answer: Answer, clock: StageClock
    ) -> Reply:
        centre = self._centre
        body = answer.body
        raw = encode_body(body) if isinstance(body, Struct) else Raw(body or NIL)
        challenges = (
            fresh_challenges(centre, session)
            if session.sign_on is not None and request.type != MessageType.SIGN_ON
            else ()
        )
        clock.end(Stage.ENCODE)
        return Reply(
            exchange=request.exchange,
            code=answer.code.value,
            duplicate=answer.is_duplicate,
            business_date=date_of(answer.business_date) if answer.business_date else centre.today(),
            centre_time_ms=centre.clock.now_ms(),
            list_version=centre.revocations.version,
            detail_zh=answer.detail_zh[:200],
            detail_en=answer.detail_en[:200],
            body=raw,
            challenges=challenges,
            stages=tuple(StageTime(*stage) for stage in clock.microseconds())
            if session.sign_on is not None and session.sign_on.wants_stages
            else (),
        )
