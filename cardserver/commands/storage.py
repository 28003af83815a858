"""`cardserver storage`: sizes, parts by month, replies that expire, a new release's schema."""

import asyncio
from collections.abc import Callable
from typing import Annotated

import typer
from rich.table import Table

from cardserver.commands.database import ConfigFile, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.progress import progress_bar
from cardserver.commands.wide_console import wide_console
from cardserver.config import Config, load_config
from cardserver.migrations.revision_store import require_current
from cardserver.migrations.schema import is_known, revision_of, upgrade
from cardserver.storage.expiry_store import Expired, expire_replies
from cardserver.storage.parts_store import MONTHS_AHEAD, make_parts_ahead, read_parts
from cardserver.storage.sizes_store import TableSize, read_sizes
from ledger.calendar import SystemClock, business_date
from ledger.partitions_store import Part

app = typer.Typer(help="What the database holds in the long run. 存储", no_args_is_help=True)

_MIB = 1 << 20


@app.command("show")
@fail_clearly
def show(config_file: ConfigFile) -> None:
    """Show how much room each table and index takes.

    显示各表和索引占用的空间。
    """
    sizes = asyncio.run(_sizes(load_config(config_file)))
    table = Table("table 表", "rows 行数", "MiB", "of it indexes 其中索引", "bytes a row 每行字节")
    for column in table.columns[1:]:
        column.justify = "right"
    for one in sizes:
        if one.whole:  # PostgreSQL counts rows when it analyses a table
            table.add_row(
                one.table,
                f"{one.rows:,}" if one.rows else "-",
                f"{one.whole / _MIB:,.1f}",
                ", ".join(f"{size / _MIB:,.1f}" for size in one.indexes.values()),
                f"{one.whole / one.rows:,.0f}" if one.rows else "-",
            )
    console = wide_console()
    console.print(table)
    console.print(f"{sum(one.whole for one in sizes) / _MIB:,.1f} MiB in all 合计")


@app.command("parts")
@fail_clearly
def parts(
    config_file: ConfigFile,
    ahead: Annotated[
        int,
        typer.Option("--ahead", min=0, max=60, help="How many months' parts to make. 预建月数"),
    ] = MONTHS_AHEAD,
) -> None:
    """Make the parts of this month and the next ones (PostgreSQL), and list all.

    A running centre does this itself. 预建并列出按月分区。
    """
    made, found = asyncio.run(_parts(load_config(config_file), ahead))
    table = Table("part 分区", "range 范围", "rows 行数", "MiB")
    for column in table.columns[2:]:
        column.justify = "right"
    for one in found:
        rows = f"{one.rows:,}" if one.rows >= 0 else "-"
        table.add_row(one.name, one.bounds, rows, f"{one.size / _MIB:,.1f}")
    console = wide_console()
    console.print(table)
    console.print(f"made 新建: {', '.join(made) or 'none 无'}")


@app.command("expire")
@fail_clearly
def expire(config_file: ConfigFile) -> None:
    """Let go of stored replies two months after their month was closed; hashes are left.

    STATUS then tells state and settlement number. What was noted of where requests' time went is
    dropped after two months too. 清除结账两个月后的应答报文，保留摘要。
    """
    config = load_config(config_file)
    with progress_bar() as bar:
        task = bar.add_task("replies 应答", total=None)
        done = asyncio.run(_expire(config, lambda count: bar.update(task, completed=count)))
    typer.echo(f"{done.notes:,} rows of where time went dropped 已删除耗时记录")
    if not done.until:
        typer.echo("no month was closed two months ago 尚无结账满两个月的月份")
        return
    typer.echo(f"{done.replies:,} replies expired, of days until {done.until} 已清除应答")
    for part in done.waiting:
        typer.echo(f"{part} is in use; run this again 分区占用，请重试", err=True)
    if done.waiting:
        raise typer.Exit(1)


@app.command("migrate")
@fail_clearly
def migrate_schema(config_file: ConfigFile) -> None:
    """Bring the database's schema up to this release's; where it is already, change nothing.

    Stop the centre and make a backup before: there is no way back but that. Broken off, it has
    changed nothing. 升级数据库结构；请先停止中心并备份。
    """
    config = load_config(config_file)
    before, after = asyncio.run(_migrate(config))
    typer.echo(
        f"the schema is {after}, as it was 结构未变"
        if before == after
        else f"the schema was {before or 'none'} and is {after} 结构已升级"
    )


async def _migrate(config: Config) -> tuple[str, str]:
    async with open_database(config) as database:
        before = await database.report(revision_of)
        if before and not is_known(before):
            await require_current(database)
        await database.administer(upgrade)
        return before, await database.report(revision_of)


async def _sizes(config: Config) -> list[TableSize]:
    async with open_database(config) as database:
        return await read_sizes(database)


async def _parts(config: Config, ahead: int) -> tuple[list[str], list[Part]]:
    async with open_database(config) as database:
        made: list[str] = []
        if ahead:
            month = business_date(SystemClock().now_ms(), config.timezone) // 100
            made = await make_parts_ahead(database, month=month, count=ahead)
        return made, await read_parts(database)


async def _expire(config: Config, on_progress: Callable[[int], None]) -> Expired:
    async with open_database(config) as database:
        return await expire_replies(
            database, now_ms=SystemClock().now_ms(), on_progress=on_progress
        )
