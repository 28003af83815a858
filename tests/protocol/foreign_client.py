"""A terminal as a vendor writes it, from `protocol/README.md` alone.

Python's standard library is all it imports, nothing of this project: so it proves that the
specification suffices, and whoever writes a client in another language may read it beside that
page. It is synchronous and holds one connection. Not here: the durable store of attempts (an
`Attempt` is what goes into it); a card reader (a function that sends one command to the card and
returns its answer stands for it).
"""

import contextlib
import hashlib
import socket
import ssl
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, Self

# Envelopes.
REQUEST, REPLY, RELAY, RELAYED, GOODBYE = 1, 2, 3, 4, 5

# Message types.
SIGN_ON, SIGN_OFF, ECHO = 1, 2, 3
CARD_OPEN, MEMBER_QUERY, ELIGIBILITY = 10, 11, 12
PREVIEW, SETTLE, CANCEL, REVERSE, STATUS, PRINT_ACK = 20, 21, 22, 23, 24, 25
REGISTER, ADMIT, DISCHARGE, VISIT_CANCEL, DISCHARGE_CANCEL = 30, 31, 32, 33, 34
LINES, LINES_CANCEL, VISIT_QUERY = 35, 36, 37
LIST_DOWNLOAD = 40
RECONCILE, RECONCILE_DETAIL = 50, 51
CLEARING_APPLY, CLEARING_CANCEL, CLEARING_QUERY = 52, 53, 54
REVIEW_CASES, REVIEW_APPEAL = 60, 61

# How a batch of commands ended.
COMPLETED, UNEXPECTED_STATUS, CARD_REMOVED, READER_FAULT = 0, 1, 2, 3

VERSION = 1
ALPN = f"cardserver/{VERSION}"
FIRST_PAYLOAD_MAX = 16_384  # to the centre, until SIGN_ON's reply names its limit
REPLY_PAYLOAD_MAX = 262_144  # from the centre, likewise
CHALLENGES_MAX = 4
ANSWER_MAX = 65_538
PATIENCE_MS = 2000  # beyond time_left_ms, before STATUS is asked
NESTING_MAX = 100

Transmit = Callable[[bytes], bytes]


# --- MessagePack -----------------------------------------------------------------------------


class Packed(bytes):
    """Bytes that are a MessagePack value already, to be sent as they are."""


def pack(value: object) -> bytes:
    """Encode a value in its shortest form."""
    match value:
        case Packed():
            return bytes(value)
        case None:
            return b"\xc0"
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int():
            return _pack_int(value)
        case str():
            data = value.encode("utf-8")
            return _pack_size(len(data), 0xA0, 32, (0xD9, 0xDA, 0xDB)) + data
        case bytes():
            return _pack_size(len(value), 0, 0, (0xC4, 0xC5, 0xC6)) + value
        case list() | tuple():
            head = _pack_size(len(value), 0x90, 16, (None, 0xDC, 0xDD))
            return head + b"".join(map(pack, value))
        case _:
            raise TypeError(f"the protocol has no {type(value).__name__}")


def _pack_int(value: int) -> bytes:
    if -32 <= value < 128:
        return struct.pack(">b", value)
    first, letters = (0xCC, "BHIQ") if value > 0 else (0xD0, "bhiq")
    for code, letter in enumerate(letters, first):
        with contextlib.suppress(struct.error):
            return bytes([code]) + struct.pack(f">{letter}", value)
    raise ValueError(f"{value} has more than 64 bits")


def _pack_size(size: int, fixed: int, fixed_max: int, codes: Sequence[int | None]) -> bytes:
    if size < fixed_max:
        return bytes([fixed | size])
    for code, letter, end in zip(codes, "BHI", (1 << 8, 1 << 16, 1 << 32), strict=True):
        if code is not None and size < end:
            return bytes([code]) + struct.pack(f">{letter}", size)
    raise ValueError(f"{size} is too long")


