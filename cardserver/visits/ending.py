"""DISCHARGE and the cancels: when a stay may end, go on, or a visit be taken back. Pure."""

from cardserver.visits.course import Course
from cardserver.visits.refusal import Refusal
from cardserver.visits.values import Visit
from cardserver.visits.visit_book import VisitBook
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import VisitKind, VisitState


def refusal_of_discharge(
    book: VisitBook, visit: Visit, course: Course, *, day: int, today: int
) -> Refusal | None:
    """Refuse a discharge on a day."""
    if visit.kind != VisitKind.INPATIENT or course.state is not VisitState.OPEN:
        return Refusal(ResponseCode.VISIT_NOT_OPEN)
    last = max(
        (
            account.charge.day
            for account in course.charges.values()
            if not account.is_cancelled and not account.charge.refunds
        ),
        default=visit.begins,
    )
    goes_on = [
        stay.begins
        for stay in book.other_stays(visit.person_no, visit.visit_no)
        if stay.begins >= visit.begins
    ]
    if not last <= day <= min([today, *goes_on]):
        return Refusal(
            ResponseCode.VISIT_DATE_NOT_VALID,
            f"出院日期须在 {last} 至 {min([today, *goes_on])} 之间",
            f"a discharge is possible from {last} to {min([today, *goes_on])}",
        )
    return None


def refusal_of_discharge_cancel(book: VisitBook, visit: Visit, course: Course) -> Refusal | None:
    """Refuse to have a stay go on."""
    if course.state not in {VisitState.DISCHARGED, VisitState.CLOSED}:
        return Refusal(ResponseCode.VISIT_NOT_OPEN)
    for stay in book.other_stays(visit.person_no, visit.visit_no):
        # Whoever continues it was let in while it was open, too.
        is_after = stay.begins >= visit.ends
        if is_after and stay.transferred_from != visit.visit_no:
            return Refusal(ResponseCode.STAY_OVERLAPS)
    if any(one.is_after_discharge for one in course.settlements.values()):
        return Refusal(ResponseCode.SETTLED_ALREADY)
    return None


def refusal_of_cancel(book: VisitBook, visit: Visit, course: Course) -> Refusal | None:
    """Refuse to take a visit back."""
    if course.is_cancelled:
        return Refusal(ResponseCode.VISIT_NOT_OPEN)
    for stay in book.other_stays(visit.person_no, visit.visit_no):
        if stay.transferred_from == visit.visit_no:
            return Refusal(
                ResponseCode.TRANSFER_NOT_VALID,
                "有后续住院由本次转入，请先撤销",
                "a later stay continues this one: cancel that first",
            )
    if course.settlements:
        return Refusal(ResponseCode.SETTLED_ALREADY)
    return None
