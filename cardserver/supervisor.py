"""Several workers on one port: starts them, restarts one that dies, replaces them one by one.

To each worker belongs a place: sockets that listen, which stay open here while one worker takes
over from another, so that no connection on its way is lost. Not here: what a worker does
(`app.py`), and who asks for an upgrade (`commands/upgrade.py`).
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import structlog

from cardserver.config import ConfigError
from cardserver.listener import listening_sockets

log = structlog.get_logger("cardserver.supervisor")

_RESTART_PAUSE_S = 1.0
_DEATHS_MAX = 5  # of one worker within a minute, after which something is wrong with all of it
_DEATHS_WITHIN_S = 60.0
_READY_MAX_S = 60.0  # from a new worker's start until terminals can connect to it
_POLL_S = 0.05
_LAST_MS = 15_000  # beyond a worker's own limits, after which it is killed


class UpgradeState(msgspec.Struct, frozen=True):
    """What the parent of workers says of itself, in the ready file.

    Attributes:
        pid: Its process id: SIGHUP asks for an upgrade.
        port: Where terminals connect.
        upgrades: Upgrades that have ended, well or not.
        is_upgrading: Whether one is under way.
        failure: Why the last one was given up; empty where it was not.
    """

    pid: int
    port: int
    upgrades: int
    is_upgrading: bool = False
    failure: str = ""


class UpgradeError(Exception):
    """A worker could not be replaced; the one that was to be goes on."""


@dataclass(slots=True)
class _Worker:
    """A worker's process."""

    process: asyncio.subprocess.Process
    ready_file: Path
    ended: asyncio.Task[int]


@dataclass(slots=True)
class _Place:
    """Where one worker after the other works."""

    index: int
    sockets: list[socket.socket] = field(default_factory=list)
    pages: socket.socket | None = None
    worker: _Worker | None = None
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def close(self) -> None:
        """Stop listening, as far as this process does."""
        for one in self.sockets:
            one.close()
        self.sockets = []
        if self.pages is not None:
            self.pages.close()
        self.pages = None