def unpack(data: bytes) -> Any:
    """Decode one value, with nothing after it."""
    reader = _Reader(data)
    value = reader.value()
    if reader.index != len(data):
        raise ValueError("there is something after the value")
    return value


def elements(data: bytes) -> list[Packed]:
    """Cut an array into its elements' bytes as sent: a body is hashed, stored, compared so."""
    reader = _Reader(data)
    found = []
    for _ in range(reader.array_count()):
        start = reader.index
        reader.value()
        found.append(Packed(data[start : reader.index]))
    if reader.index != len(data):
        raise ValueError("there is something after the array")
    return found


_NUMBERS = dict(zip(range(0xCC, 0xD4), "BHIQbhiq", strict=True))
_SIZES = dict(zip((0xC4, 0xC5, 0xC6, 0xD9, 0xDA, 0xDB), "BHIBHI", strict=True))
_COUNTS = dict(zip((0xDC, 0xDD), "HI", strict=True))
_CONSTANTS = dict(zip((0xC0, 0xC2, 0xC3), (None, False, True), strict=True))


class _Reader:
    """Reads values from bytes, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.index = 0

    def value(self, depth: int = 0) -> Any:
        """Read a value."""
        first = self._take(1)[0]
        if first < 0x80 or first >= 0xE0:
            return first if first < 0x80 else first - 0x100
        if first in _CONSTANTS:
            return _CONSTANTS[first]
        if first in _NUMBERS:
            return self._number(_NUMBERS[first])
        if first & 0xE0 == 0xA0:
            return self._take(first & 0x1F).decode()
        if first in _SIZES:
            data = self._take(self._number(_SIZES[first]))
            return data if first <= 0xC6 else data.decode()
        self.index -= 1
        count = self.array_count()
        if depth == NESTING_MAX:
            raise ValueError("nested too deeply")
        return [self.value(depth + 1) for _ in range(count)]

    def array_count(self) -> int:
        """Read an array's head."""
        first = self._take(1)[0]
        if first & 0xF0 == 0x90:
            return first & 0x0F
        if first not in _COUNTS:
            raise ValueError(f"{first:02x} begins no array, and nothing else of the protocol")
        return self._number(_COUNTS[first])

    def _number(self, letter: str) -> int:
        number: int = struct.unpack(f">{letter}", self._take(struct.calcsize(f">{letter}")))[0]
        return number

    def _take(self, size: int) -> bytes:
        taken = self._data[self.index : self.index + size]
        if len(taken) != size:
            raise ValueError("the value is cut off")
        self.index += size
        return taken


# --- what is said ----------------------------------------------------------------------------

