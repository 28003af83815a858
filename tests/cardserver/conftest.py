"""A centre as a process with a made-up city, and terminals on real client code."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from simulators.centre_process import CentreProcess, City
from tests.cardserver.desk import Desk, configure
from tests.cities import copy_city


@pytest.fixture
def city(made_city: City, tmp_path: Path) -> City:
    """A city of this test's own."""
    return copy_city(made_city, tmp_path)


@pytest.fixture
async def centre(city: City) -> AsyncIterator[CentreProcess]:
    """A running centre of this test's own."""
    process = CentreProcess(city.config_file)
    await process.start()
    yield process
    await process.stop()


@pytest.fixture(scope="session")
def desk(made_city: City, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A running centre that tests share: none may stop it or change what others rely on."""
    city = copy_city(made_city, tmp_path_factory.mktemp("shared"))
    configure(city, "listener", frame_time_max_ms=800, handshake_time_max_ms=3000, in_flight_max=8)
    configure(city, "sign_on", failures_max=3, recheck_ms=400)
    configure(city, "database", queue_max=4, group_max=1)
    configure(city, "cards", fresh_card_above_fen=500_000)
    with city.config_file.open("a", encoding="utf-8") as file:
        file.write(
            '\n[[exceptions]]\nname = "reader-broken"\nmed_types = ["11"]\ntotal_max_fen = 20000\n'
        )
    process = CentreProcess(city.config_file)
    asyncio.run(process.start())
    yield Desk(city, process)
    assert asyncio.run(process.stop()) == 0


@pytest.fixture(scope="session")
def narrow_desk(made_city: City, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A running centre with little room: few connections, few handshakes, no patience."""
    city = copy_city(made_city, tmp_path_factory.mktemp("narrow"))
    configure(
        city,
        "listener",
        connections_max=3,
        handshakes_max=20,
        handshake_time_max_ms=60_000,
        idle_time_max_ms=2_500,
        frame_time_max_ms=1_000,
        in_flight_max=1_024,
    )
    process = CentreProcess(city.config_file)
    asyncio.run(process.start())
    yield Desk(city, process)
    assert asyncio.run(process.stop()) == 0


@pytest.fixture
async def desk_with(city: City) -> AsyncIterator[Callable[..., Awaitable[Desk]]]:
    """Start a centre of this test's own, configured as it asks: section=dict(key=value)."""
    started: list[CentreProcess] = []

    async def start(*, workers: int = 1, **sections: dict[str, float | str]) -> Desk:
        for section, settings in sections.items():
            configure(city, section, **settings)
        process = CentreProcess(city.config_file, workers=workers)
        await process.start()
        started.append(process)
        return Desk(city, process)

    yield start
    for process in started:
        await process.stop()
