"""The `msgid` that names an attempt: institution 12, yyyyMMddHHmmss, sequence 4.

The terminal writes it to its disk before it sends it, and sends the same one on every repetition.
"""

import datetime as dt
import re
from typing import Final

from msgspec import Struct

from protocol.terminal.codes import ResponseCode
from protocol.terminal.errors import LocalProtocolError, RemoteProtocolError

INSTITUTION_SIZE: Final = 12
SEQUENCE_MAX: Final = 9999

_MSGID: Final = re.compile(r"([0-9A-Z]{12})([0-9]{14})([0-9]{4})", re.ASCII)
_INSTITUTION: Final = re.compile(r"[0-9A-Z]{12}", re.ASCII)


class MsgidParts(Struct, frozen=True):
    """What a `msgid` says.

    Attributes:
        institution: The institution's code; must be the one of the terminal's certificate.
        time: yyyyMMddHHmmss of the terminal's clock. The centre never decides by it.
        sequence: 0 to 9999, so that one second may name 10,000 attempts.
    """

    institution: str
    time: str
    sequence: int


def parse(msgid: str) -> MsgidParts:
    """Take a `msgid` apart.

    Raises:
        RemoteProtocolError: INVALID_MSGID, where the form is wrong or there is no such time.
    """
    match = _MSGID.fullmatch(msgid)
    if match is None:
        raise RemoteProtocolError(
            ResponseCode.INVALID_MSGID,
            "a msgid is 12 letters or digits of the institution, yyyyMMddHHmmss and 4 digits",
        )
    institution, time, sequence = match.groups()
    if not _is_time(time):
        raise RemoteProtocolError(ResponseCode.INVALID_MSGID, "the msgid's time does not exist")
    return MsgidParts(institution=institution, time=time, sequence=int(sequence))


def is_well_formed(msgid: str) -> bool:
    """Tell whether a text has a msgid's form, whatever time it names."""
    return _MSGID.fullmatch(msgid) is not None


def make(*, institution: str, time: dt.datetime, sequence: int) -> str:
    """Make a `msgid`.

    Args:
        institution: The institution's code, 12 digits or capital letters.
        time: The terminal's clock, in the fund's local time.
        sequence: 0 to 9999; with the time it is never used twice by one terminal.

    Raises:
        LocalProtocolError: A part does not fit its place.
    """
    if _INSTITUTION.fullmatch(institution) is None:
        raise LocalProtocolError("an institution's code is 12 digits or capital letters")
    if not 0 <= sequence <= SEQUENCE_MAX:
        raise LocalProtocolError(f"a msgid's sequence is 0 to {SEQUENCE_MAX}")
    stamp = (
        f"{time.year:04d}{time.month:02d}{time.day:02d}"
        f"{time.hour:02d}{time.minute:02d}{time.second:02d}"
    )
    return f"{institution}{stamp}{sequence:04d}"


def month(msgid: str) -> int:
    """Give the month of a well-formed `msgid` as YYYYMM: the partition that holds its request."""
    return int(msgid[INSTITUTION_SIZE : INSTITUTION_SIZE + 6])


def _is_time(text: str) -> bool:
    year, month_, day, hour, minute, second = (
        int(text[start:end]) for start, end in ((0, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14))
    )
    try:
        dt.datetime(year, month_, day, hour, minute, second, tzinfo=dt.UTC)
    except ValueError:
        return False
    return True
