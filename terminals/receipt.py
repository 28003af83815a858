"""Receipts: bilingual text of a fixed width from a settlement's reply, and the same as values.

A Chinese character takes two columns of the paper. Names are masked as is the practice. Not here:
printing, and telling the centre of it (`commands/settlement.py`).
"""

import datetime as dt
import unicodedata
from collections.abc import Iterator
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from protocol.terminal.messages import Bill, Layer, Refunded, Settled, Split

COLUMNS_MIN: Final = 32
MED_TYPES: Final = {
    "11": ("门诊", "outpatient"),
    "21": ("住院", "inpatient"),
    "41": ("药店购药", "pharmacy"),
}
LAYERS: Final = {
    "hifp_pay": ("统筹基金", "pooled fund"),
    "hifob_pay": ("大额互助", "large-amount scheme"),
    "cvlserv_pay": ("公务员补助", "civil servants"),
    "hifes_pay": ("企业补充", "enterprise supplement"),
    "hifmi_pay": ("大病保险", "serious illness"),
    "maf_pay": ("医疗救助", "medical aid"),
    "oth_pay": ("其他支付", "other"),
}
_INPATIENT: Final = "21"
_ONE_E4: Final = 10_000
VOID: Final = "已撤销 VOID"
COPY: Final = "副本 COPY"


class ReceiptContext(Struct, frozen=True, kw_only=True):
    """What a receipt says beyond the settlement's reply.

    Attributes:
        fund_zh: The fund's name.
        fund_en: The same in English.
        institution: The institution's code.
        institution_name: Its name; may be empty.
        terminal: The terminal's code.
        operator: The operator's number.
        holder: The patient's name, masked; may be empty.
        msgid: The attempt's.
        business_date: The fund's day, ISO 8601; empty where STATUS alone told the outcome.
        bill: What was settled; None for a cancel.
        is_copy: Whether another may have been printed before.
        is_void: Whether the settlement has been undone since.
        time_zone: For the time of settlement.
    """

    fund_zh: str
    fund_en: str
    institution: str
    institution_name: str
    terminal: str
    operator: str
    holder: str
    msgid: str
    business_date: str
    bill: Bill | None
    is_copy: bool
    is_void: bool
    time_zone: str


def masked_name(name: str) -> str:
    """Mask all but the first character: 张三 gives 张*; more than two characters give 张**."""
    return name[:1] + "*" * min(max(len(name) - 1, 0), 2)


def masked_number(number: str) -> str:
    """Mask all but the last four characters of a number."""
    return "*" * max(len(number) - 4, 0) + number[-4:]


def yuan(amount_fen: int) -> str:
    """Write fen as yuan with two decimals, exactly."""
    sign = "-" if amount_fen < 0 else ""
    whole, part = divmod(abs(amount_fen), 100)
    return f"{sign}{whole}.{part:02d}"


def decimal(scaled: int, *, places: int, places_min: int) -> str:
    """Write a scaled integer exactly, with no more zeros at its end than `places_min` wants."""
    assert scaled >= 0
    whole, part = divmod(scaled, 10**places)
    digits = f"{part:0{places}d}".rstrip("0").ljust(places_min, "0")
    return f"{whole}.{digits}" if digits else str(whole)


def width_of(text: str) -> int:
    """Count the columns that a text takes (Unicode Standard Annex 11)."""
    return sum(_width(character) for character in text)


def receipt_text(settled: Settled | Refunded, context: ReceiptContext, *, columns: int) -> str:
    """Lay a receipt out; no line is wider than `columns`."""
    assert columns >= COLUMNS_MIN
    lines = [line for row in _rows(settled, context, columns) for line in row]
    assert all(width_of(line) <= columns for line in lines)
    return "\n".join(lines) + "\n"


