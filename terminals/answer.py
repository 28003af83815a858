"""What a request came to, as the counter sees it: an answer, or that there is none."""

from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct

from protocol.terminal.codes import ResponseCode, Retry
from protocol.terminal.messages import MessageType, Reply
from terminals.link import Exchange

_CODES: Final = {code.value: code for code in ResponseCode}
_UNKNOWN_ZH: Final = "中心返回未知代码"
_UNKNOWN_EN: Final = "the centre answered a code that this software does not know"


class ClientError(Exception):
    """An operating fault between counter and centre."""


class NotSentError(ClientError):
    """The centre was not reached; this request was not sent."""


class NoAnswerError(ClientError):
    """The request was sent and no answer came: the centre may have acted on it or not.

    Attributes:
        msgid: The request's.
        exchange: Where its reply is found, should it still come; None where it cannot.
    """

    def __init__(self, msgid: str, reason: str, exchange: Exchange | None) -> None:
        super().__init__(f"{msgid}: {reason}")
        self.msgid: Final = msgid
        self.exchange: Final = exchange


@dataclass(frozen=True, slots=True)
class Answer:
    """The centre's answer to a request.

    Attributes:
        type: The request's.
        msgid: The request's.
        reply: The reply as it came.
        body: Its decoded body; None where the code's replies carry none.
        took_ms: From the first sending to this reply, pauses and repetitions included.
        wire_ms: From the last sending to this reply.
        sends: How often it was sent.
    """

    type: MessageType
    msgid: str
    reply: Reply = field(repr=False)
    body: Struct | None = field(repr=False)
    took_ms: float
    wire_ms: float
    sends: int

    @property
    def code(self) -> int:
        """The reply's code; a `ResponseCode` unless the centre is newer than this software."""
        return self.reply.code

    @property
    def is_approved(self) -> bool:
        """Whether the centre did what was asked."""
        return self.reply.code == ResponseCode.APPROVED

    @property
    def is_duplicate(self) -> bool:
        """Whether the body is an earlier attempt's, repeated."""
        return self.reply.duplicate

    @property
    def stages_us(self) -> dict[str, int]:
        """Where the time went at the centre, in microseconds by stage."""
        return {stage.stage: stage.microseconds for stage in self.reply.stages}


def advice_of(code: int) -> Retry:
    """Give the code's retry advice; of an unknown code nothing is assumed."""
    known = _CODES.get(code)
    return Retry.ASK_STATUS if known is None else known.retry


def is_stored(code: int) -> bool:
    """Whether this outcome ends its attempt for ever."""
    known = _CODES.get(code)
    return known is not None and known.is_stored


def words_of(code: int) -> tuple[str, str]:
    """Give the code's words for the cashier, Chinese and English."""
    known = _CODES.get(code)
    if known is None:
        return f"{_UNKNOWN_ZH} {code}", f"{_UNKNOWN_EN}: {code}"
    return known.text_zh, known.text_en
