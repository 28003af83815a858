"""Backup under load, restored elsewhere: what was acknowledged before is there, verified."""

import asyncio
import shutil
import sqlite3
import stat
import threading
from pathlib import Path
from random import Random

import pytest
from msgspec import json
from sqlalchemy import Connection, make_url, text

from cardserver.backup_postgresql import dump, load
from cardserver.backup_store import libpq_environment, read_with_snapshot, table_names
from cardserver.config import load_config
from cardserver.migrations.schema import is_current, migrate, upgrade
from ledger.bulk_store import plain
from ledger.database_store import Database
from ledger.store_errors import StoreError
from protocol.terminal.messages import StatusState
from simulators.centre_process import CentreProcess, City, Commanded, command
from simulators.counter import Cashier
from simulators.postgres import PostgreSQLCluster
from tests.cardserver.test_kill import Ground, audited_run, enrol_terminals
from tests.cities import CopyOnPostgreSQL

SEED = 51
FINAL = {StatusState.SETTLED, StatusState.REFUSED, StatusState.UNDONE, StatusState.TOMBSTONED}
SECRETS = ("key", "passphrase", "secret", "operators", "token")


async def run_command(city: City, name: str, *arguments: str) -> Commanded:
    return await command(
        "cardserver", name, "--config", str(city.config_file), *arguments, check=False
    )


async def empty_copy(city: City, folder: Path, database_url: str) -> City:
    """Make a centre of the same keys and configuration, with a database of its own."""
    copy = folder / "restored"
    shutil.copytree(
        city.directory, copy, ignore=shutil.ignore_patterns("*.db*", "serve.json", "serve.log")
    )
    if database_url:
        config = copy / "cardserver.toml"
        old = load_config(city.config_file).database.url
        config.write_text(
            config.read_text(encoding="utf-8").replace(old, database_url), encoding="utf-8"
        )
    return City(copy, city.population, city.password_file)


async def back_up_under_load_and_restore(ground: Ground, folder: Path, database_url: str) -> None:
    city = ground.city
    centre = CentreProcess(city.config_file)
    await centre.start()
    out = folder / "backup"
    try:
        run = audited_run(ground, centre, SEED)
        async with run.cashiers():
            await asyncio.sleep(1.0)
            acknowledged = [one for one in run.journal.attempts if one.ended]
            answered_before = len(acknowledged)
            done = await run_command(city, "backup", "--out", str(out))
            assert done.status == 0, done.errors
            went_on = sum(1 for one in run.journal.attempts if one.ended) - answered_before
            verified = await run_command(city, "verify-ledger", "--json")  # beside the centre
        assert verified.status == 0, verified.output
        assert answered_before > 10
        assert went_on > 0, "nothing was answered while the backup ran"
        assert await run.findings() == []
    finally:
        await centre.stop()
    check_folder(out)

    restored = await empty_copy(city, folder, database_url)
    done = await run_command(restored, "restore", str(out))
    assert done.status == 0, done.output + done.errors
    assert "as written" in done.output
    audited = await query(restored, "SELECT detail FROM audit WHERE action = 'restore'")
    assert len(audited) == 1
    assert "by " in str(audited[0][0])

    centre = CentreProcess(restored.config_file)
    await centre.start()
    try:
        # It knows every msgid that was acknowledged before the backup began, and serves.
        elsewhere = run.at_port(centre.port)
        for desk in {one.config.terminal.institution: one for one in elsewhere._desks}.values():
            mine = [
                one for one in acknowledged if one.institution == desk.config.terminal.institution
            ]
            async with Cashier(desk, run.journal, Random(SEED)) as cashier:
                found = await cashier.statuses(mine)
            assert mine
            assert {status.state for status in found.values()} <= FINAL
        async with elsewhere.cashiers():
            await asyncio.sleep(0.5)
    finally:
        await centre.stop()
    refused = await run_command(restored, "restore", str(out))
    assert refused.status == 1
    assert "has data" in refused.errors
    replaced = await run_command(restored, "restore", str(out), "--replace")
    assert replaced.status == 0, replaced.errors


def check_folder(out: Path) -> None:
    """The folder is its owner's alone, and holds no key."""
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    names = {path.name for path in out.iterdir()}
    assert names <= {"manifest.json", "cardserver.toml", "ledger.sqlite", "ledger.dump"}
    assert not any(secret in name for name in names for secret in SECRETS)
    manifest = json.decode((out / "manifest.json").read_bytes())
    assert {file["name"] for file in manifest["files"]} == names - {"manifest.json"}
    assert manifest["ledger"]["slots"]


