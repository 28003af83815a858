"""The summary of a payment run, on paper: what a person signs for."""

from collections.abc import Mapping, Sequence

from cardserver.clearing.amounts import yuan
from cardserver.clearing.payments import end_to_end_id, message_id
from cardserver.clearing.payments_store import Payment, PaymentRun
from cardserver.clearing.printed import Grid, Page, printed
from cardserver.clearing.terms_document import Holder

_SIGNED = "签批 signed by: ____________    日期 date: ____________"
_SIGNED_BY_TWO = f"{_SIGNED}    签批 and by: ____________    日期 date: ____________"


def summary_pdf(
    run: PaymentRun,
    payments: Sequence[Payment],
    *,
    fund: str,
    region: str,
    payer: Holder,
    codes: Mapping[int, str],
    signatures_wanted: int,
) -> bytes:
    """Print a run's transfers, their sum, and the hash of the file that the bank gets."""
    digits = run.sha256.hex()
    day = run.execution_date
    return printed(
        Page(
            title="医保清算付款汇总单 Payment run",
            facts=(
                ("经办机构 fund", fund),
                ("批次 run", f"{run.run_no}  {message_id(run.run_no, region)}"),
                ("付款人 payer", f"{payer.name}  {payer.account}  {payer.bank}"),
                (
                    "付款日期 execution date",
                    f"{day // 10_000}-{day // 100 % 100:02d}-{day % 100:02d}",
                ),
                ("笔数 transfers", f"{run.count:,}"),
                ("金额合计 control sum", f"{yuan(run.total_fen)} 元 CNY"),
                (
                    "文件摘要 SHA-256 of pain.001",
                    " ".join(digits[start : start + 8] for start in range(0, len(digits), 8)),
                ),
                ("须签人数 signatures", str(signatures_wanted)),
            ),
            parts=(
                Grid(
                    (
                        "付款号 reference", "机构 institution", "收款人 payee", "账号 account",
                        "开户行 bank", "金额 amount",
                    ),
                    [
                        (
                            end_to_end_id(one.payment_no),
                            codes.get(one.institution_no, str(one.institution_no)),
                            one.account_name[:24], one.account, one.bank, yuan(one.amount_fen),
                        )
                        for one in payments
                    ]
                    + [("合计 total", "", "", "", "", yuan(run.total_fen))],
                    left_count=5,
                    has_total=True,
                ),
            ),
            footer=(_SIGNED_BY_TWO if signatures_wanted > 1 else _SIGNED,),
            is_wide=True,
        )
    )  # fmt: skip
