"""A counter in the fund's sight: while it attends, the broker has its state and it has news.

Not here: what is said (`telemetry.py`), the connection to the broker (`broker_link.py`).
"""

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from protocol.telemetry.messages import OutboxDepth, ReaderHealth, ReaderState, StopNews
from protocol.telemetry.topics import TerminalName
from terminals.broker_link import BrokerLink
from terminals.client import TerminalClient
from terminals.link import terminal_tls_context
from terminals.list_updates import ListUpdates
from terminals.lists import Lists
from terminals.outbox import Outbox, OutboxError
from terminals.readers.channel import ReaderError
from terminals.readers.pcsc import ReaderEvent, list_readers, watch
from terminals.telemetry import FeltTimes, Telemetry

LOOK_MS: Final = 1_000
"""How often is looked what other processes of this counter did: lists, outbox."""
_LEAVE_TIME_S: Final = 3.0
_READER_PAUSE_S: Final = 5.0
_NAME_MAX: Final = 100


@dataclass(slots=True, kw_only=True)
class Counter:
    """What of a counter its state is made from."""

    client: TerminalClient
    outbox: Outbox
    lists: Lists
    updates: ListUpdates
    felt: FeltTimes

    def outbox_depth(self) -> OutboxDepth:
        """Say what is in doubt; nothing where the outbox can't be read."""
        try:
            count, oldest_ms = self.outbox.depth()
        except OutboxError:
            return OutboxDepth()
        age_ms = max(0, _now_ms() - oldest_ms) if count else 0
        return OutboxDepth(count, age_ms)

    def operator(self) -> str:
        """Say who is signed on."""
        state = self.client.sign_on_state
        return "" if state is None else state.operator


class WatchedReader:
    """What the counter's reader does, from PC/SC's events."""

    def __init__(self, wanted: str, on_change: Callable[[], None]) -> None:
        """Watch the readers whose names hold `wanted`."""
        self._wanted = wanted
        self._on_change = on_change
        self.health = ReaderHealth()

    async def run(self) -> None:
        """Watch until cancelled; a service that fails is tried again."""
        while True:
            try:
                names = [name for name in await list_readers() if self._wanted in name]
                state = ReaderState.EMPTY if names else ReaderState.ABSENT
                self._note(state, names[0] if names else "")
                async for event in watch():
                    self.note(event)
            except ReaderError:
                self._note(ReaderState.FAULTY, self.health.name)
            await asyncio.sleep(_READER_PAUSE_S)

    def note(self, event: ReaderEvent) -> None:
        """Take an event, where somebody watches already."""
        if self._wanted in event.reader:
            state = ReaderState.CARD if event.is_present else ReaderState.EMPTY
            self._note(state, event.reader)

    def _note(self, state: ReaderState, name: str) -> None:
        health = ReaderHealth(state, name[:_NAME_MAX])
        if health != self.health:
            self.health = health
            self._on_change()


@asynccontextmanager
async def attending(
    counter: Counter,
    reader: WatchedReader | None = None,
    *,
    on_stop: Callable[[StopNews], None] = lambda _news: None,
) -> AsyncIterator[Telemetry | None]:
    """Have the fund see this counter; without a broker, or an operator, nothing is done.

    Args:
        counter: What its state is made from.
        reader: What its reader does.
        on_stop: Told of a planned stop, or that none is planned any more.

    Raises:
        ConfigError: A certificate or key cannot be used.
    """
    config = counter.client.config
    if not config.mqtt.host or counter.client.sign_on_state is None:
        yield None
        return
    telemetry = Telemetry(
        session=secrets.token_hex(8),
        interval_ms=config.mqtt.interval_ms,
        news_spread_ms=config.mqtt.news_spread_ms,
        operator=counter.operator,
        clock_offset_ms=lambda: counter.client.clock_offset_ms,
        reader=lambda: ReaderHealth() if reader is None else reader.health,
        outbox=counter.outbox_depth,
        felt=counter.felt,
        now_ms=_now_ms,
        jitter=random.random,
        lists=counter.lists,
        updates=counter.updates,
        look_ms=LOOK_MS,
        on_stop=on_stop,
    )
    counter.felt.on_slow = telemetry.touch
    name = TerminalName(config.terminal.institution, config.terminal.code)
    link = BrokerLink(config.mqtt, terminal_tls_context(config), name, telemetry)
    running = asyncio.create_task(link.run())
    try:
        yield telemetry
    finally:
        telemetry.leave()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_TIME_S):
                await asyncio.shield(asyncio.wait([running]))
        running.cancel()
        await asyncio.wait([running])


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
