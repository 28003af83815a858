"""What is kept of terminals' health, and of planned stops. Not here: reading and writing.

States are news, not books: losing them costs a look until terminals say them again.
"""

from sqlalchemy import BigInteger, Column, Integer, MetaData, SmallInteger, String, Table

metadata = MetaData()

# The state heard of last, by the names in the certificate; whether such a terminal is enrolled is
# for whoever reads to find in the registry.
terminal_state = Table(
    "terminal_state",
    metadata,
    Column("institution", String(12), primary_key=True),
    Column("terminal", String(20), primary_key=True),
    Column("presence", SmallInteger, nullable=False),  # terminal_states.PresenceCode
    Column("session", String(16), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("changed_time_ms", BigInteger, nullable=False),  # presence or session did, at the centre
    Column("heard_time_ms", BigInteger, nullable=False),  # by the centre's clock, as the above
    Column("interval_ms", Integer, nullable=False),
    Column("clock_skew_ms", BigInteger, nullable=False),  # terminal's clock less the centre's
    Column("felt_p95_ms", BigInteger, nullable=False),
    Column("outbox_count", BigInteger, nullable=False),
    Column("state", String, nullable=False),  # as it was said: protocol/telemetry, JSON
)

planned_stop = Table(
    "planned_stop",
    metadata,
    Column("stop_no", Integer, primary_key=True, autoincrement=False),
    Column("begins_time_ms", BigInteger, nullable=False),
    Column("ends_time_ms", BigInteger, nullable=False),
    Column("text_zh", String(200), nullable=False),
    Column("text_en", String(200), nullable=False),
    Column("is_cancelled", SmallInteger, nullable=False),
    Column("made_by", String(100), nullable=False),
    Column("made_time_ms", BigInteger, nullable=False),
)

# Who of all workers of all servers speaks with the broker, and until when unless it says so again.
telemetry_lease = Table(
    "telemetry_lease",
    metadata,
    Column("lease_no", SmallInteger, primary_key=True, autoincrement=False),  # 1
    Column("holder", String(32), nullable=False),
    Column("ends_time_ms", BigInteger, nullable=False),
)
