"""Structured logs: JSON or console lines, correlated by `msgid`, with what is private masked.

Values of private types mask themselves in their `repr`; the processor here is the second fence,
for text that was put under a private name or looks like an identity number. An event that comes in
a flood is written so many times a second, and the next one says how many of its like were dropped.
"""

import logging
import re
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any, TextIO

import msgspec
import structlog

_PRIVATE_KEYS = frozenset(
    {
        "password", "pin", "name", "holder_name", "holder_id", "id_number", "card_number",
        "certificate_number", "card_session", "key", "secret", "psn_no", "holder", "person_name",
        "birth_date", "phone", "account_name", "iban", "passphrase", "token", "can",
    }
)  # fmt: skip
# GB 11643-1999 identity numbers, wherever they stand in a text, also between Chinese characters.
# What follows a capital letter is the end of a msgid, whose institution's code may end in one.
_ID_NUMBER = re.compile(r"(?<![0-9A-Z])[0-9]{17}[0-9Xx](?![0-9])")
_ID_NUMBER_SIZE = 18
_ID_NUMBER_MIN = 10**17
_NESTED_MAX = 4
_MASKED = "***"
EVENTS_A_SECOND = 200
"""Of one kind, unless configured otherwise: what a disk takes, and more than anyone reads."""
_KINDS_MAX = 1024
_JSON = msgspec.json.Encoder()


_request: ContextVar[tuple[str, str]] = ContextVar("request", default=("", ""))


def correlate(msgid: str, trace: str) -> None:
    """Have every event of this task, and of those that it starts, bear its request's names."""
    _request.set((msgid, trace))


def _with_request(
    _logger: object, _method: str, event: MutableMapping[str, Any]  # structlog's own signature
) -> MutableMapping[str, Any]:  # fmt: skip
    msgid, trace = _request.get()
    if msgid:
        event.setdefault("msgid", msgid)
        event.setdefault("trace", trace)
    return event


def mask(
    _logger: object, _method: str, event: MutableMapping[str, Any]  # structlog's own signature
) -> Mapping[str, Any]:  # fmt: skip
    """Hide values under private names, and identity numbers in any text."""
    for key, value in event.items():
        if key in _PRIVATE_KEYS:
            event[key] = _MASKED
        elif type(value) is str:
            if len(value) >= _ID_NUMBER_SIZE:
                event[key] = _ID_NUMBER.sub(_MASKED, value)
        elif value is not None and not isinstance(value, (int, float)):
            # Private types are texts of their own, whose repr is masked.
            event[key] = _ID_NUMBER.sub(_MASKED, repr(_masked(value, _NESTED_MAX)))
        elif type(value) is int and value >= _ID_NUMBER_MIN:  # it may come as a number
            event[key] = _ID_NUMBER.sub(_MASKED, str(value))
    return event


def _masked(value: object, depth: int) -> object:
    """Hide what stands under private names within a value; of bytes say no more than the size."""
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value)} bytes"
    if depth == 0:
        return "..."
    if isinstance(value, Mapping):
        return {
            key: _MASKED if key in _PRIVATE_KEYS else _masked(one, depth - 1)
            for key, one in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(one, depth - 1) for one in value]
    return value


class Flood:
    """Lets so many events of one kind through a second; the next one says how many it dropped."""

    def __init__(
        self,
        events_a_second: int,
        on_dropped: Callable[[], None],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin; 0 events a second is no limit."""
        self._limit = events_a_second
        self._on_dropped = on_dropped
        self._now_s = now_s
        self._kinds: dict[object, list[float]] = {}  # since when, how many, how many dropped

    def __call__(
        self, _logger: object, _method: str, event: MutableMapping[str, Any]  # structlog's own
    ) -> MutableMapping[str, Any]:  # fmt: skip
        """Let an event through, or drop it."""
        if not self._limit:
            return event
        now_s = self._now_s()
        name = event.get("event")
        kind = self._kinds.get(name)
        if kind is None:
            if len(self._kinds) >= _KINDS_MAX:
                self._kinds.clear()
            kind = self._kinds[name] = [now_s, 0, 0]
        if now_s - kind[0] >= 1:
            kind[0], kind[1] = now_s, 0
        kind[1] += 1
        if kind[1] > self._limit:
            kind[2] += 1
            self._on_dropped()
            raise structlog.DropEvent
        if kind[2]:
            event["dropped"] = int(kind[2])
            kind[2] = 0
        return event


_dropped = [0]


def dropped_count() -> int:
    """Say how many events this process has left out of floods, or could not write."""
    return _dropped[0]


def configure_logs(
    *,
    level: str,
    log_format: str,
    stream: TextIO | None = None,
    events_a_second: int = EVENTS_A_SECOND,
) -> None:
    """Set up logging for the process: one line an event on standard error."""

    def count_dropped() -> None:
        _dropped[0] += 1

    threshold = logging.getLevelNamesMapping()["DEBUG" if level == "TRAFFIC" else level]
    renderer: Any = (  # structlog's renderers share no type
        _to_json
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=(stream or sys.stderr).isatty())
    )
    structlog.configure(
        processors=[
            Flood(events_a_second, count_dropped),
            _with_request,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            mask,  # last, so that a traceback's text is masked as well
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: _Lines(stream or sys.stderr, count_dropped),
        cache_logger_on_first_use=False,
    )
    # Libraries speak of what goes wrong; what goes well they say of themselves, not of the centre.
    level_of_libraries = logging.WARNING if threshold == logging.INFO else threshold
    logging.basicConfig(level=level_of_libraries, handlers=[_OfLibraries()], force=True)


class _Lines:
    """Writes lines; one that can't be written is dropped: no settlement ends for the sake of a log.

    The disk that it goes to may be full, and whoever reads it may have gone.
    """

    def __init__(self, stream: TextIO, on_dropped: Callable[[], None]) -> None:
        self._stream = stream
        self._on_dropped = on_dropped

    def _write(self, line: str) -> None:
        try:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except (OSError, ValueError):  # the latter of a stream that was closed
            self._on_dropped()

    debug = info = warning = error = critical = _write


class _OfLibraries(logging.Handler):
    """Has what libraries log become events like ours: masked, of one line, and no flood."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log it."""
        structlog.get_logger(record.name).log(
            record.levelno,
            "of a library",
            logger=record.name,
            text=record.getMessage(),
            exc_info=record.exc_info,
        )


def _to_json(
    _logger: object, _method: str, event: MutableMapping[str, Any]  # structlog's own signature
) -> str:  # fmt: skip
    """Render an event whose values `mask` has left as texts and numbers.

    A request's line took 27 us with the standard library's encoder, takes 12 us so.
    """
    return _JSON.encode(event).decode()
