"""Rows of cases, steps, cuts and appeals. Not here: what may be done (`procedure.py`)."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec.structs import astuple

from cardserver.claims import tables as claims
from cardserver.claims.claim_detail import decode_detail
from cardserver.registry import tables as registry
from cardserver.review import tables
from cardserver.review.values import (
    Case,
    Cut,
    Signed,
    State,
    StepKind,
    Surroundings,
    Verdict,
)
from ledger.bulk_store import Query, Row, insert, select, update
from ledger.scripts import Script

CASE_COLUMNS = Case.__struct_fields__
_CHANGING = (
    "state", "steps", "holder_no", "taken_time_ms", "held_until_ms", "verdict", "proposed_fen",
    "deduction_fen", "deduction_no", "decided_time_ms", "appeal_until",
)  # fmt: skip
_STEP_COLUMNS = (
    "kind", "operator_no", "department", "month", "taken_time_ms", "recorded_time_ms", "verdict",
    "fund_pay_fen", "deduction_fen", "entry_no", "note",
)  # fmt: skip
_APPEAL_COLUMNS = (
    "institution_no", "terminal_no", "msgid", "request_hash", "operator_no", "recorded_time_ms",
    "business_date", "reason",
)  # fmt: skip

INSERT_CASES = insert(tables.review_case, CASE_COLUMNS)
FIND_CASES = select(tables.review_case, CASE_COLUMNS[1:], by=("case_no",))
LOCK_CASES = select(tables.review_case, CASE_COLUMNS[1:], by=("case_no",), lock=True)
CASE_OF_CLAIM = select(tables.review_case, ("case_no",), by=("claim_no",))
_UPDATE_CASES = update(tables.review_case, set=_CHANGING, by=("case_no",))
INSERT_STEPS = insert(tables.review_step, ("case_no", "step", *_STEP_COLUMNS))
INSERT_CUTS = insert(
    tables.review_cut, ("case_no", "step", "cut", "line", "amount_fen", "article", "reason")
)
_SIGNED = select(tables.review_step, ("step", "kind", "operator_no"), by=("case_no",))
_STEPS = select(tables.review_step, ("step", *_STEP_COLUMNS), by=("case_no",))
_CUTS = select(
    tables.review_cut, ("step", "cut", "line", "amount_fen", "article", "reason"), by=("case_no",)
)
INSERT_APPEALS = insert(tables.review_appeal, ("case_no", *_APPEAL_COLUMNS))
FIND_APPEALS = select(tables.review_appeal, _APPEAL_COLUMNS, by=("case_no",))
APPEAL_BY_MSGID = select(
    tables.review_appeal,
    ("case_no", "request_hash", "recorded_time_ms"),
    by=("institution_no", "terminal_no", "msgid"),
)
_CONFLICTS = select(tables.review_conflict, ("operator_no",), by=("institution_no", "case_no"))
_CLAIM = select(claims.claim, ("operator_no", "detail"), by=("entry_no",))
_UNDOING = select(claims.claim, ("entry_no",), by=("undoes",))
_REGISTERED = select(registry.change, ("operator_no", "subject"), by=("person_no",))


class StepDone(NamedTuple):
    """A step as it was recorded.

    Attributes:
        department: The operator's, then.
        month: When it was done, YYYYMM.
        entry_no: The last entry that it posted; 0 none.
    """

    step: int
    kind: StepKind
    operator_no: int
    department: str
    month: int
    taken_time_ms: int
    recorded_time_ms: int
    verdict: Verdict
    fund_pay_fen: int
    deduction_fen: int
    entry_no: int
    note: str


class Appeal(NamedTuple):
    """An institution's objection."""

    institution_no: int
    terminal_no: int
    msgid: str
    request_hash: bytes
    operator_no: int
    recorded_time_ms: int
    business_date: int
    reason: str


