"""The auditor: recomputes everything from requests and replies alone, and names what disagrees.

It knows the messages' meaning, the invariants of a split and the chart of accounts as they are
published; it shares no code with the centre, so that it can't share a mistake. Not here: asking
the centre for what is compared (`counter.py`), what is true of one split (`split_audit.py`), and
the order of an account's moves (`account_order.py`).
"""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from msgspec import Struct

from protocol.terminal.bodies import NIL
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import (
    Accumulator,
    Bill,
    Cancel,
    MessageType,
    Person,
    Refund,
    Refunded,
    Registered,
    Reverse,
    Reversed,
    ReverseResult,
    Settle,
    Settled,
    Split,
    StatusFound,
    StatusState,
)
from simulators.account_order import Move, order_of
from simulators.journal import Attempt, AttemptKey, Journal, Outcome
from simulators.refund_audit import check_refund, remaining_bill
from simulators.split_audit import check_lines, check_split, parts_of
from simulators.visit_audit import check_visits, visits_begun
from terminals.answer import is_stored

# The chart of accounts (ledger/README.md).
PERSONAL_ACCOUNT = 2030
INSTITUTION_PAYABLE = 2010
BENEFITS: Mapping[str, int] = {
    "hifp_pay": 5010,
    "hifob_pay": 5020,
    "cvlserv_pay": 5030,
    "hifes_pay": 5040,
    "hifmi_pay": 5050,
    "maf_pay": 5060,
}
OTHER_BENEFIT = 5070

_CARE_OF_MED_TYPE = {"11": "outpatient", "41": "outpatient", "21": "inpatient"}
_POOL = "hifp_pay"
_CARE = frozenset(_CARE_OF_MED_TYPE.values())
_OTHERS = "special schemes and layers"
_FUND_TIME = dt.timezone(dt.timedelta(hours=8))  # China has one time, and no summer time

_Amounts: TypeAlias = tuple[int, ...]


class AccountSums(Struct, frozen=True):
    """One account of a trial balance."""

    account: int
    debit_fen: int
    credit_fen: int


class Books(Struct, frozen=True):
    """What the centre's trial balance says: `cardserver trial-balance --json`, other keys apart."""

    accounts: tuple[AccountSums, ...]
    entry_count: int
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """An acknowledged settlement, and how it was undone if it was.

    Attributes:
        attempt: A SETTLE, or the REFUND of which this is what remained.
        bill: As settled.
        settled: Its answer; of what remained after a refund, what SETTLE would have answered.
        care_day: The day whose year's accumulators it moved.
    """

    attempt: Attempt
    bill: Bill
    settled: Settled
    care_day: dt.date
    undo: "Undo | None" = None


@dataclass(frozen=True, slots=True)
class Undo:
    """An acknowledged undoing of a settlement.

    Attributes:
        balance_after_fen: Of a refund, once what remains is settled too.
        remainder: Number of what a refund settled anew; empty where nothing remained, or where
            all was undone.
    """

    attempt: Attempt
    setl_id: str
    undo_setl_id: str
    balance_after_fen: int
    remainder: str = ""


@dataclass(frozen=True, slots=True)
class Given:
    """What the fund says that it gave to personal accounts while cashiers worked.

    Attributes:
        name: For findings.
        account: From which account.
        entry_count: By how many entries.
        amounts: In fen, by person, of everybody who got something.
        began: Tick before which it can't have happened.
        ended: Tick by which it had.
    """

    name: str
    account: int
    entry_count: int
    amounts: Mapping[str, int]
    began: int
    ended: int


