"""Load the registry from CSV files: in batches, each one transaction, repeatable at any time.

A row whose key is in the registry already is left alone: loading the same folder again changes
nothing, and what administrators have changed since (a card's state, a password) stands. Where the
file says something else than the registry, the row is rejected, or taken if the run updates. Not
here: the files' columns (`import_files.py`), how they are read beside the database's work
(`import_reader.py`), persons, who must not be there twice (`person_import_store.py`), opening
balances and accumulators (`opening_..._store.py`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Table

from cardserver.registry import tables
from cardserver.registry.history_store import ADD_CHANGES, change_row
from cardserver.registry.import_files import FileSpec, NumberedRow, Rejection
from cardserver.registry.import_reader import chunks_of
from cardserver.registry.values import Actor
from ledger.bulk_store import Row, Statement, insert, select, update
from ledger.database_store import Database
from ledger.scripts import Script

# SQLite: a transaction well under the 50 ms that administration may take while a centre runs.
# PostgreSQL: enough rows for the round trip not to count.
BATCH_ROWS = {"sqlite": 1_000, "postgresql": 10_000}
REJECTIONS_KEPT_MAX = 1_000

STANDS = "the registry has this number with other values, which stand"
CLASH = "another row has the same code, number or identity"


@dataclass(slots=True)
class FileResult:
    """What became of one file's rows.

    Attributes:
        added: New in the registry.
        unchanged: There already, the same.
        rejected: Not taken; the first of them are in `rejections`.
        changed: There already, and changed to what the file says.
        merged: Of persons: someone who is there under another number, and now known by both.
        on_rejection: Is told of every rejected row, also of those that are not kept here.
    """

    file: str
    added: int = 0
    unchanged: int = 0
    rejected: int = 0
    rejections: list[Rejection] = field(default_factory=list)
    changed: int = 0
    merged: int = 0
    on_rejection: Callable[[Rejection], None] = field(default=lambda _rejection: None)

    def reject(self, rejection: Rejection) -> None:
        """Count a row that isn't taken, and keep why, up to a limit."""
        self.rejected += 1
        if len(self.rejections) < REJECTIONS_KEPT_MAX:
            self.rejections.append(rejection)
        self.on_rejection(rejection)


@dataclass(slots=True)
class ImportRun:
    """What the files of one run share.

    Attributes:
        batch_no: Which run it is, in the history.
        updates: Whether a row that differs from the registry changes it.
        ended: The last day of an identity document that is replaced.
        merged: Numbers of merged persons, and under which each is kept; grows as persons are read.
    """

    batch_no: int
    actor: Actor
    ended: int
    updates: bool = False
    merged: dict[int, int] = field(default_factory=dict)


class FileLoader(Protocol):
    """Loads the rows of one file."""

    spec: FileSpec

    async def load(
        self, database: Database, run: ImportRun, rows: list[NumberedRow], result: FileResult
    ) -> None:
        """Load one batch, and count what became of each row."""
        ...


@dataclass(frozen=True, slots=True)
class Reference:
    """A column that must name a row of another table; 0 names none."""

    column: str
    table: Table
    key: str


def picker(indexes: list[int]) -> Callable[[Row], Row]:
    """Return a function that takes these values of a row, as a tuple also for one or none."""
    if not indexes:
        return lambda _row: ()
    if len(indexes) == 1:
        (index,) = indexes
        return lambda row: (row[index],)
    return itemgetter(*indexes)


class References:
    """Checks that what a file's rows name exists, and reads merged persons as whom they are."""

    def __init__(self, spec: FileSpec, references: tuple[Reference, ...]) -> None:
        columns = list(spec.columns)
        self._file = spec.name
        self._persons = [
            columns.index(one.column) for one in references if one.table is tables.person
        ]
        self._checks = [
            (
                one.column,
                columns.index(one.column),
                one.table.name,
                select(one.table, (), by=(one.key,)),
            )
            for one in references
        ]

    async def check(
        self, database: Database, run: ImportRun, rows: list[NumberedRow], result: FileResult
    ) -> list[NumberedRow]:
        """Return the rows that name nothing missing; reject the others."""
        if run.merged:
            rows = [self._as_kept(run.merged, row) for row in rows]
        for column, index, table_name, statement in self._checks:
            wanted = {row.values[index] for row in rows} - {0}
            missing = wanted - await keys_found(database, statement, wanted)
            if missing:
                for row in rows:
                    if row.values[index] in missing:
                        reason = f"there is no such {table_name}"
                        result.reject(Rejection(self._file, row.line, column, reason))
                rows = [row for row in rows if row.values[index] not in missing]
        return rows

    def _as_kept(self, merged: Mapping[int, int], row: NumberedRow) -> NumberedRow:
        values = row.values
        for index in self._persons:
            kept = merged.get(values[index])
            if kept is not None:
                values = (*values[:index], kept, *values[index + 1 :])
        return row if values is row.values else NumberedRow(row.line, values)


