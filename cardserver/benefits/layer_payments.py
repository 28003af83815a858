"""What the pool and each layer above it pay of a bill, by bands and caps.

Not here: how the bill's lines come to what is in scope (`line_division.py`), who pays the rest
(`adjudication.py`).
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from cardserver.benefits.plan import (
    WHOLE_E8,
    Plan,
    PlanBand,
    PlanCap,
    PlanDeductible,
    PlanLayer,
)
from cardserver.benefits.values import NOTHING_USED, Accumulated, Stay, added


class BandPayment(Struct, frozen=True, gc=False):
    """What is paid in one band: for `segment_fen` of an amount from `start_fen` on."""

    rule: str
    start_fen: int
    segment_fen: int
    ratio_e8: int
    paid_fen: int


class LayerPayment(Struct, frozen=True, gc=False):
    """What the pool or a layer pays, and how it came.

    Attributes:
        base_fen: What entered it; the pool, what is in scope.
        borne_fen: What its deductible had taken before.
        deductible_fen: What its deductible takes of this bill.
        bands: Its payments.
        paid_fen: Their sum.
        left_over_fen: What a cap left over.
        cap: The cap that did.
    """

    base_fen: int
    borne_fen: int
    deductible_fen: int
    bands: Sequence[BandPayment]
    paid_fen: int
    left_over_fen: int
    cap: PlanCap | None


NO_PAYMENT = LayerPayment(0, 0, 0, (), 0, 0, None)


class Before(Struct, frozen=True, gc=False):
    """What was used before: of the care's own row, of all rows, and in the stay."""

    own: Accumulated
    used: Mapping[str, Accumulated]
    stay: Stay | None

    def of_care(self, per: str, others: Sequence[str] = ()) -> Accumulated:
        """Give what was used of the care's own row, and of others that count with it."""
        if per == "year":
            total = self.own
            for other in others:
                total = added(total, self.used.get(other, NOTHING_USED))
            return total
        if per == "admission" and self.stay is not None:
            return self.stay.moved
        return NOTHING_USED

    def of_layer(self, per: str, row: str, others: Sequence[str] = ()) -> Accumulated:
        """Give what was used of a layer's row, and of others that count with it."""
        if per == "year":
            total = self.used.get(row, NOTHING_USED)
            for other in others:
                total = added(total, self.used.get(other, NOTHING_USED))
            return total
        if per == "admission" and self.stay is not None:
            for one in self.stay.layers:
                if one.scheme == row:
                    return one.amounts
        return NOTHING_USED

    def borne(self, deductible: PlanDeductible) -> int:
        """Give what was borne before towards the pool's deductible."""
        borne = self.of_care(deductible.per, deductible.others).deductible_fen
        if deductible.is_anew and self.stay is not None:
            borne -= self.stay.earlier_years.deductible_fen
        return borne


def pool_payment(plan: Plan, in_scope: int, before: Before) -> LayerPayment:
    """Give what the pool pays of what is in scope."""
    borne = taken = 0
    if plan.deductible is not None:
        borne = before.borne(plan.deductible)
        taken = min(max(0, plan.deductible.amount_fen - borne), in_scope)
    amount = in_scope - taken
    use = before.of_care(plan.bands_per)
    room, reach = None, amount
    room_cap = reach_cap = None
    for cap in plan.caps:
        counted = before.of_care(cap.per, cap.others)
        if cap.is_on_paid:
            rest = max(0, cap.amount_fen - counted.pool_fen)
            if room is None or rest < room:
                room, room_cap = rest, cap
        else:
            rest = max(0, cap.amount_fen - counted.in_scope_fen - taken)
            if rest < reach:
                reach, reach_cap = rest, cap
    position = _position(use, taken, is_above_deductible=plan.is_above_deductible)
    paid, reached, payments = _pay(plan.bands, position, reach, room, plan.half_e8)
    cut_by = reach_cap if reached == reach else room_cap
    return LayerPayment(in_scope, borne, taken, payments, paid, amount - reached, cut_by)


def layer_payment(
    layer: PlanLayer, base: int, before: Before, *, scope_before: int | None, half_e8: int
) -> LayerPayment:
    """Give what a layer pays of what enters it.

    Args:
        layer: The layer.
        base: What enters it.
        before: What was used.
        scope_before: Of the bill's in-scope amount what lies below the base, for a layer of what
            is left over; None for one of shares.
        half_e8: What is added before a payment is cut to whole fen.
    """
    borne = taken = 0
    if layer.deductible is not None:
        borne = before.of_layer(layer.deductible.per, layer.row).deductible_fen
        taken = min(max(0, layer.deductible.amount_fen - borne), base)
    amount = base - taken
    room, reach = None, amount
    room_cap = reach_cap = None
    for cap in layer.caps:
        if cap.is_on_paid:
            rest = cap.amount_fen - before.of_layer(cap.per, layer.row, cap.others).pool_fen
            rest = max(0, rest)
            if room is None or rest < room:
                room, room_cap = rest, cap
        else:
            if scope_before is None:
                start = before.of_layer(cap.per, layer.row, cap.others).in_scope_fen
            else:
                start = before.of_care(cap.per, cap.others).in_scope_fen + scope_before
            rest = max(0, cap.amount_fen - start - taken)
            if rest < reach:
                reach, reach_cap = rest, cap
    use = before.of_layer(layer.bands_per, layer.row)
    position = _position(use, taken, is_above_deductible=layer.is_above_deductible)
    paid, reached, payments = _pay(layer.bands, position, reach, room, half_e8)
    cut_by = reach_cap if reached == reach else room_cap
    return LayerPayment(base, borne, taken, payments, paid, amount - reached, cut_by)


def _position(use: Accumulated, taken: int, *, is_above_deductible: bool) -> int:
    """Tell from where on the bands are used: with what was borne, or above it."""
    if is_above_deductible:
        return max(0, use.in_scope_fen - use.deductible_fen)
    return use.in_scope_fen + taken


def _pay(
    bands: Sequence[PlanBand], position: int, reach: int, room: int | None, half_e8: int
) -> tuple[int, int, list[BandPayment]]:
    """Pay an amount by bands from a position on; give what is paid, and for how much of it.

    Args:
        bands: The last without end.
        position: Where the amount begins.
        reach: How much of it a cap on scope lets through.
        room: What a cap on paid leaves; None without one.
        half_e8: What is added before a payment is cut to whole fen.
    """
    paid = reached = 0
    payments: list[BandPayment] = []
    for band in bands:
        if reached >= reach or (room is not None and paid >= room):
            break
        if position >= band.end_fen:
            continue
        ratio_e8 = band.ratio_e8
        segment = min(band.end_fen - position, reach - reached)
        pays = (segment * ratio_e8 + half_e8) // WHOLE_E8
        if room is not None and pays > room - paid:
            # The cap cuts here: the amount that the last fen of it stands for.
            pays = room - paid
            segment = min(segment, (pays * WHOLE_E8 + ratio_e8 // 2) // ratio_e8)
        payments.append(BandPayment(band.rule, position, segment, ratio_e8, pays))
        position += segment
        reached += segment
        paid += pays
    return paid, reached, payments
