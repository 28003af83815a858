"""An institution's own books of a day, kept from the centre's replies alone."""

from dataclasses import dataclass, field
from itertools import count

from msgspec import msgpack, structs

from cardserver.reconciliation.comparison import key_of, totals_of
from cardserver.reconciliation.day_store import Scope
from cardserver.reconciliation.reconciling import Page, reconcile, reconcile_page
from cardserver.reconciliation.record_store import find_run
from cardserver.reconciliation.values import Origin, Source
from ledger.decisions import Outcome
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import (
    Bill,
    Reconciled,
    ReconcileRow,
    Reversed,
    ReverseResult,
    RowDifference,
    RowState,
    Settled,
    Split,
)
from tests.cardserver.claims.fund import HOSPITAL, Counter

TERMINAL = "T1"


@dataclass
class Institution:
    """What the hospital's one terminal wrote down, by business date."""

    counter: Counter
    rows: dict[int, list[ReconcileRow]] = field(default_factory=dict)
    numbers: "count[int]" = field(default_factory=lambda: count(1))

    async def settle(self, bill: Bill, person: int = 1) -> ReconcileRow:
        """Settle a bill and note it."""
        msgid = self.counter.msgid()
        outcome = await self.counter.settle(bill, person, msgid=msgid)
        return self._note(outcome, msgid)

    async def cancel(self, row: ReconcileRow) -> ReconcileRow:
        """Cancel a settlement, and note both."""
        msgid = self.counter.msgid()
        outcome = await self.counter.cancel(row.setl_id, msgid=msgid)
        self.mark_undone(row)
        return self._note(outcome, msgid, is_refund=True)

    async def reverse(self, row: ReconcileRow) -> ReconcileRow:
        """Reverse a settlement, and note both."""
        msgid = self.counter.msgid()
        outcome = await self.counter.reverse(row.msgid, msgid=msgid)
        body = msgpack.decode(outcome.body, type=Reversed)
        assert body.result is ReverseResult.REVERSED
        self.mark_undone(row)
        undone = structs.replace(
            row, msgid=msgid, is_refund=True, setl_id=body.undo_setl_id, state=RowState.STANDS,
            total_fen=-row.total_fen, fund_pay_fen=-row.fund_pay_fen,
            account_pay_fen=-row.account_pay_fen, cash_fen=-row.cash_fen,
        )  # fmt: skip
        self.rows.setdefault(outcome.business_date, []).append(undone)
        return undone

    def mark_undone(self, row: ReconcileRow) -> None:
        """Note that a row does not stand any more."""
        for rows in self.rows.values():
            for index, one in enumerate(rows):
                if key_of(one) == key_of(row):
                    rows[index] = structs.replace(one, state=RowState.UNDONE)

    def day(self, day: int) -> list[ReconcileRow]:
        """A day's rows as they are sent."""
        return sorted(self.rows.get(day, []), key=key_of)

    async def reconcile(
        self, day: int, *, terminal_no: int = HOSPITAL, is_provisional: bool = False
    ) -> Reconciled:
        """Send a day's totals."""
        return await reconcile(
            self.counter.database,
            Scope(HOSPITAL, terminal_no, day),
            totals_of(self.day(day)),
            Origin(Source.MESSAGE, 9, self.counter.clock.ms),
            is_provisional=is_provisional,
        )

    async def differences(
        self, day: int, told: Reconciled, *, page_size: int = 500
    ) -> list[RowDifference]:
        """Send a day's rows in pages."""
        run = await find_run(self.counter.database, int(told.reconcile_id))
        assert run is not None
        after = None
        found: list[RowDifference] = []
        while True:
            left = [row for row in self.day(day) if after is None or key_of(row) > after]
            page = Page(after, left[:page_size], len(left) <= page_size)
            answer = await reconcile_page(
                self.counter.database, run, page, now_ms=self.counter.clock.ms
            )
            found += answer.differences
            if answer.next_after is None:
                return found
            assert after is None or key_of(answer.next_after) > after
            after = key_of(answer.next_after)

    def _note(self, outcome: Outcome, msgid: str, *, is_refund: bool = False) -> ReconcileRow:
        assert outcome.code == ResponseCode.APPROVED
        body = msgpack.decode(outcome.body, type=Settled)
        row = row_of(body.setl_id, body.split, body.clearing_type, msgid, is_refund=is_refund)
        self.rows.setdefault(outcome.business_date, []).append(row)
        return row


def row_of(
    setl_id: str, split: Split, clearing_type: int, msgid: str, *, is_refund: bool
) -> ReconcileRow:
    """A row of what a reply said."""
    return ReconcileRow(
        msgid, TERMINAL, is_refund, setl_id, clearing_type, split.total_fen, split.fund_pay_fen,
        split.account_pay_fen + split.mutual_aid_fen, split.cash_fen, RowState.STANDS,
    )  # fmt: skip
