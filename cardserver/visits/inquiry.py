"""VISIT_QUERY: how a visit stands, or which visits a person has; the asking institution's own."""

from collections.abc import Iterable, Sequence

from msgspec import msgpack

from cardserver.visits.course import ChargeAccount, Course
from cardserver.visits.visit_book import VisitBook
from cardserver.visits.visit_message import line_found, visit_message
from cardserver.visits.visits_store import find_numbers, read_visits
from ledger.calendar import date_of, day_number
from ledger.database_store import Database
from ledger.scripts import Script
from protocol.terminal import messages

_ENCODER = msgpack.Encoder()
_VISITS_MAX = 64
_SETTLEMENTS_MAX = 256


async def find_visit(
    database: Database,
    visit_no: int,
    institution_no: int,
    query: messages.VisitQuery,
    *,
    size_max: int,
) -> messages.VisitFound | None:
    """Tell how one visit stands; None where it is unknown or another institution's.

    Args:
        database: Where it is.
        visit_no: The visit.
        institution_no: Who asks.
        query: What is asked.
        size_max: How many bytes the lines may take.
    """
    book = await database.fetch_script(_read([visit_no]))
    found = book.find(visit_no, institution_no)
    if found is None:
        return None
    visit, course = found
    until = None if query.until is None else day_number(query.until)
    first = query.first_line
    accounts = list(course.charges.values())
    page = _page(course, accounts[first : first + query.lines_max], size_max)
    end = first + len(page)
    return messages.VisitFound(
        visits=(visit_message(visit, course, until=until),),
        lines=page,
        next_line=end if page and end < len(accounts) else 0,
        settlements=_settlements(course),
    )


async def find_open_visits(
    database: Database, person_no: int, institution_no: int
) -> messages.VisitFound:
    """List a person's visits that are neither closed nor cancelled, the newest first."""
    numbers = await database.fetch_script(find_numbers(person_no, institution_no))
    newest = numbers[:_VISITS_MAX]
    book = await database.fetch_script(_read(newest))
    found = [book.find(number, institution_no) for number in newest]
    return messages.VisitFound(visits=tuple(visit_message(*one) for one in found if one))


def _read(numbers: Iterable[int]) -> Script[VisitBook]:
    book = VisitBook()
    yield from read_visits(book, numbers, ())
    return book


def _page(
    course: Course, accounts: Sequence[ChargeAccount], size_max: int
) -> tuple[messages.VisitLineFound, ...]:
    """Tell how as many lines stand as may be told at once, and one at least."""
    lines: list[messages.VisitLineFound] = []
    size = 0
    for account in accounts:
        line = line_found(course, account)
        size += len(_ENCODER.encode(line))
        if lines and size > size_max:
            break
        lines.append(line)
    return tuple(lines)


def _settlements(course: Course) -> tuple[messages.VisitSettlement, ...]:
    return tuple(
        messages.VisitSettlement(
            setl_id=str(number),
            until=date_of(one.settled.until),
            total_fen=one.settled.total_fen,
            is_final=course.is_final(one),
        )
        for number, one in list(course.settlements.items())[-_SETTLEMENTS_MAX:]
    )
