"""What institutions apply for, take back and ask: a month's totals beside the centre's.

An application is natural to repeat: the same msgid gets the same answer, the same totals the same
application. Not here: the messages (`cardserver/handlers/clearing.py`).
"""

from dataclasses import dataclass
from enum import Enum, unique

from sqlalchemy import Connection, text

from cardserver.claims.audit_store import INSERT_AUDIT, audit_row
from cardserver.clearing import tables
from cardserver.clearing.calculation import MonthTotals
from cardserver.clearing.clearing_store import stored_clearings
from cardserver.clearing.payments import PaymentState
from cardserver.clearing.plan import StoredClearing
from cardserver.clearing.totals_store import kept_totals
from ledger.bulk_store import Query, insert, select, update
from ledger.database_store import Database
from ledger.ledger_store import last_closed_period
from ledger.scripts import Script

_COLUMNS = tuple(
    column.name for column in tables.clearing_application.columns if column.name != "application_no"
)
_INSERT = insert(tables.clearing_application, _COLUMNS)
_BY_ATTEMPT = select(
    tables.clearing_application,
    tuple(one for one in ("application_no", *_COLUMNS) if one not in
          {"institution_no", "terminal_no", "msgid"}),
    by=("institution_no", "terminal_no", "msgid"),
)  # fmt: skip
_BY_NUMBER = select(tables.clearing_application, _COLUMNS, by=("application_no",))
_OF_PLACE = select(
    tables.clearing_application,
    ("application_no", "settled_count", "settled_fen", "undone_count", "undone_fen"),
    by=("institution_no", "month", "clearing_type", "cancelled_time_ms"),
)
_CANCEL = update(
    tables.clearing_application,
    set=("cancelled_time_ms",),
    by=("application_no", "cancelled_time_ms"),
)
_CLEARED = select(tables.clearing, ("entry_no",), by=("institution_no", "month", "clearing_type"))
_STANDS = 0


@unique
class ClearingRefusal(Enum):
    """Why an institution's wish is not done."""

    MONTH_NOT_OVER = "the month is not over"
    UNKNOWN = "there is no such application here"
    CLEARED = "the month is cleared already"
    APPLIED_OTHERWISE = "an application with other totals stands"


@dataclass(frozen=True, slots=True)
class Applicant:
    """Who applies, in which attempt, and when."""

    institution_no: int
    terminal_no: int
    operator_no: int
    msgid: str
    now_ms: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is applied for.

    Attributes:
        month: YYYYMM.
        totals: The institution's; counts and amounts of settlements and undoings only.
    """

    month: int
    clearing_type: int
    totals: MonthTotals


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of an application.

    Attributes:
        application_no: 0 where the totals differ.
        centre: The centre's totals.
    """

    application_no: int
    centre: MonthTotals


async def apply(
    database: Database, applicant: Applicant, wanted: Wanted, *, running_month: int
) -> Applied | ClearingRefusal:
    """Compare an institution's totals, and keep its application where they agree.

    Args:
        database: Started.
        applicant: Who applies.
        wanted: For what.
        running_month: The fund's, YYYYMM.
    """
    last_closed = await database.fetch_script(last_closed_period())
    if wanted.month >= running_month and (last_closed is None or wanted.month > last_closed):
        return ClearingRefusal.MONTH_NOT_OVER
    kept = await database.report(
        lambda connection: kept_totals(
            connection, wanted.month, institution_no=applicant.institution_no
        )
    )
    centre = kept.get((applicant.institution_no, wanted.clearing_type), MonthTotals())
    if _figures(centre) != _figures(wanted.totals):
        return Applied(0, centre)
    number = await database.transact(lambda: _apply(applicant, wanted))
    return number if isinstance(number, ClearingRefusal) else Applied(number, centre)


def _apply(applicant: Applicant, wanted: Wanted) -> Script[int | ClearingRefusal]:
    attempt = (applicant.institution_no, applicant.terminal_no, applicant.msgid)
    earlier = yield _BY_ATTEMPT([attempt])
    if earlier:
        return int(earlier[0][3])
    place = (applicant.institution_no, wanted.month, wanted.clearing_type)
    standing = yield _OF_PLACE([(*place, _STANDS)])
    if standing:
        _, _, _, _, number, *figures = standing[0]
        is_same = tuple(figures) == _figures(wanted.totals)
        return int(number) if is_same else ClearingRefusal.APPLIED_OTHERWISE
    if (yield _CLEARED([place])):
        return ClearingRefusal.CLEARED
    yield _INSERT([
        (*place, applicant.terminal_no, applicant.msgid, applicant.operator_no,
         *_figures(wanted.totals), applicant.now_ms, _STANDS)
    ])  # fmt: skip
    made = yield _BY_ATTEMPT([attempt])
    yield _note(applicant, "clearing_apply", f"{wanted.month}/{wanted.clearing_type}")
    return int(made[0][3])


