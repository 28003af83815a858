"""Who changed what in the registry, and when: written in the transaction of the change itself.

Not here: how it is read and shown (`history_view_store.py`).
"""

from collections.abc import Mapping

from msgspec import json

from cardserver.claims import audit_store
from cardserver.registry import tables
from cardserver.registry.values import Actor
from ledger.bulk_store import Query, Row, insert

_ACTOR_SIZE_MAX = 64


def audit(actor: Actor, action: str, subject: str, detail: str) -> Query:
    """Note in the audit what someone at the centre did."""
    return audit_store.INSERT_AUDIT([audit_row(actor, action, subject, detail)])


def audit_row(actor: Actor, action: str, subject: str, detail: str) -> Row:
    """Say who did what; no terminal or institution acted, but someone at the centre."""
    return audit_store.audit_row(
        time_ms=actor.now_ms,
        institution_no=0,
        terminal_no=0,
        operator_no=actor.operator_no,
        action=action,
        subject=subject,
        detail=f"by {actor.name}" + (f": {detail}" if detail else ""),
    )


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
        actor.now_ms, actor.operator_no, actor.name[:_ACTOR_SIZE_MAX], subject,
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
