"""One worker's part with the message broker: it hears states and keeps them, and says news.

All workers of all servers have this service, and one at a time speaks, by a lease in the database:
where that one ends, another takes over within seconds. Not here: the connection
(`broker_link.py`), what a state is (`terminal_states.py`).
"""

import asyncio
import contextlib
import secrets
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog
from msgspec import structs

from cardserver.config import MQTT, ConfigError
from cardserver.telemetry.broker_link import BrokerLink
from cardserver.telemetry.lease_store import give_lease_back, take_lease
from cardserver.telemetry.stops_store import coming_stops
from cardserver.telemetry.terminal_states import TerminalStates
from cardserver.telemetry.terminal_states_store import (
    ROWS_MAX,
    heard_states,
    keep_states,
    terminal_states,
)
from ledger.calendar import Clock
from ledger.database_store import Database
from ledger.store_errors import CommitUnknownError, StoreError
from protocol.telemetry.messages import ListNews, Presence, StopNews, encode
from protocol.telemetry.topics import NEWS_LISTS, NEWS_STOP, STATES_FILTER

LEASE_LIFE_MS: Final = 10_000
_RENEW_S: Final = 2.0
_KEEP_S: Final = 0.5  # how often what was heard is written, in one statement
_NEWS_S: Final = 0.5
_STOPS_EVERY: Final = 4  # rounds of news between two looks at the planned stops
# What may be written all the same is written again: it is the same, or newer.
_NOT_WRITTEN: Final = (StoreError, CommitUnknownError)
_REFUSALS_LOGGED_MAX: Final = 100  # of a life; whoever floods the broker shall not flood the log

log = structlog.get_logger("cardserver.telemetry")

NewestLists = Callable[[int], Awaitable[ListNews]]
"""Gives the newest versions of the lists at a moment."""


@dataclass(frozen=True, slots=True)
class TelemetryStatus:
    """How this worker stands with the broker, for metrics and those on duty.

    Attributes:
        is_configured: Whether there is a broker at all.
        is_speaker: Whether this worker is the one that speaks with it.
        is_connected: Whether the broker is there; False where this is not the speaker.
        terminals: Terminals by presence; empty where this is not the speaker.
        heard_count: States heard since this worker began.
        refused_count: Payloads that were no states.
        connections_lost: How often the broker went or could not be reached.
        unkept_count: States that are heard and not in the table yet.
    """

    is_configured: bool = False
    is_speaker: bool = False
    is_connected: bool = False
    terminals: Mapping[Presence, int] = field(default_factory=dict)
    heard_count: int = 0
    refused_count: int = 0
    connections_lost: int = 0
    unkept_count: int = 0


