"""Visits: outpatient registrations and inpatient stays, with their lines."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "visit",
        sa.Column("visit_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("person_no", sa.BigInteger(), nullable=False),
        sa.Column("institution_no", sa.Integer(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("insutype", sa.String(length=6), nullable=False),
        sa.Column("med_type", sa.String(length=6), nullable=False),
        sa.Column("begins", sa.Integer(), nullable=False),
        sa.Column("disease", sa.String(length=40), nullable=False),
        sa.Column("is_emergency", sa.SmallInteger(), nullable=False),
        sa.Column("chain_no", sa.BigInteger(), nullable=False),
        sa.Column("transferred_from", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.String(length=40), nullable=False),
        sa.Column("department", sa.String(length=40), nullable=False),
        sa.Column("doctor", sa.String(length=40), nullable=False),
        sa.Column("diagnosis", sa.String(length=200), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("ends", sa.Integer(), nullable=False),
        sa.Column("record_count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("visit_no"),
    )
    op.create_index("visit_person", "visit", ["person_no", "kind"], unique=False)
    op.create_table(
        "visit_record",
        sa.Column("visit_no", sa.BigInteger(), nullable=False),
        sa.Column("record_no", sa.Integer(), nullable=False),
        sa.Column("recorded_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("msgid", sa.String(length=30), nullable=False),
        sa.Column("operator_no", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("visit_no", "record_no"),
    )
