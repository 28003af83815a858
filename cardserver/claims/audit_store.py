"""The audit's rows: who did what to what, append-only."""

from cardserver.claims import tables
from ledger.bulk_store import Query, insert

_DETAIL_MAX = 400
_SUBJECT_MAX = 64

INSERT_AUDIT = insert(
    tables.audit,
    ("recorded_time_ms", "institution_no", "terminal_no", "operator_no", "action", "subject",
     "detail"),
)  # fmt: skip


def note(
    *,
    time_ms: int,
    institution_no: int,
    terminal_no: int,
    operator_no: int,
    action: str,
    subject: str,
    detail: str,
) -> Query:
    """One row for the audit."""
    row = (
        time_ms, institution_no, terminal_no, operator_no, action, subject[:_SUBJECT_MAX],
        detail[:_DETAIL_MAX],
    )  # fmt: skip
    return INSERT_AUDIT([row])
