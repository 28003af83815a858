"""The parent of workers, with small processes in their places: what the system refuses is borne."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cardserver.app import Worker, WorkerOptions
from cardserver.config import ConfigError, load_config
from cardserver.supervisor import Supervisor, UpgradeState
from simulators.centre_process import City

_WORKER = """
import json, os, signal, sys
from pathlib import Path
told = {signal.SIGTERM, signal.SIGUSR1}
signal.pthread_sigmask(signal.SIG_BLOCK, told)
file = Path(sys.argv[1])
part = file.with_name(file.name + ".part")
part.write_text(json.dumps({"pid": os.getpid()}))
part.replace(file)
signal.sigwait(told)
"""


class Parent(Supervisor):
    """A parent whose workers only say that they are ready."""

    def __init__(self, folder: Path) -> None:
        self.ready_file = folder / "serve.json"
        self.program = sys.executable
        super().__init__(
            folder / "cardserver.toml", count=1, host="127.0.0.1", port=0,
            pages_address=("127.0.0.1", 0), ready_file=self.ready_file, leave_time_max_ms=5_000,
        )  # fmt: skip

    def _command(self, *arguments: Any) -> list[str]:
        ready_file = arguments[-1]
        return [self.program, "-c", _WORKER, str(ready_file)]

    def state(self) -> UpgradeState:
        return msgspec.json.decode(self.ready_file.read_bytes(), type=UpgradeState)

    async def worker_pid(self, *others: int) -> int:
        """Wait for a worker that is none of these."""
        async with asyncio.timeout(20):
            while True:
                try:
                    pid = int(
                        json.loads(self.ready_file.with_name("serve.json.0").read_text())["pid"]
                    )
                except FileNotFoundError:
                    pid = 0
                if pid and pid not in others:
                    return pid
                await asyncio.sleep(0.02)


@asynccontextmanager
async def running(parent: Parent) -> AsyncIterator[asyncio.Task[int]]:
    """Run it, and stop it as a signal does."""
    task = asyncio.create_task(parent.run())
    try:
        yield task
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        assert await task == 0


async def until(is_true: Callable[[], Awaitable[bool] | bool]) -> None:
    async with asyncio.timeout(20):
        while not is_true():  # noqa: ASYNC110 - of a file
            await asyncio.sleep(0.02)


async def test_an_upgrade_to_what_cannot_be_started_is_given_up_and_the_next_one_goes_well(
    tmp_path: Path,
) -> None:
    parent = Parent(tmp_path)
    async with running(parent):
        first = await parent.worker_pid()
        await until(parent.ready_file.exists)
        parent.program = str(tmp_path / "moved-away")
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: parent.state().upgrades == 1)
        assert "moved-away" in parent.state().failure
        assert not parent.state().is_upgrading
        os.kill(first, 0)  # goes on
        parent.program = sys.executable
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: parent.state().upgrades == 2)
        assert parent.state().failure == ""
        assert await parent.worker_pid(first)


async def test_the_state_is_told_while_workers_are_ready_and_no_longer(tmp_path: Path) -> None:
    """Whoever reads it may connect, and may send a signal to the process that it names."""
    parent = Parent(tmp_path)
    parent.ready_file.write_text('{"pid": 1}')  # of an earlier life that was killed
    parent.program = str(tmp_path / "moved-away")
    async with running(parent):
        await asyncio.sleep(0.3)
        assert not parent.ready_file.exists()
        parent.program = sys.executable
        await parent.worker_pid()
        await until(parent.ready_file.exists)
        assert parent.state().pid == os.getpid()
    assert not parent.ready_file.exists()


async def test_a_worker_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    parent = Parent(tmp_path)
    async with running(parent) as task:
        first = await parent.worker_pid()
        parent.program = str(tmp_path / "moved-away")  # or: no more processes, no more memory
        os.kill(first, signal.SIGKILL)
        await asyncio.sleep(1.5)
        assert not task.done()
        parent.program = sys.executable
        await parent.worker_pid(first)


async def test_a_state_that_cannot_be_told_ends_no_upgrade(tmp_path: Path) -> None:
    parent = Parent(tmp_path)
    async with running(parent):
        first = await parent.worker_pid()
        part = tmp_path / "serve.json.part"
        part.mkdir()  # as on a full disk
        os.kill(os.getpid(), signal.SIGHUP)
        second = await parent.worker_pid(first)
        part.rmdir()
        os.kill(os.getpid(), signal.SIGHUP)
        await parent.worker_pid(first, second)
        await until(lambda: parent.state().upgrades == 2)


async def test_workers_that_get_ready_at_once_write_over_nobodys_file(
    made_city: City, tmp_path: Path
) -> None:
    (tmp_path / "serve.json.part").mkdir()  # what the parent is about to write
    config = load_config(made_city.config_file)
    for index in range(2):
        file = tmp_path / f"serve.json.{index}"
        (tmp_path / f"serve.json.{1 - index}.part").write_text("half")
        Worker(config, WorkerOptions(index, shares_port=True, ready_file=file))._say_ready(1, 2)
        assert json.loads(file.read_text())["pid"] == os.getpid()
    assert (tmp_path / "serve.json.0.part").read_text() == "half"


async def test_a_ready_file_that_cannot_be_written_is_a_sentence_or_no_matter(
    made_city: City, tmp_path: Path
) -> None:
    config = load_config(made_city.config_file)
    file = tmp_path / "no-such-folder" / "serve.json"
    Worker(config, WorkerOptions(shares_port=True, ready_file=file))._say_ready(1, 2)
    with pytest.raises(ConfigError, match="can't be written"):
        Worker(config, WorkerOptions(ready_file=file))._say_ready(1, 2)
