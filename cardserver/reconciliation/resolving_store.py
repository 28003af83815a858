"""Differences as the fund's people look at them: listed with their age, shown, resolved."""

# ruff: noqa: S608 - every name in a text is the schema's own, every value is a parameter

from dataclasses import dataclass

from sqlalchemy import Connection, text

from cardserver.reconciliation.readiness_store import DAY_MS
from cardserver.reconciliation.record_store import (
    DIFFERENCE_COLUMNS,
    RESOLVE,
    difference_of,
)
from cardserver.reconciliation.values import KeptDifference, Resolution
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.history_store import audit
from cardserver.registry.values import Actor
from ledger.bulk_store import plain
from ledger.database_store import Database
from ledger.scripts import Script

LIMIT_MAX = 10_000
REASON_MAX = 200

_FIND = f"SELECT {DIFFERENCE_COLUMNS} FROM reconciliation_difference d WHERE d.difference_no = "
_BY_NUMBER = plain("find a difference", postgresql=f"{_FIND}$1::bigint", sqlite=f"{_FIND}?1")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which differences.

    Attributes:
        institution_no: 0: all institutions'.
        day: YYYYMMDD; 0: of all days.
        older_than_ms: Known since before this moment; 0: whenever.
        is_open: Only those that are open.
        after_no: Those with a higher number: the next page.
        limit: How many at most.
    """

    institution_no: int = 0
    day: int = 0
    older_than_ms: int = 0
    is_open: bool = True
    after_no: int = 0
    limit: int = 200


@dataclass(frozen=True, slots=True)
class Listed:
    """A difference and whose it is."""

    institution: str
    institution_name: str
    difference: KeptDifference

    def age_days(self, now_ms: int) -> int:
        """For how many whole days it is, or was, known."""
        until_ms = self.difference.resolved_time_ms or now_ms
        return max(0, until_ms - self.difference.first_time_ms) // DAY_MS


async def list_differences(database: Database, wanted: Wanted) -> list[Listed]:
    """List differences in the order of their numbers, the oldest first."""
    conditions = ["d.difference_no > :after_no"]
    parameters = {"after_no": wanted.after_no, "limit": min(wanted.limit, LIMIT_MAX)}
    if wanted.institution_no:
        conditions.append("d.institution_no = :institution_no")
        parameters["institution_no"] = wanted.institution_no
    if wanted.day:
        conditions.append("d.business_date = :day")
        parameters["day"] = wanted.day
    if wanted.older_than_ms:
        conditions.append("d.first_time_ms < :older_than_ms")
        parameters["older_than_ms"] = wanted.older_than_ms
    if wanted.is_open:
        conditions.append("d.resolution = 0")
    statement = text(
        f"SELECT i.code, i.name, {DIFFERENCE_COLUMNS} FROM reconciliation_difference d"
        " JOIN institution i ON i.institution_no = d.institution_no"
        f" WHERE {' AND '.join(conditions)} ORDER BY d.difference_no LIMIT :limit"
    )

    def read(connection: Connection) -> list[Listed]:
        rows = connection.execute(statement, parameters)
        return [Listed(row[0], row[1], difference_of(tuple(row[2:]))) for row in rows]

    return await database.report(read)


async def find_difference(database: Database, difference_no: int) -> KeptDifference | None:
    """Find a difference by its number."""
    rows = await database.fetch(_BY_NUMBER([(difference_no,)]))
    return difference_of(rows[0]) if rows else None


async def resolve_difference(
    database: Database, difference_no: int, reason: str, actor: Actor
) -> KeptDifference:
    """Note why a difference may stay; found again unchanged, it stays resolved.

    Raises:
        AdministrationError: There is no such difference, it is not open, or no reason is given.
    """
    reason = reason.strip().replace("\0", "")
    if not reason:
        raise AdministrationError("a difference is resolved with a reason")
    if len(reason) > REASON_MAX:
        raise AdministrationError(f"a reason has at most {REASON_MAX} characters")
    if not actor.operator_no:
        raise AdministrationError("a difference is resolved by an operator of the fund")

    def script() -> Script[KeptDifference]:
        rows = yield _BY_NUMBER([(difference_no,)])
        if not rows:
            raise AdministrationError(f"there is no difference {difference_no}")
        known = difference_of(rows[0])
        change = (
            int(Resolution.DECIDED), actor.now_ms, actor.operator_no, reason, difference_no,
            int(Resolution.OPEN),
        )  # fmt: skip
        if not (yield RESOLVE([change])):
            raise AdministrationError(
                f"difference {difference_no} is not open: {known.resolution.name.lower()}"
            )
        yield audit(actor, "difference resolved", str(difference_no), reason)
        rows = yield _BY_NUMBER([(difference_no,)])
        return difference_of(rows[0])

    return await database.transact(script)
