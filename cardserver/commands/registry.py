"""`cardserver registry`, `card`: fill the registry, and change it as things happen.

Not here: making a centre and its terminals' certificates (`init.py`).
"""

import asyncio
import datetime as dt
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cardserver.commands.database import ConfigFile, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.fund_operator import By, acting_operator
from cardserver.commands.registry_duplicates import app as duplicates_app
from cardserver.commands.registry_duplicates import merge
from cardserver.commands.registry_filing import app as filing_app
from cardserver.commands.registry_history import app as history_app
from cardserver.commands.registry_import import import_folder
from cardserver.commands.registry_institution import app as institution_app
from cardserver.commands.registry_insurance import app as insurance_app
from cardserver.commands.registry_person import app as person_app
from cardserver.commands.registry_person import employer_app, family_app
from cardserver.commands.registry_show import app as show_app
from cardserver.commands.registry_subjects import find_institution, find_operator
from cardserver.commands.wide_console import wide_console
from cardserver.config import Config, load_config
from cardserver.registry import administration_store as administration
from cardserver.registry.administration_store import AdministrationError, CardChange
from cardserver.registry.passwords import hash_password
from cardserver.registry.registry_store import Registry
from cardserver.registry.roles import AT_INSTITUTIONS, Role
from cardserver.registry.values import Terminal
from ledger.database_store import Database

app = typer.Typer(help="Fill the registry and manage operators and terminals. 参保登记")
operator_app = typer.Typer(help="Operators of institutions and of the fund. 操作员")
terminal_app = typer.Typer(help="Terminals; `cardserver enrol-terminal` adds one. 终端")
card_app = typer.Typer(help="Cards as things happen to them. 卡片管理")
app.command("import")(import_folder)
app.add_typer(operator_app, name="operator")
app.add_typer(terminal_app, name="terminal")
app.add_typer(filing_app, name="filing")
app.add_typer(duplicates_app, name="duplicates")
app.command("merge")(merge)
app.add_typer(person_app, name="person")
app.add_typer(insurance_app, name="insurance")
app.add_typer(family_app, name="family")
app.add_typer(employer_app, name="employer")
app.add_typer(institution_app, name="institution")
app.add_typer(show_app, name="show")
app.add_typer(history_app, name="history")

_DAY_MS = 86_400_000

Code = Annotated[str, typer.Argument(help="The operator's number at the institution.")]
InstitutionCode = Annotated[
    str, typer.Option("--institution", help="The institution's code; without it, the fund's own.")
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="Holds the password; without it, asked for."),
]
Department = Annotated[str, typer.Option(help="科室 The department, by which work is counted.")]
_DEPARTMENT_SIZE_MAX = 40


# --- operators ----------------------------------------------------------------------------------


@operator_app.command("add")
@fail_clearly
def add_operator(  # noqa: PLR0913, PLR0917 - one parameter an option
    config_file: ConfigFile,
    code: Code,
    name: Annotated[str, typer.Option(help="The operator's name.")],
    role: Annotated[Role, typer.Option(help="What the operator may do.")] = Role.CASHIER,
    institution: InstitutionCode = "",
    department: Department = "",
    password_file: PasswordFile = None,
    by: By = "",
) -> None:
    """Add an operator, who can sign on from then on.

    新增操作员。
    """
    config = load_config(config_file)
    if (role in AT_INSTITUTIONS) is not bool(institution):
        where = "an institution" if role in AT_INSTITUTIONS else "the fund"
        raise AdministrationError(f"a {role} works at {where}")
    password_hash = hash_password(_password(password_file))

    async def run() -> int:
        async with open_database(config) as database:
            registry = Registry(database)
            actor = await acting_operator(registry, by, Role.REGISTRAR)
            found = await find_institution(registry, institution) if institution else None
            return await administration.add_operator(
                database,
                institution=found,
                code=code,
                name=name,
                role=role.value,
                password_hash=password_hash,
                actor=actor,
                department=department_named(department),
            )

    typer.echo(f"operator {code} is added, number {asyncio.run(run())}")


@operator_app.command("password")
@fail_clearly
def set_password(
    config_file: ConfigFile,
    code: Code,
    institution: InstitutionCode = "",
    password_file: PasswordFile = None,
    by: By = "",
) -> None:
    """Give an operator a new password, and unlock them.

    重设操作员密码并解锁。
    """
    config = load_config(config_file)
    password_hash = hash_password(_password(password_file))

    async def run() -> None:
        async with open_database(config) as database:
            registry = Registry(database)
            actor = await acting_operator(registry, by, Role.REGISTRAR)
            operator = await find_operator(registry, institution, code)
            await administration.set_password(database, operator, password_hash, actor)

    asyncio.run(run())
    typer.echo(f"operator {code} has a new password")


@operator_app.command("department")
@fail_clearly
def set_department(
    config_file: ConfigFile,
    code: Code,
    department: Annotated[str, typer.Argument(help="The department's name; empty for none.")],
    institution: InstitutionCode = "",
    by: By = "",
) -> None:
    """Say to which department an operator belongs; work done before stays counted where it was.

    设定操作员所属科室。
    """
    config = load_config(config_file)
    name = department_named(department)

    async def run() -> None:
        async with open_database(config) as database:
            registry = Registry(database)
            actor = await acting_operator(registry, by, Role.REGISTRAR)
            operator = await find_operator(registry, institution, code)
            await administration.set_department(database, operator, name, actor)

    asyncio.run(run())
    typer.echo(f"operator {code} belongs to {name or 'no department'}")


