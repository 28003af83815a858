"""The words of an explanation: what cases, shares, limits and numbers are called.

Not here: the steps (`explanation.py`), what a policy's keys are called (`policy_words.py`).
"""

from collections.abc import Sequence

from cardserver.benefits.circumstances import type_of_kind
from cardserver.benefits.plan import Plan, PlanCap
from cardserver.benefits.values import BillLine, Case, ItemClass, yuan

PER_ZH = {"year": "本年度", "admission": "本次住院", "bill": "本单"}
PER_EN = {"year": "this year", "admission": "this stay", "bill": "this bill"}
FIELD_ZH = {
    "hifp_pay": "统筹基金",
    "hifob_pay": "大额互助",
    "cvlserv_pay": "公务员补助",
    "hifes_pay": "企业补充",
    "hifmi_pay": "大病保险",
    "maf_pay": "医疗救助",
    "oth_pay": "其他",
}
FIELD_EN = {
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


def words_of_own_line(line: BillLine) -> tuple[str, str]:
    """Say why a line is the patient's own altogether."""
    if not line.is_covered:
        return "当日未参保", "not insured on the day"
    if line.item_class != ItemClass.C:
        return "不在该待遇项目范围内", "not among the scheme's items"
    return words_of_class(ItemClass.C)


def words_of_base(shares: Sequence[int]) -> tuple[str, str]:
    """Say of what a layer pays."""
    if not shares:
        return "超出限额部分", "left over"
    return (
        "、".join(_SHARE_ZH[place] for place in shares),
        " and ".join(_SHARE_EN[place] for place in shares),
    )


def words_of_class(number: int) -> tuple[str, str]:
    """Say which class a line is of."""
    item_class = ItemClass(number)
    return _CLASS_ZH[item_class], _CLASS_EN[item_class]


def words_of_case(case: Case, plan: Plan) -> tuple[str, str]:
    """Say who is treated where, and how they came."""
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
    if plan.disease_zh:
        kind_zh += f"，{plan.disease_zh}（{case.disease}）"
        kind_en += f", {plan.disease_en} ({case.disease})"
    return (
        f"{person_zh}，{case.age}岁，{kind_zh}",
        f"{capitalised(person_en)}, aged {case.age}, {kind_en}",
    )


def words_of_cap(cap: PlanCap) -> tuple[str, str]:
    """Say what a cap limits, and over which time."""
    amount = yuan(cap.amount_fen)
    measure_zh, measure_en = ("支付", "paid") if cap.is_on_paid else ("范围内累计", "in scope")
    with_zh, with_en = words_of_others(cap.others)
    return (
        f"{PER_ZH[cap.per]}{measure_zh}{amount}元{with_zh}",
        f"{amount} {measure_en} {PER_EN[cap.per]}{with_en}",
    )


def words_of_others(others: Sequence[str]) -> tuple[str, str]:
    """Say which further rows count towards an amount."""
    if not others:
        return "", ""
    return f"，与{'、'.join(others)}合并计算", f", together with {', '.join(others)}"


def capitalised(text: str) -> str:
    """Write a sentence's first letter large."""
    return text[0].upper() + text[1:]


def decimal(value: int, places: int) -> str:
    """Write a scaled integer without trailing zeros."""
    whole, rest = divmod(value, 10**places)
    digits = f"{rest:0{places}d}".rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)


def percent_e4(ratio_e4: int) -> str:
    """Write a ratio in ten-thousandths as a percentage."""
    return f"{decimal(ratio_e4, 2)}%"


def percent_e8(ratio_e8: int) -> str:
    """Write a ratio in hundred-millionths as a percentage."""
    return f"{decimal(ratio_e8, 6)}%"
