"""ELIGIBILITY: would SETTLE find this person covered?"""

from cardserver.centre import Answer, Exchange
from cardserver.claims.eligibility import coverage, refusal_of_person
from cardserver.claims.values import PersonState
from cardserver.handlers.presented import card_session_of
from cardserver.observe.stages import Stage
from cardserver.registry.values import FOREVER
from ledger.calendar import date_of, day_number
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import Eligibility, EligibilityFound

_PERSON_NO_DIGITS_MAX = 18


async def eligibility(exchange: Exchange, body: Eligibility) -> Answer:
    """ELIGIBILITY (2001): entitled or not, why, and from when to when."""
    person_no = person_asked(exchange, body.psn_no)
    if isinstance(person_no, Answer):
        return person_no
    registry = exchange.centre.registry
    person = await registry.person(person_no)
    insurances = await registry.insurances(person_no)
    exchange.clock.end(Stage.LOOKUP)
    day = day_number(body.date or exchange.centre.today())
    state = (
        None
        if person is None
        else PersonState(person.birth_date, person.deceased_date, person.family_no)
    )
    found = refusal_of_person(state, day) or coverage(insurances, body.insutype, day)
    if isinstance(found, ResponseCode):
        return Answer(
            ResponseCode.APPROVED,
            EligibilityFound(is_entitled=False, reason=found, begins=None, ends=None),
        )
    return Answer(
        ResponseCode.APPROVED,
        EligibilityFound(
            is_entitled=True,
            reason=ResponseCode.APPROVED,
            begins=date_of(found.begins),
            ends=None if found.ends == FOREVER else date_of(found.ends),
        ),
    )


def person_asked(exchange: Exchange, psn_no: str) -> int | Answer:
    """Say whose number that is; without one whose the card session is, or refuse."""
    if not psn_no:
        session = card_session_of(exchange)
        if isinstance(session, Answer):
            return session
        if exchange.centre.revocations.is_card_revoked(session.card_no):
            return Answer(ResponseCode.CARD_REVOKED)
        return session.person_no
    if psn_no.isascii() and psn_no.isdecimal() and len(psn_no) <= _PERSON_NO_DIGITS_MAX:
        return int(psn_no)
    return Answer(ResponseCode.PERSON_UNKNOWN)
