"""`cardterminal reconcile`: this terminal's day beside the centre's; and the day as a file."""

import dataclasses
import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from protocol.terminal.messages import (
    DayTotal,
    DifferenceKind,
    ReconcileAdvice,
    Reconciled,
    ReconcileOutcome,
    RowDifference,
    TotalCompared,
)
from terminals.answer import ClientError
from terminals.commands.desk import DEFAULT_CONFIG, AsJSON, ConfigFile, Desk, run
from terminals.commands.result import JSON, ExitStatus, Render, Result, fault, plain, result_of
from terminals.day_file import write_day
from terminals.receipt import yuan
from terminals.reconciling import DayReconciler, DayResult

Day = Annotated[
    dt.datetime | None,
    typer.Option(
        formats=["%Y-%m-%d"], metavar="YYYY-MM-DD", help="业务日期 The business date; else today."
    ),
]
SHOWN_MAX: Final = 100
OUTCOMES: Final = {
    ReconcileOutcome.EQUAL: "[green]对平 equal[/]",
    ReconcileOutcome.CENTRE_MORE: "[red]中心多 the centre has more[/]",
    ReconcileOutcome.INSTITUTION_MORE: "[red]本机多 this terminal has more[/]",
    ReconcileOutcome.DIFFER: "[red]不一致 they differ[/]",
}
KINDS: Final = {
    DifferenceKind.ONLY_CENTRE: "仅中心有 only at the centre",
    DifferenceKind.ONLY_INSTITUTION: "仅本机有 only here",
    DifferenceKind.AMOUNTS_DIFFER: "金额不符 amounts differ",
    DifferenceKind.STATE_DIFFERS: "状态不符 undone at one side only",
}
ADVICE: Final = {
    ReconcileAdvice.STATUS: "查询并照中心入账 run `status` and book what it says",
    ReconcileAdvice.REVERSE: "冲正（已打印则撤销） run `reverse`, or `cancel` where it is printed",
    ReconcileAdvice.REPEAT: "原报文重发 run `outbox --resolve`: it is sent again",
    ReconcileAdvice.ASK_FUND: "联系基金中心 tell the fund",
    ReconcileAdvice.CORRECT: "照中心应答更正本机账 mend your books by the centre's reply",
}
_CLEARING: Final = {11: "门诊 outpatient", 21: "住院 inpatient", 41: "药店 pharmacy"}

app = typer.Typer(
    help="对账 Reconcile a day with the centre: totals, then row by row.",
    invoke_without_command=True,
)


