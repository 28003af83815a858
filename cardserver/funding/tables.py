"""Funding's tables. Not here: the money that was moved, which is the ledger's.

Amounts are fen, months YYYYMM, days YYYYMMDD.
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
    Text,
)

metadata = MetaData()

# The text itself, as of policies, so that every run can be told by what it decided.
funding_rules = Table(
    "funding_rules",
    metadata,
    Column("name", String(60), nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("begins", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("activated_time_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("name", "begins", "sha256"),
)

# A file of employers' contributions as it was posted, or the reversal of one.
contribution_file = Table(
    "contribution_file",
    metadata,
    Column("file_no", Integer, primary_key=True, autoincrement=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("attempt", Integer, nullable=False),  # 1; more where the same file was posted anew
    Column("name", String(100), nullable=False),
    Column("month", Integer, nullable=False),  # of its acts' keys: when it was registered
    Column("chunk_size", Integer, nullable=False),
    Column("reverses", Integer, nullable=False),  # a file; 0: it is a file itself
    Column("employer_no", Integer, nullable=False),  # whose rows a reversal reverses; 0: all
    Column("reason", String(200), nullable=False),
    Column("operator_no", Integer, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("begins_time_ms", BigInteger, nullable=False),
    Column("ends_time_ms", BigInteger, nullable=False),  # 0: under way, or broken off
    Column("counts", LargeBinary, nullable=False),  # MessagePack: what became of its rows
)
Index(
    "contribution_file_sha256",
    contribution_file.c.sha256,
    contribution_file.c.attempt,
    unique=True,
)

# What is paid for a person by an employer for a month: the row of the latest file holds, and each
# row moved the difference to the one before. Never changed; sealed with its entry.
contribution = Table(
    "contribution",
    metadata,
    Column("person_no", BigInteger, nullable=False),
    Column("month", Integer, nullable=False),
    Column("employer_no", Integer, nullable=False),
    Column("insutype", String(6), nullable=False),
    Column("file_no", Integer, nullable=False),
    Column("entry_no", BigInteger, nullable=False),
    Column("base_fen", BigInteger, nullable=False),
    Column("employer_fen", BigInteger, nullable=False),
    Column("personal_fen", BigInteger, nullable=False),
    Column("account_fen", BigInteger, nullable=False),  # of both; the rest is the pool's
    Column("pool_moved_fen", BigInteger, nullable=False),
    Column("account_moved_fen", BigInteger, nullable=False),
    PrimaryKeyConstraint("person_no", "month", "employer_no", "insutype", "file_no"),
)
# No other index holds the person: a plan made while the table is empty would take it for the key's.
Index("contribution_of_file", contribution.c.file_no)
Index("contribution_entry", contribution.c.entry_no)

# Rows that were not posted, and why.
contribution_rejection = Table(
    "contribution_rejection",
    metadata,
    Column("file_no", Integer, nullable=False),
    Column("line", Integer, nullable=False),
    Column("column", String(30), nullable=False),
    Column("reason", String(40), nullable=False),
    PrimaryKeyConstraint("file_no", "line"),
)

# A run over all persons: a month's allotments, or a year's interest.
funding_run = Table(
    "funding_run",
    metadata,
    Column("run_no", Integer, primary_key=True, autoincrement=False),
    Column("kind", SmallInteger, nullable=False),  # of its entries: an EntryKind
    Column("month", Integer, nullable=False),  # of interest: December of the year
    Column("attempt", Integer, nullable=False),  # 1; more for those whom the runs before left out
    Column("rules", String(100), nullable=False),  # name@begins#hash
    Column("operator_no", Integer, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("begins_time_ms", BigInteger, nullable=False),
    Column("ends_time_ms", BigInteger, nullable=False),  # 0: under way, or broken off
)
Index(
    "funding_run_month",
    funding_run.c.kind, funding_run.c.month, funding_run.c.attempt,
    unique=True,
)  # fmt: skip

# The steps of a run, cut when it began: persons by number. Each is an act, so that what became of
# it is its stored outcome.
funding_step = Table(
    "funding_step",
    metadata,
    Column("run_no", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("first_person_no", BigInteger, nullable=False),
    Column("last_person_no", BigInteger, nullable=False),
    Column("is_done", SmallInteger, nullable=False),
    PrimaryKeyConstraint("run_no", "step"),
)

# What each entry of a run is about. Never changed; sealed with its entry.
funding_entry = Table(
    "funding_entry",
    metadata,
    Column("entry_no", BigInteger, primary_key=True, autoincrement=False),
    Column("run_no", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("rule", String(40), nullable=False),
    Column("persons_count", Integer, nullable=False),
    Column("amount_fen", BigInteger, nullable=False),
)
Index("funding_entry_run", funding_entry.c.run_no, funding_entry.c.step)