# Fields by position, as the tables have them. `x:Y` is a struct Y, `x:Y*` an array of them, `x?`
# may be missing at the end and is None then. `body` stays as sent: it is decoded by its type.
STRUCTS = {
    "Reply": "kind exchange code duplicate business_date centre_time_ms list_version detail_zh"
    " detail_en body challenges:Challenge*? stages:StageTime*?",
    "Relay": "kind exchange sequence steps:CardStep* time_left_ms",
    "Goodbye": "kind code detail",
    "StageTime": "stage microseconds",
    "SignedOn": "sign_no version batch_no fund_zh fund_en challenges:Challenge*"
    " openings:OpeningBatch* in_flight_max frame_size_max expires_time_ms lists:ListVersion*?",
    "ListVersion": "name version",
    "ListPage": "name version based_on is_last next revocations:RevocationRow* items:ItemRow*"
    " mappings:MappingRow* parameters:Parameters",
    "RevocationRow": "kind subject reason",
    "ItemRow": "item begins ends is_struck name item_class self_pay_ratio_e4"
    " price_limit_microyuan level_limits kind unit sex age_from age_below daily_quantity_max_e4",
    "MappingRow": "local_item begins ends is_struck item local_name",
    "Parameters": "institution_level card_session_life_ms fresh_card_above_fen"
    " exceptions:AllowedException* med_types:NamedCode* insutypes:NamedCode* codes:CodeText*"
    " checks:NamedCode*",
    "AllowedException": "name med_types total_max_fen",
    "NamedCode": "code text_zh text_en",
    "CodeText": "code retry text_zh text_en",
    "Echoed": "payload",
    "Challenge": "number value life_ms",
    "OpeningBatch": "opening atr atr_mask steps:CardStep*",
    "CardStep": "command expected spans:ChallengeSpan*? condition:StepCondition?",
    "ChallengeSpan": "command_offset challenge_offset size",
    "StepCondition": "step offset value",
    "CardOpened": "card_session session_life_ms profile card_number proof pin pin_tries"
    " holder_name holder_id person:Person round_trips card_time_us",
    "Person": "psn_no name sex birth_date insurances:Insurance* account_balance_fen"
    " accumulators:Accumulator*",
    "Insurance": "insutype state person_type region begins ends",
    "Accumulator": "year insutype scheme deductible_fen in_scope_fen pool_fen large_amount_fen"
    " admissions",
    "MemberFound": "person:Person",
    "EligibilityFound": "is_entitled reason begins ends",
    "Previewed": "psn_no split:Split line_splits:LineSplit* balance_after_fen"
    " explanation:ExplanationStep*?",
    "Split": "total_fen fully_own_fen over_limit_fen pre_self_pay_fen in_scope_fen deductible_fen"
    " layers:Layer* fund_pay_fen hospital_part_fen person_part_fen account_pay_fen"
    " mutual_aid_fen cash_fen",
    "Layer": "field paid_fen",
    "LineSplit": "item_class price_limit_microyuan self_pay_ratio_e4 fully_own_fen over_limit_fen"
    " pre_self_pay_fen in_scope_fen",
    "ExplanationStep": "rule text_zh text_en amount_fen field",
    "Settled": "setl_id psn_no split:Split balance_after_fen settled_time_ms cancels?"
    " warnings:CheckFinding*? clearing_type?",
    "Reversed": "result setl_id undo_setl_id balance_after_fen",
    "StatusFound": "state type code setl_id body",
    "PrintAcked": "copies",
    "CheckRefused": "refusals:CheckFinding* warnings:CheckFinding*? override?",
    "CheckFinding": "rule text_zh text_en line",
    "AccumulatorsFound": "psn_no year accumulators:Accumulator* visits:VisitCount*",
    "VisitCount": "insutype med_type visits",
    "Refunded": "refunds undo_setl_id setl_id psn_no given_back:Split remaining:Split"
    " lines:RefundedLine* balance_after_fen settled_time_ms",
    "RefundedLine": "line item name price_microyuan quantity_e4 gross_fen",
    "Explained": "setl_id result policy care_date undoes undone_by replaces split:Split lines:Line*"
    " line_splits:LineSplit* next_line explanation:ExplanationStep* next_step",
    "Line": "item name price_microyuan quantity_e4 gross_fen",
    "Registered": "mdtrt_id psn_no begins registered_time_ms",
    "Visit": "mdtrt_id psn_no kind state insutype med_type begins ends number department doctor"
    " diagnosis disease emergency transferred_from lines_count unsettled_count unsettled_fen"
    " settled_fen",
    "VisitLine": "number date item name price_microyuan quantity_e4 gross_fen refunds?",
    "LinesTaken": "visit:Visit line_splits:LineSplit*",
    "VisitChanged": "visit:Visit changed_time_ms",
    "VisitFound": "visits:Visit* lines:VisitLineFound*? next_line? settlements:VisitSettlement*?",
    "VisitLineFound": "line:VisitLine state setl_id left_e4 left_fen",
    "VisitSettlement": "setl_id until total_fen is_final",
    "Reconciled": "reconcile_id outcome is_provisional wants_detail compared:TotalCompared*"
    " open_count",
    "TotalCompared": "outcome centre:DayTotal institution:DayTotal",
    "DayTotal": "clearing_type is_refund count total_fen fund_pay_fen account_pay_fen cash_fen",
    "ReconcileDetailed": "differences:RowDifference* next_after:RowKey open_count",
    "RowDifference": "kind advice centre:ReconcileRow institution:ReconcileRow known? known_code?"
    " known_date?",
    "ReconcileRow": "msgid terminal is_refund setl_id clearing_type total_fen fund_pay_fen"
    " account_pay_fen cash_fen state",
    "RowKey": "msgid terminal is_refund",
    "ClearingApplied": "application_id centre:ClearingTotal institution:ClearingTotal",
    "ClearingTotal": "clearing_type settled_count settled_fen undone_count undone_fen",
    "ClearingCancelled": "application_id",
    "ClearingsFound": "month is_closed clearings:ClearingFound*",
    "ClearingFound": "state total:ClearingTotal application_id clearing_id brought_fen applied_fen"
    " review_fen cap_fen withheld_fen paid_fen carried_fen reason",
    "ReviewCasesFound": "cases:ReviewCase* next_after?",
    "ReviewCase": "case_no month setl_id msgid terminal business_date clearing_type total_fen"
    " fund_pay_fen state verdict deduction_fen decided_time_ms appeal_until appeal appeal_reason?"
    " appeal_answer? cuts:ReviewCut*?",
    "ReviewCut": "line amount_fen article article_zh article_en reason",
    "ReviewAppealed": "case:ReviewCase filed_time_ms",
}


