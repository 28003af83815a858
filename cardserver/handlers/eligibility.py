"""ELIGIBILITY: would SETTLE find this person covered?"""

from cardserver.centre import Answer, Exchange
from cardserver.claims.claims_store import read_view
from cardserver.claims.eligibility import entitlement
from cardserver.claims.values import Needs
from cardserver.handlers.presented import card_session_of
from cardserver.observe.stages import Stage
from cardserver.registry.values import FOREVER
from ledger.calendar import date_of, day_number
from ledger.ledger_store import GroupTime
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import Eligibility, EligibilityFound

_PERSON_NO_DIGITS_MAX = 18


async def eligibility(exchange: Exchange, body: Eligibility) -> Answer:
    """ELIGIBILITY (2001): entitled or not, why, and from when to when."""
    person_no = person_asked(exchange, body.psn_no)
    if isinstance(person_no, Answer):
        return person_no
    centre, terminal_no = exchange.centre, exchange.session.terminal.terminal_no
    today = day_number(centre.today())
    needs = Needs(person_no=person_no, terminal_no=terminal_no)
    when = GroupTime(today, today // 100, centre.clock.now_ms())
    view = await centre.database.fetch_script(read_view(needs, when))
    exchange.clock.end(Stage.LOOKUP)
    found = entitlement(
        place=view.book.places.get(terminal_no),
        person=view.book.persons.get(person_no),
        insurances=view.book.insurances.get(person_no, []),
        policies=centre.rules.policies,
        insutype=body.insutype,
        med_type=body.med_type,
        care_date=day_number(body.date) if body.date else today,
    )
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
