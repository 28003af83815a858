"""Runs of the import, as the history knows them: who, when, which files, how many rows.

A row that was added carries its run's number, so that each one's origin is known at no cost.
"""

import asyncio
import datetime as dt
import hashlib
from pathlib import Path

from cardserver.registry import tables
from cardserver.registry.import_store import FileResult, ImportRun
from cardserver.registry.person_import_store import merged_persons
from cardserver.registry.values import Actor
from ledger.bulk_store import insert, plain, update
from ledger.calendar import business_date
from ledger.database_store import Database
from ledger.scripts import Script

_LAST_TEXT = "SELECT coalesce(max(batch_no), 0) FROM import_batch"
_LAST = plain("last run", postgresql=_LAST_TEXT, sqlite=_LAST_TEXT)
_BEGIN = insert(
    tables.import_batch,
    ("batch_no", "begins_time_ms", "ends_time_ms", "operator_no", "actor"),
    ignore_existing=True,
)
_END = update(tables.import_batch, set=("ends_time_ms",), by=("batch_no",))
_ADD_FILE = insert(
    tables.import_file,
    ("batch_no", "name", "sha256", "added", "changed", "unchanged", "merged", "rejected"),
)


async def begin_run(
    database: Database, actor: Actor, *, timezone: dt.tzinfo, updates: bool = False
) -> ImportRun:
    """Number a run, and note who began it."""

    def script() -> Script[int]:
        while True:
            ((last,),) = yield _LAST()
            number: int = last + 1
            # Another load may take the same number at the same time; then the next.
            if (yield _BEGIN([(number, actor.now_ms, 0, actor.operator_no, actor.name)])):
                return number

    return ImportRun(
        batch_no=await database.transact(script),
        actor=actor,
        ended=business_date(actor.now_ms, timezone),
        updates=updates,
        merged=await merged_persons(database),
    )


async def end_file(database: Database, run: ImportRun, path: Path, result: FileResult) -> None:
    """Note what a file was, and what became of its rows."""
    sha256 = await asyncio.to_thread(_digest, path)
    counts = (result.added, result.changed, result.unchanged, result.merged, result.rejected)
    await database.execute(_ADD_FILE([(run.batch_no, result.file, sha256, *counts)]))


async def end_run(database: Database, run: ImportRun, *, now_ms: int) -> None:
    """Note that a run came to its end."""
    await database.execute(_END([(now_ms, run.batch_no)]))


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
