"""`cardserver checks`: the rules by which bills are tried at the counter, and institutions' places.

Not here: what the rules would have found in stored settlements (`checks_replay.py`).
"""

import asyncio
import csv
import datetime as dt
import re
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer
from msgspec import Struct, json
from rich.markup import escape
from rich.table import Table

from cardserver.checks.checks_store import (
    ActivatedRules,
    activate_rules,
    activated_rules,
    place_institutions,
)
from cardserver.checks.rule_book import RuleBook, RulesError, RulesVersion, load_rules
from cardserver.checks.rule_table import RuleInWords, in_words
from cardserver.checks.values import Position
from cardserver.commands.database import ConfigFile, acting_user, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.rules_text import check_file, read_rules_text
from cardserver.commands.wide_console import wide_console
from cardserver.config import Config, load_config
from cardserver.registry.administration_store import AdministrationError

app = typer.Typer(
    help="Checks at the counter: write, try, activate their rules. 柜台智能审核规则",
    no_args_is_help=True,
)

MaybeConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="The centre's cardserver.toml, for what is in force there."),
]
AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RulesFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A rules file.")]
_SHIPPED = "counter_checks.toml"
_PLACES_HEADER = ["institution", "latitude", "longitude"]
_DEGREES = re.compile(r"-?\d{1,3}(?:\.\d{1,6})?", re.ASCII)
_E6 = 10**6


@app.command("shipped")
@fail_clearly
def print_shipped() -> None:
    """Print the rules file that comes with this software, to start from.

    输出随附的规则文件，作为起点。
    """
    typer.echo(_shipped(), nl=False)


@app.command("check")
@fail_clearly
def check_rules(
    file: RulesFile, config_file: MaybeConfigFile = None, *, as_json: AsJSON = False
) -> None:
    """Name every mistake in a rules file with its path; with --config also beside those in force.

    Exit status 0: it can be activated; 1: there are mistakes.

    检查规则文件。
    """

    def identity() -> str:
        version = load_rules(read_rules_text(file, RulesError))
        if config_file is not None:
            check_beside(version, _in_force(load_config(config_file)))
        return version.identity

    check_file(file, identity, as_json=as_json)


class VersionShown(Struct, frozen=True):
    """One version, as `checks show --json` has it."""

    identity: str
    title_zh: str
    title_en: str
    begins: dt.date
    ends: dt.date | None
    rules: tuple[RuleInWords, ...]


@app.command("show")
@fail_clearly
def show_rules(
    file: Annotated[
        Path | None,
        typer.Argument(exists=True, dir_okay=False, help="A rules file; else --config."),
    ] = None,
    config_file: MaybeConfigFile = None,
    *,
    as_json: AsJSON = False,
) -> None:
    """Show the rules of a file, or those in force at a centre, as a table.

    以表格列出规则。
    """
    if (file is None) == (config_file is None):
        raise typer.BadParameter("name a rules file, or a centre by --config")
    if file is not None:
        versions = [load_rules(read_rules_text(file, RulesError))]
    else:
        assert config_file is not None
        versions = _in_force(load_config(config_file))
    shown = [_shown(version) for version in versions]
    if as_json:
        typer.echo(json.format(json.encode(shown)).decode())
        return
    console = wide_console()
    for one in shown:
        ends = f" – {one.ends}" if one.ends else ""
        title = f"{one.title_zh} {one.title_en}\n{one.identity} ({one.begins}{ends})"
        table = Table(title=escape(title), show_lines=True)
        for heading in ("规则 rule", "处理 action", "适用 applies to", "查找 finds", "理由 reason"):
            table.add_column(heading, overflow="fold")
        for rule in one.rules:
            table.add_row(
                f"{rule.name}\n[dim]{rule.kind}[/]",
                rule.action,
                escape(rule.applies) or "全部 all",
                escape(rule.finds),
                escape(f"{rule.reason_zh}\n{rule.reason_en}"),
            )
        console.print(table)
    if not shown:
        typer.echo("没有启用的规则 no rules are in force")


