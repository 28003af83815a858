"""Killed at any moment under load, the centre has lost nothing that it acknowledged.

The cashiers never give up on an attempt: what a kill left open is repeated, asked for or reversed
until it is final. Then the auditor compares all that they were told with what the centre holds.
"""

import asyncio
import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from benchmarks.load import enrol_many, institutions, terminal_config
from protocol.terminal.messages import MessageType
from simulators.audited_run import AuditedRun
from simulators.centre_process import CentreProcess, City
from simulators.counter import Desk, choose_patients
from simulators.made_up_bill import read_items
from simulators.postgres import PostgreSQLCluster
from tests.cities import CopyOnPostgreSQL

KILLS = 20
KILLS_LONG = 200
CRASHES = 4
CRASHES_LONG = 8
LIFE_MAX_S = (
    0.8  # a centre lives so long at most once terminals can connect, so that kills are many
)
AWAY_MAX_S = 0.5
PATIENTS = 12  # few, so that terminals have them in common
TERMINALS = 6
SEED = 20261121
CHINA = dt.timezone(dt.timedelta(hours=8))


@dataclass(frozen=True)
class Ground:
    """A city with enrolled terminals; its centre doesn't run yet."""

    city: City
    folders: list[Path]


async def enrol_terminals(city: City, folder: Path) -> Ground:
    hospitals = institutions(city.population)[:2]
    terminals = [(hospitals[number % 2], f"K{number:03}") for number in range(TERMINALS)]
    return Ground(city, await enrol_many(city, terminals, folder=folder))


def audited_run(ground: Ground, centre: CentreProcess, seed: int) -> AuditedRun:
    city = ground.city
    today = int(dt.datetime.now(CHINA).strftime("%Y%m%d"))
    patients = choose_patients(city.population, count=PATIENTS, today=today)
    items = read_items(city.population)
    password = city.password_file.read_text(encoding="utf-8")
    desks = [
        Desk(
            terminal_config(folder, port=centre.port), "c001", password, patients, items, city.keys
        ).without_pauses()
        for folder in ground.folders
    ]
    return AuditedRun(city, desks, seed=seed)


async def kill_under_load(ground: Ground, *, kills: int, seed: int) -> None:
    random = Random(seed)
    centre = CentreProcess(ground.city.config_file)
    await centre.start()
    try:
        run = audited_run(ground, centre, seed)
        async with run.cashiers():
            for _ in range(kills):
                await asyncio.sleep(random.uniform(0, LIFE_MAX_S))
                await centre.kill()
                await centre.start()
        assert await run.findings() == []
        assert settlement_count(run) >= kills
        assert repeated_count(run) >= kills // 2, "hardly any kill met a request under way"
    finally:
        await centre.stop()


def settlement_count(run: AuditedRun) -> int:
    return sum(attempt.outcome is not None for attempt in run.journal.of_type(MessageType.SETTLE))


def repeated_count(run: AuditedRun) -> int:
    return sum(attempt.sends > 1 for attempt in run.journal.attempts)


@pytest.fixture
async def sqlite_ground(city: City, tmp_path: Path) -> Ground:
    return await enrol_terminals(city, tmp_path)


@pytest.fixture(scope="module")
def postgresql_ground(
    tmp_path_factory: pytest.TempPathFactory, copy_on_postgresql: CopyOnPostgreSQL
) -> Ground:
    folder = tmp_path_factory.mktemp("postgresql")
    return asyncio.run(enrol_terminals(copy_on_postgresql(folder, "killed"), folder))


@pytest.mark.timeout(240)
async def test_nothing_is_lost_on_sqlite(sqlite_ground: Ground) -> None:
    await kill_under_load(sqlite_ground, kills=KILLS, seed=SEED)


@pytest.mark.timeout(240)
async def test_nothing_is_lost_on_postgresql(postgresql_ground: Ground) -> None:
    await kill_under_load(postgresql_ground, kills=KILLS, seed=SEED)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("crashes", [CRASHES, pytest.param(CRASHES_LONG, marks=pytest.mark.long)])
async def test_nothing_is_lost_when_the_database_server_crashes(
    postgresql_ground: Ground, postgres_cluster: PostgreSQLCluster, crashes: int
) -> None:
    """The server ends at once, without a checkpoint; the centre lives on and finds it again."""
    random = Random(SEED)
    centre = CentreProcess(postgresql_ground.city.config_file)
    await centre.start()
    try:
        run = audited_run(postgresql_ground, centre, SEED)
        async with run.cashiers():
            for _ in range(crashes):
                await asyncio.sleep(random.uniform(0.3, 1.0))
                await asyncio.to_thread(postgres_cluster.crash)
                await asyncio.sleep(random.uniform(0, AWAY_MAX_S))
                await asyncio.to_thread(postgres_cluster.start)
            await asyncio.sleep(0.5)
        assert await run.findings() == []
        assert settlement_count(run) >= crashes
    finally:
        await centre.stop()


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [1])
async def test_nothing_is_lost_in_many_kills_on_sqlite(sqlite_ground: Ground, seed: int) -> None:
    await kill_under_load(sqlite_ground, kills=KILLS_LONG, seed=seed)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [1])
async def test_nothing_is_lost_in_many_kills_on_postgresql(
    postgresql_ground: Ground, seed: int
) -> None:
    await kill_under_load(postgresql_ground, kills=KILLS_LONG, seed=seed)
