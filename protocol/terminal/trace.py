"""The trace that a request belongs to, in W3C Trace Context's words (Recommendation, 2021-11-23).

A terminal that stands in no trace of its own derives one from its code and the `msgid`: every
repetition of an attempt, also one after a crash, is then part of the same trace without anything
being kept. Not here: who records and shows spans (`cardserver/observe`).
"""

import hashlib
import re
from typing import Final

from msgspec import Struct

TRACE_ID_SIZE: Final = 16
SPAN_ID_SIZE: Final = 8

# version "00" and later ones that keep its first four fields (3.2.2); "ff" is no version (3.2.2.1).
_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})", re.ASCII
)
_SAMPLED: Final = 0x01


class TraceContext(Struct, frozen=True):
    """Where a request stands in a trace.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits: the terminal's own part, whose child the centre's is.
        is_sampled: Whether whoever began the trace records it.
    """

    trace_id: str
    span_id: str
    is_sampled: bool = True

    @property
    def traceparent(self) -> str:
        """The header field's value, version 00."""
        return f"00-{self.trace_id}-{self.span_id}-{_SAMPLED if self.is_sampled else 0:02x}"


def trace_of(*, terminal: str, msgid: str) -> TraceContext:
    """Derive the trace of an attempt: SHA-256 over `msgid`, a slash and the terminal's code.

    Its first 16 bytes are the trace's number, the next eight the terminal's span's.
    """
    digest = hashlib.sha256(f"{msgid}/{terminal}".encode()).hexdigest()
    trace_id, span_id = digest[: 2 * TRACE_ID_SIZE], digest[2 * TRACE_ID_SIZE :][: 2 * SPAN_ID_SIZE]
    return TraceContext(trace_id, span_id)


def parse_traceparent(text: str) -> TraceContext | None:
    """Read a `traceparent`; None where it is none: then the trace is begun anew (3.2.2.3)."""
    match = _TRACEPARENT.fullmatch(text)
    if match is None:
        return None
    trace_id, span_id, flags = match.groups()
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))
