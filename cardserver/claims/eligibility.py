"""Whether a person, a card and an institution may take part in a settlement. Pure.

Each check returns the code that refuses, or nothing; they are ordered as the codes are.
"""

from collections.abc import Iterable

from cardserver.benefits.circumstances import type_of_kind
from cardserver.benefits.policy import Policy
from cardserver.claims.values import CardState, PersonState, Place, PolicyFinder
from cardserver.registry.values import CardState as CardStateNumber
from cardserver.registry.values import InstitutionKind, Insurance, InsuranceState
from protocol.terminal.codes import ResponseCode

_ACTIVE = 1
_OUTPATIENT, _PHARMACY = "11", "41"
# Which kinds of institutions bill which care, whatever the policy: only a pharmacy sells without a
# visit. Who has beds, or cares for special diseases, is the policy's word (`refusal_of_care`).
_KINDS = {
    _OUTPATIENT: {InstitutionKind.HOSPITAL, InstitutionKind.COMMUNITY},
    _PHARMACY: {InstitutionKind.PHARMACY},
}


def refusal_of_place(place: Place | None) -> ResponseCode | None:
    """Refuse a terminal or institution that may not work now."""
    if place is None:
        return ResponseCode.TERMINAL_UNKNOWN
    if place.terminal_state != _ACTIVE:
        return ResponseCode.TERMINAL_DISABLED
    if place.institution_state != _ACTIVE:
        return ResponseCode.INSTITUTION_SUSPENDED
    return None


def refusal_of_card(card: CardState | None, person_no: int, today: int) -> ResponseCode | None:
    """Refuse a card that was revoked, replaced or has ended since it was opened."""
    if card is None:
        return ResponseCode.CARD_NOT_REGISTERED
    if card.state != CardStateNumber.VALID:
        return ResponseCode.CARD_REVOKED
    if today < card.begins:
        return ResponseCode.CARD_NOT_YET_VALID
    if today > card.ends:
        return ResponseCode.CARD_EXPIRED
    if card.person_no != person_no:
        return ResponseCode.CARD_SESSION_NOT_VALID
    return None


def refusal_of_person(person: PersonState | None, care_date: int) -> ResponseCode | None:
    """Refuse a person who is unknown, or had died on the day of care."""
    if person is None:
        return ResponseCode.PERSON_UNKNOWN
    if person.deceased_date is not None and person.deceased_date < care_date:
        return ResponseCode.PERSON_DECEASED
    return None


def coverage(
    insurances: Iterable[Insurance], insutype: str, care_date: int
) -> Insurance | ResponseCode:
    """Find the insurance that is in force on the day of care, or say why there is none.

    Of several in force the one that began last decides, in whatever order they come: where a
    person retires, the earlier one is often left without an end.
    """
    found: Insurance | None = None
    refusal = ResponseCode.COVERAGE_NOT_FOUND
    for insurance in insurances:
        if insurance.insutype != insutype:
            continue
        if insurance.begins <= care_date <= insurance.ends:
            if insurance.state == InsuranceState.IN_FORCE:
                if found is None or insurance.begins > found.begins:
                    found = insurance
            elif insurance.state == InsuranceState.PAUSED:
                refusal = ResponseCode.COVERAGE_PAUSED
        if refusal is ResponseCode.COVERAGE_NOT_FOUND:
            refusal = ResponseCode.COVERAGE_NOT_IN_FORCE
    return refusal if found is None else found


def refusal_of_contract(place: Place, med_type: str, care_date: int) -> ResponseCode | None:
    """Refuse care that the institution's contract does not allow it to bill.

    `place` is as it is on the day of care (`Place.on`).
    """
    if not place.contract_begins <= care_date <= place.contract_ends:
        return ResponseCode.INSTITUTION_NOT_CONTRACTED
    kinds = _KINDS.get(med_type)
    if kinds is not None and place.kind not in kinds:
        return ResponseCode.CARE_TYPE_NOT_CONTRACTED
    if place.care and med_type not in place.care.split():
        return ResponseCode.CARE_TYPE_NOT_CONTRACTED
    return None


def refusal_of_care(policy: Policy, scheme: str, place: Place) -> ResponseCode | None:
    """Refuse care that the policy has at other kinds of institutions."""
    if type_of_kind.get(place.kind) in policy.plans[scheme].rules.institution_kinds:
        return None
    return ResponseCode.CARE_TYPE_NOT_CONTRACTED


def entitlement(
    *,
    place: Place | None,
    person: PersonState | None,
    insurances: Iterable[Insurance],
    policies: PolicyFinder,
    insutype: str,
    med_type: str,
    care_date: int,
) -> Insurance | ResponseCode:
    """Find the insurance under which care would be settled here, or the code that refuses it.

    Whether care for which a disease must be named is covered, is not known without it.
    """
    code = refusal_of_place(place) or refusal_of_person(person, care_date)
    if code is not None:
        return code
    assert place is not None
    place = place.on(care_date)
    insurance = coverage(insurances, insutype, care_date)
    if isinstance(insurance, ResponseCode):
        return insurance
    code = refusal_of_contract(place, med_type, care_date)
    if code is not None:
        return code
    policy = policies.find(insutype, insurance.region, med_type, care_date)
    if policy is None:
        return ResponseCode.POLICY_NOT_FOUND
    scheme = policy.care_of(med_type)
    return (scheme and refusal_of_care(policy, scheme, place)) or insurance


def age_on(birth_date: int, day: int) -> int:
    """Return full years on a day."""
    return (day - birth_date) // 10_000
