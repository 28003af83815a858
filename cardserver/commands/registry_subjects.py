"""Whom and when a registry command means: persons, institutions and days as they are typed."""

import datetime as dt
from typing import Annotated

import typer

from cardserver.config import Config
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.registry_store import Registry
from cardserver.registry.values import Institution, Person
from ledger.calendar import SystemClock, business_date

PersonText = Annotated[
    str, typer.Argument(metavar="PERSON", help="The person's number (psn_no) or identity number.")
]
InstitutionCode = Annotated[str, typer.Option("--institution", help="The institution's code.")]
Day = Annotated[
    str, typer.Option("--from", metavar="DATE", help="First day, 2026-07-01; without it, today.")
]

_ID_NUMBER_SIZES = (15, 18)


async def find_person(registry: Registry, text: str) -> Person:
    """Find a person by our number or by identity number.

    Raises:
        AdministrationError: There is none.
    """
    person = None
    if len(text) in _ID_NUMBER_SIZES:
        person = await registry.person_by_id_number(text)
    elif text.isascii() and text.isdecimal():
        person = await registry.person(int(text))
    if person is None:
        raise AdministrationError("no person has this number")
    return person


async def find_institution(registry: Registry, code: str) -> Institution:
    """Find an institution by its code.

    Raises:
        AdministrationError: There is none.
    """
    institution = await registry.institution_by_code(code)
    if institution is None:
        raise AdministrationError(f"no institution has the code {code}")
    return institution


def day_number(text: str, config: Config) -> int:
    """Read a day, 2026-07-01 or 20260701, as YYYYMMDD; today where nothing is said.

    Raises:
        AdministrationError: It is none.
    """
    if not text:
        return business_date(SystemClock().now_ms(), config.timezone)
    try:
        return int(dt.date.fromisoformat(text).strftime("%Y%m%d"))
    except ValueError:
        raise AdministrationError(f"{text} is not a date such as 2026-07-01") from None
