"""`cardserver funding`: the rules by which contributions are divided and accounts are filled.

Not here: what is posted by them (`contributions.py`, `allotment.py`, `interest.py`).
"""

import asyncio
import datetime as dt
from pathlib import Path
from typing import Annotated

import typer
from msgspec import Struct, json
from rich.markup import escape
from rich.table import Table

from cardserver.checks.rule_book import RulesError
from cardserver.commands.database import ConfigFile, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.fund_operator import By, acting_operator
from cardserver.commands.rules_text import check_file, read_rules_text
from cardserver.commands.wide_console import wide_console
from cardserver.config import load_config
from cardserver.funding.rules import load_rules, shipped_rules
from cardserver.funding.rules_store import activate_rules, activated_rules
from cardserver.registry.registry_store import Registry
from cardserver.registry.roles import Role

app = typer.Typer(
    help="Rules of contributions, allotments and interest. 基金筹集与个人账户划拨规则",
    no_args_is_help=True,
)

AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RulesFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A rules file.")]


@app.command("shipped")
@fail_clearly
def print_shipped() -> None:
    """Print the rules file that comes with this software, to start from.

    输出随附的规则文件，作为起点。
    """
    typer.echo(shipped_rules(), nl=False)


@app.command("check")
@fail_clearly
def check_rules(file: RulesFile, *, as_json: AsJSON = False) -> None:
    """Name every mistake in a rules file with its path.

    Exit status 0: it can be activated; 1: there are mistakes.

    检查规则文件。
    """
    check_file(
        file, lambda: load_rules(read_rules_text(file, RulesError)).identity, as_json=as_json
    )


@app.command("activate")
@fail_clearly
def activate(config_file: ConfigFile, file: RulesFile, by: By = "") -> None:
    """Check a rules file and put it in force from its first day on.

    Of one first day the file activated last holds; earlier ones are kept. What was posted before
    stays as it is.

    启用规则文件。
    """
    config = load_config(config_file)
    text = read_rules_text(file, RulesError)
    version = load_rules(text)

    async def run() -> None:
        async with open_database(config) as database:
            actor = await acting_operator(Registry(database), by, Role.FUNDING_OFFICER)
            await activate_rules(database, version, text, actor)

    asyncio.run(run())
    typer.echo(f"{version.identity} is activated 已启用")


class VersionListed(Struct, frozen=True):
    """One activated version, as `funding list --json` has it."""

    name: str
    begins: int
    sha256: str
    activated_time: dt.datetime
    is_in_force: bool


@app.command("list")
@fail_clearly
def list_rules(config_file: ConfigFile, *, as_json: AsJSON = False) -> None:
    """List every version that was ever activated.

    列出所有启用过的规则版本。
    """
    config = load_config(config_file)

    async def run() -> list[VersionListed]:
        async with open_database(config) as database:
            return [
                VersionListed(
                    one.name, one.begins, one.sha256.hex(),
                    dt.datetime.fromtimestamp(one.activated_time_ms // 1000, config.timezone),
                    one.is_in_force,
                )
                for one in await activated_rules(database)
            ]  # fmt: skip

    listed = asyncio.run(run())
    if as_json:
        typer.echo(json.format(json.encode(listed)).decode())
        return
    table = Table("规则 rules", "自 from", "SHA-256", "启用时间 activated", "现行 in force")
    for one in listed:
        table.add_row(
            escape(one.name), str(one.begins), one.sha256[:12],
            f"{one.activated_time:%Y-%m-%d %H:%M:%S}",
            "是 yes" if one.is_in_force else "已替换 replaced",
        )  # fmt: skip
    wide_console().print(table)
