"""`cardserver policy`: check the rules of benefits, look at them, compare them, put them in force.

Not here: what a draft would have changed (`replay.py`).
"""

import asyncio
import datetime as dt
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from msgspec import Struct, json
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cardserver.benefits.mistakes import Mistake
from cardserver.benefits.policy import Policy, PolicyBook, PolicyError, load_policy
from cardserver.benefits.policy_diff import Change, policy_changes
from cardserver.benefits.policy_table import Part, policy_parts
from cardserver.benefits.policy_words import Words
from cardserver.commands.database import ConfigFile, acting_user, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.rules_text import MistakeFound, read_rules_text
from cardserver.commands.wide_console import wide_console
from cardserver.config import Config, load_config
from cardserver.registry import administration_store as administration
from cardserver.registry.policy_store import PolicyVersion, find_version, policy_versions

app = typer.Typer(help="Benefit policies: check, show, compare, activate. 待遇政策")

MaybeConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="The centre's cardserver.toml, for what is in force there."),
]
AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_MISTAKEN, _UNREADABLE = 1, 2


# --- check --------------------------------------------------------------------------------------


class FileChecked(Struct, frozen=True):
    """What is known of one file: its version, or what is wrong with it."""

    file: str
    identity: str
    mistakes: tuple[MistakeFound, ...]


class Checked(Struct, frozen=True):
    """What `policy check` says.

    Attributes:
        together: What is wrong between the files, and beside those in force.
    """

    files: tuple[FileChecked, ...]
    together: tuple[MistakeFound, ...]
    beside: tuple[str, ...]

    @property
    def mistake_count(self) -> int:
        """How many mistakes there are."""
        return len(self.together) + sum(len(one.mistakes) for one in self.files)


@app.command("check")
@fail_clearly
def check_policies(
    files: Annotated[list[Path], typer.Argument(help="Policy files.")],
    config_file: MaybeConfigFile = None,
    *,
    as_json: AsJSON = False,
) -> None:
    """Name every mistake with its path: of each file, of the files together, and beside the ones
    in force.

    Exit status 0: they can be activated; 1: there are mistakes; 2: a file can't be read.

    检查政策文件：逐个检查、相互检查，并可与现行政策一并检查。
    """  # noqa: D205 - the first sentence is what help prints
    in_force = [] if config_file is None else _in_force(load_config(config_file))
    policies: list[Policy] = []
    checked: list[FileChecked] = []
    for file in files:
        policy = _load(file)
        if isinstance(policy, Policy):
            policies.append(policy)
            checked.append(FileChecked(str(file), policy.identity, ()))
        else:
            checked.append(FileChecked(str(file), "", _found(policy)))
    found = Checked(
        tuple(checked),
        _found(_together(policies, in_force)),
        tuple(one.identity for one in in_force),
    )
    if as_json:
        typer.echo(json.format(json.encode(found)).decode())
    else:
        _print_checked(found)
    if found.mistake_count:
        raise typer.Exit(_MISTAKEN)


def _load(file: Path) -> Policy | tuple[Mistake, ...]:
    """Load a policy file, or say what is wrong in it."""
    try:
        return load_policy(read_policy(file))
    except PolicyError as error:
        return error.mistakes


def _found(mistakes: tuple[Mistake, ...]) -> tuple[MistakeFound, ...]:
    return tuple(MistakeFound(*mistake) for mistake in mistakes)


def read_policy(file: Path) -> str:
    """Read a policy file's text, or end the command with status 2.

    Raises:
        PolicyError: It is not UTF-8.
    """
    try:
        return read_rules_text(file, PolicyError)
    except OSError as error:
        typer.echo(f"cardserver: {file}: {error.strerror}", err=True)
        raise typer.Exit(_UNREADABLE) from error


def _together(policies: list[Policy], in_force: list[Policy]) -> tuple[Mistake, ...]:
    """Say what is wrong between policies, and beside those in force that they don't replace."""
    replaced = {(one.name, one.begins) for one in policies}
    others = [one for one in in_force if (one.name, one.begins) not in replaced]
    try:
        PolicyBook([*others, *policies])
    except PolicyError as error:
        return error.mistakes
    return ()


