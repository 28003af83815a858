"""How lines divide by the catalogue of their day, as LINES is told. Pure.

Not here: how a bill is divided, which knows the policy too (`cardserver.benefits`).
"""

from collections.abc import Sequence

from cardserver.benefits.adjudication import divide_lines
from cardserver.benefits.netting import gross_of
from cardserver.benefits.values import BillLine, BillRefusal, ItemClass
from cardserver.catalogue.catalogue import Catalogue
from cardserver.visits.course import Course
from cardserver.visits.values import Charge
from protocol.terminal.messages import LineSplit

_WHOLE_E4 = 10_000


def bill_line(
    catalogue: Catalogue, item: str, *, level: int, day: int, price_microyuan: int, quantity_e4: int
) -> BillLine:
    """Return a line with what the catalogue says of its item; one it does not know is class C."""
    found = catalogue.find(item, level=level, day=day)
    return BillLine(
        item,
        ItemClass.C if found is None else found.item_class,
        _WHOLE_E4 if found is None else found.self_pay_ratio_e4,
        None if found is None else found.price_limit_microyuan,
        price_microyuan,
        quantity_e4,
        gross_of(price_microyuan, quantity_e4),
    )


def divisions_of(
    course: Course, charges: Sequence[Charge], catalogue: Catalogue, *, level: int
) -> tuple[LineSplit, ...]:
    """Divide lines that may be recorded; of a refund, what its line loses by it.

    Args:
        course: As it was before them.
        charges: The lines.
        catalogue: As of now.
        level: The institution's.
    """
    left: dict[str, int] = {}
    days = {charge.number: charge.day for charge in charges}
    splits: list[LineSplit] = []
    for charge in charges:
        number = charge.refunds or charge.number
        if charge.refunds:
            known = course.charges.get(number)
            before = left[number] if known is None or number in left else known.left_e4
            day = days[number] if known is None else known.charge.day
        else:
            before, day = 0, charge.day
        after = before + charge.quantity_e4
        left[number] = after
        gains = _division(catalogue, charge, level=level, day=day, quantity_e4=after)
        had = _division(catalogue, charge, level=level, day=day, quantity_e4=before)
        splits.append(_difference(gains, had))
    return tuple(splits)


def _division(
    catalogue: Catalogue, charge: Charge, *, level: int, day: int, quantity_e4: int
) -> LineSplit | None:
    if not quantity_e4:
        return None
    line = bill_line(
        catalogue, charge.item, level=level, day=day,
        price_microyuan=charge.price_microyuan, quantity_e4=quantity_e4,
    )  # fmt: skip
    divided = divide_lines([line])
    assert not isinstance(divided, BillRefusal), "the line may be recorded"
    (one,) = divided
    return LineSplit(
        one.item_class, one.price_limit_microyuan, one.self_pay_ratio_e4, one.fully_own_fen,
        one.over_limit_fen, one.pre_self_pay_fen, one.in_scope_fen,
    )  # fmt: skip


def _difference(gains: LineSplit | None, had: LineSplit | None) -> LineSplit:
    known = gains or had
    assert known is not None, "a line has a quantity, or takes one back"
    amounts = [
        (0 if gains is None else getattr(gains, name)) - (0 if had is None else getattr(had, name))
        for name in _AMOUNTS
    ]
    return LineSplit(
        known.item_class, known.price_limit_microyuan, known.self_pay_ratio_e4, *amounts
    )


_AMOUNTS = ("fully_own_fen", "over_limit_fen", "pre_self_pay_fen", "in_scope_fen")
