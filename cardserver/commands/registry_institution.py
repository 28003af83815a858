"""`cardserver registry institution`: hospitals, community centres and pharmacies, by period."""

import asyncio
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cardserver.commands.database import ConfigFile, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.fund_operator import By, acting_operator
from cardserver.commands.registry_subjects import Day, day_number, find_institution
from cardserver.commands.wide_console import wide_console
from cardserver.config import load_config
from cardserver.registry.contract_store import (
    Contract,
    add_contract,
    contracts_of,
    set_institution_active,
)
from cardserver.registry.registry_store import Registry
from cardserver.registry.roles import Role
from cardserver.registry.values import FOREVER

app = typer.Typer(help="Institutions: levels and contracts by period. 定点医药机构")

CodeText = Annotated[str, typer.Argument(metavar="INSTITUTION", help="The institution's code.")]
LEVEL_MAX = 3


@app.command("contract")
@fail_clearly
def contract(
    config_file: ConfigFile,
    code: CodeText,
    *,
    level: Annotated[
        int, typer.Option(min=0, max=LEVEL_MAX, help="Level from that day on; 0 for pharmacies.")
    ],
    begins: Day = "",
    ends: Annotated[str, typer.Option("--to", metavar="DATE", help="Last day; or no end.")] = "",
    care: Annotated[
        list[str] | None,
        typer.Option(help="A med_type it may bill (11, 21, 41, ...); without it, all of its kind."),
    ] = None,
    by: By = "",
) -> None:
    """Agree a level and kinds of care with an institution from a day on, as after an upgrade.

    Settlements go by the day of care. To end a contract, agree one that ends on its last day.

    登记定点协议及机构级别，自指定日起按就诊日生效。
    """
    config = load_config(config_file)
    first = day_number(begins, config)
    last = day_number(ends, config) if ends else FOREVER

    async def run() -> None:
        async with open_database(config) as database:
            registry = Registry(database)
            actor = await acting_operator(registry, by, Role.REGISTRAR)
            found = await find_institution(registry, code)
            agreed = Contract(found.institution_no, first, last, level, " ".join(care or ()))
            await add_contract(database, agreed, actor)

    asyncio.run(run())
    typer.echo(f"{code} is of level {level} from {first} on")


@app.command("contracts")
@fail_clearly
def list_contracts(config_file: ConfigFile, code: CodeText) -> None:
    """List what was agreed with an institution, by first day.

    列出机构各时期的级别和协议。
    """
    config = load_config(config_file)

    async def run() -> list[Contract]:
        async with open_database(config) as database:
            return await contracts_of(database, await find_institution(Registry(database), code))

    table = Table("from", "to", "level", "care")
    for one in asyncio.run(run()):
        ends = "" if one.ends == FOREVER else str(one.ends)
        table.add_row(str(one.begins), ends, str(one.level), escape(one.care))
    wide_console().print(table)


@app.command("suspend")
@fail_clearly
def suspend(config_file: ConfigFile, code: CodeText, by: By = "") -> None:
    """Keep an institution from working, from its next request on.

    暂停机构服务。
    """
    _set(config_file, code, by, is_active=False)
    typer.echo(f"{code} is suspended")


@app.command("resume")
@fail_clearly
def resume(config_file: ConfigFile, code: CodeText, by: By = "") -> None:
    """Let a suspended institution work again.

    恢复机构服务。
    """
    _set(config_file, code, by, is_active=True)
    typer.echo(f"{code} works again")


def _set(config_file: ConfigFile, code: str, by: str, *, is_active: bool) -> None:
    config = load_config(config_file)

    async def run() -> None:
        async with open_database(config) as database:
            registry = Registry(database)
            actor = await acting_operator(registry, by, Role.REGISTRAR)
            found = await find_institution(registry, code)
            await set_institution_active(database, found.institution_no, actor, is_active=is_active)

    asyncio.run(run())
