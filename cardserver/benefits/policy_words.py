"""What the parts of a policy are called for people, in Chinese and English.

A key or value that is not listed here is told by its own name, so that a new one can be shown and
compared before anyone finds words for it.
"""

import datetime as dt
from typing import NamedTuple

from cardserver.benefits.policy_document import AmountFen, RatioE4
from cardserver.benefits.values import yuan


class Words(NamedTuple):
    """One thing in Chinese and English."""

    zh: str
    en: str


_KEYS = {
    "name": Words("名称", "name"),
    "title_zh": Words("中文标题", "title in Chinese"),
    "title_en": Words("英文标题", "title in English"),
    "regions": Words("参保地", "regions"),
    "insutypes": Words("险种", "insurances"),
    "person_types": Words("人员类别", "person types"),
    "begins": Words("生效日", "first day"),
    "ends": Words("失效日", "last day"),
    "rounding": Words("舍入", "rounding"),
    "sources": Words("依据", "sources"),
    "title": Words("文件", "document"),
    "supports": Words("所定规则", "lays down"),
    "standing": Words("确认程度", "standing"),
    "url": Words("网址", "address"),
    "outpatient": Words("门诊和药店", "outpatient care and pharmacies"),
    "inpatient": Words("住院", "inpatient care"),
    "med_types": Words("医疗类别", "medical types"),
    "institution_kinds": Words("机构类别", "kinds of institution"),
    "levels": Words("机构级别", "institution levels"),
    "deductible": Words("起付线", "deductible"),
    "bands": Words("统筹基金分段支付", "the pool pays, by band"),
    "bands_per": Words("分段累计", "bands are cumulated over"),
    "cap": Words("封顶线", "cap"),
    "layers": Words("补充层", "supplementary layer"),
    "account": Words("个人账户", "accounts"),
    "pays": Words("个人账户可支付", "the personal account may pay"),
    "mutual_aid_pays": Words("共济账户可支付", "the family's account may pay"),
    "amounts": Words("金额", "amount"),
    "amount": Words("金额", "amount"),
    "ratios": Words("支付比例", "it pays"),
    "ratio": Words("支付比例", "it pays"),
    "by_age": Words("随年龄", "by age"),
    "base": Words("基数", "base"),
    "field": Words("基金", "fund"),
    "per": Words("周期", "over"),
    "measure": Words("限额口径", "limits"),
    "diseases": Words("病种", "diseases"),
    "referral": Words("转诊", "referral"),
    "referrals": Words("转诊", "referral"),
    "designated": Words("定点机构", "designated institution"),
    "from_age": Words("起始年龄", "from age"),
    "each_year": Words("每年增加", "each year"),
    "most": Words("最高", "at most"),
}

_VALUES = {
    "year": Words("年度", "the year"),
    "admission": Words("每次住院", "each stay"),
    "bill": Words("每单", "each bill"),
    "paid": Words("已支付金额", "what is paid"),
    "in_scope": Words("政策范围内累计金额", "the cumulative in-scope amount"),
    "left_over": Words("以前各层限额以上", "what the caps before left over"),
    "own_share": Words("起付线以上个人负担", "the patient's share above the deductible"),
    "fully_own": Words("全自费", "what is fully the patient's own"),
    "over_limit": Words("超限价", "above price limits"),
    "pre_self_pay": Words("先行自付", "class B self pay"),
    "deductible": Words("起付线", "the deductible"),
    "half_away_from_zero": Words("四舍五入到分", "half away from zero to the fen"),
    "verified": Words("已核实", "verified"),
    "recollection": Words("待核实", "from memory"),
    "hifp_pay": Words("统筹基金 hifp_pay", "pooled fund (hifp_pay)"),
    "hifob_pay": Words("大额互助 hifob_pay", "large-amount scheme (hifob_pay)"),
    "cvlserv_pay": Words("公务员补助 cvlserv_pay", "civil servants' supplement (cvlserv_pay)"),
    "hifes_pay": Words("企业补充 hifes_pay", "enterprise supplement (hifes_pay)"),
    "hifmi_pay": Words("大病保险 hifmi_pay", "serious-illness insurance (hifmi_pay)"),
    "maf_pay": Words("医疗救助 maf_pay", "medical aid (maf_pay)"),
    "oth_pay": Words("其他基金 oth_pay", "other funds (oth_pay)"),
    "hospital": Words("医院", "hospital"),
    "community": Words("社区卫生机构", "community centre"),
    "pharmacy": Words("药店", "pharmacy"),
    "local": Words("本地", "local"),
    "referred": Words("已转诊", "referred"),
    "unreferred": Words("未转诊", "not referred"),
    "emergency": Words("急诊", "emergency"),
}

# Codes mean different things under different keys.
_CODES = {
    ("person_types", "11"): Words("在职", "active"),
    ("person_types", "12"): Words("退休", "retired"),
    ("person_types", "14"): Words("居民", "resident"),
    ("med_types", "11"): Words("门诊", "outpatient"),
    ("med_types", "21"): Words("住院", "inpatient"),
    ("med_types", "41"): Words("药店", "pharmacy purchase"),
    ("insutypes", "310"): Words("职工 310", "employees (310)"),
    ("insutypes", "390"): Words("居民 390", "residents (390)"),
    ("levels", 0): Words("无级别", "without level"),
    ("levels", 1): Words("一级", "level 1"),
    ("levels", 2): Words("二级", "level 2"),
    ("levels", 3): Words("三级", "level 3"),
}
_YES, _NO = Words("是", "yes"), Words("否", "no")
_E6 = 10**6


def key_words(key: str) -> Words:
    """Say what a key is called."""
    plain = key.replace("_", " ")
    return _KEYS.get(key, Words(plain, plain))


def value_words(key: str, value: object) -> Words:
    """Say what a plain value under a key is called."""
    match value:
        case bool():
            return _YES if value else _NO
        case AmountFen():
            text = grouped(value)
            return Words(f"{text}元", text)
        case RatioE4():
            text = percent_e8(value * 10**4)
            return Words(text, text)
        case tuple() | list():
            parts = [value_words(key, one) for one in value]
            return Words("、".join(p.zh for p in parts), ", ".join(p.en for p in parts))
        case dt.date() | int() | str():
            text = str(value)
            return _CODES.get((key, value)) or _VALUES.get(text, Words(text, text))
        case _:
            text = str(value)
            return Words(text, text)


def grouped(amount_fen: int) -> str:
    """Write an amount in yuan for a table: thousands apart, fen only where there are some."""
    whole, fraction = yuan(abs(amount_fen)).split(".")
    text = f"{int(whole):,}" + (f".{fraction}" if fraction != "00" else "")
    return f"-{text}" if amount_fen < 0 else text


def percent_e8(ratio_e8: int) -> str:
    """Write a ratio in hundred-millionths as a percentage, without idle noughts."""
    sign = "-" if ratio_e8 < 0 else ""
    whole, rest = divmod(abs(ratio_e8), _E6)
    fraction = f"{rest:06d}".rstrip("0")
    return f"{sign}{whole}{'.' + fraction if fraction else ''}%"
