"""A small fund whose settlements are reviewed: reviewers, a month, and rules to a test's taste."""

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from cardserver.funding.acts import open_fund_acts
from cardserver.registry import tables as registry
from cardserver.registry.roles import Role
from cardserver.registry.values import Actor
from cardserver.review.desk_store import ReviewDesk
from cardserver.review.months_store import choose_settlement, open_month
from cardserver.review.rule_file import load_review_rules
from cardserver.review.rules_store import activate_review_rules
from cardserver.review.values import Case, Cut, Finding, Refusal, Reviewer, Verdict
from ledger.bulk_store import insert, plain
from ledger.database_store import Database
from tests.cardserver.claims.fund import SHANGHAI, Counter, bill

MONTH = 202611
SEED = bytes(range(32))
ARTICLE = "A-1"

RULES = """
name = "test"
title_zh = "试验"
title_en = "Test"
begins = "2026-01"
[sampling]
share = "50%"
minimum = 1
[signing]
second_audit_above = 2000
[times]
appeal_days = 15
hold_hours = 8
[[articles]]
code = "A-1"
title_zh = "超标准收费"
title_en = "charged above the price"
"""

ACCEPTOR = Reviewer(101, 0, Role.ACCEPTANCE, "受理科")
CALCULATOR = Reviewer(102, 0, Role.CALCULATION, "核算科")
AUDITOR = Reviewer(103, 0, Role.AUDIT, "稽查科")
SECOND = Reviewer(104, 0, Role.AUDIT, "稽查科")
THIRD = Reviewer(105, 0, Role.AUDIT, "稽查科")
FOURTH = Reviewer(106, 0, Role.AUDIT, "稽查科")
REVIEWERS = (ACCEPTOR, CALCULATOR, AUDITOR, SECOND, THIRD, FOURTH)
APPROVED = Finding(Verdict.APPROVE)


def reduced(amount_fen: int, *, line: int = 0, verdict: Verdict = Verdict.REDUCE) -> Finding:
    return Finding(verdict, (Cut(line, amount_fen, ARTICLE, "价格过高"),), "见发票")


def operator_rows(reviewers: tuple[Reviewer, ...] = REVIEWERS) -> list[tuple[object, ...]]:
    return [
        (one.operator_no, 0, f"r{one.operator_no}", "李雷", str(one.role), "!", 1, 0,
         one.department)
        for one in reviewers
    ]  # fmt: skip


@dataclass
class Office:
    """Reviewers at work, and the counter whose settlements they look at."""

    counter: Counter
    desk: ReviewDesk
    settled: list[int] = field(default_factory=list)

    @property
    def database(self) -> Database:
        return self.counter.database

    def at(self, day: dt.datetime) -> None:
        self.counter.clock.ms = int(day.timestamp() * 1000)

    def pass_days(self, days: int) -> None:
        self.counter.clock.ms += days * 86_400_000

    async def fill(self) -> None:
        columns = ("operator_no", "institution_no", "code", "name", "role", "password_hash",
                   "state", "failures", "department")  # fmt: skip
        await self.database.execute(insert(registry.operator, columns)(operator_rows()))

    async def open(self, rules: str = RULES) -> None:
        """Activate rules and open the month."""
        loaded = load_review_rules(rules)
        actor = Actor("test", self.counter.clock.ms)
        await activate_review_rules(self.database, loaded, rules, actor)
        await open_month(self.database, MONTH, AUDITOR, seed=SEED, now_ms=self.counter.clock.ms)

    async def settle(
        self, fen: int = 300_000, person: int = 1, place: int = 1, item: str = "A1"
    ) -> int:
        """Settle a bill of one line; return the settlement's number."""
        outcome = await self.counter.settle(
            bill((item, fen), uses_account=False), person, place=place
        )
        assert outcome.entry_no is not None, outcome
        self.settled.append(outcome.entry_no)
        return outcome.entry_no

    async def case(self, fen: int = 300_000) -> Case:
        """Settle, and open a case by hand."""
        claim_no = await self.settle(fen)
        number = await choose_settlement(
            self.database, MONTH, claim_no, AUDITOR, reason="举报",
            now_ms=self.counter.clock.ms,
        )  # fmt: skip
        found = await self.desk.find(number)
        assert found is not None
        return found

    async def do(self, verb: str, case_no: int, who: Reviewer, *arguments: object) -> Case:
        """Take the case and do a step, which must not be refused."""
        taken = await self.desk.take(case_no, who)
        assert isinstance(taken, Case), taken
        done = await getattr(self.desk, verb)(case_no, who, *arguments)
        assert isinstance(done, Case), done
        return done

    async def to_audit(self, case_no: int, finding: Finding) -> Case:
        await self.do("accept", case_no, ACCEPTOR)
        return await self.do("calculate", case_no, CALCULATOR, finding)

    async def decided(self, fen: int = 300_000, finding: Finding | None = None) -> Case:
        """Settle and review, up to the deduction."""
        case = await self.case(fen)
        await self.to_audit(case.case_no, finding or reduced(10_000))
        return await self.do("audit", case.case_no, AUDITOR)

    async def refusal(self, verb: str, case_no: int, who: Reviewer, *arguments: object) -> Refusal:
        done = await getattr(self.desk, verb)(case_no, who, *arguments)
        assert isinstance(done, Refusal), done
        return done

    @asynccontextmanager
    async def another_desk(self) -> AsyncIterator[ReviewDesk]:
        """Open a desk as another process has it: with a writer of its own."""
        clock = self.counter.clock
        async with open_fund_acts(self.database, SHANGHAI, clock) as acts:
            yield ReviewDesk(self.database, acts, clock=clock, timezone=SHANGHAI)

    async def deducted(self, institution_no: int = 1) -> int:
        """Sum what review has taken from an institution, by postings alone."""
        rows = await self.database.fetch(_DEDUCTED([(institution_no,)]))
        return -int(rows[0][0] or 0)

    async def count(self, table: str, where: str = "1 = 1") -> int:
        text = f"SELECT count(*) FROM {table} WHERE {where}"
        rows = await self.database.fetch(plain("count", postgresql=text, sqlite=text)())
        return int(rows[0][0])


_DEDUCTED_TEXT = (
    "SELECT sum(p.amount_fen) FROM posting p JOIN entry e ON e.entry_no = p.entry_no"
    " WHERE e.kind = 24 AND p.account = 4030 AND p.owner = "
)
_DEDUCTED = plain("deducted", postgresql=_DEDUCTED_TEXT + "$1", sqlite=_DEDUCTED_TEXT + "?")


def day(year: int, month: int, date: int, hour: int = 10) -> dt.datetime:
    return dt.datetime(year, month, date, hour, tzinfo=SHANGHAI)
