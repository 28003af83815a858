"""`cardserver registry`, `card`: fill the registry, and change it as things happen.

Not here: making a centre and its terminals' certificates (`init.py`).
"""

import asyncio
import datetime as dt
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cardserver.catalogue.list_import import load_catalogue
from cardserver.commands.database import ConfigFile, acting_user, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.registry_filing import app as filing_app
from cardserver.config import Config, load_config
from cardserver.registry import administration_store as administration
from cardserver.registry import import_files
from cardserver.registry.administration_store import AdministrationError, CardChange
from cardserver.registry.import_store import (
    CATALOGUE_FILE,
    LOADERS,
    FileResult,
    files_of,
    load_file,
)
from cardserver.registry.opening_balances_store import load_balances
from cardserver.registry.passwords import hash_password
from cardserver.registry.registry_store import Registry
from cardserver.registry.revocation_store import list_missing_cards
from cardserver.registry.roles import Role
from cardserver.registry.values import Institution, Operator, Terminal
from ledger.calendar import SystemClock
from ledger.database_store import Database

app = typer.Typer(help="Fill the registry and manage operators and terminals.")
operator_app = typer.Typer(help="Operators of institutions and of the fund.")
terminal_app = typer.Typer(help="Terminals; `cardserver enrol-terminal` adds one.")
card_app = typer.Typer(help="Cards as things happen to them.")
app.add_typer(operator_app, name="operator")
app.add_typer(terminal_app, name="terminal")
app.add_typer(filing_app, name="filing")

Code = Annotated[str, typer.Argument(help="The operator's number at the institution.")]
InstitutionCode = Annotated[
    str, typer.Option("--institution", help="The institution's code; without it, the fund's own.")
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="Holds the password; without it, asked for."),
]


# --- registry import ----------------------------------------------------------------------------


@app.command("import")
@fail_clearly
def import_folder(
    config_file: ConfigFile,
    directory: Annotated[Path, typer.Argument(help="Folder of CSV files.")],
    rejections_max: Annotated[
        int, typer.Option(min=0, help="How many rejected rows to name, of each file.")
    ] = 20,
) -> None:
    """Load CSV files into the registry; loading them again changes nothing.

    Exit status 0: every row is in the registry as the files say; 1: some rows are not, or a file
    could not be read.

    将 CSV 文件导入登记库；重复导入不会产生重复数据。
    """
    config = load_config(config_file)
    results = asyncio.run(_import(config, directory))
    table = Table("file", "added", "unchanged", "rejected")
    for column in table.columns[1:]:
        column.justify = "right"
    for result in results:
        table.add_row(
            result.file, f"{result.added:,}", f"{result.unchanged:,}", f"{result.rejected:,}"
        )
    console = Console(highlight=False)
    console.print(table)
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    for result in results:
        for rejection in result.rejections[:rejections_max]:
            errors.print(escape(str(rejection)))
        more = result.rejected - min(len(result.rejections), rejections_max)
        if result.rejected and more:
            errors.print(f"{result.file}.csv: {more:,} more rows rejected")
    if any(result.rejected for result in results):
        raise typer.Exit(1)