class VersionListed(Struct, frozen=True):
    """One activated version, as `checks list --json` has it."""

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
    listed = [
        VersionListed(
            one.name,
            one.begins,
            one.sha256.hex(),
            dt.datetime.fromtimestamp(one.activated_time_ms // 1000, config.timezone),
            one.is_in_force,
        )
        for one in _activated(config)
    ]
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


@app.command("activate")
@fail_clearly
def activate(config_file: ConfigFile, file: RulesFile) -> None:
    """Check a rules file beside those in force, and make all workers try bills by it.

    Of one name and first day the file activated last applies; earlier ones are kept. To end a
    file's rules, give it `ends` and activate it again.

    启用规则文件。
    """
    config = load_config(config_file)
    text = read_rules_text(file, RulesError)
    version = load_rules(text)
    check_beside(version, _in_force(config))

    async def run() -> None:
        async with open_database(config) as database:
            await activate_rules(database, version, text, acting_user())

    asyncio.run(run())
    typer.echo(f"{version.identity} is activated")


@app.command("places")
@fail_clearly
def place(config_file: ConfigFile, file: RulesFile) -> None:
    """Say where institutions are, from a CSV file: institution,latitude,longitude.

    The code, and degrees of WGS 84 with at most six decimals, north and east positive. All rows
    are taken or none; an institution that was placed before is moved.

    导入机构坐标。
    """
    config = load_config(config_file)
    positions = _read_positions(file)

    async def run() -> tuple[str, ...]:
        async with open_database(config) as database:
            return await place_institutions(database, positions, acting_user())

    unknown = asyncio.run(run())
    if unknown:
        raise AdministrationError(f"no institution has the code {', '.join(unknown)}")
    typer.echo(f"{len(positions)} institutions are placed")


def check_beside(version: RulesVersion, present: list[RulesVersion]) -> None:
    """Refuse a file that contradicts others; the one that it replaces apart.

    Raises:
        RulesError: Two rules of one name would be in force, or two versions at once.
    """
    key = (version.name, version.begins)
    RuleBook([*(one for one in present if (one.name, one.begins) != key), version])


def rules_or_shipped(file: Path | None) -> str:
    """Read a rules file's text; without one, the shipped one's."""
    return _shipped() if file is None else read_rules_text(file, RulesError)


def _shipped() -> str:
    folder = resources.files("cardserver.checks").joinpath("rules")
    return folder.joinpath(_SHIPPED).read_text(encoding="utf-8")


def _shown(version: RulesVersion) -> VersionShown:
    document = version.document
    return VersionShown(
        version.identity,
        document.title_zh,
        document.title_en,
        document.begins,
        document.ends,
        tuple(in_words(rule) for rule in document.rules),
    )


def _activated(config: Config) -> list[ActivatedRules]:
    async def run() -> list[ActivatedRules]:
        async with open_database(config) as database:
            return await activated_rules(database)

    return asyncio.run(run())


def _in_force(config: Config) -> list[RulesVersion]:
    return [load_rules(one.text) for one in _activated(config) if one.is_in_force]


def _read_positions(file: Path) -> dict[str, Position]:
    try:
        return _positions_of(file)
    except UnicodeDecodeError as error:
        raise AdministrationError(f"{file}: not UTF-8: {error.reason}") from error
    except csv.Error as error:
        raise AdministrationError(f"{file}: not CSV: {error}") from error


def _positions_of(file: Path) -> dict[str, Position]:
    positions: dict[str, Position] = {}
    with file.open(encoding="utf-8-sig", newline="") as opened:
        rows = csv.reader(opened, strict=True)
        if next(rows, []) != _PLACES_HEADER:
            raise AdministrationError(f"{file}: the header must be {','.join(_PLACES_HEADER)}")
        for row in rows:
            where = f"{file}, line {rows.line_num}"
            if len(row) != len(_PLACES_HEADER):
                raise AdministrationError(f"{where}: expected {len(_PLACES_HEADER)} fields")
            code, latitude, longitude = row
            if code in positions:
                raise AdministrationError(f"{where}: {code} is named twice")
            positions[code] = Position(
                _degrees_e6(latitude, 90, f"{where}: latitude"),
                _degrees_e6(longitude, 180, f"{where}: longitude"),
            )
    if not positions:
        raise AdministrationError(f"{file}: there are no rows")
    return positions


def _degrees_e6(text: str, most: int, where: str) -> int:
    if _DEGREES.fullmatch(text):
        whole, _, part = text.lstrip("-").partition(".")
        degrees_e6 = int(whole) * _E6 + int(part.ljust(6, "0"))
        if degrees_e6 <= most * _E6:
            return -degrees_e6 if text.startswith("-") else degrees_e6
    raise AdministrationError(
        f"{where}: expected degrees from -{most} to {most} with at most six decimals"
    )