def read(name: str, data: bytes) -> Any:
    """Decode a struct; what a newer centre appended to it is ignored."""
    parts = elements(data)
    found = SimpleNamespace()
    for index, field in enumerate(STRUCTS[name].split()):
        word, _, kind = field.rstrip("?").partition(":")
        if index == len(parts) and not field.endswith("?"):
            raise ValueError(f"{name} has no {word}")
        part = parts[index] if index < len(parts) else Packed(pack(None))
        value: Any = part
        if kind.endswith("*"):
            items = [] if part == pack(None) else elements(part)
            value = [read(kind.rstrip("*"), item) for item in items]
        elif kind and part != pack(None):
            value = read(kind, part)
        elif word != "body":
            value = unpack(part)
        setattr(found, word, value)
    return found


def check_split(split: Any) -> None:
    """Refuse a split whose parts do not make up the whole: it must not be printed."""
    sums = [
        (split.total_fen, "fully_own_fen over_limit_fen pre_self_pay_fen in_scope_fen"),
        (split.total_fen, "fund_pay_fen hospital_part_fen person_part_fen"),
        (split.person_part_fen, "account_pay_fen mutual_aid_fen cash_fen"),
    ]
    add_up = all(whole == sum(vars(split)[part] for part in parts.split()) for whole, parts in sums)
    if not add_up or split.fund_pay_fen != sum(layer.paid_fen for layer in split.layers):
        raise ValueError("the split does not add up")


class Attempt(NamedTuple):
    """What goes to durable storage before it is sent, and is repeated unchanged."""

    type: int
    msgid: str
    body: Packed

    def request_hash(self) -> bytes:
        """What the centre compares when the msgid comes again."""
        return hashlib.sha256(struct.pack(">H", self.type) + self.body).digest()


class Msgids:
    """Numbers a terminal's attempts; a real one keeps the last msgid on disk."""

    def __init__(self, institution: str) -> None:
        self._institution = institution
        self._second = ""
        self._sequence = -1

    def next(self) -> str:
        """Give a msgid that was never given before, also when the clock is set back."""
        while True:
            second = time.strftime("%Y%m%d%H%M%S")
            if second > self._second:
                self._second, self._sequence = second, -1
            if self._sequence < 9999:
                self._sequence += 1
                return f"{self._institution}{self._second}{self._sequence:04}"
            time.sleep(0.05)


class GoodbyeError(Exception):
    """The centre has ended the connection, and said why."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


# --- cards -----------------------------------------------------------------------------------


class CardRemovedError(Exception):
    """For a reader's transmit function: the card was taken out, or stopped answering."""


