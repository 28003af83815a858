"""What a replay looks at of a claim's detail, read in half the time that the whole would take.

The layout is `claim_detail.py`'s, which describes it and reads all of it.
"""

from msgspec import Raw, Struct, msgpack
from msgspec.structs import astuple

from cardserver.benefits.values import Accumulated, BillLine, Case, Moved, Purses, Stay
from cardserver.claims.uncovered_lines import restore
from cardserver.claims.values import Facts, Uncovered

Paid = tuple[tuple[str, int], ...]  # by layer

_Amounts = tuple[int, int, int, int, int]
_Rows = tuple[tuple[str, _Amounts], ...]
_Split = tuple[int, int, int, int, int, int, Paid, int, int, int, int, int, int]


class _Line(Struct, frozen=True, array_like=True, gc=False):
    item: str
    name: Raw
    price_microyuan: int
    quantity_e4: int
    gross_fen: int


class _Bill(Struct, frozen=True, array_like=True, gc=False):
    insutype: Raw
    med_type: Raw
    total_fen: int
    uses_account: bool
    invoice: Raw
    lines: tuple[_Line, ...]


class _Divided(Struct, frozen=True, array_like=True, gc=False):
    item_class: int
    price_limit_microyuan: int | None
    self_pay_ratio_e4: int


class _Case(Struct, frozen=True, array_like=True, gc=False):
    insutype: str
    med_type: str
    person_type: str
    age: int
    institution_kind: int
    institution_level: int
    region: str
    care_date: int
    referral: str
    disease: str
    is_designated: bool
    filed_items: tuple[str, ...] = ()


class _Facts(Struct, frozen=True, array_like=True, gc=False):
    case: _Case
    used: _Rows
    purses: tuple[int, int, bool]
    stay: tuple[int, _Amounts, _Rows, _Amounts] | None = None
    uncovered: tuple[tuple[int, int, int, bool], ...] = ()


class _Stored(Struct, frozen=True, array_like=True, gc=False):
    bill: _Bill | None
    split: _Split
    line_splits: tuple[_Divided, ...]
    moved: _Amounts
    scheme: str
    year: int
    payer_person_no: int = 0
    reason: Raw = Raw()
    layers: _Rows = ()
    facts: _Facts | None = None
    visit_no: int = 0
    checked: Raw = Raw()
    replaces: int = 0


class ReplayDetail(Struct, frozen=True, gc=False):
    """A claim's detail, as far as a replay looks at it.

    Attributes:
        lines: With what the catalogue said of them then; None where not all of them were kept.
        total_fen: Of the bill.
        paid: By each layer.
        fund_pay_fen: Their sum.
        person_part_fen: The patient's.
        moved: As in `ClaimDetail`, and so are the others.
    """

    lines: list[BillLine] | None
    total_fen: int
    paid: Paid
    fund_pay_fen: int
    person_part_fen: int
    moved: tuple[Moved, ...]
    scheme: str
    year: int
    facts: Facts | None
    visit_no: int
    replaces: int


_DECODER = msgpack.Decoder(_Stored)


def read_detail(stored: bytes) -> ReplayDetail:
    """Return what a replay looks at.

    Raises:
        msgspec.ValidationError: If it is no stored detail.
    """
    kept = _DECODER.decode(stored)
    total_fen, _, _, _, _, _, paid, fund_pay_fen, _, person_part_fen, _, _, _ = kept.split
    lines: list[BillLine] | None = None
    if kept.bill is not None and len(kept.bill.lines) == len(kept.line_splits):
        lines = [
            BillLine(
                line.item, divided.item_class, divided.self_pay_ratio_e4,
                divided.price_limit_microyuan, line.price_microyuan, line.quantity_e4,
                line.gross_fen,
            )
            for line, divided in zip(kept.bill.lines, kept.line_splits, strict=True)
        ]  # fmt: skip
        if kept.facts is not None and kept.facts.uncovered:
            restore(lines, [Uncovered(*line) for line in kept.facts.uncovered])
    return ReplayDetail(
        lines,
        total_fen,
        paid,
        fund_pay_fen,
        person_part_fen,
        (Moved(kept.scheme, Accumulated(*kept.moved)), *_rows(kept.layers)),
        kept.scheme,
        kept.year,
        None if kept.facts is None else _facts(kept.facts),
        kept.visit_no,
        kept.replaces,
    )


def _facts(stored: _Facts) -> Facts:
    stay = None
    if stored.stay is not None:
        admission, moved, layers, earlier = stored.stay
        stay = Stay(admission, Accumulated(*moved), _rows(layers), Accumulated(*earlier))
    account_fen, mutual_aid_fen, uses_account = stored.purses
    return Facts(
        Case(*astuple(stored.case)),
        _rows(stored.used),
        Purses(account_fen, mutual_aid_fen, uses_account),
        stay,
        tuple([Uncovered(*line) for line in stored.uncovered]),
    )


def _rows(stored: _Rows) -> tuple[Moved, ...]:
    return tuple([Moved(row, Accumulated(*amounts)) for row, amounts in stored])
