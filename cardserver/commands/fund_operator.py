"""Who of the fund stands at the keyboard: an operator's number and password, for commands."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from cardserver.commands.database import acting_user
from cardserver.registry.administration_store import FUND, AdministrationError
from cardserver.registry.passwords import verify_password
from cardserver.registry.registry_store import Registry
from cardserver.registry.roles import Role
from cardserver.registry.values import Actor, Operator

By = Annotated[
    str,
    typer.Option(
        "--by",
        metavar="OPERATOR",
        help="The fund's operator who acts; without it the history names this system's user.",
    ),
]


async def acting_operator(registry: Registry, by: str, *roles: Role) -> Actor:
    """Say who acts, for the history: this system's user, and the fund's operator if one is named.

    No password is asked for: whoever runs a command holds the database's keys anyway, and the
    history names both.

    Raises:
        AdministrationError: The fund has no such operator, or one who may not do this.
    """
    actor = acting_user()
    if not by:
        return actor
    operator = await registry.operator(FUND, by)
    if operator is None or not operator.is_active:
        raise AdministrationError(f"operator {by} of the fund: unknown or locked")
    if operator.role not in roles:
        raise AdministrationError(
            f"operator {by} is a {operator.role}, and this is for {' or '.join(roles)}"
        )
    return replace(actor, operator_no=operator.operator_no)


def password_of(operator: str, file: Path | None) -> str:
    """Read an operator's password from a file, or ask for it."""
    if file is not None:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    password: str = typer.prompt(f"password of {operator} 密码", hide_input=True, err=True)
    return password


async def prove_operator(registry: Registry, code: str, password: str, *, role: str) -> Operator:
    """Find an operator of the fund who has this password and this role.

    Raises:
        AdministrationError: There is none.
    """
    operator = await registry.operator(FUND, code)
    is_proven = await verify_password("" if operator is None else operator.password_hash, password)
    if operator is None or not is_proven or not operator.is_active:
        raise AdministrationError(
            f"operator {code} of the fund: unknown, locked, or another password"
        )
    if operator.role != role:
        raise AdministrationError(f"operator {code} is a {operator.role}, not a {role}")
    return operator
