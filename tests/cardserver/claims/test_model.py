"""A state machine beside a model: whatever a counter does, the books are as the model says."""

import asyncio
import itertools
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from msgspec import msgpack

from cardserver.claims.claims_store import accumulators, claims_participants, find_status
from cardserver.claims.settlement import settle_work
from cardserver.claims.values import ClaimsWriter, Presented, Rules, request_key
from ledger.database_store import Database
from ledger.decisions import NotTaken, Outcome
from ledger.ledger_store import balances
from ledger.trial_balance_store import trial_balance
from ledger.writer import GroupWriter
from protocol.terminal import messages
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import MessageType, ReverseResult, StatusState
from tests.cardserver.claims.fund import (
    HOSPITAL,
    SHANGHAI,
    TODAY,
    Counter,
    TestClock,
    bill,
    fill,
    open_personal_accounts,
)
from tests.databases import empty

T = TypeVar("T")

PERSONS = (101, 102, 103)
OPENING_FEN = 300_000
DEDUCTIBLE_FEN = 180_000
SETTLED = msgpack.Decoder(messages.Settled)
REVERSED = msgpack.Decoder(messages.Reversed)
PRINTED = msgpack.Decoder(messages.PrintAcked)


@dataclass
class ModelClaim:
    """What the model knows of one attempt to settle."""

    msgid: str
    person: int
    fen: int
    shown: tuple[int, int, int]
    deductible: int = 0
    body: bytes = b""
    code: int = 0
    setl_id: str = ""
    is_undone: bool = False
    copies: int = 0


@dataclass
class Model:
    """Beijing's employees at a hospital, below 20,000 yuan a year."""

    balance: dict[int, int] = field(default_factory=lambda: dict.fromkeys(PERSONS, OPENING_FEN))
    deductible: dict[int, int] = field(default_factory=lambda: dict.fromkeys(PERSONS, 0))
    in_scope: dict[int, int] = field(default_factory=lambda: dict.fromkeys(PERSONS, 0))
    claims: int = 0

    def settle(self, msgid: str, person: int, fen: int) -> ModelClaim:
        deductible = min(DEDUCTIBLE_FEN - self.deductible[person], fen)
        fund = (fen - deductible) * 7 // 10
        account = min(self.balance[person], fen - fund)
        self.balance[person] -= account
        self.deductible[person] += deductible
        self.in_scope[person] += fen
        self.claims += 1
        shown = (fund, account, fen - fund - account)
        return ModelClaim(msgid, person, fen, shown, deductible)

    def undo(self, claim: ModelClaim) -> None:
        self.balance[claim.person] += claim.shown[1]
        self.deductible[claim.person] -= claim.deductible
        self.in_scope[claim.person] -= claim.fen
        self.claims += 1
        claim.is_undone = True


