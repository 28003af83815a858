"""`cardserver catalogue`: what the fund pays for, brought in from files, shown and given out."""

import asyncio
import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from msgspec import json, structs
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cardserver.catalogue.catalogue import Catalogue
from cardserver.catalogue.catalogue_store import CATALOGUE, MAPPING, institution_numbers
from cardserver.catalogue.columns import Rejection, mapping_form
from cardserver.catalogue.list_import import (
    Imported,
    Source,
    import_items,
    import_mapping,
    item_source,
    present_rows,
)
from cardserver.catalogue.sheets import UTF_8, count_lines, read_sheet, write_sheet
from cardserver.catalogue.values import LEVELS, CatalogueRow, ListVersion
from cardserver.commands.database import ConfigFile, acting_user, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.wide_console import wide_console
from cardserver.config import load_config
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.registry_store import Registry
from ledger.calendar import SystemClock, business_date, text_of

T = TypeVar("T")

app = typer.Typer(help="Drugs, services and consumables: classes, ratios, limits. 医保目录")
map_app = typer.Typer(help="What institutions call the catalogue's items. 目录对照")
app.add_typer(map_app, name="map")

MICROYUAN = 1_000_000
CLASSES = {1: "甲 A", 2: "乙 B", 3: "丙 C"}
KINDS = {1: "药品 drug", 2: "服务 service", 3: "耗材 consumable"}

File = Annotated[Path, typer.Argument(help="A CSV or XLSX file.", exists=True, dir_okay=False)]
Encoding = Annotated[str, typer.Option(help="Of a CSV file; Excel's may be gb18030.")]
Sheet = Annotated[str, typer.Option(help="Which one of an XLSX file; else its first.")]
Report = Annotated[
    Path | None, typer.Option(help="Write every rejected row with its reason to this CSV file.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would become of it.")]
AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Date = Annotated[str, typer.Option(help="Day of care, YYYY-MM-DD; today unless given.")]
RejectionsMax = Annotated[int, typer.Option(min=0, help="How many rejected rows to name here.")]


@app.command("import")
@fail_clearly
def import_catalogue(  # noqa: PLR0913 - a command's options are its arguments
    config_file: ConfigFile,
    file: File,
    report: Report = None,
    encoding: Encoding = UTF_8,
    sheet: Sheet = "",
    rejections_max: RejectionsMax = 20,
    *,
    dry_run: DryRun = False,
    accept_jumps: Annotated[
        bool, typer.Option("--accept-jumps", help="Limits may rise or fall a hundredfold.")
    ] = False,
) -> None:
    """Bring a file into the catalogue as its next version; the same file again changes nothing.

    Accepted rows are taken, rejected ones reported. Exit status 1 if any was rejected.

    导入医保目录；逐行校验，不合格的行写入报告。
    """
    config = load_config(config_file)
    clock = SystemClock()

    async def run(advance: Callable[[int], None]) -> Imported:
        async with open_database(config) as database:
            rows = read_sheet(file, encoding=encoding, sheet=sheet)
            return await import_items(
                database,
                item_source(file.name, rows),
                acting_user(),
                clock,
                accepts_jumps=accept_jumps,
                is_dry=dry_run,
                on_progress=advance,
            )

    with _progress(file) as advance:
        done = asyncio.run(run(advance))
    _say("catalogue", done, report, rejections_max, dry_run=dry_run)


@map_app.command("import")
@fail_clearly
def import_map(  # noqa: PLR0913 - as above
    config_file: ConfigFile,
    file: File,
    institution: Annotated[
        str, typer.Option(help="The institution's code, where the file has no such column.")
    ] = "",
    report: Report = None,
    encoding: Encoding = UTF_8,
    sheet: Sheet = "",
    rejections_max: RejectionsMax = 20,
    *,
    dry_run: DryRun = False,
) -> None:
    """Bring in what institutions call the catalogue's items; as `catalogue import` does.

    导入医疗机构目录对照。
    """
    config = load_config(config_file)

    async def run(advance: Callable[[int], None]) -> Imported:
        async with open_database(config) as database:
            institutions = await institution_numbers(database)
            if institution and institution not in institutions:
                raise AdministrationError(f"there is no institution {institution}")
            rows = read_sheet(file, encoding=encoding, sheet=sheet)
            form = mapping_form(institutions, institution)
            return await import_mapping(
                database,
                Source(file.name, rows, form),
                acting_user(),
                SystemClock(),
                is_dry=dry_run,
                on_progress=advance,
            )

    with _progress(file) as advance:
        done = asyncio.run(run(advance))
    _say("mapping", done, report, rejections_max, dry_run=dry_run)


