"""Accumulators taken over from before this centre, kept apart so that they can be rebuilt."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "opening_accumulator",
        sa.Column("person_no", sa.BigInteger(), nullable=False),
        sa.Column("year", sa.SmallInteger(), nullable=False),
        sa.Column("insutype", sa.String(length=6), nullable=False),
        sa.Column("scheme", sa.String(length=16), nullable=False),
        sa.Column("deductible_fen", sa.BigInteger(), nullable=False),
        sa.Column("in_scope_fen", sa.BigInteger(), nullable=False),
        sa.Column("pool_fen", sa.BigInteger(), nullable=False),
        sa.Column("large_amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("admissions", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("person_no", "year", "insutype", "scheme"),
    )
