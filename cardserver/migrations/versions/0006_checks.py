"""Checks at the counter: rules as activated, where institutions are, a person's claims by day."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables, and put a person's claims in the order of their days."""
    op.create_table(
        "check_rules",
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("begins", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("activated_time_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "begins", "sha256"),
    )
    op.create_table(
        "institution_position",
        sa.Column("institution_no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("latitude_e6", sa.Integer(), nullable=False),
        sa.Column("longitude_e6", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("institution_no"),
    )
    # Entry numbers follow their writer's slot, not the day; nobody reads a person's claims so.
    op.drop_index("claim_person", "claim")
    op.create_index(
        "claim_person", "claim", ["person_no", "business_date", "entry_no"], unique=False
    )
