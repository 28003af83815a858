"""`cardserver policy replay`: who would have gained and lost, had a draft decided past claims."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cardserver.benefits.policy import load_policy
from cardserver.claims.replay import Months, ReplayRules, Unreplayed
from cardserver.claims.replay_files import PLOT_FILE, ReportFiles
from cardserver.claims.replay_report import Tally, report_of
from cardserver.claims.replay_store import PersonRange, institution_names, person_ranges
from cardserver.claims.replay_work import CLAIMS_MAX, Job, RangeReplayed, replay_ranges
from cardserver.commands.database import ConfigFile, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.policy import Language, WhichLanguage, read_policy, read_versions
from cardserver.commands.replay_summary import print_named, print_report
from cardserver.commands.wide_console import wide_console
from cardserver.config import Config, load_config

_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")
_NAMED_MAX = 20  # settlements that are named on the terminal; all are in the files
_INTERRUPTED = 130
_LAST_OF_MONTH = 31
_PLOT = "cardserver.claims.replay_plot"
_PLOT_TIME_MAX_S = 120


@fail_clearly
def replay(  # noqa: PLR0913 - each is an option of its own
    config_file: ConfigFile,
    first: Annotated[str, typer.Option("--from", help="First month of settlement, YYYY-MM.")],
    last: Annotated[str, typer.Option("--to", help="Last month of settlement, YYYY-MM.")],
    out: Annotated[
        Path, typer.Option(file_okay=False, help="Folder for report, picture and CSV files.")
    ],
    policy: Annotated[
        list[Path] | None,
        typer.Option("--policy", exists=True, dir_okay=False, help="A draft; may be repeated."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="How many processes; without it, one for each core.")
    ] = None,
    language: WhichLanguage = Language.ZH,
    *,
    control: Annotated[
        bool,
        typer.Option("--control", help="See whether the versions that decided still decide so."),
    ] = False,
) -> None:
    """Decide stored claims again under a draft, and report who gains and who loses.

    The draft decides every replayed settlement that it has rules for, whatever its own dates.
    With --control, every settlement is also decided again by the version that decided it, and
    must come out as it was. Exit status 0: done; 1: the control found differences.

    以政策草案重新计算历史结算，报告基金、人员、机构的增减。
    """
    drafts = tuple(read_policy(file) for file in policy or ())
    if not drafts and not control:
        raise typer.BadParameter("name a draft with --policy, or ask for --control")
    months = Months(_month(first) * 100 + 1, _month(last) * 100 + _LAST_OF_MONTH)
    if months.last_day < months.first_day:
        raise typer.BadParameter(f"{last} is before {first}")
    ReplayRules((), drafts, is_control=False)  # a draft's mistakes are told before anything runs
    config = load_config(config_file)
    job = Job(
        url=config.database_url,
        password=config.database_password,
        versions=tuple(version.text for version in read_versions(config)),
        drafts=drafts,
        is_control=control,
        months=months,
    )
    jobs = jobs or (os.cpu_count() or 1)
    ranges, institutions = asyncio.run(_plan(config))
    console = wide_console()
    began = time.perf_counter()
    try:
        with ReportFiles(out) as files:
            tally, named = _run(job, ranges, jobs, files)
            took_s = time.perf_counter() - began
            report = report_of(
                tally,
                [load_policy(text).identity for text in drafts],
                first_month=months.first_day // 100,
                last_month=months.last_day // 100,
                institutions=institutions,
            )
            files.report(report)
    except KeyboardInterrupt:
        typer.echo("cardserver: interrupted; the files are not complete 已中断", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    print_report(console, report, list(Language).index(language))
    print_named(console, named, report)
    if drafts:
        _draw(out)
    decided = report.replayed_count + report.undone_count + report.control_count
    rate = decided / took_s
    console.print(
        f"{decided:,} bills in {took_s:.1f} s by {jobs} processes: {rate:,.0f} bills a second, "
        f"{rate / jobs:,.0f} a second and core 每核每秒{rate / jobs:,.0f}笔"
    )
    console.print(f"{out}: report.json, *.csv{f', {PLOT_FILE}' if drafts else ''}", markup=False)
    if report.difference_count:
        raise typer.Exit(1)


def _month(text: str) -> int:
    match = _MONTH.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"{text} is no month; write YYYY-MM")
    return int(match[1]) * 100 + int(match[2])


async def _plan(config: Config) -> tuple[list[PersonRange], dict[int, tuple[str, str]]]:
    async with open_database(config) as database:
        return await person_ranges(database, CLAIMS_MAX), await institution_names(database)


def _run(
    job: Job, ranges: list[PersonRange], jobs: int, files: ReportFiles
) -> tuple[Tally, list[str]]:
    """Replay all ranges, with a progress bar; return the sums, and settlements to be named."""
    tally = Tally()
    named: list[str] = []
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    with progress, _interrupt_kept() as kept:
        task = progress.add_task("claims 结算", total=sum(one.claim_count for one in ranges))
        for done in replay_ranges(job, ranges, jobs=min(jobs, len(ranges) or 1)):
            tally.add(done.tally)
            files.persons(done.rows)
            files.not_replayed("refused", done.refused)
            files.not_replayed("not replayed", done.unreplayed)
            files.differences(done.differences)
            if len(named) < _NAMED_MAX:
                named += _names(done)
            progress.advance(task, done.persons.claim_count)
            if kept:
                raise KeyboardInterrupt
    return tally, named[:_NAMED_MAX]


@contextmanager
def _interrupt_kept() -> Iterator[list[int]]:
    """Keep an interrupt until somebody looks whether there was one, at the latest at the end.

    Raised wherever it falls, it can fall into the callback of a weak reference: Python prints such
    an exception and goes on.
    """
    kept: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield kept
        return
    before = signal.signal(signal.SIGINT, lambda number, _: kept.append(number))
    try:
        yield kept
    finally:
        signal.signal(signal.SIGINT, before)
    if kept:
        raise KeyboardInterrupt


def _names(done: RangeReplayed) -> list[str]:
    """Say which settlements came to something that a person must look at."""
    kinds: tuple[tuple[str, list[Unreplayed]], ...] = (
        ("refused by the draft 草案不予支付", done.refused),
        ("not replayed 未能重算", done.unreplayed),
    )
    return [
        *(f"{one.entry_no}: differs 不一致: {one.what}" for one in done.differences),
        *(f"{one.entry_no}: {what}: {one.why}" for what, some in kinds for one in some),
    ]


def _draw(folder: Path) -> None:
    """Draw the picture in a process of its own: the library takes longer to load than we run."""
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", _PLOT, str(folder)],
        check=False, capture_output=True, text=True, timeout=_PLOT_TIME_MAX_S,
    )  # fmt: skip
    if done.returncode:
        typer.echo(f"cardserver: no picture was drawn: {done.stderr.strip()}", err=True)
