"""A small made-up city, shared by the registry's tests."""

import shutil
import zoneinfo
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from cardserver.catalogue.list_import import load_catalogue
from cardserver.registry.import_store import LOADERS, FileResult, files_of, load_file
from cardserver.registry.opening_balances_store import load_balances
from cardserver.registry.values import Actor
from ledger.calendar import SystemClock
from ledger.database_store import Database
from simulators.population.city import MADE_UP_REGION, City
from simulators.population.files import write_city

PERSONS = 2_500

LoadFolder = Callable[[Database, Path], Awaitable[dict[str, FileResult]]]


@pytest.fixture(scope="session")
def made_up_city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CSV files of a made-up city, for reading only."""
    directory = tmp_path_factory.mktemp("population")
    for _ in write_city(City(seed=3, persons=PERSONS, region=MADE_UP_REGION, items=300), directory):
        pass
    return directory


@pytest.fixture(scope="session")
def made_up_village(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CSV files of a smaller place, for tests that load it each."""
    directory = tmp_path_factory.mktemp("village")
    for _ in write_city(City(seed=4, persons=400, region=MADE_UP_REGION, items=50), directory):
        pass
    return directory


@pytest.fixture
def population(made_up_city: Path, tmp_path: Path) -> Path:
    """A copy of the city's files, which a test may change."""
    return Path(shutil.copytree(made_up_city, tmp_path / "population"))


@pytest.fixture
def load_folder() -> LoadFolder:
    """Loads a folder as the command does, without its progress bar."""

    async def load(database: Database, directory: Path) -> dict[str, FileResult]:
        loaders = {loader.spec.name: loader for loader in LOADERS}
        results = {}
        for name in files_of(directory):
            path = directory / f"{name}.csv"
            if name == "catalogue":
                results[name] = await load_catalogue(
                    database, path, Actor("tester", 0), SystemClock(), lambda _done: None
                )
            elif name == "balances":
                results[name] = await load_balances(
                    database,
                    path,
                    lambda _done: None,
                    clock=SystemClock(),
                    timezone=zoneinfo.ZoneInfo("Asia/Shanghai"),
                )
            else:
                results[name] = await load_file(database, loaders[name], path, lambda _done: None)
        return results

    return load