@app.callback()
def reconcile(
    context: typer.Context,
    day: Day = None,
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    due: Annotated[
        bool, typer.Option("--due", help="所有未对平的往日 Every earlier day that never agreed.")
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """对账 Compare what this terminal did on a day with what the centre has."""
    if context.invoked_subcommand is not None:
        return

    async def act(desk: Desk) -> Result:
        reconciler = DayReconciler(desk.client, desk.outbox, desk.runner)
        days = reconciler.due(today_of(desk)) if due else [_wanted(desk, day)]
        if not days:
            return Result(
                status=ExitStatus.APPROVED,
                text_zh="没有未对平的往日",
                text_en="no earlier day is left to reconcile",
                values={"days": []},
                render=lambda screen: screen.print("没有未对平的往日 no earlier day is left"),
            )
        results = [await reconciler.reconcile(one) for one in days]
        return result_of_days(results)

    run("reconcile", config, act, as_json=as_json)


@app.command("export")
def export(
    file: Annotated[Path, typer.Argument(help="对账文件 The CSV file to write.")],
    day: Day = None,
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    as_json: AsJSON = False,
) -> None:
    """导出 Write a day's rows to a file, for `cardserver reconciliation import`."""

    async def act(desk: Desk) -> Result:
        of = _wanted(desk, day)
        rows = await DayReconciler(desk.client, desk.outbox, desk.runner).rows(of)
        try:
            with file.open("w", encoding="utf-8", newline="") as opened:
                count = write_day(opened, desk.config.terminal.institution, of, rows)
        except OSError as error:
            return fault("文件无法写入", "the file cannot be written", str(error))
        return Result(
            status=ExitStatus.APPROVED,
            values={"file": str(file), "business_date": of.isoformat(), "rows": count},
            render=lambda screen: screen.print(f"{of}: {count} 笔 rows -> {file}"),
        )

    run("reconcile export", config, act, as_json=as_json)


async def reconcile_at_sign_off(desk: Desk) -> list[DayResult] | str:
    """Reconcile what is due, and today so far, before an operator leaves.

    Returns:
        The results; or why there are none: that keeps nobody from signing off.
    """
    reconciler = DayReconciler(desk.client, desk.outbox, desk.runner)
    today = today_of(desk)
    try:
        results = [await reconciler.reconcile(day) for day in reconciler.due(today)]
        if await reconciler.rows(today):
            results.append(await reconciler.reconcile(today))
    except ClientError as error:
        return str(error)
    return results


def values_of(result: DayResult) -> dict[str, JSON]:
    """Give a day as JSON."""
    told = result.told
    return {
        "business_date": result.day.isoformat(),
        "rows": len(result.rows),
        "open_attempts": result.open_count,
        "outcome": None if told is None else told.outcome.name.lower(),
        "is_provisional": told is not None and told.is_provisional,
        "open_differences": 0 if told is None else told.open_count,
        "compared": [] if told is None else [_total(one) for one in told.compared],
        "differences": [_difference(one) for one in result.differences],
    }


def render_day(result: DayResult) -> Render:
    """Give what shows a day on the screen."""

    def render(screen: Console) -> None:
        screen.print(f"业务日期 business date [bold]{result.day}[/]  {len(result.rows)} 笔 rows")
        if result.open_count:
            screen.print(
                f"[yellow]{result.open_count} 笔结果未知，未计入 attempts in doubt are in no row[/]"
            )
        if result.told is not None:
            _render_totals(screen, result.told)
            _render_differences(screen, result.differences)

    return render


def result_of_days(results: Sequence[DayResult]) -> Result:
    """Turn days into a result: refused where the centre refused or anything differs."""
    refused = next((one for one in results if not one.answer.is_approved), None)

    def render(screen: Console) -> None:
        for one in results:
            render_day(one)(screen)

    result = result_of((refused or results[-1]).answer, {}, render)
    values: dict[str, JSON] = {"days": [values_of(one) for one in results]}
    differing = [one for one in results if one.differences or one.open_count]
    if refused is not None or not differing:
        return dataclasses.replace(result, values=values)
    days = ", ".join(str(one.day) for one in differing)
    return dataclasses.replace(
        result,
        status=ExitStatus.REFUSED,
        text_zh=f"对账不平：{days}",
        text_en=f"not reconciled: {days}",
        values=values,
    )


def today_of(desk: Desk) -> dt.date:
    """Give the fund's day by the terminal's clock; the centre has the last word."""
    return dt.datetime.now(ZoneInfo(desk.config.terminal.time_zone)).date()


def _wanted(desk: Desk, day: dt.datetime | None) -> dt.date:
    return today_of(desk) if day is None else day.date()


def _total(one: TotalCompared) -> JSON:
    return {
        "outcome": one.outcome.name.lower(),
        "centre": plain(one.centre),
        "terminal": plain(one.institution),
    }


def _render_totals(screen: Console, told: Reconciled) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("清算类别 clearing type", "", ""):
        table.add_column(heading)
    for heading in ("笔数 count", "总额 total", "基金 funds", "账户 accounts", "现金 cash"):
        table.add_column(heading, justify="right")
    for one in told.compared:
        name = _CLEARING.get(one.centre.clearing_type, str(one.centre.clearing_type))
        kind = "退费 refunds" if one.centre.is_refund else "结算 settled"
        table.add_row(name, kind, "中心 centre", *_figures(one.centre))
        table.add_row("", "", "本机 here", *_figures(one.institution))
        table.add_row("", "", OUTCOMES[one.outcome])
    if told.compared:
        screen.print(table)
    words = OUTCOMES[told.outcome]
    provisional = "  [yellow]当日未结束，暂定 provisional: the day is not over[/]"
    screen.print(f"对账结果 outcome {words}{provisional if told.is_provisional else ''}")


def _figures(total: DayTotal) -> tuple[str, ...]:
    return (
        str(total.count), yuan(total.total_fen), yuan(total.fund_pay_fen),
        yuan(total.account_pay_fen), yuan(total.cash_fen),
    )  # fmt: skip


def _render_differences(screen: Console, differences: Sequence[RowDifference]) -> None:
    if not differences:
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("报文标识 msgid", "差异 difference", "结算 settlement", "处理 what to do"):
        table.add_column(heading)
    for heading in ("中心 centre", "本机 here"):
        table.add_column(heading, justify="right")
    for one in differences[:SHOWN_MAX]:
        row = one.centre or one.institution
        if row is None:
            continue
        table.add_row(
            escape(row.msgid),
            KINDS[one.kind],
            escape(row.setl_id),
            ADVICE[one.advice],
            "" if one.centre is None else yuan(one.centre.total_fen),
            "" if one.institution is None else yuan(one.institution.total_fen),
        )
    screen.print(table)
    if len(differences) > SHOWN_MAX:
        screen.print(f"另有 {len(differences) - SHOWN_MAX} 笔 and as many more: use --json")


def _difference(one: RowDifference) -> JSON:
    return {
        "kind": one.kind.name.lower(),
        "advice": one.advice.name.lower(),
        "centre": plain(one.centre),
        "terminal": plain(one.institution),
        "known": one.known.name.lower(),
        "known_code": one.known_code,
        "known_date": None if one.known_date is None else one.known_date.isoformat(),
    }