@map_app.command("show")
@fail_clearly
def show_map(
    config_file: ConfigFile,
    institution: Annotated[str, typer.Argument(help="The institution's code.")],
    local_item: Annotated[str, typer.Argument(help="The institution's own code.")],
    *,
    as_json: AsJSON = False,
) -> None:
    """Show what an institution's own code stands for, and how that came about.

    显示医疗机构目录对照及其变更历史。
    """
    config = load_config(config_file)

    async def run() -> tuple[list[tuple[int, object]], list[ListVersion]]:
        async with open_database(config) as database:
            found = await Registry(database).institution_by_code(institution)
            if found is None:
                raise AdministrationError(f"there is no institution {institution}")
            history = await MAPPING.history(database, found.institution_no, local_item)
            return list(history), await MAPPING.versions(database)

    history, versions = asyncio.run(run())
    if not history:
        raise AdministrationError(f"{institution} has no code {local_item}")
    asked = ("institution_no", "local_item")
    _print_history(history, versions, config.timezone, asked=asked, as_json=as_json)


@app.command("show")
@fail_clearly
def show(
    config_file: ConfigFile,
    item: Annotated[str, typer.Argument(help="The item's code.")],
    date: Date = "",
    *,
    as_json: AsJSON = False,
) -> None:
    """Show what holds for an item on a day at each level, and every row it ever had.

    显示目录项目在某日的规定及其变更历史。
    """
    config = load_config(config_file)
    day = _day(date) if date else business_date(SystemClock().now_ms(), config.timezone)

    async def run() -> tuple[list[tuple[int, CatalogueRow]], list[ListVersion]]:
        async with open_database(config) as database:
            history = await CATALOGUE.history(database, item)
            return history, await CATALOGUE.versions(database)

    history, versions = asyncio.run(run())
    if not history:
        raise AdministrationError(f"the catalogue has no item {item}")
    catalogue = Catalogue.of(row for _, row in sorted(history, key=lambda one: one[0]))
    levels = [catalogue.find(item, level=level, day=day) for level in range(LEVELS)]
    if as_json:
        said = {"day": day, "levels": levels, "history": _history_values(history, versions)}
        typer.echo(json.format(json.encode(said)).decode())
        return
    console = wide_console()
    one = levels[0]
    if one is None:
        console.print(f"{item} is not in the catalogue on {day}")
    else:
        limits = ", ".join(
            f"{name} {_yuan(found.price_limit_microyuan)}"
            for name, found in zip(("药店 pharmacy", "1", "2", "3"), levels, strict=True)
            if found is not None
        )
        console.print(f"{item} {escape(one.name)}  {KINDS.get(one.kind, one.kind)}")
        console.print(
            f"{day}: {CLASSES[one.item_class]}, self-pay {one.self_pay_ratio_e4 / 100:g} %,"
            f" limit by level: {limits}"
        )
    _print_history(list(history), versions, config.timezone, asked=("item",), as_json=False)


@app.command("versions")
@fail_clearly
def show_versions(
    config_file: ConfigFile,
    *,
    mapping: Annotated[bool, typer.Option("--mapping", help="Of institutions' codes.")] = False,
    as_json: AsJSON = False,
) -> None:
    """List who made which version, when and of what file.

    列出目录的全部版本。
    """
    config = load_config(config_file)

    async def run() -> list[ListVersion]:
        async with open_database(config) as database:
            return await (MAPPING if mapping else CATALOGUE).versions(database)

    versions = asyncio.run(run())
    if as_json:
        typer.echo(json.format(json.encode(versions)).decode())
        return
    table = Table("version", "made", "by", "of", "added", "changed")
    for one in versions:
        table.add_row(
            str(one.version), text_of(one.made_time_ms, config.timezone), one.actor,
            escape(one.source),
            f"{one.added:,}", f"{one.changed:,}",
        )  # fmt: skip
    wide_console().print(table)


