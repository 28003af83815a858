"""`cardserver contributions`: employers' contributions, posted from files."""

import asyncio
import csv
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer
from msgspec import Struct, json
from rich.table import Table

from cardserver.catalogue.sheets import UTF_8, count_lines
from cardserver.commands.database import ConfigFile, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.funding_run import (
    AsJSON,
    OfficerOption,
    PasswordFile,
    month_of_now,
    officer,
    with_progress,
    yuan,
)
from cardserver.commands.wide_console import wide_console
from cardserver.config import Config, load_config
from cardserver.funding.acts import open_fund_acts
from cardserver.funding.contribution_rows import FAULTS
from cardserver.funding.contributions import FileWish, Posted, post_file, reverse_file
from cardserver.funding.contributions_store import (
    ContributionFile,
    Counts,
    list_files,
    rejections_of,
)
from cardserver.funding.rules_store import rules_in_force
from cardserver.funding.runs import Progress
from cardserver.registry.registry_store import Registry
from cardserver.registry.values import Actor
from ledger.calendar import text_of
from ledger.database_store import Database
from ledger.fund_acts import FundActs

app = typer.Typer(
    help="Employers' contributions: post, correct, reverse. 单位缴费入账", no_args_is_help=True
)

FileNumber = Annotated[int, typer.Argument(metavar="FILE_NO", help="As `list` numbers them.")]


class PostedShown(Struct, frozen=True):
    """What became of a file, as `--json` has it."""

    file_no: int
    is_repeated: bool
    counts: Counts


