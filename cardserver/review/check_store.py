"""Does what cases say agree with the postings, and were they signed by whom they may be?

In one snapshot, by sums. Not here: whether postings and chains are what they were
(`ledger/verify_books_store.py`).
"""

from sqlalchemy import Connection, and_, func, or_, select

from cardserver.review import tables
from cardserver.review.values import State, StepKind
from ledger import tables as ledger
from ledger.accounts import Account
from ledger.database_store import Database
from ledger.entries import EntryKind
from ledger.verify_findings import Difference, key_of

_SHOWN_MAX = 50
_CASE = str(tables.review_case.name)
_case = tables.review_case.c
_step = tables.review_step.c
_entry = ledger.entry.c
_posting = ledger.posting.c
_STAGES = {
    StepKind.ACCEPT: 1, StepKind.CALCULATE: 2, StepKind.RETURN: 3, StepKind.AUDIT: 3,
    StepKind.DECIDE_APPEAL: 4, StepKind.RETURN_APPEAL: 4, StepKind.CONFIRM_APPEAL: 4,
}  # fmt: skip


async def check_review(database: Database) -> list[Difference]:
    """Compare in one snapshot; nothing comes back where all agrees."""
    return await database.report(compare_review)


def compare_review(connection: Connection) -> list[Difference]:
    """Compare cases with postings, and who signed them with who may."""
    return [
        *_totals(connection),
        *_deductions(connection),
        *_too_much(connection),
        *_signatures(connection),
    ]


def _totals(connection: Connection) -> list[Difference]:
    """Compare sums by institution and clearing type."""
    said = {
        (institution_no, clearing_type): int(amount_fen)
        for institution_no, clearing_type, amount_fen in connection.execute(
            select(
                _case.institution_no, _case.clearing_type, func.sum(_case.deduction_fen)
            ).group_by(_case.institution_no, _case.clearing_type)
        )
    }
    posted = {
        (institution_no, clearing_type): -int(amount_fen)
        for institution_no, clearing_type, amount_fen in connection.execute(
            select(_entry.institution_no, _entry.clearing_type, func.sum(_posting.amount_fen))
            .join(ledger.posting, _posting.entry_no == _entry.entry_no)
            .where(
                _entry.kind == EntryKind.REVIEW_DEDUCTION, _posting.account == Account.DEDUCTIONS
            )
            .group_by(_entry.institution_no, _entry.clearing_type)
        )
    }
    return [
        Difference(
            _CASE,
            key_of(institution_no=key[0], clearing_type=key[1]),
            "deduction_fen, all of them",
            str(said.get(key, 0)),
            f"{posted.get(key, 0)} by postings",
        )
        for key in sorted(said.keys() | posted.keys())
        if said.get(key, 0) != posted.get(key, 0)
    ]


def _deductions(connection: Connection) -> list[Difference]:
    """Find cases whose deduction is not its entry's amount, or was undone."""
    undoing = ledger.entry.alias("undoing")
    rows = connection.execute(
        select(_case.case_no, _case.deduction_fen, _posting.amount_fen, undoing.c.entry_no)
        .outerjoin(
            ledger.posting,
            and_(_posting.entry_no == _case.deduction_no, _posting.account == Account.DEDUCTIONS),
        )
        .outerjoin(undoing, undoing.c.undoes == _case.deduction_no)
        .where(_case.deduction_no != 0)
        .where(
            or_(
                _posting.amount_fen.is_(None),
                -_posting.amount_fen != _case.deduction_fen,
                undoing.c.entry_no.is_not(None),
            )
        )
        .order_by(_case.case_no)
        .limit(_SHOWN_MAX)
    )
    return [
        Difference(
            _CASE,
            key_of(case_no=case_no),
            "deduction_fen",
            str(deduction_fen),
            "0: its entry was undone" if undone else f"{-(amount_fen or 0)} by its entry",
        )
        for case_no, deduction_fen, amount_fen, undone in rows
    ]


def _too_much(connection: Connection) -> list[Difference]:
    """Find cases of which more is deducted than the fund paid, or where nothing may be."""
    rows = connection.execute(
        select(_case.case_no, _case.deduction_fen, _case.fund_pay_fen)
        .where(
            or_(
                _case.deduction_fen > _case.fund_pay_fen,
                _case.deduction_fen < 0,
                and_(_case.deduction_fen == 0, _case.deduction_no != 0),
                and_(_case.deduction_fen != 0, _case.deduction_no == 0),
                and_(_case.deduction_fen != 0, _case.state == State.CLOSED),
            )
        )
        .order_by(_case.case_no)
        .limit(_SHOWN_MAX)
    )
    return [
        Difference(
            _CASE,
            key_of(case_no=case_no),
            "deduction_fen",
            str(deduction_fen),
            f"none without an entry, none of a closed case, at most {fund_fen} that the fund paid",
        )
        for case_no, deduction_fen, fund_fen in rows
    ]


def _signatures(connection: Connection) -> list[Difference]:
    """Find operators who signed steps of two stages of one case."""
    first, second = tables.review_step.alias("first"), tables.review_step.alias("second")
    rows = connection.execute(
        select(first.c.case_no, first.c.operator_no, first.c.kind, second.c.kind)
        .join(
            second,
            and_(
                first.c.case_no == second.c.case_no,
                first.c.operator_no == second.c.operator_no,
                first.c.step < second.c.step,
            ),
        )
        .where(first.c.operator_no != 0, first.c.kind.in_(list(_STAGES)))
        .where(second.c.kind.in_(list(_STAGES)))
        .order_by(first.c.case_no)
    )
    found = [
        Difference(
            str(tables.review_step.name),
            key_of(case_no=case_no, operator_no=operator_no),
            "kind",
            f"{StepKind(one).name.lower()} and {StepKind(other).name.lower()}",
            "one of them: nobody signs two steps",
        )
        for case_no, operator_no, one, other in rows
        if _STAGES[StepKind(one)] != _STAGES[StepKind(other)]
        or (StepKind(one) is StepKind.AUDIT and StepKind(other) is StepKind.AUDIT)
    ]
    return found[:_SHOWN_MAX]
