"""The last requests that one worker answered, for those who look into what goes on now.

Metrics count without knowing whom; here each request still has its institution, terminal, msgid
and stages, so that a console can say where and for whom something is slow. It is kept in memory,
a bounded number of rows, and lost with the worker. Not here: the page that serves it (`pages.py`).
"""

import secrets
from collections import deque
from collections.abc import Mapping
from itertools import islice

from msgspec import Struct, msgpack

RECENT_MAX = 8_192
PAGE_MAX = 2_048


class AnsweredRequest(Struct, frozen=True, array_like=True):
    """One request, as it was answered.

    Attributes:
        time_ms: When it was answered, by the centre's clock.
        type: A `MessageType`'s number; others are unknown ones.
        institution: Its code, as `terminal` is.
        card: Profile of the card that was open at the terminal; empty for none.
        total_us: From its last byte to its reply handed to the transport.
        felt_ms: What the cashier waited for the answer before this one; 0 unknown.
        stages: Names and microseconds.
        detail: What the terminal was told beyond the code, in English.
    """

    time_ms: int
    type: int
    code: int
    is_duplicate: bool
    institution: str
    terminal: str
    msgid: str
    card: str
    total_us: int
    felt_ms: int
    stages: tuple[tuple[str, int], ...]
    detail: str = ""


class RecentPage(Struct, frozen=True, array_like=True):
    """Some requests in their order.

    Attributes:
        life: Tells this worker's life from others: where it changes, numbering begins anew.
        next: The number to ask from next.
        lost: How many were asked for that are no longer kept.
        rows: At most `PAGE_MAX`.
    """

    life: str
    next: int
    lost: int
    rows: tuple[AnsweredRequest, ...]


class Recent:
    """A ring of answered requests."""

    def __init__(self) -> None:
        """Begin a life without any."""
        self._life = secrets.token_hex(8)
        self._rows: deque[tuple[object, ...]] = deque(maxlen=RECENT_MAX)
        self._count = 0

    def note(  # noqa: PLR0913 - one parameter a column
        self,
        *,
        time_ms: int,
        message_type: int,
        code: int,
        is_duplicate: bool,
        institution: str,
        terminal: str,
        msgid: str,
        card: str,
        total_us: int,
        felt_ms: int,
        nanoseconds: Mapping[str, int],
        detail: str,
    ) -> None:
        """Keep one; costs a tuple, since most are never asked for."""
        self._count += 1
        self._rows.append(
            (
                time_ms, message_type, code, is_duplicate, institution, terminal, msgid, card,
                total_us, felt_ms, nanoseconds, detail,
            )
        )  # fmt: skip

    def page(self, start: int, life: str = "") -> bytes:
        """Encode a `RecentPage` (MessagePack) of requests from number `start` on.

        Args:
            start: The first wanted, counted from 0.
            life: Which life the caller counts in; in another one they get all that is kept.
        """
        oldest = self._count - len(self._rows)
        if life != self._life or start > self._count:
            start = oldest
        first = max(start, oldest)
        end = min(self._count, first + PAGE_MAX)
        rows = islice(self._rows, first - oldest, end - oldest)
        return msgpack.encode(
            (
                self._life,
                end,
                first - start,
                [
                    (*row[:10], [(name, ns // 1000) for name, ns in _items(row[10])], row[11])
                    for row in rows
                ],
            )
        )


def _items(nanoseconds: object) -> list[tuple[str, int]]:
    assert isinstance(nanoseconds, Mapping)
    return list(nanoseconds.items())


def decode_page(data: bytes) -> RecentPage:
    """Decode what `Recent.page` made.

    Raises:
        msgspec.DecodeError: It is something else.
    """
    return msgpack.decode(data, type=RecentPage)
