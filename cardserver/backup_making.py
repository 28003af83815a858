"""Make a backup of either database while a centre serves from it."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

from cardserver import backup, backup_sqlite
from cardserver.backup import Manifest
from cardserver.backup_postgresql import dump
from cardserver.backup_store import (
    Content,
    libpq_environment,
    read_content,
    read_with_snapshot,
    sqlite_path,
    table_names,
)
from cardserver.config import Config
from ledger.calendar import business_date
from ledger.database_store import Database

# Told what is done, how much of it, and of how much.
Tell = Callable[[str, int, int], None]


async def make_backup(config: Config, config_file: Path, folder: Path, tell: Tell) -> Manifest:
    """Back up into a new folder, which gets its name once it is whole.

    Raises:
        BackupError: It can't be made; nothing is left.
        StoreError: The database can't be read; nothing is left.
    """
    part = backup.begin_folder(folder)
    try:
        now_ms = backup.now_ms()
        database = Database.open(config.database_url, config.database_password)
        copy = _copy_sqlite if database.dialect == "sqlite" else _copy_postgresql
        content = await copy(config, database, part, now_ms, tell)
        backup.take_configuration(config_file, part)
        name = backup.SQLITE_FILE if database.dialect == "sqlite" else backup.POSTGRESQL_FILE
        files = [
            backup.describe(part / one, lambda done, total: tell("hash 摘要", done, total))
            for one in (name, backup.CONFIGURATION)
        ]
        manifest = Manifest(
            format=backup.FORMAT,
            dialect=database.dialect,
            schema=content.schema,
            made_time_ms=now_ms,
            ledger=content.ledger,
            files=tuple(files),
        )
        backup.finish_folder(part, folder, manifest)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return manifest


async def _copy_sqlite(
    config: Config, database: Database, part: Path, now_ms: int, tell: Tell
) -> Content:
    await database.close()  # it is copied by its file
    target = part / backup.SQLITE_FILE
    await asyncio.to_thread(
        backup_sqlite.copy_database,
        sqlite_path(config.database_url),
        target,
        lambda done, total: tell("copy 复制", done, total),
    )
    copied = Database.open(f"sqlite:///{target}")
    try:
        return await copied.report(
            lambda connection: read_content(
                connection,
                fund=config.fund.name_en,
                day=business_date(now_ms, config.timezone),
                now_ms=now_ms,
            )
        )
    finally:
        await copied.close()


async def _copy_postgresql(
    config: Config, database: Database, part: Path, now_ms: int, tell: Tell
) -> Content:
    environment = libpq_environment(config.database_url, config.database_password)
    tables = len(table_names())

    def copy(snapshot: str) -> None:
        dump(
            environment,
            part / backup.POSTGRESQL_FILE,
            snapshot=snapshot,
            on_table=lambda done: tell("dump 导出", done, tables),
        )

    try:
        return await database.report(
            lambda connection: read_with_snapshot(
                connection,
                copy,
                fund=config.fund.name_en,
                day=business_date(now_ms, config.timezone),
                now_ms=now_ms,
            )
        )
    finally:
        await database.close()
