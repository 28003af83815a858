"""`cardserver balances`: what each account held at a moment or a period's end, from postings."""

import asyncio
import csv
import datetime as dt
import re
import sys
from pathlib import Path
from typing import Annotated

import typer
from msgspec import json
from rich.table import Table

from cardserver.benefits.values import yuan
from cardserver.commands.database import ConfigFile, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.progress import progress_bar
from cardserver.commands.wide_console import wide_console
from cardserver.config import Config, load_config
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.registry_store import Registry
from ledger.accounts import ACCOUNTS, Account, Owner
from ledger.balances_store import AsOf, Balance, balances_as_of, make_snapshots, sums_as_of
from ledger.calendar import SystemClock

app = typer.Typer(
    help="Balances of accounts at a moment or a period's end. 账户余额",
    invoke_without_command=True,
)

_PERIOD = re.compile(r"\d{4}(0[1-9]|1[0-2])")


@app.callback()
@fail_clearly
def balances(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    *,
    config_file: Annotated[
        Path | None, typer.Option("--config", help="The centre's cardserver.toml.")
    ] = None,
    as_of: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="A period's end (202611), a day's end (2026-11-21), or a moment of the fund's"
            " time (2026-11-21T10:30); without it, now.",
        ),
    ] = "",
    account: Annotated[int | None, typer.Option(help="One account of the chart.")] = None,
    institution: Annotated[str, typer.Option(help="One institution's, by its code.")] = "",
    person: Annotated[int | None, typer.Option(help="One person's, by number.")] = None,
    owners: Annotated[
        bool, typer.Option("--owners", help="Each owner's balance, as CSV, instead of sums.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, amounts in fen.")] = False,
) -> None:
    """Show balances as of a moment, from postings: the last snapshot before it, and those since.

    An amount is positive where the account holds what such an account does.

    按时点或期末显示各科目余额。
    """
    if context.invoked_subcommand is not None:
        return
    if config_file is None:
        raise typer.BadParameter("--config is needed")
    if institution and person is not None:
        raise typer.BadParameter("an institution's or a person's, not both")
    config = load_config(config_file)
    wanted = read_as_of(as_of, config.timezone)
    is_one = bool(institution) or person is not None
    if owners or is_one:
        found = asyncio.run(_read(config, wanted, account, institution, person))
        _print_owners(found, as_json=as_json, as_table=is_one and not owners)
    else:
        _print_sums(asyncio.run(_read_sums(config, wanted, account)), as_json=as_json)


@app.command("snapshot")
@fail_clearly
def snapshot(config_file: ConfigFile) -> None:
    """Keep what accounts held at the end of each closed period that has no snapshot yet.

    `cardserver balances` then reads only the postings since. Settlements go on meanwhile; it may
    be broken off and run again.

    为已结账期间生成余额快照。
    """
    config = load_config(config_file)

    async def run() -> list[int]:
        with progress_bar() as bar:
            task = bar.add_task("snapshot 快照", total=None)
            async with open_database(config) as database:
                return await make_snapshots(
                    database,
                    SystemClock(),
                    lambda period, rows: bar.update(
                        task, description=f"snapshot {period}", completed=rows
                    ),
                )

    periods = asyncio.run(run())
    typer.echo(f"snapshots made: {', '.join(map(str, periods)) or 'none was missing'}")


def read_as_of(text: str, timezone: dt.tzinfo) -> AsOf:
    """Read a period, a day (its end) or a moment of the fund's time; nothing is now.

    Raises:
        AdministrationError: It is none of them.
    """
    if not text:
        return AsOf()
    if _PERIOD.fullmatch(text):
        return AsOf(period=int(text))
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise AdministrationError(
            f"--as-of {text}: expected YYYYMM, YYYY-MM-DD or YYYY-MM-DDTHH:MM"
        ) from error
    if len(text) == len("YYYY-MM-DD"):
        ends = moment.replace(tzinfo=timezone) + dt.timedelta(days=1)
        return AsOf(time_ms=int(ends.timestamp() * 1000) - 1)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone)
    return AsOf(time_ms=int(moment.timestamp() * 1000))


async def _read(
    config: Config, wanted: AsOf, account: int | None, institution: str, person: int | None
) -> list[Balance]:
    accounts = [] if account is None else [_account(account)]
    owner = person
    async with open_database(config) as database:
        if institution:
            found = await Registry(database).institution_by_code(institution)
            if found is None:
                raise AdministrationError(f"no institution has the code {institution}")
            owner = found.institution_no
        if owner is not None:
            kind = Owner.INSTITUTION if institution else Owner.PERSON
            accounts = [one for one in accounts or Account if one.owner is kind]
            if not accounts:
                raise AdministrationError(f"account {account} is not divided that way")
        return await database.report(
            lambda connection: list(
                balances_as_of(connection, wanted, accounts=accounts, owner=owner)
            )
        )


async def _read_sums(config: Config, wanted: AsOf, account: int | None) -> list[Balance]:
    accounts = [] if account is None else [_account(account)]
    async with open_database(config) as database:
        return await database.report(
            lambda connection: sums_as_of(connection, wanted, accounts=accounts)
        )


def _account(number: int) -> Account:
    found = ACCOUNTS.get(number)
    if found is None:
        raise AdministrationError(f"the chart has no account {number}")
    return found


def _print_owners(found: list[Balance], *, as_json: bool, as_table: bool) -> None:
    if as_json:
        rows = [
            {"account": one.account, "owner": one.owner, "balance_fen": one.balance_fen}
            for one in found
        ]
        sys.stdout.write(json.format(json.encode(rows), indent=2).decode() + "\n")
    elif as_table:
        _print_table(found)
    else:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(("account", "owner", "balance_fen"))
        writer.writerows((one.account, one.owner, one.balance_fen) for one in found)


def _print_sums(found: list[Balance], *, as_json: bool) -> None:
    if as_json:
        rows = [
            {"account": one.account, "owners": one.owner, "balance_fen": one.balance_fen}
            for one in found
        ]
        sys.stdout.write(json.format(json.encode(rows), indent=2).decode() + "\n")
    else:
        _print_table(found, owner="owners 户数")


def _print_table(found: list[Balance], *, owner: str = "owner 户") -> None:
    table = Table("account", "", "", owner, "balance 余额")
    for column in table.columns[3:]:
        column.justify, column.no_wrap = "right", True
    for one in found:
        account = ACCOUNTS[one.account]
        table.add_row(
            str(one.account), account.name_zh, account.name_en, f"{one.owner:,}",
            yuan(one.balance_fen),
        )  # fmt: skip
    wide_console().print(table)
