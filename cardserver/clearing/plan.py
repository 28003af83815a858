"""Which institutions are cleared for a month, and what each clearing comes to: pure.

Not here: the sums (`calculation.py`), what is read for it (`month_store.py`), the posting
(`run.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, unique
from typing import Self

from cardserver.clearing.calculation import (
    Before,
    Cap,
    CapPer,
    Cleared,
    MonthTotals,
    cleared,
    divided,
)
from cardserver.clearing.terms import Terms
from cardserver.clearing.totals_store import Place, Recomputed


@unique
class Left(IntEnum):
    """Why something was left out of a run. A number is never changed or used again."""

    text_zh: str
    text_en: str

    def __new__(cls, number: int, text_zh: str, text_en: str) -> Self:
        """Make a member that carries its words."""
        member = int.__new__(cls, number)
        member._value_ = number
        member.text_zh = text_zh
        member.text_en = text_en
        return member

    HELD = 1, "暂停清算", "held"
    NO_APPLICATION = 2, "机构未申请", "the institution has not applied"
    EARLIER_MONTH = 3, "以前月份未清算", "an earlier month is not cleared yet"


@dataclass(frozen=True, slots=True)
class Clearing:
    """One clearing: of an institution, month and clearing type.

    Attributes:
        totals: The month's.
        before: What earlier months left.
        result: What it comes to.
        deposit_e4: The deposit's share.
        cap: The cap that held.
        paid_of: By insurance, what is paid; adds up to `result.paid_fen`.
        withheld_of: By insurance, the deposit; adds up to `result.withheld_fen`.
    """

    institution_no: int
    month: int
    clearing_type: int
    totals: MonthTotals
    before: Before
    result: Cleared
    deposit_e4: int
    cap: Cap | None = None
    paid_of: Mapping[int, int] = field(default_factory=dict)
    withheld_of: Mapping[int, int] = field(default_factory=dict)

    @property
    def place(self) -> Place:
        """The institution and clearing type."""
        return (self.institution_no, self.clearing_type)

    @property
    def deduction_fen(self) -> int:
        """What review and the cap deduct."""
        return self.totals.review_fen + self.result.cap_fen


@dataclass(frozen=True, slots=True)
class StoredClearing:
    """A clearing that was posted, under its number; its totals and result are as stored."""

    clearing_no: int
    clearing: Clearing


@dataclass(slots=True)
class MonthBooks:
    """All that a plan looks at, of one moment.

    Attributes:
        month: YYYYMM.
        recomputed: The month's sums.
        brought_fen: By place, what its last clearing carried, if that is not 0.
        year_capped_fen: By place, what counted towards yearly caps before this month.
        year_cut_fen: By place, what caps cut of it.
        held: Places that are held; clearing type 0 is all of an institution's.
        applied: Places of which an application stands.
        left_earlier: Places of which an earlier month was left out and is not cleared.
        done: What is cleared already.
        codes: Institutions' codes by number.
        names: Their names.
    """

    month: int
    recomputed: Recomputed
    brought_fen: dict[Place, int] = field(default_factory=dict)
    year_capped_fen: dict[Place, int] = field(default_factory=dict)
    year_cut_fen: dict[Place, int] = field(default_factory=dict)
    held: set[Place] = field(default_factory=set)
    applied: set[Place] = field(default_factory=set)
    left_earlier: set[Place] = field(default_factory=set)
    done: dict[Place, StoredClearing] = field(default_factory=dict)
    codes: dict[int, str] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)

    @property
    def places(self) -> list[Place]:
        """All that there is something to clear for, in order."""
        return sorted({*self.recomputed.totals, *self.brought_fen, *self.done})


@dataclass(frozen=True, slots=True)
class Plan:
    """A month's clearings.

    Attributes:
        month: YYYYMM.
        done: Cleared already, as stored.
        to_clear: To be cleared now.
        left: What is left out, and why, with what it would come to.
    """

    month: int
    done: Sequence[StoredClearing]
    to_clear: Sequence[Clearing]
    left: Sequence[tuple[Clearing, Left]]


def plan(books: MonthBooks, terms: Terms) -> Plan:
    """Decide who is cleared, and compute it."""
    to_clear: list[Clearing] = []
    left: list[tuple[Clearing, Left]] = []
    for place in books.places:
        if place in books.done:
            continue
        clearing = _clearing(books, terms, place)
        reason = _reason_to_leave(books, terms, place)
        if reason is None:
            to_clear.append(clearing)
        else:
            left.append((clearing, reason))
    done = [books.done[place] for place in books.places if place in books.done]
    return Plan(books.month, done, to_clear, left)


def _reason_to_leave(books: MonthBooks, terms: Terms, place: Place) -> Left | None:
    if place in books.held or (place[0], 0) in books.held:
        return Left.HELD
    if place in books.left_earlier:
        return Left.EARLIER_MONTH
    is_new = place in books.recomputed.totals  # what is only brought needs no application
    if terms.document.applications_required and is_new and place not in books.applied:
        return Left.NO_APPLICATION
    return None


def _clearing(books: MonthBooks, terms: Terms, place: Place) -> Clearing:
    institution_no, clearing_type = place
    code = books.codes.get(institution_no, "")
    totals = books.recomputed.totals.get(place, MonthTotals())
    cap = terms.cap(code, clearing_type)
    is_yearly = cap is not None and cap.per is CapPer.YEAR
    before = Before(
        brought_fen=books.brought_fen.get(place, 0),
        year_capped_fen=books.year_capped_fen.get(place, 0) if is_yearly else 0,
        year_cut_fen=books.year_cut_fen.get(place, 0) if is_yearly else 0,
    )
    deposit_e4 = terms.deposit_e4(code)
    result = cleared(totals, before, deposit_e4=deposit_e4, cap=cap)
    otherwise = terms.personal_accounts_insutype
    weights = _weights(books.recomputed.funds_fen.get(place, {}), otherwise)
    due_fen = result.paid_fen + result.withheld_fen
    due_of = divided(due_fen, weights, otherwise=otherwise)
    # The deposit is divided as what is due, and what is paid is the rest of each part.
    withheld_of = divided(result.withheld_fen, due_of, otherwise=otherwise)
    paid_of = {
        insutype: fen - withheld_of.get(insutype, 0)
        for insutype, fen in due_of.items()
        if fen != withheld_of.get(insutype, 0)
    }
    return Clearing(
        institution_no=institution_no,
        month=books.month,
        clearing_type=clearing_type,
        totals=totals,
        before=before,
        result=result,
        deposit_e4=deposit_e4,
        cap=cap,
        paid_of=paid_of,
        withheld_of=withheld_of,
    )


def _weights(funds_fen: Mapping[int, int], personal: int) -> dict[int, int]:
    """Return what each insurance bore, personal accounts being of theirs."""
    weights: dict[int, int] = {}
    for fund, fen in funds_fen.items():
        insutype = fund or personal
        weights[insutype] = weights.get(insutype, 0) + fen
    return weights
