"""`cardserver clearing statement`: one a institution, as PDF and CSV."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from cardserver.clearing.clearing_store import stored_clearings
from cardserver.clearing.plan import StoredClearing
from cardserver.clearing.statement_store import day_sums, institutions, statement_entries
from cardserver.clearing.statements import (
    Place,
    by_institution,
    file_name,
    statement_pdf,
    write_clearing_csv,
    write_entries_csv,
)
from cardserver.commands.clearing_desk import Month, institution_of, month_of
from cardserver.commands.database import ConfigFile, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.progress import progress_bar
from cardserver.config import Config, load_config
from cardserver.registry.administration_store import AdministrationError


@fail_clearly
def write_statements(
    config_file: ConfigFile,
    month: Month,
    *,
    out: Annotated[Path, typer.Option(file_okay=False, help="A folder, made if need be.")],
    institution: Annotated[str, typer.Option(help="One institution's, by its code.")] = "",
    pdf: Annotated[bool, typer.Option(help="Print PDFs too.")] = True,
    entries: Annotated[bool, typer.Option(help="Write every entry too.")] = True,
) -> None:
    """Write statements of what was cleared: PDF, CSV, and every entry of the month as CSV.

    生成机构月度清算单。
    """
    config = load_config(config_file)
    out.mkdir(parents=True, exist_ok=True)
    count, lines = asyncio.run(_write(config, month_of(month), institution, out, (pdf, entries)))
    typer.echo(f"{out}: {count} institutions 机构, {lines:,} entries 明细")


async def _write(
    config: Config, month: int, institution: str, out: Path, wanted: tuple[bool, bool]
) -> tuple[int, int]:
    wants_pdf, wants_entries = wanted
    fund = f"{config.fund.name_zh} {config.fund.name_en}"
    async with open_database(config) as database:
        number = None
        if institution:
            number = (await institution_of(database, institution)).institution_no
        known = await database.report(institutions)
        cleared = await database.report(
            lambda one: stored_clearings(one, month=month, institution_no=number)
        )
        days = await database.report(lambda one: day_sums(one, month))
        by_number: dict[int, list[StoredClearing]] = {}
        for stored in cleared:
            by_number.setdefault(stored.clearing.institution_no, []).append(stored)
        if not by_number:
            raise AdministrationError(f"nothing is cleared for {month}")
        places = {one: Place(fund, *known.get(one, (str(one), "")), month) for one in by_number}
        with progress_bar() as bar:
            task = bar.add_task("statements 清算单", total=len(places))
            for one, place in places.items():
                write_clearing_csv(out, place, by_number[one])
                if wants_pdf:
                    content = statement_pdf(place, by_number[one], days.get(one, []))
                    (out / file_name(place, ".pdf")).write_bytes(content)
                bar.advance(task)
        if not wants_entries:
            return len(places), 0
        lines = await database.report(
            lambda connection: sum(
                write_entries_csv(out, places[one], some)
                for one, some in by_institution(statement_entries(connection, month, number))
                if one in places
            )
        )
    return len(places), lines
