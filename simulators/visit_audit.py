"""What is true of acknowledged visits, computed anew from requests and replies alone.

Not here: their settlements, which are held to what is true of every one (`auditor.py`).
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import (
    Lines,
    LinesCancel,
    LinesTaken,
    MessageType,
    Registered,
    VisitChanged,
)
from simulators.journal import Attempt


def visits_begun(attempts: Iterable[Attempt]) -> list[str]:
    """Name the visits that began; each is an entry."""
    return [
        body.mdtrt_id
        for attempt in attempts
        if attempt.type in {MessageType.REGISTER, MessageType.ADMIT}
        and isinstance(body := _approved(attempt), Registered)
    ]


def check_visits(attempts: Iterable[Attempt]) -> Iterator[str]:
    """Hold what was said of visits to what was asked, in the order in which it was answered."""
    known = list(attempts)
    for number, count in Counter(visits_begun(known)).items():
        if count > 1:
            yield f"visit number {number} was given out {count} times"
    due: dict[str, dict[str, int]] = {}
    for attempt in sorted(known, key=lambda one: one.ended):
        answer = _approved(attempt)
        if isinstance(attempt.body, Lines) and isinstance(answer, LinesTaken):
            lines = due.setdefault(attempt.body.mdtrt_id, {})
            for line in attempt.body.lines:
                lines[line.refunds or line.number] = (
                    lines.get(line.refunds or line.number, 0) + line.gross_fen
                )
            visit = answer.visit
        elif isinstance(attempt.body, LinesCancel) and isinstance(answer, VisitChanged):
            lines = due.setdefault(attempt.body.mdtrt_id, {})
            for number in attempt.body.numbers:
                lines.pop(number, None)
            visit = answer.visit
        else:
            continue
        wanted = sum(lines.values())
        if visit.unsettled_fen != wanted:
            yield (
                f"visit {visit.mdtrt_id} has lines of {visit.unsettled_fen} fen,"
                f" {wanted} were acknowledged"
            )


def _approved(attempt: Attempt) -> object:
    outcome = attempt.outcome
    if outcome is None or outcome.code != ResponseCode.APPROVED:
        return None
    return attempt.body_of_outcome
