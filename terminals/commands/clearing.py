"""`cardterminal clearing`: an institution applies for its month, and asks how far it is."""

import re
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from protocol.terminal.messages import (
    ClearingApplied,
    ClearingApply,
    ClearingCancel,
    ClearingCancelled,
    ClearingFound,
    ClearingQuery,
    ClearingsFound,
    ClearingState,
    ClearingTotal,
    MessageType,
)
from terminals.commands.desk import DEFAULT_CONFIG, AsJSON, ConfigFile, Desk, recorded, run
from terminals.commands.result import JSON, ExitStatus, Result, fault, plain, result_of
from terminals.receipt import yuan

app = typer.Typer(help="清算 A month's clearing with the fund.", no_args_is_help=True)

Month = Annotated[str, typer.Argument(metavar="MONTH", help="清算月份 202610 or 2026-10.")]
_MONTH = re.compile(r"(\d{4})-?(0[1-9]|1[0-2])", re.ASCII)
_AMOUNT = re.compile(r"(\d{1,11})(?:\.(\d{1,2}))?", re.ASCII)
_TYPES: Final = {11: "门诊 outpatient", 21: "住院 inpatient", 41: "药店 pharmacy"}
STATES: Final = {
    ClearingState.OPEN: "未申请 not applied for",
    ClearingState.APPLIED: "已申请 applied for",
    ClearingState.CLEARED: "已清算 cleared",
    ClearingState.INSTRUCTED: "付款中 payment under way",
    ClearingState.PAID: "[green]已付款 paid[/]",
    ClearingState.RETURNED: "[red]已退汇，将重付 returned, to be paid again[/]",
}


@app.command("apply")
def apply(  # noqa: PLR0913 - one parameter an option
    month: Month,
    clearing_type: Annotated[int, typer.Option("--type", help="11 门诊, 21 住院, 41 药店.")],
    settled_count: Annotated[int, typer.Option(min=0, help="结算笔数 Settlements.")],
    settled: Annotated[str, typer.Option(metavar="YUAN", help="基金与账户支付 What is owed.")],
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    undone_count: Annotated[int, typer.Option(min=0, help="撤销笔数 Undoings.")] = 0,
    undone: Annotated[str, typer.Option(metavar="YUAN", help="撤销金额 Taken back.")] = "0",
    as_json: AsJSON = False,
) -> None:
    """申请清算 Apply for a month of one clearing type, with your own totals."""

    async def act(desk: Desk) -> Result:
        number, settled_fen, undone_fen = (
            _month(month),
            _fen(settled),
            _fen(undone.removeprefix("-")),
        )
        if number is None or settled_fen is None or undone_fen is None:
            return fault("月份或金额无效", "a month or an amount is not valid")
        total = ClearingTotal(clearing_type, settled_count, settled_fen, undone_count, -undone_fen)
        answer = await recorded(
            desk,
            MessageType.CLEARING_APPLY,
            ClearingApply(number, total),
            f"clearing query {number}",
        )
        if isinstance(answer, Result):
            return answer
        told = answer.body
        if not isinstance(told, ClearingApplied):
            return result_of(answer)
        values = {
            "application_id": told.application_id,
            "centre": plain(told.centre),
            "institution": plain(told.institution),
        }
        if told.application_id:
            return result_of(
                answer, values,
                lambda screen: screen.print(f"清算申请 application [bold]{told.application_id}[/]"),
            )  # fmt: skip
        return Result(
            status=ExitStatus.REFUSED,
            code=answer.code,
            text_zh="合计不一致，未受理",
            text_en="the totals differ, nothing was applied for: reconcile, then apply again",
            msgid=answer.msgid,
            values=values,
            render=lambda screen: _render_totals(screen, told),
        )

    run("clearing apply", config, act, as_json=as_json)


@app.command("cancel")
def cancel(
    application_id: Annotated[str, typer.Argument(help="清算申请号 The application.")],
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    as_json: AsJSON = False,
) -> None:
    """撤销申请 Take an application back, while the month is not cleared."""

    async def act(desk: Desk) -> Result:
        answer = await recorded(
            desk,
            MessageType.CLEARING_CANCEL,
            ClearingCancel(application_id),
            "clearing query MONTH",
        )
        if isinstance(answer, Result):
            return answer
        told = answer.body
        if not isinstance(told, ClearingCancelled):
            return result_of(answer)
        return result_of(
            answer, {"application_id": told.application_id},
            lambda screen: screen.print(f"已撤销 taken back: {told.application_id}"),
        )  # fmt: skip

    run("clearing cancel", config, act, as_json=as_json)


@app.command("query")
def query(month: Month, config: ConfigFile = DEFAULT_CONFIG, *, as_json: AsJSON = False) -> None:
    """查询 How far a month is, what it comes to, and whether it is paid."""

    async def act(desk: Desk) -> Result:
        number = _month(month)
        if number is None:
            return fault("月份无效", "this is no month")
        answer = await desk.client.request(MessageType.CLEARING_QUERY, ClearingQuery(number))
        found = answer.body
        if not isinstance(found, ClearingsFound):
            return result_of(answer)
        values: dict[str, JSON] = {
            "month": found.month,
            "is_closed": found.is_closed,
            "clearings": [_values(one) for one in found.clearings],
        }
        return result_of(answer, values, lambda screen: _render(screen, found))

    run("clearing query", config, act, as_json=as_json)


def _month(text: str) -> int | None:
    match = _MONTH.fullmatch(text)
    return None if match is None else int(match[1] + match[2])


def _fen(text: str) -> int | None:
    """Read yuan."""
    match = _AMOUNT.fullmatch(text)
    return None if match is None else int(match[1]) * 100 + int((match[2] or "").ljust(2, "0"))


def _values(one: ClearingFound) -> JSON:
    values = plain(one)
    assert isinstance(values, dict)
    return {**values, "state": one.state.name.lower()}


def _render_totals(screen: Console, told: ClearingApplied) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("", "结算 settled", "", "撤销 undone", ""):
        table.add_column(heading, justify="right")
    for name, one in (("中心 centre", told.centre), ("本机构 here", told.institution)):
        table.add_row(
            name, str(one.settled_count), yuan(one.settled_fen), str(one.undone_count),
            yuan(one.undone_fen),
        )  # fmt: skip
    screen.print(table)


def _render(screen: Console, found: ClearingsFound) -> None:
    closed = "已结账 closed" if found.is_closed else "未结账 open"
    screen.print(f"清算月份 month [bold]{found.month}[/]  {closed}")
    table = Table(box=None, pad_edge=False)
    for heading in ("清算类别 type", "状态 state", "清算号 clearing"):
        table.add_column(heading)
    for heading in (
        "申报 applied", "审核 review", "总额控制 cap", "保证金 withheld", "应付 paid",
        "转下期 carried",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    for one in found.clearings:
        table.add_row(
            _TYPES.get(one.total.clearing_type, str(one.total.clearing_type)),
            STATES[one.state],
            escape(one.clearing_id),
            *map(
                yuan,
                (one.applied_fen, one.review_fen, one.cap_fen, one.withheld_fen, one.paid_fen,
                 one.carried_fen),
            ),
        )  # fmt: skip
    if found.clearings:
        screen.print(table)
    else:
        screen.print("本月无业务 nothing was settled in this month")
    for one in found.clearings:
        if one.reason:
            screen.print(f"退汇原因 returned: {escape(one.reason)}")
