"""A request's trace, in W3C Trace Context's words."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.terminal.trace import TraceContext, parse_traceparent, trace_of

EXAMPLE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"  # W3C Trace Context, 3.2.2.5


def test_the_recommendations_own_example_is_read() -> None:
    context = parse_traceparent(EXAMPLE)
    assert context == TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
    assert context.traceparent == EXAMPLE
    unsampled = parse_traceparent(EXAMPLE[:-1] + "0")
    assert unsampled is not None
    assert not unsampled.is_sampled
    assert unsampled.traceparent == EXAMPLE[:-1] + "0"


@pytest.mark.parametrize(
    "text",
    [
        "",
        EXAMPLE.upper(),
        EXAMPLE[:-1],
        EXAMPLE + "-00",
        "ff" + EXAMPLE[2:],
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
        EXAMPLE.replace("-", "_"),
    ],
)
def test_what_is_no_traceparent_begins_a_trace_anew(text: str) -> None:
    assert parse_traceparent(text) is None


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    assert parse_traceparent("cc" + EXAMPLE[2:]) == parse_traceparent(EXAMPLE)


def test_a_repetition_stands_in_its_originals_trace() -> None:
    first = trace_of(terminal="T0001", msgid="H11010100001202611210930070007")
    assert first == trace_of(terminal="T0001", msgid="H11010100001202611210930070007")
    digest = hashlib.sha256(b"H11010100001202611210930070007/T0001").hexdigest()
    assert (first.trace_id, first.span_id) == (digest[:32], digest[32:48])
    assert (
        first.trace_id
        != trace_of(terminal="T0002", msgid="H11010100001202611210930070007").trace_id
    )


@given(st.text(), st.text())
def test_every_derived_trace_can_be_told_and_read(terminal: str, msgid: str) -> None:
    context = trace_of(terminal=terminal, msgid=msgid)
    assert parse_traceparent(context.traceparent) == context


@given(st.text(max_size=55))
def test_garbage_is_no_trace_and_no_fault(text: str) -> None:
    context = parse_traceparent(text)
    assert context is None or context.trace_id in text
