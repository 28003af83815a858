"""A small ledger with a bit of everything, made once for each database and copied for each test."""

import asyncio
import datetime as dt
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, make_url, text
from typer.testing import CliRunner

from cardserver.claims.accumulators_store import open_accumulators
from cardserver.claims.claims_store import claims_participants
from cardserver.claims.values import ClaimsWriter, Rules
from cardserver.cli import app
from cardserver.config import load_config
from cardserver.migrations.tables import METADATAS
from ledger.balances_store import make_snapshots
from ledger.bulk_store import Row, plain
from ledger.database_store import Database
from ledger.writer import GroupWriter
from tests.cardserver.claims.fund import (
    PERSON,
    RETIRED,
    SHANGHAI,
    Counter,
    TestClock,
    bill,
    fill,
    open_personal_accounts,
)

CONFIGURATION = """
[fund]
name_zh = "清河医保中心"
name_en = "Qinghe Medical Insurance Fund"
region = "110199"
[listener]
certificate_file = "server.crt"
key_file = "server.key"
terminal_ca_file = "authority.crt"
[database]
url = "{url}"
[cards]
keys_directory = "card-keys"
keys_passphrase_file = "card-keys.passphrase"
session_secret_file = "session.secret"
[digest]
key_file = "digest.key"
"""


@dataclass(frozen=True)
class Numbers:
    """The entries that tests talk of.

    Attributes:
        settled: A settlement that the pool, a personal account and cash pay.
        cash: One that cash pays alone.
        undone: One that was cancelled.
        cancel: What cancelled it.
        reverse: What reversed another one.
        later: A settlement of the month after.
    """

    settled: int
    cash: int
    undone: int
    cancel: int
    reverse: int
    later: int

    @property
    def slot(self) -> int:
        return self.settled >> 40

    def sequence(self, entry_no: int) -> int:
        return entry_no - (self.slot << 40)


@dataclass(frozen=True)
class Books:
    """A ledger of a test's own, and the commands that look at it."""

    config_file: Path
    numbers: Numbers

    @property
    def url(self) -> str:
        return load_config(self.config_file).database_url

    @property
    def dialect(self) -> str:
        return make_url(self.url).get_backend_name()

    def query(self, sql: str, row: Row = ()) -> list[Row]:
        """Run a statement as a hand would; `$1` are its parameters."""

        async def run() -> list[Row]:
            database = Database.open(self.url)
            await database.start()
            try:
                statement = plain("hand", postgresql=sql, sqlite=sql.replace("$", "?"))
                (rows,) = await database.execute(statement([row] if row else []))
                return rows
            finally:
                await database.close()

        return asyncio.run(run())

    def command(self, name: str, *arguments: str) -> tuple[int, str]:
        """Run a command of the centre on it."""
        words = [*name.split(), "--config", str(self.config_file), *arguments]
        done = CliRunner().invoke(app, words)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output


async def make_books(url: str, rules: Rules) -> Numbers:
    """Settle, refuse, cancel, reverse, print; close November; settle in December."""
    clock = TestClock()
    database = Database.open(url)
    await database.start()
    await fill(database)
    await open_personal_accounts(database, {PERSON: 900_000, RETIRED: 600_000}, clock)
    await database.transact(
        lambda: open_accumulators(
            [(PERSON, 2026, "310", "outpatient", 20_000, 30_000, 5_000, 0, 0)]
        )
    )
    writer: ClaimsWriter = GroupWriter(
        database, claims_participants(), clock=clock, timezone=SHANGHAI
    )
    await writer.start()
    counter = Counter(writer, database, rules, clock)
    settled = await counter.settle(bill(("A1", 300_000), ("B1", 12_345)))
    cash, *_ = await asyncio.gather(
        counter.settle(bill(("X", 700), uses_account=False), RETIRED),
        counter.settle(bill(("A1", 90_000)), RETIRED),
    )
    await counter.settle(bill(("A1", 50_000)), shown=(1, 2, 3))  # refused: SPLIT_CHANGED
    undone = await counter.settle(bill(("A1", 40_000)))
    cancel = await counter.cancel(str(undone.entry_no))
    msgid = counter.msgid()
    await counter.settle(bill(("B1", 60_000)), RETIRED, msgid=msgid)
    reverse = await counter.reverse(msgid)
    await counter.reverse(counter.msgid())  # leaves a tombstone
    await counter.print_ack(str(settled.entry_no))
    clock.ms = int(dt.datetime(2026, 12, 3, 9, tzinfo=SHANGHAI).timestamp() * 1000)
    close = plain(
        "close",
        postgresql="INSERT INTO period VALUES (202611, 1, $1)",
        sqlite="INSERT INTO period VALUES (202611, 1, ?)",
    )
    await database.execute(close([(clock.ms - 1000,)]))
    assert await make_snapshots(database, clock, lambda _period, _rows: None) == [202611]
    later = await counter.settle(bill(("A1", 30_000)))
    numbers = await database.fetch(
        plain("undoing", postgresql="SELECT max(undoes) FROM entry",
              sqlite="SELECT max(undoes) FROM entry")()
    )  # fmt: skip
    assert numbers[0][0] != undone.entry_no
    await writer.stop()
    await database.close()
    outcomes = (settled, cash, undone, cancel, reverse, later)
    found = [outcome.entry_no for outcome in outcomes]
    assert None not in found, outcomes
    return Numbers(*(number or 0 for number in found))


def config_for(url: str, folder: Path) -> Path:
    """Write a configuration that names a database; no file of keys exists."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "cardserver.toml"
    file.write_text(CONFIGURATION.format(url=url), encoding="utf-8")
    return file


def copy_file(template: Path, folder: Path) -> str:
    """Copy a SQLite ledger; return its URL."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "cardserver.db"
    connection = sqlite3.connect(template)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    shutil.copyfile(template, target)
    return f"sqlite:///{target}"


def table_names() -> list[str]:
    """Name all tables of a centre."""
    return [str(name) for metadata in METADATAS for name in metadata.tables]


async def run_sql(url: str, *statements: str) -> None:
    """Run statements in one transaction."""
    database = Database.open(url)

    def run(connection: Connection) -> None:
        for statement in statements:
            connection.execute(text(statement))

    await database.administer(run)
    await database.close()
