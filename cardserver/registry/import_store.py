"""Load the registry from CSV files: in batches, each one transaction, repeatable at any time.

A row whose number is in the registry already is left alone: loading the same folder again changes
nothing, and what administrators have changed since (a card's state, a password) stands. Where the
file says something else than the registry, the row is reported. Not here: the files' columns
(`import_files.py`), opening balances (`opening_balances_store.py`).
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any

from sqlalchemy import Table

from cardserver.registry import import_files, tables
from cardserver.registry.import_files import (
    FileSpec,
    ImportFileError,
    NumberedRow,
    Rejection,
    read_rows,
)
from ledger.bulk_store import Query, Row, Statement, insert, select
from ledger.database_store import Database

# SQLite: a transaction well under the 50 ms that administration may take while a centre runs.
# PostgreSQL: enough rows for the round trip not to count.
BATCH_ROWS = {"sqlite": 1_000, "postgresql": 10_000}
REJECTIONS_KEPT_MAX = 1_000


@dataclass(slots=True)
class FileResult:
    """What became of one file's rows.

    Attributes:
        added: New in the registry.
        unchanged: There already, the same.
        rejected: Not taken; the first of them are in `rejections`.
    """

    file: str
    added: int = 0
    unchanged: int = 0
    rejected: int = 0
    rejections: list[Rejection] = field(default_factory=list)

    def reject(self, rejection: Rejection) -> None:
        """Count a row that isn't taken, and keep why, up to a limit."""
        self.rejected += 1
        if len(self.rejections) < REJECTIONS_KEPT_MAX:
            self.rejections.append(rejection)


@dataclass(frozen=True, slots=True)
class Reference:
    """A column that must name a row of another table; 0 names none."""

    column: str
    table: Table
    key: str


def _picker(indexes: list[int]) -> Callable[[Row], Row]:
    """Return a function that takes these values of a row, as a tuple also for one or none."""
    if not indexes:
        return lambda _row: ()
    if len(indexes) == 1:
        (index,) = indexes
        return lambda row: (row[index],)
    return itemgetter(*indexes)


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
        references: tuple[Reference, ...] = (),
    ) -> None:
        """Make the statements once.

        Args:
            spec: The file.
            table: Where its rows go.
            extra: Columns that aren't in the file, and their value in a new row.
            not_stored: Columns of the file that aren't in the table.
            kept: Columns that are the registry's own once a row is there, so not compared.
            references: What must exist.
        """
        self.spec = spec
        names = [name for name in spec.columns if name not in not_stored]
        self._stored = _picker([list(spec.columns).index(name) for name in names])
        self._extra = tuple(value for _, value in extra)
        keys = [column.name for column in table.primary_key.columns]
        self._key = _picker([names.index(key) for key in keys])
        compared = [name for name in names if name not in kept and name not in keys]
        self._compared_names = compared
        self._compared = _picker([names.index(name) for name in compared])
        self._insert = insert(table, [*names, *(name for name, _ in extra)], ignore_existing=True)
        self._existing = select(table, compared, by=keys)
        self._key_size = len(keys)
        self._references = [
            (
                reference.column,
                list(spec.columns).index(reference.column),
                reference.table.name,
                select(reference.table, (), by=(reference.key,)),
            )
            for reference in references
        ]

    async def load(self, database: Database, rows: list[NumberedRow], result: FileResult) -> None:
        """Load one batch in one transaction, and count what became of each row."""
        rows = await self._with_references(database, rows, result)
        if not rows:
            return
        stored = [self._stored(row.values) for row in rows]
        queries = self._insert([values + self._extra for values in stored])

        def script() -> Generator[Query, list[Row], list[Row]]:
            return (yield queries)

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
            await self._compare(database, left, result)

    async def _with_references(
        self, database: Database, rows: list[NumberedRow], result: FileResult
    ) -> list[NumberedRow]:
        for column, index, table_name, statement in self._references:
            wanted = {row.values[index] for row in rows} - {0}
            found = await _keys(database, statement, wanted)
            missing = wanted - found
            if missing:
                for row in rows:
                    if row.values[index] in missing:
                        reason = f"there is no such {table_name}"
                        result.reject(Rejection(self.spec.name, row.line, column, reason))
                rows = [row for row in rows if row.values[index] not in missing]
        return rows

    async def _compare(
        self, database: Database, left: list[tuple[int, Row]], result: FileResult
    ) -> None:
        """Tell rows that were there already from rows that another one stands in the way of."""
        keys = list(dict.fromkeys(self._key(values) for _, values in left))
        found = {
            row[: self._key_size]: row[self._key_size :]
            for row in await database.fetch(self._existing(keys))
        }
        for line, values in left:
            present = found.get(self._key(values))
            if present is None:
                reason = "another row has the same code, number or identity"
                result.reject(Rejection(self.spec.name, line, "", reason))
                continue
            differing = [
                name
                for name, old, new in zip(
                    self._compared_names, present, self._compared(values), strict=True
                )
                if old != new
            ]
            if differing:
                reason = "the registry has this number with other values, which stand"
                result.reject(Rejection(self.spec.name, line, ", ".join(differing), reason))
            else:
                result.unchanged += 1


