"""The centre's own day: sums and rows of claims, by institution or terminal, from one index.

A day is that of the claims' business date, which each reply named. Cash is what a claim says that
the patient paid; nothing is booked of it. Not here: the comparison (`comparison.py`).
"""

# ruff: noqa: S608 - every name in a text is the schema's own, every value is a parameter

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection, TextClause, text

from cardserver.reconciliation.comparison import CentreRow, Key, Undone
from cardserver.registry import tables as registry
from ledger.bulk_store import Row, plain, select
from ledger.database_store import Database
from protocol.terminal.messages import DayTotal, ReconcileRow, RowState

T = TypeVar("T")

_ROWS_READ = 2_000

# As `entry` repeats the claim's date, either table may be looked up by day alone.
_CLAIMS = "claim c JOIN entry e ON e.entry_no = c.entry_no AND e.business_date = c.business_date"
_SUMS = """
    count(*), CAST(sum(c.total_fen) AS BIGINT), CAST(sum(c.fund_pay_fen) AS BIGINT),
    CAST(sum(c.account_pay_fen + c.mutual_aid_fen) AS BIGINT), CAST(sum(c.cash_fen) AS BIGINT)
"""
_TOTALS = (
    f"SELECT e.clearing_type, CASE WHEN c.undoes IS NULL THEN 0 ELSE 1 END, {_SUMS} FROM {_CLAIMS}"
    " WHERE c.business_date = {day} AND c.institution_no = {institution}"
    " AND ({terminal} = 0 OR c.terminal_no = {terminal}) GROUP BY 1, 2"
)
_FIND_TOTALS = plain(
    "sum a day up",
    postgresql=_TOTALS.format(day="$1", institution="$2", terminal="$3::integer"),
    sqlite=_TOTALS.format(day="?1", institution="?2", terminal="?3"),
)
_ALL = (
    "SELECT institution_no, terminal_no, CASE WHEN undoes IS NULL THEN 0 ELSE 1 END, count(*),"
    " CAST(sum(total_fen) AS BIGINT), CAST(sum(fund_pay_fen) AS BIGINT),"
    " CAST(sum(account_pay_fen + mutual_aid_fen) AS BIGINT), CAST(sum(cash_fen) AS BIGINT)"
    " FROM claim WHERE business_date = {day} GROUP BY 1, 2, 3"
)
_FIND_ALL = plain(
    "sum a day of all up", postgresql=_ALL.format(day="$1"), sqlite=_ALL.format(day="?1")
)
_TERMINALS = select(registry.terminal, ("terminal_no", "code"), by=("institution_no",))


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose day of which date.

    Attributes:
        terminal_no: 0: the whole institution's.
        day: YYYYMMDD.
    """

    institution_no: int
    terminal_no: int
    day: int

    @property
    def is_one_terminals(self) -> bool:
        """Whether it is what one terminal did."""
        return self.terminal_no != 0


@dataclass(frozen=True, slots=True)
class Share:
    """What one terminal did on a day, refunds apart."""

    institution_no: int
    terminal_no: int
    is_refund: bool
    count: int
    total_fen: int
    fund_pay_fen: int
    account_pay_fen: int
    cash_fen: int


async def day_totals(database: Database, scope: Scope) -> tuple[DayTotal, ...]:
    """Sum a day up by clearing type, refunds apart."""
    key = (scope.day, scope.institution_no, scope.terminal_no)
    rows = await database.fetch(_FIND_TOTALS([key]))
    return tuple(DayTotal(row[0], bool(row[1]), *row[2:]) for row in sorted(rows))


async def day_shares(database: Database, day: int) -> list[Share]:
    """Sum a day up by terminal, of all institutions."""
    rows = await database.fetch(_FIND_ALL([(day,)]))
    return [Share(row[0], row[1], bool(row[2]), *row[3:]) for row in sorted(rows)]


async def terminals_of(database: Database, institution_no: int) -> dict[str, int]:
    """Return an institution's terminals' numbers by code."""
    rows = await database.fetch(_TERMINALS([(institution_no,)]))
    return {code: number for _, number, code in rows}


async def with_day(database: Database, scope: Scope, work: Callable[[Iterator[CentreRow]], T]) -> T:
    """Have all of a day's rows read once, in the order of their keys and in one snapshot."""
    return await database.report(lambda connection: work(day_rows(connection, scope)))


def day_rows(
    connection: Connection, scope: Scope, *, after: Key | None = None, limit: int = 0
) -> Iterator[CentreRow]:
    """Return a day's rows in the order of their keys; for `Database.report`.

    Args:
        connection: In one snapshot.
        scope: Whose.
        after: The row after which they begin; None: with the first.
        limit: How many at most; 0: all.
    """
    statement, parameters = _rows_statement(connection, scope, after, limit)
    rows = connection.execution_options(yield_per=_ROWS_READ).execute(statement, parameters)
    for row in rows:
        yield _centre_row(tuple(row))


def _rows_statement(
    connection: Connection, scope: Scope, after: Key | None, limit: int
) -> tuple[TextClause, dict[str, object]]:
    # Byte by byte, whatever the database's own order of words.
    order = 'COLLATE "C"' if connection.dialect.name == "postgresql" else "COLLATE BINARY"
    parameters: dict[str, object] = {"day": scope.day, "institution": scope.institution_no}
    conditions = ["c.business_date = :day", "c.institution_no = :institution"]
    if scope.is_one_terminals:
        conditions.append("c.terminal_no = :terminal")
        parameters["terminal"] = scope.terminal_no
    refund = "CASE WHEN c.undoes IS NULL THEN 0 ELSE 1 END"
    if after is not None:
        conditions.append(f"(c.msgid {order}, t.code {order}, {refund}) > (:msgid, :code, :refund)")
        parameters |= {"msgid": after[0], "code": after[1], "refund": int(after[2])}
    tail = ""
    if limit:
        tail = "LIMIT :limit"
        parameters["limit"] = limit
    statement = text(
        f"""
        SELECT c.msgid, t.code, {refund}, c.entry_no, e.clearing_type, c.total_fen, c.fund_pay_fen,
            c.account_pay_fen + c.mutual_aid_fen, c.cash_fen,
            (SELECT CASE WHEN u.terminal_no = c.terminal_no THEN 2 ELSE 1 END
                FROM claim u WHERE u.undoes = c.entry_no)
        FROM {_CLAIMS} JOIN terminal t ON t.terminal_no = c.terminal_no
        WHERE {" AND ".join(conditions)}
        ORDER BY c.msgid {order}, t.code {order}, 3 {tail}
        """
    )
    return statement, parameters


def _centre_row(row: Row) -> CentreRow:
    msgid, terminal, refund, entry_no, clearing_type, total, fund, account, cash, undone = row
    by = Undone(undone or 0)
    return CentreRow(
        ReconcileRow(
            msgid, terminal, bool(refund), str(entry_no), clearing_type, total, fund, account,
            cash, RowState.STANDS if by is Undone.NOT else RowState.UNDONE,
        ),
        by,
    )  # fmt: skip
