"""What is watched of the centre's own files."""

import asyncio
import datetime as dt
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import cast

import pytest
from cryptography import x509

from cardserver.authority import issue_server_certificate, open_authority
from cardserver.centre import Centre
from cardserver.commands.database import open_database
from cardserver.config import Config, load_config
from cardserver.observe.metrics import Metrics
from cardserver.watch import Watch, expiries
from ledger.calendar import Clock, SystemClock
from ledger.database_store import Database
from simulators.centre_process import City
from simulators.mosquitto import make_broker


def test_every_certificate_of_the_centre_is_watched(city: City) -> None:
    asyncio.run(make_broker(city))
    with city.config_file.open("a", encoding="utf-8") as file:
        file.write('\n[console]\ncertificate_file = "broker/centre.crt"\n')
    ends = expiries(load_config(city.config_file))
    files = {
        "listener": "server.crt",
        "terminal_authority": "authority/authority.crt",
        "console": "broker/centre.crt",
        "broker_client": "broker/centre.crt",
        "broker_authority": "authority/authority.crt",
    }
    assert ends == {
        name: min(
            one.not_valid_after_utc.timestamp()
            for one in x509.load_pem_x509_certificates((city.directory / file).read_bytes())
        )
        for name, file in files.items()
    }


def test_a_certificate_that_is_not_there_hides_no_other(city: City) -> None:
    config = load_config(city.config_file)
    config.path(config.listener.certificate_file).unlink()
    assert expiries(config).keys() == {"terminal_authority"}


@dataclass
class Watched:
    """What is looked at of a centre."""

    config: Config
    database: Database
    metrics: Metrics
    clock: Clock
    is_database_up: bool = True

    def shown(self, name: str) -> float | None:
        """What a gauge shows."""
        for line in self.metrics.text().decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        return None


@asynccontextmanager
async def watched(city: City, *, looks_at_all: bool = True) -> AsyncIterator[tuple[Watched, Watch]]:
    config = load_config(city.config_file)
    async with open_database(config) as database:
        centre = Watched(config, database, Metrics(), SystemClock())
        yield centre, Watch(cast(Centre, centre), looks_at_all=looks_at_all)


async def test_a_new_certificate_counts_once_a_worker_has_loaded_it(city: City) -> None:
    authority = open_authority(city.directory / "authority")
    now = dt.datetime.now(dt.UTC)
    name = 'cardserver_certificate_expiry_timestamp_seconds{certificate="listener"}'
    async with watched(city) as (centre, watch):
        file = centre.config.path(centre.config.listener.certificate_file)
        older, _ = issue_server_certificate(
            authority, hosts=("localhost",), now=now - dt.timedelta(days=800)
        )
        before = file.read_bytes()
        file.write_bytes(older)
        await watch.look()
        ends = centre.shown(name)
        file.write_bytes(before)
        await watch.look()
        assert centre.shown(name) == ends
        await Watch(cast(Centre, centre), looks_at_all=True).look()  # the next worker's
        assert (centre.shown(name) or 0) > (ends or 0)


def rename(city: City, table: str, to: str) -> None:
    file = load_config(city.config_file).database_url.partition(":///")[2]
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(f"ALTER TABLE {table} RENAME TO {to}")


async def test_a_look_that_the_database_refuses_ends_no_worker(city: City) -> None:
    """The moment of the last look stands still then, and is an alert after two minutes."""
    rename(city, "clearing_month", "moved_away")
    async with watched(city) as (centre, watch):
        await watch.look()
        assert centre.is_database_up
        assert centre.shown("cardserver_database_up") == 1
        assert centre.shown("cardserver_watch_timestamp_seconds") is None
        rename(city, "moved_away", "clearing_month")
        await watch.look()
        assert centre.shown("cardserver_watch_timestamp_seconds") is not None
        assert centre.shown("cardserver_clearing_uncleared_months") is not None


@pytest.mark.parametrize("looks_at_all", [True, False])
async def test_every_worker_knows_whether_its_database_answers(
    city: City, *, looks_at_all: bool
) -> None:
    async with watched(city, looks_at_all=looks_at_all) as (centre, watch):
        rename(city, "writer_slot", "moved_away")
        await watch.look()
        assert not centre.is_database_up
        assert centre.shown("cardserver_database_up") == (0 if looks_at_all else None)
        rename(city, "moved_away", "writer_slot")
        await watch.look()
        assert centre.is_database_up
