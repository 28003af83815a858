"""The PC/SC service with its virtual reader: uses the one that runs, or starts one.

pcscd listens at one fixed socket of the machine, and the virtual reader has two slots, so that
programs which put simulated cards into it take turns: whoever calls `virtual_reader` holds a
lock on a file until it is done. Only what was started here is stopped here.

The driver keeps its two slots in variables of its library, so that more slots take a copy of the
library under another name, each listening on ports of its own. The service that is started here
reads a configuration of its own; the machine's stays as it is.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from terminals.readers.pcsc import PCSCServiceError, reader_names

VIRTUAL_READER = "Virtual PCD"
PORT = 35963
"""vpcd's first slot; the second of a driver copy listens one higher."""
SLOTS_A_COPY = 2
COPIES_MAX = 4
_PORTS_A_COPY = 4
LOCK_FILE = Path("/run/lock/cardserver-virtual-reader.lock")
START_TIMEOUT_MS = 20_000
LOCK_TIMEOUT_MS = 170_000
_STOP_TIMEOUT_MS = 5_000
_POLL_MS = 50
_DRIVER = Path("/usr/lib/pcsc/drivers/serial/libifdvpcd.so")
_INSTALL = "install them: apt-get install pcscd vsmartcard-vpcd"


class PCSCDError(Exception):
    """There is no PC/SC service with a virtual reader, and none can be started."""


@dataclass(frozen=True, slots=True)
class VirtualReader:
    """The virtual reader of the running service.

    Attributes:
        slots: Names of its slots.
        is_ours: Whether the service was started here.
    """

    slots: tuple[str, ...]
    is_ours: bool

    @property
    def ports(self) -> tuple[int, ...]:
        """Where each slot listens for its card."""
        return tuple(port_of(index) for index in range(len(self.slots)))


def port_of(slot_index: int) -> int:
    """Say where a slot listens for its card; slots count from 0."""
    copy, slot = divmod(slot_index, SLOTS_A_COPY)
    return PORT + copy * _PORTS_A_COPY + slot


@contextmanager
def virtual_reader(
    *, takes_turn: bool = True, slots_min: int = SLOTS_A_COPY
) -> Iterator[VirtualReader]:
    """Have a PC/SC service with a virtual reader as long as the context lasts.

    Args:
        takes_turn: Whether to wait until no other program uses the reader. A program that was
            started by one which holds the reader says False.
        slots_min: How many slots are wanted. A service that runs already has as many as it has.

    Raises:
        PCSCDError: It isn't there, or with fewer slots, and can't be started; the sentence says
            what to do.
    """
    assert 0 < slots_min <= COPIES_MAX * SLOTS_A_COPY
    with _turn(takes_turn=takes_turn):
        slots = _virtual_slots()
        if slots:
            if len(slots) < slots_min:
                raise PCSCDError(
                    f"pcscd runs with {len(slots)} virtual slots, {slots_min} are wanted; stop it,"
                    " so that one with more can be started"
                )
            yield VirtualReader(slots, is_ours=False)
            return
        with tempfile.TemporaryDirectory(prefix="virtual-reader-") as scratch:
            copies = -(-slots_min // SLOTS_A_COPY)
            process = _start(_write_configuration(Path(scratch), copies))
            try:
                yield VirtualReader(_wait_for_slots(process, copies * SLOTS_A_COPY), is_ours=True)
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
    slots = tuple(sorted((name for name in names if VIRTUAL_READER in name), key=_slot_order))
    if not slots:
        raise PCSCDError(f"pcscd runs, but without the virtual reader; {_INSTALL}, then restart it")
    return slots


def _slot_order(name: str) -> tuple[int, str]:
    """Order by driver copy, then by slot; pcscd puts two numbers behind a reader's name."""
    words = name.removeprefix(VIRTUAL_READER).split()
    return (int(words[0]) if len(words) > SLOTS_A_COPY else 1, " ".join(words[-2:]))


def _write_configuration(directory: Path, copies: int) -> Path:
    """Write a reader.conf with so many copies of the driver; the first is the installed one."""
    if not _DRIVER.exists():
        raise PCSCDError(f"pcscd's virtual reader is missing; {_INSTALL}")
    entries = []
    for index in range(copies):
        library = _DRIVER
        if index:
            library = directory / f"libifdvpcd{index + 1}.so"
            shutil.copyfile(_DRIVER, library)
        name = VIRTUAL_READER if not index else f"{VIRTUAL_READER} {index + 1}"
        port = f"0x{port_of(index * SLOTS_A_COPY):04X}"
        entries.append(
            f'FRIENDLYNAME "{name}"\nDEVICENAME /dev/null:{port}\nLIBPATH {library}\n'
            f"CHANNELID {port}\n"
        )
    path = directory / "reader.conf"
    path.write_text("\n".join(entries), encoding="ascii")
    return path


def _start(configuration: Path) -> subprocess.Popen[bytes]:
    program = shutil.which("pcscd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise PCSCDError(f"pcscd is missing; {_INSTALL}")
    if os.geteuid() != 0:
        raise PCSCDError("pcscd does not run, and only root can start it: sudo pcscd")
    # Whoever is killed can't stop it, and it would keep its socket from all who come later.
    return subprocess.Popen(
        [
            *("setpriv", "--pdeathsig", "TERM", program),
            *("--foreground", "--critical", "--config", str(configuration)),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _wait_for_slots(process: subprocess.Popen[bytes], count: int) -> tuple[str, ...]:
    deadline = time.monotonic() + START_TIMEOUT_MS / 1000
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise PCSCDError(f"pcscd ended by itself with status {process.returncode}")
        try:
            slots = _virtual_slots()
        except PCSCDError:
            slots = ()  # it answers already, its readers come a moment later
        if len(slots) == count:
            return slots
        time.sleep(_POLL_MS / 1000)
    raise PCSCDError(f"pcscd shows no {count} virtual slots after {START_TIMEOUT_MS} ms")


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
