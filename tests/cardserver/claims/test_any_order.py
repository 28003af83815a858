"""Settled, cancelled, reversed and refunded in any order: all is as a model says.

Several persons, one with two insurances and one with a paused one; bills of two years of care.
"""

import asyncio
import datetime as dt
import itertools
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from msgspec import msgpack

from cardserver.claims.accumulators_check_store import Difference, check_accumulators
from cardserver.claims.claims_store import accumulators, claims_participants
from cardserver.claims.values import Rules
from cardserver.registry import tables as registry
from ledger.bulk_store import insert
from ledger.database_store import Database
from ledger.decisions import Outcome
from ledger.ledger_store import balances
from ledger.trial_balance_store import trial_balance
from ledger.writer import GroupWriter
from protocol.terminal import messages
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import ExplainResult, ReverseResult
from tests.cardserver.claims.fund import (
    SHANGHAI,
    Counter,
    TestClock,
    fill,
    open_personal_accounts,
)
from tests.cardserver.claims.refunds import amounts_of, decoded, refund, told
from tests.databases import empty

T = TypeVar("T")
ONE_E4 = 10_000
EMPLOYEES, RESIDENTS = "310", "390"
PERSONS = (101, 102, 103)
# Whose insurances pay: 102 has both, and of 103 that of the employees is paused.
REFUSED = {
    (101, RESIDENTS): ResponseCode.COVERAGE_NOT_FOUND,
    (103, EMPLOYEES): ResponseCode.COVERAGE_PAUSED,
}
OPENING_FEN = 200_000
YEARS = (2025, 2026)
SETTLED = msgpack.Decoder(messages.Settled)
REVERSED = msgpack.Decoder(messages.Reversed)

Key = tuple[int, str, int]
Lines = list[tuple[int, int]]  # price in fen, how many


@dataclass
class Used:
    """What was used of one year under one insurance."""

    deductible: int = 0
    in_scope: int = 0
    pool: int = 0


@dataclass
class Claim:
    """A settlement as the model has it; every line is class A."""

    key: Key
    lines: Lines
    msgid: str = ""
    deductible: int = 0
    fund: int = 0
    account: int = 0
    setl_id: str = ""
    is_undone: bool = False
    is_remainder: bool = False

    @property
    def total(self) -> int:
        return sum(fen * count for fen, count in self.lines)

    @property
    def shown(self) -> tuple[int, int, int]:
        return self.fund, self.account, self.total - self.fund - self.account


