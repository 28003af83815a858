"""What visits are made of: the visit's own row, its lines, and what was recorded of it.

Dates are integers YYYYMMDD, 0 for none. Not here: what the records come to (`course.py`), how they
are stored (`visit_record.py`, `visits_store.py`).
"""

from typing import NamedTuple, TypeAlias

from msgspec import Struct

from cardserver.benefits.values import Accumulated, Moved

LINES_OF_VISIT_MAX = 10_000
"""A stay of a month in intensive care has about three thousand; each message reads all of them."""


class Visit(NamedTuple):
    """A visit's row; `state`, `ends` and `record_count` follow what was recorded.

    Attributes:
        visit_no: The number of the entry that REGISTER or ADMIT posted: mdtrt_id.
        kind: A `VisitKind`.
        chain_no: The first of the stays that continue each other by transfer; else its own.
        transferred_from: The stay that this one continues; 0 none.
        number: The institution's own.
        state: A `VisitState`.
        ends: Day of discharge; 0 none.
        record_count: How many records there are.
    """

    visit_no: int
    person_no: int
    institution_no: int
    kind: int
    insutype: str
    med_type: str
    begins: int
    disease: str
    is_emergency: int
    chain_no: int
    transferred_from: int
    number: str
    department: str
    doctor: str
    diagnosis: str
    state: int
    ends: int
    record_count: int


class Charge(Struct, frozen=True, array_like=True, gc=False):
    """A line as it was sent, and as it is stored.

    Attributes:
        number: Unique in the visit.
        day: Day of the care.
        quantity_e4: Negative for a refund.
        gross_fen: Negative for a refund.
        refunds: The number of the line whose quantity is taken back; else empty.
    """

    number: str
    day: int
    item: str
    name: str
    price_microyuan: int
    quantity_e4: int
    gross_fen: int
    refunds: str = ""


class Charged(Struct, frozen=True, array_like=True, tag_field="kind", tag=1):
    """LINES was taken."""

    charges: tuple[Charge, ...]


class Uncharged(Struct, frozen=True, array_like=True, tag_field="kind", tag=2):
    """LINES_CANCEL took lines back, these and their refunds."""

    numbers: tuple[str, ...]


class Settled(Struct, frozen=True, array_like=True, tag_field="kind", tag=3):
    """SETTLE took the unsettled lines up to a day.

    Attributes:
        claim_no: The settlement.
        until: The last day whose lines it took.
        total_fen: Its bill's total.
        admission: The stay's number in the year of its first settlement; 0 for an outpatient visit.
        year: Of the accumulators that it moved.
        amounts: What it added to the accumulators: scheme, then an `Accumulated`'s amounts.
    """

    claim_no: int
    until: int
    total_fen: int
    admission: int
    year: int
    amounts: tuple[tuple[str, int, int, int, int, int], ...]

    @property
    def moved(self) -> tuple[Moved, ...]:
        """What it added to the accumulators, the care's own row first."""
        return tuple(Moved(scheme, Accumulated(*amounts)) for scheme, *amounts in self.amounts)


class Unsettled(Struct, frozen=True, array_like=True, tag_field="kind", tag=4):
    """A settlement was undone: what it had taken is to be settled again."""

    claim_no: int


class Discharged(Struct, frozen=True, array_like=True, tag_field="kind", tag=5):
    """The stay ended."""

    day: int
    outcome: str
    diagnosis: str


class DischargeCancelled(Struct, frozen=True, array_like=True, tag_field="kind", tag=6):
    """The stay goes on."""


class Cancelled(Struct, frozen=True, array_like=True, tag_field="kind", tag=7):
    """The visit was never meant."""


class Refunded(Struct, frozen=True, array_like=True, tag_field="kind", tag=8):
    """REFUND gave lines of a settlement back, and what remained was settled anew.

    Attributes:
        claim_no: The settlement refunded.
        charges: What was given back of its lines, as refunds of theirs.
        settled: What remained; None where nothing did. It takes the lines of the first, no others.
    """

    claim_no: int
    charges: tuple[Charge, ...]
    settled: Settled | None


VisitRecord: TypeAlias = (
    Charged
    | Uncharged
    | Settled
    | Unsettled
    | Discharged
    | DischargeCancelled
    | Cancelled
    | Refunded
)
