"""What becomes of an attempt: sent once it is on the disk, and followed until its end is known.

An attempt ends by a stored outcome, by REVERSE's answer, or when every copy sent was refused with
a code that says nothing was recorded; a print acknowledgement not even then, for the paper is out.
A lost reply ends nothing: a settlement's STATUS is asked, and as that says it is repeated under the
same msgid, taken as it is, or reversed; a cancel, a refund, a reversal and a print acknowledgement
are simply repeated: a second one changes nothing.
"""

import asyncio
import dataclasses
import datetime as dt
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Raw, Struct
from msgspec.structs import replace

from protocol.terminal.bodies import decode_reply_body, decode_request_body, encode_body
from protocol.terminal.codes import ResponseCode, Retry
from protocol.terminal.errors import RemoteProtocolError
from protocol.terminal.messages import (
    Bill,
    Cancel,
    CardException,
    MessageType,
    PrintAck,
    Refund,
    Refunded,
    Reply,
    Reverse,
    Reversed,
    ReverseResult,
    Settle,
    Settled,
    Status,
    StatusFound,
    StatusState,
)
from terminals.answer import (
    Answer,
    ClientError,
    NoAnswerError,
    NotSentError,
    advice_of,
    is_stored,
    words_of,
)
from terminals.attempt_endings import CopyCounter, ending_of, kept_body, reply_body_of, state_of
from terminals.client import TerminalClient
from terminals.link import Exchange
from terminals.outbox import Attempt, AttemptState, Ending, Outbox