@dataclass
class Model:
    """Beijing at a hospital of level 3, for outpatients: employees below 20,000 yuan a year."""

    balance: dict[int, int] = field(default_factory=lambda: dict.fromkeys(PERSONS, OPENING_FEN))
    used: dict[Key, Used] = field(default_factory=dict)
    entries: int = len(PERSONS)

    def of(self, key: Key) -> Used:
        return self.used.setdefault(key, Used())

    def settle(self, key: Key, lines: Lines, msgid: str = "") -> Claim:
        claim = Claim(key, lines, msgid)
        used, (person, insutype, _) = self.of(key), key
        full = 180_000 if insutype == EMPLOYEES else 55_000
        claim.deductible = min(max(0, full - used.deductible), claim.total)
        above = claim.total - claim.deductible
        if insutype == EMPLOYEES:
            claim.fund = above * 7 // 10
            claim.account = min(self.balance[person], claim.total - claim.fund)
        else:
            claim.fund = min(above // 2, 450_000 - used.pool)
        self._move(claim, 1)
        return claim

    def undo(self, claim: Claim) -> None:
        self._move(claim, -1)
        claim.is_undone = True

    def _move(self, claim: Claim, sign: int) -> None:
        used = self.of(claim.key)
        used.deductible += sign * claim.deductible
        used.in_scope += sign * claim.total
        used.pool += sign * claim.fund
        self.balance[claim.key[0]] -= sign * claim.account
        self.entries += 1


class Fund(RuleBasedStateMachine):
    """The counter of one fund; a subclass says on which database, with which rules."""

    rules: Rules
    make_url: Callable[[], str]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.model = Model()
        self.claims: list[Claim] = []
        self.run(self.open(type(self).make_url()))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def open(self, url: str) -> None:
        self.database = Database.open(url)
        await self.database.start()
        clock = TestClock()
        await fill(self.database, range(PERSONS[0], PERSONS[-1] + 1))
        await insure(self.database)
        await open_personal_accounts(self.database, dict.fromkeys(PERSONS, OPENING_FEN), clock)
        writer = GroupWriter(
            self.database, claims_participants(), clock=clock, timezone=SHANGHAI, group_max=3
        )
        await writer.start()
        self.counter = Counter(writer, self.database, type(self).rules, clock)

    def teardown(self) -> None:
        try:
            self.run(self.undo_all())
        finally:
            self.run(self.close())
            self.runner.close()

    async def close(self) -> None:
        await self.counter.writer.stop()
        await self.database.close()

    async def undo_all(self) -> None:
        """Undo what stands: all is as it was before anything was settled."""
        assert await self.differences() == []
        for claim in self.claims:
            if claim.setl_id and not claim.is_undone:
                assert (await self.counter.cancel(claim.setl_id)).code == ResponseCode.APPROVED
                self.model.undo(claim)
        assert await balances(self.database, PERSONS) == dict.fromkeys(PERSONS, OPENING_FEN)
        for year in YEARS:
            for rows in (await accumulators(self.database, PERSONS, year)).values():
                assert not any(
                    getattr(amounts, name)
                    for _, amounts in rows
                    for name in amounts.__struct_fields__
                )
        assert await self.differences() == []
        books = await self.database.report(trial_balance)
        assert books.is_equal, books.differences
        assert books.entry_count == self.model.entries

    async def differences(self) -> list[Difference]:
        found: list[Difference] = []
        await check_accumulators(self.database, on_difference=found.append)
        return found

    claims_made = Bundle("claims_made")
    persons = st.sampled_from(PERSONS)
    insurances = st.sampled_from((EMPLOYEES, RESIDENTS))
    years = st.sampled_from(YEARS)
    lines = st.lists(
        st.tuples(st.integers(1, 30).map(lambda tens: tens * 1_000), st.integers(1, 3)),
        min_size=1, max_size=3,
    )  # fmt: skip

    async def ask(self, claim: Claim) -> Outcome:
        # Outpatient care is of the day on which it is settled.
        day = dt.datetime(claim.key[2], 3, 1, 10, tzinfo=SHANGHAI)
        self.counter.clock.ms = int(day.timestamp() * 1000)
        return await self.counter.settle(
            bill_of(claim), claim.key[0], shown=claim.shown, msgid=claim.msgid
        )

    @rule(target=claims_made, person=persons, insutype=insurances, year=years, lines=lines)
    def settle(self, person: int, insutype: str, year: int, lines: Lines) -> Claim:
        key, msgid = (person, insutype, year), self.counter.msgid()
        if (person, insutype) in REFUSED:
            claim = Claim(key, lines, msgid)
            assert self.run(self.ask(claim)).code == REFUSED[person, insutype]
            return claim
        total = sum(fen * count for fen, count in lines)
        assume(self.model.of(key).in_scope + total < 2_000_000)
        claim = self.model.settle(key, lines, msgid)
        self.claims.append(claim)
        outcome = self.run(self.ask(claim))
        assert outcome.code == ResponseCode.APPROVED, outcome
        settled = SETTLED.decode(outcome.body)
        assert settled.balance_after_fen == self.model.balance[person]
        claim.setl_id = settled.setl_id
        return claim

    @rule(claim=claims_made)
    def cancel(self, claim: Claim) -> None:
        outcome = self.run(self.counter.cancel(claim.setl_id))
        if not claim.setl_id:
            assert outcome.code == ResponseCode.ORIGINAL_NOT_FOUND
        elif claim.is_undone:
            assert outcome.code == ResponseCode.ALREADY_UNDONE
        else:
            self.model.undo(claim)
            undone = SETTLED.decode(outcome.body)
            assert undone.balance_after_fen == self.model.balance[claim.key[0]]

    @rule(claim=claims_made)
    def reverse(self, claim: Claim) -> None:
        outcome = self.run(self.counter.reverse(claim.msgid))
        if claim.is_remainder:
            assert outcome.code == ResponseCode.ORIGINAL_NOT_SETTLED
            return
        result = REVERSED.decode(outcome.body).result
        if not claim.setl_id:
            assert result is ReverseResult.NOT_SETTLED
        elif claim.is_undone:
            assert result is ReverseResult.ALREADY_UNDONE
        else:
            assert result is ReverseResult.REVERSED
            self.model.undo(claim)

    @rule(target=claims_made, claim=claims_made, data=st.data())
    def refund(self, claim: Claim, data: st.DataObject) -> Claim:
        counts = [data.draw(st.integers(0, count), label="given back") for _, count in claim.lines]
        assume(any(counts))
        wanted = [(number, count * ONE_E4) for number, count in enumerate(counts, 1) if count]
        msgid = self.counter.msgid()
        if not claim.setl_id or claim.is_undone:
            outcome = self.run(refund(self.counter, claim.setl_id, wanted, msgid=msgid))
            assert outcome.code == (
                ResponseCode.ALREADY_UNDONE if claim.setl_id else ResponseCode.ORIGINAL_NOT_FOUND
            )
            return claim
        before = claim.shown
        self.model.undo(claim)
        left = [
            (fen, count - given)
            for (fen, count), given in zip(claim.lines, counts, strict=True)
            if count > given
        ]
        rest = self.model.settle(claim.key, left, msgid) if left else Claim(claim.key, [], msgid)
        rest.is_remainder = True
        back = tuple(had - has for had, has in zip(before, rest.shown, strict=True))
        assert len(back) == len(before)
        refunded = decoded(
            self.run(
                refund(self.counter, claim.setl_id, wanted, shown=(back[0], back[1], back[2]),
                       msgid=msgid)
            )
        )  # fmt: skip
        assert amounts_of(refunded) == back
        assert refunded.undo_setl_id
        assert refunded.balance_after_fen == self.model.balance[claim.key[0]]
        rest.setl_id = refunded.setl_id
        assert bool(rest.setl_id) == bool(left)
        self.claims.append(rest)
        return rest

    @rule(claim=claims_made)
    def refund_what_was_not_shown(self, claim: Claim) -> None:
        outcome = self.run(
            refund(self.counter, claim.setl_id, [(1, ONE_E4)], shown=(claim.total + 1, 0, 0))
        )
        assert outcome.code in {
            ResponseCode.SPLIT_CHANGED,
            ResponseCode.ALREADY_UNDONE,
            ResponseCode.ORIGINAL_NOT_FOUND,
        }
        assert outcome.entry_no is None

    @rule(claim=claims_made)
    def explain(self, claim: Claim) -> None:
        found = self.run(told(self.counter, claim.setl_id))
        if not claim.setl_id:
            assert found is ResponseCode.ORIGINAL_NOT_FOUND
            return
        assert isinstance(found, messages.Explained)
        assert found.result is ExplainResult.EXPLAINED
        assert bool(found.undone_by) == claim.is_undone
        steps = found.explanation
        for name in ("fund_pay_fen", "cash_fen", "deductible_fen"):
            amounts = [step.amount_fen for step in steps if step.field == name]
            assert sum(amounts) == getattr(found.split, name)

    @invariant()
    def accounts_agree(self) -> None:
        assert self.run(balances(self.database, PERSONS)) == self.model.balance

    @invariant()
    def accumulators_agree(self) -> None:
        for year in YEARS:
            rows = self.run(accumulators(self.database, PERSONS, year))
            found = {
                (key.person_no, key.insutype, year): Used(
                    amounts.deductible_fen, amounts.in_scope_fen, amounts.pool_fen
                )
                for one in rows.values()
                for key, amounts in one
                if key.scheme == "outpatient"
            }
            for key in found.keys() | {key for key in self.model.used if key[2] == year}:
                assert found.get(key, Used()) == self.model.of(key), key


def bill_of(claim: Claim) -> messages.Bill:
    _, insutype, _ = claim.key
    return messages.Bill(
        insutype=insutype,
        med_type="11",
        total_fen=claim.total,
        uses_account=True,
        invoice="I1",
        lines=tuple(
            messages.Line("A1", "甲类药", fen * 10_000, count * ONE_E4, fen * count)
            for fen, count in claim.lines
        ),
    )


async def insure(database: Database) -> None:
    """Have 102 insured as a resident too; 103 as one only, as that of the employees is paused."""
    columns = ("person_no", "insutype", "begins", "ends", "state", "person_type", "region")
    resident = insert(registry.insurance, columns)
    rows = [(n, RESIDENTS, 20200101, 99991231, 1, "14", "110105") for n in (102, 103)]
    await database.execute(resident(rows))
    paused = "UPDATE insurance SET state = 2 WHERE person_no = 103 AND insutype = '310'"
    await database.administer(lambda connection: connection.exec_driver_sql(paused))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_in_any_order_all_is_as_the_model_says(
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
                stateful_step_count=25,
                suppress_health_check=list(HealthCheck),
            ),
        )
