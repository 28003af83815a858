"""Accumulators and stays of one person, as one set of rules makes them in a replay.

Not here: what the rules decide (`replay.py`).
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from cardserver.benefits.values import NOTHING_USED, Accumulated, Moved, Stay, added, given_back
from cardserver.claims.replay_detail import ReplayDetail

YearKey = tuple[int, str]  # of which year, in which insurance
Used = dict[str, Accumulated]  # by row


class StoredClaim(Struct, frozen=True):
    """A claim as the database has it."""

    entry_no: int
    institution_no: int
    business_date: int
    undoes: int | None
    insutype: str
    policy: str
    detail: bytes


class Event(Struct, frozen=True):
    """A claim with its detail read.

    Attributes:
        stay_no: Of which stay it is, those that it continues included; 0 of none.
    """

    claim: StoredClaim
    detail: ReplayDetail
    stay_no: int

    @property
    def year_key(self) -> YearKey:
        """Which accumulators it moved."""
        return self.detail.year, self.claim.insutype


class _Settled(Struct, frozen=True):
    """What a settlement moved under a track's rules, and what it moved as stored."""

    moved: tuple[Moved, ...]
    stored: tuple[Moved, ...]
    year: int
    stay_no: int
    stay: Stay | None


class Track:
    """What one set of rules has moved so far, of one person."""

    def __init__(self, start: Mapping[YearKey, Used]) -> None:
        self._used = {key: dict(rows) for key, rows in start.items()}
        self._settled: dict[int, _Settled] = {}
        self._stays: dict[int, dict[tuple[int, str], Accumulated]] = {}  # by year and row

    def used(self, key: YearKey) -> Used:
        """Return what was used in a year, by row."""
        return self._used.setdefault(key, {})

    def stay_of(self, event: Event, stay: Stay | None) -> Stay | None:
        """Return a stay that goes on, as these rules have made it."""
        if stay is None:
            return None
        if event.detail.replaces:  # what remains after a refund goes on where the original did
            replaced = self._settled.get(event.detail.replaces)
            return stay if replaced is None or replaced.stay is None else replaced.stay
        apart = self._stays.get(event.stay_no)
        if apart is None:
            return stay
        own, earlier = stay.moved, stay.earlier_years
        layers = {one.scheme: one.amounts for one in stay.layers}
        for (year, row), amounts in apart.items():
            if row:
                layers[row] = added(layers.get(row, NOTHING_USED), amounts)
                continue
            own = added(own, amounts)
            if year != event.detail.year:
                earlier = added(earlier, amounts)
        return Stay(stay.admission, own, tuple(Moved(*item) for item in layers.items()), earlier)

    def settle(self, event: Event, moved: tuple[Moved, ...], stay: Stay | None = None) -> None:
        """Take up what a settlement moved under these rules."""
        detail = event.detail
        done = _Settled(moved, detail.moved, detail.year, event.stay_no, stay)
        self._settled[event.claim.entry_no] = done
        self._add(event.year_key, moved)
        self._part(done, moved, detail.moved)

    def undo(self, event: Event) -> None:
        """Give back what the settlement moved that is undone here."""
        original = self._settled.get(event.claim.undoes or 0)
        if original is None:  # settled before the first replayed month
            self._add(event.year_key, event.detail.moved)
            return
        self._add(event.year_key, given_back(original.moved))
        self._part(original, original.stored, original.moved)

    def _add(self, key: YearKey, moved: Iterable[Moved]) -> None:
        used = self.used(key)
        for one in moved:
            used[one.scheme] = added(used.get(one.scheme, NOTHING_USED), one.amounts)

    def _part(self, settled: _Settled, more: tuple[Moved, ...], less: tuple[Moved, ...]) -> None:
        """Note how far a stay is from what was kept of it: that holds what was moved then."""
        if not settled.stay_no or more == less:
            return
        apart = self._stays.setdefault(settled.stay_no, {})
        for side in (more, given_back(less)):
            for index, one in enumerate(side):
                key = settled.year, one.scheme if index else ""
                apart[key] = added(apart.get(key, NOTHING_USED), one.amounts)
