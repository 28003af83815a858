"""Payments' rows: runs, transfers, what they pay, who signed; and what is still to be paid.

Not here: what is posted (`payment_acts.py`), the files (`pain001.py`, `pain002.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from cardserver.clearing import tables
from cardserver.clearing.clearing_store import activated_terms, terms_of_hash
from cardserver.clearing.payments import (
    Due,
    PaymentState,
    Returned,
    Transfer,
    payment_number,
)
from cardserver.clearing.terms import Terms
from cardserver.clearing.terms_document import Holder
from cardserver.registry.history_store import audit
from cardserver.registry.values import Actor
from ledger.bulk_store import Query, Row, insert, select, update
from ledger.database_store import Database
from ledger.scripts import Script

_RUN = tuple(column.name for column in tables.payment_run.columns if column.name != "file")
_PAYMENT = tuple(column.name for column in tables.payment.columns)
_HALF = 500
"""Rows a statement: a transaction of a run of some hundred institutions stays short."""

_INSERT_RUN = insert(tables.payment_run, (*_RUN, "file"))
_INSERT_PAYMENTS = insert(tables.payment, _PAYMENT)
_INSERT_PARTS = insert(tables.payment_part, ("entry_no", "payment_no", "amount_fen"))
_INSERT_FUNDS = insert(tables.payment_fund, ("payment_no", "insutype", "amount_fen"))
_KEEP_FILE = update(tables.payment_run, set=("sha256", "file"), by=("run_no", "sha256"))
_INSERT_SIGNATURE = insert(
    tables.payment_signature,
    ("run_no", "operator_no", "sha256", "signed_time_ms"),
)
INSERT_RELEASES = insert(
    tables.deposit_release, ("clearing_no", "entry_no", "institution_no", "amount_fen")
)
LOCK_PAYMENTS = select(tables.payment, _PAYMENT[1:], by=("payment_no",), lock=True)
FIND_SIGNATURES = select(tables.payment_signature, ("operator_no", "sha256"), by=("run_no",))
FIND_FUNDS = select(tables.payment_fund, ("insutype", "amount_fen"), by=("payment_no",))
FIND_RELEASED = select(tables.deposit_release, ("entry_no",), by=("clearing_no",))
SET_STATE = update(
    tables.payment,
    set=("state", "reason", "decided_time_ms", "entry_no"),
    by=("payment_no",),
)
_RELEASED = """
    SELECT r.entry_no, r.institution_no, f.insutype, CAST(sum(f.withheld_fen) AS BIGINT)
    FROM deposit_release r JOIN clearing_fund f ON f.clearing_no = r.clearing_no
    WHERE NOT EXISTS (SELECT 1 FROM payment_part p WHERE p.entry_no = r.entry_no)
    GROUP BY r.entry_no, r.institution_no, f.insutype
"""
_CLEARED = """
    SELECT c.entry_no, c.institution_no, f.insutype, f.paid_fen
    FROM clearing c JOIN clearing_fund f ON f.clearing_no = c.entry_no
    WHERE c.paid_fen > 0
    AND NOT EXISTS (SELECT 1 FROM payment_part p WHERE p.entry_no = c.entry_no)
"""
_BACK = """
    SELECT b.payment_no, b.institution_no, f.insutype, f.amount_fen
    FROM payment b JOIN payment_fund f ON f.payment_no = b.payment_no
    WHERE b.state = 3
    AND NOT EXISTS (SELECT 1 FROM payment a WHERE a.again_of = b.payment_no)
"""


@dataclass(frozen=True, slots=True)
class PaymentRun:
    """A file of payments; `sha256` is empty until it is made."""

    run_no: int
    terms_sha256: bytes
    execution_date: int
    operator_no: int
    begun_time_ms: int
    count: int
    total_fen: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Payment:
    """One transfer as stored."""

    payment_no: int
    run_no: int
    institution_no: int
    amount_fen: int
    owed_fen: int
    again_of: int
    account_name: str
    account: str
    bank: str
    state: PaymentState
    reason: str
    decided_time_ms: int
    entry_no: int

    @property
    def holder(self) -> Holder:
        """Where it goes."""
        return Holder(name=self.account_name, account=self.account, bank=self.bank)


@dataclass(frozen=True, slots=True)
class Signature:
    """Who signed for a run's file, and for which."""

    run_no: int
    operator_no: int
    sha256: bytes
    signed_time_ms: int


