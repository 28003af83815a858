"""`cardserver accumulators check`: are the accumulators what the claims come to?"""

import asyncio
import sys
import time
from typing import Annotated

import typer
from msgspec import json
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cardserver.claims.accumulators_check_store import (
    Checked,
    Difference,
    check_accumulators,
    count_claims,
    repair_person,
    words,
)
from cardserver.commands.database import ConfigFile, acting_user, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.config import Config, load_config
from ledger.database_store import Database

app = typer.Typer(help="What persons have used in a year. 个人年度累计", no_args_is_help=True)
_NAMED = "deductible_fen", "in_scope_fen", "pool_fen", "large_amount_fen", "admissions"
_LISTED_MAX = 1_000  # in JSON, and for a repair at a time; the count goes on


@app.callback()
def accumulators() -> None:
    """Keep `check` a command of its own, also while it is the only one."""


@app.command()
@fail_clearly
def check(
    config_file: ConfigFile,
    *,
    year: Annotated[int, typer.Option(help="Of which year; all without it.")] = 0,
    repair: Annotated[
        bool, typer.Option("--repair", help="Write what the claims come to, with an audit row.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Repair without asking.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, amounts in fen.")] = False,
) -> None:
    """Rebuild every person's accumulators from claims and compare; the centre may be serving.

    Opening amounts taken over count as they were. Amounts are deductible, in scope, pool, large
    amount and stays. Exit status 0: all agree, or were repaired; 1: not.

    由结算明细重建年度累计并核对；可加 --repair 修正（须确认，留审计记录）。
    """
    config = load_config(config_file)
    status = asyncio.run(_check(config, year, repairs=repair, asks=not yes, as_json=as_json))
    if status:
        raise typer.Exit(status)


async def _check(config: Config, year: int, *, repairs: bool, asks: bool, as_json: bool) -> int:
    console = Console(highlight=False, stderr=as_json)
    differing: list[Difference] = []

    def note(difference: Difference) -> None:
        if len(differing) < _LISTED_MAX:
            differing.append(difference)
        if not as_json:
            console.print(_sentence(difference))

    async with open_database(config) as database:
        began = time.perf_counter()
        total = await count_claims(database)
        with Progress(
            TextColumn("claims 结算"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        ) as progress:
            task = progress.add_task("", total=total)
            done = await check_accumulators(
                database,
                year=year,
                on_difference=note,
                on_progress=lambda count: progress.advance(task, count),
            )
        took_s = time.perf_counter() - began
        repaired = 0
        if done.differences and repairs and (not asks or _agrees(done)):
            repaired = await _repair(database, year, differing, console)
    if as_json:
        document = _document(done, differing, took_s, repaired)
        sys.stdout.write(json.format(json.encode(document), indent=2).decode() + "\n")
    else:
        _print(console, done, took_s, repaired)
    return int(done.differences > repaired)


def _agrees(done: Checked) -> bool:
    return typer.confirm(f"修正 repair {done.differences} rows?", err=True)


async def _repair(
    database: Database, year: int, differing: list[Difference], console: Console
) -> int:
    """Repair the persons that were named, each looked at anew; return how many rows changed."""
    who, now_ms = acting_user().name, time.time_ns() // 1_000_000
    repaired = 0
    for person_no in dict.fromkeys(difference.key.person_no for difference in differing):
        changed = await repair_person(database, person_no, year=year, who=who, now_ms=now_ms)
        repaired += len(changed)
    console.print(f"{repaired} rows repaired 已修正")
    return repaired


def _sentence(difference: Difference) -> str:
    key = difference.key
    return (
        f"person 人员 {_masked(key.person_no)}, {key.year}, {key.insutype} {key.scheme}: "
        f"stored 现值 {words(difference.stored)}, rebuilt 重建 {words(difference.rebuilt)}"
    )


def _masked(person_no: int) -> str:
    """Name a person so that whoever may look at the registry knows who is meant."""
    return f"***{person_no % 10_000:04d}"


def _document(
    done: Checked, differing: list[Difference], took_s: float, repaired: int
) -> dict[str, object]:
    return {
        "is_equal": not done.differences,
        "claims": done.claims,
        "rows": done.rows,
        "persons": done.persons,
        "differences_count": done.differences,
        "repaired": repaired,
        "took_s": round(took_s, 3),
        "claims_a_second": round(done.claims / took_s) if took_s else 0,
        "differences": [
            {
                "person": _masked(one.key.person_no),
                "year": one.key.year,
                "insutype": one.key.insutype,
                "scheme": one.key.scheme,
                "stored": dict(zip(_NAMED, one.stored, strict=True)),
                "rebuilt": dict(zip(_NAMED, one.rebuilt, strict=True)),
            }
            for one in differing
        ],
    }


def _print(console: Console, done: Checked, took_s: float, repaired: int) -> None:
    rate = round(done.claims / took_s) if took_s else 0
    if not done.differences:
        verdict = "[green]all agree 全部一致[/]"
    elif repaired >= done.differences:
        verdict = "[yellow]differed, and were repaired 已修正[/]"
    else:
        verdict = f"[red]{done.differences} rows differ 不一致[/]"
    console.print(
        f"{done.claims:,} claims 结算, {done.rows:,} rows 累计, {done.persons:,} persons 人: "
        f"{verdict}  [dim]{took_s:.1f} s, {rate:,} claims a second[/]"
    )
