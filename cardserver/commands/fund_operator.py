"""Who of the fund stands at the keyboard: an operator's number and password, for commands."""

from pathlib import Path

import typer

from cardserver.registry.administration_store import FUND, AdministrationError
from cardserver.registry.passwords import verify_password
from cardserver.registry.registry_store import Registry
from cardserver.registry.values import Operator


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
