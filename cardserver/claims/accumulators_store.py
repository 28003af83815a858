"""Accumulators as rows: opening amounts taken over, and what a person has used in a year.

An accumulator is always its opening amounts plus what every claim moved. Not here: what a commit
group reads and writes of them (`claims_store.py`).
"""

from collections.abc import Iterable

from cardserver.claims import tables
from ledger.bulk_store import Row, add, insert, select
from ledger.scripts import Script

KEY = ("person_no", "year", "insutype", "scheme")
AMOUNTS = ("deductible_fen", "in_scope_fen", "pool_fen", "large_amount_fen", "admissions")

_INSERT_OPENINGS = insert(tables.opening_accumulator, (*KEY, *AMOUNTS), ignore_existing=True)
_FIND_OPENINGS = select(tables.opening_accumulator, AMOUNTS, KEY)
_ADD = add(tables.accumulator, sums=AMOUNTS, by=KEY)


def open_accumulators(rows: Iterable[Row]) -> Script[tuple[int, list[Row]]]:
    """Take over what persons had used before this centre; run it with their rows locked.

    A key that is open already is left alone, so that taking over again doubles nothing.

    Args:
        rows: Person, year, insurance, scheme, then the five amounts; keys are distinct.

    Returns:
        How many were opened, and those rows that are open already with other amounts.
    """
    wanted = {row[: len(KEY)]: row for row in rows}
    added = yield _INSERT_OPENINGS([wanted[key] for key in sorted(wanted)])
    new = {tuple(key) for key in added}
    if new:
        yield _ADD([wanted[key] for key in sorted(new)])
    old = [key for key in wanted if key not in new]
    found = yield _FIND_OPENINGS(old)
    differing = [wanted[row[: len(KEY)]] for row in found if wanted[row[: len(KEY)]] != row]
    return len(new), differing
