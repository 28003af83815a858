"""Adjudication: how a bill is divided between the fund, the patient's accounts and cash.

Exact integers throughout; every division rounds half away from zero to the fen. Pure: the same
arguments give the same result for ever. Not here: what the rules are (`policy.py`), how the result
is told (`explanation.py`), posting it (the ledger).
"""

from collections.abc import Mapping, Sequence

from cardserver.benefits.explanation import (
    BandPayment,
    LayerPayment,
    Workings,
    explain_bill,
)
from cardserver.benefits.plan import Plan, PlanCap, PlanLayer, ShareMask
from cardserver.benefits.policy import Policy
from cardserver.benefits.values import (
    LARGE_AMOUNT,
    NOTHING_USED,
    POOL,
    Accumulated,
    Adjudication,
    BillLine,
    BillRefusal,
    BillRefusalReason,
    Case,
    ExplanationStep,
    Layer,
    LineSplit,
    Moved,
    Purses,
    Split,
    Stay,
    yuan,
)

# Millionths of a yuan times ten-thousandths of a unit, in a fen.
_FEN = 10**8
_HALF_FEN = _FEN // 2
_E4 = 10**4
_HALF_E4 = _E4 // 2
_E8 = 10**8
_HALF_E8 = _E8 // 2
_CLASS_A, _CLASS_B, _CLASS_C = 1, 2, 3


def adjudicate(  # noqa: PLR0913 - each is a fact of its own that decides
    policy: Policy,
    case: Case,
    lines: Sequence[BillLine],
    used: Mapping[str, Accumulated],
    purses: Purses,
    *,
    explain: bool,
    total_fen: int | None = None,
    stay: Stay | None = None,
) -> Adjudication | BillRefusal:
    """Divide a bill.

    Args:
        policy: The one in force on the day of care.
        case: Who is treated where.
        lines: With what the catalogue says of their items.
        used: What the person used in the year before, by row (`Policy.rows_of` names those that
            are looked at); a row that is not there has nothing used.
        purses: What they have besides cash.
        explain: Whether to tell every step.
        total_fen: What the bill says is its sum; None when it says nothing.
        stay: What earlier settlements of the same inpatient stay moved, which `used` holds too
            as far as they are of its year; None for the first.
    """
    scheme = policy.care_of(case.med_type)
    if scheme is None:
        return _not_covered(policy, case)
    own = used.get(scheme, NOTHING_USED)
    plan = _find_plan(policy, scheme, case, own, stay)
    if plan is None:
        return _not_covered(policy, case)
    divided = _split_lines(lines)
    if isinstance(divided, BillRefusal):
        return divided
    line_splits, total, fully_own, over_limit, pre_self_pay = divided
    if total_fen is not None and total_fen != total:
        return _wrong_total(total, total_fen)
    in_scope = total - fully_own - over_limit - pre_self_pay

    # The deductible takes the first of what is in scope, the pool the next, the layers the rest.
    borne = _own(plan.deductible_per, own, stay).deductible_fen
    deductible = min(max(0, plan.deductible_fen - borne), in_scope)
    pool, left_over, bands = _pool(plan, deductible, in_scope - deductible, own=own, stay=stay)
    payments = _layers(plan, deductible, in_scope, pool, left_over, used=used, stay=stay, own=own)
    layers = [Layer(POOL, pool)]
    moved_layers: list[Moved] = []
    fund = pool
    large_amount = 0
    for layer, payment in zip(plan.layers, payments, strict=True):
        layers.append(Layer(layer.field, payment.paid_fen))
        fund += payment.paid_fen
        if layer.field == LARGE_AMOUNT:
            large_amount += payment.paid_fen
        if payment.base_fen:
            amounts = Accumulated(0, payment.base_fen, payment.paid_fen, 0, 0)
            moved_layers.append(Moved(layer.field, amounts))

    # What the accounts may pay of the patient's shares.
    person_part = total - fund
    account = mutual_aid = 0
    if purses.uses_account:
        shares = (
            fully_own, over_limit, pre_self_pay, deductible, in_scope - deductible - fund,
        )  # fmt: skip
        account, mutual_aid = _accounts(plan, shares, purses)
    split = Split(
        total, fully_own, over_limit, pre_self_pay, in_scope, deductible, tuple(layers), fund, 0,
        person_part, account, mutual_aid, person_part - account - mutual_aid,
    )  # fmt: skip
    assert_invariants(split, purses)
    explanation: tuple[ExplanationStep, ...] = ()
    if explain:
        workings = Workings(policy.identity, scheme, case, plan, borne, bands, left_over, payments)
        explanation = explain_bill(workings, lines, line_splits, split, purses)
    return Adjudication(
        split,
        tuple(line_splits),
        explanation,
        (
            Moved(
                scheme,
                Accumulated(
                    deductible,
                    in_scope,
                    pool,
                    large_amount,
                    int(scheme == "inpatient" and stay is None),
                ),
            ),
            *moved_layers,
        ),
        scheme,
        case.care_date // 10_000,
        policy.identity,
    )


