"""Looking rows of the audit up: by operator, by what was acted on, by time.

The audit has no index but its seals' numbers, so that it costs a settlement nothing; but within a
slot numbers grow with time, so a span of time is a span of numbers, found by halving. Not here: who
adds rows (`audit_store.py`).
"""

from typing import NamedTuple

from sqlalchemy import Connection, text

from cardserver.claims.verify_claims import AUDIT
from ledger.entries import SEQUENCE_BITS
from ledger.verify_books_store import Head, check_heads, check_outside, read_heads
from ledger.verify_findings import Findings

ROWS_MAX = 10_000
_TIME_MAX = 2**62


class AuditRow(NamedTuple):
    """One row: who did what to what.

    Attributes:
        institution_no: Of the terminal where it was done; 0 at the centre.
        operator_no: Who; 0 where nobody signed on, and `detail` says by whom.
    """

    seal_no: int
    line: int
    recorded_time_ms: int
    institution_no: int
    terminal_no: int
    operator_no: int
    action: str
    subject: str
    detail: str


class AuditQuery(NamedTuple):
    """What is looked for; what is left out is not asked for.

    Attributes:
        subject: The whole subject, or its beginning where it ends with `*`.
        action: The same of the action.
        from_ms: From this moment on, in milliseconds since 1970.
        to_ms: Before this moment.
        limit: At most so many, the latest ones.
    """

    operator_no: int | None = None
    subject: str = ""
    action: str = ""
    from_ms: int = 0
    to_ms: int = _TIME_MAX
    limit: int = 100


def search_audit(connection: Connection, query: AuditQuery) -> list[AuditRow]:
    """Return what is found, the latest last; for `Database.report`."""
    assert 0 < query.limit <= ROWS_MAX
    found: list[AuditRow] = []
    slots = connection.execute(text("SELECT slot, sequence FROM writer_slot ORDER BY slot"))
    for slot, last in slots.fetchall():
        first = _first_at(connection, slot, last, query.from_ms)
        end = _first_at(connection, slot, last, query.to_ms)
        found += _of_numbers(connection, first, end, query)
    found.sort(key=lambda row: (row.recorded_time_ms, row.seal_no, row.line))
    return found[-query.limit :]


def check_audit_books(connection: Connection) -> tuple[list[Head], Findings]:
    """Compare the slots with their chains, and find rows that no seal covers."""
    heads = read_heads(connection)
    findings = check_heads(connection, heads)
    findings.take(check_outside(connection, heads, (AUDIT,)))
    return heads, findings


def _first_at(connection: Connection, slot: int, last: int, time_ms: int) -> int:
    """Find the first number of a slot from which on its rows are of a moment or later."""
    low, high = (slot << SEQUENCE_BITS) + 1, (slot << SEQUENCE_BITS) + last + 1
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(
            text(
                "SELECT seal_no, recorded_time_ms FROM audit WHERE seal_no BETWEEN :low AND :high"
                " ORDER BY seal_no, line LIMIT 1"
            ),
            {"low": middle, "high": high},
        ).fetchone()
        if row is not None and row[1] < time_ms:
            low = row[0] + 1
        else:
            high = middle
    return low


def _of_numbers(connection: Connection, first: int, end: int, query: AuditQuery) -> list[AuditRow]:
    conditions = ["seal_no >= :first", "seal_no < :end"]
    values: dict[str, object] = {"first": first, "end": end, "limit": query.limit}
    if query.operator_no is not None:
        conditions.append("operator_no = :operator_no")
        values["operator_no"] = query.operator_no
    for column, wanted in (("subject", query.subject), ("action", query.action)):
        if wanted.endswith("*"):
            conditions.append(f"substr({column}, 1, :{column}_size) = :{column}")
            values |= {column: wanted[:-1], f"{column}_size": len(wanted) - 1}
        elif wanted:
            conditions.append(f"{column} = :{column}")
            values[column] = wanted
    names = ", ".join(AuditRow._fields)
    rows = connection.execute(
        text(
            f"SELECT {names} FROM audit WHERE {' AND '.join(conditions)}"  # noqa: S608 - our names
            " ORDER BY seal_no DESC, line DESC LIMIT :limit"
        ),
        values,
    )
    return [AuditRow(*row) for row in rows]
