"""Made-up cities for tests: made once in a run, and copied for whoever needs one of its own.

To make one takes three commands and some seconds; to copy one, a folder and a file or a database.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cardserver.config import load_config
from simulators.centre_process import City

PERSONS = 300
MADE_DATABASE = "made_city"

CopyOnPostgreSQL = Callable[[Path, str], City]
"""Copies the made city into a folder and a new database of this name."""

ON_SQLITE = ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)]
ON_POSTGRESQL = [pytest.param("sqlite", marks=pytest.mark.long), "postgresql"]
"""For what takes long, and asks nothing of a database that its stores' own tests don't ask of both.

`make test` runs it on the one, `make test-long` on the other too; a file that has several has some
of them on each.
"""


def copy_city(made: City, directory: Path, *, database_url: str = "") -> City:
    """Give a test its own copy of a city, in a folder of its own.

    Args:
        made: The city, whose centre does not run.
        directory: Where to; the folder is made below.
        database_url: The copy's database, where it is not a file in the folder.
    """
    folder = directory / "centre"
    shutil.copytree(made.directory, folder)
    city = City(folder, made.population, made.password_file)
    if database_url:
        text = city.config_file.read_text(encoding="utf-8")
        old = load_config(city.config_file).database.url
        assert text.count(old) == 1
        city.config_file.write_text(text.replace(old, database_url), encoding="utf-8")
    return city


def city_on(kind: str, request: pytest.FixtureRequest, directory: Path, database: str) -> City:
    """Give a city of the caller's own, on SQLite or in a new database of PostgreSQL."""
    if kind == "sqlite":
        made: City = request.getfixturevalue("made_city")
        return copy_city(made, directory)
    copy: CopyOnPostgreSQL = request.getfixturevalue("copy_on_postgresql")
    return copy(directory, database)
