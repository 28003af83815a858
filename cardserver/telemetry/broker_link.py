"""The centre's connection to the message broker: the one file here that knows `aiomqtt`.

Nothing of the centre waits for the broker. What can't be said is not kept: news is made from what
is true now, and said again when the broker is back. Not here: what is said and heard
(`service.py`).
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Final, Protocol

import aiomqtt

from cardserver.config import MQTT

_KEEPALIVE_S: Final = 15
_AT_LEAST_ONCE: Final = 1  # MQTT 5, 4.3.2
_NEWS_LOOK_S: Final = 0.25

_silent = logging.getLogger("cardserver.telemetry.wire")
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


class Listener(Protocol):
    """What is heard and said: `service.py`."""

    def connected(self) -> None:
        """Note that the broker is there."""

    def disconnected(self, reason: str) -> None:
        """Note that it has gone, or could not be reached."""

    def hear(self, topic: str, payload: bytes) -> None:
        """Take a message; must not raise."""

    def news(self) -> Mapping[str, bytes]:
        """Give what the broker is to keep, by topic."""


class BrokerLink:
    """Says news and hears states, for as long as `run` runs."""

    def __init__(self, section: MQTT, context: ssl.SSLContext, listener: Listener) -> None:
        """Speak with the broker that `section` names, by the certificate in `context`."""
        self._section = section
        context.sslsocket_class = _ClosedOnFault
        self._context = context
        self._listener = listener

    async def run(self, subscription: str) -> None:
        """Go on until cancelled; connect again whenever that is needed, after pauses."""
        section = self._section
        failures = 0
        client = aiomqtt.Client(
            section.host,
            section.port,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=True,
            tls_context=self._context,
            keepalive=_KEEPALIVE_S,
            timeout=section.timeout_ms / 1000,
            max_queued_incoming_messages=section.queue_max,
            max_queued_outgoing_messages=8,
            logger=_silent,
        )
        while True:
            try:
                async with _connected(client):
                    failures = 0
                    await self._converse(client, subscription)
            except aiomqtt.MqttError as error:
                self._listener.disconnected(str(error))
            pause_ms = min(
                section.reconnect_pause_ms_min * 2 ** min(failures, 20),
                section.reconnect_pause_ms_max,
            )
            failures += 1
            await asyncio.sleep(pause_ms / 1000)

    async def _converse(self, client: aiomqtt.Client, subscription: str) -> None:
        await client.subscribe(subscription, qos=_AT_LEAST_ONCE)
        self._listener.connected()
        tasks = {
            asyncio.create_task(self._speak(client)),
            asyncio.create_task(self._listen(client)),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for task in tasks:  # looked at, so that no fault is reported as unseen
                if not task.cancelled():
                    task.exception()

    async def _speak(self, client: aiomqtt.Client) -> None:
        said: dict[str, bytes] = {}
        while True:
            for topic, payload in self._listener.news().items():
                if said.get(topic) != payload:
                    await client.publish(topic, payload, qos=_AT_LEAST_ONCE, retain=True)
                    said[topic] = payload
            await asyncio.sleep(_NEWS_LOOK_S)

    async def _listen(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            if isinstance(message.payload, bytes):
                self._listener.hear(str(message.topic), message.payload)


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
