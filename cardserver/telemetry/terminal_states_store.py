"""Terminals' last states in the database: kept by the worker that hears them, read by all.

Not here: what is a state at all (`terminal_states.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cardserver.telemetry import tables
from cardserver.telemetry.terminal_states import PRESENCE_CODES, HeardState
from ledger.bulk_store import Row, plain, put
from ledger.database_store import Database, in_batches
from protocol.telemetry.messages import (
    Presence,
    TelemetryError,
    TerminalState,
    decode_state,
    encode,
)
from protocol.telemetry.topics import TerminalName

SLOW_MS = 2_000
"""Where nineteen of twenty answers take longer, a terminal counts as slow unless told otherwise."""
SILENT_AFTER_INTERVALS = 3
"""A terminal that was not heard for so many of its own intervals has gone without the broker's
noticing, or the broker itself was away."""
ROWS_MAX = 200  # a transaction of a few milliseconds on SQLite
_PAGE_ROWS = 2_000

_VALUES = (
    "presence", "session", "sequence", "changed_time_ms", "heard_time_ms", "interval_ms",
    "clock_skew_ms", "felt_p95_ms", "outbox_count", "state",
)  # fmt: skip
_PUT = put(tables.terminal_state, set=_VALUES, by=("institution", "terminal"))
_PAGE = (
    "SELECT s.institution, s.terminal, coalesce(i.name, ''), coalesce(i.kind, 0),"
    " coalesce(t.state, 0), s.changed_time_ms, s.heard_time_ms, s.clock_skew_ms, s.state"
    " FROM terminal_state s"
    " LEFT JOIN institution i ON i.code = s.institution"
    " LEFT JOIN terminal t ON t.institution_no = i.institution_no AND t.code = s.terminal"
    " WHERE (s.institution, s.terminal) > ({institution}, {terminal})"
    " ORDER BY s.institution, s.terminal LIMIT {rows}"
)
_FIND_PAGE = plain(
    "terminals' states",
    postgresql=_PAGE.format(institution="$1::text", terminal="$2::text", rows="$3::integer"),
    sqlite=_PAGE.format(institution="?1", terminal="?2", rows="?3"),
)
_COUNT_TEXT = (
    "SELECT presence, count(*), coalesce(max(felt_p95_ms), 0), coalesce(sum(outbox_count), 0)"
    " FROM terminal_state GROUP BY presence"
)
_COUNTS = plain("terminals by presence", postgresql=_COUNT_TEXT, sqlite=_COUNT_TEXT)


@dataclass(frozen=True, slots=True)
class TerminalView:
    """A terminal's state as people and metrics want it.

    Attributes:
        name: Which terminal.
        institution_name: As registered; empty for an institution that the registry lacks.
        institution_kind: 1 hospital, 2 community centre, 3 pharmacy; 0 unknown.
        is_enrolled: Whether the registry lets it connect now.
        changed_time_ms: Since when its presence is what it is, by the centre's clock.
        heard_time_ms: When it was last heard, by the centre's clock.
        clock_skew_ms: By how much its clock was ahead of the centre's then.
        state: What it said.
    """

    name: TerminalName
    institution_name: str
    institution_kind: int
    is_enrolled: bool
    changed_time_ms: int
    heard_time_ms: int
    clock_skew_ms: int
    state: TerminalState

    def is_silent(self, now_ms: int) -> bool:
        """Tell whether it should have been heard again by now."""
        late_ms = SILENT_AFTER_INTERVALS * self.state.interval_ms
        is_on = self.state.presence is Presence.SIGNED_ON
        return is_on and now_ms - self.heard_time_ms > late_ms

    def is_offline(self, now_ms: int) -> bool:
        """Tell whether it went without a word: the broker lost it, or it is silent."""
        return self.state.presence is Presence.LOST or self.is_silent(now_ms)

    def is_slow(self, slow_ms: int = SLOW_MS) -> bool:
        """Tell whether its cashier waits too long, or in vain."""
        felt = self.state.felt
        is_at_work = self.state.presence is Presence.SIGNED_ON
        return is_at_work and (felt.p95_ms >= slow_ms or felt.unanswered > 0)


@dataclass(frozen=True, slots=True)
class PresenceCount:
    """How many terminals have a presence, and the worst of them."""

    presence: Presence
    count: int
    felt_p95_ms_max: int
    outbox_count: int


async def keep_states(database: Database, heard: Sequence[tuple[TerminalName, HeardState]]) -> None:
    """Keep the last states of these terminals; at most `ROWS_MAX`, each once.

    Raises:
        StoreError: As the family says.
    """
    assert len(heard) <= ROWS_MAX
    rows = sorted(_row(name, one) for name, one in heard)
    for batch in in_batches(rows, ROWS_MAX):
        await database.execute(_PUT(batch))


async def terminal_states(database: Database) -> list[TerminalView]:
    """Give the last state of every terminal that ever said one, by institution and code.

    Raises:
        StoreError: As the family says.
    """
    views: list[TerminalView] = []
    after = TerminalName("", "")
    while True:
        rows = await database.fetch(_FIND_PAGE([(*after, _PAGE_ROWS)]))
        views += [view for row in rows if (view := _view(row)) is not None]
        if len(rows) < _PAGE_ROWS:
            return views
        after = TerminalName(rows[-1][0], rows[-1][1])


async def presence_counts(database: Database) -> list[PresenceCount]:
    """Count the terminals by presence, for metrics: one short statement.

    Raises:
        StoreError: As the family says.
    """
    by_code = {code.value: presence for presence, code in PRESENCE_CODES.items()}
    return [
        PresenceCount(by_code[code], count, felt_ms, outbox_count)
        for code, count, felt_ms, outbox_count in await database.fetch(_COUNTS())
    ]


def heard_states(views: Sequence[TerminalView]) -> list[tuple[TerminalName, HeardState]]:
    """Give them as the worker that listens holds them."""
    return [
        (
            view.name,
            HeardState(
                view.state, view.changed_time_ms, view.heard_time_ms, view.clock_skew_ms
            ),
        )
        for view in views
    ]  # fmt: skip


def _row(name: TerminalName, heard: HeardState) -> Row:
    state = heard.state
    return (
        *name,
        PRESENCE_CODES[state.presence].value,
        state.session,
        state.sequence,
        heard.changed_time_ms,
        heard.heard_time_ms,
        state.interval_ms,
        heard.clock_skew_ms,
        state.felt.p95_ms,
        state.outbox.open_count,
        encode(state).decode(),
    )


def _view(row: Row) -> TerminalView | None:
    institution, terminal, name, kind, enrolled, changed_ms, heard_ms, skew_ms, text = row
    try:
        state = decode_state(text.encode())
    except TelemetryError:  # of a version with other bounds: it will be said again
        return None
    return TerminalView(
        TerminalName(institution, terminal),
        name,
        kind,
        enrolled == 1,
        changed_ms,
        heard_ms,
        skew_ms,
        state,
    )
