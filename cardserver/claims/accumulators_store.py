"""Accumulators as rows: opening amounts taken over, and what a person has used in a year.

An accumulator is always its opening amounts plus what every claim moved. Not here: what a commit
group reads and writes of them (`claims_store.py`).
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from cardserver.claims import tables
from cardserver.claims.audit_store import INSERT_AUDIT, audit_row
from cardserver.claims.claim_detail import decode_moves
from cardserver.claims.openings_sum import ACTION, change_of
from ledger.bulk_store import Query, Row, add, insert, plain, select
from ledger.scripts import Script
from protocol.terminal.messages import MessageType

KEY = ("person_no", "year", "insutype", "scheme")
AMOUNTS = ("deductible_fen", "in_scope_fen", "pool_fen", "large_amount_fen", "admissions")

_INSERT_OPENINGS = insert(tables.opening_accumulator, (*KEY, *AMOUNTS), ignore_existing=True)
_FIND_OPENINGS = select(tables.opening_accumulator, AMOUNTS, KEY)
_CLAIMS = "SELECT entry_no, type, insutype, med_type, undoes, detail FROM claim WHERE person_no = "
_CLAIMS_OF_YEAR = plain(
    "select a person's claims of some days of care",
    postgresql=f"{_CLAIMS}$1 AND care_date BETWEEN $2 AND $3",
    sqlite=f"{_CLAIMS}? AND care_date BETWEEN ? AND ?",
)
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
        rows_new = [wanted[key] for key in sorted(new)]
        yield _ADD(rows_new)
        yield note_openings(rows_new)
    old = [key for key in wanted if key not in new]
    found = yield _FIND_OPENINGS(old)
    differing = [wanted[row[: len(KEY)]] for row in found if wanted[row[: len(KEY)]] != row]
    return len(new), differing


def note_openings(added: Sequence[Row], removed: Sequence[Row] = ()) -> Query:
    """Leave in the audit what was added to the openings and taken from them (`openings_sum.py`)."""
    row = audit_row(
        time_ms=0, institution_no=0, terminal_no=0, operator_no=0, action=ACTION,
        subject=f"{len(added)} added, {len(removed)} removed", detail=change_of(added, removed),
    )  # fmt: skip
    return INSERT_AUDIT([row])


def visit_counts(person_no: int, year: int) -> Script[dict[tuple[str, str], int]]:
    """Count by insurance and medical type how often a person was treated in a year of care.

    Settlements that stand count; those of one visit or stay count once.
    """
    rows = yield _CLAIMS_OF_YEAR([(person_no, year * 10_000, year * 10_000 + 1231)])
    undone = {undoes for _, _, _, _, undoes, _ in rows if undoes is not None}
    visits = {
        (insutype, med_type, decode_moves(detail).visit_no or -number)
        for number, type_, insutype, med_type, _, detail in rows
        if type_ == MessageType.SETTLE and number not in undone
    }
    return Counter((insutype, med_type) for insutype, med_type, _ in visits)
