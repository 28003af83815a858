"""Decisions of one entry and of several, beside a model, on both databases."""

# ruff: noqa: ARG002 - a participant's methods take what the group gives

import asyncio
import datetime as dt
import itertools
import tempfile
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from ledger.accounts import Account
from ledger.bulk_store import Query, plain
from ledger.database_store import Database
from ledger.decisions import (
    Answer,
    Decided,
    Decision,
    GroupView,
    NotTaken,
    Outcome,
    Part,
    Post,
    Posted,
    Work,
)
from ledger.entries import Draft, EntryKind, Posting, negative
from ledger.group import OverdrawnError
from ledger.ledger_store import (
    RequestKey,
    StoredRequest,
    balances,
    read_drafts,
)
from ledger.scripts import Script
from ledger.store_errors import StoreError, StoreUnavailableError
from ledger.trial_balance_store import trial_balance
from ledger.writer import GroupWriter

T = TypeVar("T")
HASH = bytes(32)
APPROVED, REFUSED = 0, 7
PERSONS = (1, 2, 3)
HOSPITAL = 9
CHINA = dt.timezone(dt.timedelta(hours=8))


class Clock:
    def now_ms(self) -> int:
        return int(dt.datetime(2026, 11, 21, 10, tzinfo=CHINA).timestamp() * 1000)

    def monotonic_ms(self) -> int:
        return 0


@dataclass
class Notes:
    """A participant that keeps each record with its entry, as the group applied and wrote it."""

    tombstone_code: int = 600
    applied: list[tuple[str, int | None]] = field(default_factory=list)
    written: list[tuple[str, int | None]] = field(default_factory=list)

    def find(
        self, needs: Sequence[None], requests: Mapping[RequestKey, StoredRequest]
    ) -> Script[tuple["Notes", set[int]]]:
        self.applied = []
        yield from ()
        return self, set()

    def lock(
        self, book: "Notes", needs: Sequence[None], persons: Sequence[int]
    ) -> Script[frozenset[int]]:
        yield from ()
        return frozenset(persons)

    def read(self, book: "Notes", needs: Sequence[None]) -> Script[None]:
        yield from ()

    def apply(self, book: "Notes", decided: Decided[str]) -> None:
        self.applied.append(named(decided))

    def write(self, book: "Notes", decided: Collection[Decided[str]]) -> list[Query]:
        self.written += [named(one) for one in decided]
        return []


def named(decided: Decided[str]) -> tuple[str, int | None]:
    return decided.record, None if decided.posted is None else decided.posted.entry_no


Asked = Callable[[GroupView[Notes]], Decision[str]]


@dataclass
class Fund:
    """A writer with its participant, and what tests ask of it."""

    database: Database
    notes: Notes
    writer: GroupWriter[None, Notes, str]
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def work(self, decide: Asked, number: int = 0) -> Work[None, Notes, str]:
        key = RequestKey(202611, HOSPITAL, 1, f"m{number or next(self.numbers)}")
        return Work(key, 21, HASH, PERSONS, None, None, decide, 10_000)

    async def ask(self, decide: Asked, number: int = 0) -> Outcome:
        outcome = await self.writer.submit(self.work(decide, number))
        assert not isinstance(outcome, NotTaken), outcome
        return outcome

    async def count(self, table: str) -> int:
        sql = f"SELECT count(*) FROM {table}"
        ((found,),) = await self.database.fetch(plain("count", postgresql=sql, sqlite=sql)())
        return int(found)


async def open_fund(database: Database) -> Fund:
    notes = Notes()
    writer: GroupWriter[None, Notes, str] = GroupWriter(
        database, notes, clock=Clock(), timezone=CHINA, group_max=4
    )
    await writer.start()
    return Fund(database, notes, writer)


def moved(person: int, fen: int) -> Draft:
    """Give a person so much, or take it: against what was taken over."""
    postings = (Posting(Account.OPENING, 0, fen), Posting(Account.PERSONAL_ACCOUNT, person, -fen))
    return Draft(
        EntryKind.SETTLEMENT, postings if fen else (), person, institution_no=HOSPITAL,
        clearing_type=11,
    )  # fmt: skip


def body_of(posted: Posted) -> bytes:
    return repr((posted.entry_no, *posted.further)).encode()


def post(*drafts: Draft) -> Post[str]:
    first, *rest = drafts
    further = tuple(Part(draft, f"part {number}") for number, draft in enumerate(rest, 2))
    return Post(first, APPROVED, body_of, "part 1", further)


@pytest.fixture
async def fund(database: Database) -> Any:
    fund = await open_fund(database)
    yield fund
    await fund.writer.stop()


