"""A message broker of our own: Debian's Mosquitto on loopback, as `cardserver broker config` says.

For tests, benchmarks and demonstrations. It ends only what it started. Not here: what is said to
it (`protocol/telemetry/`).
"""

import asyncio
import shutil
import socket
import subprocess
import time
from pathlib import Path

from simulators.centre_process import City, command

_START_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 10.0
_POLL_S = 0.02
_LOOPBACK = "127.0.0.1"
_PLACES = ("/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/opt/homebrew/sbin/mosquitto")


class MosquittoError(RuntimeError):
    """Mosquitto is not installed, or does not start; says why."""


class MosquittoBroker:
    """One broker process, by the files in a centre's folder.

    Attributes:
        port: Where it listens; the same after a restart.
        log_file: What it says.
    """

    def __init__(self, config_file: Path, port: int) -> None:
        """Prepare to run the broker that a `mosquitto.conf` describes."""
        self._config_file = config_file
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port
        self.log_file = config_file.with_name("mosquitto.log")

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start, and wait until it can be connected to.

        Raises:
            MosquittoError: It is not installed, or ended instead.
        """
        self._process = self._spawn()
        give_up_at = time.monotonic() + _START_TIMEOUT_S
        while not await asyncio.to_thread(_is_open, self.port):
            if self._process.poll() is not None or time.monotonic() > give_up_at:
                await self.kill()
                said = self.log_file.read_text(encoding="utf-8", errors="replace")
                raise MosquittoError(f"Mosquitto did not start: {said[-2000:]}")
            await asyncio.sleep(_POLL_S)

    async def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
        await self._ended()

    async def kill(self) -> None:
        """End it as a power cut would: SIGKILL."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
        await self._ended()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log_file.open("ab") as log:
            return subprocess.Popen(
                [find_mosquitto(), "-c", str(self._config_file)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    async def _ended(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await asyncio.to_thread(process.wait, _STOP_TIMEOUT_S)


async def make_broker(city: City) -> MosquittoBroker:
    """Write a city's broker files for a free port, and tell its centre; nothing is started."""
    port = free_port()
    await command(
        "cardserver", "broker", "config", "--config", str(city.config_file), "--port", str(port)
    )
    with city.config_file.open("a", encoding="utf-8") as file:
        file.write(f'\n[mqtt]\nhost = "{_LOOPBACK}"\nport = {port}\n')
    return MosquittoBroker(city.directory / "broker" / "mosquitto.conf", port)


def find_mosquitto() -> str:
    """Find the broker's program, which Debian keeps where only administrators look.

    Raises:
        MosquittoError: It is not installed.
    """
    found = shutil.which("mosquitto") or next(
        (place for place in _PLACES if Path(place).exists()), None
    )
    if found is None:
        raise MosquittoError("Mosquitto is not installed: apt-get install mosquitto")
    return found


def free_port() -> int:
    """Find a port that nobody listens at just now."""
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _is_open(port: int) -> bool:
    try:
        with socket.create_connection((_LOOPBACK, port), timeout=1.0):
            return True
    except OSError:
        return False
