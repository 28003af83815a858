"""What a terminal says of itself over the broker, and what it does about news.

The state is made when it is due, from whoever knows it: nothing is queued. Not here: the
connection (`broker_link.py`), downloading lists (`list_updates.py`).
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from protocol.telemetry.messages import (
    FeltLatency,
    HeldVersions,
    ListNews,
    OutboxDepth,
    Presence,
    ReaderHealth,
    StopNews,
    TelemetryError,
    TerminalState,
    decode_lists,
    decode_stop,
)
from protocol.telemetry.topics import NEWS_LISTS, NEWS_STOP
from protocol.terminal.messages import PROTOCOL_VERSION, ListVersion, MessageType
from terminals.client import SOFTWARE
from terminals.lists import Held, ListName, ListsError

FELT_WINDOW_MS: Final = 300_000
SLOW_MS: Final = 1_000
"""A cashier notices: what was slower is said at once, not when the next state is due."""
_FELT_MAX: Final = 1_000
_SPAN_MAX: Final = 2**42


@dataclass(frozen=True, slots=True)
class _FeltOnce:
    at_ms: float
    took_ms: int
    is_answered: bool


class HeldLists(Protocol):
    """What is needed of `Lists`."""

    def held(self, name: ListName) -> Held:
        """Say what is held of a list."""

    @property
    def institution_level(self) -> int:
        """The level for which parameters are held; -1 without any."""


class Updates(Protocol):
    """What is needed of `ListUpdates`."""

    def hear(self, lists: tuple[ListVersion, ...], /) -> None:
        """Note the newest versions, and have the background look after them."""


class FeltTimes:
    """What the cashier waited lately; give `hear` to the client."""

    def __init__(self, on_slow: Callable[[], None] = lambda: None) -> None:
        """Tell `on_slow` of what a cashier notices."""
        self._times: deque[_FeltOnce] = deque(maxlen=_FELT_MAX)
        self.on_slow = on_slow

    def hear(self, _type: MessageType, took_ms: float, is_answered: bool, /) -> None:  # noqa: FBT001 - as the client says it
        """Note one request."""
        now_ms = asyncio.get_running_loop().time() * 1000
        self._times.append(_FeltOnce(now_ms, min(round(took_ms), _SPAN_MAX), is_answered))
        if took_ms >= SLOW_MS or not is_answered:
            self.on_slow()

    def summary(self) -> FeltLatency:
        """Sum up what was felt within the window."""
        oldest_ms = asyncio.get_running_loop().time() * 1000 - FELT_WINDOW_MS
        while self._times and self._times[0].at_ms < oldest_ms:
            self._times.popleft()
        took = sorted(one.took_ms for one in self._times if one.is_answered)
        unanswered = len(self._times) - len(took)
        if not took:
            return FeltLatency(window_ms=FELT_WINDOW_MS, unanswered=unanswered)
        return FeltLatency(
            window_ms=FELT_WINDOW_MS,
            count=len(took),
            p50_ms=took[len(took) // 2],
            p95_ms=took[min(len(took) * 95 // 100, len(took) - 1)],
            max_ms=took[-1],
            unanswered=unanswered,
        )


@dataclass(slots=True, kw_only=True)
class Telemetry:
    """The state of one terminal, and its ear for news; `broker_link.Speaker`.

    Attributes:
        session: Sixteen hex digits, drawn anew for each life of the terminal.
        interval_ms: How often the state is said, when nothing changes.
        news_spread_ms: News is followed after a random part of this.
        operator: Says who is signed on; empty for nobody.
        clock_offset_ms: Says by how much the centre's clock is ahead.
        reader: Says what the reader does.
        outbox: Says what is in doubt.
        lists: What is held, where lists are.
        updates: Who downloads.
        felt: What the cashier waited.
        now_ms: The terminal's wall clock.
        jitter: Numbers from 0 to 1.
        look_ms: How often is looked whether something changed that nobody tells; 0 for never.
        on_stop: Told of the centre's planned stop, or that none is planned any more.
        is_connected: Whether the broker is there.
        stop: The planned stop heard of last.
    """

    session: str
    interval_ms: int
    news_spread_ms: int
    operator: Callable[[], str]
    clock_offset_ms: Callable[[], int]
    reader: Callable[[], ReaderHealth]
    outbox: Callable[[], OutboxDepth]
    felt: FeltTimes
    now_ms: Callable[[], int]
    jitter: Callable[[], float]
    lists: HeldLists | None = None
    updates: Updates | None = None
    look_ms: int = 0
    on_stop: Callable[[StopNews], None] = lambda _news: None
    is_connected: bool = False
    stop: StopNews | None = None
    _sequence: int = 0
    _is_leaving: bool = False
    _has_left: bool = False
    _is_due: bool = True
    _said: tuple[object, ...] = ()
    _said_at: float = 0.0
    _changed: asyncio.Event | None = None
    _news: ListNews | None = None

    # --- what others tell -----------------------------------------------------------------------

    def touch(self) -> None:
        """Say the state soon: something changed."""
        self._is_due = True
        if self._changed is not None:
            self._changed.set()

    def leave(self) -> None:
        """Say that the operator has signed off, and no more."""
        self._is_leaving = True
        self.touch()

    # --- broker_link.Speaker --------------------------------------------------------------------

    def last_will(self) -> TerminalState:
        """Give what the broker shall say when this terminal is gone without a word."""
        return TerminalState(
            presence=Presence.LOST,
            session=self.session,
            sequence=0,
            sent_time_ms=self.now_ms(),
            interval_ms=self.interval_ms,
        )

    async def next_state(self) -> TerminalState | None:
        """Wait until something changed, or the interval is over."""
        if self._has_left:
            return None
        loop = asyncio.get_running_loop()
        if self._changed is None:
            self._changed = asyncio.Event()
        while not self._is_due:
            left_s = self._said_at + self.interval_ms / 1000 - loop.time()
            if left_s <= 0:
                break
            self._changed.clear()
            wait_s = min(left_s, self.look_ms / 1000) if self.look_ms else left_s
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                if self.look_ms and self._notable(self._state()) != self._said:
                    break
        self._is_due = False
        self._sequence += 1
        return self._state()

    def said(self, state: TerminalState) -> None:
        """Note that the broker has it."""
        self._said = self._notable(state)
        self._said_at = asyncio.get_running_loop().time()
        self._has_left = state.presence is Presence.SIGNED_OFF

    def connected(self) -> None:
        """Say everything anew: the broker may have lost it."""
        self.is_connected = True
        self.touch()

    def disconnected(self, reason: str) -> None:  # noqa: ARG002 - a matter of the broker's log
        """Note that the broker has gone; nothing else depends on it."""
        self.is_connected = False

    def hear(self, topic: str, payload: bytes) -> None:
        """Take news; what is none, or of a later version's topic, is ignored."""
        try:
            if topic == NEWS_LISTS:
                self._hear_lists(decode_lists(payload))
            elif topic == NEWS_STOP:
                self.stop = decode_stop(payload)
                self.on_stop(self.stop)
        except TelemetryError:
            return

    # --- private --------------------------------------------------------------------------------

    def _state(self) -> TerminalState:
        return TerminalState(
            presence=Presence.SIGNED_OFF if self._is_leaving else Presence.SIGNED_ON,
            session=self.session,
            sequence=self._sequence,
            sent_time_ms=self.now_ms(),
            interval_ms=self.interval_ms,
            operator=self.operator(),
            clock_offset_ms=max(-_SPAN_MAX, min(self.clock_offset_ms(), _SPAN_MAX)),
            reader=self.reader(),
            felt=self.felt.summary(),
            outbox=self.outbox(),
            versions=self._versions(),
        )

    def _versions(self) -> HeldVersions:
        held = dict.fromkeys(ListName, 0)
        if self.lists is not None:
            with contextlib.suppress(ListsError):  # nothing depends on a list
                held = {name: self.lists.held(name).version for name in ListName}
        return HeldVersions(
            software=SOFTWARE,
            protocol=PROTOCOL_VERSION,
            revocations=held[ListName.REVOCATIONS],
            parameters=held[ListName.PARAMETERS],
            mapping=held[ListName.MAPPING],
            catalogue=held[ListName.CATALOGUE],
        )

    @staticmethod
    def _notable(state: TerminalState) -> tuple[object, ...]:
        """What is said at once when it changes."""
        return state.presence, state.operator, state.reader, state.outbox.open_count, state.versions

    def _hear_lists(self, news: ListNews) -> None:
        """Follow the newest news after a random pause; what comes meanwhile takes its place."""
        if self.updates is None or self.lists is None:
            return
        is_waiting = self._news is not None
        self._news = news
        if not is_waiting:
            pause_s = self.jitter() * self.news_spread_ms / 1000
            asyncio.get_running_loop().call_later(pause_s, self._follow)

    def _follow(self) -> None:
        news, self._news = self._news, None
        if news is not None and self.updates is not None and self.lists is not None:
            with contextlib.suppress(ListsError):  # the next reply says it again
                newer = _newer(news, self.lists)
                if newer:
                    self.updates.hear(newer)


def _newer(news: ListNews, held: HeldLists) -> tuple[ListVersion, ...]:
    """Give what is news to a terminal that holds these lists."""
    newer = [
        ListVersion(one.name, one.version)
        for one in news.lists
        # What the centre kept at the broker may be older than what its replies said since.
        if one.name in set(ListName) and one.version > held.held(ListName(one.name)).newest
    ]
    level, known = held.institution_level, held.held(ListName.PARAMETERS).newest
    newer += [
        ListVersion(ListName.PARAMETERS.value, one.version)
        for one in news.parameters
        if one.institution_level == level and one.version != known
    ]
    return tuple(newer)
