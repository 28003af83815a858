"""Asks the holder for a PIN at this counter: typed unseen, never kept.

Not here: where it goes (`card_reader.py`).
"""

import asyncio
import getpass
import sys
from typing import Final

from protocol.terminal.messages import PINKind
from terminals.card_reader import PINRequest

_ASKED: Final = {
    PINKind.CURRENT: "请持卡人输入密码 The holder's PIN",
    PINKind.NEW: "请持卡人输入新密码 The new PIN",
}
_AGAIN: Final = "请再输入一次 Once more"


async def ask_for_pin(request: PINRequest) -> str | None:
    """Ask at the keyboard, unseen, or read a line where standard input is a pinpad's pipe.

    A new PIN is asked for twice; an empty line, or two that differ, mean that none is given.
    """
    prompt = _ASKED[request.kind]
    if request.tries_left >= 0:
        prompt += f" (还可试 {request.tries_left} 次 tries left)"
    typed = await asyncio.to_thread(_read, f"{prompt}: ")
    if request.kind is PINKind.NEW and typed:
        again = await asyncio.to_thread(_read, f"{_AGAIN}: ")
        if again != typed:
            return None
    return typed or None


def _read(prompt: str) -> str:
    """Block until a line is there; a thread of its own, because a person takes their time."""
    try:
        if sys.stdin.isatty():
            return getpass.getpass(prompt, stream=sys.stderr).strip()
        return sys.stdin.readline().strip()
    except EOFError:
        return ""
