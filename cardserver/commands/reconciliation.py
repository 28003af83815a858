"""`cardserver reconciliation`: institutions' days beside the centre's, and what is open of them."""

import asyncio
import csv
import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Self, TextIO

import typer

from cardserver.commands.database import ConfigFile, acting_user, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.fund_operator import password_of, prove_operator
from cardserver.commands.reconciliation_screen import (
    day_json,
    listed_json,
    print_day,
    print_imported,
    print_json,
    print_listed,
    print_runs,
    print_sides,
    run_json,
)
from cardserver.config import load_config
from cardserver.reconciliation.day_file import BadRow, Expected
from cardserver.reconciliation.day_store import Scope, terminals_of
from cardserver.reconciliation.day_summary import InstitutionDay, summarize_day
from cardserver.reconciliation.importing import Imported, import_day
from cardserver.reconciliation.readiness_store import DAY_MS
from cardserver.reconciliation.reconciling import is_under_way
from cardserver.reconciliation.record_store import runs_of_day
from cardserver.reconciliation.resolving_store import (
    LIMIT_MAX,
    Listed,
    Wanted,
    find_difference,
    list_differences,
    resolve_difference,
)
from cardserver.reconciliation.values import Origin, Run, Source
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.registry_store import Registry
from cardserver.registry.roles import Role
from cardserver.registry.values import Institution
from ledger.calendar import SystemClock, business_date
from ledger.database_store import Database

app = typer.Typer(help="Daily reconciliation with institutions. 日对账", no_args_is_help=True)

DayOption = Annotated[
    dt.datetime,
    typer.Option("--day", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD", help="The business date."),
]
DayArgument = Annotated[
    dt.datetime,
    typer.Argument(formats=["%Y-%m-%d"], metavar="DAY", help="The business date, YYYY-MM-DD."),
]
InstitutionCode = Annotated[str, typer.Option("--institution", help="Its code.")]
AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON, amounts in fen.")]
By = Annotated[
    str, typer.Option("--by", metavar="OPERATOR", help="The fund's reconciler who acts.")
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="Holds the password; else it is asked for."),
]


@app.command("day")
@fail_clearly
def day(config_file: ConfigFile, day: DayArgument, *, as_json: AsJSON = False) -> None:
    """Say of every institution whether it has reconciled a day, and with what outcome.

    各机构某日对账情况。
    """
    config = load_config(config_file)

    async def run() -> list[InstitutionDay]:
        async with open_database(config) as database:
            return await summarize_day(database, _number(day))

    found = asyncio.run(run())
    if as_json:
        print_json([day_json(one) for one in found])
    else:
        print_day(found)