async def query(city: City, sql: str) -> list[tuple[object, ...]]:
    config = load_config(city.config_file)
    database = Database.open(config.database_url)
    await database.start()
    try:
        return await database.fetch(plain("test", postgresql=sql, sqlite=sql)())
    finally:
        await database.close()


@pytest.mark.timeout(240)
async def test_a_backup_of_sqlite_under_load_is_restored_elsewhere(
    city: City, tmp_path: Path
) -> None:
    ground = await enrol_terminals(city, tmp_path)
    await back_up_under_load_and_restore(ground, tmp_path, "")


@pytest.mark.timeout(240)
async def test_a_backup_of_postgresql_under_load_is_restored_elsewhere(
    postgres_cluster: PostgreSQLCluster, copy_on_postgresql: CopyOnPostgreSQL, tmp_path: Path
) -> None:
    ground = await enrol_terminals(copy_on_postgresql(tmp_path, "backed_up"), tmp_path)
    elsewhere = postgres_cluster.create_database("restored")
    await back_up_under_load_and_restore(ground, tmp_path, elsewhere)


# --- what is refused -----------------------------------------------------------------------------


async def backed_up(city: City, out: Path) -> Path:
    done = await run_command(city, "backup", "--out", str(out))
    assert done.status == 0, done.errors
    return out


async def test_a_backup_that_was_changed_is_refused(city: City, tmp_path: Path) -> None:
    out = await backed_up(city, tmp_path / "backup")
    file = out / "ledger.sqlite"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    restored = await empty_copy(city, tmp_path, "")
    done = await run_command(restored, "restore", str(out))
    assert done.status == 1
    assert "is not as it was backed up" in done.errors
    assert not (restored.directory / "cardserver.db").exists()


async def test_a_backup_of_a_ledger_that_was_tampered_with_never_becomes_the_database(
    city: City, tmp_path: Path
) -> None:
    await execute(city, "UPDATE account_balance SET balance_fen = balance_fen + 1")
    out = await backed_up(city, tmp_path / "backup")
    restored = await empty_copy(city, tmp_path, "")
    done = await run_command(restored, "restore", str(out))
    assert done.status == 1
    assert "first row that differs" in done.output
    assert "account_balance" in done.output
    assert [path.name for path in restored.directory.glob("*.db*")] == []


async def test_a_centre_that_serves_is_not_restored_into(
    city: City, centre: CentreProcess, tmp_path: Path
) -> None:
    assert centre.port
    out = await backed_up(city, tmp_path / "backup")
    done = await run_command(city, "restore", str(out), "--replace")
    assert done.status == 1
    assert "stop it first" in done.errors


async def test_an_idle_centre_on_sqlite_is_not_restored_into(
    city: City, centre: CentreProcess, tmp_path: Path
) -> None:
    """Its lease has run out, as nobody settled for half a minute; it goes on all the same."""
    assert centre.port
    out = await backed_up(city, tmp_path / "backup")
    await execute(city, "UPDATE writer_slot SET lease_until_ms = 1 WHERE owner <> ''")
    done = await run_command(city, "restore", str(out), "--replace")
    assert done.status == 1
    assert "is open elsewhere: stop the centre" in done.errors
    assert list(city.directory.glob("*.replaced-*")) == []


@pytest.mark.timeout(240)
async def test_an_idle_centre_on_postgresql_is_not_restored_into(
    copy_on_postgresql: CopyOnPostgreSQL, tmp_path: Path
) -> None:
    city = copy_on_postgresql(tmp_path, "idle")
    out = await backed_up(city, tmp_path / "backup")
    centre = CentreProcess(city.config_file)
    await centre.start()
    try:
        await execute(city, "UPDATE writer_slot SET lease_until_ms = 1 WHERE owner <> ''")
        done = await run_command(city, "restore", str(out), "--replace")
        assert done.status == 1
        assert "stop it first" in done.errors
    finally:
        assert await centre.stop() == 0
    done = await run_command(city, "restore", str(out), "--replace")
    assert done.status == 0, done.errors


@pytest.mark.timeout(240)
@pytest.mark.parametrize("revision", ["0012", "0014"])
async def test_a_backup_of_an_older_schema_goes_into_a_newer_database(
    postgres_cluster: PostgreSQLCluster, tmp_path: Path, revision: str
) -> None:
    """The program was upgraded, something is wrong, and the backup of before is to come back."""
    older = postgres_cluster.create_database(f"older{revision}")
    newer = postgres_cluster.create_database(f"newer{revision}")
    dumped = tmp_path / "ledger.dump"

    def copy(connection: Connection) -> None:
        snapshot = connection.execute(text("SELECT pg_export_snapshot()")).scalar_one()
        dump(libpq_environment(older, ""), dumped, snapshot=snapshot, on_table=lambda _: None)

    database = Database.open(older)
    await database.administer(lambda connection: upgrade(connection, revision))
    await database.report(copy)
    await database.close()
    await migrate(newer)
    load(libpq_environment(newer, ""), dumped, tables=table_names(), on_table=lambda _: None)
    await migrate(newer)
    database = Database.open(newer)
    assert await database.report(is_current)
    await database.close()


