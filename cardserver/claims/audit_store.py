"""The audit's rows: who did what to what; append-only, and each covered by a seal.

Every row of the audit goes through `audit_row` and `INSERT_AUDIT`: within a commit group it is
sealed with the group, in any other transaction chained at its end (`ledger/chain_store.py`). Not
here: who looks rows up (`audit_search_store.py`), and who verifies them (`verification.py`).
"""

from cardserver.claims import tables
from ledger.bulk_store import Row, insert

_ACTION_MAX = 32
_DETAIL_MAX = 400
_SUBJECT_MAX = 64

INSERT_AUDIT = insert(
    tables.audit,
    ("recorded_time_ms", "institution_no", "terminal_no", "operator_no", "action", "subject",
     "detail"),
    is_numbered=True,
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
    """One row of `INSERT_AUDIT`; texts are cut where they are too long."""
    # PostgreSQL's text can't hold NUL, and a reason is whatever a cashier typed.
    return (
        time_ms, institution_no, terminal_no, operator_no, action[:_ACTION_MAX],
        subject.replace("\0", "")[:_SUBJECT_MAX], detail.replace("\0", "")[:_DETAIL_MAX],
    )  # fmt: skip
