"""Load persons, of whom each is to be in the registry once.

A row of a new number whose identity document is someone's already is the same person if name, sex
and birth date agree: then the number becomes another one of that person, and what later rows say
of it is read as theirs. If they differ, the row is rejected, and someone has to look.
"""

from dataclasses import dataclass, field

from cardserver.registry import import_files, tables
from cardserver.registry.history_store import ADD_CHANGES, change_row
from cardserver.registry.import_files import NumberedRow, Rejection
from cardserver.registry.import_store import (
    CLASH,
    STANDS,
    FileResult,
    ImportRun,
    Reference,
    References,
)
from cardserver.registry.likeness import plain_name
from cardserver.registry.values import FOREVER, Actor
from ledger.bulk_store import Row, delete, insert, plain, select, update
from ledger.database_store import Database
from ledger.scripts import Script

COLUMNS = tuple(import_files.PERSONS.columns)
_COMPARED = COLUMNS[1:]
NUMBER, NAME, SEX, BIRTH_DATE, ID_TYPE = (
    COLUMNS.index(name) for name in ("id_number", "name", "sex", "birth_date", "id_type")
)

_SAME = (("sex", SEX), ("birth_date", BIRTH_DATE))

EXISTING = select(tables.person, _COMPARED, by=("person_no",))
ADD_IDENTITIES = insert(
    tables.identity, ("number", "id_type", "person_no", "ends", "batch_no"), ignore_existing=True
)
HOLDERS = select(tables.identity, ("person_no",), by=("number", "id_type"))
END_IDENTITIES = update(tables.identity, set=("ends",), by=("number", "id_type", "person_no"))
UPDATE_PERSONS = update(tables.person, set=_COMPARED, by=("person_no",))
ADD_MERGED = insert(
    tables.merged_person, ("person_no", "kept_person_no", "batch_no"), ignore_existing=True
)
_REMOVE_IDENTITIES = delete(tables.identity, by=("number", "id_type", "person_no"))
_ADD = insert(tables.person, (*COLUMNS, "batch_no"), ignore_existing=True)
_MERGED_TEXT = "SELECT person_no, kept_person_no FROM merged_person"
_MERGED = plain("read merged persons", postgresql=_MERGED_TEXT, sqlite=_MERGED_TEXT)


async def merged_persons(database: Database) -> dict[int, int]:
    """Return the numbers of merged persons, and under which each is kept."""
    return {row[0]: row[1] for row in await database.fetch(_MERGED())}


@dataclass(slots=True)
class _Batch:
    """What became of a batch's rows, as far as they are new."""

    present: dict[int, Row]
    added: set[int] = field(default_factory=set)


class PersonLoader:
    """Loads `persons.csv`."""

    spec = import_files.PERSONS

    def __init__(self) -> None:
        self._references = References(
            self.spec, (Reference("employer_no", tables.employer, "employer_no"),)
        )

    async def load(
        self, database: Database, run: ImportRun, rows: list[NumberedRow], result: FileResult
    ) -> None:
        """Load one batch, and count what became of each row."""
        rows = await self._references.check(database, run, rows, result)
        if not rows:
            return
        batch = await database.transact(lambda: _add(run, rows))
        left: list[NumberedRow] = []
        waiting: set[int] = set()  # whose rows are taken in their order from here on
        for row in rows:
            number = row.values[0]
            if number in batch.added:
                batch.added.discard(number)
                result.added += 1
            elif number not in waiting and batch.present.get(number) == row.values:
                result.unchanged += 1
            else:
                waiting.add(number)
                left.append(row)
        if left:
            await self._sort_out(database, run, left, result)

    async def _sort_out(
        self, database: Database, run: ImportRun, left: list[NumberedRow], result: FileResult
    ) -> None:
        """Tell persons who are there from those who are there under another number."""
        identities = list(dict.fromkeys(_identity(row) for row in left))
        holders: dict[Row, int] = {
            row[:2]: row[2] for row in await database.fetch(HOLDERS(identities))
        }
        numbers = {row.values[0] for row in left} | set(holders.values())
        found = await database.fetch(EXISTING([(number,) for number in sorted(numbers)]))
        present = {row[0]: row for row in found}
        for row in left:
            number = row.values[0]
            holder = holders.get(_identity(row), 0)
            kept = run.merged.get(number, 0)
            if kept and kept == holder:
                _count_again(row, present[holder], result)
            elif kept:
                reason = f"this person was merged into {kept}, who has another number"
                result.reject(Rejection(result.file, row.line, "id_number", reason))
            elif number not in present:
                await _merge(database, run, row, present.get(holder), result)
            elif present[number] == row.values:
                result.unchanged += 1
            elif await _differ(database, run, row, present[number], holder, result):
                present[number] = row.values
                holders[_identity(row)] = number


