"""Visits in the database: what a commit group reads and writes of them, and look-ups.

Not here: what is decided (`opening.py`, `charging.py`, `ending.py`, `billing.py`).
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from cardserver.visits import tables
from cardserver.visits.course import course_of
from cardserver.visits.values import Visit
from cardserver.visits.visit_book import Noted, VisitBook
from cardserver.visits.visit_record import decode_record, encode_record
from ledger.bulk_store import Query, Row, insert, select, update
from ledger.scripts import Script
from protocol.terminal.messages import VisitKind, VisitState

_FIND_VISITS = select(tables.visit, Visit._fields[1:], ("visit_no",))
_FIND_STAYS = select(
    tables.visit, ("visit_no", *Visit._fields[2:3], *Visit._fields[4:]), ("person_no", "kind")
)
_FIND_RECORDS = select(tables.visit_record, ("record_no", "content"), ("visit_no",))
_INSERT_VISITS = insert(tables.visit, Visit._fields)
_UPDATE_VISITS = update(tables.visit, set=("state", "ends", "record_count"), by=("visit_no",))
_INSERT_RECORDS = insert(
    tables.visit_record,
    ("visit_no", "record_no", "recorded_time_ms", "msgid", "operator_no", "content"),
)


@dataclass(frozen=True, slots=True)
class Note:
    """What one decision left with a visit, and who asked when."""

    noted: Noted
    recorded_time_ms: int
    msgid: str
    operator_no: int


def read_persons_of(numbers: Iterable[int]) -> Script[set[int]]:
    """Find whose the visits are, before the persons are locked; that never changes."""
    rows = yield _FIND_VISITS(_keys(numbers))
    return {Visit(*row).person_no for row in rows}


def read_visits(book: VisitBook, numbers: Iterable[int], persons: Iterable[int]) -> Script[None]:
    """Read visits, with their courses and those of their chains.

    Args:
        book: Where to.
        numbers: The visits asked about.
        persons: Further persons whose stays are wanted.
    """
    asked = _keys(numbers)
    wanted = {number for (number,) in asked}
    persons_with_stays = set(persons)
    if asked:
        for row in (yield _FIND_VISITS(asked)):
            visit = Visit(*row)
            book.visits[visit.visit_no] = visit
            if visit.kind == VisitKind.INPATIENT:
                persons_with_stays.add(visit.person_no)
    if persons_with_stays:
        inpatient = int(VisitKind.INPATIENT)
        rows = yield _FIND_STAYS([(person, inpatient) for person in sorted(persons_with_stays)])
        book.stays |= {person: set() for person in persons_with_stays}
        for person_no, kind, visit_no, institution_no, *rest in rows:
            stay = Visit(visit_no, person_no, institution_no, kind, *rest)
            book.visits[visit_no] = stay
            book.stays[person_no].add(visit_no)
    chains = {book.visits[number].chain_no for number in wanted if number in book.visits}
    wanted = {
        number
        for number, visit in book.visits.items()
        if number in wanted or (visit.chain_no in chains and visit.state != VisitState.CANCELLED)
    }
    if wanted:
        records: dict[int, list[tuple[int, bytes]]] = {number: [] for number in wanted}
        for visit_no, record_no, content in (yield _FIND_RECORDS(_keys(wanted))):
            records[visit_no].append((record_no, content))
        for number, found in records.items():
            found.sort()
            book.courses[number] = course_of(decode_record(content) for _, content in found)


def visit_queries(book: VisitBook, notes: Collection[Note]) -> list[Query]:
    """Return what is to be written: visits that began, records, and where their visits stand."""
    opened: list[Row] = []
    records: list[Row] = []
    changed: dict[int, int] = {}
    for note in notes:
        number = note.noted.visit_no
        if note.noted.opened is not None:
            opened.append(tuple(note.noted.opened))
        if note.noted.record is not None:
            changed[number] = changed.get(number, 0) + 1
    # The book holds the count after the group: number this group's records up to it.
    for note in notes:
        number, record = note.noted.visit_no, note.noted.record
        if record is not None:
            record_no = book.visits[number].record_count - changed[number] + 1
            changed[number] -= 1
            records.append(
                (number, record_no, note.recorded_time_ms, note.msgid, note.operator_no,
                 encode_record(record))
            )  # fmt: skip
    queries: list[Query] = []
    if opened:
        queries.append(_INSERT_VISITS(opened))
    if records:
        rows: list[Row] = []
        for number in sorted(changed):
            visit = book.visits[number]
            rows.append((visit.state, visit.ends, visit.record_count, number))
        queries += [_INSERT_RECORDS(records), _UPDATE_VISITS(rows)]
    return queries


def _keys(numbers: Iterable[int]) -> list[Row]:
    return [(number,) for number in sorted({number for number in numbers if number})]
