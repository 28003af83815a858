"""What made-up cashiers asked and were answered: all that the auditor is given.

Moments are ticks of the journal's own: it sees every sending and every answer, so that of two
attempts it can say whether one had ended before the other began. Not here: who asks
(`counter.py`), and what the answers must have in common (`auditor.py`).
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec import Struct

from protocol.terminal.bodies import NIL, decode_reply_body
from protocol.terminal.messages import (
    Bill,
    MessageType,
    Person,
    Previewed,
    Reply,
    StatusFound,
    StatusState,
)

_STATES_WITH_OUTCOME = frozenset({StatusState.SETTLED, StatusState.REFUSED, StatusState.UNDONE})


class AttemptKey(NamedTuple):
    """What names an attempt at the centre: two terminals may use the same msgid."""

    institution: str
    terminal: str
    msgid: str


class Outcome(Struct, frozen=True):
    """How an attempt ended, as one answer told it.

    Attributes:
        code: A `ResponseCode`.
        body: The reply body's bytes; empty for none.
        business_date: The reply's; None where STATUS told.
        is_duplicate: Whether the answer said that it repeats an earlier one.
        is_by_status: Whether STATUS told it.
    """

    code: int
    body: bytes
    business_date: dt.date | None = None
    is_duplicate: bool = False
    is_by_status: bool = False


@dataclass(slots=True, eq=False)
class Attempt:
    """One msgid and all that came of it.

    Attributes:
        institution: The institution's code.
        terminal: The terminal's code.
        type: What was asked: one of the types whose outcome is stored.
        msgid: The same in every copy.
        body: The same in every copy.
        psn_no: Whose card session it carries; empty without one.
        began: Tick of its first copy's sending; 0 before.
        ended: Tick at which its outcome was first known; 0 while in doubt.
        sends: Copies sent.
        answers: Final answers, as they came.
    """

    institution: str
    terminal: str
    type: MessageType
    msgid: str
    body: Struct
    psn_no: str
    began: int = 0
    ended: int = 0
    sends: int = 0
    answers: list[Outcome] = field(default_factory=list)

    @property
    def outcome(self) -> Outcome | None:
        """The first final answer; None while there is none."""
        return self.answers[0] if self.answers else None

    @property
    def body_of_outcome(self) -> Struct | None:
        """The outcome's body, decoded; None where there is no outcome, or it has no body."""
        if not self.answers:
            return None
        return decode_reply_body(self.type, self.answers[0].code, self.answers[0].body)

    @property
    def key(self) -> AttemptKey:
        """What names it at the centre."""
        return AttemptKey(self.institution, self.terminal, self.msgid)


class Sighting(Struct, frozen=True):
    """A person as a reply showed them, asked and answered at these ticks."""

    person: Person
    began: int
    ended: int


class Shown(Struct, frozen=True):
    """A preview."""

    bill: Bill
    previewed: Previewed


class Journal:
    """All attempts, previews and sightings of one run."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.attempts: list[Attempt] = []
        self.previews: list[Shown] = []
        self.sightings: list[Sighting] = []
        self._tick = 0

    def tick(self) -> int:
        """Name this moment; later ones are greater."""
        self._tick += 1
        return self._tick

    def begin(self, attempt: Attempt) -> Attempt:
        """Take up a new attempt."""
        self.attempts.append(attempt)
        return attempt

    def note_send(self, attempt: Attempt) -> None:
        """Note that a copy is about to be sent."""
        attempt.sends += 1
        if not attempt.began:
            attempt.began = self.tick()

    def note_reply(self, attempt: Attempt, reply: Reply) -> None:
        """Note a final reply to the attempt itself."""
        body = b"" if bytes(reply.body) == NIL else bytes(reply.body)
        self._note(attempt, Outcome(reply.code, body, reply.business_date, reply.duplicate))

    def note_status(self, attempt: Attempt, found: StatusFound) -> bool:
        """Note what STATUS told; says whether that is final."""
        body = b"" if bytes(found.body) == NIL else bytes(found.body)
        if found.state in _STATES_WITH_OUTCOME or found.state is StatusState.TOMBSTONED:
            self._note(attempt, Outcome(found.code, body, is_by_status=True))
            return True
        return False

    def note_person(self, person: Person, began: int) -> None:
        """Note how a reply that was asked for at `began` showed a person."""
        self.sightings.append(Sighting(person, began, self.tick()))

    def of_type(self, type_: MessageType) -> Iterator[Attempt]:
        """Go through the attempts of one type."""
        return (attempt for attempt in self.attempts if attempt.type is type_)

    def _note(self, attempt: Attempt, outcome: Outcome) -> None:
        attempt.answers.append(outcome)
        if not attempt.ended:
            attempt.ended = self.tick()
