"""Dividing a bill's lines: what is the patient's own, above a price limit, paid first, in scope.

Each amount is rounded once a line, half up to the fen. Not here: dividing what is in scope
(`adjudication.py`).
"""

from collections.abc import Sequence

from msgspec.structs import replace

from cardserver.benefits.plan import ItemList
from cardserver.benefits.values import (
    BillLine,
    BillRefusal,
    BillRefusalReason,
    LineSplit,
    yuan,
)

# Millionths of a yuan times ten-thousandths of a unit, in a fen.
_FEN = 10**8
_HALF_FEN = _FEN // 2
_E4 = 10**4
_HALF_E4 = _E4 // 2
_CLASS_A, _CLASS_B, _CLASS_C = 1, 2, 3


def covered_lines(
    lines: Sequence[BillLine], items: ItemList, filed: Sequence[str]
) -> Sequence[BillLine]:
    """Take out of cover the lines whose items a special scheme does not cover."""
    return [
        line if items.covers(line.item, filed) else replace(line, is_covered=False)
        for line in lines
    ]


def split_lines(
    lines: Sequence[BillLine],
) -> tuple[list[LineSplit], int, int, int, int] | BillRefusal:
    """Divide each line; give the divisions, and the sums of gross and of what is not in scope."""
    line_splits: list[LineSplit] = []
    total = fully_own = over_limit = pre_self_pay = 0
    for line in lines:
        price, quantity = line.price_microyuan, line.quantity_e4
        gross = (price * quantity + _HALF_FEN) // _FEN
        if gross != line.gross_fen or quantity <= 0 or price < 0:
            return _wrong_line(len(line_splits), line, gross)
        total += gross
        item_class = line.item_class
        limit = line.price_limit_microyuan
        if item_class == _CLASS_C or not line.is_covered:
            fully_own += gross
            line_splits.append(LineSplit(_CLASS_C, limit, _E4, gross, 0, 0, 0))
            continue
        ratio_e4 = line.self_pay_ratio_e4
        if (
            not _CLASS_A <= item_class <= _CLASS_B
            or not 0 <= ratio_e4 <= _E4
            or (ratio_e4 and item_class == _CLASS_A)
            or (limit is not None and limit < 0)
        ):
            return _wrong_item(len(line_splits), line)
        over = pre = 0
        if limit is not None and price > limit:
            over = ((price - limit) * quantity + _HALF_FEN) // _FEN
            over_limit += over
        if ratio_e4:
            pre = ((gross - over) * ratio_e4 + _HALF_E4) // _E4
            pre_self_pay += pre
        line_splits.append(LineSplit(item_class, limit, ratio_e4, 0, over, pre, gross - over - pre))
    if not line_splits:
        return BillRefusal(BillRefusalReason.BILL_INVALID, "账单没有明细", "the bill has no lines")
    return line_splits, total, fully_own, over_limit, pre_self_pay


def _wrong_line(index: int, line: BillLine, gross: int) -> BillRefusal:
    number = index + 1
    if line.quantity_e4 <= 0 or line.price_microyuan < 0:
        return BillRefusal(
            BillRefusalReason.BILL_INVALID,
            f"第{number}行（{line.item}）：数量须为正，单价不得为负",
            f"line {number} ({line.item}): the quantity must be above zero, the price not below",
        )
    return BillRefusal(
        BillRefusalReason.BILL_INVALID,
        f"第{number}行（{line.item}）：金额{yuan(line.gross_fen)}元，单价乘数量应为{yuan(gross)}元",
        f"line {number} ({line.item}): it says {yuan(line.gross_fen)}, "
        f"price times quantity is {yuan(gross)}",
    )


def _wrong_item(index: int, line: BillLine) -> BillRefusal:
    number = index + 1
    return BillRefusal(
        BillRefusalReason.BILL_INVALID,
        f"第{number}行（{line.item}）：目录信息无效（甲乙丙类{line.item_class}、"
        f"先行自付比例{line.self_pay_ratio_e4}/10000、限价{line.price_limit_microyuan}）",
        f"line {number} ({line.item}): the catalogue's entry is not valid (class "
        f"{line.item_class}, self-pay ratio {line.self_pay_ratio_e4}/10000, "
        f"price limit {line.price_limit_microyuan})",
    )
