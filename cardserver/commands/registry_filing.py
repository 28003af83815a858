"""`cardserver registry filing`: what a person has filed (备案) and benefits depend on."""

import asyncio
from enum import StrEnum
from typing import Annotated

import typer
from rich.table import Table

from cardserver.commands.database import ConfigFile, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.fund_operator import By, acting_operator
from cardserver.commands.registry_subjects import (
    Day,
    InstitutionCode,
    PersonText,
    day_number,
    find_institution,
    find_person,
)
from cardserver.commands.wide_console import wide_console
from cardserver.config import Config, load_config
from cardserver.registry.filing_store import add_filing, end_filing, filings_of
from cardserver.registry.import_files import REFERRED
from cardserver.registry.registry_store import Registry
from cardserver.registry.roles import Role
from cardserver.registry.values import FOREVER, Filing, FilingKind
from ledger.database_store import Database

app = typer.Typer(
    help="Filings: chronic and special diseases, designated institutions, referrals, special"
    " drugs. 备案：门诊慢特病、定点医疗机构、转诊、特殊药品"
)


class Kind(StrEnum):
    """What is filed, as it is typed."""

    DISEASE = "disease"
    DESIGNATED = "designated"
    REFERRAL = "referral"
    SPECIAL_DRUG = "special-drug"

    @property
    def number(self) -> FilingKind:
        """As the registry numbers it."""
        return FilingKind[self.name]


KindText = Annotated[Kind, typer.Argument(help="What is filed.")]
CodeText = Annotated[
    str, typer.Option("--code", help="The disease's code (dise_codg), or the drug's item.")
]
EndText = Annotated[str, typer.Option("--to", metavar="DATE", help="Last day; without it, no end.")]


@app.command("add")
@fail_clearly
def add(  # noqa: PLR0913, PLR0917 - one parameter an option
    config_file: ConfigFile,
    person: PersonText,
    kind: KindText,
    code: CodeText = "",
    institution: InstitutionCode = "",
    begins: Day = "",
    ends: EndText = "",
    by: By = "",
) -> None:
    """Record what a person has filed; settlements go by it from the next one on.

    新增备案，自下一次结算起生效。
    """
    config = load_config(config_file)
    first = day_number(begins, config)
    last = day_number(ends, config) if ends else FOREVER

    async def run() -> Filing:
        async with open_database(config) as database:
            registry = Registry(database)
            actor = await acting_operator(registry, by, Role.REGISTRAR, Role.ACCEPTANCE)
            filing = Filing(
                person_no=(await find_person(registry, person)).person_no,
                kind=kind.number,
                code=_code(kind, code),
                institution_no=await _institution_no(registry, institution),
                begins=first,
                ends=last,
            )
            await add_filing(database, filing, actor)
            return filing

    filing = asyncio.run(run())
    typer.echo(f"{kind} is filed for person {filing.person_no} from {filing.begins}")


@app.command("end")
@fail_clearly
def end(
    config_file: ConfigFile,
    person: PersonText,
    kind: KindText,
    code: CodeText = "",
    institution: InstitutionCode = "",
    ends: Annotated[
        str, typer.Option("--on", metavar="DATE", help="Last day; without it, today.")
    ] = "",
    by: By = "",
) -> None:
    """Set the last day on which a filing holds.

    终止备案。
    """
    config = load_config(config_file)
    last = day_number(ends, config)

    async def run() -> Filing:
        async with open_database(config) as database:
            registry = Registry(database)
            actor = await acting_operator(registry, by, Role.REGISTRAR, Role.ACCEPTANCE)
            return await end_filing(
                database,
                person_no=(await find_person(registry, person)).person_no,
                kind=kind.number,
                code=_code(kind, code),
                institution_no=await _institution_no(registry, institution),
                ends=last,
                actor=actor,
            )

    filing = asyncio.run(run())
    typer.echo(f"the {kind} filing holds from {filing.begins} to {filing.ends}")


@app.command("list")
@fail_clearly
def list_filings(config_file: ConfigFile, person: PersonText) -> None:
    """List what a person has filed, ended filings too.

    列出某人的全部备案。
    """
    config = load_config(config_file)
    filings, names = asyncio.run(_list(config, person))
    table = Table("kind", "code", "institution", "from", "to")
    for filing in filings:
        table.add_row(
            Kind[filing.kind.name].value,
            filing.code,
            names.get(filing.institution_no, ""),
            str(filing.begins),
            "" if filing.ends == FOREVER else str(filing.ends),
        )
    wide_console().print(table)


async def _list(config: Config, person: str) -> tuple[list[Filing], dict[int, str]]:
    async with open_database(config) as database:
        registry = Registry(database)
        found = await find_person(registry, person)
        filings = await filings_of(database, found.person_no)
        return filings, await _codes(database, {one.institution_no for one in filings} - {0})


async def _codes(database: Database, numbers: set[int]) -> dict[int, str]:
    registry = Registry(database)
    found = await asyncio.gather(*(registry.institution(number) for number in sorted(numbers)))
    return {one.institution_no: one.code for one in found if one is not None}


def _code(kind: Kind, code: str) -> str:
    return code or (REFERRED if kind is Kind.REFERRAL else "")


async def _institution_no(registry: Registry, code: str) -> int:
    return (await find_institution(registry, code)).institution_no if code else 0
