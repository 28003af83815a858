"""`cardserver adjudicate`: divide a bill by a policy file, without a centre, and say why."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cardserver.benefits.adjudication import adjudicate as adjudicate_bill
from cardserver.benefits.bill_file import BillFile, BillFileError, load_bill
from cardserver.benefits.national_names import SPLIT_NAMES, adjudication_json, refusal_json
from cardserver.benefits.policy import Policy, PolicyError, load_policy
from cardserver.benefits.values import Adjudication, BillRefusal, yuan

_ROWS = (
    ("total_fen", "医疗费总额", "Total"),
    ("fully_own_fen", "全自费", "Fully own"),
    ("over_limit_fen", "超限价自费", "Above price limits"),
    ("pre_self_pay_fen", "先行自付", "Class B self pay"),
    ("in_scope_fen", "政策范围内", "In scope"),
    ("deductible_fen", "其中起付", "of which deductible"),
    ("fund_pay_fen", "基金支付", "Funds pay"),
    ("hospital_part_fen", "医疗机构承担", "The institution bears"),
    ("person_part_fen", "个人负担", "Patient's part"),
    ("account_pay_fen", "个人账户支付", "Personal account"),
    ("mutual_aid_fen", "共济账户支付", "Family's account"),
    ("cash_fen", "现金支付", "Cash"),
)


def adjudicate(
    policy: Annotated[Path, typer.Option(help="The policy, a TOML file.")],
    bill: Annotated[Path, typer.Option(help="The bill, a JSON or TOML file.")],
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the national field names as JSON.")
    ] = False,
) -> None:
    """Divide a bill by a policy, and tell every step.

    按政策试算账单，逐步说明。

    Exit status 0: divided; 1: refused; 2: a file cannot be used.
    """
    rules, given = _load(policy, bill)
    result = adjudicate_bill(
        rules,
        given.case,
        given.lines,
        given.used,
        given.purses,
        explain=True,
        total_fen=given.total_fen,
        stay=given.stay,
    )
    if isinstance(result, BillRefusal):
        if as_json:
            typer.echo(refusal_json(result).decode())
        else:
            typer.echo(f"{result.reason}: {result.detail_zh}\n{result.detail_en}", err=True)
        raise typer.Exit(1)
    if as_json:
        typer.echo(adjudication_json(result, given.lines, given.purses).decode())
    else:
        _print(rules, result, given)


def _load(policy: Path, bill: Path) -> tuple[Policy, BillFile]:
    file = policy
    try:
        rules = load_policy(policy.read_text(encoding="utf-8"))
        file = bill
        form: Literal["json", "toml"] = "toml" if bill.suffix == ".toml" else "json"
        return rules, load_bill(bill.read_text(encoding="utf-8"), form, rules)
    except (PolicyError, BillFileError, OSError, UnicodeDecodeError) as error:
        for sentence in str(error).splitlines():
            typer.echo(f"cardserver: {file}: {sentence}", err=True)
    raise typer.Exit(2)


def _print(policy: Policy, result: Adjudication, given: BillFile) -> None:
    console = Console(file=sys.stdout, soft_wrap=True, highlight=False)
    document = policy.document
    console.print(f"[bold]{escape(document.title_zh)}[/]  {escape(document.title_en)}")
    console.print(escape(f"{result.policy}  {result.scheme}  {result.year}"))
    lines = Table("#", "编码 item", title="明细 Lines")
    for name in ("金额 gross", "自费 own", "超限 over", "先行 class B", "范围内 in scope"):
        lines.add_column(name, justify="right")
    for number, (line, part) in enumerate(
        zip(given.lines, result.line_splits, strict=True), start=1
    ):
        amounts = (
            line.gross_fen,
            part.fully_own_fen,
            part.over_limit_fen,
            part.pre_self_pay_fen,
            part.in_scope_fen,
        )
        lines.add_row(str(number), escape(line.item), *(yuan(amount) for amount in amounts))
    console.print(lines)
    division = Table("项目", "item", "field", title="费用分割 Split")
    division.add_column("元 yuan", justify="right")
    for field, zh, en in _ROWS:
        division.add_row(zh, en, SPLIT_NAMES[field], yuan(int(getattr(result.split, field))))
        if field == "deductible_fen":
            for layer in result.split.layers:
                division.add_row("基金层", "layer", layer.field, yuan(layer.paid_fen))
    console.print(division)
    console.print("[bold]计算过程 Step by step[/]")
    for number, step in enumerate(result.explanation, start=1):
        field = SPLIT_NAMES.get(step.field, step.field)
        console.print(escape(f"{number:>3} {step.text_zh}"))
        console.print(escape(f"    {step.text_en}"))
        console.print(f"    [dim]{escape(step.rule)}{f'  -> {field}' if field else ''}[/]")
