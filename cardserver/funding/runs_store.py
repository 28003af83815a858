"""Runs over all persons in the database: runs, their steps, what each entry is about.

Not here: what a step posts (`runs.py`, `allotment.py`, `interest.py`).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from cardserver.funding import tables
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.history_store import audit
from cardserver.registry.values import Actor
from ledger.bulk_store import insert, plain, select, update
from ledger.database_store import Database
from ledger.scripts import Script
from ledger.store_errors import ConstraintError

T = TypeVar("T")

_NUMBER_ATTEMPTS_MAX = 5
_RUN = tuple(str(column.name) for column in tables.funding_run.columns)
_STEP = ("run_no", "step", "first_person_no", "last_person_no", "is_done")

INSERT_ENTRIES = insert(
    tables.funding_entry,
    ("entry_no", "run_no", "step", "rule", "persons_count", "amount_fen"),
    is_sealed=True,
)
STEP_DONE = update(tables.funding_step, set=("is_done",), by=("run_no", "step"))
_FIND_RUNS = select(tables.funding_run, [one for one in _RUN if one not in {"kind", "month"}],
                    ("kind", "month"))  # fmt: skip
_INSERT_RUN = insert(tables.funding_run, _RUN)
_INSERT_STEPS = insert(tables.funding_step, _STEP)
_END_RUN = update(tables.funding_run, set=("ends_time_ms",), by=("run_no",))
_LAST_RUN_TEXT = "SELECT coalesce(max(run_no), 0) FROM funding_run"
_LAST_RUN = plain("last run", postgresql=_LAST_RUN_TEXT, sqlite=_LAST_RUN_TEXT)
_CUT_TEXT = (
    "SELECT min(person_no), max(person_no), count(*) FROM (SELECT person_no,"
    " (row_number() OVER (ORDER BY person_no) - 1) / {} AS part FROM person) p"
    " GROUP BY part ORDER BY 1"
)
_CUT = plain("cut persons", postgresql=_CUT_TEXT.format("$1::bigint"), sqlite=_CUT_TEXT.format("?"))
_LEFT_TEXT = (
    "SELECT step, first_person_no, last_person_no FROM funding_step"
    " WHERE run_no = {} AND is_done = 0 ORDER BY step"
)
_LEFT = plain("steps left", postgresql=_LEFT_TEXT.format("$1"), sqlite=_LEFT_TEXT.format("?"))
_COUNT_TEXT = "SELECT count(*), coalesce(sum(is_done), 0) FROM funding_step WHERE run_no = {}"
_COUNT = plain("count steps", postgresql=_COUNT_TEXT.format("$1"), sqlite=_COUNT_TEXT.format("?"))
_SUMS_TEXT = (
    "SELECT rule, CAST(sum(persons_count) AS BIGINT), CAST(sum(amount_fen) AS BIGINT)"
    " FROM funding_entry WHERE run_no = {} GROUP BY rule ORDER BY rule"
)
_SUMS = plain("sums of a run", postgresql=_SUMS_TEXT.format("$1"), sqlite=_SUMS_TEXT.format("?"))
_ABOUT = select(tables.funding_entry, ("run_no", "rule"), ("entry_no",))
_RUNS_OF = select(tables.funding_run, ("kind", "month", "rules"), ("run_no",))


class Run(NamedTuple):
    """A run; see the table."""

    run_no: int
    kind: int
    month: int
    attempt: int
    rules: str
    operator_no: int
    actor: str
    begins_time_ms: int
    ends_time_ms: int


class Step(NamedTuple):
    """A step that is left to do: persons by number, both ends included."""

    step: int
    first_person_no: int
    last_person_no: int


class RuleSum(NamedTuple):
    """What a rule gave."""

    rule: str
    persons_count: int
    amount_fen: int


class About(NamedTuple):
    """What an entry of a run is about."""

    kind: int
    month: int
    rules: str
    rule: str


async def cut_persons(database: Database, size: int) -> list[tuple[int, int, int]]:
    """Cut all persons, by number, into steps of so many: first, last, how many."""
    return [(row[0], row[1], row[2]) for row in await database.fetch(_CUT([(size,)]))]


async def find_runs(database: Database, kind: int, month: int) -> list[Run]:
    """Return a month's runs of a kind, the first one first."""
    rows = await database.fetch(_FIND_RUNS([(kind, month)]))
    return sorted((_run_of(row) for row in rows), key=lambda run: run.attempt)