class TelemetryService:
    """The service; `run` it in a task of its own."""

    def __init__(
        self,
        section: MQTT,
        path: Callable[[str], Path],
        database: Database,
        clock: Clock,
        newest_lists: NewestLists,
    ) -> None:
        """Prepare to speak with the broker of `section`.

        Raises:
            ConfigError: A certificate or key cannot be used.
        """
        self._section = section
        self._database = database
        self._clock = clock
        self._newest_lists = newest_lists
        self._holder = secrets.token_hex(16)
        self._states = TerminalStates(section.states_max)
        self._link = BrokerLink(section, broker_tls_context(section, path), self)
        self._news: dict[str, bytes] = {}
        self._lists_said: ListNews | None = None
        self._stop_said: StopNews | None = None
        self._is_speaker = False
        self._is_connected = False
        self._connections_lost = 0

    def status(self) -> TelemetryStatus:
        """Say how things stand."""
        return TelemetryStatus(
            is_configured=True,
            is_speaker=self._is_speaker,
            is_connected=self._is_connected,
            terminals=self._states.counts() if self._is_speaker else {},
            heard_count=self._states.heard_count,
            refused_count=self._states.refused_count,
            connections_lost=self._connections_lost,
            unkept_count=self._states.changed_count,
        )

    async def run(self) -> None:
        """Speak with the broker whenever the lease is ours, until cancelled."""
        try:
            while True:
                if await self._take_lease():
                    log.info("this worker speaks with the broker", host=self._section.host)
                    try:
                        await self._speak()
                    except Exception:  # the boundary: a fault in news ends no settlement
                        log.exception("fault in telemetry")
                await asyncio.sleep(_RENEW_S)
        finally:
            await self._end()

    # --- broker_link.Listener -------------------------------------------------------------------

    def connected(self) -> None:
        """Note that the broker is there."""
        self._is_connected = True
        log.info("broker connected", host=self._section.host, port=self._section.port)

    def disconnected(self, reason: str) -> None:
        """Note that it has gone; said once, not at every attempt."""
        if self._is_connected or not self._connections_lost:
            log.warning("broker not connected", host=self._section.host, reason=reason)
        self._connections_lost += 1
        self._is_connected = False

    def hear(self, topic: str, payload: bytes) -> None:
        """Take a terminal's state."""
        refusal = self._states.hear(topic, payload, now_ms=self._clock.now_ms())
        if refusal and self._states.refused_count <= _REFUSALS_LOGGED_MAX:
            log.warning("state refused", topic=topic[:100], reason=refusal[:200])

    def news(self) -> Mapping[str, bytes]:
        """Give what terminals are to know."""
        return self._news

    # --- private --------------------------------------------------------------------------------

    async def _speak(self) -> None:
        """Hear and say, for as long as the lease is renewed."""
        self._is_speaker = True
        parts = [
            asyncio.create_task(self._link.run(STATES_FILTER)),
            asyncio.create_task(self._keep_states()),
            asyncio.create_task(self._make_news()),
        ]
        try:
            while await self._take_lease():
                done, _ = await asyncio.wait(
                    parts, timeout=_RENEW_S, return_when=asyncio.FIRST_COMPLETED
                )
                for part in done:
                    part.result()
        finally:
            self._is_speaker = self._is_connected = False
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)

    async def _take_lease(self) -> bool:
        try:
            return await take_lease(
                self._database,
                self._holder,
                now_ms=self._clock.now_ms(),
                life_ms=LEASE_LIFE_MS,
            )
        except _NOT_WRITTEN as error:
            log.warning("telemetry lease not renewed", error=str(error))
            return False

    async def _keep_states(self) -> None:
        """Write what was heard; what can't be written is written later, in its newest form."""
        is_loaded = False
        while True:
            try:
                if not is_loaded:
                    self._states.load(heard_states(await terminal_states(self._database)))
                    is_loaded = True
                await self._keep_changed()
            except _NOT_WRITTEN as error:
                log.warning("terminals' states not kept", error=str(error))
            await asyncio.sleep(_KEEP_S)

    async def _keep_changed(self) -> None:
        while heard := self._states.take_changed(ROWS_MAX):
            try:
                await keep_states(self._database, heard)
            except _NOT_WRITTEN:
                self._states.put_back(name for name, _ in heard)
                raise

    async def _make_news(self) -> None:
        rounds = 0
        while True:
            now_ms = self._clock.now_ms()
            try:
                self._say_lists(await self._newest_lists(now_ms))
                if rounds % _STOPS_EVERY == 0:
                    await self._say_stop(now_ms)
                rounds += 1
            except StoreError as error:
                log.warning("no news", error=str(error))
            await asyncio.sleep(_NEWS_S)

    def _say_lists(self, news: ListNews) -> None:
        said = self._lists_said
        if said is None or structs.replace(news, time_ms=said.time_ms) != said:
            self._lists_said = news
            self._news[NEWS_LISTS] = encode(news)
            log.info("news of lists", versions={one.name: one.version for one in news.lists})

    async def _say_stop(self, now_ms: int) -> None:
        stops = await coming_stops(self._database, now_ms=now_ms)
        news = StopNews(time_ms=now_ms)
        if stops:
            stop = stops[0]
            news = StopNews(
                now_ms, stop.begins_time_ms, stop.ends_time_ms, stop.text_zh, stop.text_en
            )
        said = self._stop_said
        if said is None or structs.replace(news, time_ms=said.time_ms) != said:
            self._stop_said = news
            self._news[NEWS_STOP] = encode(news)

    async def _end(self) -> None:
        """Keep what was heard last, and let another worker speak at once."""
        with contextlib.suppress(*_NOT_WRITTEN):
            await self._keep_changed()
            await give_lease_back(self._database, self._holder)


def broker_tls_context(section: MQTT, path: Callable[[str], Path]) -> ssl.SSLContext:
    """Make the TLS by which the centre knows its broker: 1.3, a certificate from each side.

    Raises:
        ConfigError: A certificate or key cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(path(section.ca_file))
        context.load_cert_chain(path(section.certificate_file), path(section.key_file))
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"[mqtt] certificate or key can't be used: {error}") from error
    return context