class Supervisor:
    """The parent of `count` workers."""

    def __init__(
        self,
        config_file: Path,
        *,
        count: int,
        host: str,
        port: int,
        pages_address: tuple[str, int],
        ready_file: Path | None,
        leave_time_max_ms: int,
    ) -> None:
        """Share `host`:`port` between workers that read `config_file`.

        Args:
            config_file: The centre's.
            count: Of workers.
            host: Address to bind.
            port: Port to bind; 0 takes a free one.
            pages_address: Of the first worker's pages; the others have the ports above it.
            ready_file: Where to say that terminals can connect, once all workers are ready; each
                worker's has its index added.
            leave_time_max_ms: What a worker that is replaced takes at most, by its own limits.
        """
        self._config_file = config_file
        self._address = (host, port)
        self._pages_address = pages_address
        self._ready_file = ready_file
        self._leave_time_max_s = (leave_time_max_ms + _LAST_MS) / 1000
        self._stopping = asyncio.Event()
        self._upgrade_wanted = asyncio.Event()
        self._places = [_Place(index) for index in range(count)]
        self._state = UpgradeState(os.getpid(), port, upgrades=0)
        self._own_folder: Path | None = None

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
        loop.add_signal_handler(signal.SIGHUP, self._upgrade_wanted.set)
        with _reserve(self._address) as port, tempfile.TemporaryDirectory() as folder:
            self._own_folder = Path(folder)
            self._state = msgspec.structs.replace(self._state, port=port)
            self._tell(None)  # what an earlier life said
            upgrading = asyncio.create_task(self._upgrade_on_demand())
            try:
                statuses = await asyncio.gather(*(self._keep(place) for place in self._places))
            finally:
                upgrading.cancel()
                await asyncio.wait([upgrading])
                for place in self._places:
                    place.close()
                self._tell(None)
        return max(statuses)

    # --- one place after the other ---------------------------------------------------------------

    async def _upgrade_on_demand(self) -> None:
        while not self._are_all_ready():  # noqa: ASYNC110 - each says so in a file
            await asyncio.sleep(_POLL_S)
        self._tell(self._state)
        while True:
            await self._upgrade_wanted.wait()
            self._upgrade_wanted.clear()
            log.info("upgrade begins")
            self._tell(msgspec.structs.replace(self._state, is_upgrading=True, failure=""))
            failure = ""
            try:
                for place in self._places:
                    await self._replace(place)
            except (UpgradeError, OSError) as error:  # the latter: no process could be started
                failure = str(error)
            if not failure:
                log.info("upgrade ended", workers=len(self._places))
            else:
                log.error("upgrade given up; the workers that are there go on", reason=failure)
            self._tell(
                msgspec.structs.replace(
                    self._state,
                    is_upgrading=False,
                    failure=failure,
                    upgrades=self._state.upgrades + 1,
                )
            )

    def _are_all_ready(self) -> bool:
        return all(place.worker and _is_ready(place.worker) for place in self._places)

    async def _replace(self, place: _Place) -> None:
        """Have a new worker take over a place, and wait until the old one has gone.

        Raises:
            UpgradeError: The new one did not get ready.
        """
        async with place.changing:
            old = place.worker
            if old is None or self._stopping.is_set():
                raise UpgradeError("the centre is stopping or has no such worker")
            new = await self._spawn(place)
            try:
                await self._ready(new, place.index)
            except BaseException:
                await self._end(new, signal.SIGTERM)
                raise
            place.worker = new
            place.changed.set()
        log.info("worker replaced", worker=place.index, pid=new.process.pid, was=old.process.pid)
        status = await self._end(old, signal.SIGUSR1)
        if status:
            log.warning("the worker replaced ended badly", worker=place.index, status=status)

    async def _ready(self, worker: _Worker, index: int) -> None:
        give_up_at = time.monotonic() + _READY_MAX_S
        while not _is_ready(worker):
            if worker.ended.done():
                raise UpgradeError(f"the new worker {index} ended: status {worker.ended.result()}")
            if self._stopping.is_set():
                raise UpgradeError("the centre is stopping")
            if time.monotonic() > give_up_at:
                raise UpgradeError(f"the new worker {index} was not ready in {_READY_MAX_S:.0f} s")
            await asyncio.sleep(_POLL_S)

    # --- one place -------------------------------------------------------------------------------

    async def _keep(self, place: _Place) -> int:
        deaths: list[float] = []
        stop = asyncio.create_task(self._stopping.wait())
        while not self._stopping.is_set():
            async with place.changing:
                if place.worker is None:
                    await self._begin(place)
            worker = place.worker
            if worker is not None:
                await self._until_news(place, worker, stop)
                if place.worker is not worker:
                    continue
                if self._stopping.is_set():
                    break
                log.error("worker died", worker=place.index, status=worker.ended.result())
            elif self._stopping.is_set():
                return 1
            async with place.changing:
                if place.worker is not worker:
                    continue  # an upgrade had its successor ready
                place.worker = None
                place.close()  # what queues there would wait for the next worker's start
            now = time.monotonic()
            deaths = [*(at for at in deaths if now - at < _DEATHS_WITHIN_S), now]
            if len(deaths) >= _DEATHS_MAX:
                log.error("worker keeps dying; stopping all", worker=place.index)
                self._stopping.set()
                return 1
            await asyncio.wait([stop], timeout=_RESTART_PAUSE_S)
        stop.cancel()
        async with place.changing:  # an upgrade that is under way sees that all are to stop
            worker_last, place.worker = place.worker, None
        place.close()
        if worker_last is None:
            return 0
        return min(1, abs(await self._end(worker_last, signal.SIGTERM)))

    async def _begin(self, place: _Place) -> None:
        """Listen and start a worker; all are to stop where the address can't be bound any more."""
        host, _ = self._address
        pages_host, pages_port = self._pages_address
        try:
            place.sockets = await listening_sockets(host, self._state.port, shares_port=True)
            port = pages_port + place.index if pages_port else 0
            place.pages = (await listening_sockets(pages_host, port, shares_port=False))[0]
        except OSError as error:
            log.critical("can't listen; stopping all", worker=place.index, error=str(error))
            self._stopping.set()
            return
        try:
            place.worker = await self._spawn(place)
        except OSError as error:  # no room for a process now: counted as a death, and tried again
            log.warning("worker can't be started", worker=place.index, error=str(error))

    async def _until_news(self, place: _Place, worker: _Worker, stop: asyncio.Task[bool]) -> None:
        """Wait until this worker ended or was replaced, or all are to stop."""
        changed = asyncio.create_task(place.changed.wait())
        await asyncio.wait({stop, worker.ended, changed}, return_when=asyncio.FIRST_COMPLETED)
        changed.cancel()
        place.changed.clear()

    async def _spawn(self, place: _Place) -> _Worker:
        folder = self._own_folder
        assert folder is not None
        ready_file = self._ready_file or folder / "ready"
        ready_file = Path(f"{ready_file}.{place.index}")
        assert place.pages is not None
        pages = place.pages.fileno()
        descriptors = [one.fileno() for one in place.sockets]
        # Nothing is written to a worker's standard input; that it ends tells of our own end.
        process = await asyncio.create_subprocess_exec(
            *self._command(place.index, descriptors, pages, ready_file),
            stdin=asyncio.subprocess.PIPE,
            pass_fds=[*descriptors, pages],
        )
        log.info("worker started", worker=place.index, pid=process.pid)
        return _Worker(process, ready_file, asyncio.create_task(process.wait()))

    async def _end(self, worker: _Worker, how: signal.Signals) -> int:
        """Ask a worker to end, wait until it has, return its exit status."""
        with contextlib.suppress(ProcessLookupError):
            worker.process.send_signal(how)
        done, _ = await asyncio.wait([worker.ended], timeout=self._leave_time_max_s)
        if not done:
            log.error("worker does not end; killed", pid=worker.process.pid)
            with contextlib.suppress(ProcessLookupError):
                worker.process.kill()
        return await worker.ended

    def _command(
        self, index: int, descriptors: list[int], pages: int, ready_file: Path
    ) -> list[str]:
        command = [
            sys.executable, "-P", "-m", "cardserver", "serve",  # -P: not from where we happen to be
            "--config", str(self._config_file), "--worker", str(index),
            "--port", str(self._state.port), "--pages-socket", str(pages),
            "--ready-file", str(ready_file), "--metrics-folder", str(self._own_folder),
        ]  # fmt: skip
        for descriptor in descriptors:
            command += ["--listening", str(descriptor)]
        return command

    def _tell(self, state: UpgradeState | None) -> None:
        """Say in the ready file how things stand; None: nothing more is known of us."""
        self._state = state or self._state
        if self._ready_file is not None:
            part = self._ready_file.with_name(f"{self._ready_file.name}.part")
            try:
                if state is None:
                    self._ready_file.unlink(missing_ok=True)
                    return
                part.write_bytes(msgspec.json.encode(state))
                part.replace(self._ready_file)
            except OSError as error:  # the workers are none the worse for it
                log.warning("the ready file can't be written", error=str(error))


class _ReadyFile(msgspec.Struct):
    """What is looked at in a worker's ready file."""

    pid: int


def _is_ready(worker: _Worker) -> bool:
    """Tell whether the file is this worker's, and not the one's before."""
    try:
        said = msgspec.json.decode(worker.ready_file.read_bytes(), type=_ReadyFile)
    except (FileNotFoundError, msgspec.DecodeError):
        return False
    return said.pid == worker.process.pid


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
