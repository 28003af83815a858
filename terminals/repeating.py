"""One request in as many copies as answers and faults call for, within its time and the retries.

It follows the retry advice of codes: the same msgid again after a pause, or after signing on
again. Not here: how one copy is sent (`client.py`), which attempts must survive a crash
(`outbox.py`) and what becomes of one in doubt (`attempts.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

from msgspec import Raw

from protocol.terminal.codes import ResponseCode, Retry
from protocol.terminal.messages import MessageType, Reply
from terminals.answer import Answer, ClientError, NoAnswerError, NotSentError, advice_of
from terminals.card_reader import Relaying
from terminals.config import LimitSection
from terminals.felt import FeltClock, TerminalStage


class SendWatcher(Protocol):
    """Who must know of each sending before it happens and of each reply: the outbox."""

    def before_send(self) -> None:
        """Record durably that a copy is about to be sent."""

    def not_sent(self) -> None:
        """Record that the copy announced last never left."""

    def after_reply(self, reply: Reply, /) -> None:
        """Record what came back for a copy."""


@dataclass(frozen=True, slots=True)
class Sending:
    """What stays the same in every copy of a request."""

    type: MessageType
    body: Raw
    msgid: str
    card_session: bytes = b""
    watcher: SendWatcher | None = None
    relaying: Relaying | None = None


class Repeater:
    """Sends the copies of requests for one client.

    Args:
        limits: How many retries, and the pauses between.
        jitter: Numbers from 0 to 1 that spread the pauses.
        send: Sends one copy, with so many milliseconds left, and waits for its answer.
        drop: Forgets the connection.
        sign_no: Gives what the next copy will carry.
        sign_on_again: Replaces the sign-on that a copy carried; False where that cannot be done.
    """

    def __init__(
        self,
        limits: LimitSection,
        jitter: Callable[[], float],
        *,
        send: Callable[[Sending, int, FeltClock], Awaitable[Answer]],
        drop: Callable[[], None],
        sign_no: Callable[[], str],
        sign_on_again: Callable[[str], Awaitable[bool]],
    ) -> None:
        self._limits = limits
        self._jitter = jitter
        self._send = send
        self._drop = drop
        self._sign_no = sign_no
        self._sign_on_again = sign_on_again

    async def request(self, sending: Sending, time_limit_ms: int, felt: FeltClock) -> Answer:
        """Send a request until its answer advises nothing more, and give that answer.

        Args:
            sending: The request.
            time_limit_ms: All in all.
            felt: Is told the stages.

        Raises:
            NotSentError: The centre could not be reached, and no copy is without its answer.
            NoAnswerError: The last copy sent was not answered.
        """
        clock = asyncio.get_running_loop().time
        started = clock()
        answer: Answer | None = None
        fault: ClientError | None = None
        has_signed_on_again = False
        sends = 0
        while True:
            time_left_ms = time_limit_ms - int((clock() - started) * 1000)
            if sends and time_left_ms <= 0:
                break
            sends += 1
            is_last = sends > self._limits.retries_max
            sign_no = self._sign_no()
            try:
                answer = await self._send(sending, max(time_left_ms, 1), felt)
            except ClientError as error:
                # A copy that may have arrived is not forgotten over one that was never sent.
                fault = fault if isinstance(fault, NoAnswerError) else error
                if is_last or not _may_be_repeated(sending, error):
                    break
                felt.end(TerminalStage.ROUND_TRIP)
                await self._pause(sends, time_left_ms)
                felt.end(TerminalStage.PAUSE)
                continue
            fault = None
            advice = advice_of(answer.code)
            has_asked_pin = sending.relaying is not None and sending.relaying.has_asked_pin
            if is_last or has_asked_pin or advice not in {Retry.SAME_MSGID, Retry.SIGN_ON}:
                break
            if advice is Retry.SIGN_ON:
                may_sign_on = sending.type is not MessageType.SIGN_ON and not has_signed_on_again
                if not may_sign_on or not await self._sign_on_again(sign_no):
                    break
                has_signed_on_again = True
                felt.end(TerminalStage.SIGN_ON)
                continue
            if answer.code == ResponseCode.SHUTTING_DOWN:
                self._drop()
            await self._pause(sends, time_left_ms)
            felt.end(TerminalStage.PAUSE)
        if fault is not None:
            raise fault
        assert answer is not None
        return replace(answer, took_ms=(clock() - started) * 1000, sends=sends)

    async def _pause(self, sends: int, time_left_ms: int) -> None:
        limits = self._limits
        pause_ms = min(
            limits.reconnect_pause_ms_min * 2 ** (sends - 1), limits.reconnect_pause_ms_max
        )
        spread_ms = pause_ms * (0.5 + self._jitter() / 2)
        await asyncio.sleep(max(0.0, min(spread_ms, float(time_left_ms))) / 1000)


def _may_be_repeated(sending: Sending, fault: ClientError) -> bool:
    """Say whether another copy does no harm: none was sent, or the request commits nothing.

    One that was not answered in time isn't repeated either: the cashier has waited enough.
    """
    if isinstance(fault, NoAnswerError):
        return sending.watcher is None and sending.relaying is None and fault.exchange is None
    return isinstance(fault, NotSentError)
