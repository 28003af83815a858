"""Work done: steps, cases, amounts and median time, by operator, department and month.

A step counts for the department that its operator belonged to when it was done. Its time is from
taking the case to signing. Not here: what an institution or the centre itself did.
"""

from enum import Enum, unique

from msgspec import Struct
from sqlalchemy import Connection, and_, case, func, select

from cardserver.registry import tables as registry
from cardserver.review import tables
from cardserver.review.values import StepKind
from ledger.database_store import Database

_step = tables.review_step.c
_operator = registry.operator.c
_WORK = [
    int(kind) for kind in StepKind if kind not in {StepKind.APPEAL, StepKind.FINISH, StepKind.UNDO}
]


@unique
class By(Enum):
    """What work is counted by."""

    OPERATOR = "operator"
    DEPARTMENT = "department"


class Workload(Struct, frozen=True):
    """What one operator, or one department, did in a month in one kind of step.

    Attributes:
        operator: Their number at the fund; empty where departments are counted.
        kind: Of step; "all" for the sum of all kinds.
        cases: Different ones.
        fund_pay_fen: What the fund had paid on the steps' cases: what was looked at.
        deduction_fen: What the steps proposed, or put in force.
        median_ms: From taking a case to signing; of an even number the lower of the middle two.
    """

    month: int
    operator: str
    department: str
    kind: str
    steps: int
    cases: int
    fund_pay_fen: int
    deduction_fen: int
    median_ms: int


async def workload(database: Database, month: int, by: By = By.OPERATOR) -> list[Workload]:
    """Count the work of a month, in the order of departments, operators and kinds of step."""

    def count(connection: Connection) -> list[Workload]:
        return [
            one
            for is_total in (False, True)
            for one in _counted(connection, month, by, is_total=is_total)
        ]

    found = await database.report(count)
    return sorted(found, key=lambda one: (one.department, one.operator, _order(one.kind)))


def _order(kind: str) -> int:
    return int(StepKind[kind.upper()]) if kind.upper() in StepKind.__members__ else 99


def _counted(connection: Connection, month: int, by: By, *, is_total: bool) -> list[Workload]:
    whose = [_step.department]
    if by is By.OPERATOR:
        whose.append(_step.operator_no)
    if not is_total:
        whose.append(_step.kind)
    time_ms = _step.recorded_time_ms - _step.taken_time_ms
    ranked = (
        select(
            *whose,
            _step.case_no,
            _step.fund_pay_fen,
            _step.deduction_fen,
            time_ms.label("time_ms"),
            func.row_number()
            .over(partition_by=whose, order_by=(time_ms, _step.case_no, _step.step))
            .label("place"),
            func.count().over(partition_by=whose).label("size"),
        )
        .where(_step.month == month, _step.kind.in_(_WORK))
        .subquery()
    )
    row = ranked.c
    # The lower middle of `size` rows in order is row (size + 1) / 2, rounded down.
    is_middle = and_(2 * row.place >= row.size, 2 * row.place <= row.size + 1)
    groups = [row[column.name] for column in whose]
    rows = connection.execute(
        select(
            row.department,
            row.operator_no if by is By.OPERATOR else func.max(0),
            func.max(0) if is_total else row.kind,
            func.count(),
            func.count(row.case_no.distinct()),
            func.sum(row.fund_pay_fen),
            func.sum(row.deduction_fen),
            func.min(case((is_middle, row.time_ms))),
        ).group_by(*groups)
    ).all()
    numbers = sorted({operator_no for _, operator_no, *_ in rows})
    operators = connection.execute(
        select(_operator.operator_no, _operator.code).where(_operator.operator_no.in_(numbers))
    )
    codes = {number: code for number, code in operators}  # noqa: C416 - rows are no pairs to mypy
    return [
        Workload(
            month=month,
            operator=codes.get(operator_no, "") if operator_no else "",
            department=department,
            kind=StepKind(kind).name.lower() if kind else "all",
            steps=steps,
            cases=cases,
            fund_pay_fen=int(fund_fen),
            deduction_fen=int(deduction_fen),
            median_ms=int(median_ms),
        )
        for department, operator_no, kind, steps, cases, fund_fen, deduction_fen, median_ms in rows
    ]
