"""A centre as a process with a made-up city, and terminals on real client code."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from simulators.card.population_cards import iterate_cards
from simulators.centre_process import CentreProcess, City, enrol, make_city
from terminals.client import TerminalClient
from terminals.config import load_config

PERSONS = 300
INSTITUTION = "H63990000001"


@pytest.fixture(scope="session")
def made_city(tmp_path_factory: pytest.TempPathFactory) -> City:
    """A city on SQLite that no test changes; copy it."""
    return asyncio.run(make_city(tmp_path_factory.mktemp("city"), persons=PERSONS))


@pytest.fixture
def city(made_city: City, tmp_path: Path) -> City:
    """A city of this test's own."""
    folder = tmp_path / "centre"
    shutil.copytree(made_city.directory, folder)
    return City(folder, made_city.population, made_city.password_file)


@pytest.fixture
async def centre(city: City) -> AsyncIterator[CentreProcess]:
    """A running centre of this test's own."""
    process = CentreProcess(city.config_file)
    await process.start()
    yield process
    await process.stop()
