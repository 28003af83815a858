"""The room's one family of exceptions: who broke the specification, and how.

Not here: refusals of the centre, which are values with a `ResponseCode` and travel in a `Reply`.
"""

from typing import Final

from protocol.terminal.codes import ResponseCode

DETAIL_SIZE_MAX: Final = 200
"""Characters of a detail; the limit of `Text`, so that every detail fits a `Goodbye`."""


class ProtocolError(Exception):
    """The specification in `protocol/README.md` was broken."""


class LocalProtocolError(ProtocolError):
    """We nearly broke it: nothing was sent and no state changed. A programmer's error."""


class RemoteProtocolError(ProtocolError):
    """The peer broke it.

    Attributes:
        code: A `ResponseCode` of stage 1.
        detail: What was wrong, for the one who can mend it; holds no value that was received.
    """

    def __init__(self, code: ResponseCode, detail: str) -> None:
        self.code: Final = code
        self.detail: Final = detail[:DETAIL_SIZE_MAX]
        super().__init__(f"{code.name}: {self.detail}")
