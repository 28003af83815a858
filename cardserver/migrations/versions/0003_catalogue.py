"""The catalogue: versions, kinds of items, limits by level, institutions' own codes."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_FORMER = "catalogue_item_0002"


def upgrade() -> None:
    """Give the catalogue versions, of which what it held is the first."""
    op.create_table(
        "versioned_list",
        sa.Column("list_no", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("claim", sa.String(length=32), nullable=False),
        sa.Column("claimed_time_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("list_no"),
    )
    op.create_table(
        "list_version",
        sa.Column("list_no", sa.SmallInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("made_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("added", sa.Integer(), nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("list_no", "version"),
    )
    op.create_table(
        "item_mapping",
        sa.Column("institution_no", sa.Integer(), nullable=False),
        sa.Column("local_item", sa.String(length=40), nullable=False),
        sa.Column("begins", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("ends", sa.Integer(), nullable=False),
        sa.Column("item", sa.String(length=40), nullable=False),
        sa.Column("local_name", sa.String(length=200), nullable=False),
        sa.Column("is_struck", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("institution_no", "local_item", "begins", "version"),
    )
    op.create_index(
        "item_mapping_since",
        "item_mapping",
        ["institution_no", "version", "local_item", "begins"],
        unique=True,
    )
    # A new table, not columns more: PostgreSQL keeps a constraint's name with a table's renaming.
    op.rename_table("catalogue_item", _FORMER)
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f'ALTER INDEX "catalogue_item_pkey" RENAME TO "{_FORMER}_pkey"')
    op.create_table(
        "catalogue_item",
        sa.Column("item", sa.String(length=40), nullable=False),
        sa.Column("begins", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("ends", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("item_class", sa.SmallInteger(), nullable=False),
        sa.Column("self_pay_ratio_e4", sa.Integer(), nullable=False),
        sa.Column("price_limit_microyuan", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("unit", sa.String(length=20), nullable=False),
        sa.Column("price_limit_0_microyuan", sa.BigInteger(), nullable=True),
        sa.Column("price_limit_1_microyuan", sa.BigInteger(), nullable=True),
        sa.Column("price_limit_2_microyuan", sa.BigInteger(), nullable=True),
        sa.Column("price_limit_3_microyuan", sa.BigInteger(), nullable=True),
        sa.Column("sex", sa.SmallInteger(), nullable=False),
        sa.Column("age_from", sa.SmallInteger(), nullable=False),
        sa.Column("age_below", sa.SmallInteger(), nullable=False),
        sa.Column("daily_quantity_max_e4", sa.BigInteger(), nullable=False),
        sa.Column("is_struck", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("item", "begins", "version"),
    )
    op.create_index(
        "catalogue_item_since", "catalogue_item", ["version", "item", "begins"], unique=True
    )
    # As `kind_of_code` in cardserver/catalogue/columns.py tells what a code is of.
    op.execute(
        "INSERT INTO catalogue_item (item, begins, version, ends, name, item_class,"  # noqa: S608 - a name of this file
        " self_pay_ratio_e4, price_limit_microyuan, kind, unit, sex, age_from, age_below,"
        " daily_quantity_max_e4, is_struck)"
        " SELECT item, begins, 1, ends, name, item_class, self_pay_ratio_e4,"
        " price_limit_microyuan, CASE WHEN item LIKE 'S%' OR item LIKE '0%' THEN 2"
        " WHEN item LIKE 'M%' OR item LIKE 'C%' THEN 3 ELSE 1 END, '', 0, 0, 0, 0, 0"
        f" FROM {_FORMER}"
    )
    # The time of this version is not known: it was before any was counted.
    op.execute(
        "INSERT INTO list_version (list_no, version, made_time_ms, actor, source, added, changed)"
        " SELECT 1, 1, 0, '', 'before versions', count(*), 0 FROM catalogue_item"
        " HAVING count(*) > 0"
    )
    op.execute(
        "INSERT INTO versioned_list (list_no, version, claim, claimed_time_ms)"
        " SELECT 1, version, '', 0 FROM list_version"
    )
    op.drop_table(_FORMER)
