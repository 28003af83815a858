"""The checks' tables: rules as activated, and where institutions are."""

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

metadata = MetaData()

# The text itself, as of policies, so that every worker decides alike and for ever.
check_rules = Table(
    "check_rules",
    metadata,
    Column("name", String(60), nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("begins", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("activated_time_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("name", "begins", "sha256"),
)

# In millionths of a degree (WGS 84), east and north positive. Who isn't in it has no known place.
institution_position = Table(
    "institution_position",
    metadata,
    Column("institution_no", Integer, primary_key=True, autoincrement=False),
    Column("latitude_e6", Integer, nullable=False),
    Column("longitude_e6", Integer, nullable=False),
)
