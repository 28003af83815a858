"""LINES and LINES_CANCEL: which lines may be recorded of a visit, and which taken back. Pure.

Not here: what the lines come to (`course.py`), how they are billed (`billing.py`).
"""

from collections.abc import Mapping, Sequence

from cardserver.benefits.netting import gross_of, refunded_gross
from cardserver.benefits.values import yuan
from cardserver.visits.course import ChargeAccount, Course
from cardserver.visits.refusal import Refusal
from cardserver.visits.values import LINES_OF_VISIT_MAX, Charge, Visit
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import VisitLineState, VisitState

_TAKING = (VisitState.OPEN, VisitState.DISCHARGED)


def refusal_of_charges(
    visit: Visit, course: Course, charges: Sequence[Charge], *, today: int
) -> Refusal | None:
    """Refuse lines, naming the first that may not be recorded."""
    if course.state not in _TAKING:
        return Refusal(ResponseCode.VISIT_NOT_OPEN)
    if len(course.charges) + len(charges) > LINES_OF_VISIT_MAX:
        return Refusal(
            ResponseCode.TOO_MANY_LINES,
            f"每次就诊最多 {LINES_OF_VISIT_MAX} 条明细",
            f"a visit has at most {LINES_OF_VISIT_MAX} lines",
        )
    last = min(today, course.discharged.day) if course.discharged else today
    # What the message's own earlier lines would come to.
    earlier: dict[str, ChargeAccount] = {}
    for charge in charges:
        refusal = _refusal_of_charge(course, earlier, charge, first=visit.begins, last=last)
        if refusal is not None:
            return refusal
        earlier[charge.number] = ChargeAccount(charge)
        if charge.refunds:
            original = earlier.get(charge.refunds)
            if original is None:
                found = course.charges[charge.refunds]
                original = ChargeAccount(found.charge, found.refunded_e4)
                earlier[charge.refunds] = original
            original.refunded_e4 -= charge.quantity_e4
    return None


def refusal_of_uncharging(course: Course, numbers: Sequence[str]) -> Refusal | None:
    """Refuse to take lines back, naming the first that can't be."""
    if course.state not in _TAKING:
        return Refusal(ResponseCode.VISIT_NOT_OPEN)
    if not numbers:
        if any(
            course.state_of(account) is VisitLineState.UNSETTLED
            for account in course.charges.values()
        ):
            return None
        return Refusal(ResponseCode.LINE_UNKNOWN, "没有未结算明细", "there are no unsettled lines")
    for number in numbers:
        account = course.charges.get(number)
        if account is None or account.is_cancelled:
            return _named(ResponseCode.LINE_UNKNOWN, number)
        if course.settlement_of(account):
            return _named(ResponseCode.SETTLED_ALREADY, number)
    return None


def _refusal_of_charge(
    course: Course, earlier: Mapping[str, ChargeAccount], charge: Charge, *, first: int, last: int
) -> Refusal | None:
    number = charge.number
    if not first <= charge.day <= last:
        return _named(ResponseCode.VISIT_DATE_NOT_VALID, number)
    if number in course.charges or number in earlier:
        return _named(ResponseCode.LINE_NUMBER_USED, number)
    if charge.refunds:
        return _refusal_of_refund(course, earlier, charge)
    if not number or not charge.item or charge.quantity_e4 <= 0:
        return _named(ResponseCode.BILL_INVALID, number)
    return _refusal_of_gross(charge, gross_of(charge.price_microyuan, charge.quantity_e4))


def _refusal_of_refund(
    course: Course, earlier: Mapping[str, ChargeAccount], charge: Charge
) -> Refusal | None:
    number = charge.number
    original = earlier.get(charge.refunds) or course.charges.get(charge.refunds)
    if original is None or original.is_cancelled or original.charge.refunds:
        return _named(ResponseCode.LINE_UNKNOWN, charge.refunds)
    if original.charge.number in course.charges and course.settlement_of(
        course.charges[original.charge.number]
    ):
        return _named(ResponseCode.SETTLED_ALREADY, charge.refunds)
    taken_e4, left_e4 = -charge.quantity_e4, original.left_e4
    if taken_e4 > left_e4:
        return _named(ResponseCode.REFUND_EXCEEDS, number)
    if (
        not number
        or taken_e4 <= 0
        or charge.item != original.charge.item
        or charge.price_microyuan != original.charge.price_microyuan
    ):
        return _named(ResponseCode.BILL_INVALID, number)
    loses = refunded_gross(charge.price_microyuan, left_e4=left_e4, refunded_e4=taken_e4)
    return _refusal_of_gross(charge, -loses)


def _refusal_of_gross(charge: Charge, gross_fen: int) -> Refusal | None:
    if charge.gross_fen == gross_fen:
        return None
    return Refusal(
        ResponseCode.BILL_INVALID,
        f"明细 {charge.number}：金额应为 {yuan(gross_fen)} 元",
        f"line {charge.number} comes to {yuan(gross_fen)}",
    )


def _named(code: ResponseCode, number: str) -> Refusal:
    return Refusal(code, f"明细 {number}：{code.text_zh}", f"line {number}: {code.text_en}")