class Fund(RuleBasedStateMachine):
    """The counter of one fund; a subclass says on which database, with which rules."""

    rules: Rules
    make_url: Callable[[], str]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.model = Model()
        self.run(self.open(type(self).make_url()))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def open(self, url: str) -> None:
        self.database = Database.open(url)
        await self.database.start()
        clock = TestClock()
        await fill(self.database, range(PERSONS[0], PERSONS[-1] + 1))
        await open_personal_accounts(self.database, dict.fromkeys(PERSONS, OPENING_FEN), clock)
        self.counter = Counter(
            await self.start_writer(clock), self.database, type(self).rules, clock
        )

    async def start_writer(self, clock: TestClock) -> ClaimsWriter:
        writer: ClaimsWriter = GroupWriter(
            self.database, claims_participants(), clock=clock, timezone=SHANGHAI, group_max=3
        )
        await writer.start()
        return writer

    def teardown(self) -> None:
        self.run(self.close())
        self.runner.close()

    async def close(self) -> None:
        books = await self.database.report(trial_balance)
        assert books.is_equal, books.differences
        # The settlements, their undoing, and an opening balance a person.
        assert books.entry_count == self.model.claims + len(PERSONS)
        await self.counter.writer.stop()
        await self.database.close()

    attempts = Bundle("attempts")
    tombstones = Bundle("tombstones")
    persons = st.sampled_from(PERSONS)
    amounts = st.integers(1, 50).map(lambda tens: tens * 1_000)

    async def ask(self, claim: ModelClaim) -> Outcome:
        return await self.counter.settle(
            bill(("A1", claim.fen)), claim.person, shown=claim.shown, msgid=claim.msgid
        )

    def note(self, claim: ModelClaim, outcome: Outcome, balance_fen: int) -> None:
        settled = SETTLED.decode(outcome.body)
        assert (outcome.code, outcome.is_duplicate) == (0, False)
        split = settled.split
        assert (split.fund_pay_fen, split.account_pay_fen, split.cash_fen) == claim.shown
        assert settled.balance_after_fen == balance_fen
        claim.body, claim.setl_id = outcome.body, settled.setl_id

    @rule(target=attempts, person=persons, fen=amounts)
    def settle(self, person: int, fen: int) -> ModelClaim:
        claim = self.model.settle(self.counter.msgid(), person, fen)
        self.note(claim, self.run(self.ask(claim)), self.model.balance[person])
        return claim

    @rule(target=attempts, asked=st.lists(st.tuples(persons, amounts), min_size=2, max_size=6))
    def settle_at_once(self, asked: list[tuple[int, int]]) -> Any:
        made: list[tuple[ModelClaim, int]] = []
        for person, fen in asked:
            claim = self.model.settle(self.counter.msgid(), person, fen)
            made.append((claim, self.model.balance[person]))

        async def all_at_once() -> list[Outcome]:
            return await asyncio.gather(*(self.ask(claim) for claim, _ in made))

        for (claim, balance_fen), outcome in zip(made, self.run(all_at_once()), strict=True):
            self.note(claim, outcome, balance_fen)
        return multiple(*(claim for claim, _ in made))

    @rule(target=attempts, person=persons, fen=amounts)
    def settle_what_was_not_shown(self, person: int, fen: int) -> ModelClaim:
        claim = ModelClaim(self.counter.msgid(), person, fen, (1, fen, -1))
        outcome = self.run(self.ask(claim))
        assert outcome.code == ResponseCode.SPLIT_CHANGED
        claim.body, claim.code = outcome.body, outcome.code
        return claim

    @rule(claim=attempts)
    def repeat(self, claim: ModelClaim) -> None:
        outcome = self.run(self.ask(claim))
        assert (outcome.code, outcome.body, outcome.is_duplicate) == (claim.code, claim.body, True)

    @rule(claim=attempts)
    def reuse_the_msgid(self, claim: ModelClaim) -> None:
        body = messages.Settle(bill(("A1", claim.fen + 1)), 0, 0, 0)
        attempt = self.counter.attempt(MessageType.SETTLE, body, claim.msgid)
        work = settle_work(attempt, body, Presented(claim.person), self.counter.rules, today=TODAY)
        assert self.run(self.counter.writer.submit(work)) is NotTaken.MSGID_REUSED

    @rule(claim=attempts)
    def cancel(self, claim: ModelClaim) -> None:
        outcome = self.run(self.counter.cancel(claim.setl_id))
        if not claim.setl_id:
            assert outcome.code == ResponseCode.ORIGINAL_NOT_FOUND
        elif claim.is_undone:
            assert outcome.code == ResponseCode.ALREADY_UNDONE
        else:
            self.model.undo(claim)
            undone = SETTLED.decode(outcome.body)
            assert undone.split.account_pay_fen == -claim.shown[1]
            assert undone.balance_after_fen == self.model.balance[claim.person]

    @rule(claim=attempts)
    def reverse(self, claim: ModelClaim) -> None:
        outcome = self.run(self.counter.reverse(claim.msgid))
        if claim.setl_id and not claim.is_undone and claim.copies:
            assert outcome.code == ResponseCode.ALREADY_PRINTED
            return
        assert outcome.code == ResponseCode.APPROVED
        result = REVERSED.decode(outcome.body).result
        if not claim.setl_id:
            assert result is ReverseResult.NOT_SETTLED
        elif claim.is_undone:
            assert result is ReverseResult.ALREADY_UNDONE
        else:
            assert result is ReverseResult.REVERSED
            self.model.undo(claim)

    @rule(target=tombstones, person=persons, fen=amounts)
    def reverse_what_never_came(self, person: int, fen: int) -> ModelClaim:
        msgid = self.counter.msgid()
        outcome = self.run(self.counter.reverse(msgid))
        assert REVERSED.decode(outcome.body).result is ReverseResult.NOT_FOUND
        return ModelClaim(msgid, person, fen, (0, fen, 0))

    @rule(claim=consumes(tombstones))
    def come_late(self, claim: ModelClaim) -> None:
        assert self.run(self.ask(claim)).code == ResponseCode.TOMBSTONED

    @rule(claim=attempts, is_printed=st.booleans())
    def print_receipt(self, claim: ModelClaim, is_printed: bool) -> None:  # noqa: FBT001
        outcome = self.run(self.counter.print_ack(claim.setl_id, is_printed=is_printed))
        if not claim.setl_id:
            assert outcome.code == ResponseCode.ORIGINAL_NOT_FOUND
            return
        assert PRINTED.decode(outcome.body).copies == claim.copies
        claim.copies += is_printed

    @rule(claim=attempts)
    def ask_status(self, claim: ModelClaim) -> None:
        key = request_key(HOSPITAL, HOSPITAL, claim.msgid)
        status = self.run(find_status(self.database, key))
        expected = StatusState.SETTLED if claim.setl_id else StatusState.REFUSED
        assert status.state is (StatusState.UNDONE if claim.is_undone else expected)
        assert status.body == claim.body

    @rule()
    def start_again(self) -> None:
        async def restart() -> None:
            await self.counter.writer.stop()
            self.counter.writer = await self.start_writer(self.counter.clock)

        self.run(restart())

    @invariant()
    def balances_agree(self) -> None:
        assert self.run(balances(self.database, PERSONS)) == self.model.balance

    @invariant()
    def accumulators_agree(self) -> None:
        used = self.run(accumulators(self.database, PERSONS, 2026))
        for person in PERSONS:
            found = [(a.deductible_fen, a.in_scope_fen) for _, a in used[person]]
            expected = (self.model.deductible[person], self.model.in_scope[person])
            assert (found or [(0, 0)]) == [expected]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_books_are_as_the_model_says(
    kind: str, rules: Rules, request: pytest.FixtureRequest
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

        machine = type("FundOnOne", (Fund,), {"rules": rules, "make_url": staticmethod(make_url)})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=12,
                stateful_step_count=30,
                suppress_health_check=list(HealthCheck),
            ),
        )
