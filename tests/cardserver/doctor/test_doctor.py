"""`cardserver doctor` names faults planted with real parts, and finds none where none is."""

import datetime as dt
import json
import re
import shutil
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cardserver.authority import issue_server_certificate, make_authority, open_authority
from simulators.centre_process import CentreProcess, City, command
from simulators.small_disk import SmallDisk
from tests.cardserver.desk import configure
from tests.cities import copy_city

# What the machine of a test run may lack itself: none of these is planted unless it says so.
OF_THE_MACHINE = {"clock-sync", "disk-sync", "disk-room", "file-limit"}


@pytest.fixture
def city(made_city: City, tmp_path: Path) -> City:
    """A centre's folder of this test's own, with ports that are free."""
    city = copy_city(made_city, tmp_path)
    configure(city, "listener", connections_max=64)
    set_ports(city, listener=free_port(), observe=free_port())
    return city


def set_ports(city: City, **ports: int) -> None:
    """Set the ports of sections, which all call theirs `port`."""
    text = city.config_file.read_text(encoding="utf-8")
    for section, port in ports.items():
        found = re.search(rf"(?m)^\[{section}\].*\n(?:(?!\[).*\n)*", text)
        assert found is not None
        header, *rows = found[0].splitlines(keepends=True)
        kept = [row for row in rows if not row.startswith("port = ")]
        text = text.replace(found[0], "".join([header, f"port = {port}\n", *kept]))
    city.config_file.write_text(text, encoding="utf-8")


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


async def examined(
    city: City, *arguments: str, within: tuple[str, ...] = ()
) -> tuple[int, dict[str, dict[str, Any]]]:
    """Run the command; give its exit status and the worst finding of each check."""
    said = await command(
        "cardserver", "doctor", "--config", str(city.config_file), "--json", *arguments,
        check=False, within=within,
    )  # fmt: skip
    order = ["fine", "warning", "fault"]
    worst: dict[str, dict[str, Any]] = {}
    rows = json.loads(said.output)
    for row in rows:
        before = worst.get(row["check"])
        if before is None or order.index(row["level"]) > order.index(before["level"]):
            worst[row["check"]] = row
        assert bool(row["advice_en"]) == bool(row["advice_zh"]) == (row["level"] != "fine")
    assert said.status == max(order.index(row["level"]) for row in rows)
    return said.status, worst


async def planted(city: City, *arguments: str) -> dict[str, str]:
    """Give the checks that are not fine, but for what the machine lacks itself."""
    _, found = await examined(city, *arguments)
    return {
        check: row["level"]
        for check, row in found.items()
        if row["level"] != "fine" and check not in OF_THE_MACHINE
    }


@pytest.mark.timeout(300)
async def test_a_sound_centre_is_sound_at_rest_and_at_work(city: City) -> None:
    assert await planted(city) == {}
    process = CentreProcess(city.config_file)
    text = city.config_file.read_text(encoding="utf-8")
    await process.start()
    try:
        set_ports(city, listener=process.port, observe=process.observe_port)
        _, found = await examined(city)
        assert "which runs" in found["port"]["text_en"]
        assert found["port"]["level"] == found["observe-port"]["level"] == "fine"
    finally:
        await process.stop()
        city.config_file.write_text(text, encoding="utf-8")


def settings(city: City) -> dict[str, str]:
    """Give file names that the configuration sets."""
    found: dict[str, str] = {}
    for line in city.config_file.read_text(encoding="utf-8").splitlines():
        key, separator, value = line.partition(" = ")
        if separator and value.startswith('"'):
            found.setdefault(key, value.strip('"'))
    return found


@pytest.mark.timeout(300)
async def test_a_key_that_others_may_read(city: City) -> None:
    (city.directory / settings(city)["key_file"]).chmod(0o644)
    assert await planted(city) == {"certificate-key": "fault"}


@pytest.mark.timeout(300)
async def test_a_certificate_that_has_expired_and_one_of_another_key(city: City) -> None:
    file = city.directory / settings(city)["certificate_file"]
    authority = open_authority(city.directory / "authority")
    long_ago = dt.datetime.now(dt.UTC) - dt.timedelta(days=1_000)
    (city.directory / "former").mkdir()
    former = make_authority(city.directory / "former", name="cardserver", now=long_ago)
    old, its_key = issue_server_certificate(former, hosts=("localhost",), now=long_ago)
    file.write_bytes(old)
    (city.directory / settings(city)["key_file"]).write_bytes(its_key)
    _, found = await examined(city)
    assert found["certificate"]["level"] == "fault"
    assert "expired on" in found["certificate"]["text_en"]
    now = dt.datetime.now(dt.UTC)
    file.write_bytes(issue_server_certificate(authority, hosts=("localhost",), now=now)[0])
    _, found = await examined(city)
    assert "is not that of" in found["certificate"]["text_en"]


