"""Who is treated, by the card session or the named exception that a request carries."""

from dataclasses import replace
from typing import assert_never

from cardserver.cards.refusals import CardRefusalReason
from cardserver.cards.session_token import CardSession
from cardserver.centre import Answer, Exchange
from cardserver.claims.values import Presented
from cardserver.config import Unverified
from cardserver.handlers.member import person_no_of
from cardserver.outcomes import code_of_card
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import Bill, CardException, ProofLevel


def card_session_of(exchange: Exchange) -> CardSession | Answer:
    """Read the request's card session, or refuse it."""
    centre, session = exchange.centre, exchange.session
    token = exchange.request.card_session
    if not token:
        return Answer(ResponseCode.CARD_SESSION_REQUIRED)
    checked = centre.card_sessions.check(
        token, terminal_no=session.terminal.terminal_no, now_ms=centre.clock.now_ms()
    )
    if isinstance(checked, CardRefusalReason):
        return Answer(code_of_card(checked))
    return checked


async def presented_by(
    exchange: Exchange, bill: Bill, exception: CardException | None
) -> Presented | Answer:
    """Say who is treated and how that is known, or refuse."""
    if exception is not None and not exchange.request.card_session:
        return await _by_exception(exchange, bill, exception)
    card_session = card_session_of(exchange)
    if isinstance(card_session, Answer):
        return card_session
    section = exchange.centre.config.cards
    if card_session.proof < ProofLevel.GENUINE_CARD:
        refusal = _unverified_refusal(section.unverified, bill)
        if refusal is not None:
            return refusal
    age_ms = exchange.centre.clock.now_ms() - card_session.opened_time_ms
    if bill.total_fen > section.fresh_card_above_fen and age_ms > section.fresh_card_life_ms:
        return Answer(
            ResponseCode.CARD_PROOF_TOO_WEAK,
            detail_zh=f"金额超过 {section.fresh_card_above_fen // 100} 元，请重新读卡",
            detail_en=f"above {section.fresh_card_above_fen // 100} yuan the card is read again",
        )
    return Presented(
        person_no=card_session.person_no,
        card_no=card_session.card_no,
        proof=card_session.proof,
    )


def unverified_words(unverified: Unverified) -> tuple[str, str]:
    """Say in Chinese and English what a card that can't prove itself may do here."""
    match unverified.may:
        case "nothing":
            return (
                "此卡无法自证真伪，本中心不受理",
                "a card that can't prove itself is not taken here",
            )
        case "look_up":
            return (
                "未验证：此卡无法自证真伪，仅可查询",
                "UNVERIFIED: the card can't prove itself; it may look up only",
            )
        case "settle":
            care_zh = "；".join(
                f"{'、'.join(care.med_types)} 不超过 {_yuan(care.total_max_fen)} 元"
                for care in unverified.care
            )
            care_en = "; ".join(
                f"{', '.join(care.med_types)} up to {_yuan(care.total_max_fen)} yuan"
                for care in unverified.care
            )
            return (
                f"未验证：此卡无法自证真伪，仅可查询及结算：{care_zh}",
                f"UNVERIFIED: the card can't prove itself; it may look up, and settle {care_en}",
            )
        case _:
            assert_never(unverified.may)


def marked(exchange: Exchange, presented: Presented, answer: Answer) -> Answer:
    """Have an acceptance say so where it rests on a card that can't prove itself."""
    if presented.proof != ProofLevel.UNVERIFIED_CARD or answer.code is not ResponseCode.APPROVED:
        return answer
    detail_zh, detail_en = unverified_words(exchange.centre.config.cards.unverified)
    return replace(
        answer,
        detail_zh=answer.detail_zh or detail_zh,
        detail_en=answer.detail_en or detail_en,
    )


def _unverified_refusal(unverified: Unverified, bill: Bill) -> Answer | None:
    """Refuse what a card that can't prove itself may not settle."""
    most_fen = unverified.total_max_fen(bill.med_type)
    if most_fen is not None and bill.total_fen <= most_fen:
        return None
    detail_zh, detail_en = unverified_words(unverified)
    return Answer(ResponseCode.CARD_PROOF_TOO_WEAK, detail_zh=detail_zh, detail_en=detail_en)


def _yuan(amount_fen: int) -> str:
    return f"{amount_fen // 100}.{amount_fen % 100:02d}"


async def _by_exception(
    exchange: Exchange, bill: Bill, exception: CardException
) -> Presented | Answer:
    for allowed in exchange.centre.config.exceptions:
        if (
            allowed.name == exception.name
            and bill.med_type in allowed.med_types
            and bill.total_fen <= allowed.total_max_fen
        ):
            break
    else:
        return Answer(ResponseCode.EXCEPTION_NOT_ALLOWED)
    person_no = await person_no_of(
        exchange.centre,
        certificate_type=exception.certificate_type,
        number=exception.certificate_number,
    )
    if isinstance(person_no, Answer):
        return person_no
    return Presented(person_no=person_no, exception=exception.name)
