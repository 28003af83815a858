"""Payment runs from beginning to end: made, signed, handed out, confirmed or returned.

Plain functions on a database, for commands and the console alike. A run that was broken off is gone
on with by the next `make_run`, and comes to the same file. Not here: what each step posts
(`payment_acts.py`), who may do it (`commands/`).
"""

import datetime as dt
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cardserver.clearing.errors import ClearingError
from cardserver.clearing.pain001 import Initiation, Instruction, initiation_file
from cardserver.clearing.pain002 import BankReport, Said, read_report
from cardserver.clearing.payment_acts import (
    instruct_act,
    noted,
    release_act,
    report_act,
    withdraw_act,
)
from cardserver.clearing.payments import (
    Gathered,
    PaymentState,
    end_to_end_id,
    gather,
    payment_number,
)
from cardserver.clearing.payments_store import (
    NewRun,
    Payable,
    Payment,
    PaymentRun,
    Signature,
    add_signature,
    begin_run,
    keep_file,
    months_of_payments,
    read_deposits,
    read_file,
    read_payable,
    read_payments,
    read_runs,
    read_signatures,
    terms_of_run,
)
from cardserver.clearing.terms import Terms, terms_of_month
from cardserver.registry.history_store import audit
from cardserver.registry.values import Actor
from ledger.calendar import date_of
from ledger.database_store import Database
from ledger.fund_acts import FundActs

_HASH_TYPED_MIN = 16
"""Digits of the file's hash that a signatory copies from the paper."""


class PaymentError(ClearingError):
    """What is asked of payments can't be done; the sentence says why."""


@dataclass(frozen=True, slots=True)
class RunWish:
    """What a payment run shall be.

    Attributes:
        execution_date: When the bank shall pay, YYYYMMDD.
        today: The fund's day, YYYYMMDD.
        again_only: Pay only what the bank returned.
        region: The fund's, six digits.
        timezone: The fund's.
    """

    execution_date: int
    today: int
    region: str
    timezone: dt.tzinfo
    again_only: bool = False


@dataclass(frozen=True, slots=True)
class MadeRun:
    """A run with its file.

    Attributes:
        run: As stored.
        content: pain.001.
        gathered: What was found to be paid; None where an earlier run was gone on with.
    """

    run: PaymentRun
    content: bytes
    gathered: Gathered | None


def gathered_of(payable: Payable, terms: Terms, *, again_only: bool) -> Gathered:
    """Gather what is to be paid; nothing for institutions that are held."""
    accounts = {
        number: holder
        for number, code in payable.codes.items()
        if (holder := terms.account(code)) is not None
    }
    due = [one for one in payable.due if one.institution_no not in payable.held]
    returned = [one for one in payable.returned if one.institution_no not in payable.held]
    return gather([] if again_only else due, returned, accounts)


