"""`cardserver registry person`, `family`, `employer`: whom the fund knows, and what changes."""

import asyncio
from enum import StrEnum
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cardserver.commands.database import ConfigFile, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.fund_operator import By, acting_operator
from cardserver.commands.registry_subjects import (
    ROWS_MAX,
    PersonText,
    day_number,
    find_person,
    value_of,
)
from cardserver.commands.wide_console import wide_console
from cardserver.config import Config, load_config
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.family_store import (
    Employer,
    FamilyMember,
    employers_like,
    family_of,
    join_family,
    leave_family,
)
from cardserver.registry.identity_number import normalised
from cardserver.registry.import_files import PERSONS, SMALL_NUMBER_MAX
from cardserver.registry.masking import masked_name
from cardserver.registry.person_store import add_document, set_person
from cardserver.registry.registry_store import Registry
from cardserver.registry.revocation_store import list_missing_cards
from cardserver.registry.roles import Role
from cardserver.registry.values import IDType

app = typer.Typer(help="Persons, as things change. 人员信息变更")
family_app = typer.Typer(help="Families, whose payer's account aids the others. 家庭共济")
employer_app = typer.Typer(help="Employers. 参保单位")


class Document(StrEnum):
    """Kind of an identity document, as it is typed."""

    CITIZEN = "citizen"
    HONG_KONG = "hong-kong"
    MACAO = "macao"
    TAIWAN = "taiwan"
    PERMANENT_RESIDENT = "permanent-resident"
    PASSPORT = "passport"

    @property
    def id_type(self) -> IDType:
        """As the registry numbers it (psn_cert_type)."""
        return IDType[self.name]


NumberText = Annotated[str, typer.Argument(help="The document's number.")]
DocumentType = Annotated[Document, typer.Option("--type", help="Kind of the document.")]


@app.command("change")
@fail_clearly
def change(  # noqa: PLR0913 - one parameter an option
    config_file: ConfigFile,
    person: PersonText,
    *,
    name: Annotated[str, typer.Option(help="Another name.")] = "",
    sex: Annotated[str, typer.Option(help="1 male, 2 female, 9 not stated.")] = "",
    born: Annotated[str, typer.Option(metavar="DATE", help="Another birth date.")] = "",
    deceased: Annotated[
        str, typer.Option(metavar="DATE", help="The day on which the person died.")
    ] = "",
    employer: Annotated[
        int | None,
        typer.Option(help="Number of the employer; 0 none.", min=0, max=SMALL_NUMBER_MAX),
    ] = None,
    by: By = "",
) -> None:
    """Change what the registry says of a person.

    变更人员信息。
    """
    config = load_config(config_file)
    changes: dict[str, object] = {}
    for column, text in (("name", name), ("sex", sex)):
        if text:
            changes[column] = value_of(PERSONS, column, text)
    if born:
        changes["birth_date"] = day_number(born, config)
    if deceased:
        changes["deceased_date"] = day_number(deceased, config)
    if employer is not None:
        changes["employer_no"] = employer
    if not changes:
        raise AdministrationError("nothing is said to change")
    number = asyncio.run(_set(config, person, changes, by))
    typer.echo(f"person {number} is changed")


@app.command("number")
@fail_clearly
def change_number(
    config_file: ConfigFile,
    person: PersonText,
    number: NumberText,
    document: DocumentType = Document.CITIZEN,
    by: By = "",
) -> None:
    """Give a person another identity number; the earlier one still finds them.

    变更证件号码；原号码仍可查到本人。
    """
    config = load_config(config_file)
    changes: dict[str, object] = {
        "id_number": normalised(number),
        "id_type": document.id_type.value,
    }
    changed = asyncio.run(_set(config, person, changes, by))
    typer.echo(f"person {changed} has another number")


@app.command("document")
@fail_clearly
def document(
    config_file: ConfigFile,
    person: PersonText,
    number: NumberText,
    document: DocumentType = Document.PASSPORT,
    by: By = "",
) -> None:
    """Let a person be found by a further document.

    登记本人的其他证件。
    """
    config = load_config(config_file)

    async def run() -> int:
        async with open_database(config) as database:
            registry = Registry(database)
            actor = await acting_operator(registry, by, Role.REGISTRAR)
            found = await find_person(registry, person)
            await add_document(
                database, found.person_no, document.id_type, normalised(number), actor
            )
            return found.person_no

    typer.echo(f"person {asyncio.run(run())} is known by this document too")


async def _set(config: Config, person: str, changes: dict[str, object], by: str) -> int:
    async with open_database(config) as database:
        registry = Registry(database)
        actor = await acting_operator(registry, by, Role.REGISTRAR)
        found = await find_person(registry, person)
        today = day_number("", config)
        await set_person(database, found.person_no, changes, actor, today=today)
        if changes.get("deceased_date"):  # their cards are not to be taken from now on
            await list_missing_cards(database, now_ms=actor.now_ms)
        return found.person_no


@family_app.command("show")
@fail_clearly
def show_family(config_file: ConfigFile, person: PersonText) -> None:
    """Show a person's family, and whose account aids it.

    查询家庭共济关系。
    """
    config = load_config(config_file)

    async def run() -> list[FamilyMember]:
        async with open_database(config) as database:
            found = await find_person(Registry(database), person)
            return await family_of(database, found.person_no)

    table = Table("person", "name", "born", "pays")
    for member in asyncio.run(run()):
        name = escape(masked_name(member.name))
        pays = "yes" if member.is_payer else ""
        table.add_row(str(member.person_no), name, str(member.birth_date), pays)
    wide_console().print(table)


@family_app.command("join")
@fail_clearly
def join(
    config_file: ConfigFile,
    person: PersonText,
    payer: Annotated[
        str, typer.Option("--payer", help="Whose account aids them: psn_no or identity number.")
    ],
    by: By = "",
) -> None:
    """Let a person's bills be aided by another one's account; makes the family if there is none.

    加入家庭共济。
    """
    config = load_config(config_file)

    async def run() -> int:
        async with open_database(config) as database:
            registry = Registry(database)
            actor = await acting_operator(registry, by, Role.REGISTRAR)
            member = await find_person(registry, person)
            paying = await find_person(registry, payer)
            return await join_family(database, member.person_no, paying.person_no, actor)

    typer.echo(f"family {asyncio.run(run())}")


@family_app.command("leave")
@fail_clearly
def leave(config_file: ConfigFile, person: PersonText, by: By = "") -> None:
    """Let a person be aided by no one's account any more.

    退出家庭共济。
    """
    config = load_config(config_file)

    async def run() -> int:
        async with open_database(config) as database:
            registry = Registry(database)
            actor = await acting_operator(registry, by, Role.REGISTRAR)
            found = await find_person(registry, person)
            await leave_family(database, found.person_no, actor)
            return found.person_no

    typer.echo(f"person {asyncio.run(run())} is in no family")


@employer_app.command("list")
@fail_clearly
def list_employers(
    config_file: ConfigFile,
    like: Annotated[str, typer.Option("--like", help="Part of code or name.")] = "",
    rows_max: Annotated[
        int, typer.Option("--rows", min=1, max=ROWS_MAX, help="How many to list.")
    ] = 50,
) -> None:
    """List employers, and how many persons each has.

    列出参保单位及其人数。
    """
    config = load_config(config_file)

    async def run() -> list[Employer]:
        async with open_database(config) as database:
            return await employers_like(database, like, rows_max)

    table = Table("number", "code", "name", "persons")
    for one in asyncio.run(run()):
        table.add_row(str(one.employer_no), one.code, escape(one.name), f"{one.persons:,}")
    wide_console().print(table)
