"""Random reviewers do random steps in random order, and whatever they do holds together.

The steps that the procedure allows are found by trying them; a model that knows nothing of its
tables keeps what must hold: nobody signs two stages of a case, two different auditors sign what is
large, what is deducted is what the last decision said, and never more than the fund paid.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cardserver.claims.claims_store import claims_participants
from cardserver.claims.values import ClaimsWriter, Rules
from cardserver.funding.acts import open_fund_acts
from cardserver.registry.roles import Role
from cardserver.review.cases_store import Appeal, StepDone, read_cuts, read_steps
from cardserver.review.check_store import check_review
from cardserver.review.desk_store import ReviewDesk
from cardserver.review.values import (
    Case,
    Cut,
    Finding,
    Reviewer,
    State,
    StepKind,
    Verdict,
)
from ledger.database_store import Database
from ledger.writer import GroupWriter
from tests.cardserver.claims.fund import (
    INSTITUTION,
    SHANGHAI,
    Counter,
    TestClock,
    fill,
)
from tests.cardserver.review.office import ARTICLE, Office

STAFF = tuple(
    Reviewer(number, 0, role)
    for number, role in zip(
        itertools.count(101),
        [Role.ACCEPTANCE] * 2 + [Role.CALCULATION] * 2 + [Role.AUDIT] * 5,
        strict=False,
    )
)
STAGE = {
    StepKind.ACCEPT: 1, StepKind.CALCULATE: 2, StepKind.RETURN: 3, StepKind.AUDIT: 3,
    StepKind.DECIDE_APPEAL: 4, StepKind.RETURN_APPEAL: 4, StepKind.CONFIRM_APPEAL: 4,
}  # fmt: skip
VERBS = (
    "take", "give_back", "accept", "calculate", "audit", "send_back", "appeal", "decide_appeal",
    "confirm_appeal", "cancel", "days", "follow",
)  # fmt: skip
# Verb, case, whose role or who, and what chance says.
Move = tuple[str, int, int, int]
MOVES = st.lists(
    st.tuples(
        st.sampled_from(VERBS), st.integers(0, 2), st.integers(0, len(STAFF) - 1),
        st.integers(0, 2**16),
    ),
    min_size=5, max_size=60,
)  # fmt: skip


def finding(case: Case, chance: int, *, of_appeal: bool) -> Finding:
    """Make up what someone may find, right or wrong."""
    draw = Random(chance)
    verdicts = (
        (Verdict.GRANT, Verdict.GRANT_PARTLY, Verdict.DISMISS)
        if of_appeal
        else (Verdict.APPROVE, Verdict.REDUCE, Verdict.REDUCE, Verdict.REJECT)
    )
    verdict = draw.choice(verdicts)
    most_fen = case.fund_pay_fen + 50
    two = [draw.randrange(0, most_fen), draw.randrange(1, 2_000)]
    amounts = {
        Verdict.REJECT: [case.fund_pay_fen],
        Verdict.REDUCE: two[: draw.choice((1, 2))],
        Verdict.GRANT_PARTLY: [draw.randrange(0, most_fen)],
    }.get(verdict, [])
    cuts = tuple(Cut(line, fen, ARTICLE, "理由") for line, fen in enumerate(amounts))
    return Finding(verdict, cuts, "说明")


@dataclass
class Play:
    """One run of moves, on one office."""

    office: Office
    cases: list[int] = field(default_factory=list)
    undone: set[int] = field(default_factory=set)
    done: int = 0
    msgids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def move(self, verb: str, which: int, whose: int, chance: int) -> None:
        desk, who = self.office.desk, STAFF[whose]
        case_no = self.cases[which]
        case = await desk.find(case_no)
        assert case is not None
        match verb:
            case "take":
                done: object = await desk.take(case_no, who)
            case "give_back" | "accept" | "audit" | "confirm_appeal":
                done = await getattr(desk, verb)(case_no, self._holder(case, who))
            case "calculate":
                made_up = finding(case, chance, of_appeal=False)
                done = await desk.calculate(case_no, self._holder(case, who), made_up)
            case "decide_appeal":
                made_up = finding(case, chance, of_appeal=True)
                done = await desk.decide_appeal(case_no, self._holder(case, who), made_up)
            case "send_back":
                done = await desk.send_back(case_no, self._holder(case, who), "不符")
            case "appeal":
                done = await desk.appeal(case_no, self._appeal())
            case "cancel" if chance % 4 == 0:
                await self.office.counter.cancel(str(case.claim_no))
                self.undone.add(case_no)
                done = None
            case "days":
                self.office.pass_days(chance % 5)
                done = None
            case _:
                done = await desk.follow() if verb == "follow" else None
        self.done += isinstance(done, Case)

    def _holder(self, case: Case, who: Reviewer) -> Reviewer:
        """Mostly who has the case; else whoever the move names."""
        holders = [one for one in STAFF if one.operator_no == case.holder_no]
        return holders[0] if holders and who.operator_no % 4 else who

    def _appeal(self) -> Appeal:
        msgid = f"{INSTITUTION}20261122120000{next(self.msgids):04d}"
        now_ms = self.office.counter.clock.ms
        return Appeal(1, 1, msgid, bytes(32), 9, now_ms, 20261122, "不服")

    async def check(self) -> None:
        """Hold the model beside what is stored."""
        database = self.office.database
        total_fen = 0
        for case_no in self.cases:
            case = await self.office.desk.find(case_no)
            assert case is not None
            steps = await database.fetch_script(read_steps(case_no))
            cuts = await database.fetch_script(read_cuts(case_no))
            assert [step.step for step in steps] == list(range(1, case.steps + 1))
            check_signatures(case, steps)
            in_force_fen = deduction_by_steps(steps, cuts)
            assert case.deduction_fen == in_force_fen
            assert 0 <= in_force_fen <= case.fund_pay_fen
            total_fen += in_force_fen
        assert await self.office.deducted() == total_fen
        assert await check_review(database) == []

    async def end(self) -> None:
        """Whatever was undone is given back at the latest when someone follows."""
        await self.office.desk.follow()
        for case_no in self.undone:
            case = await self.office.desk.find(case_no)
            assert case is not None
            assert (case.state, case.deduction_fen) == (State.CLOSED, 0)
        await self.check()


def check_signatures(case: Case, steps: list[StepDone]) -> None:
    stages: dict[int, set[int]] = {}
    for step in steps:
        if step.kind in STAGE:
            stages.setdefault(step.operator_no, set()).add(STAGE[step.kind])
    assert all(len(own) == 1 for own in stages.values()), steps
    for stage in (3, 4):
        signed: list[int] = []
        for step in steps:
            if step.kind in {StepKind.RETURN, StepKind.RETURN_APPEAL}:
                signed = []
            elif STAGE.get(step.kind) == stage:
                signed.append(step.operator_no)
        assert len(set(signed)) == len(signed)
        is_over = case.state is State.DECIDED if stage == 3 else False
        if is_over and case.fund_pay_fen > 200_000:
            assert len(signed) == 2


def deduction_by_steps(steps: list[StepDone], cuts: dict[int, tuple[Cut, ...]]) -> int:
    """Work out what is deducted from what was signed alone."""
    in_force_fen = proposed_fen = signatures = 0
    for step in steps:
        own_fen = sum(cut.amount_fen for cut in cuts.get(step.step, ()))
        needed = 2 if step.fund_pay_fen > 200_000 else 1
        match step.kind:
            case StepKind.CALCULATE:
                proposed_fen, signatures = own_fen, 0
            case StepKind.AUDIT:
                signatures += 1
                if signatures == needed:
                    in_force_fen = proposed_fen
            case StepKind.DECIDE_APPEAL:
                proposed_fen = in_force_fen if step.verdict is Verdict.DISMISS else own_fen
                in_force_fen = proposed_fen if needed == 1 else in_force_fen
            case StepKind.CONFIRM_APPEAL:
                in_force_fen = proposed_fen
            case StepKind.UNDO:
                in_force_fen = 0
            case _:
                pass
    return in_force_fen


@asynccontextmanager
async def opened(url: str, rules: Rules) -> AsyncIterator[Office]:
    database = Database.open(url)
    await database.start()
    clock = TestClock()
    await fill(database)
    writer: ClaimsWriter = GroupWriter(
        database, claims_participants(), clock=clock, timezone=SHANGHAI
    )
    await writer.start()
    async with open_fund_acts(database, SHANGHAI, clock) as acts:
        desk = ReviewDesk(database, acts, clock=clock, timezone=SHANGHAI)
        office = Office(Counter(writer, database, rules, clock), desk)
        await office.open()
        yield office
    await writer.stop()
    await database.close()


async def play(url: str, rules: Rules, moves: list[Move]) -> int:
    async with opened(url, rules) as office:
        game = Play(office)
        for fen in (300_000, 1_000_000, 40_000):
            game.cases.append((await office.case(fen)).case_no)
        for number, move in enumerate(moves):
            await game.move(*move)
            if number % 8 == 7:
                await game.check()
        await game.end()
        return game.done


def straight(which: int, *, appeals: bool) -> list[Move]:
    """Moves that lead a case to its end."""
    moves: list[Move] = [("take", which, 0, 0), ("accept", which, 0, 0), ("take", which, 2, 0),
                         ("calculate", which, 2, 5)]  # fmt: skip
    for auditor in (4, 5):
        moves += [("take", which, auditor, 0), ("audit", which, auditor, 0)]
    if appeals:
        moves.append(("appeal", which, 0, 0))
        moves += [("take", which, 6, 0), ("decide_appeal", which, 6, 3)]
        moves += [("take", which, 7, 0), ("confirm_appeal", which, 7, 0)]
    return moves


@pytest.fixture
def fresh(sqlite_template: bytes, tmp_path: Path) -> Callable[[], str]:
    numbers = itertools.count(1)

    def make() -> str:
        path = tmp_path / f"{next(numbers)}.db"
        path.write_bytes(sqlite_template)
        return f"sqlite:///{path}"

    return make


@settings(
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(moves=MOVES)
@example(moves=straight(0, appeals=True) + straight(1, appeals=True))
@example(moves=[*straight(1, appeals=True), ("cancel", 1, 0, 0), ("follow", 0, 0, 0)])
@example(moves=[*straight(0, appeals=False), ("days", 0, 0, 4), ("cancel", 0, 0, 0)])
def test_whatever_reviewers_do_holds_together(
    fresh: Callable[[], str], rules: Rules, moves: list[Move]
) -> None:
    asyncio.run(play(fresh(), rules, moves))


@pytest.mark.parametrize("seed", range(3))
async def test_long_play_holds_together(office: Office, seed: int) -> None:
    """On both databases: many moves of which most go on from where a case stands."""
    await office.open()
    game = Play(office)
    chance = Random(seed)
    for fen in (300_000, 1_000_000, 40_000):
        game.cases.append((await office.case(fen)).case_no)
    turn = {
        State.NEW: ("accept", 0, 2), State.ACCEPTED: ("calculate", 2, 4),
        State.CALCULATED: ("audit", 4, 9), State.SIGNED: ("audit", 4, 9),
        State.DECIDED: ("appeal", 0, 9), State.APPEALED: ("decide_appeal", 4, 9),
        State.APPEAL_SIGNED: ("confirm_appeal", 4, 9),
    }  # fmt: skip
    for number in range(120):
        which = chance.randrange(3)
        case = await office.desk.find(game.cases[which])
        assert case is not None
        if case.state in turn and chance.random() < 0.9:
            verb, first, end = turn[case.state]
            whose = chance.randrange(first, end)
            await game.move("take", which, whose, 0)
            verb = (
                "send_back"
                if verb in {"audit", "confirm_appeal"} and chance.random() < 0.3
                else verb
            )
            await game.move(verb, which, whose, chance.randrange(2**16))
        elif chance.random() < 0.1:
            await game.move(chance.choice(VERBS), which, chance.randrange(9), chance.randrange(99))
        if number % 20 == 19:
            await game.check()
    assert game.done >= 6
    await game.end()
