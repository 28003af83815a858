"""Asks the holder for a PIN at this counter: typed unseen, never kept.

Not here: where it goes (`card_reader.py`).
"""

import asyncio
import contextlib
import getpass
import os
import sys
import termios
import threading
from collections.abc import Iterator
from typing import Final

from protocol.terminal.messages import PINKind
from terminals.card_reader import PINRequest

_ASKED: Final = {
    PINKind.CURRENT: "请持卡人输入密码 The holder's PIN",
    PINKind.NEW: "请持卡人输入新密码 The new PIN",
}
_AGAIN: Final = "请再输入一次 Once more"
_LINE_SIZE_MAX: Final = 256


async def ask_for_pin(request: PINRequest) -> str | None:
    """Ask at the keyboard, unseen, or read a line where standard input is a pinpad's pipe.

    A new PIN is asked for twice; an empty line, or two that differ, mean that none is given.
    """
    prompt = _ASKED[request.kind]
    if request.tries_left >= 0:
        prompt += f" (还可试 {request.tries_left} 次 tries left)"
    typed = await _typed(f"{prompt}: ")
    if request.kind is PINKind.NEW and typed:
        again = await _typed(f"{_AGAIN}: ")
        if again != typed:
            return None
    return typed or None


async def _typed(prompt: str) -> str:
    """Wait for a line.

    It is read in a thread that nothing waits for: a holder who gives no PIN, or a cashier who
    breaks off, must not have to press a key before the command can end.
    """
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()

    def read() -> None:
        typed = _read(prompt)
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody asks any more
            loop.call_soon_threadsafe(_give, line, typed)

    with _echo_given_back():
        threading.Thread(target=read, name="PIN entry", daemon=True).start()
        return await line


def _give(line: asyncio.Future[str], typed: str) -> None:
    if not line.done():
        line.set_result(typed)


@contextlib.contextmanager
def _echo_given_back() -> Iterator[None]:
    """See that what is typed shows again after a line that nobody waits for; digits of it go."""
    keyboard = sys.stdin.fileno() if sys.stdin.isatty() else None
    before = None if keyboard is None else termios.tcgetattr(keyboard)
    try:
        yield
    except BaseException:
        if keyboard is not None and before is not None:
            termios.tcsetattr(keyboard, termios.TCSAFLUSH, before)
        raise


def _read(prompt: str) -> str:
    """Block until a line is there."""
    try:
        if sys.stdin.isatty():
            return getpass.getpass(prompt, stream=sys.stderr).strip()
        return _line_of(sys.stdin.fileno())
    except (EOFError, OSError):
        return ""


def _line_of(pipe: int) -> str:
    """Read a line byte by byte: a buffer's lock, held at the program's end, would abort it."""
    line = bytearray()
    while (byte := os.read(pipe, 1)) not in {b"", b"\n"} and len(line) < _LINE_SIZE_MAX:
        line += byte
    return line.decode(errors="replace").strip()
