"""A small fund's month: entries as settlements, undos and reviews make them, on any day."""

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from sqlalchemy import text

from cardserver.clearing.clearing_store import activate_terms
from cardserver.clearing.closing import Closing, ClosingWish, close
from cardserver.clearing.run import RunReport, RunWish, run
from cardserver.funding.acts import open_fund_acts
from cardserver.registry.values import Actor
from ledger.accounts import Account
from ledger.calendar import business_date, open_period
from ledger.database_store import Database
from ledger.entries import Draft, EntryKind, Posting, entry_number, negative
from ledger.fund_acts import FundActs
from ledger.ledger_store import (
    GroupTime,
    PostedEntry,
    last_closed_period,
    lease_slot,
    read_drafts,
    release_slot,
    write_entries,
)
from ledger.scripts import Script
from ledger.trial_balance_store import TrialBalance, trial_balance

SHANGHAI = ZoneInfo("Asia/Shanghai")
HOSPITAL, COMMUNITY, PHARMACY = 1, 2, 3
CODES = {HOSPITAL: "H11019900001", COMMUNITY: "H11019900002", PHARMACY: "P11019900003"}
NAMES = {HOSPITAL: "第一医院", COMMUNITY: "社区卫生服务中心", PHARMACY: "康乐药房"}
OUTPATIENT, INPATIENT, PHARMACY_TYPE = 11, 21, 41
OFFICER = Actor("tester", 1_800_000_000_000, 7)

TERMS = """
begins = 2020-01-01
sources = ["made up"]
deposit_percent = 5
two_signatures_above = "1000000"

[payer]
name = "医疗保障基金"
account = "110199000000001"
bank = "102100099996"

[[institutions]]
code = "H11019900001"
deposit_percent = "2.5"
account = { name = "第一医院", account = "110199000000101", bank = "103100000026" }

[[institutions]]
code = "H11019900002"
account = { name = "社区卫生服务中心", account = "110199000000102", bank = "104100000004" }

[[institutions]]
code = "P11019900003"
account = { name = "康乐药房 & 连锁", account = "110199000000103", bank = "105100000017" }
"""


@dataclass
class MonthClock:
    """A clock that a test sets by the day."""

    ms: int = 0
    monotonic: int = 0

    def __post_init__(self) -> None:
        if not self.ms:
            self.be(20261015)

    def be(self, day: int) -> None:
        """Let it be ten in the morning of a day."""
        date = dt.datetime(day // 10_000, day // 100 % 100, day % 100, 10, tzinfo=SHANGHAI)
        self.ms = int(date.timestamp() * 1000)

    def now_ms(self) -> int:
        return self.ms

    def monotonic_ms(self) -> int:
        return self.monotonic

    @property
    def day(self) -> int:
        """The fund's day."""
        return business_date(self.ms, SHANGHAI)


@dataclass
class Fund:
    """A fund that clears, on one database."""

    database: Database
    acts: FundActs
    clock: MonthClock
    progress: list[tuple[int, int]] = field(default_factory=list)

    async def post(self, *drafts: Draft) -> list[int]:
        """Post entries in a slot of a test's own, in the open period."""

        def script() -> Script[list[int]]:
            now_ms = self.clock.now_ms()
            slot = yield from lease_slot("tests", now_ms=now_ms, lease_until_ms=now_ms + 1)
            entries = [
                PostedEntry(entry_number(slot=slot.slot, sequence=slot.sequence + index), draft)
                for index, draft in enumerate(drafts, 1)
            ]
            day = self.clock.day
            period = open_period(day, (yield from last_closed_period()))
            when = GroupTime(day, period, now_ms)
            slot = yield from write_entries(slot, entries, when, lease_until_ms=now_ms + 1)
            yield from release_slot(slot)
            return [one.entry_no for one in entries]

        return await self.database.transact(script)

    async def settle(
        self, institution_no: int, fen: int, *, clearing_type: int = OUTPATIENT, insutype: int = 310
    ) -> int:
        (number,) = await self.post(settlement(institution_no, fen, clearing_type, insutype))
        return number

    async def undo(self, number: int, kind: EntryKind = EntryKind.CANCELLATION) -> int:
        def script() -> Script[Draft]:
            return (yield from read_drafts([number]))[number]

        draft = await self.database.transact(script)
        (undone,) = await self.post(negative(draft, kind=kind, undoes=number))
        return undone

    async def review(
        self, institution_no: int, fen: int, *, clearing_type: int = OUTPATIENT
    ) -> int:
        (number,) = await self.post(
            Draft(
                kind=EntryKind.REVIEW_DEDUCTION,
                postings=(
                    Posting(Account.INSTITUTION_PAYABLE, institution_no, fen),
                    Posting(Account.DEDUCTIONS, institution_no, -fen),
                ),
                institution_no=institution_no,
                clearing_type=clearing_type,
            )
        )
        return number

    async def close(
        self, period: int, despite: str = "a test", *, is_early: bool = False
    ) -> Closing:
        return await close(
            self.database,
            ClosingWish(period, self.clock.day, despite, is_early),
            OFFICER,
            self.clock,
            lambda _, __: None,
        )

    async def run(self, month: int, despite: str = "a test") -> RunReport:
        return await run(
            self.database,
            self.acts,
            RunWish(month, despite),
            OFFICER,
            lambda done, total: self.progress.append((done, total)),
        )

    async def balance(self) -> TrialBalance:
        return await self.database.report(trial_balance)

    async def held_fen(self, account: Account) -> int:
        """Return an account's balance on its own side."""
        found = (await self.balance()).by_account.get(account)
        return 0 if found is None else found.balance_fen * account.side

    async def execute(self, statement: str) -> None:
        await self.database.administer(lambda connection: connection.execute(text(statement)))


def settlement(institution_no: int, fen: int, clearing_type: int, insutype: int) -> Draft:
    """Return an entry as a settlement that the pool pays makes it."""
    return Draft(
        kind=EntryKind.SETTLEMENT,
        postings=(
            Posting(Account.POOL_BENEFIT, insutype, fen),
            Posting(Account.INSTITUTION_PAYABLE, institution_no, -fen),
        )
        if fen
        else (),
        person_no=1,
        institution_no=institution_no,
        clearing_type=clearing_type,
    )


async def place_institutions(database: Database) -> None:
    """Register the three institutions."""
    await database.administer(
        lambda connection: [
            connection.execute(
                text(
                    "INSERT INTO institution (institution_no, code, name, kind, level, state,"
                    " contract_begins, contract_ends)"
                    " VALUES (:no, :code, :name, :kind, 1, 1, 20200101, 99991231)"
                ),
                {"no": number, "kind": number, "code": code, "name": NAMES[number]},
            )
            for number, code in CODES.items()
        ]
    )


@asynccontextmanager
async def open_fund(database: Database, terms: str = TERMS) -> AsyncIterator[Fund]:
    """Open a fund with its institutions and terms, in October 2026; without terms, with none."""
    clock = MonthClock()
    await place_institutions(database)
    if terms:
        await activate_terms(database, terms, OFFICER)
    async with open_fund_acts(database, SHANGHAI, clock) as acts:
        yield Fund(database, acts, clock)
