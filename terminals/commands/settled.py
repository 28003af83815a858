"""`cardterminal refund`, `explain`: what is asked of a settlement that stands."""

import dataclasses
import re
from typing import Annotated, Final

import typer
from msgspec.structs import replace
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from protocol.terminal.messages import (
    Explain,
    Explained,
    ExplainResult,
    Line,
    MessageType,
    Refund,
    Refunded,
    RefundLine,
    Split,
)
from terminals.answer import Answer
from terminals.attempts import Outcome
from terminals.commands.desk import DEFAULT_CONFIG, AsJSON, ConfigFile, Desk, Yes, run
from terminals.commands.last import LAST, settled_named
from terminals.commands.result import (
    ExitStatus,
    Result,
    console,
    fault,
    plain,
    result_of,
    result_of_attempt,
)
from terminals.commands.settlement import (
    CLASSES,
    Reason,
    declined,
    may_go_on,
    render_split,
)
from terminals.receipt import decimal, yuan

SettledName = Annotated[str, typer.Argument(help="结算编号或报文标识 setl_id, msgid, or 'last'.")]
_LINE: Final = re.compile(r"([1-9][0-9]{0,3})(?::([0-9]{1,6})(?:\.([0-9]{1,4}))?)?", re.ASCII)
_RESULT_WORDS: Final = {
    ExplainResult.EXPLAINED: "与结算一致 as it was settled",
    ExplainResult.UNDOING: "撤销交易，请查询原结算 it undoes another settlement: explain that one",
    ExplainResult.NOT_REPRODUCED: "[red]重新计算与结算不符，请联系基金中心"
    " decided again it comes to something else: tell the fund[/]",
    ExplainResult.FACTS_NOT_KEPT: "[yellow]结算时未保存依据 its facts were not kept[/]",
    ExplainResult.POLICY_NOT_KNOWN: "[yellow]政策版本已不可用 its policy is no longer at hand[/]",
}


def explain(
    name: SettledName = LAST, config: ConfigFile = DEFAULT_CONFIG, *, as_json: AsJSON = False
) -> None:
    """解释 Show how a settlement came to what it is, by the rules that decided it."""

    async def act(desk: Desk) -> Result:
        setl_id = _settlement_of(desk, name)
        if isinstance(setl_id, Result):
            return setl_id
        if not setl_id:
            return fault("本机无结算", "this terminal has no settlement to explain")
        answer, found = await _explained(desk, setl_id)
        if found is None:
            return result_of(answer)
        result = result_of(answer, _explained_values(found), lambda screen: _render(screen, found))
        if found.result in {ExplainResult.EXPLAINED, ExplainResult.UNDOING}:
            return result
        return dataclasses.replace(
            result,
            status=ExitStatus.REFUSED,
            text_zh="无法解释",
            text_en=f"it can't be explained: {found.result.name.lower()}",
        )

    run("explain", config, act, as_json=as_json)


def refund(
    name: SettledName = LAST,
    lines: Annotated[
        list[str] | None,
        typer.Option(
            "--line",
            "-l",
            help="退费明细 A line by its number, or NUMBER:QUANTITY; may be given again."
            " Without any the lines are listed.",
        ),
    ] = None,
    reason: Reason = "退费 refunded by the operator",
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    yes: Yes = False,
    as_json: AsJSON = False,
) -> None:
    """退费 Give lines of a settlement back: show what comes back, ask, and settle what remains."""

    async def act(desk: Desk) -> Result:
        setl_id = _settlement_of(desk, name)
        if isinstance(setl_id, Result):
            return setl_id
        if not setl_id:
            return fault("本机无结算", "this terminal has no settlement to refund")
        if lines and as_json and not yes:
            return fault("--json 须与 --yes 同用", "--json needs --yes: nobody can be asked")
        answer, found = await _explained(desk, setl_id)
        if found is None:
            return result_of(answer)
        if not lines:
            values = _explained_values(found)
            return result_of(answer, values, lambda screen: _render_lines(screen, found))
        wanted = _wanted(lines, found.lines)
        if isinstance(wanted, Result):
            return wanted
        return await _refunded(desk, Refund(setl_id, wanted, reason, commits=False), asks=not yes)

    run("refund", config, act, as_json=as_json)


