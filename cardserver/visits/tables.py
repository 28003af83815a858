"""The visits' tables. Not here: what settlements of them moved, which claims and ledger know.

A visit's row says what was registered; `state`, `ends` and `record_count` are what its records come
to, kept beside so that a person's stays are told apart without reading them. Records are never
changed or deleted.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
)

metadata = MetaData()

visit = Table(
    "visit",
    metadata,
    Column("visit_no", BigInteger, primary_key=True, autoincrement=False),  # mdtrt_id
    Column("person_no", BigInteger, nullable=False),
    Column("institution_no", Integer, nullable=False),
    Column("kind", SmallInteger, nullable=False),  # 1 outpatient, 2 inpatient
    Column("insutype", String(6), nullable=False),
    Column("med_type", String(6), nullable=False),
    Column("begins", Integer, nullable=False),  # YYYYMMDD
    Column("disease", String(40), nullable=False),
    Column("is_emergency", SmallInteger, nullable=False),
    Column("chain_no", BigInteger, nullable=False),  # the first of the stays it continues
    Column("transferred_from", BigInteger, nullable=False),  # 0: none
    Column("number", String(40), nullable=False),  # the institution's own
    Column("department", String(40), nullable=False),
    Column("doctor", String(40), nullable=False),
    Column("diagnosis", String(200), nullable=False),
    Column("state", SmallInteger, nullable=False),  # 1 open, 2 discharged, 3 closed, 4 cancelled
    Column("ends", Integer, nullable=False),  # 0: not discharged
    Column("record_count", Integer, nullable=False),
)
Index("visit_person", visit.c.person_no, visit.c.kind)

visit_record = Table(
    "visit_record",
    metadata,
    Column("visit_no", BigInteger, nullable=False),
    Column("record_no", Integer, nullable=False),  # from 1, in the order in which they count
    Column("recorded_time_ms", BigInteger, nullable=False),
    Column("msgid", String(30), nullable=False),
    Column("operator_no", Integer, nullable=False),
    Column("content", LargeBinary, nullable=False),  # MessagePack, `visit_record.py` says of what
    PrimaryKeyConstraint("visit_no", "record_no"),
)
