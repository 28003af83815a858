"""From a visit to the bill that settles it: which lines, by whose day, in which stay. Pure.

Not here: how the bill is divided (`cardserver.benefits`), posting it (`cardserver.claims`).
"""

from collections.abc import Iterable

from msgspec import Struct, structs

from cardserver.benefits.values import Moved, Stay, stay_of
from cardserver.visits.course import ChargeAccount, Course
from cardserver.visits.refusal import Refusal
from cardserver.visits.values import Settled, Visit
from cardserver.visits.visit_book import VisitBook
from ledger.calendar import date_of, day_number
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import LINES_MAX, Bill, Line, VisitKind, VisitState

_LAST_DAY = 1231


class VisitBill(Struct, frozen=True):
    """What a settlement of a visit bills.

    Attributes:
        bill: With the lines of which something is left, and the days of the stay.
        visit: The visit.
        days: The lines' days, in their order.
        until: The last day whose lines are taken.
        care_date: The day whose rules apply.
    """

    bill: Bill
    visit: Visit
    days: tuple[int, ...]
    until: int
    care_date: int

    @property
    def is_stay(self) -> bool:
        """Whether it is an inpatient's."""
        return self.visit.kind == VisitKind.INPATIENT

    def of_one_year(self) -> "VisitBill | Refusal":
        """Return the bill as it is where stays are settled by the year: of one, to its last day."""
        years = {day // 10_000 for day in self.days}
        if len(years) > 1:
            year = min(years)
            return Refusal(
                ResponseCode.VISIT_DATE_NOT_VALID,
                f"跨年住院按年度结算，请先结算至 {year}-12-31",
                f"stays are settled by the year here: settle up to {year}-12-31 first",
            )
        care_date = min(self.care_date, min(years) * 10_000 + _LAST_DAY)
        return self if care_date == self.care_date else structs.replace(self, care_date=care_date)

    def record(self, *, admission: int, year: int, moved: Iterable[Moved]) -> Settled:
        """Return what is recorded of the visit; the settlement's number is not known yet."""
        amounts = tuple(
            (
                one.scheme, one.amounts.deductible_fen, one.amounts.in_scope_fen,
                one.amounts.pool_fen, one.amounts.large_amount_fen, one.amounts.admissions,
            )
            for one in moved
        )  # fmt: skip
        return Settled(0, self.until, self.bill.total_fen, admission, year, amounts)


def bill_of_visit(
    book: VisitBook, bill: Bill, *, visit_no: int, institution_no: int, person_no: int, today: int
) -> VisitBill | Refusal:
    """Find what a bill that names a visit settles.

    Args:
        book: As read.
        bill: As it came.
        visit_no: The number that its `mdtrt_id` is.
        institution_no: Who asks.
        person_no: Who is treated.
        today: The fund's day.
    """
    found = book.find(visit_no, institution_no)
    if found is None or found[0].person_no != person_no:
        return Refusal(ResponseCode.VISIT_UNKNOWN)
    visit, course = found
    if course.state not in {VisitState.OPEN, VisitState.DISCHARGED}:
        return Refusal(ResponseCode.VISIT_NOT_OPEN)
    until = _until(course, bill, today)
    if not visit.begins <= until <= today:
        return Refusal(ResponseCode.VISIT_DATE_NOT_VALID)
    if (
        bill.lines
        or bill.admitted is not None
        or (bill.insutype, bill.med_type) != (visit.insutype, visit.med_type)
        or bill.disease not in {"", visit.disease}
    ):
        return Refusal(
            ResponseCode.BILL_INVALID,
            "就诊结算不带明细和入院日期，险种、医疗类别和病种须与登记一致",
            "a visit's bill has neither lines nor a day of admission, and says what was registered",
        )
    due = list(course.due(until))
    if len(due) > LINES_MAX:
        return Refusal(
            ResponseCode.TOO_MANY_LINES,
            f"共 {len(due)} 条，每次最多 {LINES_MAX} 条：请按日期分次结算",
            f"{len(due)} lines; a bill has at most {LINES_MAX}: settle up to an earlier day first",
        )
    if not due:
        return Refusal(ResponseCode.BILL_INVALID, "没有待结算明细", "there are no lines to settle")
    return _visit_bill(visit, bill, due, until)


def stay_so_far(stays: Iterable[Course], *, year: int) -> Stay | None:
    """Tell what the settlements of a stay that stand moved.

    Args:
        stays: The stay's course, and of those that it continues or is continued by.
        year: Of the bill that is to come.

    Returns:
        None where nothing stands: the bill is the stay's first.
    """
    settled = [one.settled for course in stays for one in course.settlements.values()]
    if not settled:
        return None
    return stay_of(
        settled[0].admission,
        (one.moved for one in settled if one.year == year),
        # Also what a later year moved, where an earlier one is settled again.
        earlier=(one.moved for one in settled if one.year != year),
    )


def _until(course: Course, bill: Bill, today: int) -> int:
    """Return the last day whose lines are taken: at most the day of discharge."""
    wanted = today if bill.discharged is None else day_number(bill.discharged)
    return min(wanted, course.discharged.day) if course.discharged else wanted


def _visit_bill(visit: Visit, bill: Bill, due: list[ChargeAccount], until: int) -> VisitBill:
    days = tuple(account.charge.day for account in due)
    is_stay = visit.kind == VisitKind.INPATIENT
    lines = tuple(
        Line(
            item=account.charge.item,
            name=account.charge.name,
            price_microyuan=account.charge.price_microyuan,
            quantity_e4=account.left_e4,
            gross_fen=account.left_fen,
        )
        for account in due
    )
    return VisitBill(
        bill=structs.replace(
            bill,
            lines=lines,
            admitted=date_of(visit.begins) if is_stay else None,
            discharged=date_of(until) if is_stay else None,
            disease=visit.disease,
            emergency=bill.emergency or bool(visit.is_emergency),
        ),
        visit=visit,
        days=days,
        until=until,
        care_date=until if is_stay else max(days),
    )
