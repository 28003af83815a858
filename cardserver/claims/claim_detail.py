"""A claim's detail as it is stored: one MessagePack array, without names.

    [bill, split, [line split, ...], amounts, scheme, year, payer_person_no, reason, layers, facts,
        visit_no, checked, replaces]

`bill` is the wire's `Bill` or nil; `split` and each line split are the fields of the wire's `Split`
and `LineSplit` in their order; `amounts` is what the care's own row of accumulators was moved by:
deductible, in-scope, pool and large-amount fen, and admissions; `layers` is the same for the
supplementary layers' rows, `[[row, amounts], ...]`. `facts` is nil or

    [case, [[row, amounts], ...], [account_fen, mutual_aid_fen, uses_account], stay]

with the fields of `benefits.values.Case` in their order, the rows that were looked at, and the stay
as nil or `[admission, amounts, [[row, amounts], ...]]`. `checked` is nil or the rules that warned,
those that were overridden, and why: `[[rule, ...], [rule, ...], reason]`. A later version may
append elements.
"""

from collections.abc import Iterable

from msgspec import Struct, msgpack
from msgspec.structs import astuple

from cardserver.benefits import values as benefits
from cardserver.claims.values import Checked, ClaimDetail, Facts
from protocol.terminal import messages

_Amounts = tuple[int, int, int, int, int]
_Rows = tuple[tuple[str, _Amounts], ...]


class _Case(Struct, frozen=True, array_like=True):
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


class _Facts(Struct, frozen=True, array_like=True):
    case: _Case
    used: _Rows
    purses: tuple[int, int, bool]
    stay: tuple[int, _Amounts, _Rows] | None = None


class _Checked(Struct, frozen=True, array_like=True):
    warned: tuple[str, ...]
    overridden: tuple[str, ...] = ()
    override: str = ""


class _Stored(Struct, frozen=True, array_like=True):
    bill: messages.Bill | None
    split: messages.Split
    line_splits: tuple[messages.LineSplit, ...]
    moved: _Amounts
    scheme: str
    year: int
    payer_person_no: int = 0
    reason: str = ""
    layers: _Rows = ()
    facts: _Facts | None = None
    visit_no: int = 0
    checked: _Checked | None = None
    replaces: int = 0


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
            astuple(detail.moved[0].amounts),
            detail.scheme,
            detail.year,
            detail.payer_person_no,
            detail.reason,
            _stored_rows(detail.moved[1:]),
            None if detail.facts is None else _stored_facts(detail.facts),
            detail.visit_no,
            None if detail.checked is None else astuple(detail.checked),
            detail.replaces,
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
        moved=(
            benefits.Moved(kept.scheme, benefits.Accumulated(*kept.moved)),
            *_rows(kept.layers),
        ),
        scheme=kept.scheme,
        year=kept.year,
        payer_person_no=kept.payer_person_no,
        reason=kept.reason,
        facts=None if kept.facts is None else _facts(kept.facts),
        visit_no=kept.visit_no,
        checked=None if kept.checked is None else Checked(*astuple(kept.checked)),
        replaces=kept.replaces,
    )  # fmt: skip


def _stored_facts(facts: Facts) -> tuple[object, ...]:
    stay = facts.stay
    return (
        astuple(facts.case),
        _stored_rows(facts.used),
        astuple(facts.purses),
        None if stay is None else (stay.admission, astuple(stay.moved), _stored_rows(stay.layers)),
    )


def _facts(stored: _Facts) -> Facts:
    stay = None
    if stored.stay is not None:
        admission, moved, layers = stored.stay
        stay = benefits.Stay(admission, benefits.Accumulated(*moved), _rows(layers))
    account_fen, mutual_aid_fen, uses_account = stored.purses
    return Facts(
        benefits.Case(*astuple(stored.case)),
        _rows(stored.used),
        benefits.Purses(account_fen, mutual_aid_fen, uses_account),
        stay,
    )


def _stored_rows(rows: Iterable[benefits.Moved]) -> list[tuple[str, tuple[object, ...]]]:
    return [(row.scheme, astuple(row.amounts)) for row in rows]


def _rows(stored: _Rows) -> tuple[benefits.Moved, ...]:
    return tuple(benefits.Moved(row, benefits.Accumulated(*amounts)) for row, amounts in stored)
