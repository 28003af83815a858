"""ACCUMULATORS: what a person has used in a year, and how often they were treated."""

import asyncio

from cardserver.centre import Answer, Exchange
from cardserver.claims.accumulators_store import visit_counts
from cardserver.claims.claims_store import accumulators as read_accumulators
from cardserver.handlers.eligibility import person_asked
from cardserver.handlers.member import accumulator
from cardserver.observe.stages import Stage
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import Accumulators, AccumulatorsFound, VisitCount


async def accumulators(exchange: Exchange, body: Accumulators) -> Answer:
    """ACCUMULATORS (5206): of any year; CARD_OPEN and MEMBER_QUERY tell of the running one."""
    person_no = person_asked(exchange, body.psn_no)
    if isinstance(person_no, Answer):
        return person_no
    centre = exchange.centre
    year = body.year or centre.today().year
    person, used, counts = await asyncio.gather(
        centre.registry.person(person_no),
        read_accumulators(centre.database, [person_no], year),
        centre.database.fetch_script(visit_counts(person_no, year)),
    )
    exchange.clock.end(Stage.LOOKUP)
    if person is None:
        return Answer(ResponseCode.PERSON_UNKNOWN)
    found = AccumulatorsFound(
        psn_no=str(person_no),
        year=year,
        accumulators=tuple(accumulator(*row) for row in used[person_no]),
        visits=tuple(VisitCount(*key, visits=count) for key, count in sorted(counts.items())),
    )
    return Answer(ResponseCode.APPROVED, found)