@dataclass(frozen=True, slots=True)
class Payable:
    """What is to be paid, of one moment.

    Attributes:
        due: Clearings and released deposits.
        returned: Transfers that came back.
        codes: Institutions' codes by number.
        held: Institutions that are held: nothing is paid to them.
        terms: All that were activated and hold.
    """

    due: tuple[Due, ...]
    returned: tuple[Returned, ...]
    codes: dict[int, str]
    held: frozenset[int]
    terms: tuple[Terms, ...]


def read_payable(connection: Connection) -> Payable:
    """Read what is to be paid and isn't yet; for `Database.report`."""
    due = [
        Due(number, entry_no, sum(funds.values()), is_owed, funds)
        for statement, is_owed in ((_CLEARED, False), (_RELEASED, True))
        for (entry_no, number), funds in _funds(connection, statement).items()
    ]
    returned = [
        Returned(number, payment_no, sum(funds.values()), funds)
        for (payment_no, number), funds in _funds(connection, _BACK).items()
    ]
    held = connection.execute(
        text(
            "SELECT institution_no FROM clearing_hold"
            " WHERE released_time_ms = 0 AND clearing_type = 0"
        )
    )
    codes = connection.execute(text("SELECT institution_no, code FROM institution"))
    return Payable(
        due=tuple(one for one in due if one.amount_fen),
        returned=tuple(returned),
        codes={row[0]: row[1] for row in codes},
        held=frozenset(row[0] for row in held),
        terms=tuple(one.terms for one in activated_terms(connection) if one.is_in_force),
    )


def _funds(connection: Connection, statement: str) -> dict[tuple[int, int], dict[int, int]]:
    found: dict[tuple[int, int], dict[int, int]] = {}
    for number, institution_no, insutype, fen in connection.execute(text(statement)):
        if fen:
            found.setdefault((number, institution_no), {})[insutype] = fen
    return found


def read_runs(connection: Connection) -> list[PaymentRun]:
    """Return all runs, in order."""
    run = tables.payment_run
    columns = [run.c[name] for name in _RUN]
    query = run.select().with_only_columns(*columns).order_by(run.c.run_no)
    return [
        PaymentRun(number, bytes(terms), day, by, begun_ms, count, total_fen, bytes(sha256))
        for number, terms, day, by, begun_ms, count, total_fen, sha256 in connection.execute(query)
    ]


def terms_of_run(connection: Connection, run: PaymentRun) -> Terms:
    """Return the terms by which a run pays."""
    return terms_of_hash(activated_terms(connection), run.terms_sha256)


def months_of_payments(connection: Connection, run_no: int) -> dict[int, list[int]]:
    """Return which months' clearings each transfer of a run pays."""
    months: dict[int, list[int]] = {}
    for number, month in connection.execute(
        text(
            "SELECT DISTINCT p.payment_no, c.month FROM payment p"
            " JOIN payment_part t ON t.payment_no = p.payment_no"
            " JOIN clearing c ON c.entry_no = t.entry_no"
            " WHERE p.run_no = :run_no ORDER BY p.payment_no, c.month"
        ),
        {"run_no": run_no},
    ):
        months.setdefault(number, []).append(month)
    return months


def read_file(connection: Connection, run_no: int) -> bytes:
    """Return a run's file."""
    run = tables.payment_run
    query = run.select().with_only_columns(run.c.file).where(run.c.run_no == run_no)
    return bytes(connection.execute(query).scalar_one())


def read_payments(
    connection: Connection, *, run_no: int | None = None, institution_no: int | None = None
) -> list[Payment]:
    """Return transfers by number."""
    payment = tables.payment
    query = payment.select().order_by(payment.c.payment_no)
    if run_no is not None:
        query = query.where(payment.c.run_no == run_no)
    if institution_no is not None:
        query = query.where(payment.c.institution_no == institution_no)
    return [payment_of_row(tuple(row)) for row in connection.execute(query)]


def payment_of_row(row: Row) -> Payment:
    """Make a payment of a whole row, or of one of `LOCK_PAYMENTS`."""
    one = dict(zip(_PAYMENT, row, strict=True))
    return Payment(**{**one, "state": PaymentState(one["state"])})


