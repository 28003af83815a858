"""Which worker of all servers speaks with the broker: a row that one of them keeps renewing.

Not a lock of the database, which would hold a connection. Times are the database's readers' own:
a clock that is wrong by more than the lease's life lets two speak for a while, which does no harm,
for the broker then ends the older connection.
"""

from ledger.bulk_store import plain
from ledger.database_store import Database

_TAKE = (
    "INSERT INTO telemetry_lease (lease_no, holder, ends_time_ms) VALUES (1, {holder}, {ends})"
    " ON CONFLICT (lease_no) DO UPDATE SET holder = excluded.holder,"
    " ends_time_ms = excluded.ends_time_ms"
    " WHERE telemetry_lease.holder = excluded.holder OR telemetry_lease.ends_time_ms < {now}"
    " RETURNING holder"
)
_TAKE_LEASE = plain(
    "take the telemetry lease",
    postgresql=_TAKE.format(holder="$1::text", ends="$2::bigint", now="$3::bigint"),
    sqlite=_TAKE.format(holder="?1", ends="?2", now="?3"),
)
_GIVE = "DELETE FROM telemetry_lease WHERE lease_no = 1 AND holder = {holder} RETURNING holder"
_GIVE_LEASE = plain(
    "give the telemetry lease back",
    postgresql=_GIVE.format(holder="$1::text"),
    sqlite=_GIVE.format(holder="?1"),
)


async def take_lease(database: Database, holder: str, *, now_ms: int, life_ms: int) -> bool:
    """Take the lease or renew it; False where another holds it.

    Raises:
        StoreError: As the family says.
    """
    (rows,) = await database.execute(_TAKE_LEASE([(holder, now_ms + life_ms, now_ms)]))
    return bool(rows)


async def give_lease_back(database: Database, holder: str) -> None:
    """Let another take it at once.

    Raises:
        StoreError: As the family says.
    """
    await database.execute(_GIVE_LEASE([(holder,)]))
