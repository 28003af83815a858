"""What a cashier means by `last`, and what a settlement was: shown before it is undone."""

import datetime as dt
from collections.abc import Sequence
from typing import Final
from zoneinfo import ZoneInfo

from protocol.terminal.bodies import decode_request_body
from protocol.terminal.messages import MessageType, Refunded, Settle, Settled
from terminals.attempt_endings import reply_body_of
from terminals.commands.desk import Desk
from terminals.commands.result import ExitStatus, Result
from terminals.outbox import Attempt
from terminals.receipt import yuan

LAST: Final = "last"


def settled_named(desk: Desk, name: str, types: Sequence[MessageType]) -> Attempt | Result | None:
    """Find an attempt by msgid or settlement; `last` is the last of some types that was done.

    Returns:
        None where there is none; a result where it is in doubt, and of `last` where a later one
        is: what was done before that is another patient's, and not what the cashier has in mind.
    """
    if name != LAST:
        found = desk.outbox.find(name)
        return _in_doubt(desk, found) if found is not None and found.state.is_open else found
    settled = desk.outbox.newest(types, settled_only=True)
    doubts = [one for one in desk.outbox.open_attempts() if one.type in types]
    doubt = max(doubts, key=lambda one: one.msgid, default=None)
    if doubt is None or (settled is not None and settled.msgid > doubt.msgid):
        return settled
    return _in_doubt(desk, doubt)


def described(desk: Desk, attempt: Attempt) -> str:
    """Say whose an attempt was, what it came to, and when, as far as this terminal knows."""
    zone = ZoneInfo(desk.config.terminal.time_zone)
    written = dt.datetime.fromtimestamp(attempt.created_ms / 1000, zone)
    total_fen = _total_fen(attempt)
    words = (
        attempt.holder,
        "" if total_fen is None else yuan(total_fen),
        f"{written:%Y-%m-%d %H:%M:%S}",
    )
    return "  ".join(word for word in words if word)


def _in_doubt(desk: Desk, attempt: Attempt) -> Result:
    return Result(
        status=ExitStatus.UNKNOWN,
        code=attempt.code,
        text_zh="该笔结果未知，请先执行 outbox --resolve",
        text_en="this one is in doubt: run `cardterminal outbox --resolve` first",
        detail_en=described(desk, attempt),
        msgid=attempt.msgid,
        values={"state": attempt.state.value},
    )


def _total_fen(attempt: Attempt) -> int | None:
    match reply_body_of(attempt):
        case Settled() as settled:
            return settled.split.total_fen
        case Refunded(remaining=left) if left is not None:
            return left.total_fen
    if attempt.type is not MessageType.SETTLE:
        return None
    asked = decode_request_body(attempt.type, attempt.body)
    assert isinstance(asked, Settle)
    return asked.bill.total_fen