def _run_of(row: Sequence[object]) -> Run:
    kind, month, run_no, *others = row
    return Run._make((run_no, kind, month, *others))


async def begin_run(
    database: Database, *, kind: int, month: int, rules: str, size: int, is_late: bool, actor: Actor
) -> Run:
    """Return the month's run: the one under way or done, or a new one with its steps.

    Args:
        database: Started.
        kind: Of its entries.
        month: Its own.
        rules: What decides a new one.
        size: How many persons a step of a new one has.
        is_late: For those whom the runs before left out: a new one, once these have ended.
        actor: Who begins it.

    Raises:
        AdministrationError: A late run without one before.
    """
    steps = await cut_persons(database, size)

    def script() -> Script[None]:
        runs = sorted((_run_of(row) for row in (yield _FIND_RUNS([(kind, month)]))), key=_attempt)
        if runs and not (is_late and runs[-1].ends_time_ms):
            return
        if is_late and not runs:
            raise AdministrationError(f"there is no run of {month} that could have left one out")
        ((last,),) = yield _LAST_RUN()
        run_no = last + 1
        attempt = len(runs) + 1
        yield _INSERT_RUN(
            [(run_no, kind, month, attempt, rules, actor.operator_no, actor.name, actor.now_ms, 0)]
        )
        if steps:
            yield _INSERT_STEPS(
                [(run_no, n, first, last_no, 0) for n, (first, last_no, _) in enumerate(steps, 1)]
            )
        yield audit(actor, "funding run", f"run {run_no}", f"kind {kind} of {month}, {rules}")

    await registered(database, script)
    return (await find_runs(database, kind, month))[-1]


async def registered(database: Database, script: Callable[[], Script[T]]) -> T:
    """Run a transaction that takes the next number; again where another took it meanwhile."""
    for _ in range(_NUMBER_ATTEMPTS_MAX):
        try:
            return await database.transact(script)
        except ConstraintError:
            continue
    return await database.transact(script)


def _attempt(run: Run) -> int:
    return run.attempt


async def steps_left(database: Database, run_no: int) -> list[Step]:
    """Return the steps of a run that were not done yet."""
    return [Step(*row) for row in await database.fetch(_LEFT([(run_no,)]))]


async def count_steps(database: Database, run_no: int) -> tuple[int, int]:
    """Return how many steps a run has, and how many of them are done."""
    ((count, done),) = await database.fetch(_COUNT([(run_no,)]))
    return int(count), int(done)


async def sums_of(database: Database, run_no: int) -> list[RuleSum]:
    """Sum up by rule what a run gave."""
    return [RuleSum(*row) for row in await database.fetch(_SUMS([(run_no,)]))]


async def end_run(database: Database, run_no: int, *, now_ms: int) -> None:
    """Note that all steps of a run are done."""
    await database.execute(_END_RUN([(now_ms, run_no)]))


async def about_entries(database: Database, numbers: Sequence[int]) -> dict[int, About]:
    """Tell which entries are of runs, and what each is about."""
    if not numbers:
        return {}
    rows = await database.fetch(_ABOUT([(number,) for number in sorted(numbers)]))
    wanted = [(run_no,) for run_no in sorted({row[1] for row in rows})]
    runs = {row[0]: row for row in await database.fetch(_RUNS_OF(wanted))} if wanted else {}
    return {number: About._make((*runs[run_no][1:4], rule)) for number, run_no, rule in rows}
