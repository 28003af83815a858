"""The terminal's connection to the message broker: the one file here that knows `aiomqtt`.

Whatever becomes of the broker, nothing waits for it: only the newest state is ever due, so that
nothing queues up, and what can't be said is said when the broker is back, after pauses that
double. Not here: what is said (`telemetry.py`), topics and payloads (`protocol/telemetry/`).
"""

import asyncio
import contextlib
import logging
import random
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

import aiomqtt

from protocol.telemetry.messages import TerminalState, encode
from protocol.telemetry.topics import NEWS_FILTER, TerminalName, state_topic
from terminals.config import MQTTSection

_KEEPALIVE_S: Final = 15
"""A terminal that went dead without a word is lost to the broker after half as much again."""
_NEWS_QUEUED_MAX: Final = 64
_OUTGOING_QUEUED_MAX: Final = 8
_PAUSE_S: Final = 0.25
"""Between two states, however much changes."""
_ONCE: Final = 1  # MQTT 5, 4.3.2: at least once

_silent = logging.getLogger("terminals.broker_link.wire")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


class _ClosedOnFault(ssl.SSLSocket):
    """A socket that is closed when its handshake fails: `paho` only forgets it."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - as inherited
        """Shake hands, or close."""
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


class Speaker(Protocol):
    """What is said of this terminal, and who listens to news: `telemetry.py`."""

    def last_will(self) -> TerminalState:
        """Give what the broker shall say when this terminal is gone without a word."""

    async def next_state(self) -> TerminalState | None:
        """Wait until there is something to say; None for no more."""

    def said(self, state: TerminalState) -> None:
        """Note that the broker has it."""

    def connected(self) -> None:
        """Note that the broker is there, and knows nothing of what was said before."""

    def disconnected(self, reason: str) -> None:
        """Note that the broker has gone."""

    def hear(self, topic: str, payload: bytes) -> None:
        """Take what the broker says; must not raise."""


class BrokerLink:
    """Says a terminal's state and hears news, for as long as `run` runs."""

    def __init__(
        self,
        section: MQTTSection,
        context: ssl.SSLContext,
        terminal: TerminalName,
        speaker: Speaker,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Speak for `terminal` with its certificate, which `context` holds."""
        self._section = section
        context.sslsocket_class = _ClosedOnFault
        self._context = context
        self._topic = state_topic(terminal)
        self._speaker = speaker
        self._jitter = jitter

    async def run(self) -> None:
        """Go on until the speaker has no more to say; connect again whenever that is needed."""
        section = self._section
        failures = 0
        client = self._client()
        while True:
            try:
                async with _connected(client):
                    failures = 0
                    if await self._converse(client):
                        return
            except aiomqtt.MqttError as error:
                self._speaker.disconnected(str(error))
            pause_ms = min(
                section.reconnect_pause_ms_min * 2 ** min(failures, 20),
                section.reconnect_pause_ms_max,
            )
            failures += 1
            await asyncio.sleep(pause_ms * (0.5 + self._jitter() / 2) / 1000)

    def _client(self) -> aiomqtt.Client:
        will = self._speaker.last_will()
        return aiomqtt.Client(
            self._section.host,
            self._section.port,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=True,
            tls_context=self._context,
            will=aiomqtt.Will(self._topic, encode(will), qos=_ONCE, retain=True),
            keepalive=_KEEPALIVE_S,
            timeout=self._section.timeout_ms / 1000,
            max_queued_incoming_messages=_NEWS_QUEUED_MAX,
            max_queued_outgoing_messages=_OUTGOING_QUEUED_MAX,
            logger=_silent,
        )

    async def _converse(self, client: aiomqtt.Client) -> bool:
        """Speak and listen; say whether all was said."""
        await client.subscribe(NEWS_FILTER, qos=_ONCE)
        self._speaker.connected()
        speaking = asyncio.create_task(self._speak(client))
        listening = asyncio.create_task(self._listen(client))
        try:
            await asyncio.wait({speaking, listening}, return_when=asyncio.FIRST_COMPLETED)
            if listening.done():
                listening.result()  # it never ends but by an error
            return speaking.result()
        finally:
            for task in (speaking, listening):
                task.cancel()
            await asyncio.wait({speaking, listening})
            for task in (speaking, listening):
                _fault_of(task)

    async def _speak(self, client: aiomqtt.Client) -> bool:
        while (state := await self._speaker.next_state()) is not None:
            await client.publish(self._topic, encode(state), qos=_ONCE, retain=True)
            self._speaker.said(state)
            await asyncio.sleep(_PAUSE_S)
        return True

    async def _listen(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            if isinstance(message.payload, bytes):
                self._speaker.hear(str(message.topic), message.payload)


@contextlib.asynccontextmanager
async def _connected(client: aiomqtt.Client) -> AsyncIterator[None]:
    """Connect, and disconnect whatever happens.

    Connecting goes on in a thread, which can't be cancelled: so it is waited for, within its own
    limit, lest the connection is left behind.
    """
    connecting = asyncio.ensure_future(client.__aenter__())
    try:
        await asyncio.shield(connecting)
    except asyncio.CancelledError:
        with contextlib.suppress(aiomqtt.MqttError):
            await connecting
            await client.__aexit__(None, None, None)
        raise
    try:
        yield
    finally:
        with contextlib.suppress(aiomqtt.MqttError):
            await client.__aexit__(None, None, None)
        # What is left is dropped, and the fault that ended the connection is looked at: one that
        # nobody looks at is reported by the loop.
        with contextlib.suppress(aiomqtt.MqttError):
            async for _ in client.messages:
                pass


def _fault_of(task: asyncio.Task[bool] | asyncio.Task[None]) -> BaseException | None:
    """Look at a task's fault, so that none is reported as unseen."""
    return None if task.cancelled() else task.exception()
