"""What those on duty watch of the database: slots, replication, size, months not cleared."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

from ledger.bulk_store import plain
from ledger.database_store import Database

_SLOTS = plain(
    "count slots",
    postgresql="SELECT owner <> '', lease_until_ms < $1, count(*) FROM writer_slot GROUP BY 1, 2",
    sqlite="SELECT owner <> '', lease_until_ms < ?1, count(*) FROM writer_slot GROUP BY 1, 2",
)
_ENDING = plain(
    "count terminals' certificates that end",
    postgresql=(
        "SELECT count(*) FROM terminal"
        " WHERE state = 1 AND certificate_ends_ms BETWEEN 1 AND CAST($1 AS bigint)"
    ),
    sqlite="SELECT count(*) FROM terminal WHERE state = 1 AND certificate_ends_ms BETWEEN 1 AND ?1",
)
_REPLICATION = plain(
    "look at replication",
    postgresql=(
        "SELECT count(*), CAST(coalesce(extract(epoch FROM max(replay_lag)), 0) AS float8),"
        " pg_database_size(current_database()) FROM pg_stat_replication"
    ),
    sqlite="SELECT 0, 0.0, page_count * page_size FROM pragma_page_count, pragma_page_size",
)


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """What the database says of itself.

    Attributes:
        slots: How many slots of posting writers are `leased`, `expired` or `free`.
        standbys: How many stream from it.
        lag_s: How far the slowest of them is behind.
        size: In bytes.
    """

    slots: dict[str, int]
    standbys: int
    lag_s: float
    size: int


async def look(database: Database, now_ms: int) -> DatabaseState:
    """Ask the database how it is; costs well under a millisecond.

    Raises:
        StoreError: It doesn't answer.
    """
    slots = dict.fromkeys(("leased", "expired", "free"), 0)
    for is_owned, is_over, count in await database.fetch(_SLOTS([(now_ms,)])):
        slots["free" if not is_owned else "expired" if is_over else "leased"] += count
    ((standbys, lag_s, size),) = await database.fetch(_REPLICATION())
    return DatabaseState(slots, standbys, float(lag_s), size)


async def terminals_ending(database: Database, before_ms: int) -> int:
    """Count terminals in use whose certificate ends before a time, in ms since 1970.

    Raises:
        StoreError: The database doesn't answer.
    """
    ((count,),) = await database.fetch(_ENDING([(before_ms,)]))
    return int(count)


def uncleared_months(connection: Connection, *, before: int) -> list[int]:
    """List months (YYYYMM) that moved money, ended before this one, and are not cleared.

    For `Database.report`: it looks through the writers' totals.
    """
    rows = connection.execute(
        text(
            "SELECT DISTINCT t.period FROM period_total t LEFT JOIN clearing_month m"
            " ON m.month = t.period AND m.ended_time_ms > 0"
            " WHERE t.institution_no <> 0 AND t.period < :before AND m.month IS NULL ORDER BY 1"
        ),
        {"before": before},
    )
    return [row[0] for row in rows]
