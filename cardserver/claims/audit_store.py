"""The audit's rows: who did what to what, append-only."""

from cardserver.claims import tables
from ledger.bulk_store import Row, insert

_DETAIL_MAX = 400
_SUBJECT_MAX = 64

INSERT_AUDIT = insert(
    tables.audit,
    ("recorded_time_ms", "institution_no", "terminal_no", "operator_no", "action", "subject",
     "detail"),
)  # fmt: skip


def audit_row(
    *,
    time_ms: int,
    institution_no: int,
    terminal_no: int,
    operator_no: int,
    action: str,
    subject: str,
    detail: str,
) -> Row:
    """One row of `INSERT_AUDIT`; a detail is cut where it is too long."""
    return (
        time_ms, institution_no, terminal_no, operator_no, action, subject[:_SUBJECT_MAX],
        # PostgreSQL's text can't hold NUL, and a reason is whatever a cashier typed.
        detail.replace("\0", "")[:_DETAIL_MAX],
    )  # fmt: skip
