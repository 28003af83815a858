"""What is private does not reach a log, however it got into an event."""

import ast
import asyncio
import contextlib
import io
import json
import logging
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from cardserver.observe.logs import Flood, configure_logs, correlate, dropped_count
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


def test_a_log_that_cannot_be_written_ends_nothing_and_is_counted() -> None:
    before = dropped_count()
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        configure_logs(level="INFO", log_format="json", stream=full)
        structlog.get_logger("test").info("one", detail="x" * 10_000)
        structlog.get_logger("test").exception("fault", exc_info=ZeroDivisionError())
        logging.getLogger("some.library").warning("another")
        with contextlib.suppress(OSError):
            full.close()
    structlog.get_logger("test").critical("the file is closed")
    assert dropped_count() - before == 4


def test_what_libraries_log_is_one_masked_json_line_too(lines: io.StringIO) -> None:
    log = logging.getLogger("some.library")
    log.info("set up")
    try:
        int(f"number {ID_NUMBER}")
    except ValueError:
        log.exception("job %s of %s failed", 7, ID_NUMBER)
    log.warning("none left")
    events = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [one["logger"] for one in events] == ["some.library"] * 2
    assert events[0]["text"] == "job 7 of *** failed"
    assert events[0]["level"] == "error"
    assert "ValueError" in events[0]["exception"]
    assert events[1]["text"] == "none left"
    assert ID_NUMBER not in lines.getvalue()


def test_levels_below_the_configured_are_silent(lines: io.StringIO) -> None:
    structlog.get_logger("test").debug("traffic", data="00")
    assert lines.getvalue() == ""


@pytest.mark.parametrize(
    "event",
    [
        {"detail": f"身份证{ID_NUMBER}号"},
        {"detail": f"id_{ID_NUMBER}"},
        {"number": int(ID_NUMBER)},
        {"rows": [{"name": "张三", "id_number": ID_NUMBER}]},
        {"body": b"\x96 whatever a frame holds \xe5\xbc\xa0\xe4\xb8\x89"},
        {"nested": {"pin": "123456", "deeper": {"password": "secret-of-cashier"}}},
    ],
)
def test_private_values_are_masked_wherever_they_stand(
    lines: io.StringIO, event: dict[str, object]
) -> None:
    structlog.get_logger("test").info("something", **event)
    text = lines.getvalue()
    for secret in (ID_NUMBER, "张三", "123456", "secret-of-cashier", "whatever"):
        assert secret not in text


def test_a_msgid_is_no_identity_number(lines: io.StringIO) -> None:
    for msgid in ("H11019900001202611220930000001", "H1101990000A202611220930000001"):
        structlog.get_logger("test").info("answered", msgid=msgid)
        assert msgid in lines.getvalue()


def log_calls() -> dict[tuple[str, str], set[str]]:
    """Find every call of a log in the centre's code: level and event, with the names it passes."""
    found: dict[tuple[str, str], set[str]] = {}
    for path in sorted(Path("cardserver").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            if not (is_call and isinstance(node.func.value, ast.Name)):
                continue
            if node.func.value.id == "log" and node.func.attr in LEVELS:
                (event,) = node.args
                assert isinstance(event, ast.Constant), f"{path}:{node.lineno}: words that vary"
                names = {keyword.arg for keyword in node.keywords if keyword.arg}
                found.setdefault((node.func.attr, event.value), set()).update(names)
    return found


LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
CALLS = log_calls()
# Where a text of any origin may stand: an error's words, a reason, what a peer said of itself.
PRIVATE = st.one_of(
    st.from_regex(r"[1-6][0-9]{16}[0-9X]", fullmatch=True),
    st.from_regex(r"[1-6][0-9]{16}[0-9X]", fullmatch=True).map(IDNumber),
    st.text("张王李赵刘陈杨黄", min_size=2, max_size=4).map(PersonName),
    st.from_regex(r"[A-Z][0-9]{8}", fullmatch=True).map(CardNumber),
)


def test_every_call_of_a_log_was_found() -> None:
    assert len(CALLS) > 25
    assert ("info", "answered") in CALLS


@pytest.mark.parametrize("log_format", ["json", "console"])
@given(data=st.data())
def test_no_log_call_lets_a_private_value_through(log_format: str, data: st.DataObject) -> None:
    stream = io.StringIO()
    configure_logs(level="DEBUG", log_format=log_format, stream=stream, events_a_second=0)
    secret = data.draw(PRIVATE)
    place = data.draw(
        st.sampled_from([lambda value: value, lambda value: [value], lambda value: {"a": (value,)}])
    )
    for (level, event), names in CALLS.items():
        logger = structlog.get_logger("test")
        try:
            raise ValueError(f"bad value {secret!r}")  # noqa: TRY301 - its words are logged
        except ValueError as error:
            values = {name: error if name == "error" else place(secret) for name in names}
            getattr(logger, level)(event, **values)
    assert stream.getvalue().count("\n") >= len(CALLS)
    assert str(secret) not in stream.getvalue()


def test_a_flood_is_cut_and_counted_by_its_kind() -> None:
    now = [0.0]
    dropped: list[int] = []
    flood = Flood(3, lambda: dropped.append(1), lambda: now[0])

    def let_through(event: str, count: int) -> list[dict[str, object]]:
        through = []
        for number in range(count):
            try:
                through.append(dict(flood(None, "info", {"event": event, "number": number})))
            except structlog.DropEvent:
                continue
        return through

    assert [one["number"] for one in let_through("knock", 10)] == [0, 1, 2]
    assert [one["number"] for one in let_through("other", 2)] == [0, 1]
    now[0] = 1.5
    first, *others = let_through("knock", 2)
    assert first["dropped"] == 7
    assert all("dropped" not in one for one in others)
    assert len(dropped) == 7


def test_an_event_bears_its_requests_names(lines: io.StringIO) -> None:
    async def of_request(number: int) -> None:
        correlate(f"msgid-{number}", f"trace-{number}")
        await asyncio.sleep(0)
        structlog.get_logger("test").info("worked on", number=number)

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(3):
                tasks.create_task(of_request(number))
        structlog.get_logger("test").info("nobody's")

    asyncio.run(run())
    events = [json.loads(line) for line in lines.getvalue().splitlines()]
    for event in events[:3]:
        assert event["msgid"] == f"msgid-{event['number']}"
        assert event["trace"] == f"trace-{event['number']}"
    assert "msgid" not in events[3]
