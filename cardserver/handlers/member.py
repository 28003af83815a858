"""MEMBER_QUERY, and all that a counter sees of a person."""

import asyncio

from cardserver.benefits.values import Accumulated
from cardserver.centre import Answer, Centre, Exchange
from cardserver.claims.claims_store import accumulators
from cardserver.claims.values import AccumulatorKey
from cardserver.observe.stages import Stage
from cardserver.registry.values import FOREVER, Insurance
from ledger.calendar import date_of
from ledger.ledger_store import balances
from protocol.terminal import messages
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import MemberFound, MemberQuery


async def member_query(exchange: Exchange, body: MemberQuery) -> Answer:
    """MEMBER_QUERY (1101): a person by a number that was typed in. It proves nothing."""
    centre = exchange.centre
    person_no = await person_no_of(
        centre, certificate_type=body.certificate_type, number=body.certificate_number
    )
    if isinstance(person_no, Answer):
        return person_no
    member = await find_member(centre, person_no)
    exchange.clock.end(Stage.LOOKUP)
    if isinstance(member, ResponseCode):
        return Answer(member)
    return Answer(ResponseCode.APPROVED, MemberFound(member))


async def person_no_of(centre: Centre, *, certificate_type: str, number: str) -> int | Answer:
    """Find the person that a certificate's number names, or say why not."""
    match certificate_type:
        case "02":  # mdtrt_cert_type: identity card, or another document by which someone is known
            person = await centre.registry.person_by_id_number(number)
            return Answer(ResponseCode.PERSON_UNKNOWN) if person is None else person.person_no
        case "03":  # mdtrt_cert_type: social security card
            card = await centre.registry.card_by_number(number)
            return Answer(ResponseCode.PERSON_UNKNOWN) if card is None else card.person_no
        case _:
            return Answer(
                ResponseCode.INVALID_FIELD,
                detail_zh="证件类型应为 02 身份证或 03 社会保障卡",
                detail_en="certificate_type: 02 identity card, 03 social security card",
            )


async def find_member(
    centre: Centre, person_no: int, *, id_number: str = ""
) -> messages.Person | ResponseCode:
    """Look up all that a counter sees of a person.

    `id_number` is what the card's holder file says. The card does not prove it, so it must be one
    of the registry's for this person, as a card may be older than a change of number; it is empty
    where it was not read.
    """
    year = centre.today().year
    person, insurances, held, used = await asyncio.gather(
        centre.registry.person(person_no),
        centre.registry.insurances(person_no),
        balances(centre.database, [person_no]),
        accumulators(centre.database, [person_no], year),
    )
    if person is None:
        return ResponseCode.PERSON_UNKNOWN
    if id_number and id_number != person.id_number:
        known = await centre.registry.person_by_id_number(id_number)
        if known is None or known.person_no != person_no:
            return ResponseCode.CARD_IDENTITY_MISMATCH
    if person.deceased_date is not None:
        return ResponseCode.PERSON_DECEASED
    return messages.Person(
        psn_no=str(person.person_no),
        name=str(person.name),
        sex=person.sex,
        birth_date=date_of(person.birth_date),
        insurances=tuple(_insurance(one) for one in insurances),
        account_balance_fen=held[person_no],
        accumulators=tuple(accumulator(*row) for row in used[person_no]),
    )


def accumulator(key: AccumulatorKey, amounts: Accumulated) -> messages.Accumulator:
    """Return one row of accumulators as it goes over the wire."""
    return messages.Accumulator(
        year=key.year,
        insutype=key.insutype,
        scheme=key.scheme,
        deductible_fen=amounts.deductible_fen,
        in_scope_fen=amounts.in_scope_fen,
        pool_fen=amounts.pool_fen,
        large_amount_fen=amounts.large_amount_fen,
        admissions=amounts.admissions,
    )


def _insurance(insurance: Insurance) -> messages.Insurance:
    return messages.Insurance(
        insutype=insurance.insutype,
        state=messages.InsuranceState(insurance.state),
        person_type=insurance.person_type,
        region=insurance.region,
        begins=date_of(insurance.begins),
        ends=None if insurance.ends == FOREVER else date_of(insurance.ends),
    )