def _settlement_of(desk: Desk, name: str) -> str | Result:
    """Give the number of the settlement named; empty where this terminal has none."""
    found = settled_named(desk, name, (MessageType.SETTLE, MessageType.REFUND))
    if isinstance(found, Result):
        return found
    if found is None or not found.setl_id:
        return "" if name == LAST else name
    return found.setl_id


async def _explained(desk: Desk, setl_id: str) -> tuple[Answer, Explained | None]:
    """Ask for all pages and put them together."""
    whole: Explained | None = None
    first_line = first_step = 0
    while True:
        answer = await desk.client.request(
            MessageType.EXPLAIN, Explain(setl_id, first_line, first_step)
        )
        page = answer.body
        if not isinstance(page, Explained):
            return answer, None
        if whole is None:
            whole = page
        else:
            # Once one of both lists has come to its end, its pages are the first ones again.
            has_lines, has_steps = bool(first_line), bool(first_step)
            whole = replace(
                whole,
                lines=whole.lines + (page.lines if has_lines else ()),
                line_splits=whole.line_splits + (page.line_splits if has_lines else ()),
                explanation=whole.explanation + (page.explanation if has_steps else ()),
            )
        first_line = page.next_line if first_line or page is whole else 0
        first_step = page.next_step if first_step or page is whole else 0
        if not first_line and not first_step:
            return answer, whole


def _wanted(lines: list[str], of: tuple[Line, ...]) -> tuple[RefundLine, ...] | Result:
    wanted: list[RefundLine] = []
    for text in lines:
        match = _LINE.fullmatch(text)
        if match is None:
            return fault("明细格式错误", "a line is NUMBER or NUMBER:QUANTITY", text)
        number = int(match[1])
        if number > len(of):
            return fault("账单没有该行", f"the bill has {len(of)} lines", text)
        quantity_e4 = of[number - 1].quantity_e4
        if match[2] is not None:
            quantity_e4 = int(match[2]) * 10_000 + int((match[3] or "0").ljust(4, "0"))
        if not quantity_e4:
            return fault("退费数量为零", "a quantity of nothing", text)
        wanted.append(RefundLine(number, quantity_e4))
    return tuple(wanted)


async def _refunded(desk: Desk, asked: Refund, *, asks: bool) -> Result:
    answer = await desk.client.request(MessageType.REFUND, asked)
    shown = answer.body
    if not isinstance(shown, Refunded):
        return result_of(answer)
    if asks:
        screen = console()
        _render_refund(screen, shown)
        if not may_go_on("确认退费 refund this?", yes=False, as_json=False):
            return declined(as_json=False)
    back = shown.given_back
    body = replace(
        asked,
        commits=True,
        fund_pay_fen=back.fund_pay_fen,
        account_pay_fen=back.account_pay_fen + back.mutual_aid_fen,
        cash_fen=back.cash_fen,
    )
    return _refund_result(await desk.runner.refund(body), preview_ms=answer.took_ms)


def _refund_result(outcome: Outcome, *, preview_ms: float) -> Result:
    body = outcome.body
    values: dict[str, object] = {"preview_ms": round(preview_ms, 3)}
    if not isinstance(body, Refunded):
        return result_of_attempt(outcome, values)
    refunded = body
    values |= {
        "refunds": refunded.refunds,
        "undo_setl_id": refunded.undo_setl_id,
        "psn_no": refunded.psn_no,
        "given_back": plain(refunded.given_back),
        "remaining": plain(refunded.remaining),
        "lines": plain(refunded.lines),
        "balance_after_fen": refunded.balance_after_fen,
        "settled_time_ms": refunded.settled_time_ms,
    }
    return result_of_attempt(outcome, values, lambda screen: _render_refund(screen, refunded))