def _print_checked(found: Checked) -> None:
    for one in found.files:
        if one.identity:
            typer.echo(f"{one.file}: {one.identity} 无误 no mistake")
        for mistake in one.mistakes:
            typer.echo(f"{one.file}: {mistake.path}: {mistake.sentence}")
    for mistake in found.together:
        typer.echo(f"together 相互: {mistake.path}: {mistake.sentence}")
    if found.beside:
        typer.echo(f"checked beside 已与现行政策核对: {', '.join(found.beside)}")
    if found.mistake_count:
        typer.echo(f"{found.mistake_count} mistakes 处错误", err=True)


# --- list and activate --------------------------------------------------------------------------


class VersionListed(Struct, frozen=True):
    """One activated version, as `policy list --json` has it."""

    identity: str
    name: str
    begins: dt.date
    sha256: str
    activated_time: dt.datetime
    is_in_force: bool


@app.command("list")
@fail_clearly
def list_policies(config_file: ConfigFile, *, as_json: AsJSON = False) -> None:
    """List every version that was ever activated.

    列出所有启用过的政策版本。
    """
    config = load_config(config_file)
    listed = [
        VersionListed(
            identity=version.identity,
            name=version.name,
            begins=version.date,
            sha256=version.sha256.hex(),
            activated_time=dt.datetime.fromtimestamp(
                version.activated_time_ms // 1000, config.timezone
            ),
            is_in_force=version.is_in_force,
        )
        for version in read_versions(config)
    ]
    if as_json:
        typer.echo(json.format(json.encode(listed)).decode())
        return
    table = Table("政策 policy", "自 from", "SHA-256", "启用时间 activated", "现行 in force")
    for one in listed:
        table.add_row(
            escape(one.name), str(one.begins), one.sha256[:12],
            f"{one.activated_time:%Y-%m-%d %H:%M:%S}",
            "是 yes" if one.is_in_force else "已替换 replaced",
        )  # fmt: skip
    wide_console().print(table)


@app.command("activate")
@fail_clearly
def activate_policy(
    config_file: ConfigFile,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A policy file.")],
) -> None:
    """Check a policy beside those in force, and make all workers decide by it.

    启用待遇政策文件。
    """
    config = load_config(config_file)
    text = read_policy(file)
    new = load_policy(text)
    mistakes = _together([new], _in_force(config))
    if mistakes:
        raise PolicyError(mistakes)

    async def run() -> None:
        async with open_database(config) as database:
            await administration.activate_policies(
                database, [(new.name, new.begins, text)], acting_user()
            )

    asyncio.run(run())
    typer.echo(f"{new.identity} is activated")


def read_versions(config: Config) -> list[PolicyVersion]:
    """Read every version that was ever activated at a centre."""

    async def run() -> list[PolicyVersion]:
        async with open_database(config) as database:
            return await policy_versions(database)

    return asyncio.run(run())


def _in_force(config: Config) -> list[Policy]:
    return [load_policy(one.text) for one in read_versions(config) if one.is_in_force]


# --- show ---------------------------------------------------------------------------------------


class Language(StrEnum):
    """In which language something is printed."""

    ZH = "zh"
    EN = "en"


WhichLanguage = Annotated[
    Language, typer.Option("--language", "--lang", help="Chinese or English. 中文或英文")
]
WHICH = "A policy file, or NAME@DATE of an activated version (with --config)."


@app.command("show")
@fail_clearly
def show_policy(
    policy: Annotated[str, typer.Argument(help=WHICH)],
    config_file: MaybeConfigFile = None,
    language: WhichLanguage = Language.ZH,
) -> None:
    """Show a policy as tables: who is paid what, where, and from which amount on.

    以表格显示政策：谁、在何处、多少金额、按什么比例支付。
    """
    console = wide_console()
    for part in policy_parts(find_policy(policy, config_file)):
        _print_part(console, part, language)


