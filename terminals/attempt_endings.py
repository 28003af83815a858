"""Which ending an answer gives to an attempt, and the count of its copies on their way.

Not here: what is asked and sent to get there (`attempts.py`).
"""

import datetime as dt
from collections.abc import Callable
from typing import assert_never

from msgspec import Raw, Struct

from protocol.terminal.bodies import NIL, decode_reply_body
from protocol.terminal.codes import ResponseCode, Retry
from protocol.terminal.errors import RemoteProtocolError
from protocol.terminal.messages import MessageType, Reply, Settled, StatusFound, StatusState
from terminals.answer import advice_of, is_stored
from terminals.outbox import Attempt, AttemptState, Ending, Outbox


class CopyCounter:
    """Counts the copies of one attempt in the outbox."""

    def __init__(
        self,
        outbox: Outbox,
        msgid: str,
        now_ms: Callable[[], int],
        *,
        is_first_counted: bool = False,
    ) -> None:
        self._outbox = outbox
        self._msgid = msgid
        self._now_ms = now_ms
        self._is_counted = is_first_counted

    def before_send(self) -> None:
        """Count a copy, unless writing the attempt has counted it."""
        if not self._is_counted:
            self._outbox.note_send(self._msgid, self._now_ms())
        self._is_counted = False

    def not_sent(self) -> None:
        """Take the copy back that was counted last."""
        self._outbox.note_unsent(self._msgid, self._now_ms(), "not allowed by the protocol")

    def after_reply(self, reply: Reply, /) -> None:
        """Count the answer of a copy, where it doesn't end the attempt."""
        if not is_stored(reply.code) and advice_of(reply.code) is not Retry.ASK_STATUS:
            self._outbox.note_refused_copy(self._msgid, self._now_ms(), reply)

    def close(self, reason: str) -> None:
        """Take back the copy that was counted by writing the attempt and never sent."""
        if self._is_counted:
            self._is_counted = False
            self._outbox.note_unsent(self._msgid, self._now_ms(), reason)


def reply_body_of(attempt: Attempt) -> Struct | None:
    """Decode the reply's body that an attempt ended with."""
    if not attempt.reply_body:
        return None
    # A settlement undone later keeps the reply of its own, approved as it then was.
    code = ResponseCode.APPROVED if attempt.setl_id else attempt.code
    try:
        return decode_reply_body(attempt.type, code, attempt.reply_body)
    except RemoteProtocolError:
        return None


def kept_body(body: Raw) -> bytes:
    """Give a reply's body as the outbox keeps it: nothing for nil."""
    return b"" if bytes(body) == NIL else bytes(body)


def state_of(type_: MessageType, code: int) -> AttemptState:
    """Give the state in which a stored outcome leaves an attempt."""
    if code == ResponseCode.APPROVED:
        return AttemptState.SETTLED
    if code == ResponseCode.TOMBSTONED and type_ is MessageType.SETTLE:
        return AttemptState.REVERSED
    return AttemptState.REFUSED


def ending_of(found: StatusFound, zone: dt.tzinfo) -> Ending | None:
    """Give the ending that STATUS tells of a settlement; None while there is none.

    Args:
        found: STATUS's answer.
        zone: The fund's: the business date is the local day of the settlement's own time.
    """
    match found.state:
        case StatusState.NOT_SEEN | StatusState.IN_PROGRESS:
            return None
        case StatusState.SETTLED:
            state = AttemptState.SETTLED
        case StatusState.REFUSED:
            state = AttemptState.REFUSED
        case StatusState.UNDONE | StatusState.TOMBSTONED:
            state = AttemptState.REVERSED
        case _:
            assert_never(found.state)
    return Ending(
        state=state,
        code=found.code,
        reply_body=kept_body(found.body),
        setl_id=found.setl_id,
        business_date=_business_date(found, zone),
        by="status",
    )


def _business_date(found: StatusFound, zone: dt.tzinfo) -> dt.date | None:
    try:
        body = decode_reply_body(found.type, found.code, found.body)
    except RemoteProtocolError:
        return None
    if not isinstance(body, Settled):
        return None
    return dt.datetime.fromtimestamp(body.settled_time_ms / 1000, zone).date()
