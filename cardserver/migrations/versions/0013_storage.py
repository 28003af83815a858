"""Tables by month on PostgreSQL: requests by their msgid's month, the rest by their number's."""

import datetime as dt

import sqlalchemy as sa
from alembic import op

from cardserver.claims.accumulators_store import AMOUNTS, KEY
from cardserver.claims.openings_sum import ACTION, change_of
from cardserver.claims.tables import claim
from ledger.partitions_store import divide, make_parts, months_from
from ledger.tables import entry, posting, request

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_DIVIDED = (request, entry, posting, claim)
_MONTHS_AHEAD = 3


def upgrade() -> None:
    """Hold in a table of its own what undoes what, then divide."""
    op.create_table(
        "undoing",
        sa.Column("undoes", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("entry_no", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("undoes"),
    )
    op.execute(
        "INSERT INTO undoing (undoes, entry_no)"
        " SELECT undoes, entry_no FROM entry WHERE undoes IS NOT NULL"
    )
    op.drop_index("entry_undoes", "entry")
    op.drop_index("claim_undoes", "claim")
    op.create_index(
        "claim_undoes",
        "claim",
        ["undoes"],
        unique=False,
        postgresql_where=sa.text("undoes IS NOT NULL"),
        sqlite_where=sa.text("undoes IS NOT NULL"),
    )
    connection = op.get_bind()
    _note_openings(connection)
    if connection.dialect.name != "postgresql":
        return
    now = dt.datetime.now(dt.UTC)
    month = now.year * 100 + now.month
    for table in _DIVIDED:
        divide(connection, table, month=month)
    make_parts(connection, _DIVIDED, months_from(month, _MONTHS_AHEAD))


def _note_openings(connection: sa.Connection) -> None:
    """Leave in the audit, before it is sealed, what of accumulators was taken over until now."""
    columns = ", ".join((*KEY, *AMOUNTS))
    rows = connection.execute(sa.text(f"SELECT {columns} FROM opening_accumulator")).fetchall()  # noqa: S608 - the schema's own names
    if rows:
        connection.execute(
            sa.text(
                "INSERT INTO audit (recorded_time_ms, institution_no, terminal_no, operator_no,"
                " action, subject, detail) VALUES (0, 0, 0, 0, :action, :subject, :detail)"
            ),
            {
                "action": ACTION,
                "subject": f"{len(rows)} found",
                "detail": change_of(tuple(row) for row in rows),
            },
        )
