"""Several servers on one PostgreSQL, killed at random; and PostgreSQL itself restarted under load.

Two servers with two workers each are four posting writers that meet at the persons' rows only.
"""

import asyncio
import datetime as dt
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from benchmarks.load import enrol_many, institutions, terminal_config
from simulators.audited_run import AuditedRun
from simulators.centre_process import CentreProcess, City, make_city
from simulators.counter import Desk, choose_patients
from simulators.made_up_bill import read_items
from simulators.postgres import PostgreSQLCluster
from tests.cardserver.test_kill import settlement_count

TERMINALS = 64
SERVERS = 2
WORKERS = 2
PERSONS = 3_000
OWN_PATIENTS = 9  # of each terminal; one in ten of those treated is everyone's
SHARED_PATIENTS = 4
KILLS, KILLS_LONG = 6, 20
RESTARTS, RESTARTS_LONG = 2, 4
RECOVERY_MAX_S = 5.0
POLL_S = 0.05
SEED = 64
CHINA = dt.timezone(dt.timedelta(hours=8))


@dataclass(frozen=True)
class Ground:
    """A city on PostgreSQL with 64 enrolled terminals."""

    city: City
    folders: list[Path]
    cluster: PostgreSQLCluster


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory, postgres_cluster: PostgreSQLCluster) -> Ground:
    folder = tmp_path_factory.mktemp("servers")
    url = postgres_cluster.create_database("servers")

    async def make() -> Ground:
        city = await make_city(folder, persons=PERSONS, database_url=url, quick_passwords=True)
        hospitals = institutions(city.population)[:8]
        terminals = [
            (hospitals[number % len(hospitals)], f"S{number:03}") for number in range(TERMINALS)
        ]
        return Ground(city, await enrol_many(city, terminals, folder=folder), postgres_cluster)

    return asyncio.run(make())


def audited_run(ground: Ground, servers: list[CentreProcess], seed: int) -> AuditedRun:
    city = ground.city
    today = int(dt.datetime.now(CHINA).strftime("%Y%m%d"))
    count = TERMINALS * OWN_PATIENTS + SHARED_PATIENTS
    patients = choose_patients(city.population, count=count, today=today)
    assert len(patients) == count
    shared, own = patients[:SHARED_PATIENTS], patients[SHARED_PATIENTS:]
    items = read_items(city.population)
    password = city.password_file.read_text(encoding="utf-8")
    desks = [
        Desk(
            terminal_config(folder, port=servers[number % len(servers)].port),
            "c001",
            password,
            (*own[number * OWN_PATIENTS :][:OWN_PATIENTS], shared[number % SHARED_PATIENTS]),
            items,
            city.keys,
        ).without_pauses()
        for number, folder in enumerate(ground.folders)
    ]
    return AuditedRun(city, desks, seed=seed)


def workers_of(server: CentreProcess) -> list[int]:
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    return [int(pid) for pid in children.read_text(encoding="ascii").split()]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kills", [KILLS, pytest.param(KILLS_LONG, marks=pytest.mark.long)])
async def test_two_servers_with_two_workers_each_are_killed_at_random(
    ground: Ground, kills: int
) -> None:
    random = Random(SEED)
    servers = [
        CentreProcess(ground.city.config_file, workers=WORKERS, name=f"server{number}")
        for number in range(SERVERS)
    ]
    for server in servers:
        await server.start()
    try:
        run = audited_run(ground, servers, SEED)
        async with run.cashiers():
            for _ in range(kills):
                await asyncio.sleep(random.uniform(0.2, 1.5))
                server = random.choice(servers)
                if random.random() < 0.5:
                    os.kill(random.choice(workers_of(server)), signal.SIGKILL)
                else:
                    await server.kill()
                    await server.start()
            await asyncio.sleep(1)
        assert await run.findings() == []
        assert settlement_count(run) >= TERMINALS
    finally:
        for server in servers:
            await server.stop()
    logs = "".join(server.log_file.read_text(encoding="utf-8") for server in servers)
    assert "deadlock" not in logs


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "restarts", [RESTARTS, pytest.param(RESTARTS_LONG, marks=pytest.mark.long)]
)
async def test_postgresql_is_restarted_under_load(ground: Ground, restarts: int) -> None:
    random = Random(SEED)
    server = CentreProcess(ground.city.config_file, workers=WORKERS)
    await server.start()
    try:
        run = audited_run(ground, [server], SEED + 1)
        async with run.cashiers():
            for _ in range(restarts):
                await asyncio.sleep(random.uniform(0.5, 1.0))
                await asyncio.to_thread(ground.cluster.stop)
                await asyncio.sleep(random.uniform(0, 2))
                await asyncio.to_thread(ground.cluster.start)
                known = settlement_count(run)
                for _ in range(int(RECOVERY_MAX_S / POLL_S)):
                    await asyncio.sleep(POLL_S)
                    if settlement_count(run) > known:
                        break
                else:
                    pytest.fail("nothing was settled within five seconds of the server's return")
        assert await run.findings() == []
    finally:
        await server.stop()
