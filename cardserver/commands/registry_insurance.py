"""`cardserver registry insurance`: what a person is insured for, by period."""

import asyncio
from enum import StrEnum
from typing import Annotated

import typer

from cardserver.commands.database import ConfigFile, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.fund_operator import By, acting_operator
from cardserver.commands.registry_subjects import (
    Day,
    PersonText,
    day_number,
    find_person,
    value_of,
)
from cardserver.config import load_config
from cardserver.registry.import_files import INSURANCES
from cardserver.registry.insurance_store import add_insurance, change_insurance
from cardserver.registry.registry_store import Registry
from cardserver.registry.roles import Role
from cardserver.registry.values import FOREVER, Insurance, InsuranceState

app = typer.Typer(help="Insurances of persons; `registry show person` lists them. 参保登记")

Type = Annotated[str, typer.Argument(metavar="INSUTYPE", help="310, 320, 330, 340, 390, 510.")]


class State(StrEnum):
    """A state of an insurance, as it is typed."""

    IN_FORCE = "in-force"
    PAUSED = "paused"
    ENDED = "ended"


@app.command("add")
@fail_clearly
def add(  # noqa: PLR0913 - one parameter an option
    config_file: ConfigFile,
    person: PersonText,
    insutype: Type,
    *,
    person_type: Annotated[
        str, typer.Option("--person-type", help="11 active, 12 retired, 14 resident.")
    ],
    begins: Day = "",
    ends: Annotated[str, typer.Option("--to", metavar="DATE", help="Last day; or no end.")] = "",
    region: Annotated[str, typer.Option(help="Six digits; without it, the fund's.")] = "",
    by: By = "",
) -> None:
    """Insure a person from a day on.

    新增参保。
    """
    config = load_config(config_file)
    region = region or config.fund.region
    for column, text in (
        ("insutype", insutype), ("person_type", person_type), ("region", region),
    ):  # fmt: skip
        value_of(INSURANCES, column, text)
    first = day_number(begins, config)
    last = day_number(ends, config) if ends else FOREVER

    async def run() -> Insurance:
        async with open_database(config) as database:
            registry = Registry(database)
            actor = await acting_operator(registry, by, Role.REGISTRAR)
            new = Insurance(
                (await find_person(registry, person)).person_no,
                insutype,
                first,
                last,
                InsuranceState.IN_FORCE,
                person_type,
                region,
            )
            await add_insurance(database, new, actor)
            return new

    new = asyncio.run(run())
    typer.echo(f"person {new.person_no} is insured by {insutype} from {new.begins}")


@app.command("state")
@fail_clearly
def set_state(
    config_file: ConfigFile,
    person: PersonText,
    insutype: Type,
    state: Annotated[State, typer.Argument(help="What it is from now on.")],
    *,
    on: Annotated[
        str, typer.Option("--on", metavar="DATE", help="A day on which it is; or today.")
    ] = "",
    by: By = "",
) -> None:
    """Pause an insurance, put it in force again, or call it ended.

    暂停、恢复或终止参保。
    """
    _change(config_file, person, insutype, by, on=on, state=InsuranceState[state.name])


@app.command("end")
@fail_clearly
def end(
    config_file: ConfigFile,
    person: PersonText,
    insutype: Type,
    *,
    on: Annotated[
        str, typer.Option("--on", metavar="DATE", help="Its last day; without it, today.")
    ] = "",
    by: By = "",
) -> None:
    """Set the last day of an insurance; care after it is not covered, care up to it is.

    设定参保截止日。
    """
    config = load_config(config_file)
    _change(config_file, person, insutype, by, on=on, ends=day_number(on, config))


def _change(
    config_file: ConfigFile,
    person: str,
    insutype: str,
    by: str,
    *,
    on: str,
    state: InsuranceState | None = None,
    ends: int | None = None,
) -> None:
    config = load_config(config_file)
    day = day_number(on, config)

    async def run() -> Insurance:
        async with open_database(config) as database:
            registry = Registry(database)
            actor = await acting_operator(registry, by, Role.REGISTRAR)
            found = await find_person(registry, person)
            return await change_insurance(
                database, found.person_no, insutype, actor, on=day, state=state, ends=ends
            )

    new = asyncio.run(run())
    last = "" if new.ends == FOREVER else f" to {new.ends}"
    typer.echo(f"insurance {insutype} is {new.state.name.lower()} from {new.begins}{last}")
