"""What payments post: instructed, confirmed, returned; and deposits that are released.

    instructed   payable    -> under way   of what is owed: paid again, or a released deposit; a
                                           clearing's part is under way since the clearing
    withdrawn    under way  -> payable     of a run that was not signed; the next run pays it
    confirmed    under way  -> deposits    of each insurance at the treasury
    returned     under way  -> payable     once confirmed: deposits -> payable; the next run pays it

Each is one act with a key of its own, so that the same report taken in twice moves nothing. Not
here: which transfers there are (`payments.py`), how a file is made and read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, unique
from typing import TypeVar

from cardserver.clearing.pain002 import Said
from cardserver.clearing.payments import PaymentState
from cardserver.clearing.payments_store import (
    FIND_FUNDS,
    FIND_RELEASED,
    FIND_SIGNATURES,
    INSERT_RELEASES,
    LOCK_PAYMENTS,
    SET_STATE,
    Deposit,
    Payment,
    PaymentRun,
    payment_of_row,
)
from ledger.accounts import Account
from ledger.bulk_store import Query
from ledger.entries import Draft, EntryKind, Posting
from ledger.fund_acts import Act, Acted, ActKey, ActPosted, ActType, ActView, Refused
from ledger.scripts import Script

T = TypeVar("T")

_DEPOSIT = int(Account.FISCAL_DEPOSIT)
_UNDER_WAY = int(Account.PAYMENTS_UNDER_WAY)
_PAYABLE = int(Account.INSTITUTION_PAYABLE)


@unique
class Step(IntEnum):
    """What happens to a payment, as its act's key says. A number is never used again."""

    INSTRUCT = 1
    CONFIRM = 2
    RETURN = 3
    WITHDRAW = 4


@dataclass(frozen=True, slots=True)
class _Read:
    payment: Payment | None
    funds_fen: Mapping[int, int]


def noted(act: Act[T], note: Query) -> Act[T]:
    """Return an act that, where it is done, writes a row more: who did it."""

    def decide(view: ActView, found: T) -> Acted | Refused:
        done = act.decide(view, found)
        if isinstance(done, Refused):
            return done
        return replace(done, write=lambda posted: [*done.write(posted), note])

    return replace(act, decide=decide)


def instruct_act(payment: Payment, month: int) -> Act[None]:
    """Return the act that puts what is owed under way.

    Args:
        payment: With something owed.
        month: The run's, YYYYMM.
    """
    assert payment.owed_fen > 0

    def read() -> Script[None]:
        yield from ()

    def decide(_: ActView, __: None) -> Acted:
        return Acted((_draft(EntryKind.CLEARING, payment, _moved(payment.owed_fen, payment)),))

    content = f"{payment.payment_no}/{payment.owed_fen}".encode()
    return Act(_key(payment, month, Step.INSTRUCT), content, (), read, decide)


def report_act(payment: Payment, month: int, said: Said, reason: str) -> Act[_Read]:
    """Return the act that a bank's report on a payment asks for; refused where it contradicts.

    Args:
        payment: As stored; it is read again under its lock.
        month: The run's, YYYYMM.
        said: PAID or RETURNED.
        reason: Why it was returned.
    """
    assert said in {Said.PAID, Said.RETURNED}
    step = Step.CONFIRM if said is Said.PAID else Step.RETURN
    number = payment.payment_no

    def read() -> Script[_Read]:
        rows = yield LOCK_PAYMENTS([(number,)])
        funds = yield FIND_FUNDS([(number,)])
        found = payment_of_row(rows[0]) if rows else None
        return _Read(found, {insutype: fen for _, insutype, fen in sorted(funds)})

    def decide(_: ActView, found: _Read) -> Acted | Refused:
        return _confirm(found) if step is Step.CONFIRM else _return(found, reason)

    return Act(_key(payment, month, step), str(number).encode(), (), read, decide, subject=number)


@dataclass(frozen=True, slots=True)
class _ReadUnsigned:
    found: _Read
    signatures_count: int


