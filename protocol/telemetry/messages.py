"""What is said over the broker: typed structs, checked and bounded when they are decoded, as JSON.

JSON and not MessagePack, because people look at a broker with its own tools. Unknown fields are
ignored, so that a newer terminal is understood by an older centre. `asyncapi.yaml` describes the
same for other programs; a test holds the two together. Not here: topics (`topics.py`).
"""

from enum import StrEnum, unique
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

PAYLOAD_SIZE_MAX: Final = 4_096
STATE_INTERVAL_MS_MAX: Final = 600_000
"""How often a terminal says its state at least, whatever is configured."""

T = TypeVar("T")

TimeMs = Annotated[int, Meta(ge=0, le=2**53)]
"""Milliseconds since 1970-01-01 UTC, by the clock of whoever says it."""
SpanMs = Annotated[int, Meta(ge=0, le=2**42)]
OffsetMs = Annotated[int, Meta(ge=-(2**42), le=2**42)]
Version = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**31)]
SessionId = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}$")]
Operator = Annotated[str, Meta(max_length=40)]
ReaderName = Annotated[str, Meta(max_length=100)]
Software = Annotated[str, Meta(max_length=100)]
ListNameText = Annotated[str, Meta(min_length=1, max_length=40)]
Words = Annotated[str, Meta(max_length=200)]
Level = Annotated[int, Meta(ge=0, le=9)]


class TelemetryError(Exception):
    """A payload is not what may be said; the text names the field."""


@unique
class Presence(StrEnum):
    """Whether a terminal is at work."""

    SIGNED_ON = "signed_on"
    """An operator is signed on, and the terminal is connected to the broker."""
    SIGNED_OFF = "signed_off"
    """It left as it should."""
    LOST = "lost"
    """The broker says so: the connection ended without a word (the last will)."""


@unique
class ReaderState(StrEnum):
    """What a terminal knows of its card reader."""

    UNKNOWN = "unknown"
    ABSENT = "absent"
    EMPTY = "empty"
    CARD = "card"
    FAULTY = "faulty"


class ReaderHealth(Struct, frozen=True):
    """The card reader.

    Attributes:
        state: What it does.
        name: As PC/SC lists it; may be empty.
    """

    state: ReaderState = ReaderState.UNKNOWN
    name: ReaderName = ""


class FeltLatency(Struct, frozen=True):
    """What the cashier waited for answers, in the last `window_ms`.

    Attributes:
        window_ms: How far back.
        count: How many answers; the rest is 0 without any.
        p50_ms: The median.
        p95_ms: Nineteen of twenty were quicker.
        max_ms: The slowest.
        unanswered: Requests without an answer, beside `count`.
    """

    window_ms: SpanMs = 0
    count: Count = 0
    p50_ms: SpanMs = 0
    p95_ms: SpanMs = 0
    max_ms: SpanMs = 0
    unanswered: Count = 0


class OutboxDepth(Struct, frozen=True):
    """Attempts whose end is not known yet.

    Attributes:
        open_count: How many.
        oldest_age_ms: How long ago the oldest was begun; 0 without any.
    """

    open_count: Count = 0
    oldest_age_ms: SpanMs = 0


class HeldVersions(Struct, frozen=True):
    """Which software this is, and which lists it holds; 0 for none.

    Attributes:
        software: Its name and version.
        protocol: Of the terminal protocol.
        revocations: Of the list of this name, as the others.
        parameters: As above.
        mapping: As above.
        catalogue: As above.
    """

    software: Software = ""
    protocol: Version = 0
    revocations: Version = 0
    parameters: Version = 0
    mapping: Version = 0
    catalogue: Version = 0


class TerminalState(Struct, frozen=True, kw_only=True):
    """A terminal's state; the last will is the same with `lost` and nothing else known.

    Attributes:
        presence: Whether it is at work.
        session: Drawn anew by each program that connects: which life of the terminal this is.
        sequence: Counts the states of a session from 1; 0 is the last will.
        sent_time_ms: The terminal's clock.
        interval_ms: The next state comes after so long at the latest.
        operator: Who is signed on; may be empty.
        clock_offset_ms: By how much the centre's clock is ahead of this one, as last heard.
        reader: The card reader.
        felt: What the cashier waited.
        outbox: What is in doubt.
        versions: What is held.
    """

    presence: Presence
    session: SessionId
    sequence: Count
    sent_time_ms: TimeMs
    interval_ms: Annotated[int, Meta(ge=1, le=STATE_INTERVAL_MS_MAX)]
    operator: Operator = ""
    clock_offset_ms: OffsetMs = 0
    reader: ReaderHealth = ReaderHealth()
    felt: FeltLatency = FeltLatency()
    outbox: OutboxDepth = OutboxDepth()
    versions: HeldVersions = HeldVersions()


class NewestList(Struct, frozen=True):
    """The newest version of a list, as SIGN_ON's reply names it."""

    name: ListNameText
    version: Version


class NewestParameters(Struct, frozen=True):
    """The version of the parameters of institutions of a level."""

    institution_level: Level
    version: Version


class ListNews(Struct, frozen=True):
    """What terminals may download now by LIST_DOWNLOAD.

    Attributes:
        time_ms: The centre's clock.
        lists: The newest version of each list.
        parameters: Those of the parameters, which differ by the institution's level.
    """

    time_ms: TimeMs
    lists: Annotated[tuple[NewestList, ...], Meta(max_length=8)]
    parameters: Annotated[tuple[NewestParameters, ...], Meta(max_length=10)] = ()


class StopNews(Struct, frozen=True):
    """The centre's next planned stop; one with `begins_time_ms` 0 says that none is planned.

    Attributes:
        time_ms: The centre's clock.
        begins_time_ms: When it begins.
        ends_time_ms: When it ends, as planned.
        text_zh: Why, for cashiers.
        text_en: The same in English.
    """

    time_ms: TimeMs
    begins_time_ms: TimeMs = 0
    ends_time_ms: TimeMs = 0
    text_zh: Words = ""
    text_en: Words = ""


_ENCODER: Final = msgspec.json.Encoder()
_STATE: Final = msgspec.json.Decoder(TerminalState)
_LISTS: Final = msgspec.json.Decoder(ListNews)
_STOP: Final = msgspec.json.Decoder(StopNews)


def encode(message: TerminalState | ListNews | StopNews) -> bytes:
    """Write a message as a payload."""
    payload = _ENCODER.encode(message)
    assert len(payload) <= PAYLOAD_SIZE_MAX
    return payload


def decode_state(payload: bytes) -> TerminalState:
    """Read a terminal's state.

    Raises:
        TelemetryError: It is none, or says something out of bounds.
    """
    return _decode(_STATE, payload)


def decode_lists(payload: bytes) -> ListNews:
    """Read news of lists.

    Raises:
        TelemetryError: As in `decode_state`.
    """
    return _decode(_LISTS, payload)


def decode_stop(payload: bytes) -> StopNews:
    """Read news of a planned stop.

    Raises:
        TelemetryError: As in `decode_state`.
    """
    return _decode(_STOP, payload)


def _decode(decoder: msgspec.json.Decoder[T], payload: bytes) -> T:
    if len(payload) > PAYLOAD_SIZE_MAX:
        raise TelemetryError(f"{len(payload)} bytes are more than {PAYLOAD_SIZE_MAX}")
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TelemetryError(str(error)) from error
