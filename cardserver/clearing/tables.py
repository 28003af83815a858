"""Clearing's tables. Not here: the money that moved, which is the ledger's.

Amounts are fen. A clearing and a payment's parts are never changed; what becomes of a payment is
said by its state and by the entries that it names.
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

# Terms as activated: the text itself, so that a month is cleared alike whenever it is.
clearing_terms = Table(
    "clearing_terms",
    metadata,
    Column("begins", Integer, nullable=False),  # first month, YYYYMM
    Column("sha256", LargeBinary(32), nullable=False),
    Column("text", Text, nullable=False),
    Column("activated_time_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("begins", "sha256"),
)

# A month of which the clearing has begun: from then on its terms are these.
clearing_month = Table(
    "clearing_month",
    metadata,
    Column("month", Integer, primary_key=True, autoincrement=False),  # YYYYMM
    Column("terms_sha256", LargeBinary(32), nullable=False),
    Column("postings_count", BigInteger, nullable=False),  # recomputed, on payables
    Column("owed_fen", BigInteger, nullable=False),  # recomputed: payables' credits less debits
    Column("despite", String(200), nullable=False),  # why it began although something was open
    Column("operator_no", Integer, nullable=False),
    Column("begun_time_ms", BigInteger, nullable=False),
    Column("ended_time_ms", BigInteger, nullable=False),  # of the last run; 0: under way
)

# What one institution is owed for one month and clearing type, and what became of it:
# settled + undone + other + brought - carried = applied = paid + withheld + review + cap.
clearing = Table(
    "clearing",
    metadata,
    Column("institution_no", Integer, nullable=False),
    Column("month", Integer, nullable=False),
    Column("clearing_type", SmallInteger, nullable=False),
    Column("entry_no", BigInteger, nullable=False, unique=True),  # the clearing's number
    Column("settled_count", BigInteger, nullable=False),
    Column("settled_fen", BigInteger, nullable=False),
    Column("undone_count", BigInteger, nullable=False),
    Column("undone_fen", BigInteger, nullable=False),  # 0 or less
    Column("earlier_fen", BigInteger, nullable=False),  # of undone: settled in an earlier month
    Column("other_fen", BigInteger, nullable=False),  # taken over at opening
    Column("brought_fen", BigInteger, nullable=False),  # from the month before; 0 or less
    Column("applied_fen", BigInteger, nullable=False),
    Column("review_fen", BigInteger, nullable=False),  # deducted after review, less given back
    Column("cap_fen", BigInteger, nullable=False),  # cut by the cap; below 0: given back
    Column("withheld_fen", BigInteger, nullable=False),
    Column("paid_fen", BigInteger, nullable=False),
    Column("carried_fen", BigInteger, nullable=False),  # to the next month; 0 or less
    Column("deposit_e4", Integer, nullable=False),
    PrimaryKeyConstraint("institution_no", "month", "clearing_type"),
)
Index("clearing_of_month", clearing.c.month)

# Out of which insurance's deposits a clearing is paid and its deposit held; they add up to it.
clearing_fund = Table(
    "clearing_fund",
    metadata,
    Column("clearing_no", BigInteger, nullable=False),
    Column("insutype", Integer, nullable=False),
    Column("paid_fen", BigInteger, nullable=False),
    Column("withheld_fen", BigInteger, nullable=False),
    PrimaryKeyConstraint("clearing_no", "insutype"),
)

# What a run left out, and why; gone once it is cleared.
clearing_left = Table(
    "clearing_left",
    metadata,
    Column("institution_no", Integer, nullable=False),
    Column("month", Integer, nullable=False),
    Column("clearing_type", SmallInteger, nullable=False),
    Column("reason", SmallInteger, nullable=False),  # plan.Left
    PrimaryKeyConstraint("institution_no", "month", "clearing_type"),
)

clearing_hold = Table(
    "clearing_hold",
    metadata,
    Column("hold_no", Integer, primary_key=True),
    Column("institution_no", Integer, nullable=False),
    Column("clearing_type", SmallInteger, nullable=False),  # 0: all
    Column("reason", String(200), nullable=False),
    Column("operator_no", Integer, nullable=False),
    Column("begun_time_ms", BigInteger, nullable=False),
    Column("released_time_ms", BigInteger, nullable=False),  # 0: it stands
    Column("released_operator_no", Integer, nullable=False),
)

# What an institution applies for. At most one stands for a month and clearing type.
clearing_application = Table(
    "clearing_application",
    metadata,
    Column("application_no", Integer, primary_key=True),
    Column("institution_no", Integer, nullable=False),
    Column("month", Integer, nullable=False),
    Column("clearing_type", SmallInteger, nullable=False),
    Column("terminal_no", Integer, nullable=False),
    Column("msgid", String(30), nullable=False),
    Column("operator_no", Integer, nullable=False),
    Column("settled_count", BigInteger, nullable=False),
    Column("settled_fen", BigInteger, nullable=False),
    Column("undone_count", BigInteger, nullable=False),
    Column("undone_fen", BigInteger, nullable=False),
    Column("applied_time_ms", BigInteger, nullable=False),
    Column("cancelled_time_ms", BigInteger, nullable=False),  # 0: it stands
)
Index(
    "clearing_application_stands",
    clearing_application.c.institution_no,
    clearing_application.c.month,
    clearing_application.c.clearing_type,
    unique=True,
    postgresql_where=clearing_application.c.cancelled_time_ms == 0,
    sqlite_where=clearing_application.c.cancelled_time_ms == 0,
)
Index(
    "clearing_application_attempt",
    clearing_application.c.institution_no,
    clearing_application.c.terminal_no,
    clearing_application.c.msgid,
    unique=True,
)

# --- payments -----------------------------------------------------------------------------------

# One file of payments. `sha256` is empty until the file is made.
payment_run = Table(
    "payment_run",
    metadata,
    Column("run_no", Integer, primary_key=True, autoincrement=False),
    Column("terms_sha256", LargeBinary(32), nullable=False),
    Column("execution_date", Integer, nullable=False),
    Column("operator_no", Integer, nullable=False),
    Column("begun_time_ms", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    Column("total_fen", BigInteger, nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("file", LargeBinary, nullable=False),  # pain.001, as handed out
)

payment_signature = Table(
    "payment_signature",
    metadata,
    Column("run_no", Integer, nullable=False),
    Column("operator_no", Integer, nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),  # of the file that was signed for
    Column("signed_time_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("run_no", "operator_no"),
)

# One transfer to one institution.
payment = Table(
    "payment",
    metadata,
    Column("payment_no", BigInteger, primary_key=True, autoincrement=False),
    Column("run_no", Integer, nullable=False),
    Column("institution_no", Integer, nullable=False),
    Column("amount_fen", BigInteger, nullable=False),
    Column("owed_fen", BigInteger, nullable=False),  # of it: from the payable, not from a clearing
    Column("again_of", BigInteger, nullable=False),  # a payment that was returned; 0: none
    Column("account_name", String(140), nullable=False),
    Column("account", String(34), nullable=False),
    Column("bank", String(35), nullable=False),
    Column("state", SmallInteger, nullable=False),  # payments.PaymentState
    Column("reason", String(200), nullable=False),  # why it was returned
    Column("decided_time_ms", BigInteger, nullable=False),
    Column("entry_no", BigInteger, nullable=False),  # what confirmed or returned it; 0: none
)
Index("payment_of_run", payment.c.run_no)
Index("payment_state", payment.c.state)
# A returned payment is paid again at most once; that one may be returned too.
Index(
    "payment_again",
    payment.c.again_of,
    unique=True,
    postgresql_where=payment.c.again_of != 0,
    sqlite_where=payment.c.again_of != 0,
)

# Which clearing, or which release of a deposit, a payment pays: each once.
payment_part = Table(
    "payment_part",
    metadata,
    Column("entry_no", BigInteger, primary_key=True, autoincrement=False),
    Column("payment_no", BigInteger, nullable=False),
    Column("amount_fen", BigInteger, nullable=False),
)
Index("payment_part_of", payment_part.c.payment_no)

# Out of which insurance's deposits a payment goes; they add up to it.
payment_fund = Table(
    "payment_fund",
    metadata,
    Column("payment_no", BigInteger, nullable=False),
    Column("insutype", Integer, nullable=False),
    Column("amount_fen", BigInteger, nullable=False),
    PrimaryKeyConstraint("payment_no", "insutype"),
)

# A clearing's deposit that was released, in whole.
deposit_release = Table(
    "deposit_release",
    metadata,
    Column("clearing_no", BigInteger, primary_key=True, autoincrement=False),
    Column("entry_no", BigInteger, nullable=False),
    Column("institution_no", Integer, nullable=False),
    Column("amount_fen", BigInteger, nullable=False),
)
Index("deposit_release_entry", deposit_release.c.entry_no)