def receipt_values(settled: Settled | Refunded, context: ReceiptContext) -> dict[str, object]:
    """Give the same as values with stable names, amounts in fen."""
    return {
        "setl_id": _number(settled),
        "cancels": _undone(settled),
        "replaced_by": settled.setl_id if isinstance(settled, Refunded) else "",
        "msgid": context.msgid,
        "is_copy": context.is_copy,
        "is_void": context.is_void,
        "fund_zh": context.fund_zh,
        "fund_en": context.fund_en,
        "institution": context.institution,
        "institution_name": context.institution_name,
        "terminal": context.terminal,
        "operator": context.operator,
        "holder": context.holder,
        "psn_no": masked_number(settled.psn_no),
        "settled_time": _time(settled, context).isoformat(),
        "business_date": context.business_date,
        "invoice": context.bill.invoice if context.bill else "",
        "med_type": context.bill.med_type if context.bill else "",
        "mdtrt_id": context.bill.mdtrt_id if context.bill else "",
        "until": str(context.bill.discharged or "") if context.bill else "",
        "split": _split_values(_split(settled)),
        "remaining": _split_values(settled.remaining)
        if isinstance(settled, Refunded) and settled.remaining
        else None,
        "balance_after_fen": settled.balance_after_fen,
    }


def _split(settled: Settled | Refunded) -> Split:
    """Give the amounts of the paper; what is given back is negative, as what is cancelled."""
    if isinstance(settled, Settled):
        return settled.split
    split = settled.given_back
    amounts = {name: -getattr(split, name) for name in Split.__struct_fields__ if name != "layers"}
    layers = tuple(Layer(layer.field, -layer.paid_fen) for layer in split.layers)
    return Split(layers=layers, **amounts)


def _split_values(split: Split) -> dict[str, object]:
    return {name: getattr(split, name) for name in Split.__struct_fields__}


def _number(settled: Settled | Refunded) -> str:
    return settled.setl_id if isinstance(settled, Settled) else settled.undo_setl_id


def _undone(settled: Settled | Refunded) -> str:
    return settled.cancels if isinstance(settled, Settled) else settled.refunds


def _rows(
    settled: Settled | Refunded, context: ReceiptContext, columns: int
) -> Iterator[list[str]]:
    rule, strong = ["-" * columns], ["=" * columns]
    yield _centred(context.fund_zh, columns)
    yield _centred(context.fund_en, columns)
    title = ("退费结算单", "REFUND RECEIPT") if _undone(settled) else _title(context.bill)
    yield _centred("医疗保险" + title[0], columns)
    yield _centred(title[1], columns)
    if context.is_copy:
        yield _centred(f"*** {COPY} ***", columns)
    if context.is_void:
        yield _centred(f"*** {VOID} ***", columns)
    yield strong
    yield from (_pair(label, value, columns) for label, value in _facts(settled, context) if value)
    yield rule
    if context.bill is not None and context.bill.lines:
        for line in context.bill.lines:
            yield _pair(line.name, yuan(line.gross_fen), columns)
            if line.quantity_e4 != _ONE_E4:
                quantity = decimal(line.quantity_e4, places=4, places_min=0)
                price = decimal(line.price_microyuan, places=6, places_min=2)
                yield [_cut(f"  {quantity} x {price}", columns)]
        yield rule
    if isinstance(settled, Refunded):
        yield from _returned(settled, columns)
        yield rule
    amounts = _amounts(_split(settled))
    yield from (_pair(label, yuan(amount), columns) for label, amount in amounts)
    if isinstance(settled, Refunded):
        yield rule
        yield from _remaining(settled, columns)
    yield strong
    yield _pair("账户余额 balance after", yuan(settled.balance_after_fen), columns)
    yield rule
    yield [_cut(context.msgid, columns)]
    if context.is_copy:
        yield _centred(f"*** {COPY} ***", columns)


def _title(bill: Bill | None) -> tuple[str, str]:
    """Name the paper; of a stay, whether it goes on."""
    if bill is None or not bill.mdtrt_id or bill.med_type != _INPATIENT:
        return "结算单", "RECEIPT"
    if bill.discharged is not None:
        return "住院中途结算单", "INTERIM RECEIPT OF A STAY"
    return "住院结算单", "FINAL RECEIPT OF A STAY"


def _returned(refunded: Refunded, columns: int) -> Iterator[list[str]]:
    for line in refunded.lines:
        yield _pair(line.name, yuan(-line.gross_fen), columns)
        quantity = decimal(line.quantity_e4, places=4, places_min=0)
        price = decimal(line.price_microyuan, places=6, places_min=2)
        yield [_cut(f"  -{quantity} x {price}", columns)]