def withdraw_act(payment: Payment, run: PaymentRun, wanted: int, reason: str) -> Act[_ReadUnsigned]:
    """Return the act that makes a payment of a run owed again; refused once the run is signed.

    Args:
        payment: As stored; it is read again under its lock, which whoever signs takes too.
        run: Whose payment it is.
        wanted: How many signatures make it signed.
        reason: Why.
    """
    number = payment.payment_no

    def read() -> Script[_ReadUnsigned]:
        rows = yield LOCK_PAYMENTS([(number,)])
        signed = yield FIND_SIGNATURES([(run.run_no,)])
        count = sum(bytes(row[2]) == run.sha256 for row in signed)
        return _ReadUnsigned(_Read(payment_of_row(rows[0]) if rows else None, {}), count)

    def decide(_: ActView, was_read: _ReadUnsigned) -> Acted | Refused:
        if was_read.signatures_count >= wanted:
            return Refused(b"it is signed: only the bank can return it")
        return _return(was_read.found, reason)

    key = _key(payment, run.execution_date // 100, Step.WITHDRAW)
    return Act(key, str(number).encode(), (), read, decide, subject=number)


def _confirm(found: _Read) -> Acted | Refused:
    payment = found.payment
    if payment is None or payment.state is not PaymentState.INSTRUCTED:
        return Refused(b"it was returned before it is said to be paid")
    postings = (
        Posting(_UNDER_WAY, 0, payment.amount_fen),
        *(Posting(_DEPOSIT, insutype, -fen) for insutype, fen in found.funds_fen.items()),
    )
    return _decided(payment, EntryKind.PAYMENT, postings, PaymentState.CONFIRMED, "")


def _return(found: _Read, reason: str) -> Acted | Refused:
    payment = found.payment
    if payment is None or payment.state is PaymentState.RETURNED:
        return Refused(b"it was returned before")
    owed = Posting(_PAYABLE, payment.institution_no, -payment.amount_fen)
    if payment.state is PaymentState.INSTRUCTED:
        postings: tuple[Posting, ...] = (Posting(_UNDER_WAY, 0, payment.amount_fen), owed)
    else:
        back = [Posting(_DEPOSIT, insutype, fen) for insutype, fen in found.funds_fen.items()]
        postings = (*back, owed)
    return _decided(payment, EntryKind.PAYMENT_RETURNED, postings, PaymentState.RETURNED, reason)


def _decided(
    payment: Payment,
    kind: EntryKind,
    postings: tuple[Posting, ...],
    state: PaymentState,
    reason: str,
) -> Acted:
    def write(posted: ActPosted) -> Sequence[Query]:
        row = (
            int(state), reason[:200], posted.when.recorded_time_ms, posted.numbers[0],
            payment.payment_no,
        )  # fmt: skip
        return [SET_STATE([row])]

    return Acted((_draft(kind, payment, postings),), write)


def _moved(fen: int, payment: Payment) -> tuple[Posting, ...]:
    return (Posting(_PAYABLE, payment.institution_no, fen), Posting(_UNDER_WAY, 0, -fen))


def _draft(kind: EntryKind, payment: Payment, postings: tuple[Posting, ...]) -> Draft:
    return Draft(kind=kind, postings=postings, institution_no=payment.institution_no)


def _key(payment: Payment, month: int, step: Step) -> ActKey:
    return ActKey(ActType.PAYMENT, month, (payment.payment_no, int(step)))


# --- deposits -----------------------------------------------------------------------------------


def release_act(institution_no: int, deposits: Sequence[Deposit], month: int) -> Act[bool]:
    """Return the act that makes deposits payable again; the next payment run pays them.

    Args:
        institution_no: Whose.
        deposits: At least one, each whole.
        month: The running one, YYYYMM.
    """
    assert deposits
    numbers = sorted(one.clearing_no for one in deposits)
    amount_fen = sum(one.withheld_fen for one in deposits)

    def read() -> Script[bool]:
        return bool((yield FIND_RELEASED([(number,) for number in numbers])))

    def decide(_: ActView, is_released: bool) -> Acted | Refused:  # noqa: FBT001 - what was read
        if is_released:
            return Refused(b"one of the deposits was released before")
        draft = Draft(
            kind=EntryKind.DEPOSIT_RELEASED,
            postings=(
                Posting(int(Account.INSTITUTION_DEPOSIT), institution_no, amount_fen),
                Posting(_PAYABLE, institution_no, -amount_fen),
            ),
            institution_no=institution_no,
        )

        def write(posted: ActPosted) -> Sequence[Query]:
            return [
                INSERT_RELEASES(
                    [
                        (one.clearing_no, posted.numbers[0], institution_no, one.withheld_fen)
                        for one in deposits
                    ]
                )
            ]

        return Acted((draft,), write)

    # The first clearing's number names the release: no deposit is released twice.
    key = ActKey(ActType.DEPOSIT, month, (numbers[0],))
    content = "/".join(map(str, numbers)).encode()
    return Act(key, content, (), read, decide, subject=("deposit", institution_no))
