"""Requests as spans of traces, sent to an OpenTelemetry collector where one is configured.

OTLP over HTTP in its JSON encoding (OpenTelemetry protocol 1.3, "OTLP/HTTP", "JSON Protobuf
encoding"): field names in lowerCamelCase, ids in hexadecimal, 64-bit numbers as texts. Nothing
waits for the collector: spans queue in memory, a bounded number, and those that don't fit are
counted and dropped. Not here: what a stage is (`stages.py`), and which trace a request belongs to
(`protocol/terminal/trace.py`).
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, unique

import aiohttp
import structlog
from msgspec import json

log = structlog.get_logger("cardserver.observe")

_BATCH_MAX = 512
_FLUSH_S = 1.0
_SEND_TIME_MAX_S = 10.0
_HTTP_OK = 200
_ERROR_STATUS = 2
_SCOPE = "cardserver"
# By the W3C recommendation, the right half of a trace id is what samplers may take as chance.
_CHANCE_DIGITS = 14


@unique
class SpanKind(IntEnum):
    """As OTLP numbers them."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time within a trace.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: 16 of them.
        parent_id: Of the span that it is a part of; empty for none.
        begins_ns: Nanoseconds since 1970.
        ends_ns: The same.
        attributes: What is known of it; texts and numbers.
        is_error: Whether what it stands for failed by a fault of ours.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: SpanKind
    begins_ns: int
    ends_ns: int
    attributes: Mapping[str, str | int]
    is_error: bool = False


def with_stages(whole: Span, stages: Sequence[tuple[str, int]]) -> list[Span]:
    """Return a span and one for each of its stages, in nanoseconds, laid end to end in their order.

    A stage that came several times is one span of all its time: a request never has more spans than
    there are stages.
    """
    spans = [whole]
    at_ns = whole.begins_ns
    for stage, nanoseconds in stages:
        ends_ns = min(at_ns + nanoseconds, whole.ends_ns)
        spans.append(
            Span(
                whole.trace_id, new_span_id(), whole.span_id, stage, SpanKind.INTERNAL,
                at_ns, ends_ns, {},
            )
        )  # fmt: skip
        at_ns = ends_ns
    return spans


def new_span_id() -> str:
    """Draw a span's id."""
    return secrets.token_hex(8)


class SpanExporter:
    """Sends spans to a collector, some at a time, from a queue that may overflow."""

    def __init__(
        self,
        endpoint: str,
        *,
        service: Mapping[str, str],
        ratio: float,
        queue_max: int,
        on_sent: Callable[[int], None],
        on_dropped: Callable[[int], None],
    ) -> None:
        """Send to `endpoint`, as `http://collector:4318/v1/traces`.

        Args:
            endpoint: The whole URL.
            service: What the spans are of: `service.name` and the like.
            ratio: Which part of all traces is sent; a trace is sent by all or by none.
            queue_max: Spans that may wait.
            on_sent: Told how many the collector took.
            on_dropped: Told how many were lost.
        """
        self._endpoint = endpoint
        self._resource = {"attributes": _attributes(service)}
        self._chance_max: int = round(ratio * (1 << 4 * _CHANCE_DIGITS))
        self._queue: deque[Span] = deque()
        self._queue_max = queue_max
        self._on_sent = on_sent
        self._on_dropped = on_dropped
        self._is_failing = False

    def is_wanted(self, trace_id: str) -> bool:
        """Tell whether this trace is one of those that are sent."""
        return int(trace_id[-_CHANCE_DIGITS:], 16) < self._chance_max

    def put(self, spans: Sequence[Span]) -> None:
        """Queue spans; those that don't fit are dropped."""
        free = self._queue_max - len(self._queue)
        self._queue.extend(spans[:free])
        if len(spans) > free:
            self._on_dropped(len(spans) - free)

    async def run(self) -> None:
        """Send what queues, until cancelled; what is queued then is sent too, or dropped."""
        timeout = aiohttp.ClientTimeout(total=_SEND_TIME_MAX_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            try:
                while True:
                    await asyncio.sleep(_FLUSH_S)
                    await self._flush(session)
            finally:
                await self._flush(session)

    async def _flush(self, session: aiohttp.ClientSession) -> None:
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(_BATCH_MAX, len(self._queue)))]
            try:
                async with session.post(
                    self._endpoint,
                    data=encode_spans(self._resource, batch),
                    headers={"Content-Type": "application/json"},
                ) as response:
                    problem = "" if response.status == _HTTP_OK else f"status {response.status}"
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                problem = str(error) or type(error).__name__
            if problem:
                self._on_dropped(len(batch))
                if not self._is_failing:
                    log.warning("spans can't be sent", endpoint=self._endpoint, error=problem)
                self._is_failing = True
                return
            self._is_failing = False
            self._on_sent(len(batch))


def encode_spans(resource: Mapping[str, object], spans: Sequence[Span]) -> bytes:
    """Put spans into an `ExportTraceServiceRequest`."""
    return json.encode(
        {
            "resourceSpans": [
                {
                    "resource": resource,
                    "scopeSpans": [
                        {"scope": {"name": _SCOPE}, "spans": [_encoded(span) for span in spans]}
                    ],
                }
            ]
        }
    )


def _encoded(span: Span) -> dict[str, object]:
    encoded: dict[str, object] = {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "name": span.name,
        "kind": int(span.kind),
        "startTimeUnixNano": str(span.begins_ns),
        "endTimeUnixNano": str(span.ends_ns),
        "attributes": _attributes(span.attributes),
        "status": {"code": _ERROR_STATUS} if span.is_error else {},
    }
    if span.parent_id:
        encoded["parentSpanId"] = span.parent_id
    return encoded


def _attributes(values: Mapping[str, str | int]) -> list[dict[str, object]]:
    return [
        {
            "key": key,
            "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value},
        }
        for key, value in values.items()
    ]
