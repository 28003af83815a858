"""`cardserver allotment`: what personal accounts are given each month, posted in bulk."""

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
    month_of_now,
    print_shown,
    show_runs,
)
from cardserver.config import load_config
from cardserver.funding.allotment import allotment_purpose
from cardserver.registry.administration_store import AdministrationError
from ledger.entries import EntryKind

app = typer.Typer(
    help="Monthly allotments to personal accounts. 个人账户月划拨", no_args_is_help=True
)

Month = Annotated[int, typer.Argument(min=200001, max=209912, help="The month, as 202611.")]


@app.command("run")
@fail_clearly
def run_allotment(
    month: Month,
    config_file: ConfigFile,
    by: OfficerOption = "",
    password_file: PasswordFile = None,
    *,
    late: Late = False,
    dry_run: DryRun = False,
    as_json: AsJSON = False,
) -> None:
    """Give each account what the month's rules say; done again, nothing is posted.

    A month that has not begun can be rehearsed, not posted.

    It goes beside settlements, in steps of at most 1,000 persons. Broken off, it goes on with the
    next call.

    按当月规则向个人账户划拨；可重复执行，不会重复入账。
    """
    config = load_config(config_file)
    if not dry_run and _checked(month) > month_of_now(config):
        raise AdministrationError(
            f"{month} has not begun: --dry-run says what it would give, and nothing is posted yet"
        )
    shown = do_run(
        config,
        "allotment",
        lambda database, rules: allotment_purpose(database, rules, _checked(month)),
        by=by,
        password_file=password_file,
        is_late=late,
        is_dry=dry_run,
    )
    print_shown(shown, as_json=as_json)


@app.command("show")
@fail_clearly
def show_allotment(month: Month, config_file: ConfigFile, *, as_json: AsJSON = False) -> None:
    """Show what a month's runs gave, by rule, and whether they have ended.

    查看某月划拨汇总。
    """
    show_runs(load_config(config_file), EntryKind.ALLOTMENT, _checked(month), as_json=as_json)


def _checked(month: int) -> int:
    if not 1 <= month % 100 <= 12:  # noqa: PLR2004 - months
        raise typer.BadParameter(f"{month} is no month, as 202611")
    return month
