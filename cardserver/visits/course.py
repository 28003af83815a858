"""The course of a visit: what its records come to, one after the other. Pure.

Nothing of a visit is ever changed or deleted: lines taken back, refunds, settlements and their
undoing are further records, and the state is what they come to in their order. So a settlement is
undone in any order, and what it had taken is as it was before. Not here: whether something may be
recorded (`charging.py`, `opening.py`, `ending.py`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import assert_never

from cardserver.benefits.netting import gross_of
from cardserver.visits.values import (
    Cancelled,
    Charge,
    Charged,
    DischargeCancelled,
    Discharged,
    Settled,
    Uncharged,
    Unsettled,
    VisitRecord,
)
from protocol.terminal.messages import VisitLineState, VisitState


@dataclass(slots=True)
class ChargeAccount:
    """One line and what became of it.

    Attributes:
        refunded_e4: What refunds took back of its quantity.
        refunds: The numbers of those refunds, taken back ones too.
        settled_by: The settlement that took it; 0 none. Of a refund, look at its original.
        is_cancelled: Whether it was taken back.
    """

    charge: Charge
    refunded_e4: int = 0
    refunds: list[str] = field(default_factory=list)
    settled_by: int = 0
    is_cancelled: bool = False

    @property
    def left_e4(self) -> int:
        """The quantity that is left; of a refund or a line taken back, none."""
        if self.is_cancelled or self.charge.refunds:
            return 0
        return self.charge.quantity_e4 - self.refunded_e4

    @property
    def left_fen(self) -> int:
        """What that is worth: a last refund leaves nothing, however those before were rounded."""
        return gross_of(self.charge.price_microyuan, self.left_e4)


@dataclass(frozen=True, slots=True)
class SettlementAccount:
    """A settlement that stands.

    Attributes:
        is_after_discharge: Whether the stay had ended when it was made.
    """

    settled: Settled
    is_after_discharge: bool


@dataclass(slots=True)
class Course:
    """Where a visit stands after the records taken so far.

    Attributes:
        charges: By number, in the order of arrival.
        settlements: Those that stand, by number, in the order in which they were made.
        discharged: How the stay ended; None while it goes on.
        is_cancelled: Whether the visit was cancelled.
        record_count: How many records were taken.
    """

    charges: dict[str, ChargeAccount] = field(default_factory=dict)
    settlements: dict[int, SettlementAccount] = field(default_factory=dict)
    discharged: Discharged | None = None
    is_cancelled: bool = False
    record_count: int = 0

    @property
    def state(self) -> VisitState:
        """Where the visit stands."""
        if self.is_cancelled:
            return VisitState.CANCELLED
        if self.discharged is None:
            return VisitState.OPEN
        if self.settlements and next(self.due(), None) is None:
            return VisitState.CLOSED
        return VisitState.DISCHARGED

    @property
    def settled_fen(self) -> int:
        """The sum of the settlements that stand."""
        return sum(one.settled.total_fen for one in self.settlements.values())

    def due(self, until: int | None = None) -> Iterator[ChargeAccount]:
        """Give the lines that a settlement would bill: unsettled ones of which something is left.

        Args:
            until: The last day whose lines count; None for all.
        """
        for account in self.charges.values():
            if (
                not account.settled_by
                and account.left_e4
                and (until is None or account.charge.day <= until)
            ):
                yield account

    def state_of(self, account: ChargeAccount) -> VisitLineState:
        """Tell where a line stands; a refund stands where its line does."""
        if account.is_cancelled:
            return VisitLineState.CANCELLED
        return VisitLineState.SETTLED if self.settlement_of(account) else VisitLineState.UNSETTLED

    def settlement_of(self, account: ChargeAccount) -> int:
        """Give the number of the settlement that took a line; 0 for none."""
        refunds = account.charge.refunds
        return self.charges[refunds].settled_by if refunds else account.settled_by

    def is_final(self, settlement: SettlementAccount) -> bool:
        """Tell whether a settlement was the last: made after discharge, and nothing is left."""
        *_, last = self.settlements.values()
        return (
            settlement is last and settlement.is_after_discharge and self.state is VisitState.CLOSED
        )

    def take(self, record: VisitRecord) -> None:
        """Let one more record count."""
        self.record_count += 1
        match record:
            case Charged(charges=charges):
                for charge in charges:
                    self._charge(charge)
            case Uncharged(numbers=numbers):
                self._uncharge(numbers)
            case Settled():
                self._settle(record)
            case Unsettled(claim_no=claim_no):
                self._unsettle(claim_no)
            case Discharged():
                self.discharged = record
            case DischargeCancelled():
                self.discharged = None
            case Cancelled():
                self._uncharge(())
                self.is_cancelled = True
            case _:
                assert_never(record)

    def _charge(self, charge: Charge) -> None:
        assert charge.number not in self.charges, "a number is never used twice in a visit"
        self.charges[charge.number] = ChargeAccount(charge)
        if charge.refunds:
            original = self.charges[charge.refunds]
            original.refunded_e4 -= charge.quantity_e4
            original.refunds.append(charge.number)

    def _uncharge(self, numbers: tuple[str, ...]) -> None:
        """Take lines back; without numbers all that are not settled."""
        if not numbers:
            numbers = tuple(
                number
                for number, account in self.charges.items()
                if self.state_of(account) is VisitLineState.UNSETTLED
            )
        for number in numbers:
            account = self.charges[number]
            if account.is_cancelled:  # as a refund of a line before
                continue
            account.is_cancelled = True
            if account.charge.refunds:
                original = self.charges[account.charge.refunds]
                original.refunded_e4 += account.charge.quantity_e4
            for refund in account.refunds:
                self.charges[refund].is_cancelled = True

    def _settle(self, settled: Settled) -> None:
        is_after = self.discharged is not None
        self.settlements[settled.claim_no] = SettlementAccount(settled, is_after)
        for account in self.charges.values():
            if (
                not account.settled_by
                and not account.is_cancelled
                and not account.charge.refunds
                and account.charge.day <= settled.until
            ):
                account.settled_by = settled.claim_no

    def _unsettle(self, claim_no: int) -> None:
        del self.settlements[claim_no]
        for account in self.charges.values():
            if account.settled_by == claim_no:
                account.settled_by = 0


def course_of(records: Iterable[VisitRecord]) -> Course:
    """Tell where a visit stands after these records, in their order."""
    course = Course()
    for record in records:
        course.take(record)
    return course
