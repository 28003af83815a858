"""The chain's own books: what seals cover, and balances kept of closed periods."""

import sqlalchemy as sa
from alembic import op

revision = "0008"  # beside 0007_accumulators, which came first
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Number the seal of each stored outcome, and make room for checks and snapshots."""
    # 0 and nothing: what was stored before its seal covered it.
    op.add_column(
        "request", sa.Column("seal_no", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.create_index("request_seal", "request", ["seal_no"])
    op.add_column("seal", sa.Column("checks", sa.LargeBinary(), nullable=False, server_default=""))
    op.create_table(
        "balance_snapshot",
        sa.Column("period", sa.Integer(), nullable=False),
        sa.Column("account", sa.SmallInteger(), nullable=False),
        sa.Column("owner", sa.BigInteger(), nullable=False),
        sa.Column("balance_fen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("period", "account", "owner"),
    )
    op.create_table(
        "balance_snapshot_slot",
        sa.Column("period", sa.Integer(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("period", "slot"),
    )
    op.create_table(
        "balance_snapshot_period",
        sa.Column("period", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("made_time_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("period"),
    )
