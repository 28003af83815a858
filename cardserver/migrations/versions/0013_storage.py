"""Tables by month on PostgreSQL: requests by their msgid's month, the rest by their number's."""

import datetime as dt

import sqlalchemy as sa
from alembic import op

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
    if connection.dialect.name != "postgresql":
        return
    now = dt.datetime.now(dt.UTC)
    month = now.year * 100 + now.month
    for table in _DIVIDED:
        divide(connection, table, month=month)
    make_parts(connection, _DIVIDED, months_from(month, _MONTHS_AHEAD))