async def test_several_entries_are_numbered_next_and_the_reply_knows_them(fund: Fund) -> None:
    before = await fund.ask(lambda _: post(moved(1, 500)))
    outcome = await fund.ask(lambda _: post(moved(1, -200), moved(2, 50), moved(3, 0)))
    assert before.entry_no is not None
    first = before.entry_no + 1
    assert outcome.entry_no == first
    assert outcome.body == repr((first, first + 1, first + 2)).encode()
    expected = [("part 1", first), ("part 2", first + 1), ("part 3", first + 2)]
    assert fund.notes.applied == expected
    assert fund.notes.written == [("part 1", before.entry_no), *expected]
    assert await balances(fund.database, PERSONS) == {1: 300, 2: 50, 3: 0}
    # One seal a group, over all of its entries.
    assert await fund.count("seal") == 2
    again = await fund.ask(lambda _: post(moved(1, 1)), number=2)
    assert (again.body, again.is_duplicate) == (outcome.body, True)


async def test_what_one_entry_gives_back_the_next_may_take(fund: Fund) -> None:
    taken = await fund.ask(lambda _: post(moved(1, 300)))
    assert taken.entry_no is not None
    spent = await fund.ask(lambda _: post(moved(1, -300)))
    number = spent.entry_no
    assert number is not None

    def undo(_: GroupView[Notes]) -> Decision[str]:
        back = negative(moved(1, -300), kind=EntryKind.REFUND, undoes=number)
        return post(back, moved(1, -120))

    await fund.ask(undo)
    assert await balances(fund.database, (1,)) == {1: 180}
    drafts = await fund.database.fetch_script(read_drafts([number + 1, number + 2]))
    assert drafts[number + 1].undoes == number
    assert drafts[number + 1].kind == EntryKind.REFUND
    assert drafts[number + 2] == moved(1, -120)


async def test_where_one_entry_overdraws_none_is_posted(fund: Fund) -> None:
    await fund.ask(lambda _: post(moved(1, 100)))
    with pytest.raises(OverdrawnError):
        await fund.ask(lambda _: post(moved(2, 40), moved(1, -101)))
    assert await balances(fund.database, PERSONS) == {1: 100, 2: 0, 3: 0}
    assert await fund.count("entry") == 1
    assert await fund.count("request") == 1
    after = await fund.ask(lambda _: post(moved(2, 40), moved(1, -100)))
    assert after.body == repr((after.entry_no, (after.entry_no or 0) + 1)).encode()


async def test_nobody_fails_for_the_sake_of_a_decision_of_several_entries(fund: Fund) -> None:
    await fund.ask(lambda _: post(moved(1, 100)))
    good = [fund.work(lambda _: post(moved(2, 10), moved(3, 10))) for _ in range(3)]
    bad = fund.work(lambda _: post(moved(2, 1), moved(1, -101)))
    done = await asyncio.gather(
        *(fund.writer.submit(work) for work in (good[0], bad, *good[1:])), return_exceptions=True
    )
    assert isinstance(done[1], OverdrawnError)
    assert all(isinstance(one, Outcome) for one in (done[0], done[2], done[3]))
    assert await balances(fund.database, PERSONS) == {1: 100, 2: 30, 3: 30}
    assert (await fund.database.report(trial_balance)).is_equal