class Loader:
    """Loads rows of one file into one table."""

    def __init__(
        self,
        spec: FileSpec,
        table: Table,
        *,
        extra: tuple[tuple[str, Any], ...] = (),  # of the column's type
        not_stored: tuple[str, ...] = (),
        kept: tuple[str, ...] = (),
        fixed: tuple[str, ...] = (),
        references: tuple[Reference, ...] = (),
    ) -> None:
        """Make the statements once.

        Args:
            spec: The file.
            table: Where its rows go.
            extra: Columns that aren't in the file, and their value in a new row.
            not_stored: Columns of the file that aren't in the table.
            kept: Columns that are the registry's own once a row is there, so not compared.
            fixed: Columns that no run updates: another value is another thing.
            references: What must exist.
        """
        self.spec = spec
        names = [name for name in spec.columns if name not in not_stored]
        self._stored = picker([list(spec.columns).index(name) for name in names])
        self._extra = tuple(value for _, value in extra)
        self._table = table.name
        keys = [column.name for column in table.primary_key.columns]
        self._key = picker([names.index(key) for key in keys])
        self._fixed = frozenset(fixed)
        self._compared_names = [name for name in names if name not in kept and name not in keys]
        self._compared = picker([names.index(name) for name in self._compared_names])
        self._person = names.index("person_no") if "person_no" in names else None
        added = [*names, *(name for name, _ in extra), "batch_no"]
        self._insert = insert(table, added, ignore_existing=True)
        self._existing = select(table, self._compared_names, by=keys)
        self._update = update(table, set=self._compared_names, by=keys)
        self._key_size = len(keys)
        self._references = References(spec, references)

    async def load(
        self, database: Database, run: ImportRun, rows: list[NumberedRow], result: FileResult
    ) -> None:
        """Load one batch in one transaction, and count what became of each row."""
        rows = await self._references.check(database, run, rows, result)
        if not rows:
            return
        stored = [self._stored(row.values) for row in rows]
        tail = (*self._extra, run.batch_no)

        def script() -> Script[list[Row]]:
            return (yield self._insert([values + tail for values in stored]))

        added = set(await database.transact(script))
        left: list[tuple[int, Row]] = []
        for row, values in zip(rows, stored, strict=True):
            key = self._key(values)
            if key in added:
                added.discard(key)  # the same number again in this batch is not new any more
                result.added += 1
            else:
                left.append((row.line, values))
        if left:
            await self._compare(database, run, left, result)

    async def _compare(
        self, database: Database, run: ImportRun, left: list[tuple[int, Row]], result: FileResult
    ) -> None:
        """Tell rows that were there already from rows that another one stands in the way of."""
        keys = list(dict.fromkeys(self._key(values) for _, values in left))
        found = {
            row[: self._key_size]: row[self._key_size :]
            for row in await database.fetch(self._existing(keys))
        }
        changes: dict[Row, tuple[Row, Row, Row]] = {}  # by key: before, after, the row
        for line, values in left:
            key = self._key(values)
            present = found.get(key)
            if present is None:
                result.reject(Rejection(self.spec.name, line, "", CLASH))
                continue
            wanted = self._compared(values)
            if present == wanted:
                result.unchanged += 1
                continue
            differing = [
                name
                for name, old, new in zip(self._compared_names, present, wanted, strict=True)
                if old != new
            ]
            if not run.updates or key in changes or not self._fixed.isdisjoint(differing):
                result.reject(Rejection(self.spec.name, line, ", ".join(differing), STANDS))
            else:
                changes[key] = present, wanted, values
        if changes:
            await database.transact(lambda: self._change(run, changes))
            result.changed += len(changes)

    def _change(self, run: ImportRun, changes: Mapping[Row, tuple[Row, Row, Row]]) -> Script[None]:
        yield self._update([wanted + key for key, (_, wanted, _) in changes.items()])
        yield ADD_CHANGES(
            [
                change_row(
                    run.actor,
                    self._table,
                    key,
                    person_no=0 if self._person is None else values[self._person],
                    before=dict(zip(self._compared_names, present, strict=True)),
                    after=dict(zip(self._compared_names, wanted, strict=True)),
                    batch_no=run.batch_no,
                )
                for key, (present, wanted, values) in changes.items()
            ]
        )


PERSON_EXISTS = Reference("person_no", tables.person, "person_no")
INSTITUTION_EXISTS = Reference("institution_no", tables.institution, "institution_no")


async def load_file(
    database: Database,
    run: ImportRun,
    loader: FileLoader,
    path: Path,
    result: FileResult,
    on_progress: Callable[[int], None],
) -> FileResult:
    """Load a file; tell `on_progress` how many rows are done with, from time to time.

    Raises:
        ImportFileError: The file can't be read; batches before that point stand.
        StoreError: The database failed; batches before that point stand. Load again.
    """
    done = 0
    async with chunks_of(path, loader.spec, BATCH_ROWS[database.dialect]) as chunks:
        async for chunk in chunks:
            for rejection in chunk.rejections:
                result.reject(rejection)
            if chunk.rows:
                await loader.load(database, run, chunk.rows, result)
            done += chunk.count
            on_progress(done)
    return result


async def keys_found(database: Database, statement: Statement, wanted: set[int]) -> set[int]:
    """Return which of these keys exist."""
    if not wanted:
        return set()
    return {row[0] for row in await database.fetch(statement([(key,) for key in wanted]))}
