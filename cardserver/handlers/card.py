"""CARD_OPEN: verify the card in the reader, and look its person up.

Not here: what makes a card genuine (`cards/opening.py`), who a person is (`handlers/member.py`).
"""

from cardserver.cards.challenges import CHALLENGE_SIZE
from cardserver.cards.opening import BatchRunner, FirstAnswers, OpenedCard, open_card
from cardserver.cards.refusals import CardRefusal, CardRefusalReason
from cardserver.cards.session_token import CardSession
from cardserver.centre import Answer, Exchange, day_number
from cardserver.claims.audit_store import INSERT_AUDIT, audit_row
from cardserver.handlers.member import find_member
from cardserver.observe.stages import Stage, StageClock
from cardserver.outcomes import code_of_card
from cardserver.registry.registry_store import Registry
from cardserver.registry.values import Card
from cardserver.session import RelayRunner
from protocol.card.script import Batch
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import CardOpen, CardOpened, PINState, ProofLevel
from terminals.readers.channel import BatchAnswers, BatchOutcome

_NONCE_SIZE = 8
_CENTRE_READER = "centre:"


async def card_open(exchange: Exchange, body: CardOpen) -> Answer:
    """CARD_OPEN (1602): one round trip where the terminal sent an opening batch along."""
    if body.reader.startswith(_CENTRE_READER):
        opened = await _open_attached(exchange, body)
    else:
        opened = await _open_remote(exchange, body)
    exchange.clock.end(Stage.VERIFICATION)
    if opened.external_authentications:
        await _audit(exchange, opened)
    if isinstance(opened, CardRefusal):
        return Answer(
            code_of_card(opened.reason), detail_zh=opened.detail_zh, detail_en=opened.detail_en
        )
    exchange.clock.add(Stage.CHIP, opened.card_time_us * 1000)
    return await _with_person(exchange, opened)


async def _open_remote(exchange: Exchange, body: CardOpen) -> OpenedCard | CardRefusal:
    """Verify the card at the terminal, by what was sent along and what is relayed."""
    centre, session, clock = exchange.centre, exchange.session, exchange.clock
    challenge = (
        session.challenges.take(body.challenge)
        if body.opening
        else centre.random_bytes(CHALLENGE_SIZE)
    )
    if challenge is None:
        return CardRefusal(CardRefusalReason.CHALLENGE_NOT_VALID)
    # No reader is waited for longer than the terminal waits for the answer.
    wait_ms = max(1, min(centre.config.cards.relay_time_max_ms, exchange.time_left_ms()))
    relay = RelayRunner(session, exchange.request.exchange, wait_ms=wait_ms)
    return await open_card(
        first=FirstAnswers(
            atr=body.atr,
            opening=body.opening,
            challenge=challenge,
            answers=body.answers,
            outcome=BatchOutcome(body.outcome),
            card_time_us=body.card_time_us,
        ),
        runner=_TimedRunner(relay, clock),
        keys=centre.keys,
        cards=_TimedCards(centre.registry, clock),
        issuers=centre.config.issuers,
        today=day_number(centre.today()),
        wants_holder=body.wants_holder,
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
    member = await find_member(centre, opened.card.person_no, id_number=opened.holder_id)
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


class _TimedRunner:
    """A runner whose waits count as round trips, not as verification."""

    def __init__(self, runner: BatchRunner, clock: StageClock) -> None:
        self._runner = runner
        self._clock = clock

    async def run(self, batch: Batch) -> BatchAnswers:
        self._clock.end(Stage.VERIFICATION)
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