async def cancel(
    database: Database, applicant: Applicant, application_no: int
) -> int | ClearingRefusal:
    """Take an application back; one that is taken back already stays so."""

    def script() -> Script[int | ClearingRefusal]:
        rows = yield _BY_NUMBER([(application_no,)])
        if not rows or rows[0][1] != applicant.institution_no:
            return ClearingRefusal.UNKNOWN
        row = dict(zip(("application_no", *_COLUMNS), rows[0], strict=True))
        if row["cancelled_time_ms"] != _STANDS:
            return application_no
        place = (row["institution_no"], row["month"], row["clearing_type"])
        if (yield _CLEARED([place])):
            return ClearingRefusal.CLEARED
        yield _CANCEL([(applicant.now_ms, application_no, _STANDS)])
        yield _note(applicant, "clearing_cancel", str(application_no))
        return application_no

    return await database.transact(script)


def _figures(totals: MonthTotals) -> tuple[int, int, int, int]:
    return (
        totals.settled_count, totals.settled_fen, totals.undone_count, totals.undone_fen,
    )  # fmt: skip


def _note(applicant: Applicant, action: str, subject: str) -> Query:
    return INSERT_AUDIT(
        [
            audit_row(
                time_ms=applicant.now_ms,
                institution_no=applicant.institution_no,
                terminal_no=applicant.terminal_no,
                operator_no=applicant.operator_no,
                action=action,
                subject=subject,
                detail=applicant.msgid,
            )
        ]
    )


# --- what an institution may know ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InstitutionMonth:
    """A month of one institution, as far as it has come.

    Attributes:
        is_closed: Whether nothing is posted to it any more.
        totals: By clearing type.
        applications: Numbers of applications that stand, by clearing type.
        clearings: By clearing type.
        payments: By clearing type, the state and reason of the last payment that pays it.
    """

    is_closed: bool
    totals: dict[int, MonthTotals]
    applications: dict[int, int]
    clearings: dict[int, StoredClearing]
    payments: dict[int, tuple[PaymentState, str]]


def read_institution_month(
    connection: Connection, institution_no: int, month: int
) -> InstitutionMonth:
    """Read a month of an institution; for `Database.report`."""
    where = {"institution_no": institution_no, "month": month}
    last_closed = connection.execute(
        text("SELECT max(period) FROM period WHERE is_closed = 1")
    ).scalar()
    applications = connection.execute(
        text(
            "SELECT clearing_type, application_no FROM clearing_application"
            " WHERE institution_no = :institution_no AND month = :month AND cancelled_time_ms = 0"
        ),
        where,
    )
    # A payment that was returned is followed to those that pay again.
    payments = connection.execute(
        text(
            """
            WITH RECURSIVE paying (clearing_type, payment_no) AS (
                SELECT c.clearing_type, t.payment_no FROM clearing c
                JOIN payment_part t ON t.entry_no = c.entry_no
                WHERE c.institution_no = :institution_no AND c.month = :month
                UNION ALL
                SELECT p.clearing_type, a.payment_no FROM paying p
                JOIN payment a ON a.again_of = p.payment_no
            )
            SELECT p.clearing_type, y.state, y.reason FROM paying p
            JOIN payment y ON y.payment_no = p.payment_no ORDER BY y.payment_no
            """
        ),
        where,
    )
    return InstitutionMonth(
        is_closed=last_closed is not None and month <= last_closed,
        totals={
            place[1]: totals
            for place, totals in kept_totals(
                connection, month, institution_no=institution_no
            ).items()
        },
        applications={row[0]: row[1] for row in applications},
        clearings={
            one.clearing.clearing_type: one
            for one in stored_clearings(connection, month=month, institution_no=institution_no)
        },
        payments={row[0]: (PaymentState(row[1]), row[2]) for row in payments},
    )
