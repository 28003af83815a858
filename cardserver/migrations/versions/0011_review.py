"""Tables of review, and the department of an operator, by which work is counted."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""
    op.add_column(
        "operator",
        sa.Column("department", sa.String(length=40), nullable=False, server_default=""),
    )
    _rules()
    _months()
    _stratums()
    _cases()
    _steps()
    _cuts()
    _appeals()
    _conflicts()


def _rules() -> None:
    op.create_table(
        "review_rules",
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("begins", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("activated_time_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "begins", "sha256"),
    )


def _months() -> None:
    op.create_table(
        "review_month",
        sa.Column("month", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("rules", sa.String(length=120), nullable=False),
        sa.Column("seed", sa.LargeBinary(length=32), nullable=False),
        sa.Column("opened_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("operator_no", sa.Integer(), nullable=False),
        sa.Column("cases", sa.Integer(), nullable=False),
        sa.Column("sampled_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("flagged_time_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("month"),
    )


def _stratums() -> None:
    op.create_table(
        "review_stratum",
        sa.Column("month", sa.Integer(), nullable=False),
        sa.Column("institution_no", sa.Integer(), nullable=False),
        sa.Column("clearing_type", sa.SmallInteger(), nullable=False),
        sa.Column("settlements", sa.Integer(), nullable=False),
        sa.Column("fund_pay_fen", sa.BigInteger(), nullable=False),
        sa.Column("sampled", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("month", "institution_no", "clearing_type"),
    )


def _cases() -> None:
    op.create_table(
        "review_case",
        sa.Column("case_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("month", sa.Integer(), nullable=False),
        sa.Column("claim_no", sa.BigInteger(), nullable=False),
        sa.Column("person_no", sa.BigInteger(), nullable=False),
        sa.Column("institution_no", sa.Integer(), nullable=False),
        sa.Column("clearing_type", sa.SmallInteger(), nullable=False),
        sa.Column("business_date", sa.Integer(), nullable=False),
        sa.Column("total_fen", sa.BigInteger(), nullable=False),
        sa.Column("fund_pay_fen", sa.BigInteger(), nullable=False),
        sa.Column("sources", sa.SmallInteger(), nullable=False),
        sa.Column("flags", sa.String(length=400), nullable=False),
        sa.Column("opened_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("holder_no", sa.Integer(), nullable=False),
        sa.Column("taken_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("held_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.SmallInteger(), nullable=False),
        sa.Column("proposed_fen", sa.BigInteger(), nullable=False),
        sa.Column("deduction_fen", sa.BigInteger(), nullable=False),
        sa.Column("deduction_no", sa.BigInteger(), nullable=False),
        sa.Column("decided_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("appeal_until", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("case_no"),
    )
    op.create_index("review_case_claim", "review_case", ["claim_no"], unique=True)
    op.create_index(
        "review_case_institution",
        "review_case",
        ["institution_no", "month", "case_no"],
        unique=False,
    )
    op.create_index("review_case_state", "review_case", ["month", "state", "case_no"], unique=False)


def _steps() -> None:
    op.create_table(
        "review_step",
        sa.Column("case_no", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("operator_no", sa.Integer(), nullable=False),
        sa.Column("department", sa.String(length=40), nullable=False),
        sa.Column("month", sa.Integer(), nullable=False),
        sa.Column("taken_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("recorded_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.SmallInteger(), nullable=False),
        sa.Column("fund_pay_fen", sa.BigInteger(), nullable=False),
        sa.Column("deduction_fen", sa.BigInteger(), nullable=False),
        sa.Column("entry_no", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.String(length=400), nullable=False),
        sa.PrimaryKeyConstraint("case_no", "step"),
    )
    op.create_index("review_step_month", "review_step", ["month", "operator_no"], unique=False)


def _cuts() -> None:
    op.create_table(
        "review_cut",
        sa.Column("case_no", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("cut", sa.SmallInteger(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("article", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("case_no", "step", "cut"),
    )


def _appeals() -> None:
    op.create_table(
        "review_appeal",
        sa.Column("case_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("institution_no", sa.Integer(), nullable=False),
        sa.Column("terminal_no", sa.Integer(), nullable=False),
        sa.Column("msgid", sa.String(length=30), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("operator_no", sa.Integer(), nullable=False),
        sa.Column("recorded_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("business_date", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=400), nullable=False),
        sa.PrimaryKeyConstraint("case_no"),
    )
    op.create_index(
        "review_appeal_msgid",
        "review_appeal",
        ["institution_no", "terminal_no", "msgid"],
        unique=True,
    )


def _conflicts() -> None:
    op.create_table(
        "review_conflict",
        sa.Column("operator_no", sa.Integer(), nullable=False),
        sa.Column("institution_no", sa.Integer(), nullable=False),
        sa.Column("case_no", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("declared_time_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("operator_no", "institution_no", "case_no"),
    )
