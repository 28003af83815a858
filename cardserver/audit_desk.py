"""The audit as auditors use it: searched, and verified without the rest of the books.

Plain functions on a database, for the command line and for the console. Not here: who adds rows
(`claims/audit_store.py`), and the verification of everything (`verification.py`).
"""

from collections.abc import Sequence

from cardserver.claims.audit_search_store import (
    AuditQuery,
    AuditRow,
    check_audit_books,
    search_audit,
)
from cardserver.claims.verify_claims import SEALED_TABLES
from ledger.database_store import Database
from ledger.verify_chain import SealedGroup, check_piece, cut
from ledger.verify_findings import Difference, Findings

_PIECE_SIZE = 10_000


async def find(database: Database, query: AuditQuery) -> list[AuditRow]:
    """Look rows up, the latest last."""
    return await database.report(lambda connection: search_audit(connection, query))


async def verify_audit(database: Database) -> Findings:
    """Recompute every seal, and name each row of the audit that is not as it was written.

    A seal covers its group's other rows too; whatever of those differs is named as well, since then
    nothing says that the audit's are right.
    """

    async def inspect(_database: Database, _groups: Sequence[SealedGroup]) -> list[Difference]:
        return []

    heads, findings = await database.report(check_audit_books)
    for head in heads:
        pieces = await cut(
            database, head.slot, after=0, previous=bytes(32), last=head.sequence, size=_PIECE_SIZE
        )
        for piece in pieces:
            findings.take(
                await check_piece(database, piece, SEALED_TABLES, inspect, lambda _: None)
            )
    return findings