class Auditor:
    """Knows all that was acknowledged, and compares.

    Args:
        journal: What was asked and answered; nothing may be in doubt any more.
        payers: Whose account aids whose: payer by person.
        given: What the fund gave meanwhile.
    """

    def __init__(
        self, journal: Journal, payers: Mapping[str, str], given: Iterable[Given] = ()
    ) -> None:
        self._journal = journal
        self._payers = payers
        self._given = tuple(given)
        undos = {undo.setl_id: undo for undo in _undos(journal)}
        self.standings: tuple[Standing, ...] = tuple(
            replace(standing, undo=undos.get(standing.settled.setl_id))
            for standing in _standings(journal)
        )
        self._by_key = {
            standing.attempt.key: standing
            for standing in self.standings
            if standing.attempt.type is MessageType.SETTLE
        }
        self._by_setl_id = {standing.settled.setl_id: standing for standing in self.standings}

    # --- the journal by itself ---------------------------------------------------------------

    def check_journal(self) -> Iterator[str]:
        """Compare the answers with their requests and with each other."""
        for attempt in self._journal.attempts:
            yield from _check_answers(attempt)
        for shown in self._journal.previews:
            previewed = shown.previewed
            yield from check_split(previewed.split, shown.bill.total_fen, "a preview")
            yield from check_lines(shown.bill.lines, previewed.line_splits, previewed.split)
        for standing in self.standings:
            yield from _check_settlement(standing)
        yield from check_visits(self._journal.attempts)
        yield from self._check_undoings()
        yield from self._check_refusals()
        yield from self._check_numbers()

    def _check_undoings(self) -> Iterator[str]:
        undone_by: dict[str, set[str]] = defaultdict(set)
        for attempt in self._journal.attempts:
            body = _approved(attempt)
            if isinstance(attempt.body, Cancel) and isinstance(body, Settled):
                undone_by[attempt.body.setl_id].add(body.setl_id)
                original = self._by_setl_id.get(attempt.body.setl_id)
                yield from _check_cancel(attempt, attempt.body, body, original)
            if isinstance(attempt.body, Refund) and isinstance(body, Refunded):
                undone_by[attempt.body.setl_id].add(body.undo_setl_id)
                refunded = self._by_setl_id.get(attempt.body.setl_id)
                yield from check_refund(
                    attempt.msgid,
                    attempt.body,
                    body,
                    None if refunded is None else (refunded.bill, refunded.settled),
                )
            if isinstance(attempt.body, Reverse) and isinstance(body, Reversed):
                if body.undo_setl_id:
                    undone_by[body.setl_id].add(body.undo_setl_id)
                yield from self._check_reversal(attempt, attempt.body, body)
        for setl_id, undoings in undone_by.items():
            if len(undoings) > 1:
                names = ", ".join(sorted(undoings))
                yield f"settlement {setl_id} is undone more than once: by {names}"

    def _check_reversal(self, attempt: Attempt, request: Reverse, body: Reversed) -> Iterator[str]:
        key = AttemptKey(attempt.institution, request.original_terminal, request.original_msgid)
        original = self._by_key.get(key)
        who = f"reversal {attempt.msgid}"
        if body.setl_id:
            if original is None:
                yield f"{who} undid settlement {body.setl_id}, which nobody was told of"
            elif original.settled.setl_id != body.setl_id:
                yield (
                    f"{who} undid settlement {body.setl_id}, its original is"
                    f" {original.settled.setl_id}"
                )
        elif original is not None:
            yield (
                f"{who} found {body.result.name}, yet {request.original_msgid} is settlement"
                f" {original.settled.setl_id}"
            )
        is_undone = body.result in {ReverseResult.REVERSED, ReverseResult.ALREADY_UNDONE}
        if is_undone != bool(body.setl_id) or is_undone != bool(body.undo_setl_id):
            names = f"{body.setl_id!r}, {body.undo_setl_id!r}"
            yield f"{who} found {body.result.name} and names {names}"

    def _check_refusals(self) -> Iterator[str]:
        tombstoned = {
            (attempt.institution, attempt.body.original_terminal, attempt.body.original_msgid)
            for attempt in self._journal.of_type(MessageType.REVERSE)
            if isinstance(attempt.body, Reverse)
            and isinstance(body := _approved(attempt), Reversed)
            and body.result is ReverseResult.NOT_FOUND
        }
        for attempt in self._journal.attempts:
            outcome = attempt.outcome
            if outcome is None or outcome.code == ResponseCode.APPROVED:
                continue
            who = f"{attempt.type.name} {attempt.msgid}"
            if outcome.code == ResponseCode.TOMBSTONED and attempt.key not in tombstoned:
                yield f"{who} is refused as tombstoned, and no reversal came before it"
            if (
                outcome.code == ResponseCode.ALREADY_UNDONE
                and isinstance(attempt.body, Cancel | Refund)
                and not self._is_undone(attempt.body.setl_id)
            ):
                yield f"{who} is refused as undone before, and nobody was told of an undoing"
            if not is_stored(outcome.code):
                yield f"{who} ended with code {outcome.code}, which ends nothing"

    def _is_undone(self, setl_id: str) -> bool:
        standing = self._by_setl_id.get(setl_id)
        return standing is not None and standing.undo is not None

    def _check_numbers(self) -> Iterator[str]:
        numbers = Counter(standing.settled.setl_id for standing in self.standings)
        numbers.update(undo.undo_setl_id for undo in _undos(self._journal))
        for number, count in numbers.items():
            if count > 1:
                yield f"settlement number {number} was given out {count} times"
            if not number:
                yield "a settlement has no number"

    # --- against the centre ------------------------------------------------------------------

    def check_books(self, before: Books, after: Books) -> Iterator[str]:
        """Compare what the trial balance moved by with what was acknowledged."""
        for books in (before, after):
            yield from (f"the trial balance says: {what}" for what in books.differences)
            debit_fen = sum(account.debit_fen for account in books.accounts)
            credit_fen = sum(account.credit_fen for account in books.accounts)
            if debit_fen != credit_fen:
                yield f"debits are {debit_fen} and credits {credit_fen} fen"
        wanted = self.expected_sums()
        had = {account.account: account for account in before.accounts}
        has = {account.account: account for account in after.accounts}
        for number in sorted(wanted.keys() | has.keys() | had.keys()):
            old = had.get(number, AccountSums(number, 0, 0))
            new = has.get(number, AccountSums(number, 0, 0))
            want = wanted.get(number, AccountSums(number, 0, 0))
            debit_fen = new.debit_fen - old.debit_fen
            credit_fen = new.credit_fen - old.credit_fen
            if debit_fen != want.debit_fen:
                yield (
                    f"account {number} was debited {debit_fen} fen, by what was acknowledged"
                    f" {want.debit_fen}"
                )
            if credit_fen != want.credit_fen:
                yield (
                    f"account {number} was credited {credit_fen} fen, by what was acknowledged"
                    f" {want.credit_fen}"
                )
        entry_count = after.entry_count - before.entry_count
        acknowledged = len(self.standings) + sum(bool(one.undo) for one in self.standings)
        acknowledged += len(visits_begun(self._journal.attempts))
        acknowledged += sum(one.entry_count for one in self._given)
        if entry_count != acknowledged:
            yield f"{entry_count} entries were posted, {acknowledged} acknowledged"

    def expected_sums(self) -> dict[int, AccountSums]:
        """Sum up what was acknowledged, by account; an undoing is on the other side."""
        debited: Counter[int] = Counter()
        credited: Counter[int] = Counter()
        for standing in self.standings:
            _post(standing.settled.split, debited, credited)
            if standing.undo is not None:
                _post(standing.settled.split, credited, debited)
        for one in self._given:
            amount_fen = sum(one.amounts.values())
            debited[one.account] += amount_fen
            credited[PERSONAL_ACCOUNT] += amount_fen
        return {
            number: AccountSums(number, debited[number], credited[number])
            for number in debited.keys() | credited.keys()
        }

    def payables(self) -> dict[str, int]:
        """What each institution, by its code, is to be paid for what stands, in fen."""
        payables: Counter[str] = Counter()
        for standing in self.standings:
            if standing.undo is None:
                payables[standing.attempt.institution] += _payable(standing.settled.split)
        return dict(payables)

    def check_statuses(self, found: Mapping[AttemptKey, StatusFound]) -> Iterator[str]:
        """Compare what STATUS says of each msgid with the answers that it got."""
        for attempt in self._journal.attempts:
            if (status := found.get(attempt.key)) is None:
                yield f"STATUS was not asked about {attempt.msgid}"
            elif attempt.outcome is not None:
                yield from self._check_status(attempt, attempt.outcome, status)

    def _check_status(
        self, attempt: Attempt, outcome: Outcome, status: StatusFound
    ) -> Iterator[str]:
        standing = self._by_key.get(attempt.key)
        state, setl_id, body = StatusState.REFUSED, "", outcome.body
        if outcome.code == ResponseCode.APPROVED:
            is_undone = standing is not None and standing.undo is not None
            state = StatusState.UNDONE if is_undone else StatusState.SETTLED
            answered = attempt.body_of_outcome
            if isinstance(answered, Settled):
                setl_id = answered.setl_id
            elif isinstance(answered, Refunded) or (
                isinstance(answered, Reversed) and answered.result is ReverseResult.REVERSED
            ):
                setl_id = answered.undo_setl_id
            elif isinstance(answered, Registered):
                setl_id = answered.mdtrt_id
        elif outcome.code == ResponseCode.TOMBSTONED:
            state = StatusState.TOMBSTONED
        who = f"STATUS of {attempt.type.name} {attempt.msgid}"
        if status.state is not state:
            yield f"{who} says {status.state.name}, its answer {state.name}"
        if status.code != outcome.code:
            yield f"{who} says code {status.code}, its answer {outcome.code}"
        if status.setl_id != setl_id:
            yield f"{who} says settlement {status.setl_id!r}, its answer {setl_id!r}"
        if bytes(status.body) != (body or NIL):
            yield f"{who} gives another body than its answer had"

    def check_persons(
        self, before: Mapping[str, Person], after: Mapping[str, Person]
    ) -> Iterator[str]:
        """Compare persons' accounts and accumulators before and after the run.

        Args:
            before: As each person was before anything was settled.
            after: As each is now.
        """
        for psn_no, person in after.items():
            if psn_no not in before:
                yield f"person {psn_no} was not looked at before"
                continue
            moves = self._moves(psn_no)
            opening_fen = before[psn_no].account_balance_fen
            closing_fen = opening_fen + sum(move.delta_fen for move in moves)
            if person.account_balance_fen != closing_fen:
                yield (
                    f"person {psn_no} holds {person.account_balance_fen} fen, by what was"
                    f" acknowledged {closing_fen}"
                )
            yield from (
                f"person {psn_no}: {what}" for what in order_of(moves, opening_fen=opening_fen)
            )
            yield from self._check_accumulators(before[psn_no], person)

    def _moves(self, psn_no: str) -> list[Move]:
        """All that moved or showed one person's account."""
        moves = [
            Move(one.name, one.amounts[psn_no], None, one.began, one.ended, "")
            for one in self._given
            if psn_no in one.amounts
        ]
        for standing in self.standings:
            own, settled, undo = standing.attempt, standing.settled, standing.undo
            is_own = settled.psn_no == psn_no
            paid_fen = self._paid_by(psn_no, settled)
            if not (is_own or paid_fen or (undo is not None and undo.remainder)):
                continue
            after_fen = settled.balance_after_fen if is_own else None
            name = f"settlement {settled.setl_id}"
            if own.type is MessageType.SETTLE:
                moves.append(Move(name, -paid_fen, after_fen, own.began, own.ended, ""))
            if undo is not None:
                # A refund moves the account once, by both of its entries.
                remainder = self._by_setl_id.get(undo.remainder)
                anew_fen = 0 if remainder is None else self._paid_by(psn_no, remainder.settled)
                after_fen = undo.balance_after_fen if is_own else None
                undoing = undo.attempt
                undone = (
                    f"settlement {undo.remainder}"
                    if undo.remainder
                    else (f"undoing {undo.undo_setl_id}")
                )
                moves.append(
                    Move(undone, paid_fen - anew_fen, after_fen, undoing.began, undoing.ended, name)
                )
        for seen in self._journal.sightings:
            if seen.person.psn_no == psn_no:
                fen = seen.person.account_balance_fen
                moves.append(
                    Move(f"a look at tick {seen.ended}", 0, fen, seen.began, seen.ended, "")
                )
        return moves

    def _paid_by(self, psn_no: str, settled: Settled) -> int:
        """What a settlement takes from one person's account: for themselves, or as aid."""
        split = settled.split
        aided_fen = split.mutual_aid_fen if self._payers.get(settled.psn_no) == psn_no else 0
        return aided_fen + (split.account_pay_fen if settled.psn_no == psn_no else 0)

    def _check_accumulators(self, before: Person, after: Person) -> Iterator[str]:
        wanted = _used_by_care(before.accumulators)
        for standing in self.standings:
            settled = standing.settled
            if settled.psn_no != after.psn_no or standing.undo is not None:
                continue
            bill, year = standing.bill, standing.care_day.year
            split = settled.split
            care = _CARE_OF_MED_TYPE.get(bill.med_type)
            paid_elsewhere_fen = split.fund_pay_fen
            if care is not None:
                key = (year, bill.insutype, care)
                wanted[key] = _plus(wanted.get(key), _moved_by(split, care))
                paid_elsewhere_fen -= _layer(split, _POOL)
            others = (year, bill.insutype, _OTHERS)
            wanted[others] = _plus(wanted.get(others), (0, 0, paid_elsewhere_fen, 0, 0))
        found = _used_by_care(after.accumulators)
        for key in sorted(wanted.keys() | found.keys()):
            none = (0,) * 5
            if found.get(key, none) != wanted.get(key, none):
                yield (
                    f"person {after.psn_no} has used {found.get(key, none)} of {key}, by what was"
                    f" acknowledged {wanted.get(key, none)}"
                )


