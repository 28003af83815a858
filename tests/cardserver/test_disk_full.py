"""SQLite on a disk that is full: a clear refusal, nothing lost, and on again once there is room."""

import asyncio
import re
import shutil
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.load import enrol_many, institutions
from protocol.terminal.codes import ResponseCode
from simulators.centre_process import CentreProcess, City
from simulators.small_disk import SmallDisk
from tests.cardserver.test_kill import Ground, audited_run, settlement_count

DISK_SIZE = 48 << 20
TERMINALS = 4
FULL_S = 8.0  # the writer itself waits five seconds before it refuses
SEED = 11


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    place = tmp_path / "disk"
    place.mkdir()
    with SmallDisk(place, size=DISK_SIZE) as disk:
        yield disk


def move_database(city: City, disk: SmallDisk) -> City:
    """Put the city's database on the small disk."""
    text = city.config_file.read_text(encoding="utf-8")
    (database,) = city.directory.glob("*.db")
    shutil.copy(database, disk.seen_from_outside)
    database.unlink()
    url = f'url = "sqlite:///{disk.place / database.name}"'
    city.config_file.write_text(re.sub(r'url = "sqlite:.*"', url, text), encoding="utf-8")
    return replace(city, within=disk.within)


def answers_with(centre: CentreProcess, code: ResponseCode) -> int:
    """Count the answers with a code, as the centre itself reports them."""
    with urllib.request.urlopen(f"http://127.0.0.1:{centre.observe_port}/metrics") as page:
        text = page.read().decode()
    found = re.findall(
        rf'^cardserver_requests_total{{.*code="{code.value}".*}} (\S+)$', text, re.MULTILINE
    )
    return int(sum(map(float, found)))


@pytest.mark.timeout(120)
async def test_a_full_disk_refuses_and_loses_nothing(
    city: City, small_disk: SmallDisk, tmp_path: Path
) -> None:
    hospital = institutions(city.population)[0]
    folders = await enrol_many(
        city, [(hospital, f"F{number:03}") for number in range(TERMINALS)], folder=tmp_path
    )
    city = move_database(city, small_disk)
    centre = CentreProcess(city.config_file, within=city.within)
    await centre.start()
    try:
        run = audited_run(Ground(city, folders), centre, SEED)
        async with run.cashiers():
            await asyncio.sleep(2)
            settled_before = settlement_count(run)
            small_disk.fill()
            await asyncio.sleep(FULL_S)
            refused = answers_with(centre, ResponseCode.STORE_UNAVAILABLE)
            settled_full = settlement_count(run)
            small_disk.make_room()
            await asyncio.sleep(3)
        settled_after = settlement_count(run)
        assert settled_before > 0
        assert refused > 0, "nobody was told that nothing could be recorded"
        assert settled_after > settled_full + TERMINALS, "it did not recover"
        assert await run.findings() == []
    finally:
        await centre.stop()
