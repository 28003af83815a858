"""The claims' tables. Not here: the money that they moved, which is the ledger's.

A claim is never changed: that it was undone is said by the claim that undoes it.
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
    text,
)

from ledger.months import BY_NUMBER, MONTHLY

metadata = MetaData()

claim = Table(
    "claim",
    metadata,
    Column("entry_no", BigInteger, primary_key=True, autoincrement=False),  # setl_id
    Column("person_no", BigInteger, nullable=False),
    Column("institution_no", Integer, nullable=False),
    Column("terminal_no", Integer, nullable=False),
    Column("msgid", String(30), nullable=False),
    Column("operator_no", Integer, nullable=False),
    Column("type", SmallInteger, nullable=False),  # SETTLE, CANCEL, REVERSE
    Column("insutype", String(6), nullable=False),
    Column("med_type", String(6), nullable=False),
    Column("business_date", Integer, nullable=False),
    Column("care_date", Integer, nullable=False),
    Column("undoes", BigInteger),
    Column("total_fen", BigInteger, nullable=False),
    Column("fund_pay_fen", BigInteger, nullable=False),
    Column("account_pay_fen", BigInteger, nullable=False),
    Column("mutual_aid_fen", BigInteger, nullable=False),
    Column("cash_fen", BigInteger, nullable=False),
    Column("policy", String(80), nullable=False),  # name@version#hash
    Column("card_no", BigInteger, nullable=False),  # 0: by exception
    Column("proof", SmallInteger, nullable=False),
    Column("exception", String(40), nullable=False),
    Column("list_version", Integer, nullable=False),
    Column("detail", LargeBinary, nullable=False),  # MessagePack: bill, splits, accumulators moved
    info={MONTHLY: BY_NUMBER},
)
# Partial: most claims undo nothing, and need no place in it. That a claim is undone but once is
# held by the ledger's `undoing`, as an index of a month's claims could not.
Index(
    "claim_undoes",
    claim.c.undoes,
    postgresql_where=claim.c.undoes.is_not(None),
    sqlite_where=claim.c.undoes.is_not(None),
)
Index("claim_person", claim.c.person_no, claim.c.business_date, claim.c.entry_no)
# A day of one institution, or of all: what is reconciled.
Index("claim_day", claim.c.business_date, claim.c.institution_no)

accumulator = Table(
    "accumulator",
    metadata,
    Column("person_no", BigInteger, nullable=False),
    Column("year", SmallInteger, nullable=False),
    Column("insutype", String(6), nullable=False),
    Column(
        "scheme", String(16), nullable=False
    ),  # outpatient, inpatient, a special scheme, a layer
    Column("deductible_fen", BigInteger, nullable=False),
    Column("in_scope_fen", BigInteger, nullable=False),
    Column("pool_fen", BigInteger, nullable=False),
    Column("large_amount_fen", BigInteger, nullable=False),
    Column("admissions", Integer, nullable=False),
    PrimaryKeyConstraint("person_no", "year", "insutype", "scheme"),
)

# What was taken over from before this centre; it is in the accumulators too, which are always this
# plus what every claim moved. `accumulators_store.open_accumulators` writes both.
opening_accumulator = Table(
    "opening_accumulator",
    metadata,
    Column("person_no", BigInteger, nullable=False),
    Column("year", SmallInteger, nullable=False),
    Column("insutype", String(6), nullable=False),
    Column("scheme", String(16), nullable=False),
    Column("deductible_fen", BigInteger, nullable=False),
    Column("in_scope_fen", BigInteger, nullable=False),
    Column("pool_fen", BigInteger, nullable=False),
    Column("large_amount_fen", BigInteger, nullable=False),
    Column("admissions", Integer, nullable=False),
    PrimaryKeyConstraint("person_no", "year", "insutype", "scheme"),
)

print_ack = Table(
    "print_ack",
    metadata,
    Column("entry_no", BigInteger, nullable=False),
    Column("copy", Integer, nullable=False),
    Column("is_printed", SmallInteger, nullable=False),
    Column("recorded_time_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("entry_no", "copy"),
)

# Append-only (a trigger refuses all else) and sealed: who did what. `subject` is an entry number,
# card number or the like, as text. Who adds rows: `audit_store.INSERT_AUDIT`, nobody else.
audit = Table(
    "audit",
    metadata,
    Column("seal_no", BigInteger, nullable=False),
    Column("line", Integer, nullable=False),
    Column("recorded_time_ms", BigInteger, nullable=False),
    Column("institution_no", Integer, nullable=False),
    Column("terminal_no", Integer, nullable=False),
    Column("operator_no", Integer, nullable=False),
    Column("action", String(32), nullable=False),
    Column("subject", String(64), nullable=False),
    Column("detail", String(400), nullable=False),
    PrimaryKeyConstraint("seal_no", "line", name="audit_of_seal"),
    sqlite_with_rowid=False,
)

# Where one request's time went; written with a later group, so a crash may lose the last few.
request_stage = Table(
    "request_stage",
    metadata,
    Column("institution_no", Integer, nullable=False),
    Column("terminal_no", Integer, nullable=False),
    Column("msgid", String(30), nullable=False),
    Column("recorded_time_ms", BigInteger, nullable=False),
    Column("type", SmallInteger, nullable=False),
    Column("code", SmallInteger, nullable=False),
    Column("stages", LargeBinary, nullable=False),  # MessagePack: [[stage, microseconds], ...]
    Column("trace", LargeBinary(16), nullable=False, server_default=text("''")),  # its W3C trace id
    PrimaryKeyConstraint("msgid", "terminal_no", "institution_no", "recorded_time_ms"),
)

# What a terminal said with a later request that it felt of this one; as `request_stage`.
request_felt = Table(
    "request_felt",
    metadata,
    Column("institution_no", Integer, nullable=False),
    Column("terminal_no", Integer, nullable=False),
    Column("msgid", String(30), nullable=False),
    Column("recorded_time_ms", BigInteger, nullable=False),
    Column("type", SmallInteger, nullable=False),
    Column("code", SmallInteger, nullable=False),
    Column("took_us", BigInteger, nullable=False),
    Column("sends", BigInteger, nullable=False),
    Column("stages", LargeBinary, nullable=False),  # MessagePack: [[stage, microseconds], ...]
    PrimaryKeyConstraint("msgid", "terminal_no", "institution_no", "recorded_time_ms"),
)