# --- one answer ------------------------------------------------------------------------------


def _check_answers(attempt: Attempt) -> Iterator[str]:
    who = f"{attempt.type.name} {attempt.msgid}"
    if not attempt.answers:
        yield f"{who} is still in doubt"
        return
    first = attempt.answers[0]
    for other in attempt.answers[1:]:
        if other.code != first.code:
            yield f"{who} was answered {first.code}, later {other.code}"
        elif other.body != first.body:
            yield f"{who} was answered with another body later"
    dates = {answer.business_date for answer in attempt.answers if answer.business_date}
    body = attempt.body_of_outcome
    if isinstance(body, Settled | Refunded) and dates - {_day_of(body.settled_time_ms)}:
        yield f"{who} is of {_day_of(body.settled_time_ms)}, its replies say {dates}"


def _check_settlement(standing: Standing) -> Iterator[str]:
    attempt, bill, settled = standing.attempt, standing.bill, standing.settled
    who = f"settlement {settled.setl_id}"
    split = settled.split
    if settled.cancels:
        yield f"{who} says that it cancels {settled.cancels}"
    if settled.balance_after_fen < 0:
        yield f"{who} leaves {settled.balance_after_fen} fen"
    yield from check_split(split, bill.total_fen, who)
    if not bill.uses_account and split.account_pay_fen + split.mutual_aid_fen:
        yield f"{who} takes from an account that was not to be used"
    if not isinstance(attempt.body, Settle):
        return
    if settled.psn_no != attempt.psn_no:
        yield f"{who} is of person {settled.psn_no}, the card of {attempt.psn_no}"
    settle = attempt.body
    shown = (settle.fund_pay_fen, settle.account_pay_fen, settle.cash_fen)
    paid = (split.fund_pay_fen, split.account_pay_fen + split.mutual_aid_fen, split.cash_fen)
    if shown != paid:
        yield f"{who}: the patient was shown {shown} and pays {paid}"


