"""What `cardserver allotment` and `cardserver interest` share: doing a run, and showing one."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from msgspec import Struct, json
from rich.table import Table

from cardserver.commands.database import acting_user, open_database
from cardserver.commands.fund_operator import password_of, prove_operator
from cardserver.commands.progress import progress_bar
from cardserver.commands.wide_console import wide_console
from cardserver.config import Config
from cardserver.funding.acts import open_fund_acts
from cardserver.funding.rules import FundingRules
from cardserver.funding.rules_store import rules_in_force
from cardserver.funding.runs import Progress, Purpose, Ran, rehearse, run
from cardserver.funding.runs_store import RuleSum, Run, count_steps, find_runs, sums_of
from cardserver.registry.registry_store import Registry
from cardserver.registry.roles import Role
from cardserver.registry.values import Actor
from ledger.calendar import business_date, text_of
from ledger.database_store import Database

T = TypeVar("T")

_GIVES_WAY = 10

OfficerOption = Annotated[
    str,
    typer.Option("--by", metavar="OPERATOR", help="The fund's funding officer; signs by password."),
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file", exists=True, dir_okay=False,
        help="Holds the officer's password; without it, it is asked for.",
    ),
]  # fmt: skip
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be given, by rule; post nothing.")
]
Late = Annotated[
    bool, typer.Option("--late", help="For those whom this period's runs before left out.")
]
AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON, amounts in fen.")]


class RunShown(Struct, frozen=True):
    """A run, as `--json` has it.

    Attributes:
        run_no: 0: rehearsed.
        steps_done: By this call.
    """

    run_no: int
    month: int
    attempt: int
    rules: str
    sums: tuple[RuleSum, ...]
    persons_count: int
    amount_fen: int
    steps_done: int = 0


def month_of_now(config: Config) -> int:
    """Return the month that runs, YYYYMM, by the fund's clock."""
    return business_date(time.time_ns() // 1_000_000, config.timezone) // 100


async def officer(registry: Registry, by: str, password_file: Path | None) -> Actor:
    """Have a funding officer prove who they are.

    Raises:
        AdministrationError: They don't.
    """
    operator = await prove_operator(
        registry, by, password_of(by, password_file), role=Role.FUNDING_OFFICER
    )
    user = acting_user()
    return Actor(user.name, user.now_ms, operator.operator_no)


async def with_progress(name: str, work: Callable[[Progress], Awaitable[T]]) -> T:
    """Do work under a progress bar."""
    with progress_bar() as bar:
        task = bar.add_task(name, total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        return await work(show)


def do_run(
    config: Config,
    name: str,
    purpose_of: Callable[[Database, FundingRules], Purpose],
    *,
    by: str,
    password_file: Path | None,
    is_late: bool,
    is_dry: bool,
) -> RunShown:
    """Do a run, or rehearse it, giving way to settlements wherever a processor is wanted."""
    os.setpriority(
        os.PRIO_PROCESS, 0, max(_GIVES_WAY, os.getpriority(os.PRIO_PROCESS, 0))
    )  # set, not added: a caller may be nice already

    async def work() -> RunShown:
        async with open_database(config) as database:
            purpose = purpose_of(database, await rules_in_force(database))
            if is_dry:
                attempt = 1 + len(await find_runs(database, purpose.kind, purpose.month))
                sums = await with_progress(
                    name,
                    lambda show: rehearse(
                        database, purpose, attempt=attempt if is_late else 1, on_progress=show
                    ),
                )
                return _shown(0, purpose.month, attempt, purpose.rules, sums)
            actor = await officer(Registry(database), by, password_file)
            ran: Ran = await with_progress(
                name,
                lambda show: run(
                    database,
                    lambda: open_fund_acts(database, config.timezone),
                    purpose,
                    actor,
                    is_late=is_late,
                    on_progress=show,
                ),
            )
            one = ran.run
            return _shown(
                one.run_no, one.month, one.attempt, one.rules, ran.sums, steps_done=ran.steps_done
            )

    return asyncio.run(work())


def show_runs(config: Config, kind: int, month: int, *, as_json: bool) -> None:
    """Show a month's runs: what each gave, and whether it has ended."""

    async def read() -> list[tuple[Run, list[RuleSum], tuple[int, int]]]:
        async with open_database(config) as database:
            return [
                (one, await sums_of(database, one.run_no), await count_steps(database, one.run_no))
                for one in await find_runs(database, kind, month)
            ]

    found = asyncio.run(read())
    shown = [
        _shown(one.run_no, month, one.attempt, one.rules, sums, steps_done=steps[1])
        for one, sums, steps in found
    ]
    if as_json:
        typer.echo(json.format(json.encode(shown)).decode())
        return
    for (one, _, (count, done)), each in zip(found, shown, strict=True):
        print_run(each)
        state = (
            f"ended {text_of(one.ends_time_ms, config.timezone)} 已完成"
            if one.ends_time_ms
            else f"{done} of {count} steps done: run it again to go on 未完成，可继续"
        )
        typer.echo(f"run {one.run_no}: {state}")
    if not found:
        typer.echo(f"there is no run of {month} 没有该期划拨")


def print_shown(shown: RunShown, *, as_json: bool) -> None:
    """Print what a run gave, or would give."""
    if as_json:
        typer.echo(json.format(json.encode(shown)).decode())
        return
    print_run(shown)
    if not shown.run_no:
        typer.echo("nothing was posted 试算，未入账")
    elif shown.steps_done:
        typer.echo(f"run {shown.run_no}: {shown.steps_done} steps posted 已入账")
    else:
        typer.echo(f"run {shown.run_no} had been done: nothing was posted 此前已完成，未重复入账")


def print_run(shown: RunShown) -> None:
    """Print a run as a table, by rule."""
    table = Table("规则 rule", "人数 persons", "金额 yuan", title=f"{shown.month} {shown.rules}")
    for column in table.columns[1:]:
        column.justify = "right"
    for one in shown.sums:
        table.add_row(one.rule, f"{one.persons_count:,}", yuan(one.amount_fen))
    table.add_section()
    table.add_row("合计 total", f"{shown.persons_count:,}", yuan(shown.amount_fen))
    wide_console().print(table)


def yuan(amount_fen: int) -> str:
    """Write an amount as people read it."""
    whole, rest = divmod(abs(amount_fen), 100)
    return f"{'-' if amount_fen < 0 else ''}{whole:,}.{rest:02d}"


def _shown(
    run_no: int,
    month: int,
    attempt: int,
    rules: str,
    sums: Sequence[RuleSum],
    *,
    steps_done: int = 0,
) -> RunShown:
    return RunShown(
        run_no, month, attempt, rules, tuple(sums),
        sum(one.persons_count for one in sums), sum(one.amount_fen for one in sums), steps_done,
    )  # fmt: skip
