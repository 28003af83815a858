"""Accumulators rebuilt from claims: what was taken over plus what every claim moved, compared.

Read by ranges of persons, so that millions of claims take little memory, in one snapshot while the
centre goes on; a repair takes one person at a time, with their row locked as a settlement has it.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from msgspec import Struct
from sqlalchemy import Connection, Select, Table, bindparam, func, select

from cardserver.claims import tables
from cardserver.claims.accumulators_store import AMOUNTS, KEY
from cardserver.claims.audit_store import INSERT_AUDIT, audit_row
from cardserver.claims.claim_detail import decode_moves
from cardserver.claims.values import AccumulatorKey
from cardserver.registry import tables as registry
from ledger import bulk_store
from ledger.database_store import Database
from ledger.scripts import Script

RANGE_ROWS = 20_000  # claims or rows of one range of persons: about 20 MB

Amounts = tuple[int, int, int, int, int]
Rows = dict[AccumulatorKey, Amounts]
_NOTHING: Amounts = (0, 0, 0, 0, 0)

_LOCK_PERSON = bulk_store.select(registry.person, (), by=("person_no",), lock=True)
_FIND_CLAIMS = bulk_store.select(tables.claim, ("insutype", "detail"), by=("person_no",))
_FIND_STORED = bulk_store.select(tables.accumulator, (*KEY[1:], *AMOUNTS), by=("person_no",))
_FIND_OPENINGS = bulk_store.select(
    tables.opening_accumulator, (*KEY[1:], *AMOUNTS), by=("person_no",)
)
_PUT = bulk_store.put(tables.accumulator, set=AMOUNTS, by=KEY)


class Difference(NamedTuple):
    """A row of accumulators that is not what the claims come to."""

    key: AccumulatorKey
    stored: Amounts
    rebuilt: Amounts


class Checked(Struct):
    """What was looked at so far."""

    claims: int = 0
    rows: int = 0
    persons: int = 0
    differences: int = 0


async def check_accumulators(
    database: Database,
    *,
    year: int = 0,
    on_difference: Callable[[Difference], None],
    on_progress: Callable[[int], None] = lambda _: None,
) -> Checked:
    """Compare every row with what the claims come to, in one snapshot.

    Args:
        database: Started.
        year: Of which year; 0 of all.
        on_difference: Told of each.
        on_progress: Told how many claims were read more.
    """

    def check(connection: Connection) -> Checked:
        done = Checked()
        for stored, rebuilt, claim_count in _ranges(connection, year):
            keys = stored.keys() | rebuilt.keys()
            for key in sorted(keys):
                is_, should = stored.get(key, _NOTHING), rebuilt.get(key, _NOTHING)
                if is_ != should:
                    done.differences += 1
                    on_difference(Difference(key, is_, should))
            done.claims += claim_count
            done.rows += len(stored)
            done.persons += len({key.person_no for key in keys})
            on_progress(claim_count)
        return done

    return await database.report(check)


async def count_claims(database: Database) -> int:
    """Tell how many claims there are, for a progress bar."""

    def count(connection: Connection) -> int:
        return connection.execute(select(func.count()).select_from(tables.claim)).scalar_one()

    return await database.report(count)


async def repair_person(
    database: Database, person_no: int, *, year: int, who: str, now_ms: int
) -> list[Difference]:
    """Write what the claims of one person come to, and an audit row for each row changed.

    Looked at anew with the person's row locked: what was settled since the check counts.
    """

    def script() -> Script[list[Difference]]:
        yield _LOCK_PERSON([(person_no,)])
        moved = yield _FIND_CLAIMS([(person_no,)])
        openings = yield _FIND_OPENINGS([(person_no,)])
        found = yield _FIND_STORED([(person_no,)])
        stored, rebuilt = _rows(found, year), _rows(openings, year)
        for _, insutype, detail in moved:
            _add(rebuilt, person_no, insutype, detail, year)
        differing = [
            Difference(key, stored.get(key, _NOTHING), rebuilt.get(key, _NOTHING))
            for key in sorted(stored.keys() | rebuilt.keys())
            if stored.get(key, _NOTHING) != rebuilt.get(key, _NOTHING)
        ]
        if differing:
            yield _PUT([(*one.key, *one.rebuilt) for one in differing])
            yield INSERT_AUDIT([_audited(one, who, now_ms) for one in differing])
        return differing

    return await database.transact(script)


def _audited(difference: Difference, who: str, now_ms: int) -> bulk_store.Row:
    key = difference.key
    return audit_row(
        time_ms=now_ms,
        institution_no=0,
        terminal_no=0,
        operator_no=0,
        action="repair_accumulator",
        subject=f"{key.person_no} {key.year} {key.insutype} {key.scheme}",
        detail=f"{words(difference.stored)} -> {words(difference.rebuilt)} by {who}",
    )


def words(amounts: Amounts) -> str:
    """Write amounts in the order of the columns."""
    return "/".join(map(str, amounts))


# --- by ranges of persons ---------------------------------------------------------------------

_CLAIM = tables.claim.c
_IN_RANGE = (_CLAIM.person_no >= bindparam("first"), _CLAIM.person_no < bindparam("end"))
_CLAIMS = select(_CLAIM.person_no, _CLAIM.insutype, _CLAIM.detail).where(
    *_IN_RANGE, _CLAIM.care_date >= bindparam("from_day")
)


def _ranges(connection: Connection, year: int) -> Iterator[tuple[Rows, Rows, int]]:
    """Go through the persons in order: rows stored, rows rebuilt, and of how many claims."""
    first = 0
    while True:
        end = _end(connection, first)
        bounds = {"first": first, "end": end or 2**62}
        stored = _rows(connection.execute(_STORED, bounds), year)
        rebuilt = _rows(connection.execute(_OPENINGS, bounds), year)
        count = 0
        # A claim moves accumulators of its day of care's year, or of an earlier one.
        for person_no, insutype, detail in connection.execute(
            _CLAIMS, {**bounds, "from_day": year * 10_000}
        ):
            count += 1
            _add(rebuilt, person_no, insutype, detail, year)
        yield stored, rebuilt, count
        if end is None:
            return
        first = end


def _end(connection: Connection, first: int) -> int | None:
    """Find the person before whom a range ends that holds not too many rows of any table."""
    cuts: list[int] = []
    for edge in _EDGES:
        cut: int | None = connection.execute(edge, {"first": first}).scalar_one_or_none()
        if cut is not None:
            cuts.append(max(cut, first + 1))  # one person's rows are never parted
    return min(cuts, default=None)


def _edge(table: Table) -> Select[int]:
    return (
        select(table.c.person_no)
        .where(table.c.person_no >= bindparam("first"))
        .order_by(table.c.person_no)
        .offset(RANGE_ROWS)
        .limit(1)
    )


def _rows_of(table: Table) -> Select[bulk_store.Row]:
    return select(*(table.c[column] for column in (*KEY, *AMOUNTS))).where(
        table.c.person_no >= bindparam("first"), table.c.person_no < bindparam("end")
    )


_EDGES = [_edge(table) for table in (tables.claim, tables.accumulator, tables.opening_accumulator)]
_STORED = _rows_of(tables.accumulator)
_OPENINGS = _rows_of(tables.opening_accumulator)


def _rows(found: Iterable[bulk_store.Row], year: int) -> Rows:
    return {
        AccumulatorKey(*row[:4]): (row[4], row[5], row[6], row[7], row[8])
        for row in found
        if not year or row[1] == year
    }


def _add(rebuilt: Rows, person_no: int, insutype: str, detail: bytes, year: int) -> None:
    moves = decode_moves(detail)
    if year and moves.year != year:
        return
    for scheme, (deductible, in_scope, pool, large_amount, admissions) in moves.rows:
        key = AccumulatorKey(person_no, moves.year, insutype, scheme)
        before = rebuilt.get(key, _NOTHING)
        rebuilt[key] = (
            before[0] + deductible, before[1] + in_scope, before[2] + pool,
            before[3] + large_amount, before[4] + admissions,
        )  # fmt: skip