async def make_run(database: Database, acts: FundActs, wish: RunWish, actor: Actor) -> MadeRun:
    """Make a payment run of all that is to be paid, or go on with one that was broken off.

    Raises:
        PaymentError: There is nothing to pay, or the day is over.
        TermsError: No terms hold.
        ConstraintError: Another run was begun at the same moment; look at it.
    """
    runs = await database.report(read_runs)
    gathered: Gathered | None = None
    if runs and not runs[-1].sha256:
        run = runs[-1]
    else:
        run_no = runs[-1].run_no + 1 if runs else 1
        gathered = await _begin(database, run_no, wish, actor)
        run = (await database.report(read_runs))[-1]
    payments = await database.report(lambda one: read_payments(one, run_no=run.run_no))
    for payment in payments:
        if payment.owed_fen:
            await acts.post(instruct_act(payment, run.execution_date // 100))
    months = await database.report(lambda one: months_of_payments(one, run.run_no))
    terms = await database.report(lambda one: terms_of_run(one, run))
    content = _file(run, terms, [(one, months.get(one.payment_no, ())) for one in payments], wish)
    await keep_file(database, run.run_no, content, hashlib.sha256(content).digest())
    return MadeRun(await run_of_number(database, run.run_no), content, gathered)


async def _begin(database: Database, run_no: int, wish: RunWish, actor: Actor) -> Gathered:
    if wish.execution_date < wish.today:
        raise PaymentError(f"{wish.execution_date} is over: nobody pays on a day that has gone by")
    payable = await database.report(read_payable)
    terms = terms_of_month(payable.terms, wish.today // 100)
    gathered = gathered_of(payable, terms, again_only=wish.again_only)
    if not gathered.transfers:
        raise PaymentError("there is nothing to pay")
    new = NewRun(run_no, terms, wish.execution_date, gathered.transfers)
    await begin_run(database, new, actor)
    return gathered


def _file(
    run: PaymentRun, terms: Terms, payments: Sequence[tuple[Payment, Sequence[int]]], wish: RunWish
) -> bytes:
    initiation = Initiation(
        run_no=run.run_no,
        region=wish.region,
        created=dt.datetime.fromtimestamp(run.begun_time_ms // 1000, wish.timezone),
        execution_date=date_of(run.execution_date),
        payer=terms.document.payer,
        instructions=[
            Instruction(one.payment_no, one.amount_fen, one.holder, _remittance(one, months))
            for one, months in payments
        ],
    )
    return initiation_file(initiation)


def _remittance(payment: Payment, months: Sequence[int]) -> str:
    if payment.again_of:
        return f"医保清算款重付 medical insurance, again for {end_to_end_id(payment.again_of)}"
    words = [f"医保清算款 {' '.join(map(str, months))}"] if months else []
    if payment.owed_fen:
        words.append("退还质量保证金 deposit released")
    return "; ".join(words)


async def run_of_number(database: Database, run_no: int) -> PaymentRun:
    """Find a run.

    Raises:
        PaymentError: There is none.
    """
    for run in await database.report(read_runs):
        if run.run_no == run_no:
            return run
    raise PaymentError(f"there is no payment run {run_no}")


# --- signatures ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Signing:
    """Whether a run is signed.

    Attributes:
        signatures: Those there are.
        wanted: How many it takes.
    """

    signatures: tuple[Signature, ...]
    wanted: int

    @property
    def is_signed(self) -> bool:
        """Whether as many have signed as must."""
        return len(self.signatures) >= self.wanted


async def signing_of(database: Database, run: PaymentRun) -> Signing:
    """Read who signed for a run, and how many must."""
    terms = await database.report(lambda connection: terms_of_run(connection, run))
    found = await database.report(lambda connection: read_signatures(connection, run.run_no))
    signatures = tuple(one for one in found if one.sha256 == run.sha256)
    wanted = 2 if run.total_fen > terms.document.two_signatures_above else 1
    return Signing(signatures, wanted)


async def sign(database: Database, run_no: int, typed: str, actor: Actor) -> Signing:
    """Sign for a run's file.

    Args:
        database: Started.
        run_no: The run's.
        typed: The file's hash as the summary prints it, or its beginning.
        actor: The signatory, whose password was proven.

    Raises:
        PaymentError: The run has no file, or another hash.
    """
    run = await run_of_number(database, run_no)
    if not run.sha256:
        raise PaymentError(f"the file of payment run {run_no} is not made yet")
    digits = "".join(typed.split()).lower()
    if len(digits) < _HASH_TYPED_MIN or not run.sha256.hex().startswith(digits):
        raise PaymentError(
            f"this is not the hash of run {run_no}'s file; copy {_HASH_TYPED_MIN} digits or more"
            " of it from the summary"
        )
    signature = Signature(run_no, actor.operator_no, run.sha256, actor.now_ms)
    first = payment_number(run_no=run_no, index=1)
    if not await add_signature(database, signature, actor, first_payment_no=first):
        raise PaymentError(
            f"payment run {run_no} was withdrawn or reported on: nobody signs it now"
        )
    return await signing_of(database, run)


async def withdraw_run(
    database: Database, acts: FundActs, run_no: int, reason: str, actor: Actor
) -> int:
    """Take a run back that is not signed: what it would have paid is owed again.

    Broken off, it is gone on with by the next call.

    Returns:
        How many payments were taken back now.

    Raises:
        PaymentError: No reason is given, or the run is signed or not made yet.
    """
    reason = reason.strip()
    if not reason:
        raise PaymentError("say why the run is withdrawn")
    run = await run_of_number(database, run_no)
    signing = await signing_of(database, run)
    if not run.sha256 or signing.is_signed:
        is_not = "is signed: only the bank can return it" if run.sha256 else "is not made yet"
        raise PaymentError(f"payment run {run_no} {is_not}")
    note = audit(actor, "payment run withdrawn", str(run_no), reason)
    withdrawn = 0
    # The first one decides: from then on nobody can sign.
    for index, payment in enumerate(
        await database.report(lambda one: read_payments(one, run_no=run_no))
    ):
        if payment.state is PaymentState.RETURNED:
            continue
        act = withdraw_act(payment, run, signing.wanted, f"撤回 withdrawn: {reason}")
        outcome = await acts.post(act if index else noted(act, note))
        if outcome.is_refused:
            raise PaymentError(f"{end_to_end_id(payment.payment_no)}: {outcome.body.decode()}")
        withdrawn += not outcome.is_duplicate
    return withdrawn


async def signed_file(database: Database, run_no: int) -> bytes:
    """Return a run's file for the bank, once it is signed.

    Raises:
        PaymentError: It is not.
    """
    run = await run_of_number(database, run_no)
    await _be_signed(database, run)
    content = await database.report(lambda connection: read_file(connection, run_no))
    if hashlib.sha256(content).digest() != run.sha256:
        raise PaymentError(f"the file of payment run {run_no} is not the one that was signed")
    return content


async def _be_signed(database: Database, run: PaymentRun) -> None:
    signing = await signing_of(database, run)
    if not run.sha256 or not signing.is_signed:
        raise PaymentError(
            f"payment run {run.run_no} is signed by {len(signing.signatures)} of {signing.wanted}"
        )


# --- what the bank says -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Taken:
    """What a report came to.

    Attributes:
        report: As read.
        confirmed: How many payments were confirmed now.
        returned: How many came back now.
        repeated: How many of what it says was known.
        under_way: How many it says are on their way.
        refused: What it says that can't be: a sentence each.
    """

    report: BankReport
    confirmed: int
    returned: int
    repeated: int
    under_way: int
    refused: tuple[str, ...]


async def take_report(
    database: Database,
    acts: FundActs,
    content: bytes,
    region: str,
    actor: Actor,
    on_progress: Callable[[int, int], None],
) -> Taken:
    """Take a bank's report in: confirm and return what it names.

    Raises:
        ReportError: The file is no report.
        PaymentError: It is about a run that isn't there or isn't signed.
    """
    report = read_report(content, region)
    run = await run_of_number(database, report.run_no)
    await _be_signed(database, run)
    payments = await database.report(lambda one: read_payments(one, run_no=run.run_no))
    named, refused = _named(report, payments)
    confirmed = returned = repeated = under_way = 0
    for index, payment in enumerate(payments):
        on_progress(index, len(payments))
        is_named = payment.payment_no in named
        said, reason = named.get(payment.payment_no, (report.of_all, report.reason_of_all))
        if said is None or said is Said.UNDER_WAY:
            under_way += said is not None
            continue
        doubt = _doubt(payment, said, is_named=is_named)
        if doubt:
            refused.append(f"{end_to_end_id(payment.payment_no)}: {doubt}")
            continue
        is_known = payment.state is (
            PaymentState.CONFIRMED if said is Said.PAID else PaymentState.RETURNED
        )
        if is_known:
            repeated += 1
            continue
        reference = end_to_end_id(payment.payment_no)
        action = "payment confirmed" if said is Said.PAID else "payment returned"
        note = audit(actor, action, reference, f"{report.message} {reason}".strip())
        act = report_act(payment, run.execution_date // 100, said, reason)
        outcome = await acts.post(noted(act, note))
        if outcome.is_refused:
            refused.append(f"{reference}: {outcome.body.decode()}")
        elif outcome.is_duplicate:
            # Another taker was faster, or it was confirmed and has been returned since.
            repeated += 1
        elif said is Said.PAID:
            confirmed += 1
        else:
            returned += 1
    on_progress(len(payments), len(payments))
    return Taken(report, confirmed, returned, repeated, under_way, tuple(refused))


def _doubt(payment: Payment, said: Said, *, is_named: bool) -> str:
    """Say why a refusal is not believed: to owe again what was paid would be to pay it twice."""
    if said is Said.DUPLICATE:
        return "the bank had it before, and does not say what became of that: ask it"
    if said is Said.RETURNED and payment.state is PaymentState.CONFIRMED and not is_named:
        return "it was confirmed, and the whole file is refused now without naming it: ask the bank"
    return ""


def _named(
    report: BankReport, payments: Sequence[Payment]
) -> tuple[dict[int, tuple[Said, str]], list[str]]:
    """Return what is said of which payment, and what can't be."""
    known = {one.payment_no: one for one in payments}
    named: dict[int, tuple[Said, str]] = {}
    refused: list[str] = []
    for one in report.reported:
        payment = known.get(one.payment_no or 0)
        if payment is None:
            refused.append(f"{one.reference!r}: no payment of this run")
        elif one.amount_fen is not None and one.amount_fen != payment.amount_fen:
            refused.append(
                f"{one.reference}: {one.amount_fen} fen, and it was {payment.amount_fen}"
            )
            named[payment.payment_no] = (Said.UNDER_WAY, "")
        else:
            named[payment.payment_no] = (one.said, one.reason)
    return named, refused


# --- deposits -----------------------------------------------------------------------------------


async def release_deposits(
    database: Database,
    acts: FundActs,
    institution_no: int,
    actor: Actor,
    *,
    until: int,
    today: int,
) -> int:
    """Make an institution's deposits payable; return what they come to, in fen.

    Raises:
        PaymentError: There are none, or someone released one at the same moment.
    """
    deposits = await database.report(
        lambda connection: read_deposits(connection, institution_no, until=until)
    )
    if not deposits:
        raise PaymentError("there is no deposit to release")
    released_fen = sum(one.withheld_fen for one in deposits)
    detail = f"institution {institution_no} until {until}: {released_fen} fen"
    note = audit(actor, "deposit released", str(institution_no), detail)
    act = release_act(institution_no, deposits, today // 100)
    outcome = await acts.post(noted(act, note))
    if outcome.is_refused:
        raise PaymentError(outcome.body.decode())
    return released_fen