def _check_cancel(
    attempt: Attempt, request: Cancel, body: Settled, original: Standing | None
) -> Iterator[str]:
    who = f"cancel {attempt.msgid}"
    if original is None:
        yield f"{who} undid settlement {request.setl_id}, which nobody was told of"
        return
    if body.cancels != request.setl_id:
        yield f"{who} undid {body.cancels!r}, asked was {request.setl_id}"
    if body.psn_no != original.settled.psn_no:
        yield f"{who} is of person {body.psn_no}, its original of {original.settled.psn_no}"
    negative = tuple(-part for part in parts_of(original.settled.split))
    if parts_of(body.split) != negative:
        yield f"{who} is not the exact negative of settlement {request.setl_id}"


# --- what was acknowledged -------------------------------------------------------------------


def _standings(journal: Journal) -> Iterator[Standing]:
    by_setl_id: dict[str, Standing] = {}
    for attempt in journal.of_type(MessageType.SETTLE):
        settled = _approved(attempt)
        if isinstance(attempt.body, Settle) and isinstance(settled, Settled):
            bill = attempt.body.bill
            care_day = bill.discharged or _day_of(settled.settled_time_ms)
            standing = Standing(attempt, bill, settled, care_day)
            by_setl_id[settled.setl_id] = standing
            yield standing
    # A refund begins after its original is known, so that the journal has them in order.
    for attempt in journal.of_type(MessageType.REFUND):
        body = _approved(attempt)
        if not isinstance(attempt.body, Refund) or not isinstance(body, Refunded):
            continue
        refunded = by_setl_id.get(attempt.body.setl_id)
        if refunded is None or body.remaining is None:
            continue
        anew = Settled(
            body.setl_id, body.psn_no, body.remaining, body.balance_after_fen, body.settled_time_ms
        )
        bill = remaining_bill(refunded.bill, attempt.body)
        standing = Standing(attempt, bill, anew, refunded.care_day)
        by_setl_id[body.setl_id] = standing
        yield standing


