"""The database: whether it answers, is safe, is of this release, and shares our clock."""

import time

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from cardserver.config import Config, ConfigError
from cardserver.doctor.findings import Finding, fault, fine, warning
from cardserver.doctor.machine import check_skew
from cardserver.migrations.schema import is_current, is_known, revision_of
from cardserver.storage.parts_store import DIVIDED, read_parts
from ledger.calendar import business_date
from ledger.database_store import Database
from ledger.partitions_store import months_from, part_name
from ledger.store_errors import StoreError, UnsafeDatabaseError

_CONNECTIONS_BESIDE = 10
"""Connections that backups, people and commands need beside a worker's."""


async def check_database(config: Config) -> list[Finding]:
    """Look at the database, as far as it lets us."""
    try:
        database = Database.open(config.database_url, config.database_password)
    except (ConfigError, ValueError, SQLAlchemyError) as error:
        return [_unusable(str(error))]
    try:
        await database.start()
    except UnsafeDatabaseError as error:
        await database.close()
        return [
            fault(
                "database-settings",
                (f"数据库设置可能丢失已应答的交易：{error}", str(error)),
                (f"改正 {error.setting} 后再启动", f"set {error.setting} right, then start"),
            )
        ]
    except (OSError, StoreError) as error:
        await database.close()
        return [_unusable(str(error))]
    try:
        return await _examine(database, config)
    except (OSError, StoreError, SQLAlchemyError) as error:
        return [_unusable(str(error))]
    finally:
        await database.close()


async def _examine(database: Database, config: Config) -> list[Finding]:
    found = [
        fine("database", ("数据库可用", "the database answers")),
        fine("database-settings", ("设置安全", "its settings lose nothing that was answered")),
    ]
    revision = await database.administer(revision_of)
    if not await database.administer(is_current):
        return [*found, _of_another_release(revision)]
    found.append(fine("migrations", (f"结构版本 {revision}", f"the schema is {revision}")))
    if database.dialect == "postgresql":
        found.append(await _check_clock(database))
        found.append(await database.report(lambda connection: _check_room(connection, config)))
        found.append(await _check_parts(database, config))
    return found


def _of_another_release(revision: str) -> Finding:
    if revision and not is_known(revision):
        return fault(
            "migrations",
            (f"结构 {revision} 属于更新的版本", f"the schema {revision} is a newer release's"),
            ("使用相应版本的程序", "run the release that made it"),
        )
    return fault(
        "migrations",
        (
            f"数据库结构 {revision or '为空'}，不是本版本的",
            f"the schema is {revision or 'empty'}, not this release's",
        ),
        (
            "先备份，再执行 cardserver storage migrate 升级结构",
            "back it up, then `cardserver storage migrate` brings it up to date",
        ),
    )


async def _check_clock(database: Database) -> Finding:
    def read(connection: Connection) -> float:
        began_s = time.time()
        theirs_s = connection.execute(
            text("SELECT CAST(extract(epoch FROM clock_timestamp()) AS double precision)")
        ).scalar_one()
        return ((began_s + time.time()) / 2 - float(theirs_s)) * 1000

    skew_ms = await database.report(read)
    return check_skew("clock-database", skew_ms, ("数据库时钟", "the database's clock"))


def _check_room(connection: Connection, config: Config) -> Finding:
    limit = int(connection.execute(text("SHOW max_connections")).scalar_one())
    used = int(connection.execute(text("SELECT count(*) FROM pg_stat_activity")).scalar_one())
    needed = config.database.pool_size_max + _CONNECTIONS_BESIDE
    told = (f"连接 {used}/{limit}", f"{used} of {limit} connections are used")
    if limit - used < needed:
        return warning(
            "database-connections",
            told,
            (
                "调高 max_connections，或减少工作进程与 pool_size_max",
                "raise max_connections, or have fewer workers or a lower pool_size_max",
            ),
        )
    return fine("database-connections", told)


async def _check_parts(database: Database, config: Config) -> Finding:
    month = business_date(time.time_ns() // 1_000_000, config.timezone) // 100
    there = {part.name for part in await read_parts(database)}
    missing = [
        name
        for of in months_from(month, 1)
        for table in DIVIDED
        if (name := part_name(str(table.name), of)) not in there
    ]
    if missing:
        return warning(
            "storage-months",
            (
                f"缺少本月分区：{', '.join(missing)}",
                f"this month lacks parts: {', '.join(missing)}",
            ),
            (
                "运行中的中心每小时补建；若持续，请查日志",
                "a running centre makes them within the hour; if not, its log says why",
            ),
        )
    return fine("storage-months", ("本月分区齐备", "this month's parts are there"))


def _unusable(why: str) -> Finding:
    return fault(
        "database",
        (f"数据库不可用：{why}", f"the database can't be used: {why}"),
        (
            "检查服务、地址、口令与文件权限",
            "check that it runs, its address and password, and who may read the file",
        ),
    )
