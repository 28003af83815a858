"""The service beside a database that fails: no settlement ends for the sake of news."""

import asyncio
from typing import cast

import pytest

from cardserver.config import load_config
from cardserver.telemetry.service import TelemetryService
from ledger.bulk_store import Query, Row
from ledger.calendar import SystemClock
from ledger.database_store import Database
from ledger.store_errors import CommitUnknownError, StoreUnavailableError
from protocol.telemetry.messages import ListNews
from simulators.centre_process import City
from simulators.mosquitto import make_broker


class FailingDatabase:
    """A database whose connection ends whenever something is committed."""

    def __init__(self, error: type[Exception]) -> None:
        self._error = error
        self.asked = asyncio.Event()

    async def execute(self, *_: Query) -> list[list[Row]]:
        self.asked.set()
        raise self._error("the connection has ended")


async def no_news(now_ms: int) -> ListNews:
    return ListNews(now_ms, (), ())


@pytest.mark.parametrize("error", [CommitUnknownError, StoreUnavailableError])
async def test_a_lease_that_cannot_be_taken_ends_nothing(
    city: City, error: type[Exception]
) -> None:
    await make_broker(city)
    config = load_config(city.config_file)
    database = FailingDatabase(error)
    service = TelemetryService(
        config.mqtt, config.path, cast(Database, database), SystemClock(), no_news
    )
    task = asyncio.create_task(service.run())
    async with asyncio.timeout(10):
        await database.asked.wait()
    await asyncio.sleep(0.05)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
