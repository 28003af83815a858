"""What the centre remembers of one connection: its terminal, challenges, requests in flight.

Not here: bytes and limits (`listener.py`), and what a request means (`dispatch.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from cardserver.cards.challenges import Challenges
from cardserver.registry.values import Institution, Operator, Terminal
from protocol.card.script import Batch
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import (
    CardStep,
    ChallengeSpan,
    PINFormat,
    PINKind,
    PINPlace,
    Relay,
    Relayed,
    Reply,
    Request,
    StepCondition,
)
from terminals.readers.channel import BatchAnswers, BatchOutcome

log = structlog.get_logger("cardserver.session")

PIN_TIME_MAX_MS = 60_000
"""How long a holder may take over a PIN; a pinpad gives up after about half of it."""


class Link(Protocol):
    """The connection beneath a session."""

    def send(self, message: Reply | Relay) -> None:
        """Send, or drop where the terminal has gone."""

    def close(self, code: ResponseCode, detail: str) -> None:
        """Say why, and close."""

    @property
    def is_open(self) -> bool:
        """Whether the terminal is still there."""


@dataclass(frozen=True, slots=True)
class SignedOnOperator:
    """A sign-on as the session remembers it between looks at the registry."""

    sign_no: str
    operator: Operator
    ends_time_ms: int
    seen_ms: int
    wants_stages: bool


Serve = Callable[["TerminalSession", Request, int], Awaitable[None]]


class TerminalSession:
    """One admitted connection of one terminal."""

    def __init__(
        self,
        link: Link,
        *,
        institution: Institution,
        terminal: Terminal,
        challenges: Challenges,
        serve: Serve,
        tasks: asyncio.TaskGroup,
    ) -> None:
        """Serve requests of `terminal` with `serve`, each in a task of `tasks`."""
        self.institution = institution
        self.terminal = terminal
        self.challenges = challenges
        self.sign_on: SignedOnOperator | None = None
        self.card_profile = ""  # of the card opened last
        self.list_version = 0  # of the revocation list that the terminal holds
        self.outbox_count = 0  # attempts that the terminal has in doubt, as it said last
        self.outbox_since_ms = 0  # since when the oldest of them is, by the centre's clock
        self._link = link
        self._serve = serve
        self._tasks = tasks
        self._in_flight = 0
        self._relays: dict[int, asyncio.Future[Relayed]] = {}

    @property
    def in_flight(self) -> int:
        """Requests being worked on."""
        return self._in_flight

    def on_request(self, request: Request, received_ns: int) -> None:
        """Work on a request in a task of its own; bounded by the connection's in-flight limit."""
        self._in_flight += 1
        self._tasks.create_task(self._answer(request, received_ns))

    def on_relayed(self, relayed: Relayed) -> None:
        """Hand a reader's answers to the exchange that waits for them."""
        waiting = self._relays.pop(relayed.exchange, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(relayed)

    def on_closed(self) -> None:
        """Let readers' waiters know that no answer will come."""
        for future in self._relays.values():
            if not future.done():
                future.set_exception(ConnectionResetError("the terminal has gone"))
        self._relays.clear()

    def send(self, reply: Reply) -> None:
        """Answer a request."""
        self._link.send(reply)

    async def relay(self, exchange: int, sequence: int, batch: Batch, *, wait_ms: int) -> Relayed:
        """Have the terminal's reader run a batch.

        Raises:
            TimeoutError: No answer within `wait_ms`.
            ConnectionResetError: The terminal has gone.
        """
        if not self._link.is_open:
            raise ConnectionResetError("the terminal has gone")
        future: asyncio.Future[Relayed] = asyncio.get_running_loop().create_future()
        self._relays[exchange] = future
        self._link.send(Relay(exchange, sequence, card_steps(batch), wait_ms))
        try:
            async with asyncio.timeout(wait_ms / 1000):
                return await future
        finally:
            self._relays.pop(exchange, None)

    async def _answer(self, request: Request, received_ns: int) -> None:
        try:
            await self._serve(self, request, received_ns)
        except Exception:  # the boundary: a fault of ours ends this connection and no other
            log.exception("fault", msgid=request.msgid, type=request.type)
            self._link.close(ResponseCode.SYSTEM_ERROR, "a fault of the centre")
        finally:
            self._in_flight -= 1


class RelayRunner:
    """Runs the batches of one CARD_OPEN on the terminal's reader, and counts round trips."""

    def __init__(self, session: TerminalSession, exchange: int, *, wait_ms: int) -> None:
        """Relay within `exchange`; each batch may take `wait_ms`."""
        self._session = session
        self._exchange = exchange
        self._wait_ms = wait_ms
        self.sequence = 0

    async def run(self, batch: Batch) -> BatchAnswers:
        """Run a batch; a terminal that is gone or late is a reader fault."""
        self.sequence += 1
        wait_ms = self._wait_ms
        if any(step.pins for step in batch):
            wait_ms += PIN_TIME_MAX_MS
        try:
            relayed = await self._session.relay(
                self._exchange, self.sequence, batch, wait_ms=wait_ms
            )
        except (TimeoutError, ConnectionResetError):
            return BatchAnswers(BatchOutcome.READER_FAULT, (), 0)
        return BatchAnswers(BatchOutcome(relayed.outcome), relayed.answers, relayed.card_time_us)


def card_steps(batch: Batch) -> tuple[CardStep, ...]:
    """Put a script's batch into the wire's terms."""
    return tuple(
        CardStep(
            step.command,
            tuple(step.expected),
            tuple(
                ChallengeSpan(span.command_offset, span.challenge_offset, span.size)
                for span in step.spans
            ),
            None
            if step.condition is None
            else StepCondition(step.condition.step, step.condition.offset, step.condition.value),
            tuple(
                PINPlace(
                    place.command_offset,
                    PINKind(place.kind),
                    PINFormat(place.form),
                    place.tries_left,
                )
                for place in step.pins
            ),
        )
        for step in batch
    )