_PERSON_EXISTS = Reference("person_no", tables.person, "person_no")

# In this order: what is referred to comes first.
LOADERS = (
    Loader(import_files.EMPLOYERS, tables.employer),
    Loader(import_files.INSTITUTIONS, tables.institution, kept=("state",)),
    Loader(
        import_files.OPERATORS,
        tables.operator,
        extra=(("failures", 0),),
        kept=("password_hash", "state"),
        references=(Reference("institution_no", tables.institution, "institution_no"),),
    ),
    Loader(
        import_files.PERSONS,
        tables.person,
        references=(Reference("employer_no", tables.employer, "employer_no"),),
    ),
    Loader(
        import_files.FAMILIES,
        tables.family,
        references=(Reference("payer_person_no", tables.person, "person_no"),),
    ),
    Loader(import_files.INSURANCES, tables.insurance, references=(_PERSON_EXISTS,)),
    Loader(
        import_files.CARDS,
        tables.card,
        not_stored=("historical",),
        kept=("state",),
        references=(_PERSON_EXISTS,),
    ),
    Loader(
        import_files.FILINGS,
        tables.filing,
        kept=("ends",),
        references=(
            _PERSON_EXISTS,
            Reference("institution_no", tables.institution, "institution_no"),
        ),
    ),
)
CATALOGUE_FILE = "catalogue"  # brought into its versions by cardserver/catalogue/list_import.py
FILE_NAMES = (
    CATALOGUE_FILE,
    *(loader.spec.name for loader in LOADERS),
    import_files.BALANCES.name,
)


def files_of(directory: Path) -> list[str]:
    """Return the names of the folder's files, in the order in which they are to be loaded.

    Raises:
        ImportFileError: There are none, or one that means nothing here.
    """
    if not directory.is_dir():
        raise ImportFileError(f"{directory} is not a folder")
    present = {path.stem for path in directory.glob("*.csv")}
    unknown = sorted(present.difference(FILE_NAMES))
    if unknown:
        raise ImportFileError(
            f"{directory / unknown[0]}.csv means nothing here: known are {', '.join(FILE_NAMES)}"
        )
    if not present:
        raise ImportFileError(f"{directory} holds no CSV files")
    return [name for name in FILE_NAMES if name in present]


async def load_file(
    database: Database,
    loader: Loader,
    path: Path,
    on_progress: Callable[[int], None],
) -> FileResult:
    """Load a file; tell `on_progress` how many rows are done with, from time to time.

    Raises:
        ImportFileError: The file can't be read; batches before that point stand.
        StoreError: The database failed; batches before that point stand. Load again.
    """
    result = FileResult(loader.spec.name)
    size = BATCH_ROWS[database.dialect]
    done = 0
    for read in in_chunks(read_rows(path, loader.spec), size):
        rows = sort_out(read, result)
        await loader.load(database, rows, result)
        done += len(read)
        on_progress(done)
    return result


def in_chunks(
    rows: Iterable[NumberedRow | Rejection], size: int
) -> Iterator[list[NumberedRow | Rejection]]:
    """Cut a stream into lists of at most `size`."""
    iterator = iter(rows)
    while chunk := list(islice(iterator, size)):
        yield chunk


def sort_out(read: list[NumberedRow | Rejection], result: FileResult) -> list[NumberedRow]:
    """Count the rejections among what was read, and return the rows."""
    rows: list[NumberedRow] = []
    for row in read:
        if isinstance(row, Rejection):
            result.reject(row)
        else:
            rows.append(row)
    return rows


async def _keys(database: Database, statement: Statement, wanted: set[int]) -> set[int]:
    if not wanted:
        return set()
    return {row[0] for row in await database.fetch(statement([(key,) for key in wanted]))}
