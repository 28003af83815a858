"""Planned stops of the centre: what terminals are told of the next one."""

from dataclasses import dataclass

from cardserver.registry.values import Actor
from cardserver.telemetry import tables
from ledger.bulk_store import insert, plain
from ledger.database_store import Database
from ledger.scripts import Script

_COLUMNS = (
    "stop_no", "begins_time_ms", "ends_time_ms", "text_zh", "text_en", "is_cancelled", "made_by",
    "made_time_ms",
)  # fmt: skip
_LAST = "SELECT coalesce(max(stop_no), 0) FROM planned_stop"
_LAST_NUMBER = plain("number of the last planned stop", postgresql=_LAST, sqlite=_LAST)
_ADD = insert(tables.planned_stop, _COLUMNS)
_COMING = (
    "SELECT stop_no, begins_time_ms, ends_time_ms, text_zh, text_en, made_by FROM planned_stop"
    " WHERE is_cancelled = 0 AND ends_time_ms > {now} ORDER BY begins_time_ms, stop_no LIMIT 100"
)
_FIND_COMING = plain(
    "planned stops to come",
    postgresql=_COMING.format(now="$1::bigint"),
    sqlite=_COMING.format(now="?1"),
)
_CANCEL = (
    "UPDATE planned_stop SET is_cancelled = 1 WHERE stop_no = {no} AND is_cancelled = 0"
    " RETURNING stop_no"
)
_CANCEL_STOP = plain(
    "cancel a planned stop",
    postgresql=_CANCEL.format(no="$1::integer"),
    sqlite=_CANCEL.format(no="?1"),
)


@dataclass(frozen=True, slots=True)
class PlannedStop:
    """One planned stop that has not ended, nor been cancelled."""

    stop_no: int
    begins_time_ms: int
    ends_time_ms: int
    text_zh: str
    text_en: str
    made_by: str


async def plan_stop(
    database: Database,
    *,
    begins_time_ms: int,
    ends_time_ms: int,
    texts: tuple[str, str],
    actor: Actor,
) -> int:
    """Plan a stop; terminals are told within seconds. Return its number.

    Args:
        database: The fund's.
        begins_time_ms: When it begins.
        ends_time_ms: When it ends, as planned.
        texts: Why, for cashiers: Chinese and English.
        actor: Who plans it.

    Raises:
        StoreError: As the family says.
    """
    assert begins_time_ms < ends_time_ms

    def script() -> Script[int]:
        ((last,),) = yield _LAST_NUMBER()
        number: int = last + 1
        row = (
            number, begins_time_ms, ends_time_ms, *texts, 0, actor.name[:100], actor.now_ms
        )  # fmt: skip
        yield _ADD([row])
        return number

    return await database.transact(script)


async def cancel_stop(database: Database, stop_no: int) -> bool:
    """Take a planned stop back; False where there is none of the number.

    Raises:
        StoreError: As the family says.
    """
    (rows,) = await database.execute(_CANCEL_STOP([(stop_no,)]))
    return bool(rows)


async def coming_stops(database: Database, *, now_ms: int) -> list[PlannedStop]:
    """Give the stops that have not ended, the next one first.

    Raises:
        StoreError: As the family says.
    """
    return [PlannedStop(*row) for row in await database.fetch(_FIND_COMING([(now_ms,)]))]
