"""A made-up cashier on the real client, who does by a seed all that may be done to a settlement.

Cards are opened, bills previewed and settled, some of them as visits; settlements are repeated,
cancelled, reversed, also before they arrive. Nothing is ever left in doubt: whatever a reply's loss
leaves open is repeated, asked for or reversed until its outcome is final. Not here: what was asked
and answered (`journal.py`).
"""

import asyncio
import csv
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Self

from msgspec import Struct, structs

from protocol.card.profiles.social_security_keys import Algorithm
from protocol.terminal.bodies import encode_body
from protocol.terminal.codes import Retry
from protocol.terminal.messages import (
    Bill,
    Cancel,
    CardOpened,
    Lines,
    LinesCancel,
    MemberFound,
    MemberQuery,
    MessageType,
    Person,
    Preview,
    Previewed,
    PrintAck,
    Refund,
    Refunded,
    RefundLine,
    Register,
    Registered,
    Reverse,
    Settle,
    Settled,
    Status,
    StatusFound,
    VisitLine,
)
from simulators.card.population_cards import find_card, iterate_cards
from simulators.card.simulated_card import SimulatedCard
from simulators.card.social_security_card import CardData, RootKeys, print_card
from simulators.journal import Attempt, AttemptKey, Journal, Shown
from simulators.made_up_bill import EMPLOYEES, Item, make_bill
from simulators.refund_audit import remaining_bill
from terminals.answer import (
    Answer,
    ClientError,
    NoAnswerError,
    NotSentError,
    advice_of,
    is_stored,
)
from terminals.client import TerminalClient
from terminals.config import TerminalConfig
from terminals.readers.channel import BatchAnswers, StepLike, run_batch

IDENTITY_CARD = "02"
_LINES_MAX = 6
_PAUSE_S = 0.03
_REASON = "made-up cashier"
_COMPUTABLE = frozenset({Algorithm.TRIPLE_DES, Algorithm.SM4})
_IN_DOUBT_REPEAT = 0.4
_IN_DOUBT_ASK = 0.7  # above, a settlement is reversed
_HALF_E4 = 5_000
_BY_VISIT = 0.08


@dataclass(frozen=True, slots=True)
class Patient:
    """Somebody whose card opens, and who is insured."""

    psn_no: str
    id_number: str
    card: CardData


class SimulatedReader:
    """A reader of one simulated card in this process, as `TerminalClient` needs it."""

    name = "in process"

    def __init__(self, card: SimulatedCard) -> None:
        """Hold the card."""
        self._card = card

    async def connect(self) -> bytes:
        """Power the card up."""
        self._card.reset()
        return self._card.atr

    async def run_batch(self, steps: Sequence[StepLike], challenge: bytes, /) -> BatchAnswers:
        """Run the commands at once."""
        return run_batch(self._card, steps, challenge)


def choose_patients(population: Path, *, count: int, today: int) -> tuple[Patient, ...]:
    """Choose the first of a made-up city whose cards open on `today` (YYYYMMDD).

    Families stand together in the city's files, so that some pay from each other's accounts.
    """
    persons = {row["person_no"]: row for row in _rows(population / "persons.csv")}
    insured = {
        row["person_no"]
        for row in _rows(population / "insurances.csv")
        if row["insutype"] == EMPLOYEES
        and row["state"] == "1"
        and int(row["begins"]) <= today <= int(row["ends"])
    }
    patients: list[Patient] = []
    for row in iterate_cards(population):
        number = row["person_no"]
        if (
            row["state"] == "1"
            and int(row["begins"]) <= today <= int(row["ends"])
            and Algorithm(int(row["algorithm"])) in _COMPUTABLE
            and number in insured
            and not persons[number]["deceased_date"]
        ):
            card = find_card(population, row["card_no"])
            patients.append(Patient(number, persons[number]["id_number"], card))
            if len(patients) == count:
                break
    return tuple(patients)


def read_payers(population: Path) -> Mapping[str, str]:
    """Read from a made-up city whose account aids whose: payer by person."""
    payers = {
        row["family_no"]: row["payer_person_no"] for row in _rows(population / "families.csv")
    }
    return {
        row["person_no"]: payers[row["family_no"]]
        for row in _rows(population / "persons.csv")
        if row["family_no"] in payers and payers[row["family_no"]] != row["person_no"]
    }


