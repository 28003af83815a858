"""Accumulators rebuilt from claims: what was taken over plus what every claim moved, compared.

Read in one snapshot while the centre goes on, and summed up in a file of our own, so that millions
of claims take little memory (`verify_accumulators.py`); a repair takes one person at a time, with
their row locked as a settlement has it.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct
from sqlalchemy import Connection, bindparam, func, select

from cardserver.claims import tables
from cardserver.claims.accumulators_store import AMOUNTS, KEY
from cardserver.claims.audit_store import INSERT_AUDIT, audit_row
from cardserver.claims.claim_detail import decode_moves
from cardserver.claims.values import AccumulatorKey
from cardserver.claims.verify_accumulators import Uneven, Workbook
from cardserver.claims.verify_store import copy_accumulators
from cardserver.registry import tables as registry
from ledger import bulk_store
from ledger.database_store import Database
from ledger.scripts import Script
from ledger.verify_findings import BEFORE_ALL

_ROWS_MAX = 5_000  # claims that are in memory at once

Amounts = tuple[int, int, int, int, int]

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
    from_year, until_year = _years(year)

    def check(connection: Connection, workbook: Workbook) -> Checked:
        done = Checked()
        copy_accumulators(connection, workbook)
        # A claim moves accumulators of its day of care's year, or of an earlier one.
        rows = connection.execution_options(yield_per=_ROWS_MAX).execute(
            _CLAIMS, {"from_day": year * 10_000}
        )
        for some in rows.partitions():
            workbook.move(_moved(some))
            done.claims += len(some)
            on_progress(len(some))
        for one in workbook.differences(from_year=from_year, until_year=until_year):
            if one.stored != one.recomputed:
                done.differences += 1
                on_difference(_named(one))
        done.rows = workbook.count_kept(from_year=from_year, until_year=until_year)
        done.persons = workbook.count_persons(from_year=from_year, until_year=until_year)
        return done

    with tempfile.TemporaryDirectory(prefix="cardserver-accumulators-") as folder:
        workbook = Workbook(Path(folder) / "workbook.db")
        try:
            return await database.report(lambda connection: check(connection, workbook))
        finally:
            workbook.close()


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
    from_year, until_year = _years(year)

    def script() -> Script[list[Difference]]:
        yield _LOCK_PERSON([(person_no,)])
        claims = yield _FIND_CLAIMS([(person_no,)])
        openings = yield _FIND_OPENINGS([(person_no,)])
        stored = yield _FIND_STORED([(person_no,)])
        workbook = Workbook()
        workbook.move(openings)
        workbook.move(_moved(claims))
        workbook.keep(stored)
        differing = [
            _named(one)
            for one in workbook.differences(from_year=from_year, until_year=until_year)
            if one.stored != one.recomputed
        ]
        workbook.close()
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


_CLAIM = tables.claim.c
_CLAIMS = select(_CLAIM.person_no, _CLAIM.insutype, _CLAIM.detail).where(
    _CLAIM.care_date >= bindparam("from_day")
)


def _years(year: int) -> tuple[int, int]:
    """Return the first and the last year that are wanted; 0 wants all."""
    return (year, year) if year else (BEFORE_ALL, 2**31)


def _moved(claims: Iterable[bulk_store.Row]) -> Iterator[bulk_store.Row]:
    """Return what claims moved: key and amounts."""
    for person_no, insutype, detail in claims:
        moves = decode_moves(detail)
        for scheme, amounts in moves.rows:
            yield (person_no, moves.year, insutype, scheme, *amounts)


def _named(one: Uneven) -> Difference:
    stored, rebuilt = one.stored, one.recomputed
    return Difference(
        AccumulatorKey(*one.key),
        (stored[0], stored[1], stored[2], stored[3], stored[4]),
        (rebuilt[0], rebuilt[1], rebuilt[2], rebuilt[3], rebuilt[4]),
    )
