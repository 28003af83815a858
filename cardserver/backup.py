"""A backup: one folder with the database as it was at one moment, and a manifest.

`cardserver.toml` goes along, so that whoever restores sees what it belonged to. Keys never do: not
the root keys' store, its passphrase or token, not the authority's or the server's key, not the
session secret, not the digests' key. Who finds a backup must not be able to pass for the centre or
for a card. Not here: how each database is copied (`backup_sqlite.py`, `backup_postgresql.py`).
"""

import hashlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from msgspec import DecodeError, Meta, Struct, json

from cardserver import key_files
from ledger.digest import Digest

FORMAT = 1
MANIFEST = "manifest.json"
CONFIGURATION = "cardserver.toml"
SQLITE_FILE = "ledger.sqlite"
POSTGRESQL_FILE = "ledger.dump"

_CHUNK = 1 << 20

Progress = Callable[[int, int], None]


class BackupError(Exception):
    """A backup can't be made, read or restored."""


class BackupFile(Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a backup.

    Attributes:
        name: Within the folder.
        size: In bytes.
        sha256: In hex.
    """

    name: str
    size: int
    sha256: str


class Manifest(Struct, frozen=True, forbid_unknown_fields=True):
    """What a backup holds.

    Attributes:
        format: Of this document.
        dialect: "sqlite" or "postgresql"; a backup goes back into the same kind.
        schema: The revision of its schema.
        made_time_ms: When it was begun; what was answered before is in it.
        ledger: The chains' heads in it: what is restored must end there.
        files: All but this one.
    """

    format: Annotated[int, Meta(ge=FORMAT, le=FORMAT)]
    dialect: str
    schema: str
    made_time_ms: int
    ledger: Digest
    files: tuple[BackupFile, ...]

    @property
    def data_file(self) -> str:
        """The name of the database's file."""
        return SQLITE_FILE if self.dialect == "sqlite" else POSTGRESQL_FILE


def begin_folder(folder: Path) -> Path:
    """Make the folder in which a backup is made; it gets its name when it is whole.

    Raises:
        BackupError: The name is taken.
    """
    if folder.exists():
        raise BackupError(f"{folder} exists: a backup goes into a new folder")
    part = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise BackupError(f"{part} can't be made: {error.strerror}") from error
    return part


def take_configuration(config_file: Path, part: Path) -> None:
    """Copy the configuration along, down to the disk."""
    key_files.write_new(part / CONFIGURATION, config_file.read_bytes())


def finish_folder(part: Path, folder: Path, manifest: Manifest) -> None:
    """Write the manifest, have all of it down on the disk, and give the folder its name."""
    key_files.write_new(part / MANIFEST, json.format(json.encode(manifest), indent=1) + b"\n")
    part.rename(folder)
    key_files.sync_directory(folder.parent)


def describe(path: Path, on_progress: Progress | None = None) -> BackupFile:
    """Name a file with its size and hash, once it is down on the disk."""
    hashed = hashlib.sha256()
    size = path.stat().st_size
    done = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            hashed.update(chunk)
            done += len(chunk)
            if on_progress is not None:
                on_progress(done, size)
    return BackupFile(path.name, size, hashed.hexdigest())


def read_manifest(folder: Path, on_progress: Progress) -> Manifest:
    """Read a backup's manifest and see that its files are what it says.

    Raises:
        BackupError: Something is missing or was changed.
    """
    try:
        manifest = json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except OSError as error:
        raise BackupError(f"{folder} is no backup: {MANIFEST}: {error.strerror}") from error
    except DecodeError as error:
        raise BackupError(f"{folder / MANIFEST} can't be read: {error}") from error
    for file in manifest.files:
        path = folder / file.name
        if path.parent != folder or not path.is_file():
            raise BackupError(f"{path} is missing")
        if describe(path, on_progress) != file:
            raise BackupError(f"{path} is not as it was backed up")
    if manifest.data_file not in {file.name for file in manifest.files}:
        raise BackupError(f"{folder} holds no {manifest.data_file}")
    return manifest


def now_ms() -> int:
    """Return the time."""
    return time.time_ns() // 1_000_000
