"""A run over all persons: in steps, each an act, so that it goes on where it was broken off.

The steps are cut when a run begins; each locks its persons and posts one entry a rule, which
debits the sum and credits each. Done again, nothing is posted. Not here: what each person is given
(`allotment.py`, `interest.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import NamedTuple

from msgspec import msgpack

from cardserver.funding.runs_store import (
    INSERT_ENTRIES,
    STEP_DONE,
    RuleSum,
    Run,
    Step,
    begin_run,
    count_steps,
    cut_persons,
    end_run,
    steps_left,
    sums_of,
)
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.values import Actor
from ledger.accounts import Account
from ledger.bulk_store import Query
from ledger.database_store import Database
from ledger.entries import Draft, EntryKind, Posting
from ledger.fund_acts import PERSONS_MAX, Act, Acted, ActKey, ActPosted, ActType, ActView, FundActs
from ledger.scripts import Script

STEP_SIZE = 250
"""Persons that a step locks: so few that a settlement of one of them hardly waits."""

LANES = 1
"""Writers at work at once. Two are nearly twice as fast where there is a processor to spare, but on
two cores settlements wait for it; all together lock at most 1,000 persons."""

_PERSONAL = Account.PERSONAL_ACCOUNT.value


class Gift(NamedTuple):
    """What a person is given.

    Attributes:
        rule: By which rule.
        account: From which account of the fund.
        insurance: Whose.
    """

    rule: str
    account: int
    insurance: int
    person_no: int
    amount_fen: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is known of a step before its persons are locked.

    Attributes:
        persons: Who is to be locked, ascending.
        read: Runs under the locks, and says what each is given.
    """

    persons: tuple[int, ...]
    read: Callable[[], Script[Sequence[Gift]]]


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a run is for.

    Attributes:
        rules: Name, first day and hash of the rules that decide.
        prepare: Looks at a step's persons; told the first and last number, and which attempt of
            the month's runs it is.
    """

    kind: EntryKind
    type: ActType
    month: int
    rules: str
    prepare: Callable[[int, int, int], Awaitable[Prepared]]


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of a run.

    Attributes:
        sums: By rule, all of the run's.
        steps_done: By this call; 0: there was nothing left to do.
    """

    run: Run
    sums: list[RuleSum]
    steps_done: int


Progress = Callable[[int, int], None]


async def run(  # noqa: PLR0913 - a run's parts
    database: Database,
    open_acts: Callable[[], FundActs],
    purpose: Purpose,
    actor: Actor,
    *,
    is_late: bool = False,
    step_size: int = 0,
    lanes: int = 0,
    on_progress: Progress = lambda _done, _total: None,
) -> Ran:
    """Do a month's run, or what is left of it.

    Args:
        database: Started.
        open_acts: Makes a `FundActs` that is not entered.
        purpose: What it is for.
        actor: Who does it.
        is_late: For those whom the month's runs before left out.
        step_size: How many persons a step has; else `STEP_SIZE`.
        lanes: How many writers work at once; else `LANES`.
        on_progress: Told how many steps are done, of how many.

    Raises:
        AdministrationError: It was begun by other rules than those of its purpose.
    """
    size = step_size or STEP_SIZE
    lanes = lanes or LANES
    assert 0 < size * lanes <= PERSONS_MAX
    begun = await begin_run(
        database,
        kind=purpose.kind,
        month=purpose.month,
        rules=purpose.rules,
        size=size,
        is_late=is_late,
        actor=actor,
    )
    left = await steps_left(database, begun.run_no)
    if left and begun.rules != purpose.rules:
        raise AdministrationError(
            f"run {begun.run_no} was begun by {begun.rules}, and {purpose.rules} is in force now:"
            " activate the former again to end it"
        )
    total, done = await count_steps(database, begun.run_no)
    on_progress(done, total)
    waiting = iter(left)

    def one_done() -> None:
        nonlocal done
        done += 1
        on_progress(done, total)

    if left:
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
            for _ in range(min(lanes, len(left))):
                acts = await stack.enter_async_context(open_acts())
                tasks.create_task(_lane(acts, purpose, begun, waiting, one_done))
    if not begun.ends_time_ms:
        await end_run(database, begun.run_no, now_ms=actor.now_ms)
    return Ran(begun, await sums_of(database, begun.run_no), len(left))


async def rehearse(
    database: Database,
    purpose: Purpose,
    *,
    attempt: int = 1,
    on_progress: Progress = lambda _done, _total: None,
) -> list[RuleSum]:
    """Say by rule what a run would give; nothing is locked or written."""
    steps = await cut_persons(database, STEP_SIZE)
    persons: dict[str, int] = {}
    amounts: dict[str, int] = {}
    for done, (first, last, _) in enumerate(steps, 1):
        prepared = await purpose.prepare(first, last, attempt)
        for gift in await database.fetch_script(_script(prepared.read)):
            persons[gift.rule] = persons.get(gift.rule, 0) + 1
            amounts[gift.rule] = amounts.get(gift.rule, 0) + gift.amount_fen
        on_progress(done, len(steps))
    return [RuleSum(rule, persons[rule], amounts[rule]) for rule in sorted(persons)]


def _script(read: Callable[[], Script[Sequence[Gift]]]) -> Script[Sequence[Gift]]:
    return (yield from read())


async def _lane(
    acts: FundActs,
    purpose: Purpose,
    begun: Run,
    waiting: Iterator[Step],
    one_done: Callable[[], None],
) -> None:
    """Do steps until none is left."""
    for step in waiting:
        prepared = await purpose.prepare(step.first_person_no, step.last_person_no, begun.attempt)
        await acts.post(_act(purpose, begun, step, prepared))
        one_done()


def _act(purpose: Purpose, begun: Run, step: Step, prepared: Prepared) -> Act[Sequence[Gift]]:
    def decide(view: ActView, gifts: Sequence[Gift]) -> Acted:
        return _give(purpose.kind, begun.run_no, step.step, _present(view, gifts))

    return Act(
        key=ActKey(purpose.type, begun.month, (begun.run_no, step.step)),
        content=msgpack.encode((begun.rules, step)),
        persons=prepared.persons,
        read=prepared.read,
        decide=decide,
    )


def _present(view: ActView, gifts: Sequence[Gift]) -> Sequence[Gift]:
    """Leave out who was merged into another a moment ago."""
    persons = view.book.persons
    return [gift for gift in gifts if gift.person_no in persons]


def _give(kind: EntryKind, run_no: int, step: int, gifts: Sequence[Gift]) -> Acted:
    by_rule: dict[tuple[str, int, int], list[Gift]] = {}
    for gift in gifts:
        by_rule.setdefault(gift[:3], []).append(gift)
    drafts: list[Draft] = []
    about: list[tuple[str, int, int]] = []
    for (rule, account, insurance), some in sorted(by_rule.items()):
        amount_fen = sum([gift.amount_fen for gift in some])
        postings = [
            Posting(account, insurance, amount_fen),
            *[Posting(_PERSONAL, gift.person_no, -gift.amount_fen) for gift in some],
        ]
        drafts.append(Draft(kind, tuple(postings)))
        about.append((rule, len(some), amount_fen))

    def write(posted: ActPosted) -> Sequence[Query]:
        rows = [
            (number, run_no, step, *one) for number, one in zip(posted.numbers, about, strict=True)
        ]
        return [INSERT_ENTRIES(rows), STEP_DONE([(1, run_no, step)])]

    return Acted(tuple(drafts), write, lambda _: msgpack.encode(about))
