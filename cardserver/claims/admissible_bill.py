"""Whether a bill may be divided at all: whose it is, where, under which insurance and policy. Pure.

Not here: the checks one by one (`eligibility.py`), dividing it (`settlement.py`).
"""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct

from cardserver.benefits.policy import Policy
from cardserver.claims.eligibility import (
    coverage,
    refusal_of_card,
    refusal_of_care,
    refusal_of_contract,
    refusal_of_person,
    refusal_of_place,
)
from cardserver.claims.filed import Filed, filed_for
from cardserver.claims.values import (
    ClaimsView,
    PersonState,
    Place,
    Presented,
    Rules,
    claim_number,
)
from cardserver.registry.values import Insurance
from cardserver.visits.billing import VisitBill, bill_of_visit
from cardserver.visits.refusal import Refusal
from ledger.calendar import day_number
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import Bill


class AdmissibleBill(Struct, frozen=True):
    """A bill that may be divided.

    Attributes:
        bill: With its lines; a visit's with those of the visit.
        care_date: The day whose rules apply.
        visit: The visit that it settles.
        insurance: The one that pays.
        insurances: All of the person's, for days of their own.
        scheme: The kind of care.
    """

    bill: Bill
    care_date: int
    visit: VisitBill | None
    place: Place
    person: PersonState
    insurance: Insurance
    insurances: Sequence[Insurance]
    policy: Policy
    scheme: str
    filed: Filed


class _Asked(NamedTuple):
    """A bill of a known person at a known place, on a day whose rules are to apply.

    Attributes:
        place: As it is now; what holds on the day is `place.on`.
    """

    bill: Bill
    care_date: int
    visit: VisitBill | Refusal | None
    place: Place
    person_no: int
    person: PersonState


class _Let(NamedTuple):
    """A bill that is let in but for its policy; the place is as on the day of care."""

    visit: VisitBill | None
    place: Place
    insurance: Insurance
    of_first_day: Insurance | ResponseCode


def admissible_bill(
    view: ClaimsView, bill: Bill, presented: Presented, rules: Rules, *, terminal_no: int
) -> AdmissibleBill | Refusal:
    """Let a bill in, or refuse with the first code that applies."""
    book, today = view.book, view.when.business_date
    place = book.places.get(terminal_no)
    person = book.persons.get(presented.person_no)
    visited = _visited(view, bill, presented, place)
    if isinstance(visited, VisitBill):
        bill, care_date = visited.bill, visited.care_date
    else:
        care_date = care_date_of(bill, today)
    code = refusal_of_place(place)
    if code is None and presented.card_no:
        code = refusal_of_card(book.cards.get(presented.card_no), presented.person_no, today)
    code = code or refusal_of_person(person, care_date)
    if code is not None:
        return Refusal(code)
    assert place is not None
    assert person is not None
    return _on_day(
        view, rules, _Asked(bill, care_date, visited, place, presented.person_no, person)
    )


def care_date_of(bill: Bill, today: int) -> int:
    """Return the day whose rules apply to a bill with lines: a stay's last day, else today."""
    return today if bill.discharged is None else day_number(bill.discharged)


def _on_day(view: ClaimsView, rules: Rules, asked: _Asked) -> AdmissibleBill | Refusal:
    """Let a bill in by what holds on its day of care."""
    bill, care_date, visited = asked.bill, asked.care_date, asked.visit
    place = asked.place.on(care_date)
    insurances = view.book.insurances.get(asked.person_no, [])
    insurance = coverage(insurances, bill.insutype, care_date)
    of_first_day = insurance
    if isinstance(visited, VisitBill) and visited.is_stay:
        of_first_day = coverage(insurances, bill.insutype, visited.visit.begins)
        if isinstance(insurance, ResponseCode):
            insurance = of_first_day  # lost during the stay: the policy says what that means
    if isinstance(insurance, ResponseCode):
        return Refusal(insurance)
    code = refusal_of_contract(place, bill.med_type, care_date)
    if code is not None:
        return Refusal(code)
    if isinstance(visited, Refusal):
        return visited
    if _has_wrong_dates(bill, view.when.business_date):
        return Refusal(ResponseCode.BILL_INVALID)
    return _under_policy(view, rules, asked, _Let(visited, place, insurance, of_first_day))


def _under_policy(
    view: ClaimsView, rules: Rules, asked: _Asked, let: _Let
) -> AdmissibleBill | Refusal:
    """Find the policy, and let it say the rest."""
    bill, care_date, visited = asked.bill, asked.care_date, let.visit
    region = let.insurance.region
    filings = view.book.filings.get(let.insurance.person_no)
    filed = filed_for(filings, bill, let.place, region=region, care_date=care_date)
    policy = rules.policies.find(bill.insutype, region, bill.med_type, care_date)
    scheme = policy and policy.care_of(bill.med_type, filed.disease)
    if not policy or not scheme:
        return Refusal(ResponseCode.POLICY_NOT_FOUND)
    code = refusal_of_care(policy, scheme, let.place)
    if code is not None:
        return Refusal(code)
    has_days = bill.admitted is not None or bill.discharged is not None
    if visited is None and has_days and not policy.has_stays(scheme):
        return Refusal(
            ResponseCode.BILL_INVALID,
            "门诊和购药没有住院日期：不填入院、出院日期",
            "outpatient care is no stay: it has no first and last day",
        )
    if visited is not None and visited.is_stay:
        by_day = policy.is_entitled_by_day(scheme)
        if not by_day and isinstance(let.of_first_day, ResponseCode):
            return Refusal(let.of_first_day)
        if policy.is_settled_at_year_end(scheme):
            one = visited.of_one_year()
            if isinstance(one, Refusal):
                return one
            if one.care_date != care_date:  # another day has other facts, and may have other rules
                return _on_day(view, rules, asked._replace(visit=one, care_date=one.care_date))
    return AdmissibleBill(
        bill=bill,
        care_date=care_date,
        visit=visited,
        place=let.place,
        person=asked.person,
        insurance=let.insurance,
        insurances=view.book.insurances.get(asked.person_no, []),
        policy=policy,
        scheme=scheme,
        filed=filed,
    )


def _visited(
    view: ClaimsView, bill: Bill, presented: Presented, place: Place | None
) -> VisitBill | Refusal | None:
    """Find what a bill that names a visit settles; None for one that brings its lines."""
    if not bill.mdtrt_id or place is None:
        return None
    return bill_of_visit(
        view.book.visits,
        bill,
        visit_no=claim_number(bill.mdtrt_id),
        institution_no=place.institution_no,
        person_no=presented.person_no,
        today=view.when.business_date,
    )


def _has_wrong_dates(bill: Bill, today: int) -> bool:
    last = care_date_of(bill, today)
    return last > today or (bill.admitted is not None and day_number(bill.admitted) > last)
