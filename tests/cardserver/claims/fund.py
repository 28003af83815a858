"""A small made-up fund with persons, places and a catalogue, and a counter to settle at."""

import datetime as dt
import itertools
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from msgspec import msgpack
from sqlalchemy import Table

from cardserver.catalogue.catalogue import Catalogue
from cardserver.catalogue.values import CatalogueRow
from cardserver.claims.claims_store import preview
from cardserver.claims.settlement import settle_work
from cardserver.claims.undoing import cancel_work, print_ack_work, reverse_work
from cardserver.claims.values import Attempt, ClaimsWriter, Presented, Rules
from cardserver.registry import tables as registry
from ledger.accounts import Account
from ledger.bulk_store import Statement, insert
from ledger.calendar import Clock, business_date
from ledger.database_store import Database
from ledger.decisions import Outcome
from ledger.entries import Draft, EntryKind, Posting, entry_number
from ledger.ledger_store import (
    OPEN_BALANCES,
    GroupTime,
    PostedEntry,
    lease_slot,
    release_slot,
    write_entries,
)
from ledger.scripts import Script
from protocol.terminal import messages
from protocol.terminal.bodies import request_hash
from protocol.terminal.messages import MessageType

SHANGHAI = ZoneInfo("Asia/Shanghai")
INSTITUTION = "H11010100001"
HOSPITAL, COMMUNITY, PHARMACY = 1, 2, 3
PERSON, RETIRED, CHILD, PAUSED, DEAD = 1, 2, 3, 4, 5
TODAY = 20261121
ACTIVE = 1


@dataclass
class TestClock:
    """A clock that a test sets."""

    __test__ = False

    ms: int = int(dt.datetime(2026, 11, 21, 10, tzinfo=SHANGHAI).timestamp() * 1000)
    monotonic: int = 0

    def now_ms(self) -> int:
        return self.ms

    def monotonic_ms(self) -> int:
        return self.monotonic


CATALOGUE = Catalogue.of([
    CatalogueRow("A1", 20200101, 99991231, "甲类药", 1, 0),
    CatalogueRow("B1", 20200101, 99991231, "乙类药", 2, 1000),
    CatalogueRow("L1", 20200101, 99991231, "限价材料", 1, 0, 100_000_000),
])  # fmt: skip


def person_row(number: int, *, family: int = 0, birth: int = 19810101, dead: int | None = None
               ) -> tuple[object, ...]:  # fmt: skip
    return (number, f"1111111981010{number:05d}", "张三", 1, birth, dead, family, 0)


def insurance_row(number: int, state: int = ACTIVE, person_type: str = "11") -> tuple[object, ...]:
    return (number, "310", 20200101, 99991231, state, person_type, "110105")


def card_row(number: int, state: int = ACTIVE) -> tuple[object, ...]:
    identity = number.to_bytes(8, "big")
    return (number * 10, "social_security", identity, "110000", f"T{number:08d}", identity * 2,
            number, "3.00", 3, "3", bytes(12), 20200101, 20301231, state)  # fmt: skip


