"""Persons who may be one: found after an import, kept until someone has decided.

Not here: who is like whom (`likeness.py`), making one of two (`merge_store.py`).
"""

from dataclasses import dataclass
from enum import IntEnum, unique

from cardserver.registry import tables
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.history_store import changed
from cardserver.registry.likeness import Known, Likeness, find_pairs
from cardserver.registry.values import Actor
from ledger.bulk_store import insert, plain, select, update
from ledger.database_store import Database, in_batches
from ledger.scripts import Script

_PAGE_ROWS = 50_000
_WRITE_ROWS = 1_000

_KNOWN = "SELECT person_no, id_number, id_type, name, sex, birth_date FROM person"
_READ = plain(
    "read persons to compare",
    postgresql=f"{_KNOWN} WHERE person_no > $1 ORDER BY person_no LIMIT $2",
    sqlite=f"{_KNOWN} WHERE person_no > ?1 ORDER BY person_no LIMIT ?2",
)
_ADD = insert(
    tables.similar_person,
    ("person_no", "other_no", "likeness", "decision", "batch_no"),
    ignore_existing=True,
)
_PAIR = select(tables.similar_person, ("likeness", "decision"), by=("person_no", "other_no"))
_DECIDE = update(tables.similar_person, set=("decision",), by=("person_no", "other_no"))
_OPEN_TEXT = (
    "SELECT s.person_no, s.other_no, s.likeness, s.decision FROM similar_person s"
    " WHERE s.decision = 0 ORDER BY s.person_no, s.other_no"
)
_OPEN = plain("pairs to decide", postgresql=_OPEN_TEXT, sqlite=_OPEN_TEXT)


@unique
class Decision(IntEnum):
    """What someone decided of two persons who may be one; if they are, one record goes."""

    OPEN = 0
    DIFFERENT = 2


@dataclass(frozen=True, slots=True)
class SimilarPair:
    """Two persons who may be one; the smaller number first."""

    person_no: int
    other_no: int
    likeness: Likeness
    decision: Decision


async def look_for_pairs(database: Database, *, batch_no: int) -> int:
    """Look through all persons for those who may be one; return how many pairs are new."""
    persons: list[Known] = []
    last = 0
    while rows := await database.fetch(_READ([(last, _PAGE_ROWS)])):
        persons += [Known(*row) for row in rows]
        last = rows[-1][0]
    pairs = [(*pair[:2], pair.likeness.value, 0, batch_no) for pair in find_pairs(persons)]
    count = 0
    for some in in_batches(pairs, _WRITE_ROWS):
        (added,) = await database.execute(_ADD(some))
        count += len(added)
    return count


async def open_pairs(database: Database) -> list[SimilarPair]:
    """List the pairs that nobody has decided yet."""
    return [
        SimilarPair(row[0], row[1], Likeness(row[2]), Decision(row[3]))
        for row in await database.fetch(_OPEN())
    ]


async def tell_apart(database: Database, one: int, other: int, actor: Actor) -> None:
    """Record that two persons are two, so that they are not listed again.

    Raises:
        AdministrationError: They are no pair to decide.
    """
    key = (min(one, other), max(one, other))

    def script() -> Script[None]:
        rows = yield _PAIR([key])
        if not rows:
            raise AdministrationError("these two were not found to be alike")
        yield _DECIDE([(int(Decision.DIFFERENT), *key)])
        yield changed(
            actor,
            tables.similar_person.name,
            key,
            person_no=key[0],
            before={"decision": Decision(rows[0][3]).name.lower()},
            after={"decision": Decision.DIFFERENT.name.lower()},
        )

    await database.transact(script)
