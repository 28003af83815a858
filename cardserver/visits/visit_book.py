"""What a commit group has read of visits, kept up to date as its decisions are made.

Not here: reading and writing (`visits_store.py`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from msgspec import Struct

from cardserver.visits.course import Course
from cardserver.visits.values import Settled, Visit, VisitRecord
from protocol.terminal.messages import VisitState


class Noted(Struct, frozen=True):
    """What a decision leaves with a visit.

    Attributes:
        visit_no: The visit; 0 for one that this decision opens, whose number is its entry's.
        opened: The visit that begins.
        record: What is recorded; a settlement's number is its entry's, as long as it is 0.
    """

    visit_no: int = 0
    opened: Visit | None = None
    record: VisitRecord | None = None

    def numbered(self, entry_no: int) -> "Noted":
        """Fill in the number of the entry that was posted with it."""
        opened, record = self.opened, self.record
        if opened is not None:
            chain_no = opened.chain_no or entry_no
            opened = opened._replace(visit_no=entry_no, chain_no=chain_no)
        if isinstance(record, Settled) and not record.claim_no:
            record = Settled(
                entry_no, record.until, record.total_fen, record.admission, record.amounts
            )
        return Noted(self.visit_no or entry_no, opened, record)


@dataclass(slots=True)
class VisitBook:
    """The visits that a group's decisions look at.

    Attributes:
        visits: By number: those asked about, and the stays of the persons asked about.
        stays: By person, the numbers of all their stays.
        courses: By number: of the visits asked about, and of the stays of their chains.
    """

    visits: dict[int, Visit] = field(default_factory=dict)
    stays: dict[int, set[int]] = field(default_factory=dict)
    courses: dict[int, Course] = field(default_factory=dict)

    def find(self, visit_no: int, institution_no: int) -> tuple[Visit, Course] | None:
        """Find a visit of the asking institution, with its course."""
        visit = self.visits.get(visit_no)
        if visit is None or visit.institution_no != institution_no:
            return None
        return visit, self.courses[visit_no]

    def other_stays(self, person_no: int, visit_no: int = 0) -> Iterator[Visit]:
        """Give the person's stays beside one, without those cancelled."""
        for number in sorted(self.stays.get(person_no, ())):
            visit = self.visits[number]
            if number != visit_no and visit.state != VisitState.CANCELLED:
                yield visit

    def chain(self, visit: Visit) -> Iterator[tuple[Visit, Course]]:
        """Give the stays that continue each other by transfer, this one included."""
        numbers = self.stays.get(visit.person_no, set()) | {visit.visit_no}
        for number in sorted(numbers):
            other = self.visits[number]
            if other.chain_no == visit.chain_no and number in self.courses:
                yield other, self.courses[number]

    def take(self, noted: Noted) -> None:
        """Let the group's later decisions see what one of them left."""
        number = noted.visit_no
        if noted.opened is not None:
            self.visits[number] = noted.opened
            self.courses[number] = Course()
            if noted.opened.person_no in self.stays:
                self.stays[noted.opened.person_no].add(number)
        if noted.record is not None:
            course = self.courses[number]
            course.take(noted.record)
            self.visits[number] = self.visits[number]._replace(
                state=course.state,
                ends=course.discharged.day if course.discharged else 0,
                record_count=course.record_count,
            )
