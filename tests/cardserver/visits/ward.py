"""A counter that also registers, admits, charges and discharges."""

import datetime as dt
from dataclasses import dataclass, field

from msgspec import Struct, msgpack, structs

from cardserver.claims.settlement import settle_work
from cardserver.claims.values import Presented
from cardserver.visits.inquiry import find_visit
from cardserver.visits.opening import admit_work, register_work
from cardserver.visits.recording import (
    discharge_cancel_work,
    discharge_work,
    lines_cancel_work,
    lines_work,
    visit_cancel_work,
)
from ledger.calendar import business_date
from ledger.decisions import Outcome
from protocol.terminal import messages
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import MessageType
from tests.cardserver.claims.fund import HOSPITAL, PERSON, SHANGHAI, Counter

REGISTERED = msgpack.Decoder(messages.Registered)
CHANGED = msgpack.Decoder(messages.VisitChanged)
TAKEN = msgpack.Decoder(messages.LinesTaken)
SETTLED = msgpack.Decoder(messages.Settled)


@dataclass
class Ward(Counter):
    """A hospital's counter; days are of November 2026 unless said."""

    line_no: int = field(default=0)
    uses_account: bool = False

    @property
    def today(self) -> int:
        return business_date(self.clock.ms, SHANGHAI)

    def go_to(self, *date: int) -> None:
        """Move on to ten in the morning of a day."""
        self.clock.ms = int(dt.datetime(*date, 10, tzinfo=SHANGHAI).timestamp() * 1000)  # type: ignore[arg-type, misc]

    async def register(self, person: int = PERSON, *, place: int = HOSPITAL, msgid: str = "",
                       **fields: object) -> Outcome:  # fmt: skip
        body = structs.replace(messages.Register("310", "11", None, "MZ1"), **fields)
        attempt = self.attempt(MessageType.REGISTER, body, msgid, place)
        presented = Presented(person, person * 10, 2)
        return await self.submit(register_work(attempt, body, presented, self.rules))

    async def admit(self, begins: dt.date, person: int = PERSON, *, place: int = HOSPITAL,
                    msgid: str = "", **fields: object) -> Outcome:  # fmt: skip
        body = structs.replace(messages.Admit("310", "21", begins, "ZY1"), **fields)
        attempt = self.attempt(MessageType.ADMIT, body, msgid, place)
        presented = Presented(person, person * 10, 2)
        return await self.submit(admit_work(attempt, body, presented, self.rules))

    def line(
        self, date: dt.date, fen: int, item: str = "A1", number: str = ""
    ) -> messages.VisitLine:
        self.line_no += 1
        return messages.VisitLine(
            number or f"F{self.line_no:05}", date, item, item, fen * 10_000, 10_000, fen
        )

    async def lines(self, mdtrt_id: str, *lines: messages.VisitLine, place: int = HOSPITAL,
                    msgid: str = "") -> Outcome:  # fmt: skip
        body = messages.Lines(mdtrt_id, lines)
        attempt = self.attempt(MessageType.LINES, body, msgid, place)
        return await self.submit(lines_work(attempt, body, self.rules))

    async def lines_cancel(self, mdtrt_id: str, *numbers: str) -> Outcome:
        body = messages.LinesCancel(mdtrt_id, numbers, "录入错误")
        return await self.submit(
            lines_cancel_work(self.attempt(MessageType.LINES_CANCEL, body), body)
        )

    async def discharge(self, mdtrt_id: str, ends: dt.date, *, place: int = HOSPITAL) -> Outcome:
        body = messages.Discharge(mdtrt_id, ends, "1", "好转")
        attempt = self.attempt(MessageType.DISCHARGE, body, "", place)
        return await self.submit(discharge_work(attempt, body))

    async def discharge_cancel(self, mdtrt_id: str) -> Outcome:
        body = messages.DischargeCancel(mdtrt_id, "继续住院")
        return await self.submit(
            discharge_cancel_work(self.attempt(MessageType.DISCHARGE_CANCEL, body), body)
        )

    async def visit_cancel(self, mdtrt_id: str) -> Outcome:
        body = messages.VisitCancel(mdtrt_id, "重复登记")
        return await self.submit(
            visit_cancel_work(self.attempt(MessageType.VISIT_CANCEL, body), body)
        )

    async def found(
        self, mdtrt_id: str, *, until: dt.date | None = None, place: int = HOSPITAL,
        first_line: int = 0, lines_max: int = 500, size_max: int = 10**6,
    ) -> messages.VisitFound:  # fmt: skip
        query = messages.VisitQuery(mdtrt_id, "", until, first_line, lines_max)
        found = await find_visit(self.database, int(mdtrt_id), place, query, size_max=size_max)
        assert found is not None
        return found

    async def visit(self, mdtrt_id: str, place: int = HOSPITAL) -> messages.Visit:
        (visit,) = (await self.found(mdtrt_id, place=place)).visits
        return visit

    async def bill(
        self, mdtrt_id: str, until: dt.date | None = None, *, place: int = HOSPITAL
    ) -> messages.Bill:
        """The bill of what is due."""
        (visit,) = (await self.found(mdtrt_id, until=until, place=place)).visits
        return messages.Bill(
            visit.insutype, visit.med_type, visit.unsettled_fen, uses_account=self.uses_account,
            invoice="I1",
            lines=(), discharged=until, mdtrt_id=mdtrt_id,
        )  # fmt: skip

    async def settle_visit(
        self, mdtrt_id: str, until: dt.date | None = None, *, person: int = PERSON,
        place: int = HOSPITAL, msgid: str = "",
    ) -> Outcome:  # fmt: skip
        """Preview what is due and settle it as shown."""
        bill = await self.bill(mdtrt_id, until, place=place)
        found = await self.preview(bill, person, place)
        assert isinstance(found, messages.Previewed), found
        split = found.split
        body = messages.Settle(
            bill, split.fund_pay_fen, split.account_pay_fen + split.mutual_aid_fen, split.cash_fen
        )
        attempt = self.attempt(MessageType.SETTLE, body, msgid, place)
        work = settle_work(
            attempt, body, Presented(person, person * 10, 2), self.rules, today=self.today
        )
        return await self.submit(work)

    async def admitted(self, begins: dt.date, person: int = PERSON, **fields: object) -> str:
        """Admit, and give the stay's number."""
        return opened(await self.admit(begins, person, **fields))  # type: ignore[arg-type]

    async def charged(self, mdtrt_id: str, *amounts: tuple[dt.date, int]) -> None:
        """Charge class A lines."""
        lines = [self.line(date, fen) for date, fen in amounts]
        outcome = await self.lines(mdtrt_id, *lines)
        assert outcome.code == ResponseCode.APPROVED, outcome

    async def settled(self, mdtrt_id: str, until: dt.date | None = None, *, person: int = PERSON,
                      place: int = HOSPITAL) -> messages.Settled:  # fmt: skip
        """Settle, and give the answer."""
        outcome = await self.settle_visit(mdtrt_id, until, person=person, place=place)
        assert outcome.code == ResponseCode.APPROVED, outcome
        return SETTLED.decode(outcome.body)


def opened(outcome: Outcome) -> str:
    """The number of the visit that began."""
    assert outcome.code == ResponseCode.APPROVED, outcome
    registered = REGISTERED.decode(outcome.body)
    assert registered.mdtrt_id == str(outcome.entry_no)
    return registered.mdtrt_id


def changed(outcome: Outcome) -> messages.Visit:
    """The visit as a change left it."""
    assert outcome.code == ResponseCode.APPROVED, outcome
    return CHANGED.decode(outcome.body).visit


def values(body: Struct) -> dict[str, object]:
    """A struct's fields by name."""
    return structs.asdict(body)
