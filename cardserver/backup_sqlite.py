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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from cardserver.backup import BackupError
from cardserver.key_files import SECRET_MODE, sync_directory

# 1 MiB: read and written in a millisecond or two, so that a commit's sync waits no longer.
_PAGES_A_STEP = 256
_PAUSE_S = 0.002
# How long another program may have a database open that is to be replaced: a command looks in.
_IN_USE_S = 1.0


def copy_database(source: Path, target: Path, on_progress: Callable[[int, int], None]) -> None:
    """Copy a database as it is at one moment into a new file.

    Raises:
        BackupError: It can't be copied.
    """
    try:
        target.touch(mode=SECRET_MODE, exist_ok=False)
        reading = sqlite3.connect(_uri(source), uri=True, isolation_level=None)
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
        beside.touch(mode=SECRET_MODE, exist_ok=False)  # before there is anything to read in it
        shutil.copyfile(backup, beside)
        _sync(beside)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise BackupError(f"{beside} can't be written: {error.strerror}") from error
    return beside


def discard(beside: Path) -> None:
    """Remove a copy that is not to become the database."""
    for name in (beside.name, f"{beside.name}-wal", f"{beside.name}-shm"):
        beside.with_name(name).unlink(missing_ok=True)


@contextmanager
def held_alone(database: Path, *, is_closing: bool = False) -> Iterator[None]:
    """Keep all others from a database file; one that is no database any more is left as it is.

    An idle centre writes nothing, and its slot's lease runs out; but it has the file open.

    Args:
        database: The file.
        is_closing: Whether its log is to be worked into it, so that it is one file.

    Raises:
        BackupError: Another program has it open.
    """
    connection = sqlite3.connect(_uri(database), uri=True, isolation_level=None, timeout=_IN_USE_S)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if is_closing:
            connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.OperationalError as error:
        connection.close()
        raise BackupError(
            f"{database} is open elsewhere: stop the centre that serves from it, and whatever"
            f" command looks into it ({error})"
        ) from error
    except sqlite3.DatabaseError:  # damaged
        connection.close()
    try:
        yield
    finally:
        connection.close()


def put_in_place(beside: Path, database: Path) -> Path | None:
    """Let a verified copy become the database; return where the old one was moved, if any.

    Raises:
        BackupError: The file system refuses, or another program has the old one open.
    """
    aside = None
    try:
        checkpointing = sqlite3.connect(beside, isolation_level=None)
        checkpointing.execute("PRAGMA journal_mode = DELETE")
        checkpointing.close()
        _sync(beside)
        with held_alone(database, is_closing=True) if database.exists() else nullcontext():
            # A log that is left of a database which is gone would be played into this one.
            parts = [database.with_name(f"{database.name}{one}") for one in ("-wal", "-shm", "")]
            there = [part for part in parts if part.exists()]
            if there:
                moved = f"{database.name}.replaced-{time.strftime('%Y%m%d%H%M%S')}"
                aside = database.with_name(moved)
                for old in there:
                    old.rename(database.with_name(old.name.replace(database.name, moved, 1)))
            beside.rename(database)
        sync_directory(database.parent)
    except (sqlite3.Error, OSError) as error:
        raise BackupError(f"{beside} can't be put in the place of {database}: {error}") from error
    return aside


def _uri(database: Path) -> str:
    return f"{database.absolute().as_uri()}?mode=rw"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