def _undos(journal: Journal) -> Iterator[Undo]:
    for attempt in journal.attempts:
        body = _approved(attempt)
        if attempt.type is MessageType.CANCEL and isinstance(body, Settled):
            yield Undo(attempt, body.cancels, body.setl_id, body.balance_after_fen)
        elif isinstance(body, Refunded):
            yield Undo(
                attempt, body.refunds, body.undo_setl_id, body.balance_after_fen, body.setl_id
            )
        elif isinstance(body, Reversed) and body.result is ReverseResult.REVERSED:
            yield Undo(attempt, body.setl_id, body.undo_setl_id, body.balance_after_fen)


def _approved(attempt: Attempt) -> Struct | None:
    if attempt.outcome is None or attempt.outcome.code != ResponseCode.APPROVED:
        return None
    return attempt.body_of_outcome


def _post(split: Split, debited: Counter[int], credited: Counter[int]) -> None:
    for layer in split.layers:
        debited[BENEFITS.get(layer.field, OTHER_BENEFIT)] += layer.paid_fen
    debited[PERSONAL_ACCOUNT] += split.account_pay_fen + split.mutual_aid_fen
    credited[INSTITUTION_PAYABLE] += _payable(split)


def _payable(split: Split) -> int:
    return split.fund_pay_fen + split.account_pay_fen + split.mutual_aid_fen


