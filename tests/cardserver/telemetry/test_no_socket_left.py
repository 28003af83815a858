"""A broker that hangs up in the middle of a handshake leaves no socket behind, on either side."""

import asyncio
import gc
import ssl
import warnings

import pytest
from msgspec.structs import replace

from cardserver.config import MQTT
from cardserver.telemetry.broker_link import BrokerLink as CentreLink
from protocol.telemetry.messages import Presence, TerminalState
from protocol.telemetry.topics import TerminalName
from terminals.broker_link import BrokerLink as TerminalLink
from terminals.config import MQTTSection


class Quiet:
    """Has nothing to say; counts how often the broker was not to be had."""

    def __init__(self) -> None:
        self.failures = 0

    def last_will(self) -> TerminalState:
        return TerminalState(
            presence=Presence.LOST, session="a" * 16, sequence=0, sent_time_ms=1,
            interval_ms=60_000,
        )  # fmt: skip

    async def next_state(self) -> TerminalState | None:
        return None

    def said(self, state: TerminalState) -> None: ...

    def connected(self) -> None: ...

    def disconnected(self, reason: str) -> None:
        assert reason
        self.failures += 1

    def hear(self, topic: str, payload: bytes) -> None: ...

    def news(self) -> dict[str, bytes]:
        return {}


@pytest.mark.parametrize("side", ["terminal", "centre"])
async def test_a_handshake_that_fails_leaves_no_socket(side: str) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    quiet, context = Quiet(), ssl.create_default_context()
    gc.collect()  # what earlier tests left is theirs
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        if side == "terminal":
            section = replace(
                MQTTSection(), host="127.0.0.1", port=port, reconnect_pause_ms_min=10,
                reconnect_pause_ms_max=10,
            )  # fmt: skip
            link = TerminalLink(section, context, TerminalName("H11019900001", "T1"), quiet)
            running = asyncio.create_task(link.run())
        else:
            mqtt = replace(
                MQTT(), host="127.0.0.1", port=port, reconnect_pause_ms_min=10,
                reconnect_pause_ms_max=10,
            )  # fmt: skip
            running = asyncio.create_task(CentreLink(mqtt, context, quiet).run("x/#"))
        async with asyncio.timeout(30):
            while quiet.failures < 5:  # noqa: ASYNC110 - what is waited for is a count
                await asyncio.sleep(0.02)
        running.cancel()
        await asyncio.wait([running])
        gc.collect()
    server.close()
    await server.wait_closed()
    assert [str(one.message) for one in caught if "SSLSocket" in str(one.message)] == []
