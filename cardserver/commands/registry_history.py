"""`cardserver registry history`: who changed what, and when.

Not here: how things are now (`registry_show.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cardserver.commands.database import ConfigFile, acting_user, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.registry_subjects import (
    ROWS_MAX,
    InstitutionCode,
    PersonText,
    find_card,
    find_institution,
    find_operator,
    find_person,
)
from cardserver.commands.wide_console import wide_console
from cardserver.config import load_config
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.contract_store import contracts_of
from cardserver.registry.history_store import audit
from cardserver.registry.history_view_store import (
    Change,
    Import,
    changes_of,
    changes_of_person,
    find_import,
    last_imports,
    origin_of,
)
from cardserver.registry.import_files import SMALL_NUMBER_MAX
from cardserver.registry.masking import masked_number, masked_value
from cardserver.registry.registry_store import Registry
from ledger.calendar import text_of
from ledger.database_store import Database

app = typer.Typer(help="Who changed what, and when. 变更历史")
Full = Annotated[
    bool, typer.Option("--full", help="Show names and numbers whole; the audit notes it.")
]
Read = Callable[[Database], Awaitable[tuple[list[Change], Import | None]]]
_COUNTS = ("added", "changed", "unchanged", "merged", "rejected")
_OF_PERSONS = {"person", "operator"}


@app.command("person")
@fail_clearly
def of_person(config_file: ConfigFile, person: PersonText, *, full: Full = False) -> None:
    """Show what was changed of a person, their cards, insurances, filings and documents.

    人员及其卡、参保、备案、证件的变更历史。
    """

    async def read(database: Database) -> tuple[list[Change], Import | None]:
        found = await find_person(Registry(database), person)
        if full:
            await _note(database, f"person {found.person_no}")
        return (
            await changes_of_person(database, found.person_no),
            await origin_of(database, "person", (found.person_no,)),
        )

    _show(config_file, read, full=full)


@app.command("card")
@fail_clearly
def of_card(
    config_file: ConfigFile,
    number: Annotated[str, typer.Argument(help="The card's printed number.")],
) -> None:
    """Show what was changed of a card.

    卡片的变更历史。
    """

    async def read(database: Database) -> tuple[list[Change], Import | None]:
        card_no = (await find_card(Registry(database), number)).card_no
        return await _of(database, "card", card_no)

    _show(config_file, read)


@app.command("institution")
@fail_clearly
def of_institution(
    config_file: ConfigFile,
    code: Annotated[str, typer.Argument(metavar="INSTITUTION", help="The institution's code.")],
) -> None:
    """Show what was changed of an institution.

    机构的变更历史。
    """

    async def read(database: Database) -> tuple[list[Change], Import | None]:
        institution = await find_institution(Registry(database), code)
        number = institution.institution_no
        changes, origin = await _of(database, "institution", number)
        for contract in await contracts_of(database, institution):
            changes += await changes_of(database, "contract", f"{number}/{contract.begins}")
        return sorted(changes, key=lambda one: one.change_no), origin

    _show(config_file, read)


@app.command("operator")
@fail_clearly
def of_operator(
    config_file: ConfigFile,
    code: Annotated[str, typer.Argument(help="The operator's number at the institution.")],
    institution: InstitutionCode = "",
) -> None:
    """Show what was changed of an operator.

    操作员的变更历史。
    """

    async def read(database: Database) -> tuple[list[Change], Import | None]:
        operator = await find_operator(Registry(database), institution, code)
        return await _of(database, "operator", operator.operator_no)

    _show(config_file, read)


@app.command("imports")
@fail_clearly
def imports(
    config_file: ConfigFile,
    number: Annotated[
        int,
        typer.Argument(
            min=0, max=SMALL_NUMBER_MAX, help="Of one import, its files; 0 the last ones."
        ),
    ] = 0,
    rows_max: Annotated[
        int, typer.Option("--rows", min=1, max=ROWS_MAX, help="How many to list.")
    ] = 20,
) -> None:
    """List imports, or one import's files with their digests and what became of their rows.

    列出历次导入，或某次导入的文件及结果。
    """
    config = load_config(config_file)

    async def run() -> list[Import]:
        async with open_database(config) as database:
            if not number:
                return await last_imports(database, rows_max)
            found = await find_import(database, number)
            if found is None:
                raise AdministrationError(f"there was no import {number}")
            return [found]

    table = Table("import", "began", "ended", "by", "file", *_COUNTS, "SHA-256")
    for one in asyncio.run(run()):
        ended = text_of(one.ends_time_ms, config.timezone) if one.ends_time_ms else "not"
        head = [
            str(one.batch_no),
            text_of(one.begins_time_ms, config.timezone),
            ended,
            _actor(one.actor, one.operator_no),
        ]
        for file in one.files:
            counts = (f"{count:,}" for count in file.counts)
            table.add_row(*head, file.name, *counts, file.sha256.hex()[:16])
            head = [""] * len(head)
        if not one.files:
            table.add_row(*head)
    wide_console().print(table)


async def _of(database: Database, subject: str, number: int) -> tuple[list[Change], Import | None]:
    return (
        await changes_of(database, subject, str(number)),
        await origin_of(database, subject, (number,)),
    )


def _show(config_file: ConfigFile, read: Read, *, full: bool = False) -> None:
    config = load_config(config_file)

    async def run() -> tuple[list[Change], Import | None]:
        async with open_database(config) as database:
            return await read(database)

    changes, origin = asyncio.run(run())
    table = Table("when", "by", "what", "which", "before", "after")
    if origin is not None:
        moment = text_of(origin.begins_time_ms, config.timezone)
        by = _actor(origin.actor, origin.operator_no)
        table.add_row(moment, by, "added", f"import {origin.batch_no}", "", "")
    for one in changes:
        verb = "changed" if one.before is not None else "added"
        table.add_row(
            text_of(one.time_ms, config.timezone),
            _actor(one.actor, one.operator_no),
            verb if one.after is not None else "removed",
            escape(f"{one.subject} {_key(one, full=full)}"),
            escape(_values(one, one.before, full=full)),
            escape(_values(one, one.after, full=full)),
        )
    wide_console().print(table)


def _key(change: Change, *, full: bool) -> str:
    if change.subject != "identity" or full:
        return change.key
    number, _, rest = change.key.partition("/")
    return f"{masked_number(number)}/{rest}"


def _values(change: Change, values: dict[str, object] | None, *, full: bool) -> str:
    of_person = change.subject in _OF_PERSONS
    return ", ".join(
        f"{name} {value if full else masked_value(name, value, of_person=of_person)}"
        for name, value in (values or {}).items()
        if value is not None
    )


def _actor(actor: str, operator_no: int) -> str:
    return f"operator {operator_no} ({actor})" if operator_no else actor


async def _note(database: Database, subject: str) -> None:
    await database.execute(audit(acting_user(), "history shown in full", subject, ""))
