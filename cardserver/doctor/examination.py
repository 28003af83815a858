"""All checks of a centre, in the order in which a person would look."""

import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path

from cardserver.config import Config
from cardserver.doctor.database_store import check_database
from cardserver.doctor.files import check_files
from cardserver.doctor.findings import Finding
from cardserver.doctor.machine import (
    check_file_limit,
    check_kernel_clock,
    check_ntp,
    check_room,
    check_sync_speed,
)
from cardserver.doctor.neighbours import check_broker, check_ports, check_readers

NTP_PORT = 123


async def examine(config: Config, ntp: str = "") -> AsyncIterator[Finding]:
    """Examine a centre and its machine; nothing is changed but a small file, written and removed.

    Args:
        config: The centre's.
        ntp: A time server to ask, `HOST` or `HOST:PORT`; empty: none is asked.
    """
    yield check_kernel_clock()
    if ntp:
        host, _, port = ntp.partition(":")
        yield check_ntp(host, int(port or NTP_PORT))
    folder = data_folder(config)
    yield check_sync_speed(folder)
    yield check_room(folder)
    yield check_file_limit(config)
    for finding in check_files(config, dt.datetime.now(dt.UTC)):
        yield finding
    for finding in await check_database(config):
        yield finding
    for finding in check_ports(config):
        yield finding
    yield await check_readers(config)
    yield check_broker(config)


def data_folder(config: Config) -> Path:
    """Return where the centre writes on this machine: SQLite's folder, or the configuration's."""
    scheme, separator, file = config.database_url.partition(":///")
    if separator and scheme.startswith("sqlite"):
        return Path(file.partition("?")[0]).parent
    return Path(config.directory)
