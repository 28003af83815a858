"""A day of this terminal reconciled with the centre: doubts first, then totals, then rows.

It may be done as often as one likes. Not here: what the rows are (`journal.py`).
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Raw

from protocol.terminal.bodies import NIL, decode_reply_body
from protocol.terminal.codes import ResponseCode
from protocol.terminal.errors import RemoteProtocolError
from protocol.terminal.messages import (
    RECONCILE_ROWS_MAX,
    MessageType,
    Reconcile,
    Reconciled,
    ReconcileDetail,
    ReconcileDetailed,
    ReconcileRow,
    ReconcileScope,
    RowDifference,
    RowKey,
    Settled,
    Status,
    StatusFound,
)
from terminals.answer import Answer
from terminals.attempt_endings import reply_body_of
from terminals.attempts import AttemptRunner
from terminals.client import TerminalClient
from terminals.journal import JOURNAL_TYPES, DatedRow, key_of, reversed_of, rows_of, totals_of
from terminals.outbox import Attempt, AttemptState, Ending, Outbox

DAYS_BACK_MAX: Final = 92
"""How long a day is offered again that was never found equal."""
PAGES_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class DayResult:
    """What reconciling a day came to.

    Attributes:
        rows: What this terminal has of the day.
        open_count: Attempts of any day whose end is still not known: they are in no row.
        answer: The centre's last answer.
        told: What it said of the totals; None where it refused.
        differences: Row by row, where that was wanted.
    """

    day: dt.date
    rows: tuple[ReconcileRow, ...]
    open_count: int
    answer: Answer
    told: Reconciled | None
    differences: tuple[RowDifference, ...] = ()


class DayReconciler:
    """Reconciles the days of one terminal.

    Args:
        client: Signed on.
        outbox: The attempts.
        runner: Ends those that are in doubt.
    """

    def __init__(self, client: TerminalClient, outbox: Outbox, runner: AttemptRunner) -> None:
        self._client = client
        self._outbox = outbox
        self._runner = runner
        self._terminal = client.config.terminal.code
        self._zone = ZoneInfo(client.config.terminal.time_zone)

    def due(self, today: dt.date) -> list[dt.date]:
        """Give the days before today on which something was done and that did not agree yet."""
        first = today - dt.timedelta(days=DAYS_BACK_MAX)
        days = self._outbox.days_to_reconcile(
            [one.value for one in JOURNAL_TYPES], first=first.isoformat()
        )
        return [day for text in days if (day := dt.date.fromisoformat(text)) < today]

    async def rows(self, day: dt.date) -> tuple[ReconcileRow, ...]:
        """Give a day's rows in the order in which they are sent; asks for what was never heard.

        Raises:
            ClientError: As `TerminalClient.request` says.
        """
        found: list[DatedRow] = []
        for attempt in self._outbox.of_day(day.isoformat(), [one.value for one in JOURNAL_TYPES]):
            heard = await self._heard(attempt)
            original = await self._original(heard)
            found += rows_of(heard, terminal=self._terminal, zone=self._zone, original=original)
        return tuple(sorted((row for of, row in found if of == day.isoformat()), key=key_of))

    async def reconcile(self, day: dt.date) -> DayResult:
        """Reconcile a day.

        Raises:
            ClientError: As `TerminalClient.request` says.
        """
        await self._runner.resolve_all()
        open_count = len(self._outbox.open_attempts())
        rows = await self.rows(day)
        body = Reconcile(day, ReconcileScope.TERMINAL, totals_of(rows))
        answer = await self._client.request(MessageType.RECONCILE, body)
        told = answer.body
        if not isinstance(told, Reconciled):
            return DayResult(day, rows, open_count, answer, None)
        differences: list[RowDifference] = []
        left = told.open_count
        if told.wants_detail:
            answer, left = await self._compare(told.reconcile_id, rows, differences)
        if answer.is_approved and not told.is_provisional and not left and not open_count:
            self._outbox.note_reconciled(day.isoformat(), int(told.outcome))
        return DayResult(day, rows, open_count, answer, told, tuple(differences))

    async def _compare(
        self, reconcile_id: str, rows: Sequence[ReconcileRow], differences: list[RowDifference]
    ) -> tuple[Answer, int]:
        """Send all rows in pages; give the last answer, and how many differences are open."""
        after: RowKey | None = None
        for _ in range(PAGES_MAX):
            left = [row for row in rows if after is None or key_of(row) > key_of(after)]
            page = tuple(left[:RECONCILE_ROWS_MAX])
            is_last = len(page) == len(left)
            answer = await self._client.request(
                MessageType.RECONCILE_DETAIL, ReconcileDetail(reconcile_id, after, page, is_last)
            )
            told = answer.body
            if not isinstance(told, ReconcileDetailed):
                return answer, -1
            differences += told.differences
            if told.next_after is None:
                return answer, told.open_count
            after = told.next_after
        raise AssertionError("a day has no more rows than that")

    async def _heard(self, attempt: Attempt) -> Attempt:
        """Give a settlement that was reversed before its reply came with that reply, once asked."""
        is_unheard = (
            attempt.type is MessageType.SETTLE
            and attempt.state is AttemptState.REVERSED
            and attempt.code == ResponseCode.ALREADY_UNDONE
            and not attempt.reply_body
        )
        if not is_unheard:
            return attempt
        settled = await self._settled(self._terminal, attempt.msgid)
        if settled is None:
            return attempt
        body, raw = settled
        ending = Ending(
            state=AttemptState.REVERSED,
            code=attempt.code,
            reply_body=raw,
            setl_id=body.setl_id,
            by=attempt.ended_by,
        )
        return self._outbox.end(attempt.msgid, attempt.ended_ms, ending)

    async def _original(self, attempt: Attempt) -> Settled | None:
        """Give the settlement that a REVERSE undid, from our own books or the centre's."""
        asked = reversed_of(attempt)
        if asked is None:
            return None
        if asked.original_terminal == self._terminal:
            known = self._outbox.find(asked.original_msgid)
            body = None if known is None else reply_body_of(known)
            if isinstance(body, Settled):
                return body
        settled = await self._settled(asked.original_terminal, asked.original_msgid)
        return None if settled is None else settled[0]

    async def _settled(self, terminal: str, msgid: str) -> tuple[Settled, bytes] | None:
        """Ask the centre what a settlement's reply was."""
        answer = await self._client.request(MessageType.STATUS, Status(terminal, msgid))
        found = answer.body
        if not isinstance(found, StatusFound) or bytes(found.body) == NIL:
            return None
        try:
            body = decode_reply_body(
                MessageType.SETTLE, ResponseCode.APPROVED, Raw(bytes(found.body))
            )
        except RemoteProtocolError:
            return None
        return (body, bytes(found.body)) if isinstance(body, Settled) else None
