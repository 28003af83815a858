"""CARD_OPEN: verify the card in the reader, and look its person up.

Not here: what makes a card genuine (`cards/opening.py`), who a person is (`handlers/member.py`).
"""

from dataclasses import replace

from msgspec import structs

from cardserver.cards.challenges import CHALLENGE_SIZE
from cardserver.cards.egk_pin import visit_egk_pin
from cardserver.cards.medical import PINAction, visit_medical
from cardserver.cards.opening import OpenedCard, open_card
from cardserver.cards.refusals import CardRefusal, CardRefusalReason
from cardserver.cards.session_token import CardSession
from cardserver.cards.visit import BatchRunner, FirstAnswers
from cardserver.centre import Answer, Exchange
from cardserver.claims.audit_store import INSERT_AUDIT, audit_row
from cardserver.handlers.member import find_member
from cardserver.handlers.presented import unverified_words
from cardserver.observe.stages import Stage, StageClock
from cardserver.outcomes import code_of_card
from cardserver.registry.registry_store import Registry
from cardserver.registry.values import Card
from cardserver.session import RelayRunner
from ledger.calendar import day_number
from protocol.card.profiles import egk, social_security_card
from protocol.card.profiles.social_security_medical import MedicalRecords
from protocol.card.script import Batch
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import (
    CardLogRecord,
    CardOpen,
    CardOpened,
    MedicalFile,
    MedicalItem,
    PINResult,
    PINState,
    ProofLevel,
)
from terminals.readers.channel import BatchAnswers, BatchOutcome

_NONCE_SIZE = 8
_CENTRE_READER = "centre:"


async def card_open(exchange: Exchange, body: CardOpen) -> Answer:
    """CARD_OPEN (1602): one round trip where the terminal sent an opening batch along."""
    # No reader is waited for longer than the terminal waits for the answer.
    wait_ms = max(1, min(exchange.centre.config.cards.relay_time_max_ms, exchange.time_left_ms()))
    relay = RelayRunner(exchange.session, exchange.request.exchange, wait_ms=wait_ms)
    runner = _TimedRunner(relay, exchange.clock)
    if body.reader.startswith(_CENTRE_READER):
        opened = await _open_attached(exchange, body)
    else:
        opened = await _open_remote(exchange, body, runner)
    exchange.clock.end(Stage.VERIFICATION)
    if opened.external_authentications:
        await _audit(exchange, opened)
    if isinstance(opened, CardRefusal):
        return Answer(
            code_of_card(opened.reason), detail_zh=opened.detail_zh, detail_en=opened.detail_en
        )
    exchange.clock.add(Stage.CHIP, opened.card_time_us * 1000)
    if opened.proof >= ProofLevel.GENUINE_CARD:
        answer = await _with_person(exchange, opened)
        return await _with_medical(exchange, body, opened, answer, runner)
    return await _with_claimed_person(exchange, opened)


async def _open_remote(
    exchange: Exchange, body: CardOpen, runner: BatchRunner
) -> OpenedCard | CardRefusal:
    """Verify the card at the terminal, by what was sent along and what is relayed."""
    centre, session, clock = exchange.centre, exchange.session, exchange.clock
    challenge = (
        session.challenges.take(body.challenge)
        if body.opening
        else centre.random_bytes(CHALLENGE_SIZE)
    )
    if challenge is None:
        return CardRefusal(CardRefusalReason.CHALLENGE_NOT_VALID)
    return await open_card(
        first=FirstAnswers(
            atr=body.atr,
            opening=body.opening,
            challenge=challenge,
            answers=body.answers,
            outcome=BatchOutcome(body.outcome),
            card_time_us=body.card_time_us,
        ),
        runner=runner,
        keys=centre.keys,
        cards=_TimedCards(centre.registry, clock),
        issuers=centre.config.issuers,
        today=day_number(centre.today()),
        wants_holder=body.wants_holder,
        anchors=centre.anchors,
    )


async def _open_attached(exchange: Exchange, body: CardOpen) -> OpenedCard | CardRefusal:
    """Verify the card in a reader attached to the centre, for a terminal that may use it."""
    centre, session = exchange.centre, exchange.session
    reader = centre.attached_readers.get(body.reader.removeprefix(_CENTRE_READER))
    who = f"{session.institution.code}/{session.terminal.code}"
    if reader is None or who not in centre.config.readers.terminals:
        return CardRefusal(
            CardRefusalReason.CARD_READER_FAULT,
            "中心无此读卡器或本终端无权使用",
            "this worker has no such reader, or the terminal may not use it",
        )
    return await reader.open(today=day_number(centre.today()), wants_holder=body.wants_holder)


async def _audit(exchange: Exchange, opened: OpenedCard | CardRefusal) -> None:
    """Keep that the centre proved itself to a card: it must be no oracle for such proofs."""
    assert exchange.operator is not None
    session = exchange.session
    if isinstance(opened, CardRefusal):
        subject, detail = exchange.request.msgid, f"refused: {opened.reason.name}"
    else:
        subject, detail = f"card {opened.card.card_no}", exchange.request.msgid
    await exchange.centre.database.execute(
        INSERT_AUDIT(
            [
                audit_row(
                    time_ms=exchange.centre.clock.now_ms(),
                    institution_no=session.institution.institution_no,
                    terminal_no=session.terminal.terminal_no,
                    operator_no=exchange.operator.operator_no,
                    action="external_auth",
                    subject=subject,
                    detail=detail,
                )
            ]
        )
    )
    exchange.clock.end(Stage.COMMIT)


