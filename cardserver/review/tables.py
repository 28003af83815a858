"""Review's tables. Not here: the deductions' money, which is the ledger's.

A case is about one settlement. Its row says how it stands; what was done to it is in `review_step`,
which is only added to.
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

# The text itself, as of policies: a month keeps the version by which it was opened.
review_rules = Table(
    "review_rules",
    metadata,
    Column("name", String(60), nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("begins", Integer, nullable=False),  # YYYYMM
    Column("text", Text, nullable=False),
    Column("activated_time_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("name", "begins", "sha256"),
)

# A month whose settlements are reviewed.
review_month = Table(
    "review_month",
    metadata,
    Column("month", Integer, primary_key=True, autoincrement=False),  # YYYYMM, the entries' period
    Column("rules", String(120), nullable=False),  # name@YYYY-MM#hash
    Column("seed", LargeBinary(32), nullable=False),  # of the sample; drawn once
    Column("opened_time_ms", BigInteger, nullable=False),
    Column("operator_no", Integer, nullable=False),  # who opened it
    Column("cases", Integer, nullable=False),  # numbers given out
    Column("sampled_time_ms", BigInteger, nullable=False),  # 0: not yet
    Column("flagged_time_ms", BigInteger, nullable=False),  # 0: not yet
)

# What the sample was drawn from: one row an institution and clearing type.
review_stratum = Table(
    "review_stratum",
    metadata,
    Column("month", Integer, nullable=False),
    Column("institution_no", Integer, nullable=False),
    Column("clearing_type", SmallInteger, nullable=False),
    Column("settlements", Integer, nullable=False),  # that stood, and the fund paid something of
    Column("fund_pay_fen", BigInteger, nullable=False),
    Column("sampled", Integer, nullable=False),
    PrimaryKeyConstraint("month", "institution_no", "clearing_type"),
)

review_case = Table(
    "review_case",
    metadata,
    Column("case_no", BigInteger, primary_key=True, autoincrement=False),  # month and a number
    Column("month", Integer, nullable=False),
    Column("claim_no", BigInteger, nullable=False),  # the settlement
    Column("person_no", BigInteger, nullable=False),
    Column("institution_no", Integer, nullable=False),
    Column("clearing_type", SmallInteger, nullable=False),
    Column("business_date", Integer, nullable=False),  # the settlement's
    Column("total_fen", BigInteger, nullable=False),
    Column("fund_pay_fen", BigInteger, nullable=False),
    Column("sources", SmallInteger, nullable=False),  # values.Source, added up
    Column("flags", String(400), nullable=False),  # rules that flagged it, spaces between
    Column("opened_time_ms", BigInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),  # values.State
    Column("steps", Integer, nullable=False),  # how many there are
    Column("holder_no", Integer, nullable=False),  # the operator who has taken it; 0: nobody
    Column("taken_time_ms", BigInteger, nullable=False),
    Column("held_until_ms", BigInteger, nullable=False),
    Column("verdict", SmallInteger, nullable=False),  # values.Verdict, proposed or in force
    Column("proposed_fen", BigInteger, nullable=False),
    Column("deduction_fen", BigInteger, nullable=False),  # in force
    Column("deduction_no", BigInteger, nullable=False),  # its entry; 0: none
    Column("decided_time_ms", BigInteger, nullable=False),  # 0: not yet
    Column("appeal_until", Integer, nullable=False),  # last day, YYYYMMDD; 0: no appeal is open
)
Index("review_case_claim", review_case.c.claim_no, unique=True)
Index("review_case_state", review_case.c.month, review_case.c.state, review_case.c.case_no)
Index(
    "review_case_institution",
    review_case.c.institution_no, review_case.c.month, review_case.c.case_no,
)  # fmt: skip

# Append-only: who signed what.
review_step = Table(
    "review_step",
    metadata,
    Column("case_no", BigInteger, nullable=False),
    Column("step", Integer, nullable=False),  # from 1
    Column("kind", SmallInteger, nullable=False),  # values.StepKind
    Column("operator_no", Integer, nullable=False),  # 0: the centre itself
    Column("department", String(40), nullable=False),  # the operator's, then
    Column("month", Integer, nullable=False),  # when it was done, YYYYMM
    Column("taken_time_ms", BigInteger, nullable=False),  # when the operator took the case
    Column("recorded_time_ms", BigInteger, nullable=False),
    Column("verdict", SmallInteger, nullable=False),
    Column("fund_pay_fen", BigInteger, nullable=False),  # at stake
    Column("deduction_fen", BigInteger, nullable=False),  # proposed, or in force from then on
    Column("entry_no", BigInteger, nullable=False),  # the last one that it posted; 0: none
    Column("note", String(400), nullable=False),
    PrimaryKeyConstraint("case_no", "step"),
)
Index("review_step_month", review_step.c.month, review_step.c.operator_no)

# What a step takes from a settlement, and why.
review_cut = Table(
    "review_cut",
    metadata,
    Column("case_no", BigInteger, nullable=False),
    Column("step", Integer, nullable=False),
    Column("cut", SmallInteger, nullable=False),  # from 1
    Column("line", Integer, nullable=False),  # of the bill, from 1; 0: the settlement as a whole
    Column("amount_fen", BigInteger, nullable=False),
    Column("article", String(40), nullable=False),  # 条款, of the month's rules
    Column("reason", String(200), nullable=False),
    PrimaryKeyConstraint("case_no", "step", "cut"),
)

# An institution's objection: one a case.
review_appeal = Table(
    "review_appeal",
    metadata,
    Column("case_no", BigInteger, primary_key=True, autoincrement=False),
    Column("institution_no", Integer, nullable=False),
    Column("terminal_no", Integer, nullable=False),
    Column("msgid", String(30), nullable=False),
    Column("request_hash", LargeBinary(32), nullable=False),
    Column("operator_no", Integer, nullable=False),
    Column("recorded_time_ms", BigInteger, nullable=False),
    Column("business_date", Integer, nullable=False),
    Column("reason", String(400), nullable=False),
)
Index(
    "review_appeal_msgid",
    review_appeal.c.institution_no, review_appeal.c.terminal_no, review_appeal.c.msgid,
    unique=True,
)  # fmt: skip

# Who may not review what: an institution's cases, or a single case.
review_conflict = Table(
    "review_conflict",
    metadata,
    Column("operator_no", Integer, nullable=False),
    Column("institution_no", Integer, nullable=False),  # 0: a case
    Column("case_no", BigInteger, nullable=False),  # 0: an institution
    Column("reason", String(200), nullable=False),
    Column("declared_time_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("operator_no", "institution_no", "case_no"),
)
