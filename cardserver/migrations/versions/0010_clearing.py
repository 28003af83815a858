"""Tables of clearing."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "clearing_terms",
        sa.Column("begins", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("activated_time_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("begins", "sha256"),
    )
    op.create_table(
        "clearing_month",
        sa.Column("month", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("terms_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("postings_count", sa.BigInteger(), nullable=False),
        sa.Column("owed_fen", sa.BigInteger(), nullable=False),
        sa.Column("despite", sa.String(length=200), nullable=False),
        sa.Column("operator_no", sa.Integer(), nullable=False),
        sa.Column("begun_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_time_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("month"),
    )
    op.create_table(
        "clearing",
        sa.Column("institution_no", sa.Integer(), nullable=False),
        sa.Column("month", sa.Integer(), nullable=False),
        sa.Column("clearing_type", sa.SmallInteger(), nullable=False),
        sa.Column("entry_no", sa.BigInteger(), nullable=False),
        sa.Column("settled_count", sa.BigInteger(), nullable=False),
        sa.Column("settled_fen", sa.BigInteger(), nullable=False),
        sa.Column("undone_count", sa.BigInteger(), nullable=False),
        sa.Column("undone_fen", sa.BigInteger(), nullable=False),
        sa.Column("earlier_fen", sa.BigInteger(), nullable=False),
        sa.Column("other_fen", sa.BigInteger(), nullable=False),
        sa.Column("brought_fen", sa.BigInteger(), nullable=False),
        sa.Column("applied_fen", sa.BigInteger(), nullable=False),
        sa.Column("review_fen", sa.BigInteger(), nullable=False),
        sa.Column("cap_fen", sa.BigInteger(), nullable=False),
        sa.Column("withheld_fen", sa.BigInteger(), nullable=False),
        sa.Column("paid_fen", sa.BigInteger(), nullable=False),
        sa.Column("carried_fen", sa.BigInteger(), nullable=False),
        sa.Column("deposit_e4", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("institution_no", "month", "clearing_type"),
        sa.UniqueConstraint("entry_no"),
    )
    op.create_index("clearing_of_month", "clearing", ["month"], unique=False)
    op.create_table(
        "clearing_fund",
        sa.Column("clearing_no", sa.BigInteger(), nullable=False),
        sa.Column("insutype", sa.Integer(), nullable=False),
        sa.Column("paid_fen", sa.BigInteger(), nullable=False),
        sa.Column("withheld_fen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("clearing_no", "insutype"),
    )
    op.create_table(
        "clearing_left",
        sa.Column("institution_no", sa.Integer(), nullable=False),
        sa.Column("month", sa.Integer(), nullable=False),
        sa.Column("clearing_type", sa.SmallInteger(), nullable=False),
        sa.Column("reason", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("institution_no", "month", "clearing_type"),
    )
    op.create_table(
        "clearing_hold",
        sa.Column("hold_no", sa.Integer(), nullable=False),
        sa.Column("institution_no", sa.Integer(), nullable=False),
        sa.Column("clearing_type", sa.SmallInteger(), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("operator_no", sa.Integer(), nullable=False),
        sa.Column("begun_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("released_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("released_operator_no", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("hold_no"),
    )
    op.create_table(
        "clearing_application",
        sa.Column("application_no", sa.Integer(), nullable=False),
        sa.Column("institution_no", sa.Integer(), nullable=False),
        sa.Column("month", sa.Integer(), nullable=False),
        sa.Column("clearing_type", sa.SmallInteger(), nullable=False),
        sa.Column("terminal_no", sa.Integer(), nullable=False),
        sa.Column("msgid", sa.String(length=30), nullable=False),
        sa.Column("operator_no", sa.Integer(), nullable=False),
        sa.Column("settled_count", sa.BigInteger(), nullable=False),
        sa.Column("settled_fen", sa.BigInteger(), nullable=False),
        sa.Column("undone_count", sa.BigInteger(), nullable=False),
        sa.Column("undone_fen", sa.BigInteger(), nullable=False),
        sa.Column("applied_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("cancelled_time_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("application_no"),
    )
    op.create_index(
        "clearing_application_attempt",
        "clearing_application",
        ["institution_no", "terminal_no", "msgid"],
        unique=True,
    )
    op.create_index(
        "clearing_application_stands",
        "clearing_application",
        ["institution_no", "month", "clearing_type"],
        unique=True,
        postgresql_where=sa.text("cancelled_time_ms = 0"),
        sqlite_where=sa.text("cancelled_time_ms = 0"),
    )
    op.create_table(
        "payment_run",
        sa.Column("run_no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("terms_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("execution_date", sa.Integer(), nullable=False),
        sa.Column("operator_no", sa.Integer(), nullable=False),
        sa.Column("begun_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("total_fen", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("file", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_no"),
    )
    op.create_table(
        "payment_signature",
        sa.Column("run_no", sa.Integer(), nullable=False),
        sa.Column("operator_no", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("signed_time_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_no", "operator_no"),
    )
    op.create_table(
        "payment",
        sa.Column("payment_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("run_no", sa.Integer(), nullable=False),
        sa.Column("institution_no", sa.Integer(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("owed_fen", sa.BigInteger(), nullable=False),
        sa.Column("again_of", sa.BigInteger(), nullable=False),
        sa.Column("account_name", sa.String(length=140), nullable=False),
        sa.Column("account", sa.String(length=34), nullable=False),
        sa.Column("bank", sa.String(length=35), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("decided_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("entry_no", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("payment_no"),
    )
    op.create_index(
        "payment_again",
        "payment",
        ["again_of"],
        unique=True,
        postgresql_where=sa.text("again_of != 0"),
        sqlite_where=sa.text("again_of != 0"),
    )
    op.create_index("payment_of_run", "payment", ["run_no"], unique=False)
    op.create_index("payment_state", "payment", ["state"], unique=False)
    op.create_table(
        "payment_part",
        sa.Column("entry_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("payment_no", sa.BigInteger(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("entry_no"),
    )
    op.create_index("payment_part_of", "payment_part", ["payment_no"], unique=False)
    op.create_table(
        "payment_fund",
        sa.Column("payment_no", sa.BigInteger(), nullable=False),
        sa.Column("insutype", sa.Integer(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("payment_no", "insutype"),
    )
    op.create_table(
        "deposit_release",
        sa.Column("clearing_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("entry_no", sa.BigInteger(), nullable=False),
        sa.Column("institution_no", sa.Integer(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("clearing_no"),
    )
    op.create_index("deposit_release_entry", "deposit_release", ["entry_no"], unique=False)