@app.command("export")
@fail_clearly
def export(
    config_file: ConfigFile,
    file: Annotated[Path, typer.Argument(help="A new CSV or XLSX file.")],
) -> None:
    """Write the whole catalogue, every period of every item, as `catalogue import` reads it.

    导出医保目录。
    """
    config = load_config(config_file)

    async def run() -> list[CatalogueRow]:
        async with open_database(config) as database:
            found = await present_rows(database, CATALOGUE)
            return [row for rows in found.values() for row in rows.values() if not row.is_struck]

    rows = asyncio.run(run())
    rows.sort(key=lambda row: (row.item, row.begins))
    fields = [name for name in CatalogueRow.__struct_fields__ if name != "is_struck"]

    def cells() -> Iterator[list[object]]:
        yield list(fields)
        for row in rows:
            values = structs.asdict(row)
            if not row.daily_quantity_max_e4:
                values["daily_quantity_max_e4"] = None
            yield [values[name] for name in fields]

    write_sheet(file, cells())
    typer.echo(f"{len(rows):,} rows in {file}")


@contextmanager
def _progress(file: Path) -> Iterator[Callable[[int], None]]:
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    with progress:
        task = progress.add_task(file.name, total=count_lines(file))
        yield lambda rows: progress.update(task, completed=rows)


def _say(
    name: str, done: Imported, report: Path | None, rejections_max: int, *, dry_run: bool
) -> None:
    said = "would be " if dry_run else ""
    typer.echo(
        f"{name} version {done.version}: {done.added:,} rows {said}added,"
        f" {done.changed:,} {said}changed, {done.unchanged:,} unchanged,"
        f" {len(done.rejections):,} rejected"
    )
    if report is not None:
        write_sheet(report, _report_rows(done.rejections))
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    for one in done.rejections[:rejections_max]:
        errors.print(escape(str(one)))
    more = len(done.rejections) - rejections_max
    if more > 0 and rejections_max:
        errors.print(f"{more:,} more rows rejected" + ("" if report else "; see --report"))
    if done.rejections:
        raise typer.Exit(1)


def _report_rows(rejections: tuple[Rejection, ...]) -> Iterator[tuple[object, ...]]:
    yield "line", "column", "reason"
    for one in rejections:
        yield one.line, one.column, one.reason


def _history_values(
    history: list[tuple[int, T]], versions: list[ListVersion]
) -> list[dict[str, object]]:
    made = {one.version: one for one in versions}
    return [
        {
            "version": version,
            "made_time_ms": made[version].made_time_ms if version in made else 0,
            "actor": made[version].actor if version in made else "",
            "source": made[version].source if version in made else "",
            "row": row,
        }
        for version, row in history
    ]


def _print_history(
    history: list[tuple[int, T]],
    versions: list[ListVersion],
    timezone: dt.tzinfo,
    *,
    asked: tuple[str, ...],
    as_json: bool,
) -> None:
    values = _history_values(history, versions)
    if as_json:
        typer.echo(json.format(json.encode(values)).decode())
        return
    table = Table("version", "made", "by", "of", "says")
    for one in values:
        row = one["row"]
        assert hasattr(row, "__struct_fields__")
        said = ", ".join(
            f"{name} {getattr(row, name)}"
            for name in row.__struct_fields__
            if name not in asked and getattr(row, name) not in {None, "", 0}
        )
        table.add_row(
            str(one["version"]), _time(one["made_time_ms"], timezone), str(one["actor"]),
            escape(str(one["source"])), escape(said),
        )  # fmt: skip
    wide_console().print(table)


def _time(time_ms: object, timezone: dt.tzinfo) -> str:
    return text_of(time_ms, timezone) if isinstance(time_ms, int) and time_ms else ""


def _yuan(price_microyuan: int | None) -> str:
    return "-" if price_microyuan is None else f"{price_microyuan / MICROYUAN:.15g}"


def _day(text: str) -> int:
    try:
        return int(f"{dt.date.fromisoformat(text):%Y%m%d}")
    except ValueError as error:
        raise AdministrationError(f"{text!r} is no date YYYY-MM-DD") from error
