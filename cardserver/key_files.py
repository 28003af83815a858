"""Write and read the files that hold secrets: whole or not at all, for their owner's eyes only.

Not here: what is in them (`authority.py`, `commands/init.py`, `cards/keystore.py`).
"""

import os
import secrets
import stat
from pathlib import Path

SECRET_MODE = 0o600
PUBLIC_MODE = 0o644


class KeyFileError(Exception):
    """A file of secrets is missing, open to others, or in the way."""


def write_new(path: Path, data: bytes, *, mode: int = SECRET_MODE) -> None:
    """Write a file that must not exist yet, whole or not at all.

    Raises:
        KeyFileError: The file exists; nothing was changed.
    """
    temporary = _write_beside(path, data, mode)
    try:
        path.hardlink_to(temporary)  # unlike a rename, this fails where the name is taken
    except FileExistsError as error:
        raise KeyFileError(f"{path} exists and is not overwritten: move it away first") from error
    finally:
        temporary.unlink()
    sync_directory(path.parent)


def replace(path: Path, data: bytes, *, mode: int = SECRET_MODE) -> None:
    """Write a file over the one that may be there; a reader sees the old or the new one whole."""
    _write_beside(path, data, mode).replace(path)
    sync_directory(path.parent)


def read_secret(path: Path) -> bytes:
    """Read a file that no one but its owner may read or write.

    Raises:
        KeyFileError: It is missing, not a regular file, or open to its group or others.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise KeyFileError(f"{path} does not exist") from error
    except PermissionError as error:
        raise KeyFileError(f"{path} can't be read by this user") from error
    try:
        status = os.fstat(descriptor)  # of the file opened, not of what has its name by now
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(f"{path} is not a regular file")
        if status.st_mode & 0o077:
            raise KeyFileError(
                f"{path} has mode {status.st_mode & 0o777:04o} and is open to others:"
                f" chmod 600 {path}"
            )
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def _write_beside(path: Path, data: bytes, mode: int) -> Path:
    """Write a file of a name that no one else uses, in the same directory, down to the disk."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)  # whatever the umask
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return temporary


def sync_directory(directory: Path) -> None:
    """Have a directory's entries down on the disk: names that were added, and that were removed."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