def _remaining(refunded: Refunded, columns: int) -> Iterator[list[str]]:
    """Say what stands after the refund."""
    split = refunded.remaining
    if split is None:
        yield _pair("剩余 REMAINING", yuan(0), columns)
        return
    yield _pair("剩余结算 NEW SETTLEMENT", refunded.setl_id, columns)
    for label, amount in (
        ("剩余总额 TOTAL REMAINING", split.total_fen),
        ("  基金支付 funds pay", split.fund_pay_fen),
        ("  个人账户 accounts", split.account_pay_fen + split.mutual_aid_fen),
        ("  现金支付 cash", split.cash_fen),
    ):
        yield _pair(label, yuan(amount), columns)


def _facts(settled: Settled | Refunded, context: ReceiptContext) -> Iterator[tuple[str, str]]:
    institution = f"{context.institution_name} {context.institution}".strip()
    yield "机构 institution", institution
    yield "终端/操作员 terminal/op.", f"{context.terminal}/{context.operator}"
    yield "姓名 name", context.holder
    yield "人员编号 person", masked_number(settled.psn_no)
    yield "结算编号 settlement", _number(settled)
    yield "撤销结算 cancels", _undone(settled)
    yield "结算时间 time", f"{_time(settled, context):%Y-%m-%d %H:%M:%S}"
    yield "业务日期 business date", context.business_date
    if context.bill is not None:
        med_type = MED_TYPES.get(context.bill.med_type)
        yield "类别 care", " ".join(med_type) if med_type else context.bill.med_type
        yield "就诊编号 visit", context.bill.mdtrt_id
        if context.bill.mdtrt_id and context.bill.discharged is not None:
            yield "费用截止 charges until", context.bill.discharged.isoformat()
        yield "发票号 invoice", context.bill.invoice


def _amounts(split: Split) -> Iterator[tuple[str, int]]:
    yield "费用总额 TOTAL", split.total_fen
    for label, amount in (
        ("全自费 fully own", split.fully_own_fen),
        ("超限价 above limit", split.over_limit_fen),
        ("先行自付 class B own", split.pre_self_pay_fen),
        ("范围内 in scope", split.in_scope_fen),
        ("起付线 deductible", split.deductible_fen),
    ):
        if amount:
            yield label, amount
    yield "基金支付 FUNDS PAY", split.fund_pay_fen
    for layer in split.layers:
        if layer.paid_fen:
            zh, en = LAYERS.get(layer.field, (layer.field, ""))
            yield f"  {zh} {en}".rstrip(), layer.paid_fen
    if split.hospital_part_fen:
        yield "医院负担 institution", split.hospital_part_fen
    yield "个人账户 PERSONAL ACCOUNT", split.account_pay_fen
    if split.mutual_aid_fen:
        yield "家庭共济 family account", split.mutual_aid_fen
    yield "现金支付 CASH", split.cash_fen


def _time(settled: Settled | Refunded, context: ReceiptContext) -> dt.datetime:
    return dt.datetime.fromtimestamp(
        settled.settled_time_ms // 1000, tz=ZoneInfo(context.time_zone)
    )


def _pair(label: str, value: str, columns: int) -> list[str]:
    """Put label and value at both edges; on two lines where one is too narrow."""
    label, value = _printable(label), _printable(value)
    gap = columns - width_of(label) - width_of(value)
    if gap >= 1:
        return [label + " " * gap + value]
    value = _cut(value, columns)
    return [_cut(label, columns), " " * (columns - width_of(value)) + value]


def _centred(text: str, columns: int) -> list[str]:
    text = _cut(text, columns)
    return [" " * ((columns - width_of(text)) // 2) + text] if text else []


def _cut(text: str, columns: int) -> str:
    """Keep what fits, with no half of a wide character."""
    text = _printable(text)
    if width_of(text) <= columns:
        return text
    kept, width = [], 0
    for character in text:
        width += _width(character)
        if width > columns - 1:
            break
        kept.append(character)
    return "".join(kept) + "~"


def _printable(text: str) -> str:
    """Drop control characters: they would move the printer, not take a column."""
    return "".join(one for one in text if unicodedata.category(one)[0] != "C")


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1
