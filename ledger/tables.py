"""The ledger's tables. Not here: how they are read and written, which is in the `..._store` files.

Amounts are signed fen: debit positive, credit negative. Entry numbers are
`slot * 2**40 + sequence`, so that writers never share a sequence.

What a table says by `MONTHLY` in its `info` PostgreSQL keeps in a table a month
(`partitions_store.py`); SQLite keeps it whole.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
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

from ledger.accounts import Account
from ledger.months import BY_MSGID, BY_NUMBER, MONTHLY

metadata = MetaData()

# The stored outcome of each msgid. `month` is the msgid's own (YYYYMM), for partitioning.
# `code` is null between a group's first statement and its last, never outside a transaction.
request = Table(
    "request",
    metadata,
    Column("month", Integer, nullable=False),
    Column("institution_no", Integer, nullable=False),
    Column("terminal_no", Integer, nullable=False),
    Column("msgid", String(30), nullable=False),
    Column("type", SmallInteger, nullable=False),  # 0: a tombstone, the original never came
    Column("request_hash", LargeBinary(32), nullable=False),
    Column("code", SmallInteger),
    Column("body", LargeBinary),
    Column("entry_no", BigInteger),
    Column("business_date", Integer),  # YYYYMMDD
    Column("recorded_time_ms", BigInteger),
    Column("seal_no", BigInteger, nullable=False),  # of the seal that covers it, as entry numbers
    PrimaryKeyConstraint("month", "institution_no", "terminal_no", "msgid"),
    info={MONTHLY: BY_MSGID},
)
Index("request_seal", request.c.seal_no)

# One permanent entry; its postings add up to zero.
entry = Table(
    "entry",
    metadata,
    Column("entry_no", BigInteger, primary_key=True, autoincrement=False),
    Column("person_no", BigInteger, nullable=False),  # 0: none
    Column("kind", SmallInteger, nullable=False),
    Column("period", Integer, nullable=False),  # YYYYMM
    Column("business_date", Integer, nullable=False),  # YYYYMMDD
    Column("institution_no", Integer, nullable=False),  # 0: none
    Column("clearing_type", SmallInteger, nullable=False),  # 11, 21, 41; 0: none
    Column("undoes", BigInteger),
    Column("recorded_time_ms", BigInteger, nullable=False),
    info={MONTHLY: BY_NUMBER},
)
# An entry is undone at most once, in whatever month: an index of PostgreSQL's, which keeps entries
# by month, is unique in one month only. A row for each entry that undoes another, written with it.
undoing = Table(
    "undoing",
    metadata,
    Column("undoes", BigInteger, primary_key=True, autoincrement=False),
    Column("entry_no", BigInteger, nullable=False),
)

posting = Table(
    "posting",
    metadata,
    Column("entry_no", BigInteger, nullable=False),
    Column("line", SmallInteger, nullable=False),
    Column("account", SmallInteger, nullable=False),
    Column("owner", BigInteger, nullable=False),  # person, institution or 0
    Column("amount_fen", BigInteger, nullable=False),
    PrimaryKeyConstraint("entry_no", "line"),
    CheckConstraint("amount_fen <> 0", name="posting_amount"),
    info={MONTHLY: BY_NUMBER},
)
# A personal account's postings, for its statement and interest. Partial: the others are summed up.
Index(
    "posting_person",
    posting.c.owner,
    posting.c.entry_no,
    postgresql_where=posting.c.account == Account.PERSONAL_ACCOUNT.value,
    sqlite_where=posting.c.account == Account.PERSONAL_ACCOUNT.value,
)

# Balances of limited accounts only (persons'). Everything else is a sum of postings.
account_balance = Table(
    "account_balance",
    metadata,
    Column("owner", BigInteger, nullable=False),
    Column("account", SmallInteger, nullable=False),
    Column("balance_fen", BigInteger, nullable=False),  # what the owner holds, never negative
    PrimaryKeyConstraint("owner", "account"),
    CheckConstraint("balance_fen >= 0", name="account_balance_limit"),
)

# Sums a writer keeps as it posts; no two writers share a row.
period_total = Table(
    "period_total",
    metadata,
    Column("slot", Integer, nullable=False),
    Column("business_date", Integer, nullable=False),
    Column("period", Integer, nullable=False),
    Column("account", SmallInteger, nullable=False),
    Column("institution_no", Integer, nullable=False),
    Column("clearing_type", SmallInteger, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("debit_fen", BigInteger, nullable=False),
    Column("credit_fen", BigInteger, nullable=False),
    Column("count", BigInteger, nullable=False),
    PrimaryKeyConstraint(
        "slot", "business_date", "period", "account", "institution_no", "clearing_type", "kind"
    ),
)

# A writer leases one slot; sequence and chain head advance by compare-and-set in its group.
writer_slot = Table(
    "writer_slot",
    metadata,
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("owner", String(64), nullable=False),
    Column("lease_until_ms", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("chain_head", LargeBinary(32), nullable=False),
)

# One seal a group: SHA-256 over the previous seal and the rows that the group added.
seal = Table(
    "seal",
    metadata,
    Column("slot", Integer, nullable=False),
    Column("last_sequence", BigInteger, nullable=False),
    Column("first_sequence", BigInteger, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    # MessagePack: by table the CRC-32 of each row, so that the one that was changed can be named;
    # empty in seals of entries and postings only, as they once were.
    Column("checks", LargeBinary, nullable=False),
    PrimaryKeyConstraint("slot", "last_sequence"),
)

period = Table(
    "period",
    metadata,
    Column("period", Integer, primary_key=True, autoincrement=False),  # YYYYMM
    Column("is_closed", SmallInteger, nullable=False),
    Column("closed_time_ms", BigInteger),
)

# What each account held at the end of a closed period, zero left out: folded forward from the
# snapshot before, so that a balance of a moment needs no scan of all history.
balance_snapshot = Table(
    "balance_snapshot",
    metadata,
    Column("period", Integer, nullable=False),  # YYYYMM
    Column("account", SmallInteger, nullable=False),
    Column("owner", BigInteger, nullable=False),
    Column("balance_fen", BigInteger, nullable=False),  # signed: debit positive, credit negative
    PrimaryKeyConstraint("period", "account", "owner"),
)

# Up to where each slot's entries are all of the snapshot's period or before.
balance_snapshot_slot = Table(
    "balance_snapshot_slot",
    metadata,
    Column("period", Integer, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    PrimaryKeyConstraint("period", "slot"),
)

# A snapshot that is whole; rows without it are of one that was broken off.
balance_snapshot_period = Table(
    "balance_snapshot_period",
    metadata,
    Column("period", Integer, primary_key=True, autoincrement=False),
    Column("made_time_ms", BigInteger, nullable=False),
)
