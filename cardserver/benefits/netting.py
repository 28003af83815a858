"""Refund lines of a bill that is not settled yet: what is left of each line.

A refund is a line of negative quantity that names the line it takes from. The amount of what is
left is price times the quantity left, rounded once, half away from zero; a refund's own amount is
what its line loses by it. So a line's last refund takes the remainder, whatever the ones before
were rounded to, and the amounts of all lines as entered add up to the bill's.

Not here: refunds after settlement, which undo it and settle what remains (`claims`).
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from cardserver.benefits.values import BillRefusal, BillRefusalReason, yuan

_FEN = 10**8  # millionths of a yuan times ten-thousandths of a unit, in a fen
_HALF_FEN = _FEN // 2


class EnteredLine(Struct, frozen=True, gc=False):
    """A line as it was entered.

    Attributes:
        number: feedetl_sn, unique in the visit.
        refunds: init_feedetl_sn, the number of the line that it takes from; empty for a charge.
        price_microyuan: Unit price; a refund's is that of its line.
        quantity_e4: Quantity, below zero for a refund.
        gross_fen: The amount that the terminal says, below zero for a refund; None where it says
            nothing.
    """

    number: str
    refunds: str
    price_microyuan: int
    quantity_e4: int
    gross_fen: int | None = None


class NetLine(Struct, frozen=True, gc=False):
    """What is left of a line: `index` is its place among those entered."""

    index: int
    quantity_e4: int
    gross_fen: int


def net_lines(entered: Sequence[EnteredLine]) -> list[NetLine] | BillRefusal:
    """Take every refund from its line.

    Returns:
        The lines of which something is left, in their order, as `adjudicate` wants them: quantity
        above zero, and gross their product. Or a refusal (BILL_INVALID) that names the first line
        which cannot be: no such original, or one that comes later or is a refund itself; another
        price; more than is left; an amount that is not what the line comes to or loses; a number
        that stands twice.
    """
    charges: dict[str, int] = {}
    numbers: set[str] = set()
    left: dict[int, int] = {}
    for index, line in enumerate(entered):
        if line.number in numbers:
            return _refused(line, "明细流水号重复", "its number stands twice")
        numbers.add(line.number)
        if line.refunds:
            original = charges.get(line.refunds)
            refusal = _wrong_refund(line, entered, original, left)
            if refusal is not None:
                return refusal
            assert original is not None
            left[original] += line.quantity_e4
        else:
            if line.quantity_e4 <= 0 or line.price_microyuan < 0:
                return _refused(
                    line,
                    "数量须为正，单价不得为负；退费行须注明原明细",
                    "the quantity must be above zero, the price not below; a refund names the "
                    "line that it takes from",
                )
            gross = gross_of(line.price_microyuan, line.quantity_e4)
            if line.gross_fen is not None and line.gross_fen != gross:
                return _wrong_gross(line, gross)
            charges[line.number] = index
            left[index] = line.quantity_e4
    return list(_left_over(entered, left))


def gross_of(price_microyuan: int, quantity_e4: int) -> int:
    """Give price times quantity in fen, rounded half away from zero."""
    product = price_microyuan * quantity_e4
    return (product + _HALF_FEN) // _FEN if product >= 0 else -((_HALF_FEN - product) // _FEN)


def refunded_gross(price_microyuan: int, *, left_e4: int, refunded_e4: int) -> int:
    """Give what a line loses, in fen above zero, when of its `left_e4` a part is refunded."""
    return gross_of(price_microyuan, left_e4) - gross_of(price_microyuan, left_e4 - refunded_e4)


def _wrong_refund(
    line: EnteredLine, entered: Sequence[EnteredLine], original: int | None, left: dict[int, int]
) -> BillRefusal | None:
    if original is None:
        return _refused(
            line,
            f"原明细{line.refunds}不存在，或其本身为退费",
            f"there is no line {line.refunds} before it, or that is a refund itself",
        )
    if line.quantity_e4 >= 0:
        return _refused(line, "退费数量须为负", "a refund's quantity is below zero")
    price = entered[original].price_microyuan
    if line.price_microyuan != price:
        return _refused(
            line, "退费单价与原明细不同", f"its price is not that of line {line.refunds}"
        )
    if left[original] + line.quantity_e4 < 0:
        return _refused(
            line, "退费数量超过剩余数量", f"it takes back more than is left of line {line.refunds}"
        )
    loses = refunded_gross(price, left_e4=left[original], refunded_e4=-line.quantity_e4)
    if line.gross_fen is not None and line.gross_fen != -loses:
        return _wrong_gross(line, -loses)
    return None


def _left_over(entered: Sequence[EnteredLine], left: dict[int, int]) -> Iterator[NetLine]:
    for index, quantity_e4 in left.items():
        if quantity_e4:
            gross = gross_of(entered[index].price_microyuan, quantity_e4)
            yield NetLine(index, quantity_e4, gross)


def _wrong_gross(line: EnteredLine, gross: int) -> BillRefusal:
    said = yuan(line.gross_fen or 0)
    return _refused(
        line, f"金额{said}元，应为{yuan(gross)}元", f"it says {said}, and it is {yuan(gross)}"
    )


def _refused(line: EnteredLine, zh: str, en: str) -> BillRefusal:
    return BillRefusal(
        BillRefusalReason.BILL_INVALID, f"明细{line.number}：{zh}", f"line {line.number}: {en}"
    )
