"""A PIN that is typed, and one that nobody types, at a real terminal and through a pipe."""

import os
import pty
import subprocess
import sys
import termios
import time
from collections.abc import Iterator

import pytest

ASKS = """
import asyncio, fcntl, sys, termios
from protocol.terminal.messages import PINKind
from terminals.card_reader import PINRequest
from terminals.pin_prompt import ask_for_pin

if sys.stdin.isatty():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)

async def ask():
    try:
        async with asyncio.timeout(SECONDS):
            print("given", await ask_for_pin(PINRequest(PINKind.KIND, 3)), flush=True)
    except TimeoutError:
        print("not given", flush=True)

asyncio.run(ask())
"""


@pytest.fixture
def keyboard() -> Iterator[tuple[int, int]]:
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def _program(seconds: float, kind: str = "CURRENT") -> list[str]:
    code = ASKS.replace("SECONDS", str(seconds)).replace("PINKind.KIND", f"PINKind.{kind}")
    return [sys.executable, "-c", code]


def _at(keyboard: int, seconds: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        _program(seconds), stdin=keyboard, stdout=subprocess.PIPE, stderr=keyboard,
        start_new_session=True,
    )  # fmt: skip


def _echoes(keyboard: int) -> bool:
    return bool(termios.tcgetattr(keyboard)[3] & termios.ECHO)


def test_a_pin_is_typed_unseen(keyboard: tuple[int, int]) -> None:
    ours, theirs = keyboard
    with _at(theirs, 30) as program:
        shown = b""
        while b"tries left" not in shown:
            shown += os.read(ours, 1000)
        while _echoes(theirs):
            time.sleep(0.01)
        os.write(ours, b"624815\n")
        out, _ = program.communicate(timeout=20)
    assert out == b"given 624815\n"
    assert b"624815" not in shown
    assert _echoes(theirs)


def test_a_pin_that_nobody_types_holds_nothing_up(keyboard: tuple[int, int]) -> None:
    ours, theirs = keyboard
    with _at(theirs, 2) as program:
        os.write(ours, b"6248")  # half of it
        out, _ = program.communicate(timeout=20)
    assert out == b"not given\n"
    assert program.returncode == 0
    assert _echoes(theirs), "what is typed next is seen again"


@pytest.mark.parametrize(
    ("kind", "lines", "said"),
    [
        ("CURRENT", b"624815\n", b"given 624815\n"),
        ("CURRENT", b"", b"given None\n"),
        ("NEW", b"1234\n1234\n", b"given 1234\n"),
        ("NEW", b"1234\n1235\n", b"given None\n"),
    ],
)
def test_a_pinpad_writes_lines(kind: str, lines: bytes, said: bytes) -> None:
    ran = subprocess.run(_program(30, kind), input=lines, capture_output=True, check=True)
    assert ran.stdout == said


def test_a_pinpad_that_writes_nothing_holds_nothing_up() -> None:
    with subprocess.Popen(
        _program(1), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        program.wait(timeout=20)
        assert program.stdout is not None
        assert program.stderr is not None
        assert program.stdout.read() == b"not given\n"
        assert program.stderr.read() == b""
    assert program.returncode == 0
