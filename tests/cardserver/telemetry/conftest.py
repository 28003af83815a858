"""A centre and a real broker, which tests of this folder share; none stops either."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from simulators.centre_process import CentreProcess, City
from simulators.mosquitto import MosquittoBroker, make_broker
from tests.cardserver.desk import Desk


@dataclass
class Connected:
    """A centre, its broker, and the city that both serve."""

    desk: Desk
    broker: MosquittoBroker


@pytest.fixture
def connected(city: City) -> Iterator[Connected]:
    """Both running."""
    broker = asyncio.run(make_broker(city))
    process = CentreProcess(city.config_file)
    asyncio.run(broker.start())
    try:
        asyncio.run(process.start())
        yield Connected(Desk(city, process), broker)
        assert asyncio.run(process.stop()) == 0
    finally:
        asyncio.run(broker.stop())
