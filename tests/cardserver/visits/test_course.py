"""What is recorded of a visit comes to the same, however it came about; undone, it is as before."""

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from cardserver.benefits.netting import EnteredLine, gross_of, net_lines, refunded_gross
from cardserver.benefits.values import BillRefusal
from cardserver.visits.charging import refusal_of_charges, refusal_of_uncharging
from cardserver.visits.course import Course, course_of
from cardserver.visits.ending import (
    refusal_of_cancel,
    refusal_of_discharge,
    refusal_of_discharge_cancel,
)
from cardserver.visits.refusal import Refusal
from cardserver.visits.values import (
    LINES_OF_VISIT_MAX,
    Cancelled,
    Charge,
    Charged,
    DischargeCancelled,
    Discharged,
    Settled,
    Uncharged,
    Unsettled,
    Visit,
    VisitRecord,
)
from cardserver.visits.visit_book import VisitBook
from cardserver.visits.visit_record import decode_record, encode_record
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import VisitKind, VisitLineState, VisitState

FIRST, TODAY = 20261101, 20261121
ITEMS = ("A1", "B1", "L1")

prices = st.integers(0, 10**9)
quantities = st.integers(1, 10**6)
days = st.integers(FIRST, TODAY)


def visit_of(kind: VisitKind = VisitKind.INPATIENT, number: int = 7) -> Visit:
    return Visit(
        visit_no=number, person_no=1, institution_no=1, kind=kind, insutype="310", med_type="21",
        begins=FIRST, disease="", is_emergency=0, chain_no=number, transferred_from=0, number="ZY1",
        department="", doctor="", diagnosis="", state=VisitState.OPEN, ends=0, record_count=0,
    )  # fmt: skip


def charge(number: str, day: int, price: int, quantity_e4: int) -> Charge:
    gross = gross_of(price, quantity_e4)
    return Charge(number, day, "A1", "甲类药", price, quantity_e4, gross)


def refund_of(course: Course, number: str, refunded: str, quantity_e4: int) -> Charge:
    """A refund as an honest terminal makes it."""
    account = course.charges[refunded]
    loses = refunded_gross(
        account.charge.price_microyuan, left_e4=account.left_e4, refunded_e4=quantity_e4
    )
    return Charge(
        number, TODAY, account.charge.item, account.charge.name, account.charge.price_microyuan,
        -quantity_e4, -loses, refunded,
    )  # fmt: skip


@dataclass
class Line:
    """The model's own idea of a line."""

    price: int
    quantity: int
    day: int
    refunds: dict[str, int] = field(default_factory=dict)
    settled_by: int = 0
    is_cancelled: bool = False

    @property
    def left(self) -> int:
        return 0 if self.is_cancelled else self.quantity - sum(self.refunds.values())


