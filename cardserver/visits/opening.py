"""REGISTER and ADMIT: whether a visit may begin, and its number. Pure.

A visit posts an entry without postings, so that it has a number as a settlement has, and is sealed
with all else. Not here: what is recorded of it later (`recording.py`).
"""

import datetime as dt

from msgspec import Struct, msgpack

from cardserver.claims.eligibility import (
    coverage,
    refusal_of_card,
    refusal_of_care,
    refusal_of_contract,
    refusal_of_person,
    refusal_of_place,
)
from cardserver.claims.values import (
    Attempt,
    ClaimsDecision,
    ClaimsView,
    ClaimsWork,
    Needs,
    Place,
    Presented,
    Record,
    Rules,
    claim_number,
)
from cardserver.visits.refusal import Refusal
from cardserver.visits.values import Visit
from cardserver.visits.visit_book import Noted, VisitBook
from ledger.calendar import date_of, day_number
from ledger.decisions import Answer, Post, Posted, Work
from ledger.entries import Draft, EntryKind
from protocol.terminal import messages
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import MessageType, VisitKind, VisitState

_ENCODER = msgpack.Encoder()


class _Opening(Struct, frozen=True):
    """What REGISTER and ADMIT have in common."""

    type: MessageType
    kind: VisitKind
    insutype: str
    med_type: str
    begins: dt.date | None
    number: str
    department: str
    doctor: str
    diagnosis: str
    disease: str
    emergency: bool
    transferred_from: str = ""


def register_work(
    attempt: Attempt, body: messages.Register, presented: Presented, rules: Rules
) -> ClaimsWork:
    """Make the writer's work of a REGISTER."""
    opening = _Opening(
        MessageType.REGISTER, VisitKind.OUTPATIENT, body.insutype, body.med_type, body.begins,
        body.number, body.department, body.doctor, body.diagnosis, body.disease, body.emergency,
    )  # fmt: skip
    return _work(attempt, opening, presented, rules)


def admit_work(
    attempt: Attempt, body: messages.Admit, presented: Presented, rules: Rules
) -> ClaimsWork:
    """Make the writer's work of an ADMIT."""
    opening = _Opening(
        MessageType.ADMIT, VisitKind.INPATIENT, body.insutype, body.med_type, body.begins,
        body.number, body.department, body.doctor, body.diagnosis, body.disease, body.emergency,
        body.transferred_from,
    )  # fmt: skip
    return _work(attempt, opening, presented, rules)


def refusal_of_stay(
    book: VisitBook, person_no: int, *, begins: int, transferred_from: int | None
) -> Refusal | None:
    """Refuse a stay beside another one, or one that can't continue the one it names.

    Args:
        book: With the person's stays.
        person_no: Whose.
        begins: The first day.
        transferred_from: The stay that it continues; None for none.
    """
    for stay in book.other_stays(person_no):
        is_open = not stay.ends
        if stay.visit_no != transferred_from and (is_open or stay.ends > begins):
            return Refusal(
                ResponseCode.STAY_OVERLAPS,
                f"{date_of(stay.begins)} 起的住院尚未结束或晚于本次入院",
                f"the stay from {date_of(stay.begins)} has not ended before this one begins",
            )
    if transferred_from is None:
        return None
    earlier = next(
        (one for one in book.other_stays(person_no) if one.visit_no == transferred_from), None
    )
    if earlier is None or not earlier.begins <= begins:
        return Refusal(ResponseCode.TRANSFER_NOT_VALID)
    is_continued = any(
        one.transferred_from == transferred_from for one in book.other_stays(person_no)
    )
    last = date_of(earlier.ends or begins)
    if is_continued or not 0 <= (date_of(begins) - last).days <= 1:
        return Refusal(
            ResponseCode.TRANSFER_NOT_VALID,
            "须为转出当日或次日入院，且未被其他住院续接",
            "a transfer is on the day of discharge or the next, and continues a stay once",
        )
    return None


