"""What is watched of the centre's own files."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import cast

from cryptography import x509

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


async def test_a_look_that_the_database_refuses_ends_no_worker(city: City) -> None:
    config = load_config(city.config_file)
    file = config.database_url.partition(":///")[2]
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("ALTER TABLE clearing_month RENAME TO moved_away")
    async with open_database(config) as database:
        centre = Watched(config, database, Metrics(), SystemClock())
        watch = Watch(cast(Centre, centre), looks_at_all=True)
        await watch.look()
        assert b"cardserver_database_up 0.0" in centre.metrics.text()
        assert b"cardserver_watch_timestamp_seconds" in centre.metrics.text()
        await watch.look()  # what is overdue is looked at a minute later
        assert b"cardserver_database_up 1.0" in centre.metrics.text()
