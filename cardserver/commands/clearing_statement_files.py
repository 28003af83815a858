"""The files that `cardserver clearing statement` writes: a PDF and a CSV for each institution.

A file of its own: the library that draws pages is slow to load, and other commands need it not.
"""

from pathlib import Path

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
from cardserver.commands.clearing_desk import institution_of
from cardserver.commands.database import open_database
from cardserver.commands.progress import progress_bar
from cardserver.config import Config
from cardserver.registry.administration_store import AdministrationError


async def write_files(
    config: Config, month: int, institution: str, out: Path, wanted: tuple[bool, bool]
) -> tuple[int, int]:
    """Write a month's statements; return how many institutions and entries they are of.

    Args:
        config: The centre's.
        month: YYYYMM.
        institution: One institution's alone, by its code; empty: all.
        out: A folder.
        wanted: Whether PDFs, and whether every entry.
    """
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
