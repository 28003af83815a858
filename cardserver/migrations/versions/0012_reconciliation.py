"""Tables of reconciliation, and the claims' days by institution."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""
    op.create_index("claim_day", "claim", ["business_date", "institution_no"])
    op.create_table(
        "reconciliation",
        sa.Column("run_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("institution_no", sa.Integer(), nullable=False),
        sa.Column("business_date", sa.Integer(), nullable=False),
        sa.Column("terminal_no", sa.Integer(), nullable=False),
        sa.Column("recorded_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.SmallInteger(), nullable=False),
        sa.Column("operator_no", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.SmallInteger(), nullable=False),
        sa.Column("is_provisional", sa.SmallInteger(), nullable=False),
        sa.Column("is_detailed", sa.SmallInteger(), nullable=False),
        sa.Column("compared", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_no"),
    )
    op.create_index(
        "reconciliation_day",
        "reconciliation",
        ["business_date", "institution_no", "terminal_no", "run_no"],
    )
    op.create_table(
        "reconciliation_difference",
        sa.Column(
            "difference_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("institution_no", sa.Integer(), nullable=False),
        sa.Column("business_date", sa.Integer(), nullable=False),
        sa.Column("msgid", sa.String(length=30), nullable=False),
        sa.Column("terminal", sa.String(length=40), nullable=False),
        sa.Column("is_refund", sa.SmallInteger(), nullable=False),
        sa.Column("run_no", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("advice", sa.SmallInteger(), nullable=False),
        sa.Column("clearing_type", sa.SmallInteger(), nullable=False),
        sa.Column("gap_fen", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("first_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("resolution", sa.SmallInteger(), nullable=False),
        sa.Column("resolved_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("operator_no", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("difference_no"),
    )
    op.create_index(
        "reconciliation_difference_open",
        "reconciliation_difference",
        ["institution_no", "business_date", "msgid", "terminal", "is_refund"],
        unique=True,
        postgresql_where=sa.text("resolution = 0"),
        sqlite_where=sa.text("resolution = 0"),
    )
    op.create_index(
        "reconciliation_difference_day",
        "reconciliation_difference",
        ["institution_no", "business_date"],
    )
