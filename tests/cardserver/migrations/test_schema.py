"""The steps of the schema's history lead to the tables that the code uses."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, inspect, text
from typer.testing import CliRunner

from cardserver.audit_desk import find, verify_audit
from cardserver.catalogue.catalogue import Catalogue
from cardserver.catalogue.catalogue_store import CATALOGUE, catch_up
from cardserver.claims.audit_search_store import AuditQuery
from cardserver.cli import app
from cardserver.config import load_config
from cardserver.migrations import schema
from cardserver.migrations.revision_store import revisions
from cardserver.migrations.schema import is_current, upgrade
from cardserver.migrations.tables import METADATAS
from cardserver.registry import tables
from cardserver.registry.revocation_store import card_subject, changes_since
from cardserver.registry.values import RevocationReason
from ledger.bulk_store import plain
from ledger.database_store import Database
from ledger.ledger_store import RequestKey, read_drafts, read_requests
from ledger.partitions_store import list_parts, monthly
from simulators.postgres import PostgreSQLCluster
from tests.cardserver.claims.books import config_for


class BrokenOffError(Exception):
    """As a power cut would."""


def differences(connection: Connection) -> list[object]:
    divided = monthly(table for one in METADATAS for table in one.tables.values())
    parts = {part.name for part in list_parts(connection, divided)}
    context = MigrationContext.configure(
        connection,
        opts={
            "target_metadata": list(METADATAS),
            "compare_type": True,
            "include_name": lambda name, _type, _parents: name not in parts,
        },
    )
    return list(compare_metadata(context, list(METADATAS)))


async def test_the_migrated_schema_is_the_one_that_the_code_uses(database: Database) -> None:
    assert await database.administer(differences) == []
    assert await database.administer(is_current)


async def test_to_migrate_again_changes_nothing(database: Database) -> None:
    await database.administer(upgrade)
    assert await database.administer(differences) == []


async def test_an_upgrade_that_is_broken_off_leaves_nothing_and_may_be_done_again(
    postgres_cluster: PostgreSQLCluster, tmp_path: Path
) -> None:
    def broken_off(connection: Connection) -> None:
        statements = 0

        def count(*_: object) -> None:
            nonlocal statements
            statements += 1
            if statements == 60:
                raise BrokenOffError

        event.listen(connection, "before_cursor_execute", count)
        upgrade(connection)

    urls = (f"sqlite:///{tmp_path / 'new.db'}", postgres_cluster.create_database("broken_off"))
    for url in urls:
        database = Database.open(url)
        with pytest.raises(BrokenOffError):
            await database.administer(broken_off)
        assert await database.administer(lambda one: inspect(one).get_table_names()) == []
        await database.administer(upgrade)
        assert await database.administer(is_current)
        await database.close()


def test_the_steps_are_found_without_alembic_too() -> None:
    steps = ScriptDirectory.from_config(schema._config()).walk_revisions()
    assert revisions() == [step.revision for step in steps][::-1]


def test_a_database_of_another_release_is_not_served_and_is_brought_up_to_date(
    tmp_path: Path,
) -> None:
    config_file = config_for(f"sqlite:///{tmp_path / 'old.db'}", tmp_path)

    async def prepare(statement: str) -> None:
        database = Database.open(load_config(config_file).database_url)
        await database.administer(lambda connection: upgrade(connection, "0014"))
        if statement:
            await database.administer(lambda connection: connection.execute(text(statement)))
        await database.close()

    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, [*words, "--config", str(config_file)])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    asyncio.run(prepare(""))
    for command_name in ("serve", "verify-ledger"):
        status, printed = run(command_name)
        assert status == 1
        assert "has schema 0014, not this release's: `cardserver storage migrate`" in printed
    status, printed = run("storage", "migrate")
    assert status == 0
    assert "was 0014" in printed
    assert run("verify-ledger")[0] == 0
    assert "as it was" in run("storage", "migrate")[1]
    asyncio.run(prepare("UPDATE alembic_version SET version_num = '9999'"))
    for words in (("verify-ledger",), ("storage", "migrate")):
        status, printed = run(*words)
        assert status == 1
        assert "which a later release made" in printed


async def test_an_empty_database_is_not_current(postgres_cluster: PostgreSQLCluster) -> None:
    database = Database.open(postgres_cluster.create_database("not_migrated"))
    assert not await database.administer(is_current)
    await database.close()


async def test_what_was_revoked_before_there_was_a_list_is_its_first_version(
    postgres_cluster: PostgreSQLCluster, tmp_path: Path
) -> None:
    identity = bytes.fromhex("8697159900BF7C7A")

    def fill(connection: Connection) -> None:
        config = schema._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for number, state, deceased_date in ((1, 1, None), (2, 2, None), (3, 1, 20260101)):
            connection.execute(
                tables.person.insert().values(
                    person_no=number, id_number=str(number), name="张三", sex=1,
                    birth_date=19811010, deceased_date=deceased_date, family_no=0, employer_no=0,
                )
            )  # fmt: skip
            connection.execute(
                tables.card.insert().values(
                    card_no=number, profile="social_security_card", identity=identity,
                    region=f"63990{number}", card_number=str(number), card_id=b"", person_no=number,
                    version="1.00", algorithm=1, card_class="3", issuer=b"", begins=20200101,
                    ends=20991231, state=state,
                )
            )  # fmt: skip

    for url in (f"sqlite:///{tmp_path}/old.db", postgres_cluster.create_database("old")):
        database = Database.open(url)
        await database.administer(fill)
        await database.administer(upgrade)
        assert await database.administer(differences) == []
        await database.start()
        pages = [page async for page in changes_since(database, 0)]
        await database.close()
        ((version, changes),) = pages
        assert version == 1
        assert sorted((one.card_no, one.reason) for one in changes) == [
            (2, RevocationReason.LOST), (3, RevocationReason.DECEASED),
        ]  # fmt: skip
        assert {one.subject for one in changes} == {
            card_subject("social_security_card", f"63990{number}", identity) for number in (2, 3)
        }


async def test_a_catalogue_without_versions_is_its_first_version(
    postgres_cluster: PostgreSQLCluster, tmp_path: Path
) -> None:
    def fill(connection: Connection) -> None:
        config = schema._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        connection.execute(
            text(
                "INSERT INTO catalogue_item VALUES"
                " ('D0000001', 20200101, 20251231, '药', 2, 1000, 12500000),"
                " ('D0000001', 20260101, 99991231, '药', 1, 0, NULL),"
                " ('S0000002', 20200101, 99991231, '服务', 3, 10000, NULL),"
                " ('M0000003', 20200101, 99991231, '材料', 1, 0, NULL)"
            )
        )

    for url in (f"sqlite:///{tmp_path}/old.db", postgres_cluster.create_database("unversioned")):
        database = Database.open(url)
        await database.administer(fill)
        await database.administer(upgrade)
        assert await database.administer(differences) == []
        await database.start()
        catalogue = await catch_up(database, Catalogue())
        versions = await CATALOGUE.versions(database)
        await database.close()
        assert [(one.version, one.added) for one in versions] == [(1, 4)]
        assert (catalogue.version, len(catalogue)) == (1, 3)
        found = catalogue.find("D0000001", level=2, day=20251231)
        assert found is not None
        assert (found.item_class, found.price_limit_microyuan, found.kind) == (2, 12_500_000, 1)
        for item, kind in (("D0000001", 1), ("S0000002", 2), ("M0000003", 3)):
            found = catalogue.find(item, level=0, day=20260101)
            assert found is not None
            assert found.kind == kind


async def test_an_empty_catalogue_has_no_version(database: Database) -> None:
    assert await CATALOGUE.versions(database) == []
    assert (await catch_up(database, Catalogue())).version == 0


async def test_an_audit_of_before_is_sealed_as_it_was_found(
    postgres_cluster: PostgreSQLCluster, tmp_path: Path
) -> None:
    def fill(connection: Connection) -> None:
        config = schema._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0013")
        connection.execute(
            text(
                "INSERT INTO audit (recorded_time_ms, institution_no, terminal_no, operator_no,"
                " action, subject, detail) VALUES (:time, 1, 2, 3, 'settle', :subject, '原因')"
            ),
            [{"time": number, "subject": str(number)} for number in range(1201)],
        )

    for url in (f"sqlite:///{tmp_path}/audit.db", postgres_cluster.create_database("unsealed")):
        database = Database.open(url)
        await database.administer(fill)
        await database.administer(upgrade)
        assert await database.administer(differences) == []
        await database.start()
        findings = await verify_audit(database)
        rows = await find(database, AuditQuery(limit=2000))
        await database.close()
        assert (findings.count, findings.rows["audit"], findings.rows["seal"]) == (0, 1201, 3)
        assert [row.subject for row in rows] == [str(number) for number in range(1201)]
        assert {row.detail for row in rows} == {"原因"}


async def test_tables_that_were_whole_become_the_first_part(
    postgres_cluster: PostgreSQLCluster,
) -> None:
    """What was posted before is not copied, is found as ever, and verifies."""
    url = postgres_cluster.create_database("whole")
    database = Database.open(url)
    await database.administer(upgrade_to("0012"))
    first = 1 << 40
    at = "202611, 20261101, 1, 11"
    outcome = "9, '', 0, '', NULL, 20261101, 1, 0"

    def fill(connection: Connection) -> None:
        for row in (
            f"entry VALUES ({first + 1}, 0, 2, {at}, NULL, 1)",
            f"entry VALUES ({first + 2}, 0, 3, {at}, {first + 1}, 1)",
            f"posting VALUES ({first + 1}, 1, 5010, 310, 5)",
            f"posting VALUES ({first + 1}, 2, 2010, 1, -5)",
            f"request VALUES (202611, 1, 1, 'm', {outcome})",
            f"request VALUES (209912, 1, 1, 'late clock', {outcome})",
        ):
            connection.execute(text(f"INSERT INTO {row}"))

    await database.administer(fill)
    await database.administer(upgrade)
    await database.start()
    try:
        assert await database.administer(differences) == []
        drafts = await database.fetch_script(read_drafts([first + 1, first + 2]))
        assert [len(drafts[number].postings) for number in sorted(drafts)] == [2, 0]
        keys = [RequestKey(202611, 1, 1, "m"), RequestKey(209912, 1, 1, "late clock")]
        assert (await database.fetch_script(read_requests(keys))).keys() == set(keys)
        divided = monthly(table for one in METADATAS for table in one.tables.values())
        parts = {
            part.name: part.bounds
            for part in await database.report(lambda connection: list_parts(connection, divided))
        }
        assert parts["entry_before"] == f"FOR VALUES FROM (MINVALUE) TO ('{1 << 48}')"
        assert parts["request_other"] == "DEFAULT"
        assert "claim_before" not in parts  # nothing was in it
        undoing = plain("u", postgresql="SELECT * FROM undoing", sqlite="SELECT * FROM undoing")
        assert await database.fetch(undoing()) == [(first + 1, first + 2)]
    finally:
        await database.close()


def upgrade_to(revision: str) -> Callable[[Connection], None]:
    def run(connection: Connection) -> None:
        config = schema._config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    return run
