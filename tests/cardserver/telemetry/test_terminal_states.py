"""What the centre makes of states it hears, and how it keeps them."""

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from cardserver.registry.values import Actor
from cardserver.telemetry.lease_store import give_lease_back, take_lease
from cardserver.telemetry.stops_store import cancel_stop, coming_stops, plan_stop
from cardserver.telemetry.terminal_states import TerminalStates
from cardserver.telemetry.terminal_states_store import (
    heard_states,
    keep_states,
    presence_counts,
    terminal_states,
)
from ledger.database_store import Database
from protocol.telemetry.messages import (
    FeltLatency,
    OutboxDepth,
    Presence,
    ReaderHealth,
    ReaderState,
    TerminalState,
    encode,
)
from protocol.telemetry.topics import TerminalName, state_topic

ONE = TerminalName("H11019900001", "T0001")
TWO = TerminalName("H11019900001", "T0002")
STATE = TerminalState(
    presence=Presence.SIGNED_ON,
    session="0123456789abcdef",
    sequence=1,
    sent_time_ms=1_000_000,
    interval_ms=30_000,
    operator="c001",
    reader=ReaderHealth(ReaderState.CARD, "reader"),
    felt=FeltLatency(300_000, 12, 40, 90, 120),
    outbox=OutboxDepth(1, 5_000),
)
WILL = TerminalState(
    presence=Presence.LOST, session=STATE.session, sequence=0, sent_time_ms=0, interval_ms=30_000
)


def hear(states: TerminalStates, name: TerminalName, state: TerminalState, now_ms: int) -> str:
    return states.hear(state_topic(name), encode(state), now_ms=now_ms)


def test_a_lost_terminal_keeps_what_it_said_last() -> None:
    states = TerminalStates(10)
    assert hear(states, ONE, STATE, 1_000_400) == ""
    assert hear(states, ONE, WILL, 1_009_000) == ""
    heard = states.get(ONE)
    assert heard is not None
    assert heard.state == replace(STATE, presence=Presence.LOST)
    assert (heard.changed_time_ms, heard.heard_time_ms) == (1_009_000, 1_000_400)
    assert heard.clock_skew_ms == -400
    assert states.counts()[Presence.LOST] == 1


def test_what_was_heard_already_is_no_news() -> None:
    states = TerminalStates(10)
    hear(states, ONE, replace(STATE, sequence=5), 1)
    assert [name for name, _ in states.take_changed(10)] == [ONE]
    for again in (replace(STATE, sequence=5), replace(STATE, sequence=4)):
        hear(states, ONE, again, 2)
    assert states.take_changed(10) == []
    hear(states, ONE, WILL, 3)
    hear(states, ONE, WILL, 4)
    assert len(states.take_changed(10)) == 1
    # The same life once more: the broker had thought it lost.
    hear(states, ONE, replace(STATE, sequence=5), 5)
    heard = states.get(ONE)
    assert heard is not None
    assert (heard.state.presence, heard.changed_time_ms) == (Presence.SIGNED_ON, 5)


def test_another_life_begins_anew() -> None:
    states = TerminalStates(10)
    hear(states, ONE, replace(STATE, sequence=9), 1)
    hear(states, ONE, replace(STATE, sequence=10), 2)
    heard = states.get(ONE)
    assert heard is not None
    assert heard.changed_time_ms == 1
    hear(states, ONE, replace(STATE, session="f" * 16, sequence=1), 3)
    heard = states.get(ONE)
    assert heard is not None
    assert (heard.changed_time_ms, heard.state.sequence) == (3, 1)


def test_what_is_no_state_is_counted_and_changes_nothing() -> None:
    states = TerminalStates(2)
    assert hear(states, ONE, STATE, 1) == ""
    assert hear(states, TWO, STATE, 1) == ""
    assert "as many" in hear(states, TerminalName("H11019900001", "T3"), STATE, 1)
    assert states.hear("cardserver/1/news/lists", encode(STATE), now_ms=1)
    assert states.hear(state_topic(ONE), b"{}", now_ms=1)
    assert states.hear(state_topic(ONE), b"\xff" * 5_000, now_ms=1)
    assert (len(states), states.heard_count, states.refused_count) == (2, 2, 4)
    assert hear(states, ONE, replace(STATE, sequence=2), 1) == ""


