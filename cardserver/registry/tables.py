"""The registry's tables. Not here: how they are read and written (`..._store`).

Dates are integers YYYYMMDD; a missing end is 99991231. Numbers named `..._no` are ours and
compact; codes are the ones that people and other systems use.
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


def _batch_no() -> Column[int]:
    """Say which import brought a row in, so that a history of half a million rows costs none."""
    return Column("batch_no", Integer, nullable=False, server_default="0")  # 0: by a command


person = Table(
    "person",
    metadata,
    Column("person_no", BigInteger, primary_key=True, autoincrement=False),  # psn_no
    Column("id_number", String(18), nullable=False),  # the present one; `identity` has all
    Column("name", String(50), nullable=False),
    Column("sex", SmallInteger, nullable=False),  # 1 male, 2 female, 9 not stated
    Column("birth_date", Integer, nullable=False),
    Column("deceased_date", Integer),
    Column("family_no", BigInteger, nullable=False),  # 0: none
    Column("employer_no", Integer, nullable=False),  # 0: none
    # psn_cert_type: which document `id_number` is of
    Column("id_type", String(2), nullable=False, server_default="01"),
    _batch_no(),
)

# Every document by which a person is known, or was: no two persons share one. A citizen's number
# is kept in its form of 18 digits.
identity = Table(
    "identity",
    metadata,
    Column("number", String(40), nullable=False),
    Column("id_type", String(2), nullable=False),  # psn_cert_type
    Column("person_no", BigInteger, nullable=False),
    Column("ends", Integer, nullable=False),  # the last day on which it was the person's
    _batch_no(),
    PrimaryKeyConstraint("number", "id_type"),
)
Index("identity_person", identity.c.person_no)

# Numbers of persons who turned out to be someone else, and whose record was kept.
merged_person = Table(
    "merged_person",
    metadata,
    Column("person_no", BigInteger, primary_key=True, autoincrement=False),
    Column("kept_person_no", BigInteger, nullable=False),
    _batch_no(),
)
Index("merged_person_kept", merged_person.c.kept_person_no)

# Two persons who may be one, for someone to decide.
similar_person = Table(
    "similar_person",
    metadata,
    Column("person_no", BigInteger, nullable=False),  # the smaller number
    Column("other_no", BigInteger, nullable=False),
    Column("likeness", String(20), nullable=False),  # duplicates.Likeness
    Column("decision", SmallInteger, nullable=False),  # duplicates_store.Decision
    _batch_no(),
    PrimaryKeyConstraint("person_no", "other_no"),
)

family = Table(
    "family",
    metadata,
    Column("family_no", BigInteger, primary_key=True, autoincrement=False),
    Column("payer_person_no", BigInteger, nullable=False),  # whose account aids the others
    _batch_no(),
)

employer = Table(
    "employer",
    metadata,
    Column("employer_no", Integer, primary_key=True, autoincrement=False),
    Column("code", String(30), nullable=False, unique=True),
    Column("name", String(100), nullable=False),
    _batch_no(),
)

insurance = Table(
    "insurance",
    metadata,
    Column("person_no", BigInteger, nullable=False),
    Column("insutype", String(6), nullable=False),  # 310, 320, 330, 340, 390, 510
    Column("begins", Integer, nullable=False),
    Column("ends", Integer, nullable=False),
    Column("state", SmallInteger, nullable=False),  # 1 in force, 2 paused, 4 ended
    Column("person_type", String(6), nullable=False),  # 11 active, 12 retired, 14 resident
    Column("region", String(6), nullable=False),
    _batch_no(),
    PrimaryKeyConstraint("person_no", "insutype", "begins"),
)

# What a person has filed (备案) and benefits depend on: the centre decides by it, not by what a
# terminal says.
filing = Table(
    "filing",
    metadata,
    Column("person_no", BigInteger, nullable=False),
    Column("kind", SmallInteger, nullable=False),  # values.FilingKind
    Column("code", String(40), nullable=False),  # disease, "referred" or item; empty: none
    Column("institution_no", Integer, nullable=False),  # 0: none
    Column("begins", Integer, nullable=False),
    Column("ends", Integer, nullable=False),
    _batch_no(),
    PrimaryKeyConstraint("person_no", "kind", "code", "institution_no", "begins"),
)

# What is proven of a social security card is the key of (region, historical bytes 6-13).
card = Table(
    "card",
    metadata,
    Column("card_no", BigInteger, primary_key=True, autoincrement=False),
    Column("profile", String(32), nullable=False),  # a name of protocol.card.catalogue
    Column("identity", LargeBinary(16), nullable=False),  # proven: historical bytes 6-13; ICCSN
    Column("region", String(6), nullable=False),
    Column("card_number", String(32), nullable=False),  # printed (AAZ500)
    Column("card_id", LargeBinary(16), nullable=False),  # AAZ501
    Column("person_no", BigInteger, nullable=False),
    Column("version", String(8), nullable=False),  # 1.00, 2.00, 3.00
    Column("algorithm", SmallInteger, nullable=False),  # 1 3DES, 2 SSF33, 3 SM4
    Column("card_class", String(1), nullable=False),
    Column("issuer", LargeBinary(12), nullable=False),  # initialising organisation
    Column("begins", Integer, nullable=False),
    Column("ends", Integer, nullable=False),
    Column("state", SmallInteger, nullable=False),  # 1 valid, 2 lost, 3 replaced, 4 frozen
    _batch_no(),
)
Index("card_identity", card.c.profile, card.c.region, card.c.identity, unique=True)
Index("card_card_number", card.c.card_number, unique=True)
Index("card_person", card.c.person_no)

# The revocation list: each card's and certificate's last change. Versions grow in the order of
# commits, so that whoever has all of one version lacks just the rows above it.
revocation = Table(
    "revocation",
    metadata,
    Column("kind", SmallInteger, nullable=False),  # 1 card, 2 certificate
    Column("subject", LargeBinary(16), nullable=False),  # revocation_store.card_subject and so on
    Column("card_no", BigInteger, nullable=False),  # 0: a certificate
    Column("reason", SmallInteger, nullable=False),  # RevocationReason; 0 revoked no longer
    Column("version", Integer, nullable=False),
    PrimaryKeyConstraint("kind", "subject"),
)
Index(
    "revocation_since",
    revocation.c.version, revocation.c.kind, revocation.c.subject,
    unique=True,
)  # fmt: skip
Index("revocation_card", revocation.c.card_no)

# When each version of the list was made: how old a list is that someone holds.
revocation_version = Table(
    "revocation_version",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("made_time_ms", BigInteger, nullable=False),
)

# One row, whose lock puts the changes in order.
revocation_list = Table(
    "revocation_list",
    metadata,
    Column("list_no", SmallInteger, primary_key=True, autoincrement=False),  # 1
    Column("version", Integer, nullable=False),
)

institution = Table(
    "institution",
    metadata,
    Column("institution_no", Integer, primary_key=True, autoincrement=False),
    Column("code", String(12), nullable=False, unique=True),  # medins_code
    Column("name", String(100), nullable=False),
    Column("kind", SmallInteger, nullable=False),  # 1 hospital, 2 community centre, 3 pharmacy
    Column("level", SmallInteger, nullable=False),  # 1, 2, 3; 0 for pharmacies
    Column("state", SmallInteger, nullable=False),  # 1 active, 2 suspended
    Column("contract_begins", Integer, nullable=False),
    Column("contract_ends", Integer, nullable=False),
    _batch_no(),
)

# What was agreed with an institution from a day on: the row that began last before the day of care
# holds; before the first one, the institution's own level and contract do.
contract = Table(
    "contract",
    metadata,
    Column("institution_no", Integer, nullable=False),
    Column("begins", Integer, nullable=False),
    Column("ends", Integer, nullable=False),
    Column("level", SmallInteger, nullable=False),
    Column("care", String(20), nullable=False),  # med_types, spaces between; empty: all its kind's
    _batch_no(),
    PrimaryKeyConstraint("institution_no", "begins"),
)

terminal = Table(
    "terminal",
    metadata,
    Column("terminal_no", Integer, primary_key=True, autoincrement=False),
    Column("institution_no", Integer, nullable=False),
    Column("code", String(20), nullable=False),
    Column("certificate_sha256", LargeBinary(32), nullable=False),  # the present certificate
    Column("state", SmallInteger, nullable=False),  # 1 active, 2 disabled
    # Of the present certificate; 0 where it was enrolled before this was kept, and not seen since.
    Column("certificate_ends_ms", BigInteger, nullable=False, server_default="0"),
)
Index("terminal_code", terminal.c.institution_no, terminal.c.code, unique=True)

operator = Table(
    "operator",
    metadata,
    Column("operator_no", Integer, primary_key=True, autoincrement=False),
    Column("institution_no", Integer, nullable=False),  # 0: the fund's own
    Column("code", String(20), nullable=False),
    Column("name", String(50), nullable=False),
    Column("role", String(20), nullable=False),  # roles.Role
    Column("password_hash", String(200), nullable=False),  # argon2id
    Column("state", SmallInteger, nullable=False),  # 1 active, 2 locked
    Column("failures", SmallInteger, nullable=False),  # wrong passwords in a row
    _batch_no(),
    # 科室 or section; how work is counted. Empty: not said.
    Column("department", String(40), nullable=False, server_default=""),
)
Index("operator_code", operator.c.institution_no, operator.c.code, unique=True)

sign_on = Table(
    "sign_on",
    metadata,
    Column("sign_no", String(32), primary_key=True),
    Column("terminal_no", Integer, nullable=False),
    Column("operator_no", Integer, nullable=False),
    Column("batch_no", Integer, nullable=False),
    Column("begins_time_ms", BigInteger, nullable=False),
    Column("ends_time_ms", BigInteger, nullable=False),
    Column("wants_stages", SmallInteger, nullable=False),  # whether replies carry stage times
)
Index("sign_on_terminal", sign_on.c.terminal_no)

# Rules as activated: the text itself, so that every worker decides alike and for ever.
policy = Table(
    "policy",
    metadata,
    Column("name", String(60), nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("begins", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("activated_time_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("name", "begins", "sha256"),
)

# --- who changed what ---------------------------------------------------------------------------

# One run of `registry import`.
import_batch = Table(
    "import_batch",
    metadata,
    Column("batch_no", Integer, primary_key=True, autoincrement=False),
    Column("begins_time_ms", BigInteger, nullable=False),
    Column("ends_time_ms", BigInteger, nullable=False),  # 0: under way, or broken off
    Column("operator_no", Integer, nullable=False),
    Column("actor", String(64), nullable=False),
)

import_file = Table(
    "import_file",
    metadata,
    Column("batch_no", Integer, nullable=False),
    Column("name", String(20), nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("added", Integer, nullable=False),
    Column("changed", Integer, nullable=False),
    Column("unchanged", Integer, nullable=False),
    Column("merged", Integer, nullable=False),
    Column("rejected", Integer, nullable=False),
    PrimaryKeyConstraint("batch_no", "name"),
)

# Append-only: every change of a row, in the transaction that made it. A row that an import added
# has none: its `batch_no` says who and when.
change = Table(
    "change",
    metadata,
    Column("change_no", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("recorded_time_ms", BigInteger, nullable=False),
    Column("operator_no", Integer, nullable=False),  # of the fund; 0: none was named
    Column("actor", String(64), nullable=False),  # the system's user
    Column("subject", String(20), nullable=False),  # the table
    Column("key", String(80), nullable=False),  # its primary key, "/" between columns
    Column("person_no", BigInteger, nullable=False),  # whose row it is; 0: no one's
    Column("before", Text, nullable=False),  # JSON object of what changed; empty: it was not there
    Column("after", Text, nullable=False),  # as before; empty: it is gone
    _batch_no(),
)
Index("change_subject", change.c.subject, change.c.key)
Index("change_person", change.c.person_no)