def find_policy(wanted: str, config_file: Path | None) -> Policy:
    """Load a policy file, or an activated version.

    Raises:
        PolicyError: It has mistakes.
        AdministrationError: No such version was ever activated.
    """
    file = Path(wanted)
    if file.is_file() or "@" not in wanted:
        return load_policy(read_policy(file))
    if config_file is None:
        raise administration.AdministrationError(
            f"{wanted} is no file; name the centre with --config, if it is an activated version"
        )
    versions = read_versions(load_config(config_file))
    found = find_version(versions, wanted)
    if found is None:
        known = ", ".join(one.identity for one in versions) or "none"
        raise administration.AdministrationError(
            f"no version {wanted} was activated; there are: {known}"
        )
    return load_policy(found.text)


def _print_part(console: Console, part: Part, language: Language) -> None:
    index = list(Language).index(language)
    indent = "  " * part.depth
    console.print(f"\n{indent}[bold]{escape(part.title[index])}[/bold]")
    for name, value in part.facts:
        line = Text(f"{name[index]}: {value[index]}")
        console.print(Padding(line, (0, 0, 0, len(indent)), expand=False))
    for shown in part.tables:
        if len(part.tables) > 1:
            console.print(f"{indent}{escape(shown.title[index])}:")
        table = Table()
        for number, column in enumerate(shown.columns):
            is_left = number == 0 or shown.is_text
            table.add_column(
                escape(column[index]), justify="left" if is_left else "right", overflow="fold"
            )
        for row in shown.rows:
            table.add_row(*(escape(cell[index]) for cell in row))
        console.print(Padding(table, (0, 0, 0, len(indent)), expand=False))


# --- diff ---------------------------------------------------------------------------------------


class ChangeFound(Struct, frozen=True):
    """A change, as `policy diff --json` has it; `step` in fen, or in ten-thousandths of a per cent.

    A step is what the second policy adds; 0 where one of them says nothing, or says it in words.
    """

    path: str
    part_zh: str
    part_en: str
    who_zh: str
    who_en: str
    before: str
    after: str
    kind: str
    step: int


class Compared(Struct, frozen=True):
    """What `policy diff --json` says."""

    before: str
    after: str
    changes: tuple[ChangeFound, ...]


@app.command("diff")
@fail_clearly
def diff_policies(
    before: Annotated[str, typer.Argument(metavar="A", help=WHICH)],
    after: Annotated[str, typer.Argument(metavar="B", help=WHICH)],
    config_file: MaybeConfigFile = None,
    language: WhichLanguage = Language.ZH,
    *,
    as_json: AsJSON = False,
) -> None:
    """Say what changes from policy A to policy B: for whom, of which amounts, by how much.

    Exit status 0: they say the same, if in other words; 1: they differ.

    比较两个政策版本：对谁、哪一段金额、变化多少。
    """
    old, new = find_policy(before, config_file), find_policy(after, config_file)
    changes = policy_changes(old, new)
    if as_json:
        found = Compared(
            old.identity,
            new.identity,
            tuple(
                ChangeFound(
                    one.path, one.part.zh, one.part.en, one.who.zh, one.who.en,
                    one.before.en, one.after.en, one.kind, one.step,
                )
                for one in changes
            ),
        )  # fmt: skip
        typer.echo(json.format(json.encode(found)).decode())
    else:
        _print_changes(old, new, changes, language)
    if changes:
        raise typer.Exit(1)


def _print_changes(
    old: Policy, new: Policy, changes: tuple[Change, ...], language: Language
) -> None:
    console = wide_console()
    index = list(Language).index(language)
    console.print(f"A: {old.identity}\nB: {new.identity}", markup=False)
    if not changes:
        console.print(Words("两者规则相同", "they say the same")[index])
        return
    heads = (
        Words("规则", "rule"), Words("对谁", "for whom"), Words("A", "A"), Words("B", "B"),
        Words("变化", "step"),
    )  # fmt: skip
    table = Table(show_lines=False)
    for number, head in enumerate(heads):
        table.add_column(head[index], justify="left" if number < 2 else "right", overflow="fold")  # noqa: PLR2004 - the words, then the figures
    for one in changes:
        cells = (one.part, one.who, one.before, one.after, one.step_words)
        table.add_row(*(escape(cell[index]) for cell in cells))
    console.print(table)
    for one in changes:
        console.print(f"- {one.sentence[index]}", markup=False, soft_wrap=True)
