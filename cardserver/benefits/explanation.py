"""Telling a bill's division step by step, in Chinese and English, so that it adds up to the fen.

The steps of one field of Split add up to that field; a layer's steps, which carry its national
name, to what it pays. Nothing is decided here: the figures are those that `adjudication.py`
worked with.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from cardserver.benefits.layer_payments import BandPayment, LayerPayment
from cardserver.benefits.plan import Plan, PlanCap, PlanDeductible, type_of_kind
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
_PER_ZH = {"year": "本年度", "admission": "本次住院", "bill": "本单"}
_PER_EN = {"year": "this year", "admission": "this stay", "bill": "this bill"}
_FIELD_ZH = {
    "hifp_pay": "统筹基金",
    "hifob_pay": "大额互助",
    "cvlserv_pay": "公务员补助",
    "hifes_pay": "企业补充",
    "hifmi_pay": "大病保险",
    "maf_pay": "医疗救助",
    "oth_pay": "其他",
}
_FIELD_EN = {
    "hifp_pay": "pooled fund",
    "hifob_pay": "large-amount scheme",
    "cvlserv_pay": "civil servants' supplement",
    "hifes_pay": "enterprise supplement",
    "hifmi_pay": "serious-illness insurance",
    "maf_pay": "medical aid",
    "oth_pay": "other funds",
}
_CLASS_ZH = {ItemClass.A: "甲类", ItemClass.B: "乙类", ItemClass.C: "丙类或目录外"}
_CLASS_EN = {
    ItemClass.A: "class A",
    ItemClass.B: "class B",
    ItemClass.C: "class C or not in the catalogue",
}
_SHARE_ZH = ("自费", "超限价", "先行自付", "起付部分", "个人自付")
_SHARE_EN = ("fully own", "above price limits", "class B self pay", "deductible", "own share")
_REFERRAL_ZH = {"referred": "已转诊", "unreferred": "未转诊", "emergency": "急诊"}
_REFERRAL_EN = {"referred": "referred", "unreferred": "not referred", "emergency": "emergency"}
_KIND_ZH = {1: "医院", 2: "社区卫生机构", 3: "药店"}
_PERSON_ZH = {"11": "在职", "12": "退休", "14": "居民"}
_PERSON_EN = {"11": "active", "12": "retired", "14": "resident"}


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
        price, quantity = _decimal(line.price_microyuan, 6), _decimal(line.quantity_e4, 4)
        gross = yuan(line.gross_fen)
        yield ExplanationStep(
            "bill",
            f"第{number}行 {line.item}：单价{price}元 × 数量{quantity} = {gross}元",
            f"Line {number} {line.item}: price {price} x quantity {quantity} = {gross}",
            line.gross_fen,
            "total_fen",
        )
        if split.item_class == ItemClass.C:
            class_zh, class_en = _words_of_own_line(line)
            yield ExplanationStep(
                rule,
                f"第{number}行：{class_zh}，全部自费{gross}元",
                f"Line {number}: {class_en}, the patient's own: {gross}",
                split.fully_own_fen,
                "fully_own_fen",
            )
            continue
        class_zh, class_en = _words_of_class(split.item_class)
        base = gross
        if split.over_limit_fen:
            limit = _decimal(split.price_limit_microyuan or 0, 6)
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
            percent, own = _percent_e4(split.self_pay_ratio_e4), yuan(split.pre_self_pay_fen)
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
        words = _words_of_own_line(line) if is_own else _words_of_class(split.item_class)
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
    case_zh, case_en = _words_of_case(workings.case)
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
    per_zh, per_en = _PER_ZH[deductible.per], _PER_EN[deductible.per]
    with_zh, with_en = _words_of_others(deductible.others)
    yield ExplanationStep(
        rule,
        f"{zh}起付标准{full}元，{per_zh}已用{used}元{with_zh}，剩余{yuan(remaining)}元",
        f"{_upper(f'{en}deductible')} {full}, borne before {per_en} {used}{with_en}, "
        f"remaining {yuan(remaining)}",
        remaining,
        "",
    )
    taken, base = yuan(payment.deductible_fen), yuan(payment.base_fen)
    yield ExplanationStep(
        rule,
        f"{zh}本单起付部分：{yuan(remaining)}与{base}取小 = {taken}元",
        f"{_upper(f'{en}deductible')} of this bill: the lesser of {yuan(remaining)} and "
        f"{base} = {taken}",
        payment.deductible_fen,
        field,
    )


def _pool_steps(workings: Workings) -> Iterator[ExplanationStep]:
    pool = workings.pool
    yield from _band_steps(workings.identity, pool.bands, POOL)
    cap = pool.cap
    if cap is not None and pool.left_over_fen:
        zh, en = _words_of_cap(cap)
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
    name_zh, name_en = _FIELD_ZH[field], _upper(_FIELD_EN[field])
    for payment in payments:
        start, end = yuan(payment.start_fen), yuan(payment.start_fen + payment.segment_fen)
        segment, percent = yuan(payment.segment_fen), _percent_e8(payment.ratio_e8)
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
        name_zh, name_en = _FIELD_ZH[layer.field], _FIELD_EN[layer.field]
        base = yuan(payment.base_fen)
        base_zh, base_en = _words_of_base(layer.shares)
        yield ExplanationStep(
            f"{identity}/{layer.bands[0].rule}",
            f"{name_zh}：{base_zh}{base}元",
            f"{_upper(name_en)}: {base_en} {base}",
            payment.base_fen,
            "",
        )
        if layer.deductible is not None:
            yield from _deductible_steps(
                identity, layer.deductible, payment, "", (name_zh, f"{name_en}'s ")
            )
        yield from _band_steps(identity, payment.bands, layer.field)
        if payment.cap is not None and payment.left_over_fen:
            zh, en = _words_of_cap(payment.cap)
            left_over = yuan(payment.left_over_fen)
            yield ExplanationStep(
                f"{identity}/{payment.cap.rule}",
                f"{name_zh}已达限额（{zh}），未支付的基数{left_over}元",
                f"{_upper(name_en)}: it has reached its cap ({en}); left over {left_over}",
                payment.left_over_fen,
                "",
            )


def _closing_steps(workings: Workings, split: Split, purses: Purses) -> Iterator[ExplanationStep]:
    rule = f"{workings.identity}/{workings.path}"
    total, fund = yuan(split.total_fen), yuan(split.fund_pay_fen)
    person, hospital = yuan(split.person_part_fen), yuan(split.hospital_part_fen)
    zh = " + ".join(f"{_FIELD_ZH[layer.field]}{yuan(layer.paid_fen)}" for layer in split.layers)
    en = " + ".join(f"{_FIELD_EN[layer.field]} {yuan(layer.paid_fen)}" for layer in split.layers)
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


def _words_of_own_line(line: BillLine) -> tuple[str, str]:
    """Say why a line is the patient's own altogether."""
    if not line.is_covered:
        return "当日未参保", "not insured on the day"
    if line.item_class != ItemClass.C:
        return "不在该待遇项目范围内", "not among the scheme's items"
    return _words_of_class(ItemClass.C)