VISIT_TYPES: Final = frozenset(
    {
        MessageType.REGISTER,
        MessageType.ADMIT,
        MessageType.LINES,
        MessageType.LINES_CANCEL,
        MessageType.DISCHARGE,
        MessageType.DISCHARGE_CANCEL,
        MessageType.VISIT_CANCEL,
    }
)
"""What is recorded of a visit: in doubt it is repeated, and the same one again is followed."""
DONE_ALREADY: Final = frozenset({MessageType.PRINT_ACK})
"""What tells of something done here: a centre that is away, or nobody signed on, doesn't end it."""
STATUS_TIMEOUT_MS: Final = 5_000
"""How long one STATUS may take; the doubt is looked into again after a pause."""
STANDING_AGE_MAX: Final = dt.timedelta(days=2)
"""For how long the same bill again is looked for among those settled: a night, and a clock's error.
"""
REASON_IN_DOUBT: Final = "结果未知，自动冲正 outcome unknown, reversed by the terminal"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt came to, as far as is known.

    Attributes:
        attempt: As the outbox now holds it.
        body: Its reply's decoded body; None where there is none.
        answer: The answer that ended it; None where it was not ended by one.
        took_ms: From writing it to here.
        reason: Why it is still open, or was not sent; empty otherwise.
        is_taken_up: Whether an earlier attempt of the same content was followed instead of a new
            one being made.
    """

    attempt: Attempt
    body: Struct | None
    answer: Answer | None
    took_ms: float
    reason: str = ""
    is_taken_up: bool = False


class AttemptRunner:
    """Runs the attempts of one terminal.

    Args:
        client: Connected or not.
        outbox: Where attempts are kept.
        now_ms: The terminal's wall clock.
        jitter: Numbers from 0 to 1 that spread pauses.
        reopen_card: Opens the card of a person again, by `psn_no`, and gives its session; None
            where theirs is not at hand.
    """

    def __init__(
        self,
        client: TerminalClient,
        outbox: Outbox,
        *,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        jitter: Callable[[], float] = random.random,
        reopen_card: Callable[[str], Awaitable[bytes | None]] | None = None,
    ) -> None:
        self._client = client
        self._outbox = outbox
        self._config = client.config.outbox
        self._terminal = client.config.terminal.code
        self._zone = ZoneInfo(client.config.terminal.time_zone)
        self._now_ms = now_ms
        self._jitter = jitter
        self._reopen_card = reopen_card
        self._in_hand: set[str] = set()

    @property
    def in_hand(self) -> frozenset[str]:
        """The msgids of attempts begun or followed here that came to no `Outcome`.

        Once a call has raised, or was cancelled, these are to be taken as in doubt.
        """
        return frozenset(self._in_hand)

    async def settle(
        self, body: Settle, *, card_session: bytes = b"", psn_no: str = "", holder: str = ""
    ) -> Outcome:
        """Settle a bill.

        Args:
            body: The bill and the amounts shown.
            card_session: From CARD_OPEN.
            psn_no: Whose card it is, so that the same bill of theirs is not settled twice.
            holder: Their masked name, for the receipt.
        """
        new = self._new(MessageType.SETTLE, body, card_session)
        return await self._run(replace(new, psn_no=psn_no, holder=holder), body)

    def open_settlement_of(
        self, bill: Bill, exception: CardException | None, *, psn_no: str
    ) -> Attempt | None:
        """Find a settlement of this very bill, for this very person, whose end is not known.

        The amounts are not compared: once the first is posted, a preview gives others. Nor are
        names, which a newer catalogue may give otherwise.
        """
        return _of_bill(self._outbox.open_attempts(), bill, exception, psn_no=psn_no)

    def standing_settlement_of(
        self, bill: Bill, exception: CardException | None, *, psn_no: str
    ) -> Attempt | None:
        """Find a settlement of this very bill, for this very person, of the last days, that stands.

        Its answer may never have been seen: the power may have gone before it was shown.
        """
        if not bill.lines:
            return None  # a visit's: what is settled of it is no longer due
        today = dt.datetime.fromtimestamp(self._now_ms() / 1000, self._zone).date()
        first = today - STANDING_AGE_MAX
        settled = self._outbox.settled_since(MessageType.SETTLE, psn_no, first.isoformat())
        return _of_bill(settled, bill, exception, psn_no=psn_no)

    async def cancel(self, setl_id: str, reason: str, *, card_session: bytes = b"") -> Outcome:
        """Undo a settlement by its exact negative."""
        settled = self._outbox.find(setl_id)
        body = Cancel(setl_id, reason)
        new = self._new(MessageType.CANCEL, body, card_session)
        if settled is not None:
            new = replace(new, psn_no=settled.psn_no, holder=settled.holder)
        return await self._run(new, body)

    async def refund(self, body: Refund) -> Outcome:
        """Give lines of a settlement back, with the amounts shown."""
        assert body.commits, "what only asks is no attempt"
        settled = self._outbox.find(body.setl_id)
        new = self._new(MessageType.REFUND, body)
        if settled is not None:
            new = replace(new, psn_no=settled.psn_no, holder=settled.holder)
        return await self._run(new, body)

    async def record(
        self,
        type_: MessageType,
        body: Struct,
        *,
        card_session: bytes = b"",
        psn_no: str = "",
        holder: str = "",
    ) -> Outcome:
        """Record something of a visit: it begins, has lines, ends, or one of them was not meant.

        Args:
            type_: Which message.
            body: Its body.
            card_session: From CARD_OPEN, where the message needs one.
            psn_no: Whose card it is.
            holder: Their masked name.
        """
        assert type_ in VISIT_TYPES
        new = replace(self._new(type_, body, card_session), psn_no=psn_no, holder=holder)
        return await self._run(new, body)

    async def reverse(self, msgid: str, reason: str, *, terminal: str = "") -> Outcome:
        """Make sure that whatever became of a msgid doesn't stand."""
        body = Reverse(terminal or self._terminal, msgid, reason)
        return await self._run(replace(self._new(MessageType.REVERSE, body), original=msgid), body)

    async def acknowledge_print(self, setl_id: str, *, is_printed: bool) -> Outcome:
        """Tell the centre whether a receipt came out of the printer."""
        body = PrintAck(setl_id, is_printed)
        return await self._run(self._new(MessageType.PRINT_ACK, body), body)

    async def resolve(self, msgid: str, *, prefers_reversal: bool = False) -> Outcome:
        """Follow an open attempt to its end, as far as the time allows.

        Args:
            msgid: The attempt's.
            prefers_reversal: Reverse a settlement that the centre has not seen, however young.
        """
        started = _time()
        attempt = self._outbox.get(msgid)
        if not attempt.state.is_open:
            return self._outcome(attempt, None, started)
        now_ms = self._now_ms()
        if not self._outbox.claim(msgid, now_ms, now_ms + self._work_ms()):
            until = dt.datetime.fromtimestamp(attempt.worked_until_ms / 1000, self._zone)
            reason = f"另一进程正在处理，至 another process works on it, until {until:%H:%M:%S}"
            return self._outcome(attempt, None, started, reason)
        with self._worked_on(msgid):
            return await self._follow(attempt, [], started, prefers_reversal=prefers_reversal)

    async def resolve_all(self, *, prefers_reversal: bool = False) -> list[Outcome]:
        """Follow every open attempt, the oldest first."""
        return [
            await self.resolve(attempt.msgid, prefers_reversal=prefers_reversal)
            for attempt in self._outbox.open_attempts()
            if self._outbox.get(attempt.msgid).state.is_open
        ]

    # --- private ------------------------------------------------------------------------------

    def _new(self, type_: MessageType, body: Struct, card_session: bytes = b"") -> Attempt:
        now_ms = self._now_ms()
        return Attempt(
            msgid=self._client.msgid(),
            type=type_,
            body=bytes(encode_body(body)),
            card_session=card_session,
            created_ms=now_ms,
            worked_until_ms=now_ms + self._work_ms(),
        )

    async def _run(self, new: Attempt, body: Struct) -> Outcome:
        is_of_visit = new.type in VISIT_TYPES
        twin = self._same_of_visit(new) if is_of_visit else self._twin(new, body)
        if twin is not None:
            if new.card_session:
                self._outbox.use_card_session(twin.msgid, new.card_session)
            return dataclasses.replace(await self.resolve(twin.msgid), is_taken_up=True)
        started = _time()
        self._outbox.add(new)
        with self._worked_on(new.msgid):
            return await self._begin(new, started)

    @contextmanager
    def _worked_on(self, msgid: str) -> Iterator[None]:
        """Give an attempt back in the end; one that is left by an error stays in hand."""
        self._in_hand.add(msgid)
        try:
            yield
        finally:
            self._outbox.release(msgid)
        self._in_hand.discard(msgid)

    def _twin(self, new: Attempt, body: Struct) -> Attempt | None:
        """Find an open attempt that would do the same, so that it isn't done twice."""
        match body:
            case Settle():
                return self.open_settlement_of(body.bill, body.exception, psn_no=new.psn_no)
            case Cancel():
                same = [body.setl_id]
            case Refund():
                same = [body.setl_id, *map(repr, body.lines)]
            case Reverse():
                same = [body.original_terminal, body.original_msgid]
            case _:
                return None
        for attempt in self._outbox.open_attempts():
            if attempt.type is not new.type:
                continue
            other = decode_request_body(attempt.type, attempt.body)
            if isinstance(other, Cancel) and [other.setl_id] == same:
                return attempt
            if isinstance(other, Refund) and [other.setl_id, *map(repr, other.lines)] == same:
                return attempt
            if (
                isinstance(other, Reverse)
                and [other.original_terminal, other.original_msgid] == same
            ):
                return attempt
        return None

    def _same_of_visit(self, new: Attempt) -> Attempt | None:
        for attempt in self._outbox.open_attempts():
            if (attempt.type, attempt.psn_no, attempt.body) == (new.type, new.psn_no, new.body):
                return attempt
        return None

    async def _begin(self, attempt: Attempt, started: float) -> Outcome:
        watcher = CopyCounter(self._outbox, attempt.msgid, self._now_ms, is_first_counted=True)
        exchanges: list[Exchange] = []
        try:
            answer = await self._client.request(
                attempt.type,
                Raw(attempt.body),
                msgid=attempt.msgid,
                card_session=attempt.card_session,
                watcher=watcher,
            )
        except NotSentError as fault:
            watcher.close(str(fault))
            present = self._outbox.get(attempt.msgid)
            if attempt.type in DONE_ALREADY:
                self._outbox.note_doubt(attempt.msgid, self._now_ms(), str(fault))
                present = self._outbox.get(attempt.msgid)
                return self._outcome(present, None, started, str(fault))
            if present.sends_unanswered == 0:
                ending = Ending(state=AttemptState.REFUSED, code=present.code, by="not sent")
                return self._outcome(
                    self._outbox.end(attempt.msgid, self._now_ms(), ending),
                    None,
                    started,
                    str(fault),
                )
            reason = str(fault)
        except NoAnswerError as lost:
            exchanges.extend([lost.exchange] if lost.exchange else [])
            reason = str(lost)
        else:
            if (ended := self._conclude(attempt, answer, "reply")) is not None:
                return self._outcome(ended, answer, started)
            reason = _said(answer)
        self._outbox.note_doubt(attempt.msgid, self._now_ms(), reason)
        return await self._follow(attempt, exchanges, started, prefers_reversal=False)

    async def _follow(
        self,
        attempt: Attempt,
        exchanges: list[Exchange],
        started: float,
        *,
        prefers_reversal: bool,
    ) -> Outcome:
        """Look into a doubt, with pauses that double, until it ends or the time is up."""
        clock = _time
        deadline = clock() + self._config.resolve_timeout_ms / 1000
        pause_ms = float(self._config.resolve_pause_ms_min)
        while True:
            reason = ""
            answer: Answer | None = None
            ended = self._conclude_late(attempt, exchanges)
            if ended is None:
                left_ms = max(1, int((deadline - clock()) * 1000))
                try:
                    answer = await self._look(
                        attempt, left_ms, exchanges, prefers_reversal=prefers_reversal
                    )
                except ClientError as fault:
                    if isinstance(fault, NoAnswerError) and fault.msgid == attempt.msgid:
                        exchanges.extend([fault.exchange] if fault.exchange else [])
                    reason = str(fault)
            present = ended or self._outbox.get(attempt.msgid)
            if not present.state.is_open:
                return self._outcome(present, answer, started)
            reason = reason or (_said(answer) if answer else "中心未应答 no answer")
            self._outbox.note_doubt(attempt.msgid, self._now_ms(), reason)
            still_s = deadline - clock()
            if still_s <= 0 or _is_hopeless(answer):
                return self._outcome(self._outbox.get(attempt.msgid), answer, started, reason)
            spread_s = pause_ms / 1000 * (0.5 + self._jitter() / 2)
            await self._pause(exchanges, min(spread_s, still_s))
            pause_ms = min(pause_ms * 2, self._config.resolve_pause_ms_max)

    async def _look(
        self,
        attempt: Attempt,
        left_ms: int,
        exchanges: list[Exchange],
        *,
        prefers_reversal: bool,
    ) -> Answer | None:
        """Look into a doubt once, and do what is to be done about it."""
        if attempt.type is not MessageType.SETTLE:
            repeated = await self._repeat(attempt, left_ms)
            if attempt.type in VISIT_TYPES and advice_of(repeated.code) is Retry.OPEN_CARD:
                repeated = await self._repeat_with_card(attempt, left_ms) or repeated
            return repeated
        answer = await self._client.request(
            MessageType.STATUS,
            Status(self._terminal, attempt.msgid),
            time_limit_ms=min(STATUS_TIMEOUT_MS, left_ms),
        )
        if not isinstance(answer.body, StatusFound):
            return answer
        ending = ending_of(answer.body, self._zone)
        if ending is not None:
            self._outbox.end(attempt.msgid, self._now_ms(), ending)
            return answer
        if answer.body.state is StatusState.IN_PROGRESS or self._is_late(exchanges):
            return answer
        age_ms = self._now_ms() - attempt.created_ms
        if prefers_reversal or age_ms > self._config.repeat_age_max_ms:
            return await self._reverse_doubtful(attempt)
        repeated = await self._repeat(attempt, left_ms)
        advice = advice_of(repeated.code)
        if advice is Retry.OPEN_CARD:
            repeated = await self._repeat_with_card(attempt, left_ms) or repeated
            advice = advice_of(repeated.code)
        is_open = self._outbox.get(attempt.msgid).state.is_open
        if is_open and advice in {Retry.NONE, Retry.CORRECT, Retry.OPEN_CARD}:
            # This copy is refused, and an earlier one may still arrive and be accepted.
            return await self._reverse_doubtful(attempt)
        return repeated

    async def _repeat(self, attempt: Attempt, left_ms: int) -> Answer:
        watcher = CopyCounter(self._outbox, attempt.msgid, self._now_ms)
        answer = await self._client.request(
            attempt.type,
            Raw(attempt.body),
            msgid=attempt.msgid,
            card_session=self._outbox.get(attempt.msgid).card_session,
            time_limit_ms=min(left_ms, self._client.config.limits.request_timeout_ms),
            watcher=watcher,
        )
        self._conclude(attempt, answer, "repetition")
        return answer

    async def _repeat_with_card(self, attempt: Attempt, left_ms: int) -> Answer | None:
        """Open the person's card again and repeat with its session; None where that can't be.

        The session says who pays: another patient's card, in the reader by now, must not.
        """
        if self._reopen_card is None or not attempt.psn_no:
            return None
        session = await self._reopen_card(attempt.psn_no)
        if session is None:
            return None
        self._outbox.use_card_session(attempt.msgid, session)
        return await self._repeat(attempt, left_ms)

    async def _reverse_doubtful(self, attempt: Attempt) -> Answer | None:
        """Reverse it; the reversal is an attempt of its own that is repeated until answered."""
        outcome = await self.reverse(attempt.msgid, REASON_IN_DOUBT)
        return outcome.answer

    def _conclude(self, attempt: Attempt, answer: Answer, by: str) -> Attempt | None:
        """Take an answer to the attempt itself; None where it ends nothing."""
        reply = answer.reply
        if not is_stored(reply.code):
            return self._conclude_refused(attempt, reply, by)
        setl_id = answer.body.setl_id if isinstance(answer.body, Settled) else ""
        if isinstance(answer.body, Refunded):
            # What stands is what remains; where nothing does, the undoing is all there is.
            setl_id = answer.body.setl_id or answer.body.undo_setl_id
        ending = Ending(
            state=state_of(attempt.type, reply.code),
            code=reply.code,
            reply_body=kept_body(reply.body),
            setl_id=setl_id,
            business_date=reply.business_date,
            by=by,
        )
        ended = self._outbox.end(attempt.msgid, self._now_ms(), ending)
        self._conclude_original(attempt, answer.body)
        return ended

    def _conclude_refused(self, attempt: Attempt, reply: Reply, by: str) -> Attempt | None:
        present = self._outbox.get(attempt.msgid)
        advice = advice_of(reply.code)
        if present.sends_unanswered > 0 or advice is Retry.ASK_STATUS:
            return None
        if attempt.type in DONE_ALREADY and advice in {Retry.SAME_MSGID, Retry.SIGN_ON}:
            return None
        ending = Ending(state=AttemptState.REFUSED, code=reply.code, by=by)
        return self._outbox.end(attempt.msgid, self._now_ms(), ending)

    def _conclude_original(self, attempt: Attempt, body: Struct | None) -> None:
        """Note at a settlement of ours what a cancel or a reversal did to it."""
        if isinstance(body, Settled) and body.cancels:
            original, by = self._outbox.find(body.cancels), "cancel"
        elif isinstance(body, Refunded) and body.undo_setl_id:
            original, by = self._outbox.find(body.refunds), "refund"
        elif isinstance(body, Reversed):
            asked = decode_request_body(attempt.type, attempt.body)
            assert isinstance(asked, Reverse)
            # Another terminal of the institution may have used a msgid of ours.
            is_ours = asked.original_terminal == self._terminal
            original, by = self._outbox.find(attempt.original) if is_ours else None, "reversal"
        else:
            return
        if original is None:
            return
        is_refused = isinstance(body, Reversed) and body.result is ReverseResult.NOT_SETTLED
        code = ResponseCode.ORIGINAL_NOT_SETTLED if is_refused else ResponseCode.ALREADY_UNDONE
        if isinstance(body, Reversed) and body.result is ReverseResult.NOT_FOUND:
            code = ResponseCode.TOMBSTONED
        ending = Ending(
            state=AttemptState.REFUSED if is_refused else AttemptState.REVERSED,
            code=code,
            by=by,
        )
        self._outbox.end(original.msgid, self._now_ms(), ending)

    def _conclude_late(self, attempt: Attempt, exchanges: list[Exchange]) -> Attempt | None:
        """Take a reply that came after its waiter had gone; one that ends nothing is counted."""
        for exchange in [one for one in exchanges if one.event.done()]:
            exchanges.remove(exchange)
            event = exchange.event.result()
            if not isinstance(event, Reply):
                continue
            if not is_stored(event.code):
                CopyCounter(self._outbox, attempt.msgid, self._now_ms).after_reply(event)
                continue
            try:
                body = decode_reply_body(
                    attempt.type, event.code, event.body, is_duplicate=event.duplicate
                )
            except RemoteProtocolError:
                continue
            answer = Answer(attempt.type, attempt.msgid, event, body, 0.0, 0.0, attempt.sends)
            return self._conclude(attempt, answer, "late reply")
        return None

    async def _pause(self, exchanges: list[Exchange], seconds: float) -> None:
        """Wait, and no longer once a late reply comes."""
        waiting = [exchange.event for exchange in exchanges if not exchange.event.done()]
        if waiting:
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.sleep(seconds)

    @staticmethod
    def _is_late(exchanges: list[Exchange]) -> bool:
        return any(
            exchange.event.done() and isinstance(exchange.event.result(), Reply)
            for exchange in exchanges
        )

    def _outcome(
        self, attempt: Attempt, answer: Answer | None, started: float, reason: str = ""
    ) -> Outcome:
        return Outcome(
            attempt=attempt,
            body=reply_body_of(attempt),
            answer=answer,
            took_ms=(_time() - started) * 1000,
            reason=reason,
        )

    def _work_ms(self) -> int:
        """Longer than any process works on one attempt; after that another may take it."""
        return 2 * (self._client.config.limits.request_timeout_ms + self._config.resolve_timeout_ms)


