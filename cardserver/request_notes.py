"""What is noted of a request once it is answered: metrics, the recent ones, log, stages, spans.

And what the terminal said that it felt of an earlier one. Nothing here decides anything, and none
of it is waited for. Not here: how each is shown (`observe/`).
"""

import time

import structlog

from cardserver.centre import Answer, Centre
from cardserver.claims.claims_store import NOTE_FELT, NOTE_STAGES, felt_row, stages_row
from cardserver.claims.values import request_key
from cardserver.observe.spans import Span, SpanKind, new_span_id, with_stages
from cardserver.observe.stages import StageClock, in_order
from cardserver.session import TerminalSession
from ledger.ledger_store import RequestKey
from protocol.terminal.bodies import STORED_TYPES
from protocol.terminal.messages import Felt, MessageType, Request
from protocol.terminal.msgid import is_well_formed
from protocol.terminal.trace import TraceContext, parse_traceparent, trace_of

log = structlog.get_logger("cardserver.dispatch")

_MS = 1_000_000  # nanoseconds
_US = 1_000
_OF_CARDS = frozenset({MessageType.CARD_OPEN, MessageType.PREVIEW, MessageType.SETTLE})
_KEPT_TYPES = STORED_TYPES | {MessageType.CARD_OPEN}
"""Whose stages are kept in the database, for `cardserver claim`."""
_NAMES = {type_.value: type_.name.lower() for type_ in MessageType}
_UNKNOWN = "unknown"
_SYSTEM_STAGE = 9  # of response codes: faults of ours


def trace_context(request: Request) -> TraceContext:
    """Say where a request stands in a trace: as it says itself, or as its msgid says."""
    context = parse_traceparent(request.trace) if request.trace else None
    return context or trace_of(terminal=request.terminal, msgid=request.msgid)


def note_answered(
    centre: Centre,
    session: TerminalSession,
    request: Request,
    answer: Answer,
    clock: StageClock,
    context: TraceContext,
) -> None:
    """Count a request, keep where its time went, and log it."""
    name = _NAMES.get(request.type, _UNKNOWN)
    if clock.waited_for_person:
        name = f"{name}_with_pin"
    session.list_version = request.list_version
    if request.type in _KEPT_TYPES:
        _keep_stages(centre, session, request, answer, clock, context)
    total_ns = time.perf_counter_ns() - clock.started_ns
    now_ms = centre.clock.now_ms()
    centre.metrics.answered(
        name,
        answer.code.value,
        total_ns,
        clock.nanoseconds,
        is_duplicate=answer.is_duplicate,
        msgid=request.msgid,
    )
    centre.recent.note(
        time_ms=now_ms,
        message_type=request.type,
        code=answer.code.value,
        is_duplicate=answer.is_duplicate,
        institution=session.institution.code,
        terminal=session.terminal.code,
        msgid=request.msgid,
        card=session.card_profile if request.type in _OF_CARDS else "",
        total_us=total_ns // _US,
        felt_ms=request.felt_ms,
        nanoseconds=clock.nanoseconds,
        detail=answer.detail_en,
    )
    if centre.spans is not None and centre.spans.is_wanted(context.trace_id):
        ends_ns = now_ms * _MS
        whole = Span(
            context.trace_id,
            new_span_id(),
            context.span_id,
            f"centre {name}",
            SpanKind.SERVER,
            ends_ns - total_ns,
            ends_ns,
            {
                "msgid": request.msgid,
                "institution": session.institution.code,
                "terminal": session.terminal.code,
                "response_code": answer.code.value,
                "duplicate": str(answer.is_duplicate).lower(),
            },
            is_error=answer.code.value // 100 == _SYSTEM_STAGE,
        )
        centre.spans.put(with_stages(whole, in_order(clock.nanoseconds.items())))
    log.info(
        "answered",
        msgid=request.msgid,
        trace=context.trace_id,
        type=name,
        code=answer.code.name,
        institution=session.institution.code,
        terminal=session.terminal.code,
        duplicate=answer.is_duplicate,
        total_us=clock.total_ns() // _US,
    )


def note_felt(centre: Centre, session: TerminalSession, request: Request) -> None:
    """Take up what a terminal felt of an earlier request of its own."""
    felt = request.felt
    if felt is None:
        if request.felt_ms:  # of a terminal that tells no more than that
            centre.metrics.felt(_UNKNOWN, request.felt_ms * _MS, "")
        return
    name = _NAMES.get(felt.type, _UNKNOWN)
    centre.metrics.felt(name, felt.took_us * _US, felt.msgid)
    session.outbox_count = felt.outbox_count
    session.outbox_since_ms = centre.clock.now_ms() - felt.outbox_age_ms
    key = _key_of(session, felt.msgid)
    if key is None:
        return
    if felt.type in _KEPT_TYPES:
        stages = [(one.stage, one.microseconds) for one in felt.stages]
        row = felt_row(
            key,
            time_ms=centre.clock.now_ms(),
            message_type=felt.type,
            code=felt.code,
            took_us=felt.took_us,
            sends=felt.sends,
            stages=stages,
        )
        centre.writer.append_later(NOTE_FELT, row)
    if centre.spans is not None:
        _export_felt(centre, session, request, felt, name)


def _export_felt(
    centre: Centre, session: TerminalSession, request: Request, felt: Felt, name: str
) -> None:
    """Send the terminal's span for it: a counter needs no way to the collector of its own."""
    assert centre.spans is not None
    of_request = trace_of(terminal=request.terminal, msgid=felt.msgid)
    outer = parse_traceparent(request.trace) if request.trace else None
    context = outer or of_request
    if not centre.spans.is_wanted(context.trace_id):
        return
    # It ended before this request was sent; the terminal's own clock decides nothing.
    ends_ns = centre.clock.now_ms() * _MS
    whole = Span(
        context.trace_id,
        of_request.span_id if outer is None else new_span_id(),
        "" if outer is None else outer.span_id,
        f"terminal {name}",
        SpanKind.CLIENT,
        ends_ns - felt.took_us * _US,
        ends_ns,
        {
            "msgid": felt.msgid,
            "institution": session.institution.code,
            "terminal": session.terminal.code,
            "response_code": felt.code,
            "sends": felt.sends,
        },
    )
    stages = [(one.stage, one.microseconds * _US) for one in felt.stages]
    centre.spans.put(with_stages(whole, stages))


def _keep_stages(
    centre: Centre,
    session: TerminalSession,
    request: Request,
    answer: Answer,
    clock: StageClock,
    context: TraceContext,
) -> None:
    """Keep where the time went, for `cardserver claim`; a later group writes it."""
    key = _key_of(session, request.msgid)
    if key is None:
        return
    row = stages_row(
        key,
        time_ms=centre.clock.now_ms(),
        message_type=request.type,
        code=answer.code.value,
        stages=clock.microseconds(),
        trace=bytes.fromhex(context.trace_id),
    )
    centre.writer.append_later(NOTE_STAGES, row)


def _key_of(session: TerminalSession, msgid: str) -> RequestKey | None:
    """Name what notes are kept under; nothing where that is no msgid.

    A database need not be able to hold other texts, and what it refuses would cost the notes of
    all others in the same group.
    """
    if not is_well_formed(msgid):
        return None
    return request_key(session.institution.institution_no, session.terminal.terminal_no, msgid)
