"""`cardserver interest`: a year's interest on personal accounts, posted in bulk."""

import time
from typing import Annotated

import typer

from cardserver.commands.database import ConfigFile
from cardserver.commands.faults import fail_clearly
from cardserver.commands.funding_run import (
    AsJSON,
    DryRun,
    Late,
    OfficerOption,
    PasswordFile,
    do_run,
    print_shown,
    show_runs,
)
from cardserver.config import load_config
from cardserver.funding.interest import interest_purpose
from ledger.calendar import business_date
from ledger.entries import EntryKind

app = typer.Typer(
    help="Yearly interest on personal accounts. 个人账户年度计息", no_args_is_help=True
)

Year = Annotated[int, typer.Argument(min=2000, max=2099, help="The year, which has ended.")]
_DECEMBER = 12


@app.command("run")
@fail_clearly
def run_interest(
    year: Year,
    config_file: ConfigFile,
    by: OfficerOption = "",
    password_file: PasswordFile = None,
    *,
    late: Late = False,
    dry_run: DryRun = False,
    as_json: AsJSON = False,
) -> None:
    """Credit each account a year's interest; done again, nothing is posted.

    By the rates that held in the year, of what the account held at each day's end or when the year
    began, as the rules say; exact, and rounded once.

    按当年利率计息入账；可重复执行，不会重复入账。
    """
    config = load_config(config_file)
    today = business_date(time.time_ns() // 1_000_000, config.timezone)
    shown = do_run(
        config,
        "interest",
        lambda database, rules: interest_purpose(database, rules, year, today=today),
        by=by,
        password_file=password_file,
        is_late=late,
        is_dry=dry_run,
    )
    print_shown(shown, as_json=as_json)


@app.command("show")
@fail_clearly
def show_interest(year: Year, config_file: ConfigFile, *, as_json: AsJSON = False) -> None:
    """Show what a year's runs gave, and whether they have ended.

    查看某年计息汇总。
    """
    month = year * 100 + _DECEMBER
    show_runs(load_config(config_file), EntryKind.INTEREST, month, as_json=as_json)
