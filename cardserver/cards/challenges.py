"""Challenges handed to a terminal in advance: each good for one card, and not for long.

One instance belongs to one connection and dies with it.
"""

from collections import OrderedDict
from collections.abc import Callable

CHALLENGE_SIZE = 32


class Challenges:
    """The challenges that one terminal holds.

    Args:
        random_bytes: Where they come from.
        now_ms: A clock that never goes back, in milliseconds.
        alive_max: How many may be out at once; issuing more drops the oldest.
        life_ms: How long one may be used after it was issued.
    """

    def __init__(
        self,
        random_bytes: Callable[[int], bytes],
        now_ms: Callable[[], int],
        alive_max: int = 4,
        life_ms: int = 120_000,
    ) -> None:
        assert alive_max > 0
        assert life_ms > 0
        self._random_bytes = random_bytes
        self._now_ms = now_ms
        self._alive_max = alive_max
        self.life_ms = life_ms
        self._alive: OrderedDict[int, tuple[int, bytes]] = OrderedDict()
        self._number = 0

    def issue(self) -> tuple[int, bytes]:
        """Make a new one: its number, never used before on this connection, and its value."""
        self._drop_aged()
        if len(self._alive) == self._alive_max:
            self._alive.popitem(last=False)
        self._number += 1
        value = self._random_bytes(CHALLENGE_SIZE)
        assert len(value) == CHALLENGE_SIZE
        self._alive[self._number] = (self._now_ms(), value)
        return self._number, value

    def take(self, number: int) -> bytes | None:
        """Use one up; None where it is unknown, used before or too old."""
        self._drop_aged()
        entry = self._alive.pop(number, None)
        return None if entry is None else entry[1]

    @property
    def missing_count(self) -> int:
        """How many may be issued before the oldest is dropped."""
        self._drop_aged()
        return self._alive_max - len(self._alive)

    def _drop_aged(self) -> None:
        dead_before_ms = self._now_ms() - self.life_ms
        while self._alive:
            number, (issued_ms, _) = next(iter(self._alive.items()))
            if issued_ms > dead_before_ms:
                return
            del self._alive[number]
