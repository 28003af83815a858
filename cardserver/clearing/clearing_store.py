"""Clearings' rows: what was cleared, held, left out and activated; and the month read for a plan.

Not here: a month's sums (`totals_store.py`), applications (`applications_store.py`), payments
(`payments_store.py`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from cardserver.clearing import tables
from cardserver.clearing.calculation import Before, Cleared, MonthTotals
from cardserver.clearing.plan import Clearing, Left, MonthBooks, StoredClearing
from cardserver.clearing.terms import Terms, load_terms, terms_of_month
from cardserver.clearing.totals_store import Place, recompute
from cardserver.registry.history_store import audit
from cardserver.registry.values import Actor
from ledger.bulk_store import Query, Row, delete, insert, put, select, update
from ledger.database_store import Database
from ledger.scripts import Script

_COLUMNS = tuple(column.name for column in tables.clearing.columns)
_ROWS_READ = 5_000

INSERT_CLEARINGS = insert(tables.clearing, _COLUMNS)
INSERT_FUNDS = insert(tables.clearing_fund, ("clearing_no", "insutype", "paid_fen", "withheld_fen"))
_INSERT_MONTH = insert(
    tables.clearing_month,
    ("month", "terms_sha256", "postings_count", "owed_fen", "despite", "operator_no",
     "begun_time_ms", "ended_time_ms"),
    ignore_existing=True,
)  # fmt: skip
_END_MONTH = update(tables.clearing_month, set=("ended_time_ms",), by=("month",))
_FIND_MONTHS = select(tables.clearing_month, ("terms_sha256", "ended_time_ms"), by=("month",))
_FIND_LEFT = select(
    tables.clearing_left, ("institution_no", "clearing_type", "reason"), by=("month",)
)
_PUT_LEFT = put(
    tables.clearing_left, set=("reason",), by=("institution_no", "month", "clearing_type")
)
_DELETE_LEFT = delete(tables.clearing_left, ("institution_no", "month", "clearing_type"))
_PUT_TERMS = put(tables.clearing_terms, set=("text", "activated_time_ms"), by=("begins", "sha256"))


@dataclass(frozen=True, slots=True)
class ActivatedTerms:
    """One text that was activated.

    Attributes:
        is_in_force: Whether it holds; of one first month that is what was activated last.
    """

    terms: Terms
    text: str
    activated_time_ms: int
    is_in_force: bool


def activated_terms(connection: Connection) -> list[ActivatedTerms]:
    """Return all terms that were ever activated, by first month, the last activated last."""
    rows = connection.execute(
        text(
            "SELECT begins, text, activated_time_ms FROM clearing_terms"
            " ORDER BY begins, activated_time_ms, sha256"
        )
    ).fetchall()
    last = {row[0]: index for index, row in enumerate(rows)}
    return [
        ActivatedTerms(load_terms(content), content, time_ms, last[begins] == index)
        for index, (begins, content, time_ms) in enumerate(rows)
    ]


async def activate_terms(database: Database, content: str, actor: Actor) -> Terms:
    """Put terms in force; earlier ones are kept, and hold for the months that began under them.

    Raises:
        TermsError: The text is no terms.
    """
    terms = load_terms(content)

    def script() -> Script[None]:
        yield _PUT_TERMS([(terms.begins, terms.sha256, content, actor.now_ms)])
        yield audit(actor, "clearing terms", str(terms.begins), terms.sha256.hex())

    await database.transact(script)
    return terms


def institution_codes(connection: Connection) -> dict[int, str]:
    """Return every institution's code by its number."""
    rows = connection.execute(text("SELECT institution_no, code FROM institution"))
    return {number: code for number, code in rows}  # noqa: C416 - rows are no pairs to mypy


# --- a month ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClearingMonth:
    """A month of which the clearing has begun."""

    month: int
    terms_sha256: bytes
    postings_count: int
    owed_fen: int
    despite: str
    operator_no: int
    begun_time_ms: int
    ended_time_ms: int


def begun_months(connection: Connection) -> list[ClearingMonth]:
    """Return the months of which the clearing has begun, in order."""
    rows = connection.execute(
        tables.clearing_month.select().order_by(tables.clearing_month.c.month)
    )
    return [ClearingMonth(row[0], bytes(row[1]), *row[2:]) for row in rows]


def uncleared_before(connection: Connection, month: int) -> int | None:
    """Return the last month before this one that has something to clear, if it isn't cleared."""
    before: int | None = connection.execute(
        text(
            "SELECT max(period) FROM period_total"
            " WHERE period < :month AND account = 2010 AND institution_no <> 0"
            " AND kind NOT IN (20, 21, 22, 23)"
        ),
        {"month": month},
    ).scalar()
    ended = {one.month for one in begun_months(connection) if one.ended_time_ms}
    return None if before in ended else before


