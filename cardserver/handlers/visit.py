"""REGISTER, ADMIT, LINES, DISCHARGE, their cancels, and VISIT_QUERY.

Not here: what is decided (`cardserver/visits`), settling a visit (`money.py`).
"""

from cardserver.centre import Answer, Exchange
from cardserver.claims.values import Presented, claim_number
from cardserver.handlers.eligibility import person_asked
from cardserver.handlers.money import NOBODY
from cardserver.handlers.posting import attempt_of, post
from cardserver.handlers.presented import marked, presented_by
from cardserver.handlers.status import stored_answer
from cardserver.observe.stages import Stage
from cardserver.visits import recording
from cardserver.visits.inquiry import find_open_visits, find_visit
from cardserver.visits.opening import admit_work, register_work
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import (
    Admit,
    Bill,
    CardException,
    Discharge,
    DischargeCancel,
    Lines,
    LinesCancel,
    Register,
    VisitCancel,
    VisitQuery,
)


async def register(exchange: Exchange, body: Register) -> Answer:
    """REGISTER (2201): an outpatient visit begins."""
    presented = await _presented(exchange, body.insutype, body.med_type, body.exception)
    if isinstance(presented, Answer):
        return presented
    work = register_work(attempt_of(exchange), body, presented, exchange.centre.rules)
    return marked(exchange, presented, await post(exchange, work))


async def admit(exchange: Exchange, body: Admit) -> Answer:
    """ADMIT (2401): an inpatient stay begins."""
    presented = await _presented(exchange, body.insutype, body.med_type, body.exception)
    if isinstance(presented, Answer):
        return presented
    work = admit_work(attempt_of(exchange), body, presented, exchange.centre.rules)
    return marked(exchange, presented, await post(exchange, work))


async def discharge(exchange: Exchange, body: Discharge) -> Answer:
    """DISCHARGE (2402): a stay ends."""
    return await post(exchange, recording.discharge_work(attempt_of(exchange), body))


async def visit_cancel(exchange: Exchange, body: VisitCancel) -> Answer:
    """VISIT_CANCEL (2202, 2404): a visit was never meant."""
    return await post(exchange, recording.visit_cancel_work(attempt_of(exchange), body))


async def discharge_cancel(exchange: Exchange, body: DischargeCancel) -> Answer:
    """DISCHARGE_CANCEL (2405): a stay goes on."""
    return await post(exchange, recording.discharge_cancel_work(attempt_of(exchange), body))


async def lines(exchange: Exchange, body: Lines) -> Answer:
    """LINES (2204, 2301): lines of a visit."""
    work = recording.lines_work(attempt_of(exchange), body, exchange.centre.rules)
    return await post(exchange, work)


async def lines_cancel(exchange: Exchange, body: LinesCancel) -> Answer:
    """LINES_CANCEL (2205, 2302): lines were never meant."""
    return await post(exchange, recording.lines_cancel_work(attempt_of(exchange), body))


async def visit_query(exchange: Exchange, body: VisitQuery) -> Answer:
    """VISIT_QUERY (5201): how a visit stands, or which ones a person has here."""
    database = exchange.centre.database
    institution_no = exchange.session.institution.institution_no
    if body.mdtrt_id:
        found = await find_visit(
            database,
            claim_number(body.mdtrt_id),
            institution_no,
            body,
            # The envelope, the visit and its settlements take the rest.
            size_max=exchange.centre.config.listener.frame_size_max // 2,
        )
        exchange.clock.end(Stage.LOOKUP)
        if found is None:
            return Answer(ResponseCode.VISIT_UNKNOWN)
        return Answer(ResponseCode.APPROVED, found)
    person_no = person_asked(exchange, body.psn_no)
    if isinstance(person_no, Answer):
        return person_no
    visits = await find_open_visits(database, person_no, institution_no)
    exchange.clock.end(Stage.LOOKUP)
    return Answer(ResponseCode.APPROVED, visits)


async def _presented(
    exchange: Exchange, insutype: str, med_type: str, exception: CardException | None
) -> Presented | Answer:
    """Say whose visit begins, or give the answer: an earlier one's, or the refusal."""
    nothing_yet = Bill(insutype, med_type, 0, uses_account=False, invoice="", lines=())
    presented = await presented_by(exchange, nothing_yet, exception)
    if isinstance(presented, Answer) and presented.code.is_stored:
        # The ledger itself refuses a person whom nobody knows, so that the refusal is kept.
        presented = Presented(person_no=NOBODY)
    if isinstance(presented, Answer):
        # A stored outcome wins, also when the card session has expired since.
        return await stored_answer(exchange) or presented
    exchange.clock.end(Stage.VERIFICATION)
    return presented