def _layer(split: Split, field: str) -> int:
    return sum(layer.paid_fen for layer in split.layers if layer.field == field)


def _used_by_care(accumulators: Iterable[Accumulator]) -> dict[tuple[int, str, str], _Amounts]:
    """Collect the rows of each kind of care, and in one what all others paid.

    A layer's or a special scheme's row has whatever name the policy gives it, and a split does not
    say which it was, nor what entered a layer.
    """
    used: dict[tuple[int, str, str], _Amounts] = {}
    for one in accumulators:
        if one.scheme in _CARE:
            key, amounts = (one.year, one.insutype, one.scheme), _amounts(one)
        else:
            key, amounts = (one.year, one.insutype, _OTHERS), (0, 0, one.pool_fen, 0, 0)
        used[key] = _plus(used.get(key), amounts)
    return used


def _moved_by(split: Split, care: str) -> _Amounts:
    return (
        split.deductible_fen, split.in_scope_fen, _layer(split, _POOL),
        _layer(split, "hifob_pay"), int(care == "inpatient"),
    )  # fmt: skip


def _plus(one: _Amounts | None, other: _Amounts) -> _Amounts:
    return tuple(a + b for a, b in zip(one or (0,) * len(other), other, strict=True))


def _amounts(one: Accumulator) -> _Amounts:
    return (
        one.deductible_fen, one.in_scope_fen, one.pool_fen, one.large_amount_fen, one.admissions,
    )  # fmt: skip


def _day_of(time_ms: int) -> dt.date:
    return dt.datetime.fromtimestamp(time_ms / 1000, _FUND_TIME).date()
