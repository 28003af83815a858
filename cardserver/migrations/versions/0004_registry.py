"""The registry: persons by every document, filings (备案), contracts, and who changed what."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_FILLED = ("person", "family", "employer", "insurance", "card", "institution", "operator")


def upgrade() -> None:
    """Create the tables, and move identity numbers into theirs."""
    for table in _FILLED:
        op.add_column(table, _batch_no())
    op.add_column(
        "person", sa.Column("id_type", sa.String(length=2), nullable=False, server_default="01")
    )
    _identities()
    _contracts()
    _history()


def _identities() -> None:
    op.create_table(
        "identity",
        sa.Column("number", sa.String(length=40), nullable=False),
        sa.Column("id_type", sa.String(length=2), nullable=False),
        sa.Column("person_no", sa.BigInteger(), nullable=False),
        sa.Column("ends", sa.Integer(), nullable=False),
        _batch_no(),
        sa.PrimaryKeyConstraint("number", "id_type"),
    )
    op.execute(
        "INSERT INTO identity (number, id_type, person_no, ends)"
        " SELECT id_number, '01', person_no, 99991231 FROM person"
    )
    op.create_index("identity_person", "identity", ["person_no"], unique=False)
    op.drop_index("person_id_number", table_name="person")
    op.create_table(
        "merged_person",
        sa.Column("person_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kept_person_no", sa.BigInteger(), nullable=False),
        _batch_no(),
        sa.PrimaryKeyConstraint("person_no"),
    )
    op.create_index("merged_person_kept", "merged_person", ["kept_person_no"], unique=False)
    op.create_table(
        "similar_person",
        sa.Column("person_no", sa.BigInteger(), nullable=False),
        sa.Column("other_no", sa.BigInteger(), nullable=False),
        sa.Column("likeness", sa.String(length=20), nullable=False),
        sa.Column("decision", sa.SmallInteger(), nullable=False),
        _batch_no(),
        sa.PrimaryKeyConstraint("person_no", "other_no"),
    )


def _contracts() -> None:
    op.create_table(
        "filing",
        sa.Column("person_no", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("institution_no", sa.Integer(), nullable=False),
        sa.Column("begins", sa.Integer(), nullable=False),
        sa.Column("ends", sa.Integer(), nullable=False),
        _batch_no(),
        sa.PrimaryKeyConstraint("person_no", "kind", "code", "institution_no", "begins"),
    )
    op.create_table(
        "contract",
        sa.Column("institution_no", sa.Integer(), nullable=False),
        sa.Column("begins", sa.Integer(), nullable=False),
        sa.Column("ends", sa.Integer(), nullable=False),
        sa.Column("level", sa.SmallInteger(), nullable=False),
        sa.Column("care", sa.String(length=20), nullable=False),
        _batch_no(),
        sa.PrimaryKeyConstraint("institution_no", "begins"),
    )


def _history() -> None:
    op.create_table(
        "import_batch",
        sa.Column("batch_no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("begins_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("ends_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("operator_no", sa.Integer(), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("batch_no"),
    )
    op.create_table(
        "import_file",
        sa.Column("batch_no", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=20), nullable=False),
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False),
        *(
            sa.Column(name, sa.Integer(), nullable=False)
            for name in ("added", "changed", "unchanged", "merged", "rejected")
        ),
        sa.PrimaryKeyConstraint("batch_no", "name"),
    )
    op.create_table(
        "change",
        sa.Column(
            "change_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("recorded_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("operator_no", sa.Integer(), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=20), nullable=False),
        sa.Column("key", sa.String(length=80), nullable=False),
        sa.Column("person_no", sa.BigInteger(), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        _batch_no(),
        sa.PrimaryKeyConstraint("change_no"),
    )
    op.create_index("change_subject", "change", ["subject", "key"], unique=False)
    op.create_index("change_person", "change", ["person_no"], unique=False)


def _batch_no() -> sa.Column[int]:
    return sa.Column("batch_no", sa.Integer(), nullable=False, server_default="0")
