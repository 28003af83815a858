"""Put a backup back into either database, verified before it may be served from."""

import asyncio
from pathlib import Path

from cardserver import backup_sqlite
from cardserver.backup import BackupError, Manifest, read_manifest
from cardserver.backup_making import Tell
from cardserver.backup_postgresql import load
from cardserver.backup_sqlite import held_alone
from cardserver.backup_store import (
    Occupancy,
    libpq_environment,
    occupancy_of,
    sqlite_path,
    table_names,
)
from cardserver.config import Config
from cardserver.migrations.schema import is_known, migrate
from cardserver.registry.history_store import audit
from cardserver.registry.values import Actor
from cardserver.verification import Verified, Wish, verify
from ledger.bulk_store import Query
from ledger.database_store import Database
from ledger.ledger_store import FREE_SLOTS

_VERIFY = "verify 校验"


def open_backup(config: Config, folder: Path, tell: Tell) -> Manifest:
    """Read a backup, and see that it is whole and fits this centre's database and program.

    Raises:
        BackupError: It is not, or doesn't.
    """
    manifest = read_manifest(folder, lambda done, total: tell("read 读取", done, total))
    dialect = Database.open(config.database_url, config.database_password).dialect
    if manifest.dialect != dialect:
        raise BackupError(f"{folder} is of {manifest.dialect}, this centre's database of {dialect}")
    if not is_known(manifest.schema):
        raise BackupError(
            f"{folder} has schema {manifest.schema}, which this program doesn't know: it was made"
            " by a later one"
        )
    if manifest.ledger.fund != config.fund.name_en:
        raise BackupError(f"{folder} is of another fund: {manifest.ledger.fund}")
    return manifest


async def check_target(config: Config, *, replaces: bool) -> Occupancy:
    """See that a backup may go into the database.

    Raises:
        BackupError: It has data, or a centre serves from it.
    """
    is_file = config.database_url.startswith("sqlite")
    if is_file and not sqlite_path(config.database_url).exists():
        return Occupancy(has_tables=False, has_data=False, served_by=0)
    database = Database.open(config.database_url, config.database_password)
    try:
        found = await occupancy_of(database)
    finally:
        await database.close()
    if found.served_by:
        raise BackupError(
            f"a centre serves from this database ({found.served_by} writers or connections): stop"
            " it first; of one that was killed the leases end within a minute"
        )
    if is_file:
        with held_alone(sqlite_path(config.database_url)):
            pass
    if found.has_data and not replaces:
        raise BackupError(
            "this database has data: nothing was changed; --replace puts the backup in its place"
        )
    return found


async def restore(
    config: Config, folder: Path, manifest: Manifest, actor: Actor, *, jobs: int, tell: Tell
) -> Verified:
    """Put a backup in the database's place, if its ledger is as it was written.

    On SQLite a ledger that is not never gets there; on PostgreSQL it is there, and no centre may
    serve from it.

    Raises:
        BackupError: It can't be put there.
        StoreError: The database failed.
    """
    wish = Wish(digests=(manifest.ledger,), jobs=jobs)
    note = audit(
        actor,
        "restore",
        f"backup of {manifest.made_time_ms}",
        f"{manifest.ledger.entries_count} numbers, SHA-256 {manifest.files[0].sha256}",
    )
    if manifest.dialect == "sqlite":
        return await _restore_file(config, folder, manifest, wish, note, tell)
    environment = libpq_environment(config.database_url, config.database_password)
    tables = table_names()
    await asyncio.to_thread(
        load,
        environment,
        folder / manifest.data_file,
        tables=tables,
        on_table=lambda done: tell("restore 恢复", done, len(tables)),
    )
    return await _verify(config.database_url, config.database_password, wish, note, tell)


async def _restore_file(
    config: Config, folder: Path, manifest: Manifest, wish: Wish, note: Query, tell: Tell
) -> Verified:
    target = sqlite_path(config.database_url)
    beside = backup_sqlite.copy_beside(folder / manifest.data_file, target)
    try:
        verified = await _verify(f"sqlite:///{beside}", "", wish, note, tell)
        if not verified.findings.count:
            backup_sqlite.put_in_place(beside, target)
    finally:
        backup_sqlite.discard(beside)
    return verified


async def _verify(url: str, password: str, wish: Wish, note: Query, tell: Tell) -> Verified:
    """Verify what was restored; where it is as written, note the restore, and free its slots."""
    await migrate(url, password)
    verified = await verify(url, password, wish, lambda done, total: tell(_VERIFY, done, total))
    if not verified.findings.count:
        database = Database.open(url, password)
        await database.start()
        await database.execute(note, FREE_SLOTS())
        await database.close()
    return verified