async def _with_person(exchange: Exchange, opened: OpenedCard) -> Answer:
    centre, session = exchange.centre, exchange.session
    member = await find_member(centre, opened.card.person_no, id_number=opened.id_number)
    exchange.clock.end(Stage.LOOKUP)
    if isinstance(member, ResponseCode):
        return Answer(member)
    token = centre.card_sessions.issue(
        CardSession(
            terminal_no=session.terminal.terminal_no,
            institution_no=session.institution.institution_no,
            card_no=opened.card.card_no,
            person_no=opened.card.person_no,
            proof=opened.proof,
            opened_time_ms=centre.clock.now_ms(),
            nonce=centre.random_bytes(_NONCE_SIZE),
        )
    )
    session.card_profile = opened.card.profile
    return Answer(
        ResponseCode.APPROVED,
        CardOpened(
            card_session=token,
            session_life_ms=centre.card_sessions.life_ms,
            profile=opened.card.profile,
            card_number=str(opened.card.card_number),
            proof=ProofLevel(opened.proof),
            pin=PINState(opened.pin_state),
            pin_tries=opened.pin_tries,
            holder_name=opened.holder_name,
            holder_id=opened.holder_id,
            person=member,
            round_trips=opened.round_trips,
            card_time_us=opened.card_time_us,
        ),
    )


async def _with_medical(
    exchange: Exchange, body: CardOpen, opened: OpenedCard, answer: Answer, runner: BatchRunner
) -> Answer:
    """Read the card's medical file too where the terminal wants it, or see to the PIN."""
    action = PINAction(body.pin_action)
    is_remote = not body.reader.startswith(_CENTRE_READER)
    if not (is_remote and isinstance(answer.body, CardOpened)):
        return answer
    pin_state = social_security_card.PINState(opened.pin_state)
    pin_tries = opened.pin_tries
    match opened.card.profile:
        case social_security_card.PROFILE if body.wants_medical or action is PINAction.CHANGE:
            visit = await visit_medical(
                runner,
                pin_state=pin_state,
                pin_tries=pin_tries,
                action=action,
                wants_records=body.wants_medical,
            )
        case egk.PROFILE:
            visit = await visit_egk_pin(
                runner, pin_state=pin_state, pin_tries=pin_tries, action=action
            )
        case _:
            return answer
    if isinstance(visit, CardRefusal):
        return Answer(
            code_of_card(visit.reason), detail_zh=visit.detail_zh, detail_en=visit.detail_en
        )
    exchange.clock.add(Stage.CHIP, visit.card_time_us * 1000)
    changed = structs.replace(
        answer.body,
        pin=PINState(visit.pin_state),
        pin_tries=visit.pin_tries,
        pin_result=PINResult(visit.pin_result),
        medical=_medical_file(visit.records) if visit.records is not None else None,
        round_trips=opened.round_trips + visit.round_trips,
        card_time_us=opened.card_time_us + visit.card_time_us,
    )
    return replace(answer, body=changed)


def _medical_file(records: MedicalRecords) -> MedicalFile:
    return MedicalFile(
        tuple(MedicalItem(tag, text) for tag, text in records.items.items()),
        tuple(
            CardLogRecord(
                each.sequence,
                each.kind,
                each.terminal,
                each.time,
                each.account_fen,
                each.own_pay_fen,
                each.pool_fen,
            )
            for each in records.log
        ),
        records.marks,
    )


async def _with_claimed_person(exchange: Exchange, opened: OpenedCard) -> Answer:
    """Open a card that proves nothing as far as the fund allows, and have the reply say so."""
    unverified = exchange.centre.config.cards.unverified
    detail_zh, detail_en = unverified_words(unverified)
    if unverified.may == "nothing":
        return Answer(ResponseCode.CARD_PROOF_TOO_WEAK, detail_zh=detail_zh, detail_en=detail_en)
    answer = await _with_person(exchange, opened)
    if not isinstance(answer.body, CardOpened):
        return answer
    born = day_number(answer.body.person.birth_date)
    if not _is_same_birth_date(opened.birth_date, born):
        return Answer(
            ResponseCode.CARD_IDENTITY_MISMATCH, detail_zh="出生日期", detail_en="date of birth"
        )
    return replace(answer, detail_zh=detail_zh, detail_en=detail_en)


def _is_same_birth_date(claimed: int, registered: int) -> bool:
    """Compare what the card says with the person's; month and day may be 00 on the card."""
    if claimed % 100 == 0:
        claimed, registered = claimed // 100, registered // 100
    if claimed % 100 == 0:
        claimed, registered = claimed // 100, registered // 100
    return claimed in {0, registered}


class _TimedRunner:
    """A runner whose waits count as round trips, not as verification."""

    def __init__(self, runner: BatchRunner, clock: StageClock) -> None:
        self._runner = runner
        self._clock = clock

    async def run(self, batch: Batch) -> BatchAnswers:
        self._clock.end(Stage.VERIFICATION)
        if any(step.pins for step in batch):
            self._clock.waited_for_person = True
        answers = await self._runner.run(batch)
        self._clock.end(Stage.CARD_ROUND_TRIPS)
        return answers


class _TimedCards:
    """A registry whose time counts as look-up, not as verification."""

    def __init__(self, registry: Registry, clock: StageClock) -> None:
        self._registry = registry
        self._clock = clock

    async def card_by_identity(self, profile: str, region: str, identity: bytes) -> Card | None:
        self._clock.end(Stage.VERIFICATION)
        card = await self._registry.card_by_identity(profile, region, identity)
        self._clock.end(Stage.LOOKUP)
        return card