def new_case(**columns: object) -> Row:
    """Return a row of `INSERT_CASES`; what isn't named is as in a new case."""
    return _row(Case(**columns))  # type: ignore[arg-type]  # msgspec names what is missing


def case_of(row: Row) -> Case:
    """Make a case of a row of `FIND_CASES`."""
    values = dict(zip(CASE_COLUMNS, row, strict=True))
    values["state"], values["verdict"] = State(values["state"]), Verdict(values["verdict"])
    return Case(**values)


def put_case(case: Case) -> Query:
    """Write how a case stands."""
    return _UPDATE_CASES([(*(_plain(getattr(case, name)) for name in _CHANGING), case.case_no)])


def read_cases(case_numbers: Iterable[int]) -> Script[dict[int, Case]]:
    """Read cases by number."""
    rows = yield FIND_CASES([(number,) for number in sorted(set(case_numbers))])
    return {row[0]: case_of(row) for row in rows}


def lock_case(case_no: int) -> Script[Case | None]:
    """Read a case and keep others from changing it until the transaction ends."""
    rows = yield LOCK_CASES([(case_no,)])
    return case_of(rows[0]) if rows else None


def read_surroundings(case: Case) -> Script[Surroundings]:
    """Read what a step depends on beside the case."""
    signed = yield _SIGNED([(case.case_no,)])
    conflicts = yield _CONFLICTS([(case.institution_no, 0), (0, case.case_no)])
    ((_, cashier_no, detail),) = yield _CLAIM([(case.claim_no,)])
    undoing = yield _UNDOING([(case.claim_no,)])
    registered = yield _REGISTERED([(case.person_no,)])
    took_part = {cashier_no}
    # Who entered what the patient has filed decided with it what the fund paid.
    took_part |= {operator_no for _, operator_no, subject in registered if subject == "filing"}
    return Surroundings(
        signed=tuple(
            Signed(step, StepKind(kind), operator_no)
            for _, step, kind, operator_no in sorted(signed)
        ),
        took_part=frozenset(took_part - {0}),
        conflicts=frozenset(row[2] for row in conflicts),
        undone_by=undoing[0][1] if undoing else 0,
        lines_fen=tuple(max(line.in_scope_fen, 0) for line in decode_detail(detail).line_splits),
    )


def read_steps(case_no: int) -> Script[list[StepDone]]:
    """Read what was done to a case, in order."""
    rows = yield _STEPS([(case_no,)])
    return [_step_done(row[1:]) for row in sorted(rows)]


def read_cuts(case_no: int) -> Script[dict[int, tuple[Cut, ...]]]:
    """Read what the steps of a case took, by step."""
    rows = yield _CUTS([(case_no,)])
    found: dict[int, tuple[Cut, ...]] = {}
    for _, step, _, line, amount_fen, article, reason in sorted(rows):
        found[step] = (*found.get(step, ()), Cut(line, amount_fen, article, reason))
    return found


def read_appeal(case_no: int) -> Script[Appeal | None]:
    """Read a case's appeal."""
    rows = yield FIND_APPEALS([(case_no,)])
    return Appeal(*rows[0][1:]) if rows else None


def cut_rows(case_no: int, step: int, cuts: Sequence[Cut]) -> list[Row]:
    """Make rows of `INSERT_CUTS`."""
    return [
        (case_no, step, number, cut.line, cut.amount_fen, cut.article, cut.reason)
        for number, cut in enumerate(cuts, 1)
    ]


def _step_done(row: Row) -> StepDone:
    step, kind, operator_no, department, month, taken_ms, recorded_ms, verdict, *rest = row
    return StepDone(
        step, StepKind(kind), operator_no, department, month, taken_ms, recorded_ms,
        Verdict(verdict), *rest,
    )  # fmt: skip


def _row(case: Case) -> Row:
    return tuple(_plain(value) for value in astuple(case))


def _plain(value: object) -> object:
    """Give enumerations as the numbers that they are: drivers want no other kind."""
    return int(value) if isinstance(value, int) else value
