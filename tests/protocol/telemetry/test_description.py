"""AsyncAPI and code say the same of every message and topic."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.telemetry import topics
from protocol.telemetry.messages import (
    PAYLOAD_SIZE_MAX,
    FeltLatency,
    HeldVersions,
    ListNews,
    NewestList,
    NewestParameters,
    OutboxDepth,
    Presence,
    ReaderHealth,
    ReaderState,
    StopNews,
    TelemetryError,
    TerminalState,
    decode_lists,
    decode_state,
    decode_stop,
    encode,
)
from tests.protocol.telemetry.description import check, description, schema_at

NAME = topics.TerminalName("H11019900001", "T0001")
SAYINGS = (
    (topics.state_topic(NAME), TerminalState),
    (topics.NEWS_LISTS, ListNews),
    (topics.NEWS_STOP, StopNews),
)

spans = st.integers(0, 2**42)
counts = st.integers(0, 2**31)
versions = st.integers(0, 2**32 - 1)
times = st.integers(0, 2**53)
states = st.builds(
    TerminalState,
    presence=st.sampled_from(Presence),
    session=st.from_regex(r"[0-9a-f]{16}", fullmatch=True),
    sequence=counts,
    sent_time_ms=times,
    interval_ms=st.integers(1, 600_000),
    operator=st.text(max_size=40),
    clock_offset_ms=st.integers(-(2**42), 2**42),
    reader=st.builds(ReaderHealth, st.sampled_from(ReaderState), st.text(max_size=100)),
    felt=st.builds(FeltLatency, spans, counts, spans, spans, spans, counts),
    outbox=st.builds(OutboxDepth, counts, spans),
    versions=st.builds(
        HeldVersions, st.text(max_size=100), versions, versions, versions, versions, versions
    ),
)
news = st.builds(
    ListNews,
    times,
    st.lists(
        st.builds(NewestList, st.text(min_size=1, max_size=40), versions), max_size=8
    ).map(tuple),
    st.lists(st.builds(NewestParameters, st.integers(0, 9), versions), max_size=10).map(tuple),
)  # fmt: skip
stops = st.builds(
    StopNews, times, times, times, st.text(max_size=200), st.text(max_size=200)
)  # fmt: skip


def bare(schema: Any) -> Any:
    """A schema without words: what remains decides which payloads are right."""
    if isinstance(schema, dict):
        kept = {
            key: bare(value)
            for key, value in schema.items()
            if key not in {"description", "title"} and not (key == "required" and not value)
        }
        if "$ref" in kept:
            return {"$ref": kept["$ref"]}
        return kept
    return [bare(one) for one in schema] if isinstance(schema, list | tuple) else schema


def test_every_struct_is_described_as_it_is() -> None:
    _, of_code = msgspec.json.schema_components(
        [struct for _, struct in SAYINGS], ref_template="#/components/schemas/{name}"
    )
    described = description()["components"]["schemas"]
    # Beside field names `default` and `description` are words of the schema itself.
    assert {name: bare(schema) for name, schema in described.items()} == {
        name: bare(schema) for name, schema in of_code.items()
    }


def test_every_topic_is_described() -> None:
    addresses = {channel["address"] for channel in description()["channels"].values()}
    assert addresses == {
        f"{topics.BASE}/terminals/{{subject}}/state", topics.NEWS_LISTS, topics.NEWS_STOP
    }  # fmt: skip
    for topic, struct in SAYINGS:
        assert set(schema_at(topic)["properties"]) == set(struct.__struct_fields__)


@given(states)
def test_states_come_back_as_they_were_said_and_are_as_described(state: TerminalState) -> None:
    assert decode_state(encode(state)) == state
    check(topics.state_topic(NAME), encode(state))


@given(news)
def test_news_of_lists_comes_back(one: ListNews) -> None:
    assert decode_lists(encode(one)) == one
    check(topics.NEWS_LISTS, encode(one))


@given(stops)
def test_news_of_stops_comes_back(one: StopNews) -> None:
    assert decode_stop(encode(one)) == one
    check(topics.NEWS_STOP, encode(one))


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.dictionaries(
        st.sampled_from([*TerminalState.__struct_fields__, *ListNews.__struct_fields__]), inner
    ),
).map(msgspec.json.encode))  # fmt: skip
def test_garbage_is_a_message_or_an_error_of_one_kind(payload: bytes) -> None:
    for decode in (decode_state, decode_lists, decode_stop):
        try:
            decode(payload)
        except TelemetryError:
            continue


def test_what_is_too_long_or_out_of_bounds_is_refused() -> None:
    state = TerminalState(
        presence=Presence.SIGNED_ON, session="0" * 16, sequence=1, sent_time_ms=1, interval_ms=1
    )
    said = msgspec.json.decode(encode(state))
    for field, wrong in (
        ("operator", "x" * 41),
        ("session", "0" * 15 + "G"),
        ("sequence", -1),
        ("presence", "asleep"),
        ("interval_ms", 600_001),
        ("felt", {"p95_ms": 2**43}),
    ):
        with pytest.raises(TelemetryError, match=field):
            decode_state(msgspec.json.encode({**said, field: wrong}))
    with pytest.raises(TelemetryError, match="more than"):
        decode_state(msgspec.json.encode({**said, "later": "x" * PAYLOAD_SIZE_MAX}))
    assert decode_state(msgspec.json.encode({**said, "later": "ignored"})) == state


@pytest.mark.parametrize(
    "topic",
    [
        "cardserver/1/terminals/CN=T0001,O=H11019900001/states",
        "cardserver/1/terminals/CN=T0001,O=H1101990000/state",
        "cardserver/1/terminals/CN=T/1,O=H11019900001/state",
        "cardserver/1/terminals/CN=,O=H11019900001/state",
        "cardserver/1/terminals/O=H11019900001,CN=T0001/state",
        "cardserver/1/terminals/CN=T0001,O=H1101990000\u0661/state",
        "cardserver/1/news/lists",
        "",
    ],
)
def test_other_topics_name_no_terminal(topic: str) -> None:
    assert topics.terminal_of(topic) is None


def test_a_topic_names_its_terminal() -> None:
    assert topics.terminal_of(topics.state_topic(NAME)) == NAME
