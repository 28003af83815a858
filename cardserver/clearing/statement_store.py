"""What statements are made of: days' sums and single entries of a month, streamed by institution.

Not here: how they are written (`statements.py`), clearings themselves (`clearing_store.py`).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, text

from ledger.accounts import Account
from ledger.period_store import numbers_of_period

_PAYABLE = int(Account.INSTITUTION_PAYABLE)
_ROWS_READ = 5_000


@dataclass(frozen=True, slots=True)
class DaySum:
    """One day's payables of an institution, clearing type and kind of entry."""

    institution_no: int
    clearing_type: int
    day: int
    kind: int
    count: int
    amount_fen: int


@dataclass(frozen=True, slots=True)
class StatementEntry:
    """One entry that moved an institution's payable.

    Attributes:
        amount_fen: Owed to the institution; below 0: taken back.
        undoes: The entry that it undoes; None: none.
        of_period: The month of that entry.
    """

    institution_no: int
    entry_no: int
    day: int
    clearing_type: int
    kind: int
    amount_fen: int
    undoes: int | None
    of_period: int | None


def institutions(connection: Connection) -> dict[int, tuple[str, str]]:
    """Return every institution's code and name, by number."""
    rows = connection.execute(text("SELECT institution_no, code, name FROM institution"))
    return {number: (code, name) for number, code, name in rows}


def day_sums(connection: Connection, month: int) -> dict[int, list[DaySum]]:
    """Return a month's sums by institution: as many as there are days with something."""
    rows = connection.execute(
        text(
            "SELECT institution_no, clearing_type, business_date, kind,"  # noqa: S608 - a number
            " CAST(sum(count) AS BIGINT), CAST(sum(credit_fen) - sum(debit_fen) AS BIGINT)"
            f" FROM period_total WHERE period = :month AND account = {_PAYABLE}"
            " GROUP BY institution_no, clearing_type, business_date, kind"
            " ORDER BY institution_no, business_date, clearing_type, kind"
        ),
        {"month": month},
    )
    found: dict[int, list[DaySum]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(DaySum(*row))
    return found


def statement_entries(
    connection: Connection, month: int, institution_no: int | None
) -> Iterator[StatementEntry]:
    """Stream a month's entries on payables, by institution, in the order of their numbers."""
    ranges = [
        f"e.entry_no BETWEEN {first} AND {last} AND p.entry_no BETWEEN {first} AND {last}"
        for first, last in numbers_of_period(connection, month)
    ]
    among = " OR ".join(f"({one})" for one in ranges) or "1 = 0"
    narrow = "" if institution_no is None else " AND e.institution_no = :institution_no"
    parameters = {"month": month}
    if institution_no is not None:
        parameters["institution_no"] = institution_no
    rows = connection.execution_options(yield_per=_ROWS_READ).execute(
        text(
            f"""
            SELECT e.institution_no, e.entry_no, e.business_date, e.clearing_type, e.kind,
                   -p.amount_fen, e.undoes, o.period
            FROM entry e
            JOIN posting p ON p.entry_no = e.entry_no AND p.account = {_PAYABLE}
            LEFT JOIN entry o ON o.entry_no = e.undoes
            WHERE ({among}) AND e.period = :month{narrow}
            ORDER BY e.institution_no, e.entry_no
            """  # noqa: S608 - numbers of our own
        ),
        parameters,
    )
    for row in rows:
        yield StatementEntry(*row)
