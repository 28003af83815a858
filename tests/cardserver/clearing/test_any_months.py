"""Whatever happens over months, every fen is paid once: beside a model that only adds up."""

import asyncio
import itertools
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from lxml import etree
from sqlalchemy import Connection, text

from cardserver.clearing.clearing_store import (
    begin_hold,
    read_holds,
    release_holds,
    stored_clearings,
)
from cardserver.clearing.pain001 import NAMESPACE
from cardserver.clearing.paying import (
    PaymentError,
    RunWish,
    make_run,
    release_deposits,
    sign,
    take_report,
)
from cardserver.clearing.payments import PaymentState
from cardserver.clearing.payments_store import read_payments
from cardserver.clearing.readiness import NotReadyError
from cardserver.clearing.run import RunWish as ClearingWish
from cardserver.clearing.run import run
from ledger.accounts import Account
from ledger.calendar import period_after
from ledger.database_store import Database
from tests.cardserver.clearing.bank import answer
from tests.cardserver.clearing.month import (
    CODES,
    COMMUNITY,
    HOSPITAL,
    INPATIENT,
    OFFICER,
    OUTPATIENT,
    SHANGHAI,
    TERMS,
    Fund,
    open_fund,
)
from tests.databases import empty

T = TypeVar("T")
REGION = "110199"
PLACES = [(HOSPITAL, OUTPATIENT), (HOSPITAL, INPATIENT), (COMMUNITY, OUTPATIENT)]
CAP_FEN, ABOVE_E4 = 100_000, 4_000
CAPPED = (
    TERMS
    + f"""
[[caps]]
institution = "{CODES[HOSPITAL]}"
clearing_type = {INPATIENT}
per = "year"
amount = {CAP_FEN // 100}
above_percent = {ABOVE_E4 // 100}
"""
)
amounts = st.integers(1, 150_000)
Place = tuple[int, int]


class BrokenOffError(Exception):
    """The process ended here, as far as the database can tell."""


@dataclass
class Model:
    """What was settled, undone and deducted, and what the bank paid out."""

    standing: dict[int, tuple[Place, int]] = field(default_factory=dict)
    owed_fen: dict[Place, int] = field(default_factory=lambda: dict.fromkeys(PLACES, 0))
    capped_fen: dict[int, int] = field(default_factory=dict)  # by year
    bank_fen: dict[int, int] = field(default_factory=lambda: dict.fromkeys(CODES, 0))

    def owe(self, place: Place, fen: int, month: int) -> None:
        self.owed_fen[place] += fen
        if place == (HOSPITAL, INPATIENT):
            year = month // 100
            self.capped_fen[year] = self.capped_fen.get(year, 0) + fen

    def cut_fen(self) -> int:
        """What the cap takes: of what lies above it in a year, all but the share still paid."""
        cuts = 0
        for capped_fen in self.capped_fen.values():
            above_fen = max(capped_fen - CAP_FEN, 0)
            cuts += above_fen - (above_fen * ABOVE_E4 + 5_000) // 10_000
        return cuts


