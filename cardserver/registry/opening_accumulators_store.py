"""Take over what persons had used in a year before this centre: each amount once.

Not here: what it means for accumulators (`cardserver/claims/accumulators_store.py`).
"""

from cardserver.claims.accumulators_store import open_accumulators
from cardserver.registry import import_files, tables
from cardserver.registry.import_files import NumberedRow, Rejection
from cardserver.registry.import_store import PERSON_EXISTS, FileResult, ImportRun, References
from ledger.bulk_store import Row, select
from ledger.database_store import Database
from ledger.scripts import Script

_KEY_SIZE = 4  # person, year, insurance, scheme

# Settlements of these persons wait, since they read the accumulators.
_LOCK_PERSONS = select(tables.person, (), by=("person_no",), lock=True)


class AccumulatorLoader:
    """Loads `accumulators.csv`; an amount that was taken over is never changed by a file."""

    spec = import_files.ACCUMULATORS

    def __init__(self) -> None:
        self._references = References(self.spec, (PERSON_EXISTS,))

    async def load(
        self, database: Database, run: ImportRun, rows: list[NumberedRow], result: FileResult
    ) -> None:
        """Load one batch in one transaction, and count what became of each row."""
        rows = await self._references.check(database, run, rows, result)
        wanted: dict[Row, NumberedRow] = {}
        for row in rows:
            first = wanted.setdefault(row.values[:_KEY_SIZE], row)
            if first is row:
                continue
            if first.values == row.values:
                result.unchanged += 1
            else:
                reason = "the file names two amounts of this person, year, insurance and scheme"
                result.reject(Rejection(result.file, row.line, "", reason))
        if not wanted:
            return
        persons = [(number,) for number in sorted({key[0] for key in wanted})]

        def script() -> Script[tuple[int, list[Row]]]:
            yield _LOCK_PERSONS(persons)
            return (yield from open_accumulators(row.values for row in wanted.values()))

        added, differing = await database.transact(script)
        result.added += added
        result.unchanged += len(wanted) - added - len(differing)
        for values in differing:
            line = wanted[tuple(values[:_KEY_SIZE])].line
            reason = "other amounts were taken over for this person and year, which stand"
            result.reject(Rejection(result.file, line, "", reason))
