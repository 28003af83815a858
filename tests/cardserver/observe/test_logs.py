"""What is private does not reach a log, however it got into an event."""

import io
import json

import pytest
import structlog

from cardserver.observe.logs import configure_logs
from cardserver.registry.values import CardNumber, IDNumber, PersonName

ID_NUMBER = "111111198101011110"  # the standard's fictitious person


@pytest.fixture
def lines() -> io.StringIO:
    stream = io.StringIO()
    configure_logs(level="INFO", log_format="json", stream=stream)
    return stream


@pytest.mark.parametrize(
    "event",
    [
        {"id_number": ID_NUMBER},
        {"detail": f"person {ID_NUMBER} not found"},
        {"detail": f"person {ID_NUMBER[:-1]}X not found"},
        {"person": IDNumber(ID_NUMBER)},
        {"persons": [ID_NUMBER]},
        {"persons": {"someone": ID_NUMBER}},
        {"error": ValueError(f"bad number {ID_NUMBER}")},
        {"holder": PersonName("张三")},
        {"card": CardNumber("X00000019")},
        {"password": "secret-of-cashier"},
        {"holder_name": "张三"},
    ],
)
def test_private_values_are_masked(lines: io.StringIO, event: dict[str, object]) -> None:
    structlog.get_logger("test").info("something", **event)
    text = lines.getvalue()
    assert text
    for secret in (ID_NUMBER, ID_NUMBER[:-1], "张三", "X00000019", "secret-of-cashier"):
        assert secret not in text


def test_tracebacks_are_masked(lines: io.StringIO) -> None:
    try:
        int(f"number {ID_NUMBER}")
    except ValueError:
        structlog.get_logger("test").exception("fault")
    assert "ValueError" in lines.getvalue()
    assert ID_NUMBER not in lines.getvalue()


def test_an_event_is_one_json_line(lines: io.StringIO) -> None:
    structlog.get_logger("test").warning("clock is off", skew_ms=70_000, terminal="T0001")
    (line,) = lines.getvalue().splitlines()
    event = json.loads(line)
    assert event["event"] == "clock is off"
    assert event["level"] == "warning"
    assert event["skew_ms"] == 70_000
    assert event["terminal"] == "T0001"


def test_levels_below_the_configured_are_silent(lines: io.StringIO) -> None:
    structlog.get_logger("test").debug("traffic", data="00")
    assert lines.getvalue() == ""
