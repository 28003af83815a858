"""The terminal's client: one connection, many requests in flight, replies matched by exchange.

It connects, signs on and signs on again, and sends copies of requests. Not here: when another copy
is sent (`repeating.py`), how a card is opened (`card_opening.py`), which attempts must survive a
crash (`outbox.py`) and what becomes of one in doubt (`attempts.py`).
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol, Self
from zoneinfo import ZoneInfo

from msgspec import Raw, Struct

from protocol.terminal.bodies import decode_reply_body, encode_body
from protocol.terminal.connection import Limits, TerminalConnection
from protocol.terminal.errors import LocalProtocolError, RemoteProtocolError
from protocol.terminal.messages import (
    PROTOCOL_VERSION,
    Echo,
    ListVersion,
    MessageType,
    OpeningBatch,
    PINAction,
    Reply,
    Request,
    SignedOn,
    SignOff,
    SignOn,
    Status,
)
from terminals.answer import Answer, ClientError, NoAnswerError, NotSentError
from terminals.card_opening import CardOpener, CardOpening, FirstAnswers
from terminals.card_reader import CardReader, PINEntry, relayed
from terminals.config import REPLY_GRACE_MS, TerminalConfig
from terminals.felt import FeltClock, TerminalStage, Untold, no_outbox
from terminals.link import Connector, Exchange, Link, LinkLost, tls_connector
from terminals.msgids import MemoryReserve, Msgids
from terminals.openings import ChallengeWallet
from terminals.repeating import Repeater, Sending, SendWatcher

SOFTWARE: Final = "cardterminal 0.1.0"
_UINT32_MAX: Final = 2**32 - 1
_TIME_LEFT_MS_MAX: Final = 600_000


class ListKeeper(Protocol):
    """Who keeps the lists that terminals hold: `list_updates.py`."""

    @property
    def list_version(self) -> int:
        """The version of the revocation list that is held."""

    def hear_reply(self, list_version: int, /) -> None:
        """Note the version of the revocation list that a reply names."""

    def hear(self, lists: tuple[ListVersion, ...], /) -> None:
        """Note the newest versions that SIGN_ON's reply names."""


@dataclass(frozen=True, slots=True)
class SignOnState:
    """What a terminal keeps of its sign-on; holds on any of its connections.

    Attributes:
        operator: Who signed on.
        sign_no: What later requests carry.
        expires_time_ms: When it ends, by the centre's clock.
        openings: The opening batches.
        fund_zh: The fund's name.
        fund_en: The same in English.
        in_flight_max: What the centre allows on one connection.
        frame_size_max: What it allows in one frame, in bytes.
    """

    operator: str
    sign_no: str = field(repr=False)
    expires_time_ms: int
    openings: tuple[OpeningBatch, ...] = field(repr=False)
    fund_zh: str
    fund_en: str
    in_flight_max: int
    frame_size_max: int


FeltListener = Callable[[MessageType, float, bool], None]
"""Is told what a request was, how many milliseconds the cashier waited, and whether for an answer.
"""


