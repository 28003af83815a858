"""Visits and their lines as they go over the wire, from what is kept of them and back."""

from cardserver.visits.course import ChargeAccount, Course
from cardserver.visits.values import Charge, Visit
from ledger.calendar import date_of, day_number
from protocol.terminal import messages
from protocol.terminal.messages import VisitKind


def visit_message(visit: Visit, course: Course, *, until: int | None = None) -> messages.Visit:
    """Tell how a visit stands.

    Args:
        visit: Its row.
        course: What was recorded of it.
        until: The last day whose lines count as unsettled; None for all.
    """
    due = [account.left_fen for account in course.due(until)]
    discharged = course.discharged
    return messages.Visit(
        mdtrt_id=str(visit.visit_no),
        psn_no=str(visit.person_no),
        kind=VisitKind(visit.kind),
        state=course.state,
        insutype=visit.insutype,
        med_type=visit.med_type,
        begins=date_of(visit.begins),
        ends=date_of(discharged.day) if discharged else None,
        number=visit.number,
        department=visit.department,
        doctor=visit.doctor,
        diagnosis=(discharged.diagnosis if discharged else "") or visit.diagnosis,
        disease=visit.disease,
        emergency=bool(visit.is_emergency),
        transferred_from=str(visit.transferred_from or ""),
        lines_count=len(course.charges),
        unsettled_count=len(due),
        unsettled_fen=sum(due),
        settled_fen=course.settled_fen,
    )


def line_found(course: Course, account: ChargeAccount) -> messages.VisitLineFound:
    """Tell how a line stands."""
    return messages.VisitLineFound(
        line=line_message(account.charge),
        state=course.state_of(account),
        setl_id=str(course.settlement_of(account) or ""),
        left_e4=account.left_e4,
        left_fen=account.left_fen,
    )


def line_message(charge: Charge) -> messages.VisitLine:
    """Return a line as it was sent."""
    return messages.VisitLine(
        number=charge.number,
        date=date_of(charge.day),
        item=charge.item,
        name=charge.name,
        price_microyuan=charge.price_microyuan,
        quantity_e4=charge.quantity_e4,
        gross_fen=charge.gross_fen,
        refunds=charge.refunds,
    )


def charge_of(line: messages.VisitLine) -> Charge:
    """Return a line as it is kept."""
    return Charge(
        number=line.number,
        day=day_number(line.date),
        item=line.item,
        name=line.name,
        price_microyuan=line.price_microyuan,
        quantity_e4=line.quantity_e4,
        gross_fen=line.gross_fen,
        refunds=line.refunds,
    )
