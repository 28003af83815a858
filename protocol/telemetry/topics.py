"""The topics of the broker, and who may use which.

A terminal's topic holds the subject of its certificate as the broker writes it (RFC 4514), so that
one pattern in the broker's access list binds every terminal to its own. Not here: what is said
under a topic (`messages.py`).
"""

import re
from typing import Final, NamedTuple

BASE: Final = "cardserver/1"
NEWS_LISTS: Final = f"{BASE}/news/lists"
NEWS_STOP: Final = f"{BASE}/news/stop"
NEWS_FILTER: Final = f"{BASE}/news/#"
STATES_FILTER: Final = f"{BASE}/terminals/+/state"
CENTRE_NAME: Final = "cardserver-centre"
"""The common name of the certificate by which the broker knows a centre; it names no institution,
so that no terminal's certificate has the same subject."""

_STATE: Final = re.compile(
    re.escape(f"{BASE}/terminals/")
    + r"CN=(?P<code>[A-Za-z0-9][A-Za-z0-9._-]{0,19}),O=(?P<institution>[A-Z][0-9]{11})/state",
    re.ASCII,
)


class TerminalName(NamedTuple):
    """Which terminal: its institution's code and its own, as its certificate names them."""

    institution: str
    code: str


def state_topic(terminal: TerminalName) -> str:
    """Give the topic of a terminal's state."""
    return f"{BASE}/terminals/CN={terminal.code},O={terminal.institution}/state"


def terminal_of(topic: str) -> TerminalName | None:
    """Say whose state stands under a topic; None where it is no such topic."""
    found = _STATE.fullmatch(topic)
    return None if found is None else TerminalName(found["institution"], found["code"])
