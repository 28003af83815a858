"""What a signed-on terminal holds to open a card in one round trip: challenges and batches."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from protocol.terminal.messages import Challenge, OpeningBatch

CHALLENGES_MAX: Final = 4
"""As many as the centre keeps alive for one connection (DESIGN, Cards)."""
LIFE_MARGIN_MS: Final = 3_000
"""A challenge with less life left is not begun with: card and wire need their time too."""


class ChallengeWallet:
    """The challenges held for one connection; each is used once, and dies with the connection."""

    def __init__(self, time_ms: Callable[[], float]) -> None:
        self._time_ms = time_ms
        self._held: list[tuple[float, Challenge]] = []

    def add(self, challenges: Iterable[Challenge]) -> None:
        """Hold more; their life counts from now. Of too many the ones that die first go."""
        now_ms = self._time_ms()
        self._held.extend((now_ms + challenge.life_ms, challenge) for challenge in challenges)
        self._held.sort(key=_death_ms)
        del self._held[:-CHALLENGES_MAX]

    def take(self) -> Challenge | None:
        """Give the one that dies first among those that live long enough; None without any."""
        usable_ms = self._time_ms() + LIFE_MARGIN_MS
        self._held = [held for held in self._held if held[0] >= usable_ms]
        return self._held.pop(0)[1] if self._held else None

    def clear(self) -> None:
        """Forget all: their connection has ended."""
        self._held.clear()

    def __len__(self) -> int:
        return len(self._held)


def opening_of(openings: Sequence[OpeningBatch], atr: bytes) -> OpeningBatch | None:
    """Find the first batch whose ATR has this length and, under the mask, these bits."""
    for opening in openings:
        if len(opening.atr) == len(atr) == len(opening.atr_mask) and all(
            have & mask == want & mask
            for have, want, mask in zip(atr, opening.atr, opening.atr_mask, strict=True)
        ):
            return opening
    return None


def _death_ms(held: tuple[float, Challenge]) -> float:
    return held[0]
