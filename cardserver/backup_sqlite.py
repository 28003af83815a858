"""Copy a SQLite database while a centre writes to it, and put a copy in its place.

The online backup copies some pages at a time from within one read transaction: in WAL mode that
is a snapshot which no writer waits for and none disturbs (without it each write of another process
would begin the copy anew). Meanwhile the WAL can't be emptied, and grows by what is written.
"""

import os
import secrets
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from cardserver.backup import BackupError
from cardserver.key_files import SECRET_MODE, sync_directory

# 1 MiB: read and written in a millisecond or two, so that a commit's sync waits no longer.
_PAGES_A_STEP = 256
_PAUSE_S = 0.002


def copy_database(source: Path, target: Path, on_progress: Callable[[int, int], None]) -> None:
    """Copy a database as it is at one moment into a new file.

    Raises:
        BackupError: It can't be copied.
    """
    try:
        target.touch(mode=SECRET_MODE, exist_ok=False)
        reading = sqlite3.connect(f"file:{source}?mode=rw", uri=True, isolation_level=None)
        writing = sqlite3.connect(target, isolation_level=None)
        try:
            reading.execute("BEGIN")
            reading.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # the snapshot begins

            def tell(_status: int, remaining: int, total: int) -> None:
                on_progress(total - remaining, total)
                time.sleep(_PAUSE_S)

            reading.backup(writing, pages=_PAGES_A_STEP, progress=tell)
            reading.execute("ROLLBACK")
            # One file, without a WAL beside it.
            writing.execute("PRAGMA journal_mode = DELETE")
        finally:
            writing.close()
            reading.close()
        _sync(target)
    except (sqlite3.Error, OSError) as error:
        raise BackupError(f"{source} can't be copied: {error}") from error


def copy_beside(backup: Path, database: Path) -> Path:
    """Copy a backup's file beside the database that it is to become.

    Raises:
        BackupError: It can't be copied.
    """
    beside = database.with_name(f".{database.name}.restore-{secrets.token_hex(4)}")
    try:
        shutil.copyfile(backup, beside)
        beside.chmod(SECRET_MODE)
        _sync(beside)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise BackupError(f"{beside} can't be written: {error.strerror}") from error
    return beside


def discard(beside: Path) -> None:
    """Remove a copy that is not to become the database."""
    for name in (beside.name, f"{beside.name}-wal", f"{beside.name}-shm"):
        beside.with_name(name).unlink(missing_ok=True)


def put_in_place(beside: Path, database: Path) -> Path | None:
    """Let a verified copy become the database; return where the old one was moved, if any.

    Raises:
        BackupError: The file system refuses.
    """
    aside = None
    try:
        checkpointing = sqlite3.connect(beside, isolation_level=None)
        checkpointing.execute("PRAGMA journal_mode = DELETE")
        checkpointing.close()
        _sync(beside)
        if database.exists():
            aside = database.with_name(f"{database.name}.replaced-{time.strftime('%Y%m%d%H%M%S')}")
            for suffix in ("-wal", "-shm", ""):
                old = database.with_name(f"{database.name}{suffix}")
                if old.exists():
                    old.rename(database.with_name(f"{aside.name}{suffix}"))
        beside.rename(database)
        sync_directory(database.parent)
    except (sqlite3.Error, OSError) as error:
        raise BackupError(f"{beside} can't be put in the place of {database}: {error}") from error
    return aside


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