def _add(run: ImportRun, rows: list[NumberedRow]) -> Script[_Batch]:
    """Add persons whose number and identity document are both new."""
    found = yield EXISTING([(row.values[0],) for row in rows])
    batch = _Batch({row[0]: row for row in found})
    fresh: dict[Row, NumberedRow] = {}
    numbers: set[int] = set()
    for row in rows:
        number = row.values[0]
        if number in batch.present or number in run.merged or number in numbers:
            continue
        # Also where the document is another row's: what later rows say of this number then waits
        # until it is known whose number it is.
        numbers.add(number)
        fresh.setdefault(_identity(row), row)
    if not fresh:
        return batch
    taken = yield ADD_IDENTITIES(
        [(*identity, row.values[0], FOREVER, run.batch_no) for identity, row in fresh.items()]
    )
    new = [fresh[key].values for key in taken]
    added = yield _ADD([(*values, run.batch_no) for values in new])
    batch.added = {row[0] for row in added}
    if len(batch.added) < len(new):  # another load has added them meanwhile
        lost = [values for values in new if values[0] not in batch.added]
        yield _REMOVE_IDENTITIES([(values[NUMBER], values[ID_TYPE], values[0]) for values in lost])
    return batch


async def _differ(
    database: Database,
    run: ImportRun,
    row: NumberedRow,
    present: Row,
    holder: int,
    result: FileResult,
) -> bool:
    """Reject a row that says something else than the registry, or change the person to it."""
    values = row.values
    before, after = (
        dict(zip(COLUMNS, present, strict=True)),
        dict(zip(COLUMNS, values, strict=True)),
    )
    differing = [name for name in COLUMNS if before[name] != after[name]]
    if holder not in {0, values[0]}:
        reason = f"this number is that of person {holder}"
        result.reject(Rejection(result.file, row.line, "id_number", reason))
    elif not run.updates:
        result.reject(Rejection(result.file, row.line, ", ".join(differing), STANDS))
    else:
        await database.transact(
            lambda: change_person(
                run.actor, present, values, ended=run.ended, batch_no=run.batch_no
            )
        )
        result.changed += 1
        return True
    return False


def change_person(
    actor: Actor, present: Row, values: Row, *, ended: int, batch_no: int = 0
) -> Script[None]:
    """Change a person; another identity document is added, and the earlier one kept as ended.

    `ended` is the last day of the earlier one. That the document is nobody else's is known.
    """
    number = values[0]
    old, new = (present[NUMBER], present[ID_TYPE]), (values[NUMBER], values[ID_TYPE])
    if old != new:
        yield END_IDENTITIES([(ended, *old, number)])
        added = yield ADD_IDENTITIES([(*new, number, FOREVER, batch_no)])
        if not added:  # an earlier one that is theirs again
            yield END_IDENTITIES([(FOREVER, *new, number)])
    yield UPDATE_PERSONS([(*values[1:], number)])
    yield ADD_CHANGES(
        [
            change_row(
                actor,
                tables.person.name,
                (number,),
                person_no=number,
                before=dict(zip(COLUMNS, present, strict=True)),
                after=dict(zip(COLUMNS, values, strict=True)),
                batch_no=batch_no,
            )
        ]
    )


async def _merge(
    database: Database, run: ImportRun, row: NumberedRow, holder: Row | None, result: FileResult
) -> None:
    """Give someone who is there a further number, if they are the same person."""
    if holder is None:  # two loads at once that contradict each other
        result.reject(Rejection(result.file, row.line, "", CLASH))
        return
    values, kept = row.values, holder[0]
    if _is_rejected(row, holder, result):
        return
    change = change_row(
        run.actor,
        tables.merged_person.name,
        (values[0],),
        person_no=kept,
        after={"kept_person_no": kept},
        batch_no=run.batch_no,
    )

    def script() -> Script[None]:
        if (yield ADD_MERGED([(values[0], kept, run.batch_no)])):
            yield ADD_CHANGES([change])

    await database.transact(script)
    run.merged[values[0]] = kept
    result.merged += 1


def _count_again(row: NumberedRow, holder: Row, result: FileResult) -> None:
    """Count a row of a number that is known to be a further one of the holder's."""
    if not _is_rejected(row, holder, result):
        result.unchanged += 1


def _is_rejected(row: NumberedRow, holder: Row, result: FileResult) -> bool:
    """Reject a row with the holder's document that tells of somebody else."""
    differing = [name for name, at in _SAME if row.values[at] != holder[at]]
    if plain_name(row.values[NAME]) != plain_name(holder[NAME]):
        differing.insert(0, "name")
    if differing:
        reason = (
            f"this number is that of person {holder[0]}, of whom the registry has another"
            f" {' and '.join(differing)}"
        )
        result.reject(Rejection(result.file, row.line, "id_number", reason))
    return bool(differing)


def _identity(row: NumberedRow) -> Row:
    return (row.values[NUMBER], row.values[ID_TYPE])
