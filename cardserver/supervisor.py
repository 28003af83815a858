"""Several workers on one port: starts them, restarts one that dies, passes the signal to stop on.

Not here: what a worker does (`app.py`).
"""

import asyncio
import contextlib
import signal
import socket
import sys
import time
from pathlib import Path

import structlog

from cardserver.config import ConfigError

log = structlog.get_logger("cardserver.supervisor")

_RESTART_PAUSE_S = 1.0
_DEATHS_MAX = 5  # of one worker within a minute, after which something is wrong with all of it
_DEATHS_WITHIN_S = 60.0


class Supervisor:
    """The parent of `count` workers."""

    def __init__(
        self,
        config_file: Path,
        *,
        count: int,
        host: str,
        port: int,
        observe_port: int,
        ready_file: Path | None,
    ) -> None:
        """Share `host`:`port` between workers that read `config_file`."""
        self._config_file = config_file
        self._count = count
        self._address = (host, port)
        self._observe_port = observe_port
        self._ready_file = ready_file
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        """Keep the workers alive until a signal.

        Returns:
            The exit status: 0 after a signal, 1 when a worker kept dying or did not end well.

        Raises:
            ConfigError: The address can't be bound.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        with _reserve(self._address) as port:
            keepers = [asyncio.create_task(self._keep(index, port)) for index in range(self._count)]
            statuses = await asyncio.gather(*keepers)
        return max(statuses)

    async def _keep(self, index: int, port: int) -> int:
        deaths: list[float] = []
        while not self._stopping.is_set():
            # Nothing is written to a worker's standard input; that it ends tells of our own end.
            worker = await asyncio.create_subprocess_exec(
                *self._command(index, port), stdin=asyncio.subprocess.PIPE
            )
            log.info("worker started", worker=index, pid=worker.pid)
            stop = asyncio.create_task(self._stopping.wait())
            ended = asyncio.create_task(worker.wait())
            await asyncio.wait({stop, ended}, return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            if not ended.done():
                with contextlib.suppress(ProcessLookupError):
                    worker.send_signal(signal.SIGTERM)
                return min(1, abs(await ended))
            if self._stopping.is_set():
                return 0
            log.error("worker died", worker=index, status=worker.returncode)
            now = time.monotonic()
            deaths = [*(at for at in deaths if now - at < _DEATHS_WITHIN_S), now]
            if len(deaths) >= _DEATHS_MAX:
                log.error("worker keeps dying; stopping all", worker=index)
                self._stopping.set()
                return 1
            await asyncio.sleep(_RESTART_PAUSE_S)
        return 0

    def _command(self, index: int, port: int) -> list[str]:
        command = [
            sys.executable, "-m", "cardserver", "serve",
            "--config", str(self._config_file), "--worker", str(index), "--port", str(port),
            "--observe-port", str(self._observe_port),
        ]  # fmt: skip
        if self._ready_file is not None:
            command += ["--ready-file", f"{self._ready_file}.{index}"]
        return command


class _reserve:  # noqa: N801 - reads as the verb that it is
    """Hold a port for the workers, so that a free one stays theirs between their lives."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.socket(
            socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM
        )
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._address = address

    def __enter__(self) -> int:
        try:
            self._socket.bind(self._address)
        except OSError as error:
            self._socket.close()
            host, port = self._address
            raise ConfigError(f"can't listen at {host}:{port}: {error}") from error
        return int(self._socket.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._socket.close()
