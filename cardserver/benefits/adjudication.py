"""Adjudication: how a bill is divided between the fund, the patient's accounts and cash.

Exact integers throughout; each payment is rounded to the fen as the policy says. Pure: the same
arguments give the same result for ever. Not here: what the rules are (`policy.py`), the lines
(`line_division.py`), what each layer pays (`layer_payments.py`), how the result is told
(`explanation.py`), posting it (the ledger).
"""

from collections.abc import Mapping, Sequence

from cardserver.benefits.explanation import Workings, explain_bill
from cardserver.benefits.layer_payments import (
    NO_PAYMENT,
    Before,
    LayerPayment,
    layer_payment,
    pool_payment,
)
from cardserver.benefits.line_division import covered_lines, split_lines
from cardserver.benefits.plan import Plan, PlanExclusion
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

_OWN_SHARE = 4  # the place of what is in scope and nobody paid, among the shares
_FEN_OF_JIAO = 10


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
        lines: With what the catalogue says of their items; refunds are taken off (`netting.py`).
        used: What the person used in the year before, by row (`Policy.rows_of` names those that
            are looked at); a row that is not there has nothing used.
        purses: What they have besides cash.
        explain: Whether to tell every step.
        total_fen: What the bill says is its sum; None when it says nothing.
        stay: What earlier settlements of the same inpatient stay moved, which `used` holds too
            as far as they are of its year; None for the first.
    """
    scheme = policy.care_of(case.med_type, case.disease)
    if scheme is None:
        return _not_covered(policy, case)
    own = used.get(scheme, NOTHING_USED)
    plan = _find_plan(policy, scheme, case, own, stay)
    if not isinstance(plan, Plan):
        return _not_covered(policy, case) if plan is None else _excluded(policy, plan)
    items = policy.plans[scheme].items
    covered = lines if items is None else covered_lines(lines, items, case.filed_items)
    divided = split_lines(covered)
    if isinstance(divided, BillRefusal):
        return divided
    line_splits, total, fully_own, over_limit, pre_self_pay = divided
    if total_fen is not None and total_fen != total:
        return _wrong_total(total, total_fen)
    in_scope = total - fully_own - over_limit - pre_self_pay

    # The deductible takes the first of what is in scope, the pool the next, the layers the rest.
    before = Before(own, used, stay)
    pool = pool_payment(plan, in_scope, before)
    deductible = pool.deductible_fen
    shares = [
        fully_own, over_limit, pre_self_pay, deductible, in_scope - deductible - pool.paid_fen,
    ]  # fmt: skip
    hospital = 0
    for place in plan.borne_by_institution:
        hospital += shares[place]
        shares[place] = 0
    payments = _layers(plan, in_scope, pool, shares, before) if plan.layers else []
    fund = pool.paid_fen
    for payment in payments:
        fund += payment.paid_fen

    # What the accounts may pay of the patient's shares, and what remains for cash.
    person_part = total - fund - hospital
    account = mutual_aid = 0
    if purses.uses_account:
        account, mutual_aid = _accounts(plan, shares, purses)
    cash = person_part - account - mutual_aid
    let_off = cash % _FEN_OF_JIAO if plan.is_cash_in_jiao else 0
    split = Split(
        total, fully_own, over_limit, pre_self_pay, in_scope, deductible,
        _paid_by_layer(plan, pool, payments), fund,
        hospital + let_off, person_part - let_off, account, mutual_aid, cash - let_off,
    )  # fmt: skip
    assert_invariants(split, purses)
    explanation: tuple[ExplanationStep, ...] = ()
    if explain:
        workings = Workings(
            policy.identity, policy.plans[scheme].path, case, plan, pool, payments, shares, let_off
        )
        explanation = explain_bill(workings, lines, line_splits, split, purses)
    return Adjudication(
        split,
        tuple(line_splits),
        explanation,
        _moved(scheme, plan, split, payments, is_first_of_stay=plan.has_stays and _is_first(stay)),
        scheme,
        case.care_date // 10_000,
        policy.identity,
        plan.clearing_type,
    )


def _is_first(stay: Stay | None) -> bool:
    """Tell whether a bill counts its stay: none before it does, or what did was undone."""
    return stay is None or not stay.moved.admissions


def divide_lines(lines: Sequence[BillLine]) -> Sequence[LineSplit] | BillRefusal:
    """Divide lines by themselves, as they are entered, before there is a bill of them."""
    divided = split_lines(lines)
    return divided if isinstance(divided, BillRefusal) else divided[0]


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
    assert 0 <= split.deductible_fen <= split.in_scope_fen - split.layers[0].paid_fen
    assert split.hospital_part_fen >= 0
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
) -> Plan | PlanExclusion | None:
    plans = policy.plans[scheme]
    if (
        not policy.begins <= case.care_date <= policy.ends
        or case.insutype not in policy.document.insutypes
    ):
        return None
    admission = 1
    if plans.has_stays:
        admission = own.admissions + 1 if stay is None else stay.admission
    return plans.find(case, admission)


def _layers(
    plan: Plan, in_scope: int, pool: LayerPayment, shares: list[int], before: Before
) -> list[LayerPayment]:
    """Give what each supplementary layer pays, and take it from the patient's shares."""
    payments: list[LayerPayment] = []
    left_over = pool.left_over_fen
    for layer in plan.layers:
        scope_before = None
        if layer.shares:
            base = 0
            for place in layer.shares:
                base += shares[place]
        else:
            base, scope_before = left_over, in_scope - left_over
        if not base:
            payments.append(NO_PAYMENT)
            continue
        payment = layer_payment(
            layer, base, before, scope_before=scope_before, half_e8=plan.half_e8
        )
        if layer.shares:
            rest = payment.paid_fen
            for place in layer.shares:
                taken = min(rest, shares[place])
                shares[place] -= taken
                rest -= taken
        else:
            shares[_OWN_SHARE] -= payment.paid_fen
            left_over = payment.left_over_fen
        payments.append(payment)
    return payments


