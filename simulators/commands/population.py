"""`cardsim population`: make up a city."""

import hashlib
import re
from pathlib import Path
from typing import Annotated

import typer
from argon2.low_level import Type, hash_secret
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from simulators.population.city import MADE_UP_REGION, NO_PASSWORD, PERSONS_MAX, City
from simulators.population.files import write_city

# argon2id as RFC 9106, 4 recommends where memory is scarce (its second choice).
ARGON2_TIME_COST = 3
ARGON2_MEMORY_KIB = 65_536
ARGON2_LANES = 4
QUICK_MEMORY_KIB = 8  # the least there is (RFC 9106, 3.1)
ARGON2_HASH_SIZE = 32
ARGON2_SALT_SIZE = 16


def population(  # noqa: PLR0913 - one parameter an option
    *,
    seed: Annotated[int, typer.Option(help="The same seed makes the same city.")] = 1,
    persons: Annotated[int, typer.Option(min=1, max=PERSONS_MAX, help="How many.")] = 10_000,
    out: Annotated[Path, typer.Option(help="Folder for the CSV files, new or empty.")],
    region: Annotated[
        str, typer.Option(help="Six digits; must be the fund's, and should exist nowhere.")
    ] = MADE_UP_REGION,
    year: Annotated[int, typer.Option(help="State of things on its first day.")] = 2026,
    items: Annotated[int, typer.Option(min=1, help="Length of the catalogue.")] = 4_000,
    operator_password_file: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Holds the password of all made-up operators; without it none can sign on.",
        ),
    ] = None,
    quick_passwords: Annotated[
        bool,
        typer.Option(
            "--quick-passwords",
            help="Hash it with the least work, so that a fleet of thousands signs on in a minute.",
        ),
    ] = False,
) -> None:
    """Make up a city: persons, families, employers, cards, institutions, operators, catalogue.

    编造一座城市：人员、家庭、单位、卡、机构、操作员、目录。
    """
    console = Console(stderr=True)
    if not re.fullmatch(r"[0-9]{6}", region):
        raise typer.BadParameter("expected six digits", param_hint="--region")
    if out.exists() and any(out.iterdir()):
        console.print(f"[red]{out} is not empty: choose another one.[/red]", soft_wrap=True)
        raise typer.Exit(1)
    city = City(
        seed=seed,
        persons=persons,
        region=region,
        year=year,
        items=items,
        password_hash=_hash_password(operator_password_file, seed, is_quick=quick_passwords),
    )
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    ) as progress:
        task = progress.add_task("persons", total=persons)
        for done in write_city(city, out):
            progress.update(task, completed=done)
    console.print(f"{persons} persons, {city.institutions} institutions: {out}", soft_wrap=True)


def _hash_password(file: Path | None, seed: int, *, is_quick: bool) -> str:
    """Hash the one password once; the salt is of the seed, so that the files stay the same."""
    if file is None:
        return NO_PASSWORD
    password = file.read_bytes().rstrip(b"\r\n")
    if not password:
        raise typer.BadParameter(f"{file} is empty", param_hint="--operator-password-file")
    salt = hashlib.sha256(b"made-up operators %d" % seed).digest()[:ARGON2_SALT_SIZE]
    return hash_secret(
        password,
        salt,
        time_cost=1 if is_quick else ARGON2_TIME_COST,
        memory_cost=QUICK_MEMORY_KIB if is_quick else ARGON2_MEMORY_KIB,
        parallelism=1 if is_quick else ARGON2_LANES,
        hash_len=ARGON2_HASH_SIZE,
        type=Type.ID,
    ).decode("ascii")
