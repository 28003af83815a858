"""Parts of tables by month, made ahead while the centre runs: months before they are needed."""

import asyncio
import datetime as dt

import structlog

from cardserver.migrations.tables import METADATAS
from ledger.calendar import Clock, business_date
from ledger.database_store import Database
from ledger.partitions_store import Part, list_parts, make_parts, monthly, months_from
from ledger.store_errors import StoreError

log = structlog.get_logger("cardserver.storage")

MONTHS_AHEAD = 3
_EVERY_S = 3600.0
DIVIDED = monthly(table for metadata in METADATAS for table in metadata.tables.values())
"""The tables that are kept by month."""


async def make_parts_ahead(
    database: Database, *, month: int, count: int = MONTHS_AHEAD
) -> list[str]:
    """Make what is missing of so many months' parts, this month's first; return their names."""
    months = months_from(month, count)
    return await database.administer(lambda connection: make_parts(connection, DIVIDED, months))


async def read_parts(database: Database) -> list[Part]:
    """List the parts that there are; none on SQLite."""
    return await database.report(lambda connection: list_parts(connection, DIVIDED))


async def keep_parts_ahead(database: Database, clock: Clock, timezone: dt.tzinfo) -> None:
    """Make parts now and, as months pass, ahead of their time; a fault is tried again.

    Where it fails for long, rows without a part of their own are taken all the same, and moved
    into theirs when it is made.
    """
    if database.dialect == "sqlite":
        return
    while True:
        month = business_date(clock.now_ms(), timezone) // 100
        try:
            made = await make_parts_ahead(database, month=month)
        except StoreError as error:
            log.warning("parts by month not made", error=str(error))
        else:
            if made:
                log.info("parts by month made", parts=made)
        await asyncio.sleep(_EVERY_S)
