"""`cardsim fleet`: thousands of signed-on terminals at a running centre, and what they felt."""

import asyncio
import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from simulators.centre_process import CommandError
from simulators.fleet import FleetReport, FleetWish, memory_folder, percentiles, run_fleet

_MIB_KIB = 1024


def fleet(  # noqa: PLR0913 - one parameter an option
    *,
    config: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="The centre's cardserver.toml.")
    ],
    population: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="The made-up city's folder.")
    ],
    password_file: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="Password of its operators.")
    ],
    terminals: Annotated[int, typer.Option(min=1, max=20_000, help="How many.")] = 100,
    seed: Annotated[int, typer.Option(help="The same seed draws the same terminals.")] = 1,
    seconds: Annotated[
        float, typer.Option(min=1, help="How long they work, once all are signed on.")
    ] = 60,
    settlements: Annotated[
        int, typer.Option(min=0, help="End after so many settlements; 0: by time alone.")
    ] = 0,
    think_s: Annotated[
        float, typer.Option(min=0.01, help="Mean time of a cashier between two patients.")
    ] = 10,
    faults: Annotated[
        float, typer.Option(min=0, max=1, help="Which part of the terminals has a fault.")
    ] = 0.1,
    host: Annotated[str, typer.Option(help="The centre's.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="The centre's.")] = 7443,
    broker_host: Annotated[str, typer.Option(help="The broker's; empty for none.")] = "",
    broker_port: Annotated[int, typer.Option(min=1, max=65_535, help="The broker's.")] = 8883,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Keeps the terminals' keys and outboxes for the next run; else they are in memory."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Have simulated terminals work at a running centre; print what their cashiers felt.

    模拟终端群：真实客户端代码，含慢网络、断线、死机、坏读卡器、错误时钟。
    """
    console = Console(stderr=True)
    with ExitStack() as stack:
        wish = FleetWish(
            config_file=config.resolve(),
            population=population,
            password_file=password_file,
            folder=(folder or stack.enter_context(memory_folder())).resolve(),
            terminals=terminals,
            seed=seed,
            seconds=seconds,
            settlements_max=settlements,
            think_s=think_s,
            fault_ratio=faults,
            centre=(host, port),
            broker=(broker_host, broker_port),
        )  # fmt: skip
        bar = stack.enter_context(
            Progress(
                TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn(),
                TimeElapsedColumn(), console=console, transient=True,
            )
        )  # fmt: skip
        task = bar.add_task("")

        def advance(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total or None)

        try:
            report = asyncio.run(run_fleet(wish, advance))
        except CommandError as error:
            console.print(f"[red]{error}[/red]", soft_wrap=True)
            raise typer.Exit(1) from error
    if as_json:
        typer.echo(json.dumps(_plain(report), ensure_ascii=False))
    else:
        _show(report)


def _plain(report: FleetReport) -> dict[str, object]:
    felt = report.felt
    return {
        **{key: value for key, value in asdict(report).items() if key != "felt"},
        "settled": felt.settled,
        "in_doubt": felt.in_doubt,
        "readers_failed": felt.readers_failed,
        "deaths": felt.deaths,
        "drops": felt.drops,
        "codes": {str(code): count for code, count in felt.codes.items()},
        "unanswered": {one.name.lower(): count for one, count in felt.unanswered.items()},
        "felt_ms": {
            one.name.lower(): dict(
                zip(("p50", "p95", "p99", "max"), percentiles(values), strict=True)
            )
            | {"count": len(values)}
            for one, values in felt.took_ms.items()
        },
    }


def _show(report: FleetReport) -> None:
    felt = report.felt
    table = Table("消息 message", "次数 count", "p50 ms", "p95 ms", "p99 ms", "max ms", "无应答")
    for column in table.columns[1:]:
        column.justify = "right"
    for one, values in sorted(felt.took_ms.items()):
        table.add_row(
            one.name,
            f"{len(values):,}",
            *(f"{value:,.1f}" for value in percentiles(values)),
            str(felt.unanswered[one] or ""),
        )
    console = Console()
    console.print(table)
    faults = ", ".join(f"{name} {count}" for name, count in sorted(report.faults.items()))
    codes = ", ".join(f"{code}: {count}" for code, count in sorted(felt.codes.items()))
    each_kib = (report.resident_kib - report.resident_before_kib) / report.terminals
    console.print(
        f"终端 terminals {report.terminals:,} (故障 faults: {faults or '-'});"
        f" 登记 enrolled in {report.enrol_s:.1f} s, 签到 signed on in {report.sign_on_s:.1f} s"
    )
    console.print(
        f"结算 settled {felt.settled:,} in {report.work_s:.1f} s, 未决 in doubt {felt.in_doubt};"
        f" 拒绝 refused {codes or '-'}"
    )
    console.print(
        f"断线 connections cut {felt.drops}, 死机 deaths {felt.deaths},"
        f" 读卡失败 cards not read {felt.readers_failed},"
        f" 消息代理 broker had at most {report.connected_max:,}"
    )
    console.print(
        f"本进程 this process: {report.resident_kib / _MIB_KIB:,.0f} MiB,"
        f" {each_kib:,.0f} KiB a terminal; {report.cpu_s / max(report.work_s, 0.001):.0%} of a core"
    )
