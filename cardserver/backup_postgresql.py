"""Copy a PostgreSQL database with its own tools, `pg_dump` and `pg_restore`, while a centre writes.

A dump in the custom format, not a base backup: it needs no right beyond reading the centre's own
tables, holds this one database, goes back into any later PostgreSQL on any machine, and is checked
row by row when restored. What it can't do is go on from the last backup to any moment after it:
that is what archiving the cluster's WAL is for, beside this.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from cardserver.backup import BackupError

_TABLE = re.compile(r"(dumping contents of|processing data for) table")
_LINES_KEPT = 20
_DROP_TABLES = """
DO $$ DECLARE dropped regclass; BEGIN
    FOR dropped IN SELECT oid::regclass FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace
        AND (relkind = 'p' OR relkind = 'r' AND relname IN ({names}))
    LOOP EXECUTE format('DROP TABLE %s CASCADE', dropped); END LOOP;
END $$;
DROP FUNCTION IF EXISTS audit_is_append_only();
"""

Progress = Callable[[int], None]


def dump(
    environment: Mapping[str, str], target: Path, *, snapshot: str, on_table: Progress
) -> None:
    """Dump a database as a snapshot that another connection holds sees it.

    Raises:
        BackupError: `pg_dump` is missing or failed; says what it said.
    """
    target.touch(mode=0o600, exist_ok=False)
    _run(
        "pg_dump",
        ["--format=custom", "--no-owner", "--no-privileges", "--verbose",
         f"--snapshot={snapshot}", f"--file={target}"],
        environment,
        on_table,
    )  # fmt: skip
    descriptor = os.open(target, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load(
    environment: Mapping[str, str], source: Path, *, tables: Collection[str], on_table: Progress
) -> None:
    """Replace a database's tables by a dump's: all or nothing, in one transaction.

    Args:
        environment: Says where the database is.
        source: The dump.
        tables: All that a centre has, which go also where the dump, an older one, has none of them.
        on_table: Told how many are done with.

    Raises:
        BackupError: A tool is missing or failed; nothing was changed.
    """
    # `pg_restore` can't drop tables that are kept by month, whose parts' keys hang on the whole's,
    # nor what the dump doesn't know: so they are dropped first, and `psql` runs it all in one
    # transaction.
    with tempfile.TemporaryDirectory(prefix="cardserver-restore-") as folder:
        before, script = Path(folder) / "before.sql", Path(folder) / "restore.sql"
        names = ", ".join(f"'{name}'" for name in sorted(tables))
        before.write_text(_DROP_TABLES.format(names=names), encoding="utf-8")
        _run(
            "pg_restore",
            ["--clean", "--if-exists", "--no-owner", "--no-privileges", "--verbose",
             f"--file={script}", str(source)],
            environment,
            on_table,
        )  # fmt: skip
        _run(
            "psql",
            ["--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1",
             f"--dbname={environment['PGDATABASE']}", f"--file={before}", f"--file={script}"],
            {**environment, "PGOPTIONS": "-c client_min_messages=warning"},
            on_table,
        )  # fmt: skip


def _run(
    program: str, arguments: Sequence[str], environment: Mapping[str, str], on_table: Progress
) -> None:
    said: list[str] = []
    tables = 0
    process = subprocess.Popen(  # noqa: S603 - PostgreSQL's own program, no shell
        [_find(program), *arguments],
        env={**os.environ, **environment, "LC_MESSAGES": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr is not None
        for line in process.stderr:
            said = [*said[-_LINES_KEPT:], line.rstrip()]
            if _TABLE.search(line):
                tables += 1
                on_table(tables)
    if process.returncode:
        faults = [line for line in said if "error" in line.lower()] or said
        raise BackupError(f"{program} failed: {'; '.join(faults[-3:])}")


def _find(program: str) -> str:
    """Find PostgreSQL's program: on the path, or the newest where Debian puts them."""
    found = shutil.which(program)
    if found is None:
        installed = sorted(
            Path("/usr/lib/postgresql").glob(f"*/bin/{program}"),
            key=lambda path: float(path.parent.parent.name),
        )
        if not installed:
            raise BackupError(f"{program} is not installed: it comes with PostgreSQL's client")
        found = str(installed[-1])
    return found
