"""Terminals' last states, planned stops, and who speaks with the broker."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "terminal_state",
        sa.Column("institution", sa.String(12), nullable=False),
        sa.Column("terminal", sa.String(20), nullable=False),
        sa.Column("presence", sa.SmallInteger(), nullable=False),
        sa.Column("session", sa.String(16), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("changed_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("heard_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("interval_ms", sa.Integer(), nullable=False),
        sa.Column("clock_skew_ms", sa.BigInteger(), nullable=False),
        sa.Column("felt_p95_ms", sa.BigInteger(), nullable=False),
        sa.Column("outbox_count", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("institution", "terminal"),
    )
    op.create_table(
        "planned_stop",
        sa.Column("stop_no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("begins_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("ends_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("text_zh", sa.String(200), nullable=False),
        sa.Column("text_en", sa.String(200), nullable=False),
        sa.Column("is_cancelled", sa.SmallInteger(), nullable=False),
        sa.Column("made_by", sa.String(100), nullable=False),
        sa.Column("made_time_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("stop_no"),
    )
    op.create_table(
        "telemetry_lease",
        sa.Column("lease_no", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("holder", sa.String(32), nullable=False),
        sa.Column("ends_time_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("lease_no"),
    )
