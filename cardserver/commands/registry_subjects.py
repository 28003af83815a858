"""Whom and when a registry command means: persons, institutions and days as they are typed."""

import datetime as dt
from typing import Annotated

import typer

from cardserver.config import Config
from cardserver.registry.administration_store import FUND, AdministrationError
from cardserver.registry.import_files import NUMBER_MAX, FileSpec
from cardserver.registry.registry_store import Registry
from cardserver.registry.values import Card, Institution, Operator, Person
from ledger.calendar import SystemClock, business_date

PersonText = Annotated[
    str,
    typer.Argument(metavar="PERSON", help="The person's number (psn_no), or that of a document."),
]
InstitutionCode = Annotated[str, typer.Option("--institution", help="The institution's code.")]
Day = Annotated[
    str, typer.Option("--from", metavar="DATE", help="First day, 2026-07-01; without it, today.")
]

ROWS_MAX = 1_000_000  # of a list; more is a slip of the pen
_ID_NUMBER_SIZES = (15, 18)


async def find_person(registry: Registry, text: str) -> Person:
    """Find a person by our number or by identity number.

    Raises:
        AdministrationError: There is none.
    """
    person = None
    if text.isascii() and text.isdecimal() and len(text) not in _ID_NUMBER_SIZES:
        number = int(text)
        if number <= NUMBER_MAX:
            person = await registry.person(await registry.kept_number(number))
    person = person or await registry.person_by_id_number(text)
    if person is None:
        raise AdministrationError("no person has this number")
    return person


async def find_card(registry: Registry, number: str) -> Card:
    """Find a card by its printed number.

    Raises:
        AdministrationError: There is none.
    """
    card = await registry.card_by_number(number)
    if card is None:
        raise AdministrationError("no card has this number")
    return card


async def find_operator(registry: Registry, institution: str, code: str) -> Operator:
    """Find an operator of an institution, or of the fund where none is named.

    Raises:
        AdministrationError: There is none.
    """
    institution_no = FUND
    if institution:
        institution_no = (await find_institution(registry, institution)).institution_no
    operator = await registry.operator(institution_no, code)
    if operator is None:
        raise AdministrationError(f"there is no operator {code} at {institution or 'the fund'}")
    return operator


async def find_institution(registry: Registry, code: str) -> Institution:
    """Find an institution by its code.

    Raises:
        AdministrationError: There is none.
    """
    institution = await registry.institution_by_code(code)
    if institution is None:
        raise AdministrationError(f"no institution has the code {code}")
    return institution


def value_of(file: FileSpec, column: str, text: str) -> object:
    """Read a value as an imported file would have it.

    Raises:
        AdministrationError: The file may not say that either.
    """
    try:
        value: object = file.columns[column](text)
    except ValueError as error:
        raise AdministrationError(f"{column}: {error}") from error
    return value


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
