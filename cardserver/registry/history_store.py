"""Who changed what in the registry, and when: written in the transaction of the change itself.

Not here: how it is read and shown (`history_view_store.py`).
"""

from collections.abc import Mapping

from msgspec import json

from cardserver.claims import tables as claims_tables
from cardserver.registry import tables
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


ADD_CHANGES = insert(
    tables.change,
    (
        "recorded_time_ms", "operator_no", "actor", "subject", "key", "person_no", "before",
        "after", "batch_no",
    ),
)  # fmt: skip


def change_row(
    actor: Actor,
    subject: str,
    key: Row,
    *,
    person_no: int = 0,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
    batch_no: int = 0,
) -> Row:
    """Make a row of `ADD_CHANGES`: what a row of a table was, and what it is.

    Of a row that was changed, only the columns that differ are kept; None for `before` is a row
    that was not there, None for `after` one that is gone.
    """
    if before is not None and after is not None:
        same = {name for name in before if name in after and before[name] == after[name]}
        before = {name: value for name, value in before.items() if name not in same}
        after = {name: value for name, value in after.items() if name not in same}
    return (
        actor.now_ms, actor.operator_no, actor.name[:SUBJECT_SIZE_MAX], subject,
        "/".join(map(str, key)), person_no, _compact(before), _compact(after), batch_no,
    )  # fmt: skip


def changed(
    actor: Actor,
    subject: str,
    key: Row,
    *,
    person_no: int = 0,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> Query:
    """Note one change."""
    row = change_row(actor, subject, key, person_no=person_no, before=before, after=after)
    return ADD_CHANGES([row])


def _compact(values: Mapping[str, object] | None) -> str:
    if values is None:
        return ""
    plain = {
        name: bytes(value).hex() if isinstance(value, bytes | memoryview) else value
        for name, value in values.items()
    }
    return json.encode(plain).decode()
