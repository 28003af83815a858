"""Who changed what in the registry, and when: written in the transaction of the change itself."""

from cardserver.claims import tables as claims_tables
from cardserver.registry.values import Actor
from ledger.bulk_store import Query, Row, insert

SUBJECT_SIZE_MAX = 64
DETAIL_SIZE_MAX = 400

ADD_AUDIT = insert(
    claims_tables.audit,
    (
        "recorded_time_ms", "institution_no", "terminal_no", "operator_no", "action", "subject",
        "detail",
    ),
)  # fmt: skip


def audit(actor: Actor, action: str, subject: str, detail: str) -> Query:
    """Note in the audit what someone at the centre did."""
    return ADD_AUDIT([audit_row(actor, action, subject, detail)])


def audit_row(actor: Actor, action: str, subject: str, detail: str) -> Row:
    """Say who did what; no terminal or institution acted, but someone at the centre."""
    text = f"by {actor.name}" + (f": {detail}" if detail else "")
    return (
        actor.now_ms, 0, 0, actor.operator_no, action, subject[:SUBJECT_SIZE_MAX],
        text[:DETAIL_SIZE_MAX],
    )  # fmt: skip