def _words_of_base(shares: Sequence[int]) -> tuple[str, str]:
    if not shares:
        return "超出限额部分", "left over"
    return (
        "、".join(_SHARE_ZH[place] for place in shares),
        " and ".join(_SHARE_EN[place] for place in shares),
    )


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]


def _words_of_class(number: int) -> tuple[str, str]:
    item_class = ItemClass(number)
    return _CLASS_ZH[item_class], _CLASS_EN[item_class]


def _words_of_case(case: Case) -> tuple[str, str]:
    person_zh = _PERSON_ZH.get(case.person_type, f"人员类别{case.person_type}")
    person_en = _PERSON_EN.get(case.person_type, f"person type {case.person_type}")
    kind_zh = _KIND_ZH[case.institution_kind]
    kind_en: str = type_of_kind[case.institution_kind]
    if case.institution_level:
        level = case.institution_level
        kind_zh, kind_en = f"{'一二三'[level - 1]}级{kind_zh}", f"{kind_en} of level {level}"
    if case.referral in _REFERRAL_ZH:
        kind_zh += f"，{_REFERRAL_ZH[case.referral]}"
        kind_en += f", {_REFERRAL_EN[case.referral]}"
    if not case.is_designated:
        kind_zh, kind_en = f"{kind_zh}，非定点", f"{kind_en}, not the designated one"
    if case.disease:
        kind_zh, kind_en = f"{kind_zh}，病种{case.disease}", f"{kind_en}, disease {case.disease}"
    return (
        f"{person_zh}，{case.age}岁，{kind_zh}",
        f"{_upper(person_en)}, aged {case.age}, {kind_en}",
    )


def _words_of_cap(cap: PlanCap) -> tuple[str, str]:
    amount = yuan(cap.amount_fen)
    measure_zh, measure_en = ("支付", "paid") if cap.is_on_paid else ("范围内累计", "in scope")
    with_zh, with_en = _words_of_others(cap.others)
    return (
        f"{_PER_ZH[cap.per]}{measure_zh}{amount}元{with_zh}",
        f"{amount} {measure_en} {_PER_EN[cap.per]}{with_en}",
    )


def _words_of_others(others: Sequence[str]) -> tuple[str, str]:
    """Say which further rows count towards an amount."""
    if not others:
        return "", ""
    return f"，与{'、'.join(others)}合并计算", f", together with {', '.join(others)}"


def _sum(splits: Sequence[LineSplit], field: str) -> int:
    return sum(int(getattr(split, field)) for split in splits)


def _decimal(value: int, places: int) -> str:
    """Write a scaled integer without trailing zeros."""
    whole, rest = divmod(value, 10**places)
    digits = f"{rest:0{places}d}".rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)


def _percent_e4(ratio_e4: int) -> str:
    return f"{_decimal(ratio_e4, 2)}%"


def _percent_e8(ratio_e8: int) -> str:
    return f"{_decimal(ratio_e8, 6)}%"
