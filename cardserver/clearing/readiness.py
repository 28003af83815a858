"""Whether a month may be closed and cleared: what others still have open about it.

Each part of the centre that has something to finish before a month's clearing supplies a check: a
function of the database and the month that returns a sentence for each thing that is open.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from cardserver.clearing.clearing_store import institution_codes
from cardserver.clearing.errors import ClearingError
from cardserver.reconciliation.readiness_store import unresolved
from cardserver.review.readiness_store import undecided
from ledger.database_store import Database

Check = Callable[[Database, int], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True)
class Open:
    """Something that stands in the way of a month.

    Attributes:
        check: Which check found it.
        sentence: What it is.
    """

    check: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.check}: {self.sentence}"


class NotReadyError(ClearingError):
    """A month can't be closed or cleared yet.

    Attributes:
        reasons: What is open; empty where it is simply not its turn.
    """

    def __init__(self, sentence: str, reasons: tuple[Open, ...] = ()) -> None:
        self.reasons = reasons
        super().__init__("\n  ".join((sentence, *map(str, reasons))))


async def _review(database: Database, month: int) -> list[str]:
    found: list[str] = []
    codes = await database.report(institution_codes)
    for one in await undecided(database, month):
        code = codes.get(one.institution_no, "")
        of = f"{code}, type 类别 {one.clearing_type}: " * bool(one.cases)
        found.append(
            f"{of}{one.why.text_en} {one.why.text_zh}" + f" ({one.cases})" * bool(one.cases)
        )
    return found


async def _reconciliation(database: Database, month: int) -> list[str]:
    return [str(one) for one in await unresolved(database, month)]


CHECKS: Mapping[str, Check] = {"review": _review, "reconciliation": _reconciliation}


async def what_is_open(
    database: Database, month: int, checks: Mapping[str, Check] = CHECKS
) -> tuple[Open, ...]:
    """Ask every check."""
    found: list[Open] = []
    for name, check in checks.items():
        found += [Open(name, sentence) for sentence in await check(database, month)]
    return tuple(found)


async def be_ready(database: Database, month: int, despite: str) -> tuple[Open, ...]:
    """Return what is open; with a reason to go on despite it, that is no obstacle.

    Raises:
        NotReadyError: Something is open, and no reason is given.
    """
    found = await what_is_open(database, month)
    if found and not despite.strip():
        raise NotReadyError(
            f"{month} is not ready; see to these, or say why it shall go on despite them:", found
        )
    return found