def _is_hopeless(answer: Answer | None) -> bool:
    """Say whether asking again at once would be answered the same."""
    if answer is None or answer.is_approved:
        return False
    return advice_of(answer.code) in {Retry.NONE, Retry.CORRECT, Retry.SIGN_ON}


def _said(answer: Answer) -> str:
    """Say in words what the centre answered that ends nothing."""
    if isinstance(answer.body, StatusFound):
        if answer.body.state is StatusState.IN_PROGRESS:
            return "中心正在处理 the centre is at work on it"
        return "中心未见 the centre has not seen it"
    zh, en = words_of(answer.code)
    return f"{answer.code} {zh} / {en}"


def _time() -> float:
    return asyncio.get_running_loop().time()


def _of_bill(
    attempts: Iterable[Attempt], bill: Bill, exception: CardException | None, *, psn_no: str
) -> Attempt | None:
    """Find the settlement of a bill for a person; None where nobody knows whose it is."""
    if not psn_no and exception is None:
        return None
    asked = (_nameless(bill), exception)
    for attempt in attempts:
        if attempt.type is not MessageType.SETTLE or attempt.psn_no != psn_no:
            continue
        body = decode_request_body(attempt.type, attempt.body)
        assert isinstance(body, Settle)
        if (_nameless(body.bill), body.exception) == asked:
            return attempt
    return None


def _nameless(bill: Bill) -> Bill:
    """Give what two bills that are the same have in common: of a visit not what is due by now."""
    return replace(
        bill,
        total_fen=0 if bill.mdtrt_id else bill.total_fen,
        lines=tuple(replace(one, name="") for one in bill.lines),
    )