@pytest.mark.timeout(300)
async def test_a_certificate_of_another_authority(city: City, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    make_authority(other, name="别的机构", now=dt.datetime.now(dt.UTC))
    configure(city, "listener", terminal_ca_file=str(other / "authority.crt"))
    assert await planted(city) == {"certificate": "warning"}


@pytest.mark.timeout(300)
async def test_a_port_that_a_stranger_has(city: City) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        set_ports(city, listener=stranger.getsockname()[1])
        assert await planted(city) == {"port": "fault"}


@pytest.mark.timeout(300)
async def test_a_database_that_is_empty_and_one_that_is_unsafe(city: City) -> None:
    configure(city, "database", url="sqlite:///new.db")
    assert await planted(city) == {"migrations": "fault"}
    configure(city, "database", url="sqlite:///new.db?synchronous=OFF")
    assert await planted(city) == {"database-settings": "fault"}
    configure(city, "database", url="postgresql+asyncpg://nobody@127.0.0.1:1/nothing")
    assert await planted(city) == {"database": "fault"}


@pytest.mark.timeout(300)
async def test_postgresql_is_looked_at_too(
    city: City, postgres_url: str, migrated_postgres_url: str
) -> None:
    configure(city, "database", url=postgres_url)
    assert await planted(city) == {"migrations": "fault"}
    configure(city, "database", url=migrated_postgres_url)
    _, found = await examined(city)
    assert found["clock-database"]["level"] == found["migrations"]["level"] == "fine"
    assert {"database-connections", "storage-months"} <= set(found)


@pytest.mark.timeout(300)
async def test_readers_and_a_broker_that_are_not_there(city: City) -> None:
    with city.config_file.open("a", encoding="utf-8") as file:
        file.write('\n[readers]\nnames = ["Reader Of Nobody 7"]\n')
        file.write(f'\n[mqtt]\nhost = "127.0.0.1"\nport = {free_port()}\n')
    found = await planted(city)
    assert found["readers"] == "fault"
    assert found["broker"] == "warning"


@pytest.mark.timeout(300)
async def test_too_few_open_files(city: City) -> None:
    configure(city, "listener", connections_max=5_000)
    _, found = await examined(city, within=("prlimit", "--nofile=1024:1024", "--"))
    assert found["file-limit"]["level"] == "warning" or found["file-limit"]["level"] == "fault"
    assert "LimitNOFILE=5256" in found["file-limit"]["advice_en"]


@pytest.mark.timeout(300)
async def test_a_disk_without_room(city: City, tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    with SmallDisk(place, size=64 << 20) as disk:
        shutil.copy(city.directory / "cardserver.db", disk.seen_from_outside / "cardserver.db")
        configure(city, "database", url=f"sqlite:///{place}/cardserver.db")
        _, found = await examined(city, within=disk.within)
        assert found["disk-room"]["level"] == "fault"
        disk.fill()
        _, found = await examined(city, within=disk.within)
        assert found["disk-sync"]["level"] == "fault"


@pytest.mark.timeout(300)
async def test_a_clock_that_is_wrong(city: City) -> None:
    with time_server(ahead_s=0) as port:
        assert await planted(city, "--ntp", f"127.0.0.1:{port}") == {}
    with time_server(ahead_s=90) as port:
        assert await planted(city, "--ntp", f"127.0.0.1:{port}") == {"clock-ntp": "fault"}
    assert await planted(city, "--ntp", f"127.0.0.1:{free_port()}") == {"clock-ntp": "warning"}


@contextmanager
def time_server(*, ahead_s: float) -> Iterator[int]:
    """Answer as a time server whose clock is ahead (RFC 5905, mode 4)."""
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            asked, whom = server.recvfrom(512)
            if len(asked) < 48:
                return
            seconds = time.time() + ahead_s + 2_208_988_800
            stamp = struct.pack(">II", int(seconds), int(seconds % 1 * 2**32))
            server.sendto(bytes([0x24, 1]) + bytes(22) + asked[40:48] + stamp * 2, whom)

        answering = threading.Thread(target=serve)
        answering.start()
        try:
            yield int(server.getsockname()[1])
        finally:
            with socket.socket(type=socket.SOCK_DGRAM) as ending:
                ending.sendto(b"", ("127.0.0.1", server.getsockname()[1]))
            answering.join()
