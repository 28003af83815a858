"""What a verification reads of claims in one snapshot, and the claims that others undo."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from cardserver.claims import tables
from cardserver.claims.accumulators_store import AMOUNTS, KEY
from cardserver.claims.openings_sum import ACTION, sum_of, together
from cardserver.claims.verify_accumulators import Workbook
from cardserver.claims.verify_claims import CLAIM, SEALED_TABLES, ClaimRow
from cardserver.funding import tables as funding_tables
from ledger import tables as ledger_tables
from ledger.balances_store import check_snapshots
from ledger.bulk_store import select as select_by
from ledger.database_store import Database
from ledger.digest import Digest
from ledger.digest_store import check_digest
from ledger.tables import account_balance, balance_snapshot, period_total
from ledger.verify_books_store import (
    Head,
    check_balances,
    check_heads,
    check_kinds,
    check_outside,
    check_totals,
    check_undoing,
    read_heads,
)
from ledger.verify_findings import BEFORE_ALL, Difference, Findings

_ROWS_MAX = 5_000
_FIND_CLAIMS = select_by(
    tables.claim, [name for name in CLAIM.columns if name != "entry_no"], ("entry_no",)
)


def copy_accumulators(connection: Connection, workbook: Workbook) -> None:
    """Write down the accumulators, and what of them was taken over."""
    for table, take in (
        (tables.accumulator, workbook.keep),
        (tables.opening_accumulator, workbook.move),
    ):
        rows = connection.execution_options(yield_per=_ROWS_MAX).execute(
            select(*(table.c[column] for column in (*KEY, *AMOUNTS)))
        )
        for some in rows.partitions():
            take(tuple(row) for row in some)


async def read_claims(database: Database, numbers: Collection[int]) -> dict[int, ClaimRow]:
    """Read claims by number."""
    if not numbers:
        return {}
    rows = await database.fetch(_FIND_CLAIMS([(number,) for number in sorted(numbers)]))
    return {row[0]: ClaimRow(*row) for row in rows}


def check_openings(connection: Connection) -> Findings:
    """Compare what was taken over with what the audit says was."""
    opening, audit = tables.opening_accumulator, tables.audit
    rows = connection.execution_options(yield_per=_ROWS_MAX).execute(
        select(*(opening.c[column] for column in (*KEY, *AMOUNTS)))
    )
    stored = sum_of(tuple(row) for row in rows)
    changes = connection.execute(select(audit.c.detail).where(audit.c.action == ACTION))
    recomputed = together(row[0] for row in changes)
    findings = Findings()
    if stored != recomputed:
        what = "sum of the rows' hashes"
        words = f"{stored:064x}", f"{recomputed:064x}"
        findings.add([Difference(str(opening.name), "all rows", what, *words)])
    return findings


def check_numbers(connection: Connection) -> Findings:
    """See that numbers are numbers in every table that is recomputed or sealed."""
    return check_kinds(
        connection,
        [
            *ledger_tables.metadata.tables.values(),
            tables.claim, tables.audit, tables.accumulator, tables.opening_accumulator,
            funding_tables.contribution, funding_tables.funding_entry,
        ],
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Books:
    """What was found beside the chains, and up to where these are to be checked."""

    heads: tuple[Head, ...]
    findings: Findings


def check_books(
    connection: Connection, workbook: Workbook, digests: Sequence[Digest], *, from_period: int
) -> Books:
    """Recompute all that is kept beside the entries, in the snapshot of `Database.report`."""
    findings = Findings()
    heads = read_heads(connection)
    findings.take(check_heads(connection, heads))
    for digest in sorted(digests, key=lambda one: (one.day, one.made_time_ms)):
        findings.take(check_digest(connection, digest))
    findings.take(check_outside(connection, heads, SEALED_TABLES))
    findings.take(check_undoing(connection))
    findings.take(check_balances(connection))
    first = from_period or BEFORE_ALL
    findings.take(check_totals(connection, from_period=first))
    findings.take(check_snapshots(connection, from_period=first))
    for table in (account_balance, period_total, balance_snapshot):
        count = connection.execute(select(func.count()).select_from(table)).scalar_one()
        findings.read(str(table.name), count)
    findings.take(check_openings(connection))
    copy_accumulators(connection, workbook)
    return Books(tuple(heads), findings)
