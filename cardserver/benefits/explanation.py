"""Telling a bill's division step by step, in Chinese and English, so that it adds up to the fen.

The steps of one field of Split add up to that field; a layer's steps, which carry its national
name, to what it pays. Nothing is decided here: the figures are those that `adjudication.py`
worked with.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from cardserver.benefits.explanation_words import (
    FIELD_EN,
    FIELD_ZH,
    PER_EN,
    PER_ZH,
    capitalised,
    decimal,
    percent_e4,
    percent_e8,
    words_of_base,
    words_of_cap,
    words_of_case,
    words_of_class,
    words_of_others,
    words_of_own_line,
)
from cardserver.benefits.layer_payments import BandPayment, LayerPayment
from cardserver.benefits.plan import Plan, PlanDeductible
from cardserver.benefits.values import (
    POOL,
    BillLine,
    Case,
    ExplanationStep,
    ItemClass,
    LineSplit,
    Purses,
    Split,
    yuan,
)

LINES_EXPLAINED_MAX = 50  # above, lines are told by class: a frame holds 256 KiB


class Workings(Struct, frozen=True, gc=False):
    """The figures on the way.

    Attributes:
        identity: The policy's.
        path: Where the rules of the care stand in it.
        case: The case.
        plan: The rules applied.
        pool: The pool's payment.
        layers: The supplementary layers', in the plan's order.
        shares: What of each share the layers left to the patient.
        let_off_fen: What cutting cash to the jiao leaves to the institution.
    """

    identity: str
    path: str
    case: Case
    plan: Plan
    pool: LayerPayment
    layers: Sequence[LayerPayment]
    shares: Sequence[int]
    let_off_fen: int


def explain_bill(
    workings: Workings,
    lines: Sequence[BillLine],
    line_splits: Sequence[LineSplit],
    split: Split,
    purses: Purses,
) -> tuple[ExplanationStep, ...]:
    """Tell every step."""
    if len(lines) <= LINES_EXPLAINED_MAX:
        steps = list(_line_steps(lines, line_splits))
    else:
        steps = list(_class_steps(lines, line_splits))
    steps += _scope_steps(workings, split)
    steps += _pool_steps(workings)
    steps += _layer_steps(workings)
    steps += _closing_steps(workings, split, purses)
    return tuple(steps)


def _line_steps(
    lines: Sequence[BillLine], line_splits: Sequence[LineSplit]
) -> Iterator[ExplanationStep]:
    for number, (line, split) in enumerate(zip(lines, line_splits, strict=True), start=1):
        rule = f"catalogue/{line.item}"
        price, quantity = decimal(line.price_microyuan, 6), decimal(line.quantity_e4, 4)
        gross = yuan(line.gross_fen)
        yield ExplanationStep(
            "bill",
            f"第{number}行 {line.item}：单价{price}元 × 数量{quantity} = {gross}元",
            f"Line {number} {line.item}: price {price} x quantity {quantity} = {gross}",
            line.gross_fen,
            "total_fen",
        )
        if split.item_class == ItemClass.C:
            class_zh, class_en = words_of_own_line(line)
            yield ExplanationStep(
                rule,
                f"第{number}行：{class_zh}，全部自费{gross}元",
                f"Line {number}: {class_en}, the patient's own: {gross}",
                split.fully_own_fen,
                "fully_own_fen",
            )
            continue
        class_zh, class_en = words_of_class(split.item_class)
        base = gross
        if split.over_limit_fen:
            limit = decimal(split.price_limit_microyuan or 0, 6)
            over = yuan(split.over_limit_fen)
            yield ExplanationStep(
                rule,
                f"第{number}行：超限价部分（{price} − {limit}）× {quantity} = {over}元",
                f"Line {number}: above the price limit ({price} - {limit}) x {quantity} = {over}",
                split.over_limit_fen,
                "over_limit_fen",
            )
            base = yuan(line.gross_fen - split.over_limit_fen)
        if split.self_pay_ratio_e4:
            percent, own = percent_e4(split.self_pay_ratio_e4), yuan(split.pre_self_pay_fen)
            yield ExplanationStep(
                rule,
                f"第{number}行：{class_zh}，先行自付{base} × {percent} = {own}元",
                f"Line {number}: {class_en}, paid by the patient first {base} x {percent} = {own}",
                split.pre_self_pay_fen,
                "pre_self_pay_fen",
            )
        scope = yuan(split.in_scope_fen)
        yield ExplanationStep(
            rule,
            f"第{number}行：{class_zh}，政策范围内{scope}元",
            f"Line {number}: {class_en}, in scope {scope}",
            split.in_scope_fen,
            "in_scope_fen",
        )


def _class_steps(
    lines: Sequence[BillLine], line_splits: Sequence[LineSplit]
) -> Iterator[ExplanationStep]:
    groups: dict[tuple[str, str], list[tuple[BillLine, LineSplit]]] = {}
    for line, split in zip(lines, line_splits, strict=True):
        is_own = split.item_class == ItemClass.C
        words = words_of_own_line(line) if is_own else words_of_class(split.item_class)
        groups.setdefault(words, []).append((line, split))
    for (class_zh, class_en), members in groups.items():
        splits = [split for _, split in members]
        sums = (
            ("total_fen", "金额", "amount", sum(line.gross_fen for line, _ in members)),
            ("fully_own_fen", "全部自费", "the patient's own", _sum(splits, "fully_own_fen")),
            ("over_limit_fen", "超限价", "above price limits", _sum(splits, "over_limit_fen")),
            ("pre_self_pay_fen", "先行自付", "paid by the patient first",
             _sum(splits, "pre_self_pay_fen")),
            ("in_scope_fen", "政策范围内", "in scope", _sum(splits, "in_scope_fen")),
        )  # fmt: skip
        for field, zh, en, amount in sums:
            if amount:
                yield ExplanationStep(
                    "catalogue",
                    f"{class_zh}{len(members)}行：{zh}合计{yuan(amount)}元",
                    f"{len(members)} lines of {class_en}: {en}, together {yuan(amount)}",
                    amount,
                    field,
                )


def _scope_steps(workings: Workings, split: Split) -> Iterator[ExplanationStep]:
    identity, plan = workings.identity, workings.plan
    case_zh, case_en = words_of_case(workings.case, plan)
    yield ExplanationStep(
        f"{identity}/{workings.path}",
        f"{case_zh}，政策范围内合计：{yuan(split.total_fen)} − {yuan(split.fully_own_fen)} − "
        f"{yuan(split.over_limit_fen)} − {yuan(split.pre_self_pay_fen)} = "
        f"{yuan(split.in_scope_fen)}元",
        f"{case_en}; in scope: {yuan(split.total_fen)} - {yuan(split.fully_own_fen)} - "
        f"{yuan(split.over_limit_fen)} - {yuan(split.pre_self_pay_fen)} = "
        f"{yuan(split.in_scope_fen)}",
        split.in_scope_fen,
        "",
    )
    if plan.deductible is not None:
        yield from _deductible_steps(
            identity, plan.deductible, workings.pool, "deductible_fen", ("", "")
        )


def _deductible_steps(
    identity: str,
    deductible: PlanDeductible,
    payment: LayerPayment,
    field: str,
    whose: tuple[str, str],
) -> Iterator[ExplanationStep]:
    rule = f"{identity}/{deductible.rule}"
    zh, en = whose
    full, used = yuan(deductible.amount_fen), yuan(payment.borne_fen)
    remaining = max(0, deductible.amount_fen - payment.borne_fen)
    per_zh, per_en = PER_ZH[deductible.per], PER_EN[deductible.per]
    with_zh, with_en = words_of_others(deductible.others)
    yield ExplanationStep(
        rule,
        f"{zh}起付标准{full}元，{per_zh}已用{used}元{with_zh}，剩余{yuan(remaining)}元",
        f"{capitalised(f'{en}deductible')} {full}, borne before {per_en} {used}{with_en}, "
        f"remaining {yuan(remaining)}",
        remaining,
        "",
    )
    taken, base = yuan(payment.deductible_fen), yuan(payment.base_fen)
    yield ExplanationStep(
        rule,
        f"{zh}本单起付部分：{yuan(remaining)}与{base}取小 = {taken}元",
        f"{capitalised(f'{en}deductible')} of this bill: the lesser of {yuan(remaining)} and "
        f"{base} = {taken}",
        payment.deductible_fen,
        field,
    )


def _pool_steps(workings: Workings) -> Iterator[ExplanationStep]:
    pool = workings.pool
    yield from _band_steps(workings.identity, pool.bands, POOL)
    cap = pool.cap
    if cap is not None and pool.left_over_fen:
        zh, en = words_of_cap(cap)
        left_over = yuan(pool.left_over_fen)
        yield ExplanationStep(
            f"{workings.identity}/{cap.rule}",
            f"统筹基金已达限额（{zh}），超出的政策范围内金额{left_over}元",
            f"The pooled fund has reached its cap ({en}); in scope left over {left_over}",
            pool.left_over_fen,
            "",
        )


def _band_steps(
    identity: str, payments: Sequence[BandPayment], field: str
) -> Iterator[ExplanationStep]:
    name_zh, name_en = FIELD_ZH[field], capitalised(FIELD_EN[field])
    for payment in payments:
        start, end = yuan(payment.start_fen), yuan(payment.start_fen + payment.segment_fen)
        segment, percent = yuan(payment.segment_fen), percent_e8(payment.ratio_e8)
        paid = yuan(payment.paid_fen)
        yield ExplanationStep(
            f"{identity}/{payment.rule}",
            f"{name_zh}：累计{start}至{end}元段，{segment} × {percent} = {paid}元",
            f"{name_en}: cumulative {start} to {end}, {segment} x {percent} = {paid}",
            payment.paid_fen,
            field,
        )


def _layer_steps(workings: Workings) -> Iterator[ExplanationStep]:
    identity = workings.identity
    for layer, payment in zip(workings.plan.layers, workings.layers, strict=True):
        if not payment.base_fen:
            continue
        name_zh, name_en = FIELD_ZH[layer.field], FIELD_EN[layer.field]
        base = yuan(payment.base_fen)
        base_zh, base_en = words_of_base(layer.shares)
        yield ExplanationStep(
            f"{identity}/{layer.bands[0].rule}",
            f"{name_zh}：{base_zh}{base}元",
            f"{capitalised(name_en)}: {base_en} {base}",
            payment.base_fen,
            "",
        )
        if layer.deductible is not None:
            yield from _deductible_steps(
                identity, layer.deductible, payment, "", (name_zh, f"{name_en}'s ")
            )
        yield from _band_steps(identity, payment.bands, layer.field)
        if payment.cap is not None and payment.left_over_fen:
            zh, en = words_of_cap(payment.cap)
            left_over = yuan(payment.left_over_fen)
            yield ExplanationStep(
                f"{identity}/{payment.cap.rule}",
                f"{name_zh}已达限额（{zh}），未支付的基数{left_over}元",
                f"{capitalised(name_en)}: it has reached its cap ({en}); left over {left_over}",
                payment.left_over_fen,
                "",
            )


def _closing_steps(workings: Workings, split: Split, purses: Purses) -> Iterator[ExplanationStep]:
    rule = f"{workings.identity}/{workings.path}"
    total, fund = yuan(split.total_fen), yuan(split.fund_pay_fen)
    person, hospital = yuan(split.person_part_fen), yuan(split.hospital_part_fen)
    zh = " + ".join(f"{FIELD_ZH[layer.field]}{yuan(layer.paid_fen)}" for layer in split.layers)
    en = " + ".join(f"{FIELD_EN[layer.field]} {yuan(layer.paid_fen)}" for layer in split.layers)
    yield ExplanationStep(
        rule, f"基金支付合计：{zh} = {fund}元", f"Funds together: {en} = {fund}",
        split.fund_pay_fen, "fund_pay_fen",
    )  # fmt: skip
    yield from _hospital_steps(workings, split)
    yield ExplanationStep(
        rule,
        f"个人负担：{total} − {fund} − {hospital} = {person}元",
        f"The patient's part: {total} - {fund} - {hospital} = {person}",
        split.person_part_fen,
        "person_part_fen",
    )
    account_rule = f"{workings.identity}/{workings.plan.account_rule}"
    if purses.uses_account:
        paid, balance = yuan(split.account_pay_fen), yuan(purses.account_fen)
        after = yuan(purses.account_fen - split.account_pay_fen)
        yield ExplanationStep(
            account_rule,
            f"个人账户支付{paid}元，余额{balance} → {after}元",
            f"Personal account pays {paid}; balance {balance} -> {after}",
            split.account_pay_fen,
            "account_pay_fen",
        )
    if split.mutual_aid_fen:
        paid = yuan(split.mutual_aid_fen)
        yield ExplanationStep(
            account_rule,
            f"家庭共济账户支付{paid}元",
            f"The family's account pays {paid}",
            split.mutual_aid_fen,
            "mutual_aid_fen",
        )
    cash = yuan(split.cash_fen)
    account, aid = yuan(split.account_pay_fen), yuan(split.mutual_aid_fen)
    yield ExplanationStep(
        rule,
        f"现金支付：{person} − {account} − {aid} = {cash}元",
        f"Cash: {person} - {account} - {aid} = {cash}",
        split.cash_fen,
        "cash_fen",
    )


def _hospital_steps(workings: Workings, split: Split) -> Iterator[ExplanationStep]:
    """Tell what the institution bears: price limits' excess, and what cash is cut by."""
    borne_fen = split.hospital_part_fen - workings.let_off_fen
    if borne_fen:
        rule = f"{workings.identity}/{workings.path}.institution_bears"
        yield ExplanationStep(
            rule,
            f"超限价部分由医疗机构承担：{yuan(borne_fen)}元",
            f"The institution bears what is above price limits: {yuan(borne_fen)}",
            borne_fen,
            "hospital_part_fen",
        )
    if workings.let_off_fen:
        let_off = yuan(workings.let_off_fen)
        yield ExplanationStep(
            f"{workings.identity}/cash_rounding",
            f"现金舍到角，余下{let_off}元由医疗机构承担",
            f"Cash is cut to the jiao; the institution bears the rest {let_off}",
            workings.let_off_fen,
            "hospital_part_fen",
        )


def _sum(splits: Sequence[LineSplit], field: str) -> int:
    return sum(int(getattr(split, field)) for split in splits)
