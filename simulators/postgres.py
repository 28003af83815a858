"""A private throwaway PostgreSQL: a cluster in a temporary directory, reached by a Unix socket.

For tests, benchmarks and demonstrations. It ends only what it started, and leaves nothing behind.
PostgreSQL refuses to run as root, so root starts it as the user `postgres`.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

_USER = "postgres"
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 30.0
_POLL_S = 0.02
_STATUS_LINE = 7  # of postmaster.pid, from 0


class PostgreSQLMissingError(RuntimeError):
    """The server's programs are not installed."""


class PostgreSQLCluster:
    """One server process with a directory of its own, as a context manager.

    Attributes:
        directory: Holds data, socket and log; readable by the server's user only.
        process: The server, while it runs.
    """

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        """Prepare a cluster.

        Args:
            settings: Server settings beside the defaults, e.g. {"fsync": "off"}.
        """
        self._programs = find_programs()
        self._settings = dict(settings or {})
        self._user = _USER if os.geteuid() == 0 else None
        self.directory = Path()
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.directory = Path(tempfile.mkdtemp(prefix="cardserver-pg-"))
        try:
            if self._user is not None:
                record = pwd.getpwnam(self._user)
                os.chown(self.directory, record.pw_uid, record.pw_gid)
            self._run("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8",
                      "--locale=C", "--no-sync", "-D", str(self._data))  # fmt: skip
            self.start()
        except BaseException:
            self.stop()
            shutil.rmtree(self.directory, ignore_errors=True)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def url(self, database: str = "postgres") -> str:
        """Return the SQLAlchemy URL of a database of this cluster."""
        return f"postgresql+asyncpg://postgres@/{database}?host={self.directory}"

    def create_database(self, name: str, template: str = "template1") -> str:
        """Create a database, by default empty, and return its URL."""
        self._run("createdb", "-h", str(self.directory), "-U", "postgres", "-T", template, name)
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, ending its connections."""
        self._run("dropdb", "-h", str(self.directory), "-U", "postgres", "--force", name)

    def recycle_log(self, mib: int) -> None:
        """Write so much of its log that as many files of it are there to be written over.

        A new server fills each new file with zeros while somebody's commit waits; one that has run
        for a while has as many as its `min_wal_size` says.
        """
        write = "SELECT pg_logical_emit_message(false, '', repeat(' ', 1 << 20))"
        self._run(
            "psql", "-h", str(self.directory), "-U", "postgres", "-q", "-o", os.devnull,
            "-c", f"{write} FROM generate_series(1, {mib})", "-c", "CHECKPOINT",
        )  # fmt: skip

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.directory),
            "max_connections": "100",
            "shared_buffers": "128MB",
            **self._settings,
        }
        command = [str(self._programs / "postgres"), "-D", str(self._data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        log = self.directory / "server.log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                cwd="/", start_new_session=True,
                user=self._user, group=self._user,
            )  # fmt: skip
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text()[-2000:]}")
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """Stop the server at once but cleanly (a fast shutdown)."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """Stop the server as a loss of power would, but for what the disk holds (immediate)."""
        self._end(signal.SIGQUIT)

    def _end(self, how: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait(_STOP_TIMEOUT_S)

    def _is_ready(self) -> bool:
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return (
            len(lines) > _STATUS_LINE
            and self.process is not None
            and lines[0] == str(self.process.pid)
            and lines[_STATUS_LINE].strip() == "ready"
        )

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            capture_output=True, text=True, cwd="/", check=False,
            user=self._user, group=self._user,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.strip()}")


def find_programs() -> Path:
    """Return the directory of the newest PostgreSQL server installed.

    Raises:
        PostgreSQLMissingError: If there is none.
    """
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"),
        key=lambda path: float(path.parent.parent.name),
    )
    if versions:
        return versions[-1].parent
    found = shutil.which("postgres")
    if found is None:
        raise PostgreSQLMissingError("PostgreSQL is not installed: apt-get install postgresql")
    return Path(found).resolve().parent