class Months(RuleBasedStateMachine):
    """Months of a fund, with a bank and a process that may end at any moment."""

    make_url: Callable[[], str]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        self.model = Model()
        self.month = 202610
        url = type(self).make_url()
        self.fund: Fund = self.wait(self.open(url))

    async def open(self, url: str) -> Fund:
        database = Database.open(url)
        await database.start()
        self.stack.push_async_callback(database.close)
        return await self.stack.enter_async_context(open_fund(database, CAPPED))

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    # --- at the counters, at review ---------------------------------------------------------

    @rule(place=st.sampled_from(PLACES), fen=amounts, insutype=st.sampled_from([310, 390]))
    def settle(self, place: Place, fen: int, insutype: int) -> None:
        number = self.wait(
            self.fund.settle(place[0], fen, clearing_type=place[1], insutype=insutype)
        )
        self.model.standing[number] = (place, fen)
        self.model.owe(place, fen, self.month)

    @precondition(lambda self: self.model.standing)
    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.model.standing)))
        place, fen = self.model.standing.pop(number)
        self.wait(self.fund.undo(number))
        self.model.owe(place, -fen, self.month)

    @rule(place=st.sampled_from(PLACES), fen=amounts)
    def review(self, place: Place, fen: int) -> None:
        self.wait(self.fund.review(place[0], fen, clearing_type=place[1]))
        self.model.owe(place, -fen, self.month)

    # --- at the fund ------------------------------------------------------------------------

    @rule(runs=st.booleans())
    def end_of_month(self, runs: bool) -> None:  # noqa: FBT001 - as drawn
        ended, self.month = self.month, period_after(self.month)
        self.fund.clock.be(self.month * 100 + 3)
        self.wait(self.fund.close(ended))
        if runs:
            self.clear_all()

    @rule(breaks=st.sampled_from(["at first", "at last", ""]), back=st.integers(1, 3))
    def clear(self, breaks: str, back: int) -> None:
        month = self.month
        for _ in range(back):
            month = month - 1 if month % 100 > 1 else month - 89

        def stop(done: int, total: int) -> None:
            if breaks == ("at first" if done == 0 else "at last" if done == total else ""):
                raise BrokenOffError

        wish = ClearingWish(month, "a test")
        try:
            self.wait(run(self.fund.database, self.fund.acts, wish, OFFICER, stop))
        except (BrokenOffError, NotReadyError):
            return

    def clear_all(self) -> None:
        month = 202610
        while month < self.month:
            self.wait(self.fund.run(month))
            month = period_after(month)

    @rule(number=st.sampled_from([HOSPITAL, COMMUNITY]), type_=st.sampled_from([0, OUTPATIENT]))
    def hold(self, number: int, type_: int) -> None:
        self.wait(begin_hold(self.fund.database, number, type_, "a test", OFFICER))

    @rule()
    def release(self) -> None:
        holds = self.wait(self.fund.database.report(read_holds))
        if holds:
            numbers = [one.hold_no for one in holds]
            self.wait(release_holds(self.fund.database, numbers, "a test", OFFICER))

    @rule(number=st.sampled_from([HOSPITAL, COMMUNITY]))
    def release_deposit(self, number: int) -> None:
        fund = self.fund
        try:
            self.wait(
                release_deposits(
                    fund.database,
                    fund.acts,
                    number,
                    OFFICER,
                    until=self.month,
                    today=fund.clock.day,
                )
            )
        except PaymentError:
            return

    @rule(again=st.booleans())
    def pay(self, again: bool) -> None:  # noqa: FBT001 - as drawn
        fund = self.fund
        wish = RunWish(fund.clock.day, fund.clock.day, REGION, SHANGHAI, again)
        try:
            made = self.wait(make_run(fund.database, fund.acts, wish, OFFICER))
        except PaymentError:
            return
        root = etree.fromstring(made.content)
        sent = root.xpath("//p:InstdAmt/text()", namespaces={"p": NAMESPACE})
        assert sum(round(float(one) * 100) for one in sent) == made.run.total_fen
        self.wait(sign(fund.database, made.run.run_no, made.run.sha256.hex(), OFFICER))

    @rule(data=st.data(), status=st.sampled_from(["ACSC", "RJCT", "PDNG"]))
    def hear_from_the_bank(self, data: st.DataObject, status: str) -> None:
        payments = self.wait(self.fund.database.report(read_payments))
        if payments:
            one = data.draw(st.sampled_from(payments))
            self.report(one.run_no, one.payment_no, status)

    def report(self, run_no: int, payment_no: int, status: str) -> None:
        fund = self.fund
        before = self.paid()
        content = answer(run_no, REGION, {payment_no: status})
        self.wait(
            take_report(fund.database, fund.acts, content, REGION, OFFICER, lambda _, __: None)
        )
        for number, fen in self.paid().items():
            self.model.bank_fen[number] += fen - before[number]

    def paid(self) -> dict[int, int]:
        payments = self.wait(self.fund.database.report(read_payments))
        return {
            number: sum(
                one.amount_fen
                for one in payments
                if one.institution_no == number and one.state is PaymentState.CONFIRMED
            )
            for number in CODES
        }

    # --- what always holds ------------------------------------------------------------------

    @invariant()
    def the_books_balance(self) -> None:
        balance = self.wait(self.fund.balance())
        assert balance.is_equal, balance.differences

    @invariant()
    def applied_is_paid_withheld_and_deducted(self) -> None:
        for stored in self.wait(self.fund.database.report(stored_clearings)):
            one, result = stored.clearing, stored.clearing.result
            totals = one.totals
            assert result.applied_fen == result.paid_fen + result.withheld_fen + one.deduction_fen
            assert result.applied_fen == (
                totals.settled_fen + totals.undone_fen + totals.other_fen
                + one.before.brought_fen - result.carried_fen
            )  # fmt: skip
            assert result.paid_fen >= 0
            assert result.withheld_fen >= 0
            assert result.carried_fen <= 0

    @invariant()
    def the_bank_paid_what_left_the_deposits(self) -> None:
        spent = -self.wait(self.fund.held_fen(Account.FISCAL_DEPOSIT))
        assert spent == sum(self.model.bank_fen.values())

    def teardown(self) -> None:
        """Finish everything: in the end each institution has what it is owed, and no fen more."""
        self.release()
        self.end_of_month(runs=True)
        for number in (HOSPITAL, COMMUNITY):
            self.release_deposit(number)
        self.pay(again=False)
        for one in self.wait(self.fund.database.report(read_payments)):
            if one.state is PaymentState.INSTRUCTED:
                self.report(one.run_no, one.payment_no, "ACSC")
        carried = self.wait(self.fund.database.report(carried_fen))
        for number in (HOSPITAL, COMMUNITY):
            owed_fen = sum(fen for place, fen in self.model.owed_fen.items() if place[0] == number)
            owed_fen -= self.model.cut_fen() if number == HOSPITAL else 0
            assert self.model.bank_fen[number] == owed_fen - carried.get(number, 0)
        assert self.wait(self.fund.held_fen(Account.PAYMENTS_UNDER_WAY)) == 0
        assert self.wait(self.fund.held_fen(Account.INSTITUTION_DEPOSIT)) == 0
        assert self.wait(self.fund.held_fen(Account.INSTITUTION_PAYABLE)) == sum(carried.values())
        self.the_books_balance()
        self.wait(self.stack.aclose())
        self.loop.close()


def carried_fen(connection: Connection) -> dict[int, int]:
    """Return what each institution owes the fund after its last clearings; 0 or less."""
    rows = connection.execute(
        text(
            "SELECT institution_no, clearing_type, carried_fen FROM clearing"
            " ORDER BY institution_no, clearing_type, month"
        )
    )
    last = {(number, type_): fen for number, type_, fen in rows}
    found: dict[int, int] = {}
    for (number, _), fen in last.items():
        found[number] = found.get(number, 0) + fen
    return found


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_every_fen_is_paid_once(kind: str, request: pytest.FixtureRequest) -> None:
    examples = 15 if kind == "sqlite" else 4
    check_months(kind, request, examples)


def check_months(kind: str, request: pytest.FixtureRequest, examples: int) -> None:
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

        machine = type("MonthsOnOne", (Months,), {"make_url": staticmethod(make_url)})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=30,
                suppress_health_check=list(HealthCheck),
            ),
        )
