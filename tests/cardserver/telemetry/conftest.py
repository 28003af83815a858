"""A centre and a real broker, which tests of this folder share; none stops either."""

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from simulators.centre_process import CentreProcess, City, make_city
from simulators.mosquitto import MosquittoBroker, make_broker
from tests.cardserver.desk import Desk


@dataclass
class Connected:
    """A centre, its broker, and the city that both serve."""

    desk: Desk
    broker: MosquittoBroker


@pytest.fixture(scope="session")
def quick_city(tmp_path_factory: pytest.TempPathFactory) -> City:
    """A made-up city whose cashiers sign on in no time."""
    directory = tmp_path_factory.mktemp("quick")
    return asyncio.run(make_city(directory, persons=300, quick_passwords=True))


@pytest.fixture
def own_city(quick_city: City, tmp_path: Path) -> City:
    """The same city with a centre's folder of this test's own."""
    folder = tmp_path / "centre"
    shutil.copytree(quick_city.directory, folder)
    return City(folder, quick_city.population, quick_city.password_file)


@pytest.fixture
def connected(own_city: City) -> Iterator[Connected]:
    """Both running."""
    broker = asyncio.run(make_broker(own_city))
    process = CentreProcess(own_city.config_file)
    asyncio.run(broker.start())
    try:
        asyncio.run(process.start())
        yield Connected(Desk(own_city, process), broker)
        assert asyncio.run(process.stop()) == 0
    finally:
        asyncio.run(broker.stop())
