"""`cardserver period`: months of the ledger, and their closing."""

import asyncio
from typing import Annotated

import typer
from rich.table import Table

from cardserver.clearing.amounts import month_text, yuan
from cardserver.clearing.closing import Closing, ClosingWish, close
from cardserver.commands.clearing_desk import (
    AsJSON,
    Despite,
    Month,
    OfficerOption,
    PasswordFile,
    echo_json,
    month_of,
    open_desk,
)
from cardserver.commands.database import ConfigFile, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.progress import progress_bar
from cardserver.commands.wide_console import wide_console
from cardserver.config import Config, load_config
from ledger.calendar import SystemClock, text_of
from ledger.period_store import Period, read_periods

app = typer.Typer(help="Months of the ledger: which are closed. 会计期间", no_args_is_help=True)


@app.command("list")
@fail_clearly
def list_periods(config_file: ConfigFile, *, as_json: AsJSON = False) -> None:
    """List the months that have postings, open or closed.

    列出会计期间。
    """
    config = load_config(config_file)
    found = asyncio.run(_read(config))
    if as_json:
        echo_json(found)
        return
    table = Table("period 期间", "closed 结账时间", "postings 分录", "debit = credit 借贷")
    for column in table.columns[2:]:
        column.justify = "right"
    for one in found:
        closed = (
            text_of(one.closed_time_ms, config.timezone) if one.closed_time_ms else "open 未结账"
        )
        table.add_row(
            month_text(one.period), closed, f"{one.postings_count:,}", yuan(one.debit_fen)
        )
    wide_console().print(table)


@app.command("close")
@fail_clearly
def close_period(
    config_file: ConfigFile,
    month: Month,
    *,
    by: OfficerOption,
    password_file: PasswordFile = None,
    despite: Despite = "",
    early: Annotated[
        bool,
        typer.Option(help="Close it before it is over: what still comes counts in the next one."),
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """Close a month: nothing is posted to it any more, what comes late counts in the next one.

    It is refused while reviews or differences of the month are open, unless `--despite` says why.
    Then the balances at its end are kept. Done again it changes nothing.

    会计期间结账：此后迟到的业务记入下一期间。
    """
    config = load_config(config_file)
    wished = month_of(month)

    async def run() -> Closing:
        async with open_desk(config, by, password_file) as desk:
            wish = ClosingWish(wished, desk.today, despite, early)
            with progress_bar() as bar:
                task = bar.add_task("balances 余额", total=None)
                return await close(
                    desk.database,
                    wish,
                    desk.actor,
                    SystemClock(),
                    lambda period, rows: bar.update(
                        task, description=f"balances {period}", completed=rows
                    ),
                )

    closing = asyncio.run(run())
    if as_json:
        echo_json(closing)
        return
    for one in closing.despite:
        typer.echo(f"open 未办结: {one}", err=True)
    what = "closed 已结账" if closing.was_open else "was closed before 此前已结账"
    typer.echo(f"{month_text(closing.period)}: {what}")


async def _read(config: Config) -> list[Period]:
    async with open_database(config) as database:
        return await database.report(read_periods)