@app.command("post")
@fail_clearly
def post(  # noqa: PLR0913 - a command's options
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="A CSV or XLSX file, header first.")
    ],
    config_file: ConfigFile,
    by: OfficerOption,
    password_file: PasswordFile = None,
    encoding: Annotated[str, typer.Option(help="Of a CSV file: gb18030 for Excel's.")] = UTF_8,
    sheet: Annotated[str, typer.Option(help="Of an XLSX file; without it, the first.")] = "",
    *,
    again: Annotated[
        bool,
        typer.Option(
            "--again",
            help="Try the rows of a file that was posted to its end once more: what was rejected"
            " may be right by now; what was posted, or changed by a later file, is left.",
        ),
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """Post a file of contributions, divided into pool and personal accounts by the rules.

    Columns, in any order: employer 单位编号, month 费款所属期, psn_no 人员编号 or id_number
    证件号码, insutype 险种类型, base 缴费基数, employer_amount 单位缴费金额, personal_amount
    个人缴费金额.

    The same file again posts nothing; a file that was broken off goes on; what a later file says
    otherwise of a person, month, employer and insurance is posted by difference.

    Exit status 0: every row stands as the file says; 1: some were rejected (`rejected` names them).

    单位缴费文件入账；重复提交不会重复入账，更正文件按差额入账。
    """
    config = load_config(config_file)
    wish = FileWish(file, again, encoding, sheet)
    total = max(0, (count_lines(file) or 1) - 1)

    async def work(database: Database, acts: FundActs, actor: Actor, show: Progress) -> Posted:
        return await post_file(
            database, acts, await rules_in_force(database), wish, actor,
            month=month_of_now(config), on_progress=lambda done: show(done, max(total, done)),
        )  # fmt: skip

    _finish(config, _do(config, by, password_file, work), as_json=as_json)


@app.command("reverse")
@fail_clearly
def reverse(
    file_no: FileNumber,
    config_file: ConfigFile,
    by: OfficerOption,
    reason: Annotated[str, typer.Option(help="Why; kept in the audit.")],
    employer: Annotated[str, typer.Option(help="Only this employer's rows, by its code.")] = "",
    password_file: PasswordFile = None,
    *,
    as_json: AsJSON = False,
) -> None:
    """Take back what a file posted, as when the bank returns the payment.

    Rows of which a later file says something else stay. Whose account holds less than is to be
    taken back is rejected, and named.

    冲销缴费文件（如退票）。
    """
    config = load_config(config_file)

    async def work(database: Database, acts: FundActs, actor: Actor, show: Progress) -> Posted:
        return await reverse_file(
            database, acts, file_no, actor, employer=employer, reason=reason,
            month=month_of_now(config), on_progress=lambda done: show(done, done),
        )  # fmt: skip

    _finish(config, _do(config, by, password_file, work), as_json=as_json)


class FileListed(Struct, frozen=True):
    """A file, as `contributions list --json` has it."""

    file_no: int
    name: str
    sha256: str
    attempt: int
    reverses: int
    reason: str
    actor: str
    operator_no: int
    begins_time_ms: int
    ends_time_ms: int
    counts: Counts


@app.command("list")
@fail_clearly
def list_posted(config_file: ConfigFile, *, as_json: AsJSON = False) -> None:
    """List the files that were posted, and what became of their rows.

    列出缴费文件。
    """
    config = load_config(config_file)

    async def read() -> list[ContributionFile]:
        async with open_database(config) as database:
            return await list_files(database)

    files = asyncio.run(read())
    if as_json:
        listed = [
            FileListed(
                one.file_no, one.name, one.sha256.hex(), one.attempt, one.reverses, one.reason,
                one.actor, one.operator_no, one.begins_time_ms, one.ends_time_ms, one.counts,
            )
            for one in files
        ]  # fmt: skip
        typer.echo(json.format(json.encode(listed)).decode())
        return
    table = Table(
        "no", "文件 file", "时间 time", "新 new", "更正 corrected", "相同 same", "拒绝 rejected",
        "统筹 pool", "个账 accounts",
    )  # fmt: skip
    for one in files:
        what = f"冲销 reversal of {one.reverses}" if one.reverses else one.name
        state = (
            text_of(one.ends_time_ms, config.timezone) if one.ends_time_ms else "未完成 broken off"
        )
        counts = one.counts
        table.add_row(
            str(one.file_no), what, state, f"{counts.posted:,}", f"{counts.corrected:,}",
            f"{counts.unchanged:,}", f"{counts.rejected:,}", yuan(counts.pool_fen),
            yuan(counts.account_fen),
        )  # fmt: skip
    wide_console().print(table)


@app.command("rejected")
@fail_clearly
def print_rejected(
    file_no: FileNumber,
    config_file: ConfigFile,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", dir_okay=False, help="Where to; else standard output.")
    ] = None,
) -> None:
    """Name each row of a file that was not posted, as CSV: line, column, fault, reason.

    列出被拒绝的行及原因。
    """
    config = load_config(config_file)

    async def read() -> list[tuple[int, str, str]]:
        async with open_database(config) as database:
            return await rejections_of(database, file_no)

    rows = [
        (line, column, name, FAULTS[name].text_zh, FAULTS[name].text_en)
        for line, column, name in asyncio.run(read())
    ]
    header = ("line", "column", "fault", "reason_zh", "reason_en")
    if csv_file is None:
        csv.writer(sys.stdout, lineterminator="\n").writerows([header, *rows])
        return
    with csv_file.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


_Work = Callable[[Database, FundActs, Actor, Progress], Awaitable[Posted]]


def _do(config: Config, by: str, password_file: Path | None, work: _Work) -> Posted:
    async def run() -> Posted:
        async with open_database(config) as database:
            actor = await officer(Registry(database), by, password_file)
            async with open_fund_acts(database, config.timezone) as acts:
                return await with_progress(
                    "contributions", lambda show: work(database, acts, actor, show)
                )

    return asyncio.run(run())


def _finish(config: Config, posted: Posted, *, as_json: bool) -> None:
    counts, file_no = posted.counts, posted.file.file_no
    if as_json:
        shown = PostedShown(file_no, posted.is_repeated, counts)
        typer.echo(json.format(json.encode(shown)).decode())
    else:
        if posted.is_repeated:
            when = text_of(posted.file.ends_time_ms, config.timezone)
            typer.echo(f"file {file_no} had been posted at {when}: nothing was posted 此前已入账")
        typer.echo(
            f"file {file_no}: {counts.posted:,} new 新增, {counts.corrected:,} corrected 更正,"
            f" {counts.unchanged:,} unchanged 相同, {counts.rejected:,} rejected 拒绝;"
            f" pool 统筹 {yuan(counts.pool_fen)}, accounts 个账 {yuan(counts.account_fen)}"
        )
        if counts.rejected:
            typer.echo(f"cardserver contributions rejected {file_no} names the rejected rows")
    if counts.rejected:
        raise typer.Exit(1)