@dataclass(frozen=True, slots=True)
class Desk:
    """What a cashier has before them.

    Attributes:
        config: The terminal's.
        operator: The cashier's number.
        password: Theirs.
        patients: Who comes; other desks may have the same.
        items: What can be billed.
        keys: Folder of the root keys with which the patients' cards were written.
    """

    config: TerminalConfig
    operator: str
    password: str
    patients: Sequence[Patient]
    items: Sequence[Item]
    keys: Path

    def at_port(self, port: int) -> Self:
        """The same desk towards a centre at another port."""
        centre = structs.replace(self.config.centre, port=port)
        return replace(self, config=structs.replace(self.config, centre=centre))

    def without_pauses(self) -> Self:
        """The same desk with short pauses and no end of patience, for a centre that is killed."""
        limits = structs.replace(
            self.config.limits,
            reconnect_pause_ms_min=20,
            reconnect_pause_ms_max=100,
            retries_max=10_000,
            request_timeout_ms=60_000,
        )
        return replace(self, config=structs.replace(self.config, limits=limits))


class Cashier:
    """One cashier at one terminal. Use it in `async with`."""

    def __init__(self, desk: Desk, journal: Journal, random: Random) -> None:
        """Sit down at a desk."""
        self._desk = desk
        self._journal = journal
        self._random = random
        self._client = TerminalClient(desk.config, jitter=random.random)
        self._sessions: dict[str, bytes] = {}

    async def __aenter__(self) -> Self:
        """Sign on."""
        await self._sign_on()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave."""
        await self._client.close()

    async def work(self, until: asyncio.Event) -> None:
        """Serve patients until the event, then finish the last."""
        while not until.is_set():
            await self.serve(self._random.choice(self._desk.patients))

    async def serve(self, patient: Patient) -> None:
        """Settle one bill in one of the ways that the seed chooses."""
        preview = Preview(
            make_bill(
                self._desk.items, self._random, line_count=self._random.randint(1, _LINES_MAX),
                uses_account=self._random.random() < 0.8,  # noqa: PLR2004 - most, not all
            ),
            wants_explanation=False,
        )  # fmt: skip
        session = self._sessions.get(patient.psn_no) or await self._open(patient)
        if not session:
            return
        lines = preview.bill.lines
        if self._random.random() < _BY_VISIT:
            visit = await self._by_visit(preview.bill, patient)
            if visit is None:
                return
            preview = structs.replace(preview, bill=visit)
        shown = await self._ask(MessageType.PREVIEW, preview, card_session=session)
        if advice_of(shown.code) is Retry.OPEN_CARD:
            del self._sessions[patient.psn_no]
        if not isinstance(shown.body, Previewed):
            return
        billed = structs.replace(preview.bill, lines=lines)
        self._journal.previews.append(Shown(billed, shown.body))
        split = shown.body.split
        paid_by_accounts_fen = split.account_pay_fen + split.mutual_aid_fen
        body = Settle(preview.bill, split.fund_pay_fen, paid_by_accounts_fen, split.cash_fen)
        attempt = self._begin(MessageType.SETTLE, body, patient)
        ways, weights = zip(*_WAYS, strict=True)
        (way,) = self._random.choices(ways, weights)
        await way(self, attempt, patient)

    # --- the ways of a settlement ------------------------------------------------------------

    async def settle(self, attempt: Attempt, patient: Patient) -> None:
        """Settle."""
        await self._carry_out(attempt, patient)

    async def settle_and_repeat(self, attempt: Attempt, patient: Patient) -> None:
        """Settle, and send it once more."""
        await self._carry_out(attempt, patient)
        await self._send(attempt, patient)

    async def settle_twice_at_once(self, attempt: Attempt, patient: Patient) -> None:
        """Send two copies, the second before the first is answered."""
        await asyncio.gather(
            self._carry_out(attempt, patient),
            self._carry_out(attempt, patient),
        )

    async def settle_and_cancel(self, attempt: Attempt, patient: Patient) -> None:
        """Settle, cancel, and cancel again: the same request, or another."""
        await self._carry_out(attempt, patient)
        settled = _settled(attempt)
        if settled is None:
            return
        cancel = self._begin(MessageType.CANCEL, Cancel(settled.setl_id, _REASON))
        await self._carry_out(cancel)
        if self._random.random() < 0.5:  # noqa: PLR2004 - every other time
            await self._send(cancel)
        else:
            again = self._begin(MessageType.CANCEL, Cancel(settled.setl_id, _REASON))
            await self._carry_out(again)

    async def settle_and_reverse(self, attempt: Attempt, patient: Patient) -> None:
        """Settle, and reverse it."""
        await self._carry_out(attempt, patient)
        await self._reverse(attempt)

    async def settle_and_print(self, attempt: Attempt, patient: Patient) -> None:
        """Print; then a reversal is refused, and a cancel is not."""
        await self._carry_out(attempt, patient)
        settled = _settled(attempt)
        if settled is None:
            return
        ack = PrintAck(settled.setl_id, is_printed=True)
        await self._carry_out(self._begin(MessageType.PRINT_ACK, ack))
        await self._reverse(attempt)
        cancel = Cancel(settled.setl_id, _REASON)
        await self._carry_out(self._begin(MessageType.CANCEL, cancel))

    async def cancel_and_reverse_at_once(self, attempt: Attempt, patient: Patient) -> None:
        """Settle, and have it undone from two sides; one comes too late."""
        await self._carry_out(attempt, patient)
        settled = _settled(attempt)
        if settled is None:
            return
        cancel = self._begin(MessageType.CANCEL, Cancel(settled.setl_id, _REASON))
        await asyncio.gather(self._carry_out(cancel), self._reverse(attempt))

    async def settle_and_refund(self, attempt: Attempt, patient: Patient) -> None:
        """Settle, give some back, more of what remains, and cancel the rest, or not."""
        await self._carry_out(attempt, patient)
        settled = _settled(attempt)
        if settled is None:
            return
        assert isinstance(attempt.body, Settle)
        bill, setl_id = attempt.body.bill, settled.setl_id
        for _ in range(self._random.randint(1, 3)):
            refund = await self._begin_refund(setl_id, bill)
            if refund is None:
                return
            await self._carry_out(refund)
            if self._random.random() < 0.5:  # noqa: PLR2004 - every other time
                await self._send(refund)
            refunded = refund.body_of_outcome
            assert isinstance(refund.body, Refund)
            if not isinstance(refunded, Refunded) or not refunded.setl_id:
                return  # of what remains nothing is left, or somebody else was faster
            bill, setl_id = remaining_bill(bill, refund.body), refunded.setl_id
        if self._random.random() < 0.5:  # noqa: PLR2004 - every other time
            await self._carry_out(self._begin(MessageType.CANCEL, Cancel(setl_id, _REASON)))

    async def refund_and_cancel_at_once(self, attempt: Attempt, patient: Patient) -> None:
        """Settle, and have it refunded twice and cancelled, all at once; one of them wins."""
        await self._carry_out(attempt, patient)
        settled = _settled(attempt)
        if settled is None:
            return
        assert isinstance(attempt.body, Settle)
        refunds = [await self._begin_refund(settled.setl_id, attempt.body.bill) for _ in range(2)]
        cancel = self._begin(MessageType.CANCEL, Cancel(settled.setl_id, _REASON))
        await asyncio.gather(
            self._carry_out(cancel),
            *(self._carry_out(refund) for refund in refunds if refund is not None),
        )

    async def _by_visit(self, bill: Bill, patient: Patient) -> Bill | None:
        """Register a visit with the bill's lines, and one more that is given or taken back."""
        body = Register(bill.insutype, bill.med_type, None, f"MZ{self._random.randrange(10**9)}")
        register = self._begin(MessageType.REGISTER, body, patient)
        await self._carry_out(register, patient)
        registered = register.body_of_outcome
        if not isinstance(registered, Registered):
            return None
        number = registered.mdtrt_id
        lines = [
            VisitLine(f"L{index}", registered.begins, line.item, line.name, line.price_microyuan,
                      line.quantity_e4, line.gross_fen)
            for index, line in enumerate(bill.lines)
        ]  # fmt: skip
        spare = structs.replace(lines[0], number="SPARE")
        lines.append(spare)
        is_refunded = self._random.random() < 0.5  # noqa: PLR2004 - every other time
        if is_refunded:
            back = {"quantity_e4": -spare.quantity_e4, "gross_fen": -spare.gross_fen}
            lines.append(structs.replace(spare, number="BACK", refunds="SPARE", **back))
        await self._carry_out(self._begin(MessageType.LINES, Lines(number, tuple(lines))))
        if not is_refunded:
            cancel = LinesCancel(number, ("SPARE",), _REASON)
            await self._carry_out(self._begin(MessageType.LINES_CANCEL, cancel))
        return structs.replace(bill, lines=(), mdtrt_id=number)

    async def _begin_refund(self, setl_id: str, bill: Bill) -> Attempt | None:
        """Choose what is given back and have it shown; nothing where that is refused."""
        if bill.mdtrt_id:  # whose lines are not in it
            return None
        numbers = range(1, len(bill.lines) + 1)
        chosen = self._random.sample(numbers, self._random.randint(1, len(bill.lines)))
        lines = tuple(
            RefundLine(number, self._random.randint(1, of // _HALF_E4) * _HALF_E4)
            for number in chosen
            if (of := bill.lines[number - 1].quantity_e4) >= _HALF_E4
        )
        if not lines:
            return None
        asked = Refund(setl_id, lines, _REASON, commits=False)
        shown = await self._ask(MessageType.REFUND, asked)
        if not isinstance(shown.body, Refunded):
            return None
        back = shown.body.given_back
        body = structs.replace(
            asked,
            commits=True,
            fund_pay_fen=back.fund_pay_fen,
            account_pay_fen=back.account_pay_fen + back.mutual_aid_fen,
            cash_fen=back.cash_fen,
        )
        return self._begin(MessageType.REFUND, body)

    async def reverse_before(self, attempt: Attempt, patient: Patient) -> None:
        """Reverse what was never sent; then it comes, and is refused."""
        await self._reverse(attempt)
        await self._carry_out(attempt, patient)

    async def reverse_at_once(self, attempt: Attempt, patient: Patient) -> None:
        """Send settlement and reversal together; either may be first."""
        await asyncio.gather(self._carry_out(attempt, patient), self._reverse(attempt))

    async def _reverse(self, original: Attempt) -> None:
        body = Reverse(original.terminal, original.msgid, _REASON)
        await self._carry_out(self._begin(MessageType.REVERSE, body))

    # --- until the outcome is final ----------------------------------------------------------

    def _begin(self, type_: MessageType, body: Struct, patient: Patient | None = None) -> Attempt:
        terminal = self._desk.config.terminal
        return self._journal.begin(
            Attempt(
                institution=terminal.institution,
                terminal=terminal.code,
                type=type_,
                msgid=self._client.msgid(),
                body=body,
                psn_no="" if patient is None else patient.psn_no,
            )
        )

    async def _carry_out(self, attempt: Attempt, patient: Patient | None = None) -> None:
        """Send, ask and reverse until the outcome is known for good."""
        while attempt.outcome is None:
            is_lost = await self._send(attempt, patient)
            if is_lost:
                await self._clear_up(attempt)

    async def _send(self, attempt: Attempt, patient: Patient | None = None) -> bool:
        """Send a copy and do what its answer advises; says whether it may have been lost."""
        session = b""
        if patient is not None:
            session = self._sessions.get(patient.psn_no) or await self._open(patient)
        self._journal.note_send(attempt)
        try:
            answer = await self._client.exchange(
                attempt.type, encode_body(attempt.body), msgid=attempt.msgid, card_session=session
            )
        except NotSentError:
            await asyncio.sleep(_PAUSE_S)
            return False
        except NoAnswerError:
            return True
        advice = advice_of(answer.code)
        if is_stored(answer.code) or advice in {Retry.NONE, Retry.CORRECT}:
            self._journal.note_reply(attempt, answer.reply)
            return False
        if advice is Retry.SIGN_ON:
            await self._sign_on()
        elif advice is Retry.OPEN_CARD and patient is not None:
            await self._open(patient)
        else:
            await asyncio.sleep(_PAUSE_S)
        return advice is Retry.ASK_STATUS

    async def _clear_up(self, attempt: Attempt) -> None:
        """Choose what is done about a reply that was lost; to do nothing means to repeat."""
        chance = self._random.random()
        if chance < _IN_DOUBT_REPEAT:
            return
        if chance > _IN_DOUBT_ASK and attempt.type is MessageType.SETTLE:
            await self._reverse(attempt)
        found = await self.status(attempt)
        self._journal.note_status(attempt, found)

    # --- what commits nothing ----------------------------------------------------------------

    async def status(self, attempt: Attempt) -> StatusFound:
        """Ask what is known of an attempt of this terminal's institution."""
        answer = await self._ask(MessageType.STATUS, Status(attempt.terminal, attempt.msgid))
        assert isinstance(answer.body, StatusFound), f"STATUS was refused: {answer.code}"
        return answer.body

    async def statuses(self, attempts: Iterable[Attempt]) -> dict[AttemptKey, StatusFound]:
        """Ask about many, which must be of this institution."""
        wanted = list(attempts)
        found = await asyncio.gather(*(self.status(attempt) for attempt in wanted))
        return dict(zip((attempt.key for attempt in wanted), found, strict=True))

    async def member(self, id_number: str) -> Person:
        """Look a person up by identity number, and note what was seen."""
        began = self._journal.tick()
        answer = await self._ask(MessageType.MEMBER_QUERY, MemberQuery(IDENTITY_CARD, id_number))
        assert isinstance(answer.body, MemberFound), f"MEMBER_QUERY was refused: {answer.code}"
        self._journal.note_person(answer.body.person, began)
        return answer.body.person

    async def members(self, patients: Iterable[Patient]) -> dict[str, Person]:
        """Look many up; by their number."""
        found = await asyncio.gather(*(self.member(patient.id_number) for patient in patients))
        return {person.psn_no: person for person in found}

    async def _open(self, patient: Patient) -> bytes:
        """Open the patient's card; gives nothing where that is refused."""
        card = print_card(patient.card, RootKeys.read(self._desk.keys, patient.card.algorithm))
        while True:
            began = self._journal.tick()
            try:
                opening = await self._client.open_card(SimulatedReader(card))
            except ClientError:
                await asyncio.sleep(_PAUSE_S)
                continue
            answer = opening.answer
            if isinstance(answer.body, CardOpened):
                self._sessions[patient.psn_no] = answer.body.card_session
                self._journal.note_person(answer.body.person, began)
                return answer.body.card_session
            if advice_of(answer.code) in {Retry.NONE, Retry.CORRECT}:
                return b""
            await self._heed(answer)

    async def _ask(self, type_: MessageType, body: Struct, *, card_session: bytes = b"") -> Answer:
        """Ask something that commits nothing, as often as it takes."""
        while True:
            try:
                answer = await self._client.request(type_, body, card_session=card_session)
            except ClientError:
                await asyncio.sleep(_PAUSE_S)
                continue
            if advice_of(answer.code) in {Retry.NONE, Retry.CORRECT, Retry.OPEN_CARD}:
                return answer
            await self._heed(answer)

    async def _heed(self, answer: Answer) -> None:
        if advice_of(answer.code) is Retry.SIGN_ON:
            await self._sign_on()
        else:
            await asyncio.sleep(_PAUSE_S)

    async def _sign_on(self) -> None:
        while True:
            try:
                answer = await self._client.sign_on(self._desk.operator, self._desk.password)
            except ClientError:
                await asyncio.sleep(_PAUSE_S)
                continue
            if answer.is_approved:
                return
            assert advice_of(answer.code) not in {Retry.NONE, Retry.CORRECT}, answer.code
            await asyncio.sleep(_PAUSE_S)


def _settled(attempt: Attempt) -> Settled | None:
    body = attempt.body_of_outcome
    return body if isinstance(body, Settled) else None


def _rows(path: Path) -> Iterable[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


Way = Callable[[Cashier, Attempt, Patient], Awaitable[None]]

# What is done to a bill that was shown, and how often among all.
_WAYS: Sequence[tuple[Way, int]] = (
    (Cashier.settle, 40),
    (Cashier.settle_and_repeat, 10),
    (Cashier.settle_twice_at_once, 8),
    (Cashier.settle_and_cancel, 10),
    (Cashier.settle_and_reverse, 10),
    (Cashier.settle_and_print, 4),
    (Cashier.cancel_and_reverse_at_once, 4),
    (Cashier.settle_and_refund, 10),
    (Cashier.refund_and_cancel_at_once, 4),
    (Cashier.reverse_before, 6),
    (Cashier.reverse_at_once, 8),
)