async def open_personal_accounts(
    database: Database, balances: dict[int, int], clock: Clock
) -> None:
    """Open accounts with balanced entries, as the registry's import does."""

    def script() -> Script[None]:
        now_ms = clock.now_ms()
        day = business_date(now_ms, SHANGHAI)
        slot = yield from lease_slot("opening", now_ms=now_ms, lease_until_ms=now_ms + 1)
        account = Account.PERSONAL_ACCOUNT
        yield OPEN_BALANCES([(person, int(account), fen) for person, fen in balances.items()])
        entries = [
            PostedEntry(
                entry_number(slot=slot.slot, sequence=slot.sequence + index),
                Draft(
                    kind=EntryKind.OPENING,
                    postings=(Posting(Account.OPENING, 0, fen), Posting(account, person, -fen)),
                    person_no=person,
                ),
            )
            for index, (person, fen) in enumerate(balances.items(), 1)
        ]
        when = GroupTime(day, day // 100, now_ms)
        slot = yield from write_entries(slot, entries, when, lease_until_ms=now_ms + 1)
        yield from release_slot(slot)

    await database.transact(script)


async def fill(database: Database, extra_persons: range = range(100, 100)) -> None:
    """Fill a migrated database with the persons and places of these tests."""

    def everything(table: Table) -> Statement:
        return insert(table, [one.name for one in table.columns if one.server_default is None])

    person = everything(registry.person)
    insurance = everything(registry.insurance)
    card = everything(registry.card)
    institution = everything(registry.institution)
    terminal = everything(registry.terminal)
    family = insert(registry.family, ["family_no", "payer_person_no"])
    everybody = [PERSON, RETIRED, CHILD, PAUSED, DEAD, *extra_persons]
    await database.execute(
        person([
            person_row(PERSON, family=7), person_row(RETIRED, birth=19500101),
            person_row(CHILD, family=7), person_row(PAUSED), person_row(DEAD, dead=20260101),
            *(person_row(number) for number in extra_persons),
        ]),
        insurance([
            insurance_row(PERSON), insurance_row(RETIRED, person_type="12"),
            insurance_row(CHILD), insurance_row(PAUSED, state=2), insurance_row(DEAD),
            *(insurance_row(number) for number in extra_persons),
        ]),
        card([card_row(number) for number in everybody]),
        family([(7, PERSON)]),
        institution([
            (HOSPITAL, INSTITUTION, "第一医院", 1, 3, ACTIVE, 20200101, 99991231),
            (COMMUNITY, "H11010100002", "社区", 2, 1, ACTIVE, 20200101, 99991231),
            (PHARMACY, "P11010100003", "药店", 3, 0, ACTIVE, 20200101, 20251231),
        ]),
        terminal([(number, number, f"T{number}", bytes(32), ACTIVE) for number in (1, 2, 3)]),
    )  # fmt: skip


@dataclass
class Counter:
    """Settles at a hospital, as a terminal would."""

    writer: ClaimsWriter
    database: Database
    rules: Rules
    clock: TestClock
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def msgid(self) -> str:
        return f"{INSTITUTION}20261121100000{next(self.numbers):04d}"

    def attempt(
        self, message_type: MessageType, body: object, msgid: str = "", place: int = HOSPITAL
    ) -> Attempt:
        return Attempt(
            institution_no=place,
            terminal_no=place,
            operator_no=9,
            msgid=msgid or self.msgid(),
            request_hash=request_hash(message_type, msgpack.encode(body)),
            deadline_ms=self.clock.monotonic + 10_000,
        )

    async def preview(
        self, bill: messages.Bill, person: int = PERSON, place: int = HOSPITAL
    ) -> object:
        when = GroupTime(business_date(self.clock.ms, SHANGHAI), 0, self.clock.ms)
        return await preview(
            self.database,
            terminal_no=place,
            request=messages.Preview(bill),
            presented=Presented(person, person * 10, 2),
            rules=self.rules,
            when=when,
        )

    async def settle(
        self,
        bill: messages.Bill,
        person: int = PERSON,
        *,
        shown: tuple[int, int, int] | None = None,
        msgid: str = "",
        place: int = HOSPITAL,
        card: int | None = None,
    ) -> Outcome:
        if shown is None:
            found = await self.preview(bill, person, place)
            assert isinstance(found, messages.Previewed), found
            split = found.split
            shown = (
                split.fund_pay_fen, split.account_pay_fen + split.mutual_aid_fen, split.cash_fen
            )  # fmt: skip
        body = messages.Settle(bill, *shown)
        presented = Presented(person, person * 10 if card is None else card, 2)
        attempt = self.attempt(MessageType.SETTLE, body, msgid, place)
        today = business_date(self.clock.ms, SHANGHAI)
        return await self.submit(settle_work(attempt, body, presented, self.rules, today=today))

    async def cancel(
        self, setl_id: str, *, msgid: str = "", place: int = HOSPITAL, reason: str = "开错了"
    ) -> Outcome:
        body = messages.Cancel(setl_id, reason)
        attempt = self.attempt(MessageType.CANCEL, body, msgid, place)
        return await self.submit(cancel_work(attempt, body))

    async def reverse(self, original: str, *, msgid: str = "", place: int = HOSPITAL) -> Outcome:
        body = messages.Reverse(f"T{place}", original, "超时")
        attempt = self.attempt(MessageType.REVERSE, body, msgid, place)
        return await self.submit(reverse_work(attempt, body, original_terminal_no=place))

    async def print_ack(
        self, setl_id: str, *, is_printed: bool = True, msgid: str = "", place: int = HOSPITAL
    ) -> Outcome:
        body = messages.PrintAck(setl_id, is_printed)
        attempt = self.attempt(MessageType.PRINT_ACK, body, msgid, place)
        return await self.submit(print_ack_work(attempt, body))

    async def submit(self, work: object) -> Outcome:
        outcome = await self.writer.submit(work)  # type: ignore[arg-type]
        assert isinstance(outcome, Outcome), outcome
        return outcome


def bill(
    *lines: tuple[str, int], med_type: str = "11", uses_account: bool = True,
    admitted: dt.date | None = None, discharged: dt.date | None = None,
) -> messages.Bill:  # fmt: skip
    """A bill of (item, yuan in fen) lines."""
    return messages.Bill(
        insutype="310",
        med_type=med_type,
        total_fen=sum(fen for _, fen in lines),
        uses_account=uses_account,
        invoice="I1",
        lines=tuple(messages.Line(item, item, fen * 10_000, 10_000, fen) for item, fen in lines),
        admitted=admitted,
        discharged=discharged,
    )
