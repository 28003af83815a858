"""What the commands of clearing share: options, who acts, the month, the institution."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from msgspec import json

from cardserver.commands.database import acting_user, open_database
from cardserver.commands.fund_operator import password_of, prove_operator
from cardserver.config import Config, ConfigError
from cardserver.funding.acts import open_fund_acts
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.registry_store import Registry
from cardserver.registry.roles import Role
from cardserver.registry.values import Actor, Institution
from ledger.calendar import business_date
from ledger.database_store import Database
from ledger.fund_acts import FundActs

T = TypeVar("T")

Month = Annotated[str, typer.Argument(metavar="MONTH", help="A month: 202610 or 2026-10.")]
OfficerOption = Annotated[
    str, typer.Option("--by", metavar="OPERATOR", help="The clearing officer who acts.")
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="Holds the password; else it is asked for."),
]
AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON, amounts in fen.")]
Despite = Annotated[
    str,
    typer.Option(metavar="REASON", help="Go on although something is open, and say why."),
]
ClearingType = Annotated[
    int, typer.Option("--type", help="11 outpatient, 21 inpatient, 41 pharmacy; 0 all.")
]

_MONTH = re.compile(r"(\d{4})-?(0[1-9]|1[0-2])", re.ASCII)


@dataclass(frozen=True, slots=True)
class Desk:
    """An open database, the fund's day, and who acts."""

    config: Config
    database: Database
    actor: Actor

    @property
    def today(self) -> int:
        """The fund's day, YYYYMMDD."""
        return today_of(self.config)

    def acts(self) -> FundActs:
        """Open what posts; to be entered with `async with`."""
        return open_fund_acts(self.database, self.config.timezone)


@asynccontextmanager
async def open_desk(
    config: Config, by: str, password_file: Path | None, *, role: Role = Role.CLEARING_OFFICER
) -> AsyncIterator[Desk]:
    """Open the database for an operator who gives a password.

    Raises:
        AdministrationError: The operator is unknown, or may not do this.
    """
    password = password_of(by, password_file)
    async with open_database(config) as database:
        operator = await prove_operator(Registry(database), by, password, role=role)
        actor = replace(acting_user(), operator_no=operator.operator_no)
        yield Desk(config, database, actor)


def month_of(text: str) -> int:
    """Read a month.

    Raises:
        ConfigError: It is none.
    """
    match = _MONTH.fullmatch(text)
    if match is None:
        raise ConfigError(f"{text!r} is no month: write 202610 or 2026-10")
    return int(match[1] + match[2])


def day_of(text: str) -> int:
    """Read a day, YYYY-MM-DD.

    Raises:
        ConfigError: It is none.
    """
    try:
        day = time.strptime(text, "%Y-%m-%d")
    except ValueError as error:
        raise ConfigError(f"{text!r} is no day: write 2026-11-21") from error
    return day.tm_year * 10_000 + day.tm_mon * 100 + day.tm_mday


def today_of(config: Config) -> int:
    """Return the fund's day, YYYYMMDD."""
    return business_date(time.time_ns() // 1_000_000, config.timezone)


async def institution_of(database: Database, code: str) -> Institution:
    """Find an institution by its code.

    Raises:
        AdministrationError: There is none.
    """
    found = await Registry(database).institution_by_code(code)
    if found is None:
        raise AdministrationError(f"no institution has the code {code}")
    return found


def echo_json(value: object) -> None:
    """Print a value as JSON."""
    typer.echo(json.format(json.encode(value), indent=2).decode())


def run_async(work: Coroutine[object, object, T]) -> T:
    """Run a command's work to its end."""
    return asyncio.run(work)