class TerminalClient:
    """A terminal towards its centre. Use it in `async with`, or `connect` and `close` it.

    Args:
        config: The terminal's configuration.
        msgids: Where msgids come from; without one they are kept in memory only.
        connector: How to reach the centre; TLS as configured unless given.
        now_ms: The terminal's wall clock; decides nothing but msgids and `sent_time_ms`.
        jitter: Numbers from 0 to 1 that spread back-off pauses.
        lists: Who keeps the lists; without one no list is held.
        on_felt: Told of each request that a cashier waited for.
        outbox_doubts: How many attempts are in doubt beside the one of a msgid, and for how many
            milliseconds the oldest: the centre is told.
        trace: Of the caller whose trace this terminal's requests stand in, a W3C `traceparent`;
            empty for a trace of its own for each request.
    """

    def __init__(  # noqa: PLR0913 - the terminal's parts, each with a default
        self,
        config: TerminalConfig,
        *,
        msgids: Msgids | None = None,
        connector: Connector | None = None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        jitter: Callable[[], float] = random.random,
        lists: ListKeeper | None = None,
        on_felt: FeltListener | None = None,
        outbox_doubts: Callable[[str], tuple[int, int]] = no_outbox,
        trace: str = "",
    ) -> None:
        self.config: Final = config
        self._connector = connector or tls_connector(config)
        self._now_ms = now_ms
        self._msgids = msgids or Msgids(
            institution=config.terminal.institution,
            zone=ZoneInfo(config.terminal.time_zone),
            now_ms=now_ms,
            reserve=MemoryReserve(),
        )
        self._link: Link | None = None
        self._connecting = asyncio.Lock()
        self._signing_on = asyncio.Lock()
        # Before the centre has named its limits, one request may be in flight.
        self._limits = Limits(config.limits.frame_size_max, in_flight_max=1)
        self._in_flight = asyncio.Semaphore(1)
        self._wallet = ChallengeWallet(lambda: asyncio.get_running_loop().time() * 1000)
        self._sign_on: SignOnState | None = None
        self._password = ""
        self._lists = lists
        self._felt_ms = 0
        self._on_felt = on_felt
        self._trace = trace
        self.untold: Final = Untold(outbox_doubts)
        self._clock_offset_ms = 0
        self._repeater = Repeater(
            config.limits,
            jitter,
            send=self._send,
            drop=self.drop,
            sign_no=lambda: self._sign_on.sign_no if self._sign_on else "",
            sign_on_again=self._sign_on_again,
        )
        self._opener = CardOpener(
            config,
            self._wallet,
            openings=lambda: self._sign_on.openings if self._sign_on else (),
            msgid=self.msgid,
            prepare=self.prepare_card,
            request=self._request,
        )

    async def __aenter__(self) -> Self:
        """Connect."""
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    @property
    def is_connected(self) -> bool:
        """Whether a connection stands."""
        return self._link is not None and self._link.is_open

    @property
    def sign_on_state(self) -> SignOnState | None:
        """The sign-on in use, to be kept for the next process."""
        return self._sign_on

    @property
    def clock_offset_ms(self) -> int:
        """By how much the centre's clock was ahead of this one when it last replied."""
        return self._clock_offset_ms

    @property
    def challenges_held(self) -> int:
        """How many cards could be opened in one round trip now."""
        return len(self._wallet)

    def msgid(self) -> str:
        """Take a new msgid."""
        return self._msgids.take()

    async def connect(self) -> None:
        """Connect unless connected, once, without back-off.

        Raises:
            NotSentError: The centre cannot be reached or refused the certificate.
        """
        async with self._connecting:
            if self._link is not None and self._link.is_open:
                return
            self._wallet.clear()
            link = Link(TerminalConnection(self._limits))
            try:
                await self._connector(link)
            except (OSError, TimeoutError) as error:
                raise NotSentError(
                    f"cannot connect to {self.config.centre.host}:{self.config.centre.port}:"
                    f" {str(error) or type(error).__name__}"
                ) from error
            if not link.is_open:
                raise NotSentError(link.lost.reason if link.lost else "the connection was closed")
            self._link = link

    async def close(self) -> None:
        """Say goodbye and close the connection; the sign-on stays valid at the centre."""
        if self._link is not None:
            link, self._link = self._link, None
            await link.close()

    def drop(self) -> None:
        """Forget the connection; what is in flight on it may still be answered."""
        self._link = None
        self._wallet.clear()

    # --- session ------------------------------------------------------------------------------

    async def sign_on(self, operator: str, password: str, *, wants_stages: bool = True) -> Answer:
        """Prove the operator. The password is kept in memory only, to sign on again."""
        body = SignOn(
            operator,
            password,
            self.config.terminal.operator_type,
            SOFTWARE,
            (PROTOCOL_VERSION,),
            wants_stages,
        )
        previous = self._sign_on
        self._sign_on = SignOnState(
            operator, "", 0, (), "", "", self._limits.in_flight_max, self._limits.frame_size_max
        )
        try:
            answer = await self.request(MessageType.SIGN_ON, body)
        except ClientError:
            self._sign_on = previous
            raise
        if isinstance(answer.body, SignedOn):
            self._password = password
            self._take_sign_on(operator, answer.body)
        else:
            self._sign_on = previous
        return answer

    async def sign_off(self) -> Answer:
        """End the sign-on."""
        answer = await self.request(MessageType.SIGN_OFF, SignOff())
        if answer.is_approved:
            self.forget_sign_on()
        return answer

    def forget_sign_on(self) -> None:
        """Forget the sign-on and the password, whether or not the centre has ended it."""
        self._sign_on = None
        self._password = ""

    def resume(self, state: SignOnState, password: str = "") -> None:
        """Go on with a sign-on of an earlier process.

        Args:
            state: As `sign_on_state` gave it.
            password: To sign on again should it have expired; empty for not at all.
        """
        self._sign_on = state
        self._password = password
        self._adopt_limits(state)

    async def echo(self, payload: bytes = b"") -> Answer:
        """Ask whether the centre is there."""
        return await self.request(MessageType.ECHO, Echo(payload))

    # --- requests -----------------------------------------------------------------------------

    async def request(
        self,
        type_: MessageType,
        body: Struct | Raw,
        *,
        msgid: str | None = None,
        card_session: bytes = b"",
        time_limit_ms: int | None = None,
        watcher: SendWatcher | None = None,
    ) -> Answer:
        """Send a request and follow the advice of its answer, within the time and retry limits.

        Args:
            type_: Which message.
            body: Its body; as `Raw` the very bytes, for a repetition.
            msgid: Of an earlier attempt, to repeat it; None for a new one.
            card_session: From CARD_OPEN.
            time_limit_ms: All in all; as configured unless given.
            watcher: Told of every copy that is sent; with one, a lost reply is not followed by a
                repetition here, because what comes next must be decided by `attempts.py`.

        Raises:
            NotSentError: The centre could not be reached, and no copy is without its answer.
            NoAnswerError: The last copy sent was not answered.
        """
        sending = Sending(type_, _raw(body), msgid or self.msgid(), card_session, watcher)
        return await self._request(sending, time_limit_ms or self.config.limits.request_timeout_ms)

    async def exchange(
        self,
        type_: MessageType,
        body: Struct | Raw,
        *,
        msgid: str | None = None,
        card_session: bytes = b"",
        time_left_ms: int | None = None,
    ) -> Answer:
        """Send a request once and give its answer, whatever it advises.

        Raises:
            NotSentError: As in `request`.
            NoAnswerError: As in `request`.
        """
        sending = Sending(type_, _raw(body), msgid or self.msgid(), card_session)
        felt = FeltClock(asyncio.get_running_loop().time)
        answer = await self._send(
            sending, time_left_ms or self.config.limits.request_timeout_ms, felt
        )
        self._note_felt(answer, felt)
        return answer

    async def open_card(
        self,
        reader: CardReader,
        *,
        wants_holder: bool = True,
        wants_medical: bool = False,
        pin_action: PINAction = PINAction.NONE,
        pin_entry: PINEntry | None = None,
        on_first_answers: FirstAnswers | None = None,
    ) -> CardOpening:
        """Open the card in the reader, in one round trip where a challenge and a batch are held.

        Args:
            reader: The reader.
            wants_holder: Whether to read the holder's file too.
            wants_medical: Whether to read the medical file too.
            pin_action: What a PIN may be asked for.
            pin_entry: Asks the holder; needed with a `pin_action`.
            on_first_answers: Told what the card answered to a whole opening batch, before the
                centre is asked.

        Raises:
            NotSentError: As in `request`.
            NoAnswerError: As in `request`.
            ReaderError: The reader has no card or fails before the centre is asked.
        """
        return await self._opener.open(
            reader,
            wants_holder=wants_holder,
            wants_medical=wants_medical,
            pin_action=pin_action,
            pin_entry=pin_entry,
            on_first_answers=on_first_answers,
        )

    async def prepare_card(self) -> None:
        """Connect and get a challenge, unless both are there; `open_card` does it too.

        On a new connection of an earlier sign-on a STATUS brings the first challenges: it needs
        the sign-on, in whose replies they are renewed, and changes nothing.
        """
        is_ready = self.is_connected and len(self._wallet) > 0
        if not is_ready and self._sign_on is not None and self._sign_on.openings:
            unused = Status(self.config.terminal.code, self.msgid())
            await self.request(MessageType.STATUS, unused)

    # --- private ------------------------------------------------------------------------------

    async def _request(
        self, sending: Sending, time_limit_ms: int, felt: FeltClock | None = None
    ) -> Answer:
        clock = asyncio.get_running_loop().time
        felt = felt or FeltClock(clock)
        started = clock()
        try:
            answer = await self._repeater.request(sending, time_limit_ms, felt)
        except ClientError:
            self._tell_felt(sending.type, (clock() - started) * 1000, is_answered=False)
            raise
        self._felt_ms = min(round(answer.took_ms), _UINT32_MAX)
        self._tell_felt(sending.type, answer.took_ms, is_answered=True)
        self._note_felt(answer, felt)
        return answer

    def _note_felt(self, answer: Answer, felt: FeltClock) -> None:
        said = felt.felt(answer.type, answer.msgid, code=answer.code, sends=answer.sends)
        self.untold.extend((said,))

    async def _send(self, sending: Sending, time_left_ms: int, felt: FeltClock) -> Answer:
        loop = asyncio.get_running_loop()
        async with self._in_flight:
            felt.end(TerminalStage.QUEUE)
            await self.connect()
            felt.end(TerminalStage.CONNECT)
            link = self._link
            if link is None or not link.is_open:
                raise NotSentError("the connection was lost before sending")
            if sending.watcher is not None:
                sending.watcher.before_send()
            started = loop.time()
            try:
                exchange = link.send(self._envelope(sending, time_left_ms))
            except LocalProtocolError as error:
                if sending.watcher is not None:
                    sending.watcher.not_sent()
                raise NotSentError(str(error)) from error
            deadline = started + (time_left_ms + REPLY_GRACE_MS) / 1000
            reply = await self._reply_of(link, exchange, sending, deadline, felt)
            felt.end(TerminalStage.ROUND_TRIP)
        took_ms = (loop.time() - started) * 1000
        self._clock_offset_ms = reply.centre_time_ms - self._now_ms()
        if link is self._link:
            self._wallet.add(reply.challenges)
        if self._lists is not None:
            self._lists.hear_reply(reply.list_version)
        try:
            body = decode_reply_body(
                sending.type, reply.code, reply.body, is_duplicate=reply.duplicate
            )
        except RemoteProtocolError as error:
            self.drop()
            await link.close(error.code, error.detail)
            raise NoAnswerError(sending.msgid, f"the reply is unreadable: {error}", None) from error
        if sending.watcher is not None:
            sending.watcher.after_reply(reply)
        return Answer(sending.type, sending.msgid, reply, body, took_ms, took_ms, 1)

    async def _reply_of(
        self, link: Link, exchange: Exchange, sending: Sending, deadline: float, felt: FeltClock
    ) -> Reply:
        loop = asyncio.get_running_loop()
        sent_at = loop.time()
        while True:
            future = exchange.event
            # Not wait_for: that would cancel the future, and a late reply must still find it.
            await asyncio.wait((future,), timeout=deadline - loop.time())
            if not future.done():
                if link.heard_at < sent_at:
                    self.drop()  # silent since: it may be dead without knowing
                raise NoAnswerError(sending.msgid, "no reply in time", exchange)
            event = future.result()
            if isinstance(event, Reply):
                return event
            if isinstance(event, LinkLost):
                if self._link is link:
                    self.drop()
                raise NoAnswerError(sending.msgid, event.reason, None)
            felt.end(TerminalStage.ROUND_TRIP)
            answers = await relayed(event, sending.relaying)
            felt.end(TerminalStage.READER)
            link.answer(answers)

    async def _sign_on_again(self, sign_no_used: str) -> bool:
        async with self._signing_on:
            state = self._sign_on
            if state is None:
                return False
            if state.sign_no != sign_no_used:
                return True  # another request has done it meanwhile
            if not self._password:
                return False
            try:
                answer = await self.sign_on(state.operator, self._password)
            except ClientError:
                return False
            return answer.is_approved

    def _take_sign_on(self, operator: str, body: SignedOn) -> None:
        self._sign_on = SignOnState(
            operator=operator,
            sign_no=body.sign_no,
            expires_time_ms=body.expires_time_ms,
            openings=body.openings,
            fund_zh=body.fund_zh,
            fund_en=body.fund_en,
            in_flight_max=body.in_flight_max,
            frame_size_max=body.frame_size_max,
        )
        self._wallet.add(body.challenges)
        self._adopt_limits(self._sign_on)
        if self._lists is not None:
            self._lists.hear(body.lists)

    def _adopt_limits(self, state: SignOnState) -> None:
        ours = self.config.limits
        limits = Limits(
            max(1, min(ours.frame_size_max, state.frame_size_max)),
            max(1, min(ours.in_flight_max, state.in_flight_max)),
        )
        if limits == self._limits:
            return
        self._limits = limits
        self._in_flight = asyncio.Semaphore(limits.in_flight_max)
        if self._link is not None:
            self._link.adopt_limits(limits)

    def _envelope(self, sending: Sending, time_left_ms: int) -> Request:
        state = self._sign_on
        return Request(
            exchange=0,  # the link numbers it
            type=sending.type,
            msgid=sending.msgid,
            sign_no=state.sign_no if state else "",
            terminal=self.config.terminal.code,
            operator=state.operator if state else "",
            card_session=sending.card_session,
            list_version=self._lists.list_version if self._lists else 0,
            time_left_ms=min(time_left_ms, _TIME_LEFT_MS_MAX),
            sent_time_ms=self._now_ms(),
            trace=self._trace,
            body=sending.body,
            felt_ms=self._felt_ms,
            felt=self.untold.take(sending.msgid),
        )

    def _tell_felt(self, type_: MessageType, took_ms: float, *, is_answered: bool) -> None:
        if self._on_felt is not None:
            self._on_felt(type_, took_ms, is_answered)


def _raw(body: Struct | Raw) -> Raw:
    return body if isinstance(body, Raw) else encode_body(body)
