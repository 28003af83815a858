"""An adjudication under the national interface's field names, as JSON.

Amounts are JSON numbers in yuan with two decimals, written from integers.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Raw

from cardserver.benefits.values import (
    Accumulated,
    Adjudication,
    BillLine,
    BillRefusal,
    Purses,
    yuan,
)

# Fields of Split, in the order in which a receipt has them.
SPLIT_NAMES = {
    "total_fen": "medfee_sumamt",
    "fully_own_fen": "fulamt_ownpay_amt",
    "over_limit_fen": "overlmt_selfpay",
    "pre_self_pay_fen": "preselfpay_amt",
    "in_scope_fen": "inscp_scp_amt",
    "deductible_fen": "act_pay_dedc",
    "fund_pay_fen": "fund_pay_sumamt",
    "hospital_part_fen": "hosp_part_amt",
    "person_part_fen": "psn_part_amt",
    "account_pay_fen": "acct_pay",
    "mutual_aid_fen": "acct_mulaid_pay",
    "cash_fen": "psn_cash_pay",
}
LAYER_NAMES = (
    "hifp_pay", "hifob_pay", "cvlserv_pay", "hifes_pay", "hifmi_pay", "maf_pay", "oth_pay",
)  # fmt: skip


def adjudication_json(
    adjudication: Adjudication, lines: Sequence[BillLine], purses: Purses
) -> bytes:
    """Write an adjudication."""
    split = adjudication.split
    amounts = {name: _number(int(getattr(split, f))) for f, name in SPLIT_NAMES.items()}
    paid = {layer.field: layer.paid_fen for layer in split.layers}
    amounts |= {name: _number(paid.get(name, 0)) for name in LAYER_NAMES}
    content: dict[str, object] = {
        "policy": adjudication.policy,
        "scheme": adjudication.scheme,
        "year": adjudication.year,
        **amounts,
        "balc": _number(purses.account_fen - split.account_pay_fen),
        "layers": [
            {"field": layer.field, "amount": _number(layer.paid_fen)} for layer in split.layers
        ],
        "lines": [
            {
                "med_list_codg": line.item,
                "chrgitm_lv": f"{part.item_class:02d}",
                "pric": _scaled(line.price_microyuan, 6),
                "cnt": _scaled(line.quantity_e4, 4),
                "det_item_fee_sumamt": _number(line.gross_fen),
                "pric_uplmt_amt": (
                    None
                    if part.price_limit_microyuan is None
                    else _scaled(part.price_limit_microyuan, 6)
                ),
                "selfpay_prop": _scaled(part.self_pay_ratio_e4, 4),
                "fulamt_ownpay_amt": _number(part.fully_own_fen),
                "overlmt_amt": _number(part.over_limit_fen),
                "preselfpay_amt": _number(part.pre_self_pay_fen),
                "inscp_scp_amt": _number(part.in_scope_fen),
            }
            for line, part in zip(lines, adjudication.line_splits, strict=True)
        ],
        "moved": {one.scheme: _used(one.amounts) for one in adjudication.moved},
        "explanation": [
            {
                "rule": step.rule,
                "text_zh": step.text_zh,
                "text_en": step.text_en,
                "amount": _number(step.amount_fen),
                "field": SPLIT_NAMES.get(step.field, step.field),
            }
            for step in adjudication.explanation
        ],
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=2)


def refusal_json(refusal: BillRefusal) -> bytes:
    """Write a refusal."""
    return msgspec.json.format(msgspec.json.encode({"refused": refusal}), indent=2)


def _used(moved: Accumulated) -> dict[str, object]:
    return {
        "act_pay_dedc": _number(moved.deductible_fen),
        "inscp_scp_amt": _number(moved.in_scope_fen),
        "hifp_pay": _number(moved.pool_fen),
        "hifob_pay": _number(moved.large_amount_fen),
        "admissions": moved.admissions,
    }


def _number(amount_fen: int) -> Raw:
    return Raw(yuan(amount_fen).encode())


def _scaled(value: int, places: int) -> Raw:
    whole, rest = divmod(value, 10**places)
    return Raw(f"{whole}.{rest:0{places}d}".encode())