@app.command("list")
@fail_clearly
def list_(  # noqa: PLR0913 - one parameter an option
    config_file: ConfigFile,
    *,
    older_than: Annotated[
        int, typer.Option(metavar="DAYS", min=0, help="Known for at least so many days.")
    ] = 0,
    institution: InstitutionCode = "",
    day: Annotated[
        dt.datetime | None,
        typer.Option("--day", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD", help="Of one day."),
    ] = None,
    resolved: Annotated[bool, typer.Option("--all", help="Those that are resolved, too.")] = False,
    after: Annotated[int, typer.Option(min=0, help="With higher numbers: the next page.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="How many at most.")] = 200,
    as_json: AsJSON = False,
) -> None:
    """List differences that are open, the oldest first, with their age.

    列出未解决的对账差异。
    """
    config = load_config(config_file)
    now_ms = SystemClock().now_ms()

    async def run() -> list[Listed]:
        async with open_database(config) as database:
            wanted = Wanted(
                institution_no=(await _institution(database, institution)).institution_no
                if institution
                else 0,
                day=0 if day is None else _number(day),
                older_than_ms=now_ms - older_than * DAY_MS if older_than else 0,
                is_open=not resolved,
                after_no=after,
                limit=limit,
            )
            return await list_differences(database, wanted)

    found = asyncio.run(run())
    if as_json:
        print_json([listed_json(one, now_ms) for one in found])
        return
    print_listed(found, now_ms)
    if len(found) == limit:
        last = found[-1].difference.difference_no
        typer.echo(f"more 更多: --after {last}", err=True)


@app.command("show")
@fail_clearly
def show(
    config_file: ConfigFile,
    number: Annotated[int, typer.Argument(min=1, help="The difference's number.")],
    *,
    as_json: AsJSON = False,
) -> None:
    """Show both sides of a difference, and every comparison of its day.

    显示一条对账差异及当日各次对账。
    """
    config = load_config(config_file)
    now_ms = SystemClock().now_ms()

    async def run() -> tuple[Listed, list[Run]]:
        async with open_database(config) as database:
            found = await find_difference(database, number)
            if found is None:
                raise AdministrationError(f"there is no difference {number}")
            of = await Registry(database).institution(found.institution_no)
            assert of is not None
            runs = await runs_of_day(database, found.business_date)
            own = [one for one in runs if one.institution_no == found.institution_no]
            return Listed(of.code, of.name, found), own

    listed, runs = asyncio.run(run())
    if as_json:
        shown = listed_json(listed, now_ms) | {"runs": [run_json(one) for one in runs]}
        print_json(shown)
        return
    print_listed([listed], now_ms)
    print_sides(listed)
    print_runs(runs, config)


@app.command("resolve")
@fail_clearly
def resolve(
    config_file: ConfigFile,
    number: Annotated[int, typer.Argument(min=1, help="The difference's number.")],
    *,
    by: By,
    reason: Annotated[str, typer.Option(help="Why it may stay; goes into the audit.")],
    password_file: PasswordFile = None,
) -> None:
    """Say why a difference may stay; found again unchanged, it is no difference any more.

    What can be mended is mended: then the next reconciliation resolves it by itself.

    人工了结一条对账差异，须说明原因。
    """
    config = load_config(config_file)

    async def run() -> None:
        async with open_database(config) as database:
            operator = await prove_operator(
                Registry(database), by, password_of(by, password_file), role=Role.RECONCILER
            )
            actor = replace(acting_user(), operator_no=operator.operator_no)
            done = await resolve_difference(database, number, reason, actor)
            typer.echo(f"difference {done.difference_no} resolved 已了结: {done.reason}")

    asyncio.run(run())


@app.command("import")
@fail_clearly
def import_(  # noqa: PLR0913 - one parameter an option
    config_file: ConfigFile,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The CSV file.")],
    *,
    institution: InstitutionCode,
    day: DayOption,
    terminal: Annotated[
        str, typer.Option(help="One terminal's rows only; else the whole institution's.")
    ] = "",
    refused: Annotated[
        Path | None, typer.Option(help="Where rows that can't be used are written, with why.")
    ] = None,
    by: By,
    password_file: PasswordFile = None,
    as_json: AsJSON = False,
) -> None:
    """Reconcile an institution's day by its file; the form is protocol/RECONCILING.md's.

    Rows that can't be used are named with their reason, and the others compared. Exit status 1
    where rows were refused or anything differs.

    按机构文件对账。
    """
    config = load_config(config_file)

    async def run(on_refused: _Refused) -> Imported:
        async with open_database(config) as database:
            operator = await prove_operator(
                Registry(database), by, password_of(by, password_file), role=Role.RECONCILER
            )
            of = await _institution(database, institution)
            scope = Scope(of.institution_no, 0, _number(day))
            if terminal:
                numbers = await terminals_of(database, of.institution_no)
                if terminal not in numbers:
                    raise AdministrationError(f"{institution} has no terminal {terminal}")
                scope = replace(scope, terminal_no=numbers[terminal])
            now_ms = SystemClock().now_ms()
            if scope.day > business_date(now_ms, config.timezone):
                raise AdministrationError(f"{day.date()} has not begun")
            return await import_day(
                database,
                file,
                scope,
                Expected(institution, day.date().isoformat(), terminal),
                Origin(Source.FILE, operator.operator_no, now_ms),
                is_provisional=is_under_way(scope.day, now_ms, config.timezone),
                on_refused=on_refused,
            )

    with _Refused(refused) as on_refused:
        imported = asyncio.run(run(on_refused))
    print_imported(imported, as_json=as_json)
    if imported.refused or imported.open_count or imported.differences:
        raise typer.Exit(1)


class _Refused:
    """Names rows that are not used: all in a file, or the first ones on standard error."""

    shown_max = 20

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._opened: TextIO | None = None
        self._count = 0

    def __enter__(self) -> Self:
        if self._file is not None:
            self._opened = self._file.open("w", encoding="utf-8", newline="")
            csv.writer(self._opened, lineterminator="\n").writerow(("line", "reason"))
        return self

    def __exit__(self, *_: object) -> None:
        if self._opened is not None:
            self._opened.close()
        elif self._count > self.shown_max:
            typer.echo(f"and {self._count - self.shown_max} more 其余见 --refused", err=True)

    def __call__(self, bad: BadRow) -> None:
        self._count += 1
        if self._opened is not None:
            csv.writer(self._opened, lineterminator="\n").writerow((bad.line, bad.reason))
        elif self._count <= self.shown_max:
            typer.echo(f"line {bad.line}: {bad.reason}", err=True)


async def _institution(database: Database, code: str) -> Institution:
    found = await Registry(database).institution_by_code(code)
    if found is None:
        raise AdministrationError(f"no institution has the code {code}")
    return found


def _number(day: dt.datetime) -> int:
    """A business date as YYYYMMDD."""
    return int(f"{day:%Y%m%d}")
