"""The first schema: registry, ledger and claims."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "account_balance",
        sa.Column("owner", sa.BigInteger(), nullable=False),
        sa.Column("account", sa.SmallInteger(), nullable=False),
        sa.Column("balance_fen", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("balance_fen >= 0", name="account_balance_limit"),
        sa.PrimaryKeyConstraint("owner", "account"),
    )
    op.create_table(
        "entry",
        sa.Column("entry_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("person_no", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("period", sa.Integer(), nullable=False),
        sa.Column("business_date", sa.Integer(), nullable=False),
        sa.Column("institution_no", sa.Integer(), nullable=False),
        sa.Column("clearing_type", sa.SmallInteger(), nullable=False),
        sa.Column("undoes", sa.BigInteger(), nullable=True),
        sa.Column("recorded_time_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("entry_no"),
    )
    op.create_index(
        "entry_undoes",
        "entry",
        ["undoes"],
        unique=True,
        postgresql_where=sa.text("undoes IS NOT NULL"),
        sqlite_where=sa.text("undoes IS NOT NULL"),
    )
    op.create_table(
        "period",
        sa.Column("period", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("is_closed", sa.SmallInteger(), nullable=False),
        sa.Column("closed_time_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("period"),
    )
    op.create_table(
        "period_total",
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("business_date", sa.Integer(), nullable=False),
        sa.Column("period", sa.Integer(), nullable=False),
        sa.Column("account", sa.SmallInteger(), nullable=False),
        sa.Column("institution_no", sa.Integer(), nullable=False),
        sa.Column("clearing_type", sa.SmallInteger(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("debit_fen", sa.BigInteger(), nullable=False),
        sa.Column("credit_fen", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "slot", "business_date", "period", "account", "institution_no", "clearing_type", "kind"
        ),
    )
    op.create_table(
        "posting",
        sa.Column("entry_no", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.SmallInteger(), nullable=False),
        sa.Column("account", sa.SmallInteger(), nullable=False),
        sa.Column("owner", sa.BigInteger(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount_fen <> 0", name="posting_amount"),
        sa.PrimaryKeyConstraint("entry_no", "line"),
    )
    op.create_table(
        "request",
        sa.Column("month", sa.Integer(), nullable=False),
        sa.Column("institution_no", sa.Integer(), nullable=False),
        sa.Column("terminal_no", sa.Integer(), nullable=False),
        sa.Column("msgid", sa.String(length=30), nullable=False),
        sa.Column("type", sa.SmallInteger(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("code", sa.SmallInteger(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("entry_no", sa.BigInteger(), nullable=True),
        sa.Column("business_date", sa.Integer(), nullable=True),
        sa.Column("recorded_time_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("month", "institution_no", "terminal_no", "msgid"),
    )
    op.create_table(
        "seal",
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("last_sequence", sa.BigInteger(), nullable=False),
        sa.Column("first_sequence", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("slot", "last_sequence"),
    )
    op.create_table(
        "writer_slot",
        sa.Column("slot", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("lease_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("chain_head", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("slot"),
    )
    op.create_table(
        "card",
        sa.Column("card_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("profile", sa.String(length=32), nullable=False),
        sa.Column("identity", sa.LargeBinary(length=16), nullable=False),
        sa.Column("region", sa.String(length=6), nullable=False),
        sa.Column("card_number", sa.String(length=32), nullable=False),
        sa.Column("card_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("person_no", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.String(length=8), nullable=False),
        sa.Column("algorithm", sa.SmallInteger(), nullable=False),
        sa.Column("card_class", sa.String(length=1), nullable=False),
        sa.Column("issuer", sa.LargeBinary(length=12), nullable=False),
        sa.Column("begins", sa.Integer(), nullable=False),
        sa.Column("ends", sa.Integer(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("card_no"),
    )
    op.create_index("card_card_number", "card", ["card_number"], unique=True)
    op.create_index("card_identity", "card", ["profile", "region", "identity"], unique=True)
    op.create_index("card_person", "card", ["person_no"], unique=False)
    op.create_table(
        "catalogue_item",
        sa.Column("item", sa.String(length=40), nullable=False),
        sa.Column("begins", sa.Integer(), nullable=False),
        sa.Column("ends", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("item_class", sa.SmallInteger(), nullable=False),
        sa.Column("self_pay_ratio_e4", sa.Integer(), nullable=False),
        sa.Column("price_limit_microyuan", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("item", "begins"),
    )
    op.create_table(
        "employer",
        sa.Column("employer_no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("code", sa.String(length=30), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("employer_no"),
        sa.UniqueConstraint("code"),
    )
    op.create_table(
        "family",
        sa.Column("family_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("payer_person_no", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("family_no"),
    )
    op.create_table(
        "institution",
        sa.Column("institution_no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("code", sa.String(length=12), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("level", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("contract_begins", sa.Integer(), nullable=False),
        sa.Column("contract_ends", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("institution_no"),
        sa.UniqueConstraint("code"),
    )
    op.create_table(
        "insurance",
        sa.Column("person_no", sa.BigInteger(), nullable=False),
        sa.Column("insutype", sa.String(length=6), nullable=False),
        sa.Column("begins", sa.Integer(), nullable=False),
        sa.Column("ends", sa.Integer(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("person_type", sa.String(length=6), nullable=False),
        sa.Column("region", sa.String(length=6), nullable=False),
        sa.PrimaryKeyConstraint("person_no", "insutype", "begins"),
    )
    op.create_table(
        "operator",
        sa.Column("operator_no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("institution_no", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=50), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("password_hash", sa.String(length=200), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("failures", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("operator_no"),
    )
    op.create_index("operator_code", "operator", ["institution_no", "code"], unique=True)
    op.create_table(
        "person",
        sa.Column("person_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id_number", sa.String(length=18), nullable=False),
        sa.Column("name", sa.String(length=50), nullable=False),
        sa.Column("sex", sa.SmallInteger(), nullable=False),
        sa.Column("birth_date", sa.Integer(), nullable=False),
        sa.Column("deceased_date", sa.Integer(), nullable=True),
        sa.Column("family_no", sa.BigInteger(), nullable=False),
        sa.Column("employer_no", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("person_no"),
    )
    op.create_index("person_id_number", "person", ["id_number"], unique=True)
    op.create_table(
        "policy",
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("begins", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("activated_time_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "begins", "sha256"),
    )
    op.create_table(
        "sign_on",
        sa.Column("sign_no", sa.String(length=32), nullable=False),
        sa.Column("terminal_no", sa.Integer(), nullable=False),
        sa.Column("operator_no", sa.Integer(), nullable=False),
        sa.Column("batch_no", sa.Integer(), nullable=False),
        sa.Column("begins_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("ends_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("wants_stages", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sign_no"),
    )
    op.create_index("sign_on_terminal", "sign_on", ["terminal_no"], unique=False)
    op.create_table(
        "terminal",
        sa.Column("terminal_no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("institution_no", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=20), nullable=False),
        sa.Column("certificate_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("terminal_no"),
    )
    op.create_index("terminal_code", "terminal", ["institution_no", "code"], unique=True)
    op.create_table(
        "accumulator",
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
    op.create_table(
        "audit",
        sa.Column("audit_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("recorded_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("institution_no", sa.Integer(), nullable=False),
        sa.Column("terminal_no", sa.Integer(), nullable=False),
        sa.Column("operator_no", sa.Integer(), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("detail", sa.String(length=400), nullable=False),
        sa.PrimaryKeyConstraint("audit_no"),
    )
    op.create_table(
        "claim",
        sa.Column("entry_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("person_no", sa.BigInteger(), nullable=False),
        sa.Column("institution_no", sa.Integer(), nullable=False),
        sa.Column("terminal_no", sa.Integer(), nullable=False),
        sa.Column("msgid", sa.String(length=30), nullable=False),
        sa.Column("operator_no", sa.Integer(), nullable=False),
        sa.Column("type", sa.SmallInteger(), nullable=False),
        sa.Column("insutype", sa.String(length=6), nullable=False),
        sa.Column("med_type", sa.String(length=6), nullable=False),
        sa.Column("business_date", sa.Integer(), nullable=False),
        sa.Column("care_date", sa.Integer(), nullable=False),
        sa.Column("undoes", sa.BigInteger(), nullable=True),
        sa.Column("total_fen", sa.BigInteger(), nullable=False),
        sa.Column("fund_pay_fen", sa.BigInteger(), nullable=False),
        sa.Column("account_pay_fen", sa.BigInteger(), nullable=False),
        sa.Column("mutual_aid_fen", sa.BigInteger(), nullable=False),
        sa.Column("cash_fen", sa.BigInteger(), nullable=False),
        sa.Column("policy", sa.String(length=80), nullable=False),
        sa.Column("card_no", sa.BigInteger(), nullable=False),
        sa.Column("proof", sa.SmallInteger(), nullable=False),
        sa.Column("exception", sa.String(length=40), nullable=False),
        sa.Column("list_version", sa.Integer(), nullable=False),
        sa.Column("detail", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("entry_no"),
    )
    op.create_index("claim_person", "claim", ["person_no", "entry_no"], unique=False)
    op.create_index(
        "claim_undoes",
        "claim",
        ["undoes"],
        unique=True,
        postgresql_where=sa.text("undoes IS NOT NULL"),
        sqlite_where=sa.text("undoes IS NOT NULL"),
    )
    op.create_table(
        "print_ack",
        sa.Column("entry_no", sa.BigInteger(), nullable=False),
        sa.Column("copy", sa.Integer(), nullable=False),
        sa.Column("is_printed", sa.SmallInteger(), nullable=False),
        sa.Column("recorded_time_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("entry_no", "copy"),
    )
    op.create_table(
        "request_stage",
        sa.Column("institution_no", sa.Integer(), nullable=False),
        sa.Column("terminal_no", sa.Integer(), nullable=False),
        sa.Column("msgid", sa.String(length=30), nullable=False),
        sa.Column("recorded_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.SmallInteger(), nullable=False),
        sa.Column("code", sa.SmallInteger(), nullable=False),
        sa.Column("stages", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("msgid", "terminal_no", "institution_no", "recorded_time_ms"),
    )
