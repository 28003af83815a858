"""What a month comes to for one institution and clearing type: pure, to the fen.

    settled + undone + other + brought - carried  =  applied  =  paid + withheld + deduction

with the deduction review's and the cap's. What review and the cap leave is paid, less the deposit;
where they leave less than nothing, nothing is paid, and the rest is carried to the next month.
Not here: where the sums come from (`totals_store.py`), who is cleared at all (`plan.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, unique
from fractions import Fraction

from ledger.accounts import Account
from ledger.entries import Draft, EntryKind, Posting

WHOLE_E4 = 10_000
"""A share of one, in ten-thousandths."""


@unique
class CapPer(IntEnum):
    """Over which time a cap is counted."""

    MONTH = 1
    YEAR = 2


@dataclass(frozen=True, slots=True)
class Cap:
    """A cap on total (总额控制).

    Attributes:
        per: Over which time.
        amount_fen: Up to here all is paid.
        above_e4: The share of what lies above that the fund still pays.
    """

    per: CapPer
    amount_fen: int
    above_e4: int


@dataclass(frozen=True, slots=True)
class MonthTotals:
    """What the ledger says of a month's payables of one institution and clearing type.

    Attributes:
        settled_count: Settlements; a settlement that cash paid alone has no payable, and is none.
        settled_fen: What they come to.
        undone_count: Cancellations, reversals and refunds posted in the month.
        undone_fen: What they take back; 0 or less.
        earlier_fen: Of it, what had been settled in an earlier month.
        review_fen: What review deducted, less what it gave back.
        other_fen: What was taken over at the opening.
    """

    settled_count: int = 0
    settled_fen: int = 0
    undone_count: int = 0
    undone_fen: int = 0
    earlier_fen: int = 0
    review_fen: int = 0
    other_fen: int = 0

    @property
    def capped_fen(self) -> int:
        """What counts towards a cap: care, less what review deducted of it."""
        return self.settled_fen + self.undone_fen - self.review_fen


@dataclass(frozen=True, slots=True)
class Before:
    """What earlier months left.

    Attributes:
        brought_fen: Carried from the month before; 0 or less.
        year_capped_fen: What counted towards a yearly cap in the year's earlier months.
        year_cut_fen: What the cap cut of it.
    """

    brought_fen: int = 0
    year_capped_fen: int = 0
    year_cut_fen: int = 0


@dataclass(frozen=True, slots=True)
class Cleared:
    """What a month comes to.

    Attributes:
        applied_fen: What is dealt with: paid, withheld or deducted.
        cap_fen: Cut by the cap; below 0 where a yearly cap gives back what it had cut.
        withheld_fen: Kept as deposit.
        paid_fen: To be paid.
        carried_fen: To the next month; 0 or less.
    """

    applied_fen: int
    cap_fen: int
    withheld_fen: int
    paid_fen: int
    carried_fen: int


def cleared(totals: MonthTotals, before: Before, *, deposit_e4: int, cap: Cap | None) -> Cleared:
    """Compute a month.

    Args:
        totals: The month's.
        before: Of the months before.
        deposit_e4: The deposit's share of what would be paid.
        cap: On total, if there is one.
    """
    assert before.brought_fen <= 0
    assert totals.undone_fen <= 0
    assert 0 <= deposit_e4 <= WHOLE_E4
    cap_fen = 0 if cap is None else _cut(totals, before, cap)
    incoming_fen = totals.settled_fen + totals.undone_fen + totals.other_fen + before.brought_fen
    net_fen = incoming_fen - totals.review_fen - cap_fen
    carried_fen = min(net_fen, 0)
    due_fen = net_fen - carried_fen
    withheld_fen = share(due_fen, deposit_e4)
    result = Cleared(
        applied_fen=incoming_fen - carried_fen,
        cap_fen=cap_fen,
        withheld_fen=withheld_fen,
        paid_fen=due_fen - withheld_fen,
        carried_fen=carried_fen,
    )
    deduction_fen = totals.review_fen + cap_fen
    assert result.applied_fen == result.paid_fen + result.withheld_fen + deduction_fen
    return result


def _cut(totals: MonthTotals, before: Before, cap: Cap) -> int:
    if cap.per is CapPer.MONTH:
        return _above(totals.capped_fen, cap)
    return _above(before.year_capped_fen + totals.capped_fen, cap) - before.year_cut_fen


def _above(capped_fen: int, cap: Cap) -> int:
    above_fen = max(capped_fen - cap.amount_fen, 0)
    return above_fen - share(above_fen, cap.above_e4)


def share(amount_fen: int, share_e4: int) -> int:
    """Return a share of an amount that is not negative, rounded half up to the fen."""
    assert amount_fen >= 0
    return (amount_fen * share_e4 * 2 + WHOLE_E4) // (2 * WHOLE_E4)


def divided(amount_fen: int, weights: Mapping[int, int], *, otherwise: int) -> dict[int, int]:
    """Divide an amount in proportion, to the fen: the largest remainders take what is left.

    Args:
        amount_fen: 0 or more.
        weights: What each counts; those of 0 or less get nothing.
        otherwise: Who takes all where nobody counts.
    """
    assert amount_fen >= 0
    counting = {key: weight for key, weight in sorted(weights.items()) if weight > 0}
    if not amount_fen:
        return {}
    if not counting:
        return {otherwise: amount_fen}
    total = sum(counting.values())
    exact = {key: Fraction(amount_fen * weight, total) for key, weight in counting.items()}
    parts = {key: int(value) for key, value in exact.items()}
    left = amount_fen - sum(parts.values())
    by_remainder = sorted(exact, key=lambda key: (parts[key] - exact[key], key))
    for key in by_remainder[:left]:
        parts[key] += 1
    return {key: part for key, part in parts.items() if part}


def clearing_entry(result: Cleared, *, institution_no: int, clearing_type: int) -> Draft:
    """Return the entry: what was payable is under way, held as deposit, or deducted by the cap.

    Without postings where nothing moves; it still gives the clearing its number.
    """
    moved_fen = result.paid_fen + result.withheld_fen + result.cap_fen
    amounts = (
        (Account.INSTITUTION_PAYABLE, institution_no, moved_fen),
        (Account.PAYMENTS_UNDER_WAY, 0, -result.paid_fen),
        (Account.INSTITUTION_DEPOSIT, institution_no, -result.withheld_fen),
        (Account.DEDUCTIONS, institution_no, -result.cap_fen),
    )
    return Draft(
        kind=EntryKind.CLEARING,
        postings=tuple(Posting(int(account), owner, fen) for account, owner, fen in amounts if fen),
        institution_no=institution_no,
        clearing_type=clearing_type,
    )
