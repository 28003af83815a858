"""What is kept of comparisons: each that said something new, and every difference with its age.

Not here: what differs (`comparison.py`), and who may resolve it (`resolving_store.py`).
"""

# ruff: noqa: S608 - every name in a text is the schema's own, every value is a parameter

from collections.abc import Collection, Mapping, Sequence

from msgspec import msgpack

from cardserver.reconciliation import tables
from cardserver.reconciliation.comparison import Key, Unlike
from cardserver.reconciliation.day_store import Scope
from cardserver.reconciliation.values import KeptDifference, Origin, Resolution, Run, Source
from cardserver.registry import tables as registry
from ledger.bulk_store import Row, insert, plain, select, update
from ledger.database_store import Database
from ledger.scripts import Script
from protocol.terminal.messages import (
    DifferenceKind,
    ReconcileAdvice,
    ReconcileOutcome,
    RowDifference,
    TotalCompared,
)

_RUN = (
    "run_no", "institution_no", "business_date", "terminal_no", "recorded_time_ms", "source",
    "operator_no", "outcome", "is_provisional", "is_detailed", "compared",
)  # fmt: skip
_DIFFERENCE = (
    "difference_no", "institution_no", "business_date", "msgid", "terminal", "is_refund", "run_no",
    "kind", "advice", "clearing_type", "gap_fen", "content", "first_time_ms", "last_time_ms",
    "resolution", "resolved_time_ms", "operator_no", "reason",
)  # fmt: skip
DIFFERENCE_COLUMNS = ", ".join(f"d.{name}" for name in _DIFFERENCE)
_RUN_TEXT = f"SELECT {', '.join(_RUN)} FROM reconciliation"
_OF_SCOPE = " WHERE business_date = {} AND institution_no = {} AND terminal_no = {}"
_LAST_RUN = plain(
    "last comparison of a day",
    postgresql=f"{_RUN_TEXT}{_OF_SCOPE.format('$1', '$2', '$3')} ORDER BY run_no DESC LIMIT 1",
    sqlite=f"{_RUN_TEXT}{_OF_SCOPE.format('?1', '?2', '?3')} ORDER BY run_no DESC LIMIT 1",
)
_RUNS_OF_DAY = plain(
    "comparisons of a day",
    postgresql=f"{_RUN_TEXT} WHERE business_date = $1 ORDER BY run_no",
    sqlite=f"{_RUN_TEXT} WHERE business_date = ?1 ORDER BY run_no",
)
_FIND_RUN = select(tables.reconciliation, _RUN[1:], by=("run_no",))
# So that two comparisons of one institution are kept one after the other.
_LOCK = plain(
    "lock an institution's reconciliation",
    postgresql="SELECT pg_advisory_xact_lock(7203, $1::integer)",
    sqlite="SELECT ?1",
)
_ADD_RUN = insert(tables.reconciliation, _RUN[1:], ignore_existing=True)
_SET_DETAILED = update(tables.reconciliation, set=("is_detailed",), by=("run_no",))
_RANGE = (
    f"SELECT {DIFFERENCE_COLUMNS} FROM reconciliation_difference d"
    " WHERE d.institution_no = {} AND d.business_date = {} AND d.msgid {order} >= {}"
    " AND d.msgid {order} <= {} ORDER BY d.difference_no"
)
_OF_RANGE = plain(
    "differences of a day",
    postgresql=_RANGE.format("$1", "$2", "$3", "$4", order='COLLATE "C"'),
    sqlite=_RANGE.format("?1", "?2", "?3", "?4", order=""),
)
_FIRST_MSGID = ""
_LAST_MSGID = "~"  # after every letter and digit
_OPEN = (
    "SELECT count(*) FROM reconciliation_difference d WHERE d.resolution = 0"
    " AND d.institution_no = {} AND d.business_date = {day} AND ({terminal} = 0 OR d.terminal ="
    " (SELECT t.code FROM terminal t WHERE t.terminal_no = {terminal}))"
)
_COUNT_OPEN = plain(
    "count open differences",
    postgresql=_OPEN.format("$1", day="$2", terminal="$3::integer"),
    sqlite=_OPEN.format("?1", day="?2", terminal="?3"),
)
_ADD = insert(tables.difference, _DIFFERENCE[1:])
_SEEN = ("run_no", "kind", "advice", "clearing_type", "gap_fen", "content", "last_time_ms")
_SEE_AGAIN = update(tables.difference, set=_SEEN, by=("difference_no", "resolution"))
RESOLVE = update(
    tables.difference,
    set=("resolution", "resolved_time_ms", "operator_no", "reason"),
    by=("difference_no", "resolution"),
)
_TERMINAL_CODE = select(registry.terminal, ("code",), by=("terminal_no",))
_ENCODER = msgpack.Encoder()
_COMPARED = msgpack.Decoder(tuple[TotalCompared, ...])
_CONTENT = msgpack.Decoder(RowDifference)


async def record_run(
    database: Database,
    scope: Scope,
    origin: Origin,
    compared: Sequence[TotalCompared],
    *,
    outcome: ReconcileOutcome,
    is_provisional: bool,
) -> tuple[int, int]:
    """Keep a comparison of totals; the same as the last one of its day is that one.

    Returns:
        Its number, and how many differences of its scope are open.
    """
    content = _ENCODER.encode(compared)

    def script() -> Script[tuple[int, int]]:
        yield _LOCK([(scope.institution_no,)])
        last = yield _LAST_RUN([(scope.day, scope.institution_no, scope.terminal_no)])
        known = run_of(last[0]) if last else None
        if known and known.is_provisional == is_provisional and bytes(last[0][-1]) == content:
            run_no = known.run_no
        else:
            row = (
                scope.institution_no, scope.day, scope.terminal_no, origin.now_ms,
                int(origin.source), origin.operator_no, int(outcome), int(is_provisional), 0,
                content,
            )  # fmt: skip
            ((run_no,),) = yield _ADD_RUN([row])
        return run_no, (yield from _count_open(scope))

    return await database.transact(script)


