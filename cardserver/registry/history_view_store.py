"""Read who changed what: of a person, a card, an institution, an operator, and of whole imports.

Not here: how a change is written (`history_store.py`).
"""

from dataclasses import dataclass

from msgspec import json

from cardserver.registry import tables
from ledger.bulk_store import Row, plain, select
from ledger.database_store import Database

_COLUMNS = (
    "change_no", "recorded_time_ms", "operator_no", "actor", "subject", "key", "before", "after",
    "batch_no",
)  # fmt: skip
_OF_PERSON = select(tables.change, _COLUMNS, by=("person_no",))
_OF_SUBJECT = select(tables.change, _COLUMNS, by=("subject", "key"))
_BATCH = select(
    tables.import_batch,
    ("begins_time_ms", "ends_time_ms", "operator_no", "actor"),
    by=("batch_no",),
)
_FILES = select(
    tables.import_file,
    ("name", "sha256", "added", "changed", "unchanged", "merged", "rejected"),
    by=("batch_no",),
)
_ORIGIN = {
    table.name: select(
        table, ("batch_no",), by=tuple(column.name for column in table.primary_key.columns)
    )
    for table in (
        tables.person, tables.card, tables.institution, tables.operator, tables.employer,
    )
}  # fmt: skip
_RUNS = "SELECT batch_no FROM import_batch ORDER BY batch_no DESC LIMIT "
_LAST_RUNS = plain("last runs", postgresql=f"{_RUNS} $1::integer", sqlite=f"{_RUNS} ?1")
_SINCE = (
    f"SELECT {', '.join(_COLUMNS)} FROM change WHERE recorded_time_ms >= {{since}}"  # noqa: S608
    " ORDER BY change_no LIMIT {rows}"
)
_CHANGES_SINCE = plain(
    "changes since",
    postgresql=_SINCE.format(since="$1::bigint", rows="$2::integer"),
    sqlite=_SINCE.format(since="?1", rows="?2"),
)


@dataclass(frozen=True, slots=True)
class Change:
    """What was changed: columns and values before and after; None where there was no row.

    Attributes:
        key: The row's primary key.
        batch_no: The import that changed it; 0 a command.
    """

    change_no: int
    time_ms: int
    operator_no: int
    actor: str
    subject: str
    key: str
    before: dict[str, object] | None
    after: dict[str, object] | None
    batch_no: int


@dataclass(frozen=True, slots=True)
class ImportedFile:
    """One file of an import, and what became of its rows."""

    name: str
    sha256: bytes
    counts: tuple[int, ...]  # added, changed, unchanged, merged, rejected


@dataclass(frozen=True, slots=True)
class Import:
    """One run; `ends_time_ms` is 0 of one that is under way or was broken off."""

    batch_no: int
    begins_time_ms: int
    ends_time_ms: int
    operator_no: int
    actor: str
    files: tuple[ImportedFile, ...]


async def changes_of_person(database: Database, person_no: int) -> list[Change]:
    """List what was changed of a person, their cards, insurances, filings and documents."""
    rows = await database.fetch(_OF_PERSON([(person_no,)]))
    return sorted((_change(row[1:]) for row in rows), key=lambda one: one.change_no)


async def changes_of(database: Database, subject: str, key: str) -> list[Change]:
    """List what was changed of one row of a table."""
    rows = await database.fetch(_OF_SUBJECT([(subject, key)]))
    return sorted((_change(row[2:]) for row in rows), key=lambda one: one.change_no)


async def changes_since(database: Database, since_ms: int, rows_max: int) -> list[Change]:
    """List all that was changed from a moment on, at most so much."""
    return [_change(row) for row in await database.fetch(_CHANGES_SINCE([(since_ms, rows_max)]))]


async def origin_of(database: Database, subject: str, key: Row) -> Import | None:
    """Return the import that brought a row in; None if a command did."""
    rows = await database.fetch(_ORIGIN[subject]([key]))
    batch_no: int = rows[0][-1] if rows else 0
    return await find_import(database, batch_no) if batch_no else None


async def find_import(database: Database, batch_no: int) -> Import | None:
    """Return one run of the import."""
    rows = await database.fetch(_BATCH([(batch_no,)]))
    if not rows:
        return None
    files = [
        ImportedFile(name, bytes(sha256), tuple(counts))
        for _, name, sha256, *counts in await database.fetch(_FILES([(batch_no,)]))
    ]
    _, begins_time_ms, ends_time_ms, operator_no, actor = rows[0]
    return Import(
        batch_no=batch_no,
        begins_time_ms=begins_time_ms,
        ends_time_ms=ends_time_ms,
        operator_no=operator_no,
        actor=actor,
        files=tuple(sorted(files, key=lambda one: one.name)),
    )


async def last_imports(database: Database, count_max: int) -> list[Import]:
    """List the last runs, the last one first."""
    found = [
        await find_import(database, row[0])
        for row in await database.fetch(_LAST_RUNS([(count_max,)]))
    ]
    return [one for one in found if one is not None]


def _change(row: Row) -> Change:
    change_no, time_ms, operator_no, actor, subject, key, before, after, batch_no = row
    return Change(
        change_no=change_no,
        time_ms=time_ms,
        operator_no=operator_no,
        actor=actor,
        subject=subject,
        key=key,
        before=_values(before),
        after=_values(after),
        batch_no=batch_no,
    )


def _values(text: str) -> dict[str, object] | None:
    return json.decode(text, type=dict[str, object]) if text else None