def _paid_by_layer(
    plan: Plan, pool: LayerPayment, payments: Sequence[LayerPayment]
) -> tuple[Layer, ...]:
    layers = [Layer(POOL, pool.paid_fen)]
    for layer, payment in zip(plan.layers, payments, strict=True):
        layers.append(Layer(layer.field, payment.paid_fen))
    return tuple(layers)


def _moved(
    scheme: str,
    plan: Plan,
    split: Split,
    payments: Sequence[LayerPayment],
    *,
    is_first_of_stay: bool,
) -> tuple[Moved, ...]:
    """Give what the bill adds to the care's own row, and to each layer's that it entered."""
    large_amount = 0
    moved: list[Moved] = []
    for layer, payment in zip(plan.layers, payments, strict=True):
        paid = payment.paid_fen
        if layer.field == LARGE_AMOUNT:
            large_amount += paid
        if payment.base_fen:
            amounts = Accumulated(payment.deductible_fen, payment.base_fen, paid, 0, 0)
            moved.append(Moved(layer.row, amounts))
    own = Accumulated(
        split.deductible_fen, split.in_scope_fen, split.layers[0].paid_fen, large_amount,
        int(is_first_of_stay),
    )  # fmt: skip
    return (Moved(scheme, own), *moved)


def _accounts(plan: Plan, shares: Sequence[int], purses: Purses) -> tuple[int, int]:
    """Give what the personal and the family's account pay.

    The personal account pays first those shares that only it may pay.
    """
    payable = 0
    for place in plan.account_pays:
        payable += shares[place]
    account = min(max(0, purses.account_fen), payable)
    if purses.mutual_aid_fen <= 0:
        return account, 0
    both = aid_payable = 0
    for place in plan.mutual_aid_pays:
        aid_payable += shares[place]
        if place in plan.account_pays:
            both += shares[place]
    from_both = max(0, account - (payable - both))
    return account, min(purses.mutual_aid_fen, aid_payable - from_both)


def _not_covered(policy: Policy, case: Case) -> BillRefusal:
    what = (
        f"insutype {case.insutype}, med_type {case.med_type}, psn_type {case.person_type}, "
        f"age {case.age}, institution kind {case.institution_kind} level "
        f"{case.institution_level}, date {case.care_date}"
    )
    if case.disease:
        what += f", disease {case.disease}"
    return BillRefusal(
        BillRefusalReason.POLICY_NOT_FOUND,
        f"政策{policy.name}不适用于此情形：{what}",
        f"policy {policy.name} does not cover this case: {what}",
    )


def _excluded(policy: Policy, exclusion: PlanExclusion) -> BillRefusal:
    rule = f"{policy.identity}/{exclusion.rule}"
    return BillRefusal(
        BillRefusalReason.CARE_EXCLUDED,
        f"{exclusion.reason_zh}（{rule}）",
        f"{exclusion.reason_en} ({rule})",
    )


def _wrong_total(total: int, said: int) -> BillRefusal:
    return BillRefusal(
        BillRefusalReason.TOTAL_MISMATCH,
        f"账单合计{yuan(said)}元，明细之和为{yuan(total)}元",
        f"the bill says {yuan(said)}, its lines add up to {yuan(total)}",
    )
