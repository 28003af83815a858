"""`cardserver registry duplicates` and `merge`: persons who may be, or are, one."""

import asyncio
from typing import Annotated

import typer
from rich.table import Table

from cardserver.commands.database import ConfigFile, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.fund_operator import By, acting_operator
from cardserver.commands.registry_subjects import ROWS_MAX
from cardserver.commands.wide_console import wide_console
from cardserver.config import Config, load_config
from cardserver.registry.duplicates_store import look_for_pairs, open_pairs, tell_apart
from cardserver.registry.import_files import NUMBER_MAX
from cardserver.registry.masking import masked_name, masked_number
from cardserver.registry.merge_store import Merged, merge_persons
from cardserver.registry.registry_store import Registry
from cardserver.registry.roles import Role
from cardserver.registry.values import Person

app = typer.Typer(
    help="Persons who may be in the registry twice, for someone to decide. 疑似重复人员"
)

Kept = Annotated[
    int,
    typer.Argument(min=1, max=NUMBER_MAX, help="The number (psn_no) of the record that is kept."),
]
Gone = Annotated[
    int,
    typer.Argument(
        min=1, max=NUMBER_MAX, help="The number of the other one, which leads to it then."
    ),
]


@app.command("list")
@fail_clearly
def list_pairs(
    config_file: ConfigFile,
    rows_max: Annotated[
        int, typer.Option("--rows", min=1, max=ROWS_MAX, help="How many to list.")
    ] = 100,
    *,
    look: Annotated[
        bool, typer.Option("--look", help="Look through the registry anew first.")
    ] = False,
) -> None:
    """List persons who may be one: the same name and sex, and numbers that differ by one slip.

    列出疑似重复人员：同名同性别，证件号码仅差一处笔误。
    """
    config = load_config(config_file)
    pairs, count = asyncio.run(_list(config, rows_max, look=look))
    table = Table("person", "other", "name", "born", "number", "other number", "likeness")
    for one, other, likeness in pairs:
        table.add_row(
            str(one.person_no),
            str(other.person_no),
            masked_name(one.name),
            str(one.birth_date),
            masked_number(one.id_number),
            masked_number(other.id_number),
            likeness,
        )
    wide_console().print(table)
    typer.echo(f"{count} to decide")


async def _list(
    config: Config, rows_max: int, *, look: bool
) -> tuple[list[tuple[Person, Person, str]], int]:
    async with open_database(config) as database:
        if look:
            await look_for_pairs(database, batch_no=0)
        registry = Registry(database)
        pairs = await open_pairs(database)
        found = []
        for pair in pairs[:rows_max]:
            one, other = await asyncio.gather(
                registry.person(pair.person_no), registry.person(pair.other_no)
            )
            if one is not None and other is not None:
                found.append((one, other, pair.likeness.value))
        return found, len(pairs)


@app.command("same")
@fail_clearly
def same(config_file: ConfigFile, kept: Kept, gone: Gone, by: By = "") -> None:
    """Decide that two persons are one, and keep one record: as `registry merge`.

    认定为同一人，并合并为一条记录。
    """
    _merge(config_file, kept, gone, by)


@app.command("different")
@fail_clearly
def different(
    config_file: ConfigFile,
    one: Annotated[
        int, typer.Argument(min=1, max=NUMBER_MAX, help="One person's number (psn_no).")
    ],
    other: Annotated[int, typer.Argument(min=1, max=NUMBER_MAX, help="The other's.")],
    by: By = "",
) -> None:
    """Decide that two persons are two; they are not listed again.

    认定为不同的人，不再列出。
    """
    config = load_config(config_file)

    async def run() -> None:
        async with open_database(config) as database:
            actor = await acting_operator(Registry(database), by, Role.REGISTRAR)
            await tell_apart(database, one, other, actor)

    asyncio.run(run())
    typer.echo(f"{one} and {other} are two persons")


@fail_clearly
def merge(config_file: ConfigFile, kept: Kept, gone: Gone, by: By = "") -> None:
    """Keep one record of two, which gets the other's cards, insurances, filings and balance.

    The balance is moved by an entry of the ledger. A record that has settlements or visits can be
    kept but can't go: they stay under the number that they were made with.

    合并两条人员记录：保留前者，后者的卡、参保、备案和账户余额转入前者。
    """
    _merge(config_file, kept, gone, by)


def _merge(config_file: ConfigFile, kept: int, gone: int, by: str) -> None:
    config = load_config(config_file)

    async def run() -> Merged:
        async with open_database(config) as database:
            actor = await acting_operator(Registry(database), by, Role.REGISTRAR)
            return await merge_persons(
                database, kept=kept, gone=gone, actor=actor, timezone=config.timezone
            )

    merged = asyncio.run(run())
    typer.echo(f"{gone} is kept as {kept}: {merged.moved} rows moved, {merged.dropped} dropped")
    if merged.entry_no:
        typer.echo(f"{merged.balance_fen} fen moved by entry {merged.entry_no}")
