"""A claim's detail as it is stored: one MessagePack array, without names.

    [bill, split, [line split, ...], moved, scheme, year, payer_person_no, reason]

`bill` is the wire's `Bill` or nil; `split` and each line split are the fields of the wire's `Split`
and `LineSplit` in their order; `moved` is deductible, in-scope, pool and large-amount fen, and
admissions. A later version may append elements.
"""

from msgspec import Struct, msgpack
from msgspec.structs import astuple

from cardserver.benefits import values as benefits
from cardserver.claims.values import ClaimDetail
from protocol.terminal import messages


class _Stored(Struct, frozen=True, array_like=True):
    bill: messages.Bill | None
    split: messages.Split
    line_splits: tuple[messages.LineSplit, ...]
    moved: tuple[int, int, int, int, int]
    scheme: str
    year: int
    payer_person_no: int = 0
    reason: str = ""


_ENCODER = msgpack.Encoder()
_DECODER = msgpack.Decoder(_Stored)


def encode_detail(detail: ClaimDetail) -> bytes:
    """Return the value to store."""
    split = detail.split
    return _ENCODER.encode(
        (
            detail.bill,
            (
                split.total_fen, split.fully_own_fen, split.over_limit_fen,
                split.pre_self_pay_fen, split.in_scope_fen, split.deductible_fen,
                [(layer.field, layer.paid_fen) for layer in split.layers],
                split.fund_pay_fen, split.hospital_part_fen, split.person_part_fen,
                split.account_pay_fen, split.mutual_aid_fen, split.cash_fen,
            ),
            [astuple(line) for line in detail.line_splits],
            astuple(detail.moved),
            detail.scheme,
            detail.year,
            detail.payer_person_no,
            detail.reason,
        )
    )  # fmt: skip


def decode_detail(stored: bytes) -> ClaimDetail:
    """Return what a stored value says.

    Raises:
        msgspec.ValidationError: If it is not one.
    """
    kept = _DECODER.decode(stored)
    split = kept.split
    return ClaimDetail(
        bill=kept.bill,
        split=benefits.Split(
            split.total_fen, split.fully_own_fen, split.over_limit_fen, split.pre_self_pay_fen,
            split.in_scope_fen, split.deductible_fen,
            tuple(benefits.Layer(layer.field, layer.paid_fen) for layer in split.layers),
            split.fund_pay_fen, split.hospital_part_fen, split.person_part_fen,
            split.account_pay_fen, split.mutual_aid_fen, split.cash_fen,
        ),
        line_splits=tuple(
            benefits.LineSplit(
                line.item_class, line.price_limit_microyuan, line.self_pay_ratio_e4,
                line.fully_own_fen, line.over_limit_fen, line.pre_self_pay_fen, line.in_scope_fen,
            )
            for line in kept.line_splits
        ),
        moved=benefits.Accumulated(*kept.moved),
        scheme=kept.scheme,
        year=kept.year,
        payer_person_no=kept.payer_person_no,
        reason=kept.reason,
    )  # fmt: skip