async def test_no_part_of_a_month_is_replaced_under_a_backup(
    postgres_cluster: PostgreSQLCluster,
) -> None:
    """What replaces it was written after the snapshot, so that the month would be copied empty."""
    url = postgres_cluster.create_database("backed_up_beside")
    await migrate(url)
    went_on: list[bool] = []

    def take_alone(connection: Connection) -> None:
        connection.execute(text("SET LOCAL lock_timeout = 200"))
        connection.execute(text("LOCK TABLE request IN ACCESS EXCLUSIVE MODE"))

    def copy(_snapshot: str) -> None:
        def run() -> None:
            with pytest.raises(StoreError, match="lock timeout"):
                asyncio.run(Database.open(url).administer(take_alone))
            went_on.append(True)

        other = threading.Thread(target=run)
        other.start()
        other.join()

    database = Database.open(url)
    await database.report(
        lambda connection: read_with_snapshot(connection, copy, fund="", day=20261121, now_ms=0)
    )
    await database.close()
    assert went_on


async def test_a_damaged_file_is_replaced_where_that_is_asked_for(
    city: City, tmp_path: Path
) -> None:
    out = await backed_up(city, tmp_path / "backup")
    damaged = b"no database any more" * 1000
    (city.directory / "cardserver.db").write_bytes(damaged)
    refused = await run_command(city, "restore", str(out))
    assert refused.status == 1
    assert "--replace" in refused.errors
    assert "Traceback" not in refused.errors
    done = await run_command(city, "restore", str(out), "--replace")
    assert done.status == 0, done.output + done.errors
    (aside,) = city.directory.glob("cardserver.db.replaced-*")
    assert aside.read_bytes() == damaged


async def test_a_log_that_is_left_of_a_database_is_not_played_into_the_restored_one(
    city: City, tmp_path: Path
) -> None:
    out = await backed_up(city, tmp_path / "backup")
    file = city.directory / "cardserver.db"
    writing = sqlite3.connect(file, isolation_level=None)
    writing.execute("PRAGMA journal_mode = WAL")
    writing.execute("UPDATE person SET name = '改'")
    log = file.with_name("cardserver.db-wal").read_bytes()
    writing.close()
    file.unlink()
    file.with_name("cardserver.db-wal").write_bytes(log)  # as after a crash
    done = await run_command(city, "restore", str(out))
    assert done.status == 0, done.output + done.errors
    assert await query(city, "SELECT count(*) FROM person WHERE name = '改'") == [(0,)]


async def test_a_backup_goes_into_a_new_folder_and_another_database_is_refused(
    city: City, tmp_path: Path, postgres_cluster: PostgreSQLCluster
) -> None:
    out = await backed_up(city, tmp_path / "backup")
    done = await run_command(city, "backup", "--out", str(out))
    assert done.status == 1
    assert "exists" in done.errors
    other = await empty_copy(city, tmp_path, postgres_cluster.create_database("other_kind"))
    done = await run_command(other, "restore", str(out))
    assert done.status == 1
    assert "is of sqlite" in done.errors


async def test_the_database_that_is_replaced_is_kept_aside(city: City, tmp_path: Path) -> None:
    out = await backed_up(city, tmp_path / "backup")
    await execute(city, "UPDATE person SET name = '改'")
    done = await run_command(city, "restore", str(out), "--replace", "--by", "f001")
    assert done.status == 0, done.errors
    assert await query(city, "SELECT count(*) FROM person WHERE name = '改'") == [(0,)]
    (aside,) = city.directory.glob("cardserver.db.replaced-*")
    assert make_url(load_config(city.config_file).database_url).database != str(aside)
    ((operator_no, detail),) = await query(
        city, "SELECT operator_no, detail FROM audit WHERE action = 'restore'"
    )
    assert operator_no
    assert "SHA-256" in str(detail)


async def execute(city: City, sql: str) -> None:
    database = Database.open(load_config(city.config_file).database_url)
    await database.start()
    await database.execute(plain("hand", postgresql=sql, sqlite=sql)())
    await database.close()
