"""`cardserver registry show`: all that the registry says of a person, card, institution, operator.

Not here: what was changed of them (`registry_history.py`).
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
    InstitutionCode,
    PersonText,
    find_card,
    find_institution,
    find_operator,
    find_person,
)
from cardserver.commands.wide_console import wide_console
from cardserver.config import Config, load_config
from cardserver.registry.contract_store import contracts_of
from cardserver.registry.filing_store import filings_of
from cardserver.registry.history_store import audit
from cardserver.registry.history_view_store import Import, origin_of
from cardserver.registry.masking import masked_name, masked_number
from cardserver.registry.registry_store import Registry
from cardserver.registry.values import FOREVER, Filing, Insurance
from ledger.calendar import text_of
from ledger.database_store import Database

app = typer.Typer(help="All that the registry says; masked, unless asked for whole. 查询登记信息")
Full = Annotated[
    bool, typer.Option("--full", help="Show names and numbers whole; the audit notes it.")
]
Rows = list[tuple[str, str]]


@app.command("person")
@fail_clearly
def show_person(config_file: ConfigFile, person: PersonText, *, full: Full = False) -> None:
    """Show a person: documents, insurances, cards, filings, where the record came from.

    查询人员：证件、参保、卡、备案及来源。
    """

    async def read(config: Config, database: Database) -> Rows:
        registry = Registry(database)
        found = await find_person(registry, person)
        number = found.person_no
        if full:
            await _note(database, f"person {number}")
        name, shown = _shown(full=full)
        documents = await registry.identities(number)
        rows = [
            ("person", str(number)),
            ("name", name(found.name)),
            ("sex", str(found.sex)),
            ("born", str(found.birth_date)),
            ("deceased", str(found.deceased_date or "")),
            ("family", str(found.family_no or "")),
        ]
        rows += [
            (
                "document",
                f"{one.id_type.name.lower()} {shown(one.number)}"
                + ("" if one.ends == FOREVER else f", to {one.ends}"),
            )
            for one in documents
        ]
        rows += [("insurance", _insurance(one)) for one in await registry.insurances(number)]
        rows += [
            ("card", f"{shown(one.card_number)} {one.state.name.lower()} {one.begins}-{one.ends}")
            for one in await registry.cards_of(number)
        ]
        rows += [("filing", _filing(one)) for one in await filings_of(database, number)]
        rows += [("known as", str(one)) for one in await registry.merged_into(number)]
        rows.append(_origin(config, await origin_of(database, "person", (number,))))
        return rows

    _show(config_file, read)


@app.command("card")
@fail_clearly
def show_card(
    config_file: ConfigFile,
    number: Annotated[str, typer.Argument(help="The card's printed number.")],
    *,
    full: Full = False,
) -> None:
    """Show a card and whose it is.

    查询卡片。
    """

    async def read(config: Config, database: Database) -> Rows:
        registry = Registry(database)
        card = await find_card(registry, number)
        if full:
            await _note(database, f"card {card.card_no}")
        name, shown = _shown(full=full)
        person = await registry.person(card.person_no)
        return [
            ("card", str(card.card_no)),
            ("number", shown(card.card_number)),
            ("state", card.state.name.lower()),
            ("person", f"{card.person_no} {name(person.name) if person else ''}"),
            ("profile", card.profile),
            ("version", card.version),
            ("region", card.region),
            ("valid", f"{card.begins}-{card.ends}"),
            _origin(config, await origin_of(database, "card", (card.card_no,))),
        ]

    _show(config_file, read)


@app.command("institution")
@fail_clearly
def show_institution(
    config_file: ConfigFile,
    code: Annotated[str, typer.Argument(metavar="INSTITUTION", help="The institution's code.")],
) -> None:
    """Show an institution, and what was agreed with it by period.

    查询定点医药机构。
    """

    async def read(config: Config, database: Database) -> Rows:
        found = await find_institution(Registry(database), code)
        contracts = [
            (
                "contract",
                f"{one.begins}-{_end(one.ends)} level {one.level}"
                + (f" care {one.care}" if one.care else ""),
            )
            for one in await contracts_of(database, found)
        ]
        return [
            ("institution", str(found.institution_no)),
            ("code", found.code),
            ("name", found.name),
            ("kind", found.kind.name.lower()),
            ("state", "active" if found.is_active else "suspended"),
            *contracts,
            _origin(config, await origin_of(database, "institution", (found.institution_no,))),
        ]

    _show(config_file, read)


@app.command("operator")
@fail_clearly
def show_operator(
    config_file: ConfigFile,
    code: Annotated[str, typer.Argument(help="The operator's number at the institution.")],
    institution: InstitutionCode = "",
    *,
    full: Full = False,
) -> None:
    """Show an operator of an institution, or of the fund.

    查询操作员。
    """

    async def read(config: Config, database: Database) -> Rows:
        found = await find_operator(Registry(database), institution, code)
        if full:
            await _note(database, f"operator {found.operator_no}")
        name, _ = _shown(full=full)
        return [
            ("operator", str(found.operator_no)),
            ("code", found.code),
            ("name", name(found.name)),
            ("role", found.role),
            ("state", "active" if found.is_active else "locked"),
            _origin(config, await origin_of(database, "operator", (found.operator_no,))),
        ]

    _show(config_file, read)


def _show(
    config_file: ConfigFile,
    read: Callable[[Config, Database], Awaitable[Rows]],
) -> None:
    config = load_config(config_file)

    async def run() -> Rows:
        async with open_database(config) as database:
            return await read(config, database)

    table = Table(show_header=False)
    for label, text in asyncio.run(run()):
        table.add_row(label, escape(text))
    wide_console().print(table)


def _insurance(one: Insurance) -> str:
    period = f"{one.begins}-{_end(one.ends)}"
    return (
        f"{one.insutype} {one.state.name.lower()} {period} type {one.person_type}"
        f" region {one.region}"
    )


def _filing(one: Filing) -> str:
    place = f" institution {one.institution_no}" if one.institution_no else ""
    return f"{one.kind.name.lower()} {one.code}{place} {one.begins}-{_end(one.ends)}"


async def _note(database: Database, subject: str) -> None:
    await database.execute(audit(acting_user(), "shown in full", subject, ""))


def _shown(*, full: bool) -> tuple[Callable[[str], str], Callable[[str], str]]:
    return (str, str) if full else (masked_name, masked_number)


def _end(day: int) -> str:
    return "" if day == FOREVER else str(day)


def _origin(config: Config, origin: Import | None) -> tuple[str, str]:
    if origin is None:
        return "came", "by a command; `registry history` says which"
    moment = text_of(origin.begins_time_ms, config.timezone)
    return "came", f"by import {origin.batch_no} of {moment}, run by {origin.actor}"
