"""A centre as a process, with a made-up city in it: set up, started, killed, started again.

It is driven by its console commands alone, as its operators drive it. Demo, tests and benchmarks
share it.
"""

import asyncio
import json
import secrets
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

REGION = "110199"  # within Beijing's numbers, and never given to a place
_READY_TIMEOUT_S = 90.0  # a loaded machine takes its time
_STOP_TIMEOUT_S = 30.0
_POLL_S = 0.02


class CommandError(Exception):
    """A command failed; holds what it said."""


@dataclass(frozen=True, slots=True)
class Commanded:
    """What a command printed."""

    output: str
    errors: str
    status: int


async def command(
    program: str, *arguments: str, check: bool = True, within: Sequence[str] = ()
) -> Commanded:
    """Run one of the project's console commands to its end.

    Args:
        program: Its name.
        arguments: Its arguments.
        check: Whether another exit status than 0 is an error.
        within: What its command line begins with, as of a `SmallDisk`.

    Raises:
        CommandError: It exited with another status than 0, and `check` asks for that.
    """
    process = await asyncio.create_subprocess_exec(
        *within,
        str(Path(sys.executable).with_name(program)),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode is not None
    result = Commanded(output.decode(), errors.decode(), process.returncode)
    if check and result.status != 0:
        raise CommandError(
            f"{program} {' '.join(arguments)}: exit status {result.status}\n"
            f"{result.output}{result.errors}"
        )
    return result


@dataclass(frozen=True, slots=True)
class City:
    """A centre's folder with a made-up city loaded.

    Attributes:
        directory: The centre's folder, from `cardserver init`.
        population: The city's CSV files, from `cardsim population`.
        password_file: Password of all its operators.
        within: What the command line of a program begins with that is to see its database.
    """

    directory: Path
    population: Path
    password_file: Path
    within: tuple[str, ...] = ()

    @classmethod
    def below(cls, directory: Path) -> Self:
        """Say where `make_city` puts what it makes."""
        return cls(directory / "centre", directory / "city", directory / "password")

    @property
    def config_file(self) -> Path:
        """The centre's configuration."""
        return self.directory / "cardserver.toml"

    @property
    def authority_file(self) -> Path:
        """The certificate that terminals trust."""
        return self.directory / "authority" / "authority.crt"

    @property
    def keys(self) -> Path:
        """The root keys in the clear, which a card printer of tests reads."""
        return self.directory / "test-card-keys"


async def make_city(
    directory: Path,
    *,
    persons: int,
    seed: int = 1,
    database_url: str = "",
    quick_passwords: bool = False,
) -> City:
    """Set up a centre below `directory` and load a made-up city into it.

    Args:
        directory: Where.
        persons: Of the city.
        seed: Makes it up.
        database_url: Empty for SQLite.
        quick_passwords: Whether operators' passwords cost the least work, for fleets.
    """
    city = City.below(directory)
    city.password_file.write_text(secrets.token_hex(8), encoding="utf-8")
    city.password_file.chmod(0o600)
    database = ("--database", database_url) if database_url else ()
    quick = ("--quick-passwords",) if quick_passwords else ()
    await asyncio.gather(
        command("cardserver", "init", str(city.directory), "--with-test-card-keys", *database),
        command(
            "cardsim", "population", "--seed", str(seed), "--persons", str(persons),
            "--operator-password-file", str(city.password_file), "--region", REGION,
            "--out", str(city.population), *quick,
        ),
    )  # fmt: skip
    await command(
        "cardserver", "registry", "import", "--config", str(city.config_file),
        str(city.population),
    )  # fmt: skip
    return city


async def enrol(city: City, *, institution: str, terminal: str, port: int) -> Path:
    """Make a terminal's folder and have the centre sign its certificate.

    Returns:
        The terminal's configuration file.
    """
    folder = city.directory.parent / f"terminal-{institution}-{terminal}"
    await command(
        "cardterminal", "init", str(folder), "--institution", institution,
        "--terminal", terminal, "--host", "127.0.0.1", "--port", str(port),
        "--ca", str(city.authority_file),
    )  # fmt: skip
    await command(
        "cardserver", "enrol-terminal", "--config", str(city.config_file),
        "--institution", institution, "--terminal", terminal,
        "--request", str(folder / "terminal.csr"), "--out", str(folder / "terminal.crt"),
    )  # fmt: skip
    return folder / "terminal.toml"


class CentreProcess:
    """A running `cardserver serve`.

    Attributes:
        port: Where terminals connect; the same after a restart.
        observe_port: Where its pages are.
    """

    def __init__(
        self,
        config_file: Path,
        *,
        workers: int = 1,
        within: Sequence[str] = (),
        name: str = "serve",
    ) -> None:
        """Prepare to run the centre that `config_file` describes, beside others by another name."""
        self._config_file = config_file
        self._within = within
        self._workers = workers
        self._process: subprocess.Popen[bytes] | None = None
        self._ready_file = config_file.with_name(f"{name}.json")
        self.log_file = config_file.with_name(f"{name}.log")
        self.port = 0
        self.observe_port = 0

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start, and wait until terminals can connect.

        Raises:
            CommandError: It ended instead.
        """
        ready = self._ready_file
        ready.unlink(missing_ok=True)
        log_size = self.log_file.stat().st_size if self.log_file.exists() else 0
        self._process = self._spawn(ready)
        async with asyncio.timeout(_READY_TIMEOUT_S):
            while not ready.exists():
                if self._process.poll() is not None:
                    with self.log_file.open("rb") as log:
                        log.seek(log_size)
                        raise CommandError(f"the centre ended: {log.read().decode()}")
                await asyncio.sleep(_POLL_S)
        of_first = ready if self._workers == 1 else Path(f"{ready}.0")
        content = json.loads(of_first.read_bytes())
        self.port = content["port"]
        self.observe_port = content["observe_port"]

    async def kill(self) -> None:
        """End it as a power cut would: SIGKILL."""
        assert self._process is not None
        self._process.kill()
        await self._ended()

    async def stop(self) -> int:
        """Ask it to end, wait until it has, return its exit status."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.terminate()
        return await self._ended()

    def _spawn(self, ready: Path) -> subprocess.Popen[bytes]:
        with self.log_file.open("ab") as log:
            return subprocess.Popen(
                [
                    *self._within,
                    str(Path(sys.executable).with_name("cardserver")),
                    "serve", "--config", str(self._config_file), "--port", str(self.port),
                    "--observe-port", "0", "--workers", str(self._workers),
                    "--ready-file", str(ready),
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    async def _ended(self) -> int:
        assert self._process is not None
        return await asyncio.to_thread(self._process.wait, _STOP_TIMEOUT_S)