def assert_invariants(split: Split, purses: Purses) -> None:
    """Assert what holds of every split."""
    assert split.total_fen == (
        split.fully_own_fen + split.over_limit_fen + split.pre_self_pay_fen + split.in_scope_fen
    )
    assert split.total_fen == (split.fund_pay_fen + split.person_part_fen + split.hospital_part_fen)
    assert split.person_part_fen == (split.account_pay_fen + split.mutual_aid_fen + split.cash_fen)
    fund = 0
    for layer in split.layers:
        assert layer.paid_fen >= 0
        fund += layer.paid_fen
    assert split.fund_pay_fen == fund
    assert 0 <= split.deductible_fen <= split.in_scope_fen - fund
    assert split.cash_fen >= 0
    assert 0 <= split.account_pay_fen <= max(0, purses.account_fen)
    assert 0 <= split.mutual_aid_fen <= max(0, purses.mutual_aid_fen)


def negated(split: Split) -> Split:
    """Give the exact negative, as a cancel has it."""
    return Split(
        -split.total_fen,
        -split.fully_own_fen,
        -split.over_limit_fen,
        -split.pre_self_pay_fen,
        -split.in_scope_fen,
        -split.deductible_fen,
        tuple(Layer(layer.field, -layer.paid_fen) for layer in split.layers),
        -split.fund_pay_fen,
        -split.hospital_part_fen,
        -split.person_part_fen,
        -split.account_pay_fen,
        -split.mutual_aid_fen,
        -split.cash_fen,
    )


def _find_plan(
    policy: Policy, scheme: str, case: Case, own: Accumulated, stay: Stay | None
) -> Plan | None:
    plans = policy.plans[scheme]
    if (
        not policy.begins <= case.care_date <= policy.ends
        or case.insutype not in policy.document.insutypes
    ):
        return None
    admission = 1
    if scheme == "inpatient":
        admission = own.admissions + 1 if stay is None else stay.admission
    return plans.find(case, admission)