def read_month_and_terms(
    connection: Connection, month: int
) -> tuple[MonthBooks, Terms, ClearingMonth | None]:
    """Read and recompute a month, and the terms it is cleared by, all of one moment.

    Raises:
        TermsError: None hold for it.
    """
    begun = {one.month: one for one in begun_months(connection)}.get(month)
    activated = activated_terms(connection)
    if begun is None:
        terms = terms_of_month((one.terms for one in activated if one.is_in_force), month)
    else:
        terms = terms_of_hash(activated, begun.terms_sha256)
    return read_books(connection, month), terms, begun


def terms_of_hash(activated: Iterable[ActivatedTerms], sha256: bytes) -> Terms:
    """Return the terms with this hash, which were activated once."""
    return next(one.terms for one in activated if one.terms.sha256 == sha256)


def read_books(connection: Connection, month: int) -> MonthBooks:
    """Read and recompute a month, all of one moment; for `Database.report`."""
    books = MonthBooks(month, recompute(connection, month))
    clearing, left = tables.clearing, tables.clearing_left
    parameters = {"month": month, "january": month // 100 * 100 + 1}
    for number, clearing_type, carried_fen in connection.execute(
        text(
            "SELECT c.institution_no, c.clearing_type, c.carried_fen FROM clearing c"
            " WHERE c.month < :month AND c.carried_fen <> 0 AND NOT EXISTS ("
            " SELECT 1 FROM clearing d WHERE d.institution_no = c.institution_no"
            " AND d.clearing_type = c.clearing_type AND d.month > c.month AND d.month < :month)"
        ),
        parameters,
    ):
        books.brought_fen[number, clearing_type] = carried_fen
    for number, clearing_type, capped_fen, cut_fen in connection.execute(
        text(
            "SELECT institution_no, clearing_type,"
            " CAST(sum(settled_fen + undone_fen - review_fen) AS BIGINT),"
            " CAST(sum(cap_fen) AS BIGINT) FROM clearing"
            " WHERE month >= :january AND month < :month GROUP BY institution_no, clearing_type"
        ),
        parameters,
    ):
        books.year_capped_fen[number, clearing_type] = capped_fen
        books.year_cut_fen[number, clearing_type] = cut_fen
    for number, clearing_type in connection.execute(
        text("SELECT institution_no, clearing_type FROM clearing_hold WHERE released_time_ms = 0")
    ):
        books.held.add((number, clearing_type))
    for number, clearing_type in connection.execute(
        text(
            "SELECT institution_no, clearing_type FROM clearing_application"
            " WHERE month = :month AND cancelled_time_ms = 0"
        ),
        parameters,
    ):
        books.applied.add((number, clearing_type))
    cleared_since = (
        clearing.select()
        .where(
            clearing.c.institution_no == left.c.institution_no,
            clearing.c.month == left.c.month,
            clearing.c.clearing_type == left.c.clearing_type,
        )
        .exists()
    )
    for row in connection.execute(left.select().where(left.c.month < month, ~cleared_since)):
        books.left_earlier.add((row.institution_no, row.clearing_type))
    books.done = {one.clearing.place: one for one in stored_clearings(connection, month=month)}
    for number, code, name in connection.execute(
        text("SELECT institution_no, code, name FROM institution")
    ):
        books.codes[number] = code
        books.names[number] = name
    return books


def stored_clearings(
    connection: Connection, *, month: int | None = None, institution_no: int | None = None
) -> list[StoredClearing]:
    """Return clearings as stored, by month, institution and clearing type."""
    clearing = tables.clearing
    query = clearing.select().order_by(
        clearing.c.month, clearing.c.institution_no, clearing.c.clearing_type
    )
    if month is not None:
        query = query.where(clearing.c.month == month)
    if institution_no is not None:
        query = query.where(clearing.c.institution_no == institution_no)
    rows = connection.execution_options(yield_per=_ROWS_READ).execute(query)
    return [_stored(tuple(row)) for row in rows]


def _stored(row: Row) -> StoredClearing:
    one = dict(zip(_COLUMNS, row, strict=True))
    clearing = Clearing(
        institution_no=one["institution_no"],
        month=one["month"],
        clearing_type=one["clearing_type"],
        totals=MonthTotals(
            settled_count=one["settled_count"],
            settled_fen=one["settled_fen"],
            undone_count=one["undone_count"],
            undone_fen=one["undone_fen"],
            earlier_fen=one["earlier_fen"],
            review_fen=one["review_fen"],
            other_fen=one["other_fen"],
        ),
        before=Before(brought_fen=one["brought_fen"]),
        result=Cleared(
            applied_fen=one["applied_fen"],
            cap_fen=one["cap_fen"],
            withheld_fen=one["withheld_fen"],
            paid_fen=one["paid_fen"],
            carried_fen=one["carried_fen"],
        ),
        deposit_e4=one["deposit_e4"],
    )
    return StoredClearing(one["entry_no"], clearing)


def clearing_queries(clearing: Clearing, clearing_no: int) -> list[Query]:
    """Return the rows of one clearing."""
    totals, result = clearing.totals, clearing.result
    row = (
        clearing.institution_no, clearing.month, clearing.clearing_type, clearing_no,
        totals.settled_count, totals.settled_fen, totals.undone_count, totals.undone_fen,
        totals.earlier_fen, totals.other_fen, clearing.before.brought_fen, result.applied_fen,
        totals.review_fen, result.cap_fen, result.withheld_fen, result.paid_fen,
        result.carried_fen, clearing.deposit_e4,
    )  # fmt: skip
    funds = [
        (clearing_no, insutype, clearing.paid_of.get(insutype, 0),
         clearing.withheld_of.get(insutype, 0))
        for insutype in sorted({*clearing.paid_of, *clearing.withheld_of})
    ]  # fmt: skip
    queries = [INSERT_CLEARINGS([row])]
    if funds:
        queries.append(INSERT_FUNDS(funds))
    return queries


async def begin_month(
    database: Database, month: int, terms: Terms, row: tuple[int, int, str], actor: Actor
) -> None:
    """Note that a month's clearing begins; where it has begun, what was noted stays.

    Args:
        database: Started.
        month: YYYYMM.
        terms: What it is cleared by.
        row: The recomputed count of postings, what they owe in fen, and why it begins despite
            what is open.
        actor: Who begins it.
    """
    postings_count, owed_fen, despite = row

    def script() -> Script[None]:
        added = yield _INSERT_MONTH([
            (month, terms.sha256, postings_count, owed_fen, despite, actor.operator_no,
             actor.now_ms, 0)
        ])  # fmt: skip
        if added:
            yield audit(
                actor, "clearing begun", str(month),
                f"terms {terms.sha256.hex()[:12]}" + (f"; despite: {despite}" if despite else ""),
            )  # fmt: skip

    await database.transact(script)


async def end_month(
    database: Database, month: int, left: Iterable[tuple[Place, Left]], done: int, actor: Actor
) -> None:
    """Note that a run is through: what it left out stands in the way of later months."""
    rows = [(place[0], month, place[1], int(reason)) for place, reason in left]

    def script() -> Script[None]:
        known = yield _FIND_LEFT([(month,)])
        gone = {(row[1], month, row[2]) for row in known} - {row[:3] for row in rows}
        if gone:
            yield _DELETE_LEFT(sorted(gone))
        if rows:
            yield _PUT_LEFT(rows)
        yield _END_MONTH([(actor.now_ms, month)])
        yield audit(actor, "clearing run", str(month), f"{done} cleared, {len(rows)} left out")

    await database.transact(script)


# --- holds --------------------------------------------------------------------------------------

_INSERT_HOLD = insert(
    tables.clearing_hold,
    ("institution_no", "clearing_type", "reason", "operator_no", "begun_time_ms",
     "released_time_ms", "released_operator_no"),
)  # fmt: skip
_RELEASE_HOLD = update(
    tables.clearing_hold,
    set=("released_time_ms", "released_operator_no"),
    by=("hold_no", "released_time_ms"),
)


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold on an institution's clearing; `clearing_type` 0 holds all of it."""

    hold_no: int
    institution_no: int
    clearing_type: int
    reason: str
    operator_no: int
    begun_time_ms: int
    released_time_ms: int
    released_operator_no: int


def read_holds(connection: Connection, *, also_released: bool = False) -> list[Hold]:
    """Return holds, oldest first."""
    hold = tables.clearing_hold
    query = hold.select().order_by(hold.c.hold_no)
    if not also_released:
        query = query.where(hold.c.released_time_ms == 0)
    return [Hold(*row) for row in connection.execute(query)]


async def begin_hold(
    database: Database, institution_no: int, clearing_type: int, reason: str, actor: Actor
) -> None:
    """Hold an institution's clearing, or one clearing type of it, until it is released."""
    await database.execute(
        _INSERT_HOLD(
            [(institution_no, clearing_type, reason, actor.operator_no, actor.now_ms, 0, 0)]
        ),
        audit(actor, "clearing held", f"{institution_no}/{clearing_type}", reason),
    )


async def release_holds(database: Database, holds: Sequence[int], reason: str, actor: Actor) -> int:
    """Release holds; return how many stood."""

    def script() -> Script[int]:
        found = yield _RELEASE_HOLD(
            [(actor.now_ms, actor.operator_no, hold_no, 0) for hold_no in holds]
        )
        released = len(found)
        if released:
            yield audit(
                actor, "clearing hold released", ",".join(str(row[0]) for row in found), reason
            )
        return released

    return await database.transact(script)