async def _import(config: Config, directory: Path) -> list[FileResult]:
    names = files_of(directory)
    progress = Progress(
        TextColumn("{task.description:12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    loaders = {loader.spec.name: loader for loader in LOADERS}
    results: list[FileResult] = []
    async with open_database(config) as database:
        with progress:
            for name in names:
                path = directory / f"{name}.csv"
                task = progress.add_task(name, total=import_files.count_rows(path))

                def advance(done: int, task: object = task) -> None:
                    progress.update(task, completed=done)  # type: ignore[arg-type]

                if name == CATALOGUE_FILE:
                    result = await load_catalogue(
                        database, path, acting_user(), SystemClock(), advance
                    )
                elif name == import_files.BALANCES.name:
                    result = await load_balances(
                        database, path, advance, clock=SystemClock(), timezone=config.timezone
                    )
                else:
                    result = await load_file(database, loaders[name], path, advance)
                results.append(result)
        await list_missing_cards(database, now_ms=acting_user().now_ms)
    return results


# --- operators ----------------------------------------------------------------------------------


@operator_app.command("add")
@fail_clearly
def add_operator(
    config_file: ConfigFile,
    code: Code,
    name: Annotated[str, typer.Option(help="The operator's name.")],
    role: Annotated[Role, typer.Option()] = Role.CASHIER,
    institution: InstitutionCode = "",
    password_file: PasswordFile = None,
) -> None:
    """Add an operator, who can sign on from then on.

    新增操作员。
    """
    config = load_config(config_file)
    password_hash = hash_password(_password(password_file))

    async def run() -> int:
        async with open_database(config) as database:
            found = await _institution(database, institution) if institution else None
            return await administration.add_operator(
                database,
                institution=found,
                code=code,
                name=name,
                role=role.value,
                password_hash=password_hash,
                actor=acting_user(),
            )

    typer.echo(f"operator {code} is added, number {asyncio.run(run())}")


@operator_app.command("password")
@fail_clearly
def set_password(
    config_file: ConfigFile,
    code: Code,
    institution: InstitutionCode = "",
    password_file: PasswordFile = None,
) -> None:
    """Give an operator a new password, and unlock them.

    重设操作员密码并解锁。
    """
    config = load_config(config_file)
    password_hash = hash_password(_password(password_file))

    async def run() -> None:
        async with open_database(config) as database:
            operator = await _operator(database, institution, code)
            await administration.set_password(database, operator, password_hash, acting_user())

    asyncio.run(run())
    typer.echo(f"operator {code} has a new password")


@operator_app.command("lock")
@fail_clearly
def lock_operator(config_file: ConfigFile, code: Code, institution: InstitutionCode = "") -> None:
    """Keep an operator from acting, at once.

    锁定操作员。
    """
    _set_operator(load_config(config_file), institution, code, is_active=False)
    typer.echo(f"operator {code} is locked")


@operator_app.command("unlock")
@fail_clearly
def unlock_operator(config_file: ConfigFile, code: Code, institution: InstitutionCode = "") -> None:
    """Let a locked operator act again.

    解锁操作员。
    """
    _set_operator(load_config(config_file), institution, code, is_active=True)
    typer.echo(f"operator {code} is unlocked")


def _set_operator(config: Config, institution: str, code: str, *, is_active: bool) -> None:
    async def run() -> None:
        async with open_database(config) as database:
            operator = await _operator(database, institution, code)
            await administration.set_operator_active(
                database, operator, acting_user(), is_active=is_active
            )

    asyncio.run(run())


# --- terminals ----------------------------------------------------------------------------------


@terminal_app.command("list")
@fail_clearly
def list_terminals(config_file: ConfigFile) -> None:
    """List every terminal, with its latest sign-on.

    列出全部终端。
    """
    config = load_config(config_file)

    async def run() -> list[administration.TerminalRow]:
        async with open_database(config) as database:
            return await administration.list_terminals(database)

    table = Table("institution", "name", "terminal", "state", "signed on", "certificate")
    for row in asyncio.run(run()):
        signed_on = ""
        if row.signed_on_time_ms is not None:
            moment = dt.datetime.fromtimestamp(row.signed_on_time_ms / 1000, config.timezone)
            signed_on = f"{moment:%Y-%m-%d %H:%M:%S}"
        table.add_row(
            row.institution,
            escape(row.institution_name),
            row.code,
            "active" if row.is_active else "disabled",
            signed_on,
            row.certificate_sha256.hex()[:16],
        )
    Console(highlight=False).print(table)


@terminal_app.command("disable")
@fail_clearly
def disable_terminal(
    config_file: ConfigFile,
    institution: Annotated[str, typer.Option(help="The institution's code.")],
    terminal: Annotated[str, typer.Option(help="The terminal's code.")],
) -> None:
    """Keep a terminal from acting, from its next request that moves money on.

    停用终端。
    """
    _set_terminal(load_config(config_file), institution, terminal, is_active=False)
    typer.echo(f"terminal {terminal} is disabled")


@terminal_app.command("enable")
@fail_clearly
def enable_terminal(
    config_file: ConfigFile,
    institution: Annotated[str, typer.Option(help="The institution's code.")],
    terminal: Annotated[str, typer.Option(help="The terminal's code.")],
) -> None:
    """Let a disabled terminal act again.

    启用终端。
    """
    _set_terminal(load_config(config_file), institution, terminal, is_active=True)
    typer.echo(f"terminal {terminal} is enabled")


def _set_terminal(config: Config, institution: str, terminal: str, *, is_active: bool) -> None:
    async def run() -> None:
        async with open_database(config) as database:
            found = await _terminal(database, institution, terminal)
            await administration.set_terminal_active(
                database, found.terminal_no, acting_user(), is_active=is_active
            )

    asyncio.run(run())


# --- cards --------------------------------------------------------------------------------------


@card_app.callback()
def card() -> None:
    """Keep `state` a subcommand, also while there is one."""


@card_app.command("state")
@fail_clearly
def change_card(
    config_file: ConfigFile,
    number: Annotated[str, typer.Argument(help="The card's printed number.")],
    change: Annotated[CardChange, typer.Argument(help="What happened.")],
) -> None:
    """Record that a card was lost, found, replaced, frozen or released; the next request knows.

    登记卡片挂失、解挂、换卡、冻结、解冻。
    """
    config = load_config(config_file)

    async def run() -> str:
        async with open_database(config) as database:
            old, new = await administration.change_card(database, number, change, acting_user())
            return f"the card was {old.name.lower()}, is {new.name.lower()}"

    typer.echo(asyncio.run(run()))


# --- finding who is meant -----------------------------------------------------------------------


async def _institution(database: Database, code: str) -> Institution:
    institution = await Registry(database).institution_by_code(code)
    if institution is None:
        raise AdministrationError(f"no institution has the code {code}")
    return institution


async def _operator(database: Database, institution: str, code: str) -> Operator:
    institution_no = administration.FUND
    if institution:
        institution_no = (await _institution(database, institution)).institution_no
    operator = await Registry(database).operator(institution_no, code)
    if operator is None:
        raise AdministrationError(f"there is no operator {code} at {institution or 'the fund'}")
    return operator


async def _terminal(database: Database, institution: str, code: str) -> Terminal:
    found = await _institution(database, institution)
    terminal = await Registry(database).terminal(found.institution_no, code)
    if terminal is None:
        raise AdministrationError(f"{institution} has no terminal {code}")
    return terminal


def _password(file: Path | None) -> str:
    if file is not None:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")
