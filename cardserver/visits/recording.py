"""LINES, LINES_CANCEL, DISCHARGE, DISCHARGE_CANCEL, VISIT_CANCEL: what is recorded of a visit.

Pure decisions over what a group has read, and the writer's works that make them. Not here: how a
visit begins (`opening.py`), which lines may be recorded (`charging.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from msgspec import msgpack

from cardserver.claims.eligibility import refusal_of_place
from cardserver.claims.values import (
    Attempt,
    ClaimsAnswer,
    ClaimsDecision,
    ClaimsView,
    ClaimsWork,
    Needs,
    Record,
    Rules,
    claim_number,
)
from cardserver.visits.charging import refusal_of_charges, refusal_of_uncharging
from cardserver.visits.course import Course
from cardserver.visits.ending import (
    refusal_of_cancel,
    refusal_of_discharge,
    refusal_of_discharge_cancel,
)
from cardserver.visits.line_division import divisions_of
from cardserver.visits.refusal import Refusal
from cardserver.visits.values import (
    Cancelled,
    Charged,
    DischargeCancelled,
    Discharged,
    Uncharged,
    Visit,
    VisitRecord,
)
from cardserver.visits.visit_book import Noted
from cardserver.visits.visit_message import charge_of, visit_message
from ledger.calendar import day_number
from ledger.decisions import Answer, Work
from protocol.terminal import messages
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import MessageType

ENCODER = msgpack.Encoder()


@dataclass(frozen=True, slots=True)
class _Entry:
    """A decision to record something, or the refusal of it.

    Attributes:
        body_of: Makes the reply body once the record counts; None for a `VisitChanged`.
    """

    record: VisitRecord
    body_of: Callable[[], bytes] | None = None


_Decide = Callable[[ClaimsView, Visit, Course], _Entry | Refusal]


def lines_work(attempt: Attempt, body: messages.Lines, rules: Rules) -> ClaimsWork:
    """Make the writer's work of a LINES."""
    visit_no = claim_number(body.mdtrt_id)
    charges = tuple(charge_of(line) for line in body.lines)

    def decide(view: ClaimsView, visit: Visit, course: Course) -> _Entry | Refusal:
        place = view.book.places[attempt.terminal_no].on(view.when.business_date)
        refusal = refusal_of_charges(visit, course, charges, today=view.when.business_date)
        if refusal is not None:
            return refusal
        # Before the lines count: a refund's division is what its line loses by it.
        splits = divisions_of(course, charges, rules.catalogue, level=place.level)

        def body_of() -> bytes:
            visits = view.book.visits
            now = visit_message(visits.visits[visit_no], visits.courses[visit_no])
            return ENCODER.encode(messages.LinesTaken(visit=now, line_splits=splits))

        return _Entry(Charged(charges), body_of)

    return _work(attempt, MessageType.LINES, visit_no, decide)


def lines_cancel_work(attempt: Attempt, body: messages.LinesCancel) -> ClaimsWork:
    """Make the writer's work of a LINES_CANCEL."""

    def decide(_view: ClaimsView, _visit: Visit, course: Course) -> _Entry | Refusal:
        return refusal_of_uncharging(course, body.numbers) or _Entry(Uncharged(body.numbers))

    visit_no = claim_number(body.mdtrt_id)
    return _work(attempt, MessageType.LINES_CANCEL, visit_no, decide, body.reason)


def discharge_work(attempt: Attempt, body: messages.Discharge) -> ClaimsWork:
    """Make the writer's work of a DISCHARGE."""

    def decide(view: ClaimsView, visit: Visit, course: Course) -> _Entry | Refusal:
        today = view.when.business_date
        day = today if body.ends is None else day_number(body.ends)
        refusal = refusal_of_discharge(view.book.visits, visit, course, day=day, today=today)
        return refusal or _Entry(Discharged(day, body.outcome, body.diagnosis))

    return _work(attempt, MessageType.DISCHARGE, claim_number(body.mdtrt_id), decide)


def discharge_cancel_work(attempt: Attempt, body: messages.DischargeCancel) -> ClaimsWork:
    """Make the writer's work of a DISCHARGE_CANCEL."""

    def decide(view: ClaimsView, visit: Visit, course: Course) -> _Entry | Refusal:
        refusal = refusal_of_discharge_cancel(view.book.visits, visit, course)
        return refusal or _Entry(DischargeCancelled())

    visit_no = claim_number(body.mdtrt_id)
    return _work(attempt, MessageType.DISCHARGE_CANCEL, visit_no, decide, body.reason)


def visit_cancel_work(attempt: Attempt, body: messages.VisitCancel) -> ClaimsWork:
    """Make the writer's work of a VISIT_CANCEL."""

    def decide(view: ClaimsView, visit: Visit, course: Course) -> _Entry | Refusal:
        return refusal_of_cancel(view.book.visits, visit, course) or _Entry(Cancelled())

    visit_no = claim_number(body.mdtrt_id)
    return _work(attempt, MessageType.VISIT_CANCEL, visit_no, decide, body.reason)


def _work(
    attempt: Attempt, message_type: MessageType, visit_no: int, decide: _Decide, reason: str = ""
) -> ClaimsWork:
    def decide_all(view: ClaimsView) -> ClaimsDecision:
        refusal = refusal_of_place(view.book.places.get(attempt.terminal_no))
        if refusal is not None:
            return Answer(refusal, is_stored=refusal.is_stored)
        visits = view.book.visits
        found = visits.find(visit_no, attempt.institution_no)
        if found is None:
            return _refused(Refusal(ResponseCode.VISIT_UNKNOWN))
        entry = decide(view, *found)
        if isinstance(entry, Refusal):
            return _refused(entry)

        def changed() -> bytes:
            now = visit_message(visits.visits[visit_no], visits.courses[visit_no])
            return ENCODER.encode(messages.VisitChanged(now, view.when.recorded_time_ms))

        return Answer(
            ResponseCode.APPROVED,
            record=Record(
                attempt=attempt,
                action=message_type.name.lower(),
                subject=str(visit_no),
                reason=reason,
                visit=Noted(visit_no, record=entry.record),
            ),
            body_of=entry.body_of or changed,
        )

    return Work(
        key=attempt.key,
        type=message_type,
        request_hash=attempt.request_hash,
        persons=(),
        original=None,
        needs=Needs(visit_no=visit_no, terminal_no=attempt.terminal_no),
        decide=decide_all,
        deadline_ms=attempt.deadline_ms,
    )


def _refused(refusal: Refusal) -> ClaimsAnswer:
    return Answer(
        refusal.code,
        detail_zh=refusal.detail_zh,
        detail_en=refusal.detail_en,
        is_stored=refusal.code.is_stored,
    )
