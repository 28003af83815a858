"""A small made-up fund: employers, active and retired persons, files of contributions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cardserver.funding.acts import open_fund_acts
from cardserver.funding.allotment import allotment_purpose
from cardserver.funding.contributions import FileWish, Posted, post_file, reverse_file
from cardserver.funding.interest import interest_purpose
from cardserver.funding.rules import FundingRules, load_rules, shipped_rules
from cardserver.funding.runs import Ran, run
from cardserver.registry import tables as registry
from cardserver.registry.values import Actor
from cardserver.verification import Wish, verify
from ledger.accounts import Account
from ledger.bulk_store import Row, insert, plain
from ledger.database_store import Database
from ledger.entries import Draft, EntryKind, Posting
from ledger.fund_acts import Act, Acted, ActKey, ActType, FundActs
from ledger.ledger_store import balances
from ledger.scripts import Script
from ledger.trial_balance_store import trial_balance
from tests.cardserver.claims.fund import SHANGHAI, TestClock

FOREVER = 99991231
MONTH = 202611
HEADER = "employer,month,psn_no,id_number,insutype,base,employer_amount,personal_amount"
ACTOR = Actor("test", 1_795_000_000_000, 7)


def person_row(number: int, birth: int = 19810101, dead: int | None = None) -> Row:
    return (number, f"1101991981{number:08d}", "张三", 1, birth, dead, 0, 0)


def insurance_row(
    number: int, person_type: str = "11", insutype: str = "310", *, begins: int = 20200101,
    ends: int = FOREVER, state: int = 1,
) -> Row:  # fmt: skip
    return (number, insutype, begins, ends, state, person_type, "110199")


def everything(table: object) -> Sequence[str]:
    return [one.name for one in table.columns if one.server_default is None]  # type: ignore[attr-defined]


async def fill(
    database: Database, persons: Iterable[Row] = (), insurances: Iterable[Row] = ()
) -> None:
    """Add employers A and B, and persons."""
    persons, insurances = list(persons), list(insurances)
    queries = [
        insert(registry.employer, ("employer_no", "code", "name"))(
            [(1, "A", "清河机械厂"), (2, "B", "清河一中")]
        ),
        insert(registry.identity, ("number", "id_type", "person_no", "ends"))(
            [(row[1], "01", row[0], FOREVER) for row in persons]
        ),
        insert(registry.person, everything(registry.person))(persons),
        insert(registry.insurance, everything(registry.insurance))(insurances),
    ]
    await database.execute(*(query for query in queries if query.rows))


def row(
    psn_no: object, base: int = 10_000, *, employer: str = "A", month: object = MONTH,
    insutype: str = "310", employer_amount: object = None, personal_amount: object = None,
    id_number: str = "",
) -> str:  # fmt: skip
    """A line of a file; the amounts as the shipped rules want them unless given."""
    paid = f"{base * 0.09:.2f}" if employer_amount is None else employer_amount
    own = f"{base * 0.02:.2f}" if personal_amount is None else personal_amount
    return f"{employer},{month},{psn_no},{id_number},{insutype},{base},{paid},{own}"


def write(path: Path, rows: Iterable[str]) -> Path:
    path.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return path


def shipped() -> FundingRules:
    return FundingRules([load_rules(shipped_rules())])


@dataclass
class Fund:
    """A database, and what is asked of it."""

    database: Database
    clock: TestClock
    rules: FundingRules

    async def post(self, path: Path, *, is_again: bool = False) -> Posted:
        async with open_fund_acts(self.database, SHANGHAI, self.clock) as acts:
            return await post_file(
                self.database, acts, self.rules, FileWish(path, is_again), ACTOR, month=MONTH
            )

    async def reverse(self, file_no: int, employer: str = "") -> Posted:
        async with open_fund_acts(self.database, SHANGHAI, self.clock) as acts:
            return await reverse_file(
                self.database, acts, file_no, ACTOR, employer=employer, reason="退票", month=MONTH
            )

    async def held(self, *persons: int) -> dict[int, int]:
        return await balances(self.database, persons)

    async def totals(self) -> dict[int, int]:
        """Balance of each account that has postings, debit less credit."""
        found = await self.database.report(trial_balance)
        assert found.is_equal, found.differences
        return {number: total.balance_fen for number, total in found.by_account.items()}

    async def query(self, sql: str) -> list[Row]:
        return await self.database.fetch(plain("look", postgresql=sql, sqlite=sql)())

    async def assert_sound(self) -> None:
        verified = await verify(self.database.url, "", Wish(), lambda _done, _total: None)
        assert not verified.findings.differences
        assert (await self.database.report(trial_balance)).is_equal

    async def allot(self, month: int = MONTH, *, is_late: bool = False, step_size: int = 2) -> Ran:
        purpose = allotment_purpose(self.database, self.rules, month)
        return await run(
            self.database, self.open_acts, purpose, ACTOR, is_late=is_late, step_size=step_size
        )

    def open_acts(self) -> FundActs:
        return open_fund_acts(self.database, SHANGHAI, self.clock)

    async def pay_interest(self, year: int, today: int, *, is_late: bool = False) -> Ran:
        purpose = interest_purpose(self.database, self.rules, year, today=today)
        return await run(
            self.database, self.open_acts, purpose, ACTOR, is_late=is_late, step_size=2
        )

    async def add(self, person: Row, insurance: Row) -> None:
        """Add a person."""
        await self.add_all([person], [insurance])

    async def add_all(self, persons: Sequence[Row], insurances: Sequence[Row]) -> None:
        """Add persons."""
        await self.database.execute(
            insert(registry.person, everything(registry.person))(persons),
            insert(registry.insurance, everything(registry.insurance))(insurances),
        )

    async def spend(self, person_no: int, fen: int) -> None:
        """Take from an account, as a settlement would."""
        postings = (
            Posting(Account.PERSONAL_ACCOUNT, person_no, fen), Posting(Account.OPENING, 0, -fen),
        )  # fmt: skip
        draft = Draft(EntryKind.OPENING, postings, person_no)

        def nothing() -> Script[None]:
            yield from ()

        async with self.open_acts() as acts:
            key = ActKey(ActType.REVIEW, MONTH, (person_no, fen))
            await acts.post(
                Act(key, b"", (person_no,), nothing, lambda _view, _none: Acted((draft,)))
            )

    async def change(self, sql: str) -> None:
        """Change rows as a hand would."""
        await self.database.execute(plain("hand", postgresql=sql, sqlite=sql)())

    async def tables_that_differ(self) -> set[str]:
        verified = await verify(self.database.url, "", Wish(), lambda _done, _total: None)
        return {one.table for one in verified.findings.differences}
