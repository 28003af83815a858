"""`cardserver registry import`: fill the registry from CSV files, and say what became of them."""

import asyncio
import csv
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cardserver.commands.database import ConfigFile, acting_user, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.fund_operator import By, acting_operator
from cardserver.commands.wide_console import wide_console
from cardserver.config import Config, load_config
from cardserver.registry import import_files
from cardserver.registry.duplicates_store import look_for_pairs
from cardserver.registry.import_files import ImportFileError, Rejection
from cardserver.registry.import_plan import CATALOGUE_FILE, LOADERS, files_of
from cardserver.registry.import_run_store import begin_run, end_file, end_run
from cardserver.registry.import_store import FileResult, ImportRun, load_file
from cardserver.registry.opening_balances_store import load_balances
from cardserver.registry.registry_store import Registry
from cardserver.registry.revocation_store import list_missing_cards
from cardserver.registry.roles import Role
from cardserver.registry.values import Actor
from cardserver.when_called import when_called
from ledger.calendar import Clock, SystemClock
from ledger.database_store import Database

_load_catalogue: Callable[
    [Database, Path, Actor, Clock, Callable[[int], None]], Awaitable[FileResult]
] = when_called("cardserver.catalogue.list_import:load_catalogue")
_COUNTS = ("added", "changed", "unchanged", "merged", "rejected")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an import did.

    Attributes:
        pairs: How many persons were newly found who may be one.
    """

    batch_no: int
    results: list[FileResult]
    pairs: int


@fail_clearly
def import_folder(
    config_file: ConfigFile,
    directory: Annotated[Path, typer.Argument(help="Folder of CSV files.")],
    *,
    updates: Annotated[
        bool,
        typer.Option(
            "--update", help="Change what differs from the files, instead of rejecting it."
        ),
    ] = False,
    rejected: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="Where every rejected row is named, as CSV: file, line, column, reason. Without"
            " it, rejected-rows.csv beside the folder of files.",
        ),
    ] = None,
    rejections_max: Annotated[
        int, typer.Option(min=0, help="How many rejected rows to print, of each file.")
    ] = 20,
    by: By = "",
) -> None:
    """Load CSV files into the registry; loading them again changes nothing.

    A rejected row stops none of the others. Persons who may be in the registry twice are found:
    `cardserver registry duplicates list`.

    Exit status 0: every row is in the registry as the files say; 1: some rows are not, or a file
    could not be read.

    将 CSV 文件导入登记库；重复导入不会产生重复数据。
    """
    config = load_config(config_file)
    report = rejected or directory.resolve().parent / "rejected-rows.csv"
    outcome = asyncio.run(_import(config, directory, report, by, updates=updates))
    table = Table("file", *_COUNTS)
    for column in table.columns[1:]:
        column.justify = "right"
    for result in outcome.results:
        table.add_row(result.file, *(f"{getattr(result, name):,}" for name in _COUNTS))
    console = wide_console()
    console.print(table)
    console.print(f"import {outcome.batch_no}")
    if outcome.pairs:
        console.print(
            f"{outcome.pairs:,} pairs of persons may be one each:"
            " cardserver registry duplicates list"
        )
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    for result in outcome.results:
        for rejection in result.rejections[:rejections_max]:
            errors.print(escape(str(rejection)))
        more = result.rejected - min(len(result.rejections), rejections_max)
        if result.rejected and more:
            errors.print(f"{result.file}.csv: {more:,} more rows rejected")
    if any(result.rejected for result in outcome.results):
        errors.print(escape(f"every rejected row is named in {report}"))
        raise typer.Exit(1)


async def _import(
    config: Config, directory: Path, report: Path, by: str, *, updates: bool
) -> Outcome:
    names = files_of(directory)
    progress = Progress(
        TextColumn("{task.description:12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    results: list[FileResult] = []
    pairs = 0
    async with open_database(config) as database:
        actor = await acting_operator(Registry(database), by, Role.REGISTRAR)
        run = await begin_run(database, actor, timezone=config.timezone, updates=updates)
        with progress, _rejections_to(report) as note:
            for name in names:
                path = directory / f"{name}.csv"
                task = progress.add_task(name, total=import_files.count_rows(path))

                def advance(done: int, task: object = task) -> None:
                    progress.update(task, completed=done)  # type: ignore[arg-type]

                result = FileResult(name, on_rejection=note)
                results.append(await _load(database, config, run, path, result, advance))
                await end_file(database, run, path, results[-1])
            if any(one.added or one.changed for one in results if one.file == "persons"):
                task = progress.add_task("duplicates", total=1)
                pairs = await look_for_pairs(database, batch_no=run.batch_no)
                progress.update(task, completed=1)
        now_ms = acting_user().now_ms
        await list_missing_cards(database, now_ms=now_ms)
        await end_run(database, run, now_ms=now_ms)
    return Outcome(run.batch_no, results, pairs)


async def _load(
    database: Database,
    config: Config,
    run: ImportRun,
    path: Path,
    result: FileResult,
    advance: Callable[[int], None],
) -> FileResult:
    if result.file == CATALOGUE_FILE:
        done = await _load_catalogue(database, path, run.actor, SystemClock(), advance)
        for rejection in done.rejections:
            result.on_rejection(rejection)
        return done
    if result.file == import_files.BALANCES.name:
        return await load_balances(
            database, run, path, result, advance, clock=SystemClock(), timezone=config.timezone
        )
    (loader,) = (one for one in LOADERS if one.spec.name == result.file)
    return await load_file(database, run, loader, path, result, advance)


@contextmanager
def _rejections_to(report: Path) -> Iterator[Callable[[Rejection], None]]:
    """Write every rejection into a CSV file, which is made with the first of them."""
    with ExitStack() as stack:
        write: list[Callable[[Iterable[object]], object]] = []

        def note(rejection: Rejection) -> None:
            if not write:
                try:
                    file = stack.enter_context(report.open("w", encoding="utf-8", newline=""))
                except OSError as error:
                    raise ImportFileError(f"{report} can't be written: {error.strerror}") from error
                write.append(csv.writer(file, lineterminator="\n").writerow)
                write[0](("file", "line", "column", "reason"))
            write[0]((f"{rejection.file}.csv", rejection.line, rejection.column, rejection.reason))

        yield note