def _split_lines(
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
        if item_class == _CLASS_C:
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


def _pool(
    plan: Plan, deductible: int, rest: int, *, own: Accumulated, stay: Stay | None
) -> tuple[int, int, list[BandPayment]]:
    """Give what the pool pays, what of the in-scope amount it leaves over, and how it came."""
    position = _own(plan.bands_per, own, stay).in_scope_fen + deductible
    room = reach = rest
    cap = plan.cap
    is_paid_capped = cap is not None and cap.is_on_paid
    if cap is not None:
        if cap.is_on_paid:
            room = max(0, cap.amount_fen - _own(cap.per, own, stay).pool_fen)
        else:
            before = _own(cap.per, own, stay).in_scope_fen + deductible
            reach = min(rest, max(0, cap.amount_fen - before))
    paid = taken = 0
    payments: list[BandPayment] = []
    for band in plan.bands:
        if taken >= reach or (is_paid_capped and paid >= room):
            break
        if position >= band.end_fen:
            continue
        segment = min(band.end_fen - position, reach - taken)
        pays = (segment * band.ratio_e8 + _HALF_E8) // _E8
        if is_paid_capped and pays > room - paid:
            # The cap cuts here: the in-scope amount that the last fen of it stands for.
            pays = room - paid
            segment = (pays * _E8 + band.ratio_e8 // 2) // band.ratio_e8
        payments.append(BandPayment(band.rule, position, segment, band.ratio_e8, pays))
        position += segment
        taken += segment
        paid += pays
    return paid, rest - taken, payments


def _layers(  # noqa: PLR0913 - each is a fact of its own
    plan: Plan,
    deductible: int,
    in_scope: int,
    pool: int,
    left_over: int,
    *,
    used: Mapping[str, Accumulated],
    own: Accumulated,
    stay: Stay | None,
) -> list[LayerPayment]:
    """Give what each supplementary layer pays."""
    payments: list[LayerPayment] = []
    fund = pool
    for layer in plan.layers:
        if layer.takes_left_over:
            payment = _left_over_layer(layer, left_over, in_scope, used=used, own=own, stay=stay)
            left_over = payment.left_over_fen
        else:
            own_share = in_scope - deductible - fund
            paid = (own_share * layer.ratio_e8 + _HALF_E8) // _E8
            if layer.cap is not None:
                paid = min(paid, _room(layer.cap, layer.field, used, stay))
            payment = LayerPayment(own_share, paid, 0)
        payments.append(payment)
        fund += payment.paid_fen
    return payments


def _left_over_layer(
    layer: PlanLayer,
    left_over: int,
    in_scope: int,
    *,
    used: Mapping[str, Accumulated],
    own: Accumulated,
    stay: Stay | None,
) -> LayerPayment:
    """Give what a layer pays of what is left over, and what it leaves over itself."""
    cap = layer.cap
    reach = left_over
    if cap is not None and not cap.is_on_paid:
        before = _own(cap.per, own, stay).in_scope_fen + in_scope - left_over
        reach = min(left_over, max(0, cap.amount_fen - before))
    paid = (reach * layer.ratio_e8 + _HALF_E8) // _E8
    if cap is not None and cap.is_on_paid:
        room = _room(cap, layer.field, used, stay)
        if room == 0:
            paid = reach = 0
        elif paid > room:
            paid = room
            reach = (room * _E8 + layer.ratio_e8 // 2) // layer.ratio_e8
    return LayerPayment(left_over, paid, left_over - reach)


def _accounts(plan: Plan, shares: ShareMask, purses: Purses) -> tuple[int, int]:
    """Give what the personal and the family's account pay.

    The personal account pays first those shares that only it may pay.
    """
    payable = both = aid_payable = 0
    for share, by_account, by_aid in zip(
        shares, plan.account_mask, plan.mutual_aid_mask, strict=True
    ):
        if by_account:
            payable += share
        if by_aid:
            aid_payable += share
            if by_account:
                both += share
    account = min(max(0, purses.account_fen), payable)
    from_both = max(0, account - (payable - both))
    mutual_aid = min(max(0, purses.mutual_aid_fen), aid_payable - from_both)
    return account, mutual_aid


def _own(per: str, own: Accumulated, stay: Stay | None) -> Accumulated:
    """Give what of the care's own row was used before, over a time."""
    if per == "year":
        return own
    if per == "admission" and stay is not None:
        return stay.moved
    return NOTHING_USED


def _room(cap: PlanCap, row: str, used: Mapping[str, Accumulated], stay: Stay | None) -> int:
    """Give what is left of the cap on what a layer pays."""
    paid = 0
    if cap.per == "year":
        paid = used.get(row, NOTHING_USED).pool_fen
    elif cap.per == "admission" and stay is not None:
        paid = sum(one.amounts.pool_fen for one in stay.layers if one.scheme == row)
    return max(0, cap.amount_fen - paid)


def _not_covered(policy: Policy, case: Case) -> BillRefusal:
    what = (
        f"insutype {case.insutype}, med_type {case.med_type}, psn_type {case.person_type}, "
        f"age {case.age}, institution kind {case.institution_kind} level "
        f"{case.institution_level}, date {case.care_date}"
    )
    return BillRefusal(
        BillRefusalReason.POLICY_NOT_FOUND,
        f"政策{policy.name}不适用于此情形：{what}",
        f"policy {policy.name} does not cover this case: {what}",
    )


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


def _wrong_total(total: int, said: int) -> BillRefusal:
    return BillRefusal(
        BillRefusalReason.TOTAL_MISMATCH,
        f"账单合计{yuan(said)}元，明细之和为{yuan(total)}元",
        f"the bill says {yuan(said)}, its lines add up to {yuan(total)}",
    )
