"""Why something may not be recorded of a visit."""

from typing import NamedTuple

from protocol.terminal.codes import ResponseCode


class Refusal(NamedTuple):
    """A refusal, and what the cashier should know beyond its code."""

    code: ResponseCode
    detail_zh: str = ""
    detail_en: str = ""