def read_signatures(connection: Connection, run_no: int) -> list[Signature]:
    """Return who signed for a run, first signed first."""
    signature = tables.payment_signature
    query = (
        signature.select()
        .where(signature.c.run_no == run_no)
        .order_by(signature.c.signed_time_ms, signature.c.operator_no)
    )
    return [Signature(row[0], row[1], bytes(row[2]), row[3]) for row in connection.execute(query)]


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run that is to be begun.

    Attributes:
        run_no: The next number; another run that takes it makes this one fail, and nothing is lost.
        terms: By which it pays.
        execution_date: YYYYMMDD.
        transfers: At least one.
    """

    run_no: int
    terms: Terms
    execution_date: int
    transfers: Sequence[Transfer]


async def begin_run(database: Database, new: NewRun, actor: Actor) -> None:
    """Store a run and its transfers, all or none; whatever one of them pays is paid by no other.

    Raises:
        ConstraintError: Another run took its number, or something of what it would pay.
    """
    total_fen = sum(one.amount_fen for one in new.transfers)
    payments, parts, funds = [], [], []
    for index, one in enumerate(new.transfers, 1):
        number = payment_number(run_no=new.run_no, index=index)
        payments.append((
            number, new.run_no, one.institution_no, one.amount_fen, one.owed_fen, one.again_of,
            one.holder.name, one.holder.account, one.holder.bank, int(PaymentState.INSTRUCTED),
            "", 0, 0,
        ))  # fmt: skip
        parts += [(entry_no, number, fen) for entry_no, fen in one.parts]
        funds += [(number, insutype, fen) for insutype, fen in one.funds_fen.items()]
    queries: list[Query] = [
        _INSERT_RUN([
            (new.run_no, new.terms.sha256, new.execution_date, actor.operator_no, actor.now_ms,
             len(payments), total_fen, b"", b"")
        ])
    ]  # fmt: skip
    for statement, rows in (
        (_INSERT_PAYMENTS, payments), (_INSERT_PARTS, parts), (_INSERT_FUNDS, funds)
    ):  # fmt: skip
        queries += [statement(rows[start : start + _HALF]) for start in range(0, len(rows), _HALF)]
    queries.append(
        audit(actor, "payment run", str(new.run_no), f"{len(payments)} transfers, {total_fen} fen")
    )
    await database.execute(*queries)


async def keep_file(database: Database, run_no: int, content: bytes, sha256: bytes) -> None:
    """Keep a run's file; one that is there stays."""
    await database.execute(_KEEP_FILE([(sha256, content, run_no, b"")]))


async def add_signature(
    database: Database, signature: Signature, actor: Actor, *, first_payment_no: int
) -> bool:
    """Keep a signature, unless the run was withdrawn; tell whether it is kept.

    Args:
        database: Started.
        signature: Kept once; again it changes nothing.
        actor: Who signs.
        first_payment_no: Of the run; who withdraws the run takes it back before all others.
    """

    def script() -> Script[bool]:
        (first,) = yield LOCK_PAYMENTS([(first_payment_no,)])
        signed = yield FIND_SIGNATURES([(signature.run_no,)])
        if any(row[1] == signature.operator_no for row in signed):
            return True
        if payment_of_row(first).state is not PaymentState.INSTRUCTED:
            return False
        yield _INSERT_SIGNATURE(
            [(signature.run_no, signature.operator_no, signature.sha256, signature.signed_time_ms)]
        )
        yield audit(actor, "payment signed", str(signature.run_no), signature.sha256.hex())
        return True

    return await database.transact(script)


# --- deposits -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Deposit:
    """What one clearing withheld, and nobody released."""

    clearing_no: int
    month: int
    clearing_type: int
    withheld_fen: int


def read_deposits(connection: Connection, institution_no: int, *, until: int) -> list[Deposit]:
    """Return an institution's deposits of months until one, that nobody released."""
    rows = connection.execute(
        text(
            "SELECT entry_no, month, clearing_type, withheld_fen FROM clearing c"
            " WHERE institution_no = :institution_no AND month <= :until AND withheld_fen > 0"
            " AND NOT EXISTS (SELECT 1 FROM deposit_release r WHERE r.clearing_no = c.entry_no)"
            " ORDER BY month, clearing_type"
        ),
        {"institution_no": institution_no, "until": until},
    )
    return [Deposit(*row) for row in rows]