class Visits(RuleBasedStateMachine):
    """A visit beside a model that keeps each line by itself and forgets nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[VisitRecord] = []
        self.course = Course()
        self.book = VisitBook()
        self.visit = visit_of()
        self.lines: dict[str, Line] = {}
        self.settled: dict[int, int] = {}
        self.ended: int = 0
        self.late: set[int] = set()
        self.numbers = 0

    def record(self, record: VisitRecord) -> None:
        stored = decode_record(encode_record(record))
        assert stored == record
        self.records.append(stored)
        self.course.take(stored)

    def number(self) -> str:
        self.numbers += 1
        return f"L{self.numbers}"

    @property
    def due(self) -> dict[str, Line]:
        return {n: one for n, one in self.lines.items() if one.left and not one.settled_by}

    @property
    def is_closed(self) -> bool:
        return bool(self.ended and self.settled and not self.due)

    @rule(price=prices, quantity=quantities, day=days)
    def charge(self, price: int, quantity: int, day: int) -> None:
        number = self.number()
        one = charge(number, day, price, quantity)
        refusal = refusal_of_charges(self.visit, self.course, [one], today=TODAY)
        if self.is_closed:
            assert refusal == (ResponseCode.VISIT_NOT_OPEN, "", "")
            return
        if self.ended and day > self.ended:
            assert refusal is not None
            assert refusal.code is ResponseCode.VISIT_DATE_NOT_VALID
            return
        assert refusal is None
        self.record(Charged((one,)))
        self.lines[number] = Line(price, quantity, day)

    @precondition(lambda self: self.lines)
    @rule(data=st.data(), quantity=quantities)
    def refund(self, data: st.DataObject, quantity: int) -> None:
        refunded = data.draw(st.sampled_from(sorted(self.lines)))
        line, number = self.lines[refunded], self.number()
        loses = gross_of(line.price, line.left) - gross_of(line.price, line.left - quantity)
        one = Charge(number, TODAY, "A1", "甲类药", line.price, -quantity, -loses, refunded)
        refusal = refusal_of_charges(self.visit, self.course, [one], today=TODAY)
        if self.is_closed:
            expected = ResponseCode.VISIT_NOT_OPEN
        elif line.is_cancelled:
            expected = ResponseCode.LINE_UNKNOWN
        elif line.settled_by:
            expected = ResponseCode.SETTLED_ALREADY
        elif quantity > line.left:
            expected = ResponseCode.REFUND_EXCEEDS
        else:
            assert refusal is None
            self.record(Charged((one,)))
            line.refunds[number] = quantity
            return
        assert refusal is not None
        assert refusal.code is expected

    @precondition(lambda self: self.numbers)
    @rule(data=st.data())
    def take_back(self, data: st.DataObject) -> None:
        number = f"L{data.draw(st.integers(1, self.numbers))}"
        owner = next((one for one in self.lines.values() if number in one.refunds), None)
        line = owner or self.lines.get(number)
        refusal = refusal_of_uncharging(self.course, (number,))
        if self.is_closed:
            expected = ResponseCode.VISIT_NOT_OPEN
        elif line is None or line.is_cancelled:
            expected = ResponseCode.LINE_UNKNOWN
        elif line.settled_by:
            expected = ResponseCode.SETTLED_ALREADY
        else:
            assert refusal is None
            self.record(Uncharged((number,)))
            if owner is not None:
                del owner.refunds[number]
            else:
                line.is_cancelled = True
            return
        assert refusal is not None
        assert refusal.code is expected

    @precondition(lambda self: self.due)
    @rule(until=days)
    def settle(self, until: int) -> None:
        until = min(until, self.ended or until)
        taken = {n: one for n, one in self.lines.items()
                 if not one.settled_by and not one.is_cancelled and one.day <= until}  # fmt: skip
        billed = [one for one in taken.values() if one.left]
        due = list(self.course.due(until))
        assert Counter(a.left_fen for a in due) == Counter(
            gross_of(one.price, one.left) for one in billed
        )
        if not billed:
            return
        claim_no = 100 + len(self.records)
        total = sum(gross_of(one.price, one.left) for one in billed)
        self.record(Settled(claim_no, until, total, 1, 2026, ()))
        for one in taken.values():
            one.settled_by = claim_no
        self.settled[claim_no] = total
        if self.ended:
            self.late.add(claim_no)

    @precondition(lambda self: self.settled)
    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        claim_no = data.draw(st.sampled_from(sorted(self.settled)))
        self.record(Unsettled(claim_no))
        del self.settled[claim_no]
        self.late.discard(claim_no)
        for one in self.lines.values():
            if one.settled_by == claim_no:
                one.settled_by = 0

    @rule(day=days)
    def discharge(self, day: int) -> None:
        refusal = refusal_of_discharge(self.book, self.visit, self.course, day=day, today=TODAY)
        if self.ended:
            assert refusal is not None
            assert refusal.code is ResponseCode.VISIT_NOT_OPEN
            return
        lasts = [one.day for one in self.lines.values() if not one.is_cancelled]
        if day < max([FIRST, *lasts]):
            assert refusal is not None
            assert refusal.code is ResponseCode.VISIT_DATE_NOT_VALID
            return
        assert refusal is None
        self.record(Discharged(day, "1", "好转"))
        self.ended = day

    @rule()
    def go_on(self) -> None:
        refusal = refusal_of_discharge_cancel(self.book, self.visit._replace(ends=self.ended),
                                              self.course)  # fmt: skip
        if not self.ended or self.late:
            assert refusal is not None
            assert refusal.code is (
                ResponseCode.SETTLED_ALREADY if self.ended else ResponseCode.VISIT_NOT_OPEN
            )
            return
        assert refusal is None
        self.record(DischargeCancelled())
        self.ended = 0

    @rule()
    def may_be_cancelled_only_unsettled(self) -> None:
        refusal = refusal_of_cancel(self.book, self.visit, self.course)
        assert (refusal is None) is not bool(self.settled)

    @initialize()
    def begin(self) -> None:
        assert self.course.state is VisitState.OPEN

    @invariant()
    def the_course_is_what_the_records_come_to(self) -> None:
        again = course_of(self.records)
        assert again == self.course
        assert again.record_count == len(self.records)

    @invariant()
    def lines_stand_where_the_model_says(self) -> None:
        for number, one in self.lines.items():
            account = self.course.charges[number]
            assert account.left_e4 == one.left
            assert account.left_fen == gross_of(one.price, one.left)
            assert self.course.settlement_of(account) == one.settled_by
            state = self.course.state_of(account)
            assert (state is VisitLineState.CANCELLED) is one.is_cancelled
            assert (state is VisitLineState.SETTLED) is bool(one.settled_by)
        assert self.course.settled_fen == sum(self.settled.values())

    @invariant()
    def the_state_follows(self) -> None:
        expected = VisitState.OPEN
        if self.ended:
            expected = VisitState.CLOSED if self.is_closed else VisitState.DISCHARGED
        assert self.course.state is expected
        final = [one for one in self.course.settlements.values() if self.course.is_final(one)]
        assert len(final) <= 1


TestVisits = Visits.TestCase
TestVisits.settings = settings(max_examples=150, stateful_step_count=30)


@given(
    lines=st.lists(st.tuples(prices, quantities), min_size=1, max_size=6),
    refunds=st.lists(st.tuples(st.integers(0, 5), quantities), max_size=8),
)
def test_what_is_left_is_what_benefits_net(
    lines: list[tuple[int, int]], refunds: list[tuple[int, int]]
) -> None:
    course = Course()
    visit = visit_of()
    entered: list[Charge] = []
    for index, (price, quantity) in enumerate(lines):
        entered.append(charge(f"L{index}", FIRST, price, quantity))
        course.take(Charged((entered[-1],)))
    for index, (of, quantity) in enumerate(refunds):
        refunded = f"L{of % len(lines)}"
        taken = min(quantity, course.charges[refunded].left_e4)
        if not taken:
            continue
        one = refund_of(course, f"R{index}", refunded, taken)
        assert refusal_of_charges(visit, course, [one], today=TODAY) is None
        entered.append(one)
        course.take(Charged((one,)))
    net = net_lines(
        [
            EnteredLine(
                one.number, one.refunds, one.price_microyuan, one.quantity_e4, one.gross_fen
            )
            for one in entered
        ]
    )
    assert not isinstance(net, BillRefusal)
    assert [(account.left_e4, account.left_fen) for account in course.due()] == [
        (one.quantity_e4, one.gross_fen) for one in net
    ]
    # The amounts as entered add up to the bill's.
    assert sum(one.gross_fen for one in entered) == sum(one.gross_fen for one in net)


def refused(
    charges: list[Charge], course: Course | None = None, visit: Visit | None = None
) -> ResponseCode | None:
    refusal: Refusal | None = refusal_of_charges(
        visit or visit_of(), course or Course(), charges, today=TODAY
    )
    if refusal is not None and refusal.code is not ResponseCode.VISIT_NOT_OPEN:
        assert refusal.detail_zh
        assert refusal.detail_en
    return refusal.code if refusal else None


def test_a_message_is_checked_as_if_its_lines_came_one_by_one() -> None:
    one = charge("1", FIRST, 4_520_000, 50_000)
    back = Charge("2", FIRST, "A1", "甲类药", 4_520_000, -20_000, -904, "1")
    rest = Charge("3", FIRST, "A1", "甲类药", 4_520_000, -30_000, -1356, "1")
    more = Charge("4", FIRST, "A1", "甲类药", 4_520_000, -1, 0, "1")
    assert refused([one, back, rest]) is None
    assert refused([one, back, rest, more]) is ResponseCode.REFUND_EXCEEDS
    assert refused([back, one]) is ResponseCode.LINE_UNKNOWN
    assert refused([one, one]) is ResponseCode.LINE_NUMBER_USED
    assert refused([one, back, Charge("5", FIRST, "A1", "", 4_520_000, -1, 0, "2")]) is (
        ResponseCode.LINE_UNKNOWN
    )


def test_lines_that_are_none_are_refused() -> None:
    one = charge("1", FIRST, 4_520_000, 50_000)
    course = course_of([Charged((one,))])
    wrong = [
        (Charge("", FIRST, "A1", "", 100, 10_000, 0), ResponseCode.BILL_INVALID),
        (Charge("2", FIRST, "", "", 100, 10_000, 0), ResponseCode.BILL_INVALID),
        (Charge("2", FIRST, "A1", "", 1_000_000, 10_000, 99), ResponseCode.BILL_INVALID),
        (Charge("2", FIRST, "A1", "", 1_000_000, 0, 0), ResponseCode.BILL_INVALID),
        (Charge("2", FIRST, "A1", "", 1_000_000, -10_000, -100), ResponseCode.BILL_INVALID),
        (Charge("2", FIRST - 1, "A1", "", 10**6, 10_000, 100), ResponseCode.VISIT_DATE_NOT_VALID),
        (Charge("2", TODAY + 1, "A1", "", 10**6, 10_000, 100), ResponseCode.VISIT_DATE_NOT_VALID),
        (Charge("2", FIRST, "B1", "", 4_520_000, -10_000, -452, "1"), ResponseCode.BILL_INVALID),
        (Charge("2", FIRST, "A1", "", 4_510_000, -10_000, -451, "1"), ResponseCode.BILL_INVALID),
        (Charge("2", FIRST, "A1", "", 4_520_000, -10_000, -451, "1"), ResponseCode.BILL_INVALID),
        (Charge("2", FIRST, "A1", "", 4_520_000, 10_000, 452, "1"), ResponseCode.BILL_INVALID),
        (Charge("2", FIRST, "A1", "", 4_520_000, -10_000, -452, "9"), ResponseCode.LINE_UNKNOWN),
        (Charge("1", FIRST, "A1", "", 4_520_000, 10_000, 452), ResponseCode.LINE_NUMBER_USED),
    ]
    for line, code in wrong:
        assert refused([line], course) is code, line


def test_a_number_taken_back_is_not_used_again() -> None:
    one = charge("1", FIRST, 4_520_000, 50_000)
    course = course_of([Charged((one,)), Uncharged(("1",))])
    assert refused([one], course) is ResponseCode.LINE_NUMBER_USED
    assert list(course.due()) == []


def test_a_visit_holds_so_many_lines() -> None:
    course = Course()
    course.take(
        Charged(tuple(charge(str(n), FIRST, 10**6, 10_000) for n in range(LINES_OF_VISIT_MAX)))
    )
    assert refused([charge("more", FIRST, 10**6, 10_000)], course) is ResponseCode.TOO_MANY_LINES


def test_a_cancelled_visit_takes_nothing() -> None:
    one = charge("1", FIRST, 4_520_000, 50_000)
    course = course_of([Charged((one,)), Cancelled()])
    assert course.state is VisitState.CANCELLED
    assert course.charges["1"].is_cancelled
    assert refused([charge("2", FIRST, 100, 1)], course) is ResponseCode.VISIT_NOT_OPEN
    refusal = refusal_of_cancel(VisitBook(), visit_of(), course)
    assert refusal is not None
    assert refusal.code is ResponseCode.VISIT_NOT_OPEN


def test_without_numbers_all_unsettled_lines_are_taken_back() -> None:
    charges = tuple(charge(str(n), FIRST + n, 10**6, 10_000) for n in range(4))
    records: list[VisitRecord] = [
        Charged(charges), Settled(99, FIRST + 1, 200, 1, 2026, ()), Uncharged(())
    ]  # fmt: skip
    course = course_of(records)
    assert [course.state_of(one).name for one in course.charges.values()] == [
        "SETTLED", "SETTLED", "CANCELLED", "CANCELLED",
    ]  # fmt: skip
    refusal = refusal_of_uncharging(course, ())
    assert refusal is not None
    assert refusal.code is ResponseCode.LINE_UNKNOWN
    assert course_of([*records, Unsettled(99)]).settled_fen == 0
