"""The PC/SC service with its virtual reader: uses the one that runs, or starts one.

pcscd listens at one fixed socket of the machine, and the virtual reader has two slots, so that
programs which put simulated cards into it take turns: whoever calls `virtual_reader` holds a
lock on a file until it is done. Only what was started here is stopped here.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from terminals.readers.pcsc import PCSCServiceError, reader_names

VIRTUAL_READER = "Virtual PCD"
LOCK_FILE = Path("/run/lock/cardserver-virtual-reader.lock")
START_TIMEOUT_MS = 20_000
LOCK_TIMEOUT_MS = 170_000
_STOP_TIMEOUT_MS = 5_000
_POLL_MS = 50
_DRIVERS = (
    Path("/usr/lib/pcsc/drivers/serial/libifdvpcd.so"),
    Path("/etc/reader.conf.d/vpcd"),
)
_INSTALL = "install them: apt-get install pcscd vsmartcard-vpcd"


class PCSCDError(Exception):
    """There is no PC/SC service with a virtual reader, and none can be started."""


@dataclass(frozen=True, slots=True)
class VirtualReader:
    """The virtual reader of the running service.

    Attributes:
        slots: Names of its slots; the first listens on vpcd's port, the second one higher.
        is_ours: Whether the service was started here.
    """

    slots: tuple[str, ...]
    is_ours: bool


@contextmanager
def virtual_reader(*, takes_turn: bool = True) -> Iterator[VirtualReader]:
    """Have a PC/SC service with a virtual reader as long as the context lasts.

    Args:
        takes_turn: Whether to wait until no other program uses the reader. A program that was
            started by one which holds the reader says False.

    Raises:
        PCSCDError: It isn't there and can't be started; the sentence says what to do.
    """
    with _turn(takes_turn=takes_turn):
        slots = _virtual_slots()
        if slots:
            yield VirtualReader(slots, is_ours=False)
            return
        process = _start()
        try:
            yield VirtualReader(_wait_for_slots(process), is_ours=True)
        finally:
            _stop(process)


def _virtual_slots() -> tuple[str, ...]:
    """Ask the service that runs, if any, for its virtual slots."""
    try:
        names = reader_names()
    except PCSCServiceError as unavailable:
        if "polkit" in str(unavailable):
            raise PCSCDError(str(unavailable)) from unavailable
        return ()
    slots = tuple(sorted(name for name in names if VIRTUAL_READER in name))
    if not slots:
        raise PCSCDError(f"pcscd runs, but without the virtual reader; {_INSTALL}, then restart it")
    return slots


def _start() -> subprocess.Popen[bytes]:
    program = shutil.which("pcscd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None or not all(each.exists() for each in _DRIVERS):
        raise PCSCDError(f"pcscd or its virtual reader is missing; {_INSTALL}")
    if os.geteuid() != 0:
        raise PCSCDError("pcscd does not run, and only root can start it: sudo pcscd")
    return subprocess.Popen(
        [program, "--foreground", "--critical"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _wait_for_slots(process: subprocess.Popen[bytes]) -> tuple[str, ...]:
    deadline = time.monotonic() + START_TIMEOUT_MS / 1000
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise PCSCDError(f"pcscd ended by itself with status {process.returncode}")
        try:
            slots = _virtual_slots()
        except PCSCDError:
            slots = ()  # it answers already, its readers come a moment later
        if slots:
            return slots
        time.sleep(_POLL_MS / 1000)
    raise PCSCDError(f"pcscd shows no virtual reader after {START_TIMEOUT_MS} ms")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_TIMEOUT_MS / 1000)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def _turn(*, takes_turn: bool) -> Iterator[None]:
    if not takes_turn:
        yield
        return
    try:
        descriptor = _open_lock()
    except OSError as refused:
        raise PCSCDError(f"the lock of the virtual reader can't be opened: {refused}") from refused
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _open_lock() -> int:
    """Open the file whose lock is the turn; whoever can read it can wait for theirs.

    It is created only where it is absent: the kernel lets nobody "create" another user's file in
    a directory that all may write to (fs.protected_regular).
    """
    try:
        return os.open(LOCK_FILE, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return os.open(LOCK_FILE, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)


def _lock(descriptor: int) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT_MS / 1000
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise PCSCDError(
                    f"another program uses the virtual reader (lock {LOCK_FILE})"
                ) from None
            time.sleep(_POLL_MS / 1000)
        else:
            return