@operator_app.command("lock")
@fail_clearly
def lock_operator(
    config_file: ConfigFile, code: Code, institution: InstitutionCode = "", by: By = ""
) -> None:
    """Keep an operator from acting, at once.

    锁定操作员。
    """
    _set_operator(load_config(config_file), institution, code, by, is_active=False)
    typer.echo(f"operator {code} is locked")


@operator_app.command("unlock")
@fail_clearly
def unlock_operator(
    config_file: ConfigFile, code: Code, institution: InstitutionCode = "", by: By = ""
) -> None:
    """Let a locked operator act again.

    解锁操作员。
    """
    _set_operator(load_config(config_file), institution, code, by, is_active=True)
    typer.echo(f"operator {code} is unlocked")


def department_named(text: str) -> str:
    """Take a department's name as typed.

    Raises:
        AdministrationError: It can't be one.
    """
    name = text.strip()
    if len(name) > _DEPARTMENT_SIZE_MAX or not name.isprintable():
        raise AdministrationError(
            f"a department has at most {_DEPARTMENT_SIZE_MAX} printable characters"
        )
    return name


def _set_operator(config: Config, institution: str, code: str, by: str, *, is_active: bool) -> None:
    async def run() -> None:
        async with open_database(config) as database:
            registry = Registry(database)
            actor = await acting_operator(registry, by, Role.REGISTRAR)
            operator = await find_operator(registry, institution, code)
            await administration.set_operator_active(database, operator, actor, is_active=is_active)

    asyncio.run(run())


# --- terminals ----------------------------------------------------------------------------------


@terminal_app.command("list")
@fail_clearly
def list_terminals(
    config_file: ConfigFile,
    *,
    ending_within: Annotated[
        int | None,
        typer.Option(min=0, help="Only those whose certificate ends within so many days."),
    ] = None,
) -> None:
    """List every terminal, with its latest sign-on and its certificate's last day.

    列出全部终端、最近签到时间及证书到期日。
    """
    config = load_config(config_file)

    async def run() -> list[administration.TerminalRow]:
        async with open_database(config) as database:
            return await administration.list_terminals(database)

    rows = asyncio.run(run())
    if ending_within is not None:
        until_ms = time.time() * 1000 + ending_within * _DAY_MS
        rows = [row for row in rows if 0 < row.certificate_ends_ms < until_ms]
    table = Table("institution", "name", "terminal", "state", "signed on", "certificate", "ends")
    for row in rows:
        signed_on = ""
        if row.signed_on_time_ms is not None:
            moment = dt.datetime.fromtimestamp(row.signed_on_time_ms / 1000, config.timezone)
            signed_on = f"{moment:%Y-%m-%d %H:%M:%S}"
        ends = ""
        if row.certificate_ends_ms:
            moment = dt.datetime.fromtimestamp(row.certificate_ends_ms / 1000, config.timezone)
            ends = f"{moment:%Y-%m-%d}"
        table.add_row(
            row.institution,
            escape(row.institution_name),
            row.code,
            "active" if row.is_active else "disabled",
            signed_on,
            row.certificate_sha256.hex()[:16],
            ends,
        )
    wide_console().print(table)


@terminal_app.command("disable")
@fail_clearly
def disable_terminal(
    config_file: ConfigFile,
    institution: Annotated[str, typer.Option(help="The institution's code.")],
    terminal: Annotated[str, typer.Option(help="The terminal's code.")],
    by: By = "",
) -> None:
    """Keep a terminal from acting, from its next request that moves money on.

    停用终端。
    """
    _set_terminal(load_config(config_file), institution, terminal, by, is_active=False)
    typer.echo(f"terminal {terminal} is disabled")


@terminal_app.command("enable")
@fail_clearly
def enable_terminal(
    config_file: ConfigFile,
    institution: Annotated[str, typer.Option(help="The institution's code.")],
    terminal: Annotated[str, typer.Option(help="The terminal's code.")],
    by: By = "",
) -> None:
    """Let a disabled terminal act again.

    启用终端。
    """
    _set_terminal(load_config(config_file), institution, terminal, by, is_active=True)
    typer.echo(f"terminal {terminal} is enabled")


def _set_terminal(
    config: Config, institution: str, terminal: str, by: str, *, is_active: bool
) -> None:
    async def run() -> None:
        async with open_database(config) as database:
            actor = await acting_operator(Registry(database), by, Role.REGISTRAR)
            found = await _terminal(database, institution, terminal)
            await administration.set_terminal_active(
                database, found.terminal_no, actor, is_active=is_active
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
    by: By = "",
) -> None:
    """Record that a card was lost, found, replaced, frozen or released; the next request knows.

    登记卡片挂失、解挂、换卡、冻结、解冻。
    """
    config = load_config(config_file)

    async def run() -> str:
        async with open_database(config) as database:
            actor = await acting_operator(Registry(database), by, Role.REGISTRAR, Role.ACCEPTANCE)
            old, new = await administration.change_card(database, number, change, actor)
            return f"the card was {old.name.lower()}, is {new.name.lower()}"

    typer.echo(asyncio.run(run()))


async def _terminal(database: Database, institution: str, code: str) -> Terminal:
    found = await find_institution(Registry(database), institution)
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
