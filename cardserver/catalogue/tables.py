"""The catalogue's tables. Not here: how they are read and written (`..._store`).

Rows are only ever added: a correction is a further row of the same key with a higher version, and
the newest published one of a key is the one that holds. Dates are integers YYYYMMDD; 99991231
stands for "until the next one begins".
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
)

metadata = MetaData()

catalogue_item = Table(
    "catalogue_item",
    metadata,
    Column("item", String(40), nullable=False),  # med_list_codg
    Column("begins", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("ends", Integer, nullable=False),
    Column("name", String(200), nullable=False),
    Column("item_class", SmallInteger, nullable=False),  # 1 A, 2 B, 3 C
    Column("self_pay_ratio_e4", Integer, nullable=False),
    Column("price_limit_microyuan", BigInteger),  # of institutions without one of their own
    Column("kind", SmallInteger, nullable=False),  # values.ItemKind
    Column("unit", String(20), nullable=False),  # in which quantities count; may be empty
    Column("price_limit_0_microyuan", BigInteger),  # pharmacies
    Column("price_limit_1_microyuan", BigInteger),
    Column("price_limit_2_microyuan", BigInteger),
    Column("price_limit_3_microyuan", BigInteger),
    Column("sex", SmallInteger, nullable=False),  # 0 for all, 1 men only, 2 women only
    Column("age_from", SmallInteger, nullable=False),
    Column("age_below", SmallInteger, nullable=False),  # 0: for every age
    Column("daily_quantity_max_e4", BigInteger, nullable=False),  # 0: no limit
    Column("is_struck", SmallInteger, nullable=False),  # 1: was never right, and counts as absent
    PrimaryKeyConstraint("item", "begins", "version"),
)
Index(
    "catalogue_item_since",
    catalogue_item.c.version, catalogue_item.c.item, catalogue_item.c.begins,
    unique=True,
)  # fmt: skip

# What an institution calls an item by itself (定点医药机构目录对照).
item_mapping = Table(
    "item_mapping",
    metadata,
    Column("institution_no", Integer, nullable=False),
    Column("local_item", String(40), nullable=False),  # fixmedins_hilist_id
    Column("begins", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("ends", Integer, nullable=False),
    Column("item", String(40), nullable=False),
    Column("local_name", String(200), nullable=False),  # may be empty
    Column("is_struck", SmallInteger, nullable=False),
    PrimaryKeyConstraint("institution_no", "local_item", "begins", "version"),
)
Index(
    "item_mapping_since",
    item_mapping.c.institution_no, item_mapping.c.version,
    item_mapping.c.local_item, item_mapping.c.begins,
    unique=True,
)  # fmt: skip

# One row a list, whose lock puts the changes in order: what is published, and who is adding the
# next version's rows, which nobody sees before it is published.
versioned_list = Table(
    "versioned_list",
    metadata,
    Column("list_no", SmallInteger, primary_key=True, autoincrement=False),  # values.ListNumber
    Column("version", Integer, nullable=False),
    Column("claim", String(32), nullable=False),  # empty: nobody
    Column("claimed_time_ms", BigInteger, nullable=False),
)

list_version = Table(
    "list_version",
    metadata,
    Column("list_no", SmallInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("made_time_ms", BigInteger, nullable=False),
    Column("actor", String(64), nullable=False),  # as the audit names them
    Column("source", String(200), nullable=False),  # the file
    Column("added", Integer, nullable=False),
    Column("changed", Integer, nullable=False),
    PrimaryKeyConstraint("list_no", "version"),
)