async def find_run(database: Database, run_no: int) -> Run | None:
    """Find a comparison."""
    rows = await database.fetch(_FIND_RUN([(run_no,)]))
    return run_of(rows[0]) if rows else None


async def last_run(database: Database, scope: Scope) -> Run | None:
    """Find the comparison that counts for a day and scope."""
    key = (scope.day, scope.institution_no, scope.terminal_no)
    rows = await database.fetch(_LAST_RUN([key]))
    return run_of(rows[0]) if rows else None


async def runs_of_day(database: Database, day: int) -> list[Run]:
    """Return all comparisons of a day, in order."""
    return [run_of(row) for row in await database.fetch(_RUNS_OF_DAY([(day,)]))]


async def keep_differences(
    database: Database,
    run: Run,
    found: Sequence[tuple[Unlike, RowDifference]],
    *,
    now_ms: int,
    after: Key | None = None,
    until: Key | None = None,
) -> int:
    """Keep what differs within a range of rows: what is new, seen again, or not found any more.

    Args:
        database: Started.
        run: The comparison that found it; the last of its day and scope.
        found: All that differs in the range.
        now_ms: When.
        after: The range begins after this row; None: with the first.
        until: The range ends with this row; None: with the last, and the comparison is whole.

    Returns:
        How many differences of its scope are open.
    """
    scope = Scope(run.institution_no, run.terminal_no, run.business_date)

    def script() -> Script[int]:
        yield _LOCK([(scope.institution_no,)])
        kept = yield from _kept_of(scope, after, until)
        in_range = [
            one
            for one in kept
            if (after is None or _key(one) > after) and (until is None or _key(one) <= until)
        ]
        yield from _changes(run, in_range, found, now_ms=now_ms)
        if until is None:
            yield _SET_DETAILED([(1, run.run_no)])
        return (yield from _count_open(scope))

    return await database.transact(script)


async def count_open(database: Database, scope: Scope) -> int:
    """Count the differences of a day and scope that are open."""
    return await database.fetch_script(_count_open(scope))


def run_of(row: Row) -> Run:
    """Make a comparison of its columns."""
    values = dict(zip(_RUN, row, strict=True))
    return Run(
        **values
        | {
            "source": Source(values["source"]),
            "outcome": ReconcileOutcome(values["outcome"]),
            "is_provisional": bool(values["is_provisional"]),
            "is_detailed": bool(values["is_detailed"]),
            "compared": _COMPARED.decode(values["compared"]),
        }
    )


def difference_of(row: Row) -> KeptDifference:
    """Make a difference of its columns, in the order of `DIFFERENCE_COLUMNS`."""
    values = dict(zip(_DIFFERENCE, row, strict=True))
    return KeptDifference(
        **values
        | {
            "is_refund": bool(values["is_refund"]),
            "kind": DifferenceKind(values["kind"]),
            "advice": ReconcileAdvice(values["advice"]),
            "content": _CONTENT.decode(values["content"]),
            "resolution": Resolution(values["resolution"]),
        }
    )


def _kept_of(scope: Scope, after: Key | None, until: Key | None) -> Script[list[KeptDifference]]:
    first = _FIRST_MSGID if after is None else after[0]
    last = _LAST_MSGID if until is None else until[0]
    rows = yield _OF_RANGE([(scope.institution_no, scope.day, first, last)])
    found = [difference_of(row) for row in rows]
    if scope.is_one_terminals:
        ((_, code),) = yield _TERMINAL_CODE([(scope.terminal_no,)])
        found = [one for one in found if one.terminal == code]
    return found


def _count_open(scope: Scope) -> Script[int]:
    ((count,),) = yield _COUNT_OPEN([(scope.institution_no, scope.day, scope.terminal_no)])
    return int(count)


def _changes(
    run: Run,
    kept: Collection[KeptDifference],
    found: Sequence[tuple[Unlike, RowDifference]],
    *,
    now_ms: int,
) -> Script[None]:
    is_open = {_key(one): one for one in kept if one.resolution is Resolution.OPEN}
    decided: Mapping[Key, KeptDifference] = {
        _key(one): one for one in kept if one.resolution is Resolution.DECIDED
    }
    added: list[Row] = []
    seen: list[Row] = []
    for unlike, content in found:
        row = unlike.row
        key = (row.msgid, row.terminal, row.is_refund)
        facts = (
            run.run_no, int(unlike.kind), int(content.advice), row.clearing_type, unlike.gap_fen,
            _ENCODER.encode(content),
        )  # fmt: skip
        known = is_open.pop(key, None)
        if known is not None:
            seen.append((*facts, now_ms, known.difference_no, int(Resolution.OPEN)))
        elif key not in decided or decided[key].content != content:
            added.append((
                run.institution_no, run.business_date, row.msgid, row.terminal, int(row.is_refund),
                *facts, now_ms, now_ms, int(Resolution.OPEN), 0, 0, "",
            ))  # fmt: skip
    gone = [
        (int(Resolution.AGREED), now_ms, 0, "", one.difference_no, int(Resolution.OPEN))
        for one in is_open.values()
    ]
    for statement, rows in ((_ADD, added), (_SEE_AGAIN, seen), (RESOLVE, gone)):
        if rows:
            yield statement(rows)


def _key(one: KeptDifference) -> Key:
    return one.msgid, one.terminal, one.is_refund