def _work(attempt: Attempt, opening: _Opening, presented: Presented, rules: Rules) -> ClaimsWork:
    def decide(view: ClaimsView) -> ClaimsDecision:
        today = view.when.business_date
        begins = today if opening.begins is None else day_number(opening.begins)
        refusal = _refusal(view, attempt, opening, presented, rules, begins=begins)
        if refusal is not None:
            return Answer(
                refusal.code,
                detail_zh=refusal.detail_zh,
                detail_en=refusal.detail_en,
                is_stored=refusal.code.is_stored,
            )
        return _post(view, attempt, opening, presented, begins=begins)

    is_stay = opening.kind is VisitKind.INPATIENT
    return Work(
        key=attempt.key,
        type=opening.type,
        request_hash=attempt.request_hash,
        persons=(presented.person_no,),
        original=None,
        needs=Needs(
            person_no=presented.person_no,
            card_no=presented.card_no,
            terminal_no=attempt.terminal_no,
            stays_of=presented.person_no if is_stay else 0,
        ),
        decide=decide,
        deadline_ms=attempt.deadline_ms,
    )


def _refusal(
    view: ClaimsView,
    attempt: Attempt,
    opening: _Opening,
    presented: Presented,
    rules: Rules,
    *,
    begins: int,
) -> Refusal | None:
    """Refuse with the first code that applies."""
    book, today = view.book, view.when.business_date
    place = book.places.get(attempt.terminal_no)
    code = refusal_of_place(place)
    if code is None and presented.card_no:
        code = refusal_of_card(book.cards.get(presented.card_no), presented.person_no, today)
    code = code or refusal_of_person(book.persons.get(presented.person_no), begins)
    if code is not None:
        return Refusal(code)
    assert place is not None
    found = coverage(book.insurances.get(presented.person_no, ()), opening.insutype, begins)
    if isinstance(found, ResponseCode):
        return Refusal(found)
    place = place.on(begins)
    code = refusal_of_contract(place, opening.med_type, begins)
    if code is not None:
        return Refusal(code)
    refusal = None
    if opening.kind is VisitKind.INPATIENT:
        transferred_from = opening.transferred_from
        refusal = refusal_of_stay(
            book.visits,
            presented.person_no,
            begins=begins,
            transferred_from=claim_number(transferred_from) if transferred_from else None,
        )
    if refusal is None and begins > today:
        refusal = Refusal(ResponseCode.VISIT_DATE_NOT_VALID)
    return refusal or _refusal_of_care(opening, place, rules, found.region, begins)


def _refusal_of_care(
    opening: _Opening, place: Place, rules: Rules, region: str, begins: int
) -> Refusal | None:
    """Refuse care that no policy has, or has otherwise or elsewhere."""
    policy = rules.policies.find(opening.insutype, region, opening.med_type, begins)
    # Whether the disease is filed is seen when something is to be settled.
    scheme = policy and policy.care_of(opening.med_type, opening.disease)
    if not policy or not scheme:
        return Refusal(ResponseCode.POLICY_NOT_FOUND)
    code = refusal_of_care(policy, scheme, place)
    if code is not None:
        return Refusal(code)
    if policy.has_stays(scheme) is not (opening.kind is VisitKind.INPATIENT):
        return Refusal(
            ResponseCode.POLICY_NOT_FOUND,
            "住院请办理入院登记，门诊请办理挂号登记",
            "inpatient care begins by ADMIT, all other care by REGISTER",
        )
    return None


def _post(
    view: ClaimsView, attempt: Attempt, opening: _Opening, presented: Presented, *, begins: int
) -> ClaimsDecision:
    transferred_from = claim_number(opening.transferred_from)
    earlier = view.book.visits.visits.get(transferred_from)
    visit = Visit(
        visit_no=0,
        person_no=presented.person_no,
        institution_no=attempt.institution_no,
        kind=opening.kind.value,
        insutype=opening.insutype,
        med_type=opening.med_type,
        begins=begins,
        disease=opening.disease,
        is_emergency=int(opening.emergency),
        chain_no=0 if earlier is None else earlier.chain_no,
        transferred_from=transferred_from,
        number=opening.number,
        department=opening.department,
        doctor=opening.doctor,
        diagnosis=opening.diagnosis,
        state=VisitState.OPEN.value,
        ends=0,
        record_count=0,
    )

    def body_of(posted: Posted) -> bytes:
        return _ENCODER.encode(
            messages.Registered(
                mdtrt_id=str(posted.entry_no),
                psn_no=str(presented.person_no),
                begins=date_of(begins),
                registered_time_ms=posted.when.recorded_time_ms,
            )
        )

    draft = Draft(
        kind=EntryKind.VISIT,
        postings=(),
        person_no=presented.person_no,
        institution_no=attempt.institution_no,
    )
    record = Record(attempt=attempt, action=opening.type.name.lower(), visit=Noted(opened=visit))
    return Post(draft, ResponseCode.APPROVED, body_of, record)
