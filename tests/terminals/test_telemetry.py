"""What a terminal says of itself, when, and what it does about news; the broker is elsewhere."""

import asyncio
from pathlib import Path

from protocol.telemetry.messages import (
    ListNews,
    NewestList,
    NewestParameters,
    OutboxDepth,
    Presence,
    ReaderHealth,
    ReaderState,
    StopNews,
    encode,
)
from protocol.telemetry.topics import NEWS_LISTS, NEWS_STOP
from protocol.terminal.messages import ListVersion, MessageType
from terminals.lists import Lists
from terminals.telemetry import FeltTimes, Telemetry

SOON_S = 30.0
ANSWERED = True


class Heard:
    """Who downloads lists, as far as news is concerned."""

    def __init__(self) -> None:
        self.lists: list[tuple[ListVersion, ...]] = []

    def hear(self, lists: tuple[ListVersion, ...]) -> None:
        self.lists.append(lists)


class Counter:
    """A counter whose facts a test changes."""

    def __init__(self, lists: Lists | None = None, *, interval_ms: int = 600_000) -> None:
        self.reader = ReaderHealth(ReaderState.EMPTY, "r")
        self.outbox = OutboxDepth()
        self.heard = Heard()
        self.stops: list[StopNews] = []
        self.felt = FeltTimes()
        self.telemetry = Telemetry(
            session="0" * 16,
            interval_ms=interval_ms,
            news_spread_ms=10,
            operator=lambda: "c001",
            clock_offset_ms=lambda: 7,
            reader=lambda: self.reader,
            outbox=lambda: self.outbox,
            felt=self.felt,
            now_ms=lambda: 1_000,
            jitter=lambda: 0.5,
            lists=lists,
            updates=self.heard,
            look_ms=10,
            on_stop=self.stops.append,
        )
        self.felt.on_slow = self.telemetry.touch


async def said(counter: Counter) -> list[tuple[Presence, int]]:
    """Say the next state, as the connection does."""
    async with asyncio.timeout(SOON_S):
        state = await counter.telemetry.next_state()
    assert state is not None
    counter.telemetry.said(state)
    return [(state.presence, state.sequence)]


async def is_quiet(counter: Counter) -> bool:
    try:
        async with asyncio.timeout(0.1):
            await counter.telemetry.next_state()
    except TimeoutError:
        return True
    return False


async def test_a_state_is_said_when_something_changes_and_else_by_the_interval() -> None:
    counter = Counter()
    assert await said(counter) == [(Presence.SIGNED_ON, 1)]
    assert await is_quiet(counter)
    counter.reader = ReaderHealth(ReaderState.FAULTY, "r")  # nobody tells: it is looked for
    assert await said(counter) == [(Presence.SIGNED_ON, 2)]
    counter.outbox = OutboxDepth(1, 10)
    assert await said(counter) == [(Presence.SIGNED_ON, 3)]
    counter.outbox = OutboxDepth(1, 2_000)  # older by itself: no news
    assert await is_quiet(counter)
    counter.felt.hear(MessageType.SETTLE, 20.0, ANSWERED)
    assert await is_quiet(counter)
    counter.felt.hear(MessageType.SETTLE, 1_500.0, ANSWERED)
    assert await said(counter) == [(Presence.SIGNED_ON, 4)]
    counter.telemetry.connected()  # a broker that knows nothing any more
    assert await said(counter) == [(Presence.SIGNED_ON, 5)]
    often = Counter(interval_ms=20)
    assert await said(often) + await said(often) == [(Presence.SIGNED_ON, n) for n in (1, 2)]


async def test_who_leaves_says_so_and_nothing_more() -> None:
    counter = Counter()
    assert counter.telemetry.last_will().presence is Presence.LOST
    await said(counter)
    counter.telemetry.leave()
    assert await said(counter) == [(Presence.SIGNED_OFF, 2)]
    assert await counter.telemetry.next_state() is None


async def test_what_was_felt_is_summed_up() -> None:
    felt = FeltTimes()
    assert felt.summary().count == 0
    for took_ms in range(1, 101):
        felt.hear(MessageType.ECHO, float(took_ms), ANSWERED)
    felt.hear(MessageType.SETTLE, 9_000.0, not ANSWERED)
    summary = felt.summary()
    assert (summary.count, summary.p50_ms, summary.p95_ms, summary.max_ms) == (100, 51, 96, 100)
    assert summary.unanswered == 1


async def test_news_is_followed_once_and_only_where_it_is_newer(tmp_path: Path) -> None:
    with Lists(tmp_path / "lists.sqlite") as lists:
        lists.hear((ListVersion("catalogue", 9),))
        counter = Counter(lists)

        def news(revocations: int) -> bytes:
            return encode(
                ListNews(
                    1,
                    (
                        NewestList("revocations", revocations),
                        NewestList("catalogue", 8),  # kept by the broker from before
                        NewestList("of a later version", 5),
                    ),
                    (NewestParameters(3, 77),),  # no parameters are held: SIGN_ON brings them
                )
            )

        for version in (1, 2, 3):
            counter.telemetry.hear(NEWS_LISTS, news(version))
        await asyncio.sleep(0.1)
        assert counter.heard.lists == [(ListVersion("revocations", 3),)]
        counter.telemetry.hear(NEWS_LISTS, b"not news")
        counter.telemetry.hear("cardserver/1/news/of a later version", b"{}")
        await asyncio.sleep(0.05)
        assert len(counter.heard.lists) == 1


async def test_a_planned_stop_is_told() -> None:
    counter = Counter()
    stop = StopNews(1, 2, 3, "换硬盘", "new disks")
    counter.telemetry.hear(NEWS_STOP, encode(stop))
    assert counter.stops == [stop]
    assert counter.telemetry.stop == stop