async def test_a_database_that_goes_away_while_requests_are_tried_singly_is_waited_for_once(
    fund: Fund, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.writer._AWAY_MAX_S", 2)
    await fund.ask(lambda _: post(moved(1, 100)))
    tried = [0, 0, 0]

    def away(place: int) -> Decision[str]:
        tried[place] += 1
        raise StoreUnavailableError("away")

    bad = fund.work(lambda _: post(moved(1, -101)))
    others = [fund.work(lambda _, place=place: away(place)) for place in range(3)]
    done = await asyncio.gather(
        *(fund.writer.submit(work) for work in (bad, *others)), return_exceptions=True
    )
    assert isinstance(done[0], OverdrawnError)
    assert all(isinstance(one, StoreUnavailableError) for one in done[1:])
    # One transaction each, which PostgreSQL's store begins twice; the first waited for both.
    assert max(tried[1:]) <= 2 < tried[0]


async def test_an_entry_is_undone_once_also_as_a_part(fund: Fund) -> None:
    taken = await fund.ask(lambda _: post(moved(1, 300)))
    number = taken.entry_no
    assert number is not None
    back = negative(moved(1, 300), kind=EntryKind.REFUND, undoes=number)
    await fund.ask(lambda _: post(moved(2, 1), back))
    with pytest.raises(StoreError):
        await fund.ask(lambda _: post(moved(1, 300), moved(2, 5), back))
    assert await balances(fund.database, PERSONS) == {1: 0, 2: 1, 3: 0}


class Books(RuleBasedStateMachine):
    """A subclass says on which database."""

    make_url: Callable[[], str]
    persons = st.sampled_from(PERSONS)
    amounts = st.integers(-300, 300)
    decisions = st.lists(st.tuples(persons, amounts), min_size=1, max_size=4)

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.held = dict.fromkeys(PERSONS, 0)
        self.entries = 0
        self.bodies: dict[int, bytes] = {}
        self.asked = 0
        self.run(self.open(type(self).make_url()))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def open(self, url: str) -> None:
        database = Database.open(url)
        await database.start()
        self.fund = await open_fund(database)

    def teardown(self) -> None:
        async def close() -> None:
            await self.fund.writer.stop()
            await self.fund.database.close()

        self.run(close())
        self.runner.close()

    def decision(self, wanted: list[tuple[int, int]]) -> Asked:
        """Post all where no account would be overdrawn on the way, else refuse."""

        def decide(view: GroupView[Notes]) -> Decision[str]:
            held = {person: view.personal_balance(person) for person in PERSONS}
            for person, fen in wanted:
                held[person] += fen
                if held[person] < 0:
                    return Answer(REFUSED)
            return post(*(moved(person, fen) for person, fen in wanted))

        return decide

    def note(self, number: int, wanted: list[tuple[int, int]], outcome: Outcome) -> None:
        held = dict(self.held)
        is_covered = True
        for person, fen in wanted:
            held[person] += fen
            is_covered = is_covered and held[person] >= 0
        self.bodies[number] = outcome.body
        if not is_covered:
            assert (outcome.code, outcome.entry_no) == (REFUSED, None)
            return
        assert outcome.code == APPROVED
        first = outcome.entry_no
        assert first is not None
        numbers = tuple(first + index for index in range(len(wanted)))
        assert outcome.body == repr(numbers).encode()
        self.held = held
        self.entries += len(wanted)

    @rule(wanted=st.lists(decisions, min_size=1, max_size=6))
    def decide_together(self, wanted: list[list[tuple[int, int]]]) -> None:
        numbers = range(self.asked + 1, self.asked + 1 + len(wanted))
        self.asked += len(wanted)

        async def all_at_once() -> list[Outcome]:
            pairs = zip(numbers, wanted, strict=True)
            return await asyncio.gather(
                *(self.fund.ask(self.decision(one), number) for number, one in pairs)
            )

        outcomes = self.run(all_at_once())
        for number, one, outcome in zip(numbers, wanted, outcomes, strict=True):
            assert not outcome.is_duplicate
            self.note(number, one, outcome)

    @rule(number=st.integers(1, 40))
    def repeat(self, number: int) -> None:
        if number in self.bodies:
            outcome = self.run(self.fund.ask(lambda _: Answer(REFUSED), number))
            assert (outcome.body, outcome.is_duplicate) == (self.bodies[number], True)

    @rule()
    def start_again(self) -> None:
        async def restart() -> None:
            await self.fund.writer.stop()
            self.fund = await open_fund(self.fund.database)

        self.run(restart())

    @invariant()
    def the_books_agree(self) -> None:
        assert self.run(balances(self.fund.database, PERSONS)) == self.held
        books = self.run(self.fund.database.report(trial_balance))
        assert books.is_equal, books.differences
        assert books.entry_count == self.entries


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_decisions_of_several_entries_keep_the_books(
    kind: str, request: pytest.FixtureRequest
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        if kind == "sqlite":
            template: bytes = request.getfixturevalue("sqlite_template")
            names = itertools.count()

            def make_url() -> str:
                path = Path(folder) / f"{next(names)}.db"
                path.write_bytes(template)
                return f"sqlite:///{path}"
        else:
            url: str = request.getfixturevalue("fresh_postgres_url")

            def make_url() -> str:
                asyncio.run(empty(url))
                return url

        machine = type("BooksOnOne", (Books,), {"make_url": staticmethod(make_url)})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=10,
                stateful_step_count=12,
                suppress_health_check=list(HealthCheck),
            ),
        )


async def empty(url: str) -> None:
    database = Database.open(url)
    await database.start()
    for table in ("request", "entry", "posting", "account_balance", "period_total", "seal",
                  "writer_slot"):  # fmt: skip
        sql = f"DELETE FROM {table}"
        await database.execute(plain("empty", postgresql=sql, sqlite=sql)())
    await database.close()
