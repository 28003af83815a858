"""What `cardserver reconciliation` shows, for people and as JSON."""

import sys
from dataclasses import asdict

import typer
from msgspec import json
from rich.markup import escape
from rich.table import Table

from cardserver.benefits.values import yuan
from cardserver.commands.wide_console import print_whole, wide_console
from cardserver.config import Config
from cardserver.reconciliation.day_summary import InstitutionDay
from cardserver.reconciliation.importing import Imported
from cardserver.reconciliation.resolving_store import Listed
from cardserver.reconciliation.values import Run
from ledger.calendar import text_of

_KINDS = {
    1: "仅中心有 only at the centre",
    2: "仅机构有 only at the institution",
    3: "金额不符 amounts differ",
    4: "状态不符 undone at one side only",
}
_ADVICE = {
    1: "机构查询入账 it asks STATUS",
    2: "机构冲正 it reverses",
    3: "机构重发 it repeats",
    4: "中心核查 the fund looks into it",
    5: "机构更正 it mends its books",
}
_OUTCOMES = {
    0: "对平 equal",
    1: "中心多 centre more",
    2: "机构多 institution more",
    3: "不一致 differ",
}


def print_json(value: object) -> None:
    """Print a value as JSON."""
    sys.stdout.write(json.format(json.encode(value), indent=2).decode() + "\n")


def day_json(one: InstitutionDay) -> dict[str, object]:
    """An institution's day as JSON."""
    return {
        "institution": one.institution.code,
        "name": one.institution.name,
        "state": one.state.name.lower(),
        "outcome": None if one.outcome is None else int(one.outcome),
        **asdict(one.figures),
        "terminals": one.terminals,
        "terminals_reconciled": one.terminals_reconciled,
        "open_differences": one.open_count,
    }


def listed_json(one: Listed, now_ms: int) -> dict[str, object]:
    """A difference as JSON."""
    found = one.difference
    return {
        "difference": found.difference_no,
        "institution": one.institution,
        "name": one.institution_name,
        "business_date": _date_text(found.business_date),
        "terminal": found.terminal,
        "msgid": found.msgid,
        "is_refund": found.is_refund,
        "kind": found.kind.name.lower(),
        "advice": found.advice.name.lower(),
        "clearing_type": found.clearing_type,
        "gap_fen": found.gap_fen,
        "age_days": one.age_days(now_ms),
        "centre": found.content.centre,
        "at_institution": found.content.institution,
        "known": found.content.known.name.lower(),
        "known_date": found.content.known_date,
        "resolution": found.resolution.name.lower(),
        "resolved_by": found.operator_no,
        "reason": found.reason,
    }


def run_json(run: Run) -> dict[str, object]:
    """A comparison as JSON."""
    return {
        "run": run.run_no,
        "terminal_no": run.terminal_no,
        "recorded_time_ms": run.recorded_time_ms,
        "source": run.source.name.lower(),
        "outcome": int(run.outcome),
        "is_provisional": run.is_provisional,
        "is_detailed": run.is_detailed,
        "compared": run.compared,
    }


def print_day(found: list[InstitutionDay]) -> None:
    """Show how all institutions stand."""
    table = Table("institution 机构", "", "state 状态", box=None)
    for heading in ("settled 结算", "undone 退费", "total 总额", "funds 基金", "accounts 账户",
                    "terminals 终端", "open 差异"):  # fmt: skip
        table.add_column(heading, justify="right")
    for one in found:
        figures = one.figures
        table.add_row(
            one.institution.code, escape(one.institution.name), " ".join(one.state.value),
            f"{figures.count:,}", f"{figures.refund_count:,}", yuan(figures.total_fen),
            yuan(figures.fund_pay_fen), yuan(figures.account_pay_fen),
            f"{one.terminals_reconciled}/{one.terminals}", str(one.open_count),
        )  # fmt: skip
    wide_console().print(table)


def print_listed(found: list[Listed], now_ms: int) -> None:
    """Show differences, one a line."""
    table = Table("no.", "institution 机构", "day 日期", "msgid", "difference 差异", "next 处理",
                  box=None)  # fmt: skip
    for heading in ("gap 差额", "days 天数"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for one in found:
        kept = one.difference
        table.add_row(
            str(kept.difference_no), one.institution, _date_text(kept.business_date),
            kept.msgid, _KINDS[kept.kind], _ADVICE[kept.advice], yuan(kept.gap_fen),
            str(one.age_days(now_ms)), "" if not kept.resolved_time_ms else
            f"{kept.resolution.name.lower()} {escape(kept.reason)}",
        )  # fmt: skip
    print_whole(table)  # a msgid is known by its end


def print_sides(listed: Listed) -> None:
    """Show both sides of a difference."""
    content = listed.difference.content
    table = Table("", "settlement 结算", "type 类别", box=None)
    for heading in ("total 总额", "funds 基金", "accounts 账户", "cash 现金"):
        table.add_column(heading, justify="right")
    table.add_column("state 状态")
    for name, row in (("centre 中心", content.centre), ("institution 机构", content.institution)):
        if row is None:
            table.add_row(name, "-")
            continue
        table.add_row(
            name, escape(row.setl_id), str(row.clearing_type), yuan(row.total_fen),
            yuan(row.fund_pay_fen), yuan(row.account_pay_fen), yuan(row.cash_fen),
            row.state.name.lower(),
        )  # fmt: skip
    wide_console().print(table)
    if content.centre is None:
        date = content.known_date or ""
        typer.echo(f"the centre knows 中心所知: {content.known.name.lower()} {date}")


def print_runs(runs: list[Run], config: Config) -> None:
    """Show comparisons of a day."""
    table = Table("run 次", "time 时间", "whose 范围", "by 方式", "outcome 结果", box=None)
    for run in runs:
        whose = f"terminal {run.terminal_no}" if run.terminal_no else "institution 全机构"
        notes = " (provisional 暂定)" if run.is_provisional else ""
        table.add_row(
            str(run.run_no), text_of(run.recorded_time_ms, config.timezone), whose,
            run.source.name.lower(), _OUTCOMES[run.outcome] + notes,
        )  # fmt: skip
    wide_console().print(table)


def print_imported(imported: Imported, *, as_json: bool) -> None:
    """Show what a file came to."""
    told = imported.told
    if as_json:
        print_json(
            {
                "rows": imported.rows,
                "refused": imported.refused,
                "outcome": int(told.outcome),
                "is_provisional": told.is_provisional,
                "compared": told.compared,
                "differences": {
                    kind.name.lower(): count for kind, count in imported.differences.items()
                },
                "open_differences": imported.open_count,
            }
        )
        return
    provisional = ", provisional 暂定" if told.is_provisional else ""
    typer.echo(
        f"{imported.rows:,} rows 笔, {imported.refused:,} refused 退回:"
        f" {_OUTCOMES[told.outcome]}{provisional}"
    )
    for kind, count in sorted(imported.differences.items()):
        typer.echo(f"  {_KINDS[kind]}: {count:,}")
    typer.echo(f"open differences of the day 当日未决差异: {imported.open_count:,}")


def _date_text(day: int) -> str:
    """YYYYMMDD as 2026-11-22."""
    return f"{day // 10_000}-{day // 100 % 100:02}-{day % 100:02}"