class Ran(NamedTuple):
    """How a batch went."""

    outcome: int
    answers: list[bytes]
    card_time_us: int


def matches(opening: Any, atr: bytes) -> bool:
    """Tell whether an opening batch is for the card of this ATR."""
    return len(atr) == len(opening.atr) and all(
        theirs & mask == ours & mask
        for theirs, ours, mask in zip(atr, opening.atr, opening.atr_mask, strict=True)
    )


def run_batch(transmit: Transmit, steps: Sequence[Any], challenge: bytes = b"") -> Ran:
    """Send a batch's commands, as far as they are answered as expected."""
    if not all(_is_sound(step, index, challenge) for index, step in enumerate(steps)):
        return Ran(READER_FAULT, [], 0)
    answers: list[bytes] = []
    outcome = COMPLETED
    started = time.monotonic_ns()
    try:
        for step in steps:
            if _is_skipped(step, answers):
                answers.append(b"")
                continue
            answers.append(_send_command(transmit, _filled(step, challenge)))
            if int.from_bytes(answers[-1][-2:], "big") not in step.expected:
                outcome = UNEXPECTED_STATUS
                break
    except CardRemovedError:
        outcome = CARD_REMOVED
    except OSError:
        outcome = READER_FAULT
    return Ran(outcome, answers, (time.monotonic_ns() - started) // 1000)


def _is_sound(step: Any, index: int, challenge: bytes) -> bool:
    return (step.condition is None or step.condition.step < index) and all(
        span.command_offset + span.size <= len(step.command)
        and span.challenge_offset + span.size <= len(challenge)
        for span in step.spans
    )


def _is_skipped(step: Any, answers: Sequence[bytes]) -> bool:
    condition = step.condition
    if condition is None:
        return False
    earlier = answers[condition.step]
    end = condition.offset + len(condition.value)
    there = earlier[:-2][condition.offset : end]
    return not earlier or len(earlier) - 2 < end or there != condition.value


def _filled(step: Any, challenge: bytes) -> bytes:
    command = bytearray(step.command)
    for span in step.spans:
        part = challenge[span.challenge_offset : span.challenge_offset + span.size]
        command[span.command_offset : span.command_offset + span.size] = part
    return bytes(command)


def _send_command(transmit: Transmit, command: bytes) -> bytes:
    """Send one command; the card may name the right Le (6Cxx), or have more to fetch (61xx)."""
    answer = transmit(command)
    if len(answer) == 2 and answer[0] == 0x6C:
        has_le = len(command) == 5 or (len(command) > 5 and len(command) == 6 + command[4])
        answer = transmit((command[:-1] if has_le else command) + answer[1:])
    data = b""
    while len(answer) >= 2 and answer[-2] == 0x61 and len(data) < ANSWER_MAX:
        data += answer[:-2]
        answer = transmit(bytes([command[0] & 0x03, 0xC0, 0, 0, answer[-1]]))
    if len(answer) < 2 or len(data) + len(answer) > ANSWER_MAX:
        raise CardRemovedError
    return data + answer


# --- the terminal ----------------------------------------------------------------------------


class ForeignClient:
    """A terminal on one connection.

    Args:
        address: Host and port of the centre.
        context: From `tls_context`.
        terminal: The terminal's code, as in its certificate.
        msgids: Of this terminal, shared by its connections.
        signed_on: An earlier SIGN_ON's reply that still holds, with its operator.
    """

    def __init__(
        self,
        address: tuple[str, int],
        context: ssl.SSLContext,
        terminal: str,
        msgids: Msgids,
        signed_on: tuple[str, Any] | None = None,
    ) -> None:
        self.terminal = terminal
        self.operator = "" if signed_on is None else signed_on[0]
        self.signed_on = None if signed_on is None else signed_on[1]
        self.time_left_ms = 10_000
        self._msgids = msgids
        self._exchange = 0
        self._challenges: list[tuple[float, Any]] = []
        self._replies: dict[int, Any] = {}
        plain = socket.create_connection(address, timeout=10)
        try:
            self._socket = context.wrap_socket(plain, server_hostname=address[0])
        except BaseException:
            plain.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._socket.close()

    # Requests without money and card.

    def sign_on(self, operator: str, password: str, *, wants_stages: bool = False) -> Any:
        """Sign on; later requests carry the reply's `sign_no`."""
        self.operator, self.signed_on = operator, None
        body = [operator, password, 1, "foreign-client 1", [VERSION], wants_stages]
        reply = self.ask(SIGN_ON, body)
        if reply.code == 0:
            self.signed_on = read("SignedOn", reply.body)
            self._hold(self.signed_on.challenges)
        return reply

    def sign_off(self) -> Any:
        """End the sign-on."""
        reply = self.ask(SIGN_OFF, [])
        self.operator, self.signed_on = "", None
        return reply

    def echo(self, payload: bytes) -> Any:
        """Ask whether the centre is there."""
        return self.ask(ECHO, [payload])

    def goodbye(self) -> None:
        """Say the last message, and close; with requests in flight their replies are lost."""
        self.send_payload(pack([GOODBYE, 0, ""]))
        self._socket.close()

    def open_card(
        self, atr: bytes, transmit: Transmit, *, reader: str = "", wants_holder: bool = True
    ) -> Any:
        """Run the opening batch for a card, then what the centre relays to it.

        CARD_OPEN is sent however the batch fared, or its challenge would stay taken.
        """
        number, challenge, ran = 0, 0, Ran(COMPLETED, [], 0)
        openings = self._signed_on().openings
        opening = next((each for each in openings if matches(each, atr)), None)
        taken = self._take_challenge() if opening is not None else None
        if opening is not None and taken is not None:
            number, challenge = opening.opening, taken.number
            ran = run_batch(transmit, opening.steps, taken.value)
        body = [
            reader, atr, number, challenge, ran.outcome, ran.answers, wants_holder,
            ran.card_time_us,
        ]  # fmt: skip
        return self.perform(self.attempt(CARD_OPEN, body), transmit=transmit)

    # Attempts: made, stored, performed, and performed again until an answer ends them.

    def download(self, name: str, version: int = 0, size_max: int = 0) -> tuple[int, list[Any]]:
        """Fetch what changed in a list; give the version reached and the rows, page by page.

        Where the centre begins anew, the version's rows are all there are: `based_on` says 0.
        """
        after = b""
        rows: list[Any] = []
        while True:
            reply = self.ask(LIST_DOWNLOAD, [name, version, after, size_max])
            if reply.code:
                raise ValueError(f"the list was refused with {reply.code}")
            page = read("ListPage", reply.body)
            rows += page.revocations or page.items or page.mappings
            rows += [page.parameters] if page.parameters is not None else []
            if page.is_last:
                return page.version, rows
            after = page.next

    def attempt(self, type_: int, body: Sequence[Any]) -> Attempt:
        """Make an attempt under a new msgid."""
        return Attempt(type_, self._msgids.next(), Packed(pack(body)))

    def settle_attempt(
        self, bill: Sequence[Any], shown: Any, exception: Sequence[str] | None = None
    ) -> Attempt:
        """Make a SETTLE of a bill as PREVIEW split it and the patient was shown it."""
        accounts_fen = shown.account_pay_fen + shown.mutual_aid_fen
        body = [bill, shown.fund_pay_fen, accounts_fen, shown.cash_fen, exception]
        return self.attempt(SETTLE, body)

    def ask(self, type_: int, body: Sequence[Any], card_session: bytes = b"") -> Any:
        """Perform something that needs no storage."""
        return self.perform(self.attempt(type_, body), card_session)

    def perform(
        self, attempt: Attempt, card_session: bytes = b"", transmit: Transmit | None = None
    ) -> Any:
        """Send an attempt and wait for its reply; after a TimeoutError its outcome is unknown."""
        return self.wait(self.send(attempt, card_session), transmit)

    def send(self, attempt: Attempt, card_session: bytes = b"") -> int:
        """Send a request; gives the exchange to wait for."""
        self._exchange += 1
        sign_no = self.signed_on.sign_no if self.signed_on else ""
        now_ms = time.time_ns() // 1_000_000
        fields = [
            REQUEST, self._exchange, attempt.type, attempt.msgid, sign_no, self.terminal,
            self.operator, card_session, 0, self.time_left_ms, now_ms, "", attempt.body,
        ]  # fmt: skip
        self.send_payload(pack(fields))
        return self._exchange

    def wait(self, exchange: int, transmit: Transmit | None = None) -> Any:
        """Give an exchange's reply; others that come before it are kept for their callers."""
        deadline = time.monotonic() + (self.time_left_ms + PATIENCE_MS) / 1000
        while exchange not in self._replies:
            payload = self.receive_payload(deadline)
            kind = unpack(elements(payload)[0])
            if kind == GOODBYE:
                said = read("Goodbye", payload)
                raise GoodbyeError(said.code, said.detail)
            if kind == RELAY and transmit is not None:
                relay = read("Relay", payload)
                ran = run_batch(transmit, relay.steps)
                self.send_payload(pack([RELAYED, relay.exchange, relay.sequence, *ran]))
            elif kind == REPLY:
                reply = read("Reply", payload)
                self._replies[reply.exchange] = reply
                self._hold(reply.challenges)
            else:
                raise ValueError(f"unexpected envelope {kind}")
        return self._replies.pop(exchange)

    # Cards and challenges.

    def _hold(self, challenges: Sequence[Any]) -> None:
        now = time.monotonic()
        self._challenges += [(now + each.life_ms / 1000, each) for each in challenges]
        self._challenges = self._challenges[-CHALLENGES_MAX:]

    def _take_challenge(self) -> Any:
        """Give a living challenge, once; None where the centre has none to give."""
        for _ in range(2):
            self._challenges = [each for each in self._challenges if each[0] > time.monotonic()]
            if self._challenges:
                return self._challenges.pop()[1]
            self.echo(b"")
        return None

    def _signed_on(self) -> Any:
        if self.signed_on is None:
            raise ValueError("sign on first")
        return self.signed_on

    # Frames.

    def send_payload(self, payload: bytes) -> None:
        """Send one frame."""
        largest = self.signed_on.frame_size_max if self.signed_on else FIRST_PAYLOAD_MAX
        if not 1 <= len(payload) <= largest:
            raise ValueError(f"a payload of {len(payload)} bytes; the centre takes {largest}")
        self.send_bytes(struct.pack(">I", len(payload)) + payload)

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.settimeout(10)
        self._socket.sendall(data)

    def receive_payload(self, deadline: float) -> bytes:
        """Read one frame, until a time of the monotonic clock."""
        (size,) = struct.unpack(">I", self._receive(4, deadline))
        largest = max(REPLY_PAYLOAD_MAX, self.signed_on.frame_size_max if self.signed_on else 0)
        if not 1 <= size <= largest:
            raise ValueError(f"a frame of {size} bytes")
        return self._receive(size, deadline)

    def _receive(self, size: int, deadline: float) -> bytes:
        data = b""
        while len(data) < size:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            read_now = self._socket.recv(size - len(data))
            if not read_now:
                raise ConnectionError("the centre has closed the connection")
            data += read_now
        return data


def tls_context(
    authority_file: Path, certificate_file: Path | None, key_file: Path | None, alpn: str = ALPN
) -> ssl.SSLContext:
    """TLS 1.3, the fund's authority alone, the terminal's own certificate, the protocol's name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(authority_file)
    if certificate_file is not None:
        context.load_cert_chain(certificate_file, key_file)
    if alpn:
        context.set_alpn_protocols([alpn])
    return context