def test_what_could_not_be_kept_is_taken_again() -> None:
    states = TerminalStates(10)
    hear(states, ONE, STATE, 1)
    hear(states, TWO, STATE, 1)
    (first,) = states.take_changed(1)
    states.put_back([first[0]])
    assert [name for name, _ in states.take_changed(10)] == [TWO, ONE]
    assert states.changed_count == 0


async def test_states_are_kept_and_read_by_all(database: Database) -> None:
    states = TerminalStates(10)
    hear(states, ONE, STATE, 1_000_000)
    hear(states, TWO, replace(STATE, outbox=OutboxDepth()), 1_000_000)
    await keep_states(database, states.take_changed(10))
    hear(states, TWO, WILL, 1_004_000)
    await keep_states(database, states.take_changed(10))

    views = await terminal_states(database)
    assert [view.name for view in views] == [ONE, TWO]
    one, two = views
    assert one.state == STATE
    assert not one.is_enrolled  # an empty registry knows neither
    assert [view.is_offline(1_005_000) for view in views] == [False, True]
    assert one.is_silent(1_000_000 + 3 * 30_000 + 1)
    assert not one.is_silent(1_000_000 + 3 * 30_000)
    assert (one.is_slow(90), one.is_slow(91), two.is_slow(1)) == (True, False, False)
    counts = {count.presence: count for count in await presence_counts(database)}
    assert (counts[Presence.SIGNED_ON].count, counts[Presence.SIGNED_ON].outbox_count) == (1, 1)
    assert counts[Presence.LOST].felt_p95_ms_max == 90

    known = TerminalStates(10)
    known.load(heard_states(views))
    assert known.get(ONE) == states.get(ONE)
    assert known.take_changed(10) == []


async def test_more_states_than_a_page_are_all_read(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cardserver.telemetry.terminal_states_store._PAGE_ROWS", 3)
    states = TerminalStates(100)
    for number in range(7):
        hear(states, TerminalName(f"H1101990000{number % 3}", f"T{number}"), STATE, number)
    await keep_states(database, states.take_changed(100))
    names = [view.name for view in await terminal_states(database)]
    assert len(names) == 7
    assert names == sorted(names)


async def test_one_holds_the_lease_until_it_ends(database: Database) -> None:
    assert await take_lease(database, "a", now_ms=1_000, life_ms=100)
    assert not await take_lease(database, "b", now_ms=1_050, life_ms=100)
    assert await take_lease(database, "a", now_ms=1_090, life_ms=100)
    assert not await take_lease(database, "b", now_ms=1_190, life_ms=100)
    assert await take_lease(database, "b", now_ms=1_191, life_ms=100)
    assert not await take_lease(database, "a", now_ms=1_192, life_ms=100)
    await give_lease_back(database, "a")  # not its own
    assert not await take_lease(database, "a", now_ms=1_193, life_ms=100)
    await give_lease_back(database, "b")
    taken = await asyncio.gather(
        *(take_lease(database, name, now_ms=1_194, life_ms=100) for name in "abcd")
    )
    assert sum(taken) == 1


async def test_stops_are_told_in_their_order_until_they_end(database: Database) -> None:
    actor = Actor("somebody", 1)
    for begins_ms in (5_000, 3_000):
        await plan_stop(
            database,
            begins_time_ms=begins_ms,
            ends_time_ms=begins_ms + 1_000,
            texts=("维护", "maintenance"),
            actor=actor,
        )
    assert [stop.stop_no for stop in await coming_stops(database, now_ms=0)] == [2, 1]
    assert [stop.stop_no for stop in await coming_stops(database, now_ms=4_000)] == [1]
    assert await cancel_stop(database, 1)
    assert not await cancel_stop(database, 1)
    assert await coming_stops(database, now_ms=4_000) == []


def test_the_room_says_what_it_is() -> None:
    readme = Path(__file__).parents[3] / "cardserver" / "telemetry" / "README.md"
    assert "asyncapi.yaml" in readme.read_text(encoding="utf-8")