def _render_refund(screen: Console, refunded: Refunded) -> None:
    if refunded.undo_setl_id:
        screen.print(f"退费结算 refund [bold]{refunded.undo_setl_id}[/]  of {refunded.refunds}")
    for line in refunded.lines:
        quantity = decimal(line.quantity_e4, places=4, places_min=0)
        screen.print(
            f"  {line.line}  {escape(line.name)}  -{quantity}  [bold]{yuan(-line.gross_fen)}[/]"
        )
    back = refunded.given_back
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for heading in ("退回 given back", "剩余 remaining"):
        table.add_column(heading, justify="right")
    left = refunded.remaining
    for label, field in (
        ("费用总额 total", "total_fen"),
        ("基金支付 funds pay", "fund_pay_fen"),
        ("个人账户 personal account", "account_pay_fen"),
        ("家庭共济 family account", "mutual_aid_fen"),
        ("现金支付 cash", "cash_fen"),
    ):
        table.add_row(label, _amount(back, field), _amount(left, field) if left else yuan(0))
    screen.print(table)
    if back.cash_fen < 0:
        screen.print(
            f"[bold yellow]患者须补交 the patient pays in addition {yuan(-back.cash_fen)}[/]"
        )
    if refunded.setl_id:
        screen.print(f"新结算编号 new settlement [bold]{refunded.setl_id}[/]")
    screen.print(f"账户余额 balance after [bold]{yuan(refunded.balance_after_fen)}[/]")


def _amount(split: Split, field: str) -> str:
    return yuan(getattr(split, field))


def _explained_values(found: Explained) -> dict[str, object]:
    return {
        "setl_id": found.setl_id,
        "result": found.result.name.lower(),
        "policy": found.policy,
        "care_date": found.care_date.isoformat(),
        "undoes": found.undoes,
        "undone_by": found.undone_by,
        "replaces": found.replaces,
        "split": plain(found.split),
        "lines": plain(found.lines),
        "line_splits": plain(found.line_splits),
        "explanation": plain(found.explanation),
    }


def _render(screen: Console, found: Explained) -> None:
    _render_lines(screen, found)
    screen.print(
        f"政策 policy {escape(found.policy)}  就诊日 care date {found.care_date}  "
        f"{_RESULT_WORDS[found.result]}"
    )
    for label, number in (
        ("撤销 undoes", found.undoes),
        ("已被撤销 undone by", found.undone_by),
        ("退费后的剩余 what remained of", found.replaces),
    ):
        if number:
            screen.print(f"{label} {number}")
    for step in found.explanation:
        screen.print(f"{yuan(step.amount_fen):>12}  {escape(step.text_zh)}")
        screen.print(f"{'':>12}  [dim]{escape(step.text_en)}  \\[{escape(step.rule)}][/]")
    render_split(screen, found.split)


def _render_lines(screen: Console, found: Explained) -> None:
    screen.print(f"结算编号 settlement [bold]{found.setl_id}[/]")
    table = Table(box=None, pad_edge=False)
    table.add_column("行 line", justify="right")
    table.add_column("项目 item")
    for heading in ("类 class", "单价 price", "数量 quantity", "金额 amount", "范围内 in scope"):
        table.add_column(heading, justify="right")
    for number, (line, split) in enumerate(zip(found.lines, found.line_splits, strict=True), 1):
        table.add_row(
            str(number),
            escape(line.name),
            CLASSES.get(split.item_class, str(split.item_class)),
            decimal(line.price_microyuan, places=6, places_min=2),
            decimal(line.quantity_e4, places=4, places_min=0),
            yuan(line.gross_fen),
            yuan(split.in_scope_fen),
        )
    if found.lines:
        screen.print(table)
