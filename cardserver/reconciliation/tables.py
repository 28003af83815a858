"""Reconciliation's tables. Not here: what is compared, which is the claims' own.

What is said in the protocol's own structs is kept as their MessagePack, so that it is shown as it
was answered: `compared` is an array of `TotalCompared`, `content` a `RowDifference`.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
)

metadata = MetaData()

# Each comparison of totals that said something new; the last one of a day and scope counts.
reconciliation = Table(
    "reconciliation",
    metadata,
    Column("run_no", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("institution_no", Integer, nullable=False),
    Column("business_date", Integer, nullable=False),  # YYYYMMDD
    Column("terminal_no", Integer, nullable=False),  # 0: the whole institution
    Column("recorded_time_ms", BigInteger, nullable=False),
    Column("source", SmallInteger, nullable=False),  # 1 message, 2 file
    Column("operator_no", Integer, nullable=False),  # 0: nobody was named
    Column("outcome", SmallInteger, nullable=False),  # a ReconcileOutcome
    Column("is_provisional", SmallInteger, nullable=False),
    Column("is_detailed", SmallInteger, nullable=False),  # row by row, to the end
    Column("compared", LargeBinary, nullable=False),
)
Index(
    "reconciliation_day",
    reconciliation.c.business_date,
    reconciliation.c.institution_no,
    reconciliation.c.terminal_no,
    reconciliation.c.run_no,
)

# A difference from when it was first seen until it is resolved; seen again later, it is a new one.
difference = Table(
    "reconciliation_difference",
    metadata,
    Column("difference_no", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("institution_no", Integer, nullable=False),
    Column("business_date", Integer, nullable=False),
    Column("msgid", String(30), nullable=False),
    Column("terminal", String(40), nullable=False),  # its code, also where nobody knows it
    Column("is_refund", SmallInteger, nullable=False),
    Column("run_no", BigInteger, nullable=False),  # of the comparison that saw it last
    Column("kind", SmallInteger, nullable=False),  # a DifferenceKind
    Column("advice", SmallInteger, nullable=False),  # a ReconcileAdvice
    Column("clearing_type", SmallInteger, nullable=False),
    # What the fund would owe by the centre's row less what by the institution's.
    Column("gap_fen", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("first_time_ms", BigInteger, nullable=False),
    Column("last_time_ms", BigInteger, nullable=False),
    Column("resolution", SmallInteger, nullable=False),  # 0 open, 1 agreed, 2 decided by a person
    Column("resolved_time_ms", BigInteger, nullable=False),  # 0: open
    Column("operator_no", Integer, nullable=False),  # who resolved it; 0: nobody
    Column("reason", String(200), nullable=False),
)
Index(
    "reconciliation_difference_open",
    difference.c.institution_no,
    difference.c.business_date,
    difference.c.msgid,
    difference.c.terminal,
    difference.c.is_refund,
    unique=True,
    postgresql_where=difference.c.resolution == 0,
    sqlite_where=difference.c.resolution == 0,
)
Index("reconciliation_difference_day", difference.c.institution_no, difference.c.business_date)
