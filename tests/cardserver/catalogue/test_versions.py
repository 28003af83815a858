"""Versions of lists on both databases: whatever is changed, whoever lacks whatever catches up."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from cardserver.catalogue import lists_store
from cardserver.catalogue.catalogue import Catalogue
from cardserver.catalogue.catalogue_store import CATALOGUE, MAPPING, catch_up
from cardserver.catalogue.columns import ITEMS, mapping_form
from cardserver.catalogue.list_import import (
    Imported,
    Source,
    import_items,
    import_mapping,
    present_rows,
)
from cardserver.catalogue.lists_store import ListBusyError
from cardserver.catalogue.pages_store import PositionError, item_page, mapping_page
from cardserver.catalogue.sheets import SheetRow
from cardserver.catalogue.tables import metadata
from cardserver.catalogue.values import FOREVER, CatalogueItem, CatalogueRow
from cardserver.registry.values import Actor
from ledger.bulk_store import plain
from ledger.calendar import SystemClock
from ledger.database_store import Database
from protocol.terminal.messages import ItemRow, ListDownload
from tests.cardserver.claims.fund import TestClock

HEADER = ("item", "begins", "ends", "name", "item_class", "self_pay_ratio", "price_limit",
          "price_limit_3", "is_struck")  # fmt: skip
DAYS = (20260101, 20260630, 20260701, 20270101, 20280101)


def source_of(lines: list[str], name: str = "made up") -> Source[CatalogueRow]:
    def rows() -> Iterator[SheetRow]:
        yield SheetRow(1, HEADER)
        for number, line in enumerate(lines, 2):
            yield SheetRow(number, tuple(line.split(",")))

    return Source(name, rows(), ITEMS)


async def bring(database: Database, *lines: str, name: str = "made up") -> Imported:
    clock = SystemClock()
    return await import_items(
        database, source_of(list(lines), name), Actor("tester", clock.now_ms()), clock
    )


def line(item: str, begins: int, ends: int, limit: int, struck: int) -> str:
    ratio = "0.1"
    own = f"{limit + 1}" if limit % 2 else ""
    return f"{item},{begins},{ends},药{limit},2,{ratio},{limit},{own},{struck}"


lines = st.builds(
    lambda item, begins, ends, limit, struck: line(item, begins, max(begins, ends), limit, struck),
    st.sampled_from(["XA01", "XB02", "0013010", "C01"]),
    st.sampled_from(DAYS),
    st.sampled_from([*DAYS, FOREVER, FOREVER]),
    st.integers(1, 5),
    st.sampled_from([0, 0, 0, 1]),
)
files = st.lists(st.lists(lines, min_size=1, max_size=6), min_size=1, max_size=5)


def everything_found(catalogue: Catalogue) -> list[CatalogueItem | None]:
    return [
        catalogue.find(item, level=level, day=day)
        for item in ("XA01", "XB02", "0013010", "C01")
        for level in range(4)
        for day in (20251231, *DAYS, 20991231)
    ]


async def downloaded(
    database: Database, held: dict[tuple[str, int], ItemRow], version: int, size_max: int
) -> tuple[dict[tuple[str, int], ItemRow], int]:
    """Take a terminal's copy of a version to the newest, page by page."""
    held = dict(held)
    after = b""
    while True:
        page = await item_page(
            database, ListDownload("catalogue", version, after, size_max), size_max
        )
        assert page.based_on == version
        for row in page.items:
            held.pop((row.item, row.begins), None)
            if not row.is_struck:
                held[row.item, row.begins] = row
        if page.is_last:
            return held, page.version
        after = page.next


async def check_every_way(database: Database, written: list[list[str]]) -> None:
    catalogues = [Catalogue()]
    copies: list[dict[tuple[str, int], ItemRow]] = [{}]
    for file in written:
        done = await bring(database, *file)
        again = await bring(database, *file)
        assert (again.added, again.changed, again.version) == (0, 0, done.version)
        if done.version == catalogues[-1].version:
            continue
        assert done.version == catalogues[-1].version + 1
        catalogues.append(await catch_up(database, catalogues[-1]))
        copy, version = await downloaded(database, copies[-1], done.version - 1, 60_000)
        assert version == done.version
        copies.append(copy)
    newest = catalogues[-1]
    rows = await present_rows(database, CATALOGUE)
    valid = [row for of in rows.values() for row in of.values() if not row.is_struck]
    expected = everything_found(Catalogue.of(valid))
    for catalogue in catalogues:
        reached = await catch_up(database, catalogue)
        assert reached.version == newest.version
        assert everything_found(reached) == expected
    for version, copy in enumerate(copies):
        for size_max in (1, 400, 60_000):  # a page a row, a few rows, all at once
            assert await downloaded(database, copy, version, size_max) == (
                copies[-1], newest.version,
            )  # fmt: skip
    assert set(copies[-1]) == {(row.item, row.begins) for row in valid}


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(written=files)
def test_deltas_from_any_version_give_the_whole_list(
    database_url: str, written: list[list[str]]
) -> None:
    async def run() -> None:
        database = Database.open(database_url)
        await database.administer(empty)
        await database.start()
        try:
            await check_every_way(database, written)
        finally:
            await database.close()

    asyncio.run(run())


def empty(connection: Connection) -> None:
    for table in metadata.tables.values():
        connection.execute(table.delete())


async def test_what_a_row_was_and_who_changed_it(database: Database) -> None:
    await bring(database, line("XA01", 20260101, FOREVER, 4, 0), name="first.csv")
    await bring(database, line("XA01", 20260101, FOREVER, 5, 0), name="second.csv")
    await bring(database, line("XA01", 20260101, FOREVER, 5, 1), name="third.csv")
    history = await CATALOGUE.history(database, "XA01")
    assert [(version, row.name, row.is_struck) for version, row in history] == [
        (1, "药4", 0), (2, "药5", 0), (3, "药5", 1),
    ]  # fmt: skip
    versions = await CATALOGUE.versions(database)
    assert [(one.version, one.actor, one.source, one.added, one.changed) for one in versions] == [
        (1, "tester", "first.csv", 1, 0),
        (2, "tester", "second.csv", 0, 1),
        (3, "tester", "third.csv", 0, 1),
    ]
    assert versions[0].made_time_ms <= versions[2].made_time_ms
    catalogue = await catch_up(database, Catalogue())
    assert (len(catalogue), catalogue.version) == (0, 3)


async def test_limits_by_level_and_by_day(database: Database) -> None:
    await bring(
        database,
        "XA01,20260101,20261231,药,2,0.1,12,15,0",
        "XA01,20270101,99991231,药,1,0,13,,0",
    )
    catalogue = await catch_up(database, Catalogue())

    def found(level: int, day: int) -> tuple[int, int | None] | None:
        item = catalogue.find("XA01", level=level, day=day)
        return item and (item.item_class, item.price_limit_microyuan)

    assert found(1, 20251231) is None
    assert [found(level, 20261231) for level in range(4)] == [
        (2, 12_000_000), (2, 12_000_000), (2, 12_000_000), (2, 15_000_000),
    ]  # fmt: skip
    assert found(3, 20270101) == (1, 13_000_000)


async def test_two_imports_at_once_make_two_versions(database: Database) -> None:
    done = await asyncio.gather(
        *(bring(database, line(f"XA0{n}", 20260101, FOREVER, n, 0)) for n in range(1, 4))
    )
    assert sorted(one.version for one in done) == [1, 2, 3]
    assert len(await catch_up(database, Catalogue())) == 3


async def test_what_was_never_published_is_never_seen(database: Database) -> None:
    await bring(database, line("XA01", 20260101, FOREVER, 1, 0))
    died = TestClock()
    died.ms = SystemClock().now_ms() - lists_store.CLAIM_LIFE_MS
    claim = await CATALOGUE.claim(database, died)
    await claim.add(
        [CatalogueRow(f"XZ{n:04}", 20260101, FOREVER, "药", 1, 0) for n in range(1_500)]
    )
    assert len(await catch_up(database, Catalogue())) == 1
    page = await item_page(database, ListDownload("catalogue", 0, b"", 0), 60_000)
    assert ([row.item for row in page.items], page.version) == (["XA01"], 1)
    assert await CATALOGUE.history(database, "XZ0001") == []
    # The next one removes it, and whoever comes back from the dead publishes nothing.
    done = await bring(database, line("XB02", 20260101, FOREVER, 1, 0))
    assert done.version == 2
    assert len(await catch_up(database, Catalogue())) == 2
    with pytest.raises(ListBusyError):
        await claim.publish(Actor("ghost", 0), "ghost.csv", added=1_500, changed=0)
    with pytest.raises(ListBusyError):
        await claim.add([CatalogueRow("XZ9999", 20260101, FOREVER, "药", 1, 0)])


async def test_who_waits_for_another_import_gives_up(database: Database) -> None:
    class Hasty(SystemClock):
        def monotonic_ms(self) -> int:
            return next(ticks)

    ticks = iter((0, 10**9))
    claim = await CATALOGUE.claim(database, SystemClock())
    with pytest.raises(ListBusyError, match="another import"):
        await CATALOGUE.claim(database, Hasty())
    await claim.release()
    assert (await CATALOGUE.claim(database, SystemClock())).version == 0


async def test_a_version_that_the_centre_does_not_know_begins_anew(database: Database) -> None:
    await bring(database, line("XA01", 20260101, FOREVER, 1, 0))
    page = await item_page(database, ListDownload("catalogue", 7, b"", 0), 60_000)
    assert (page.based_on, page.version, len(page.items), page.is_last) == (0, 1, 1, True)
    for after in (b"\x00", b"\x93\x01\x02\x03", b"x" * 64):
        with pytest.raises(PositionError):
            await item_page(database, ListDownload("catalogue", 0, after, 0), 60_000)
    catalogue = await catch_up(database, Catalogue(9, {}))
    assert (catalogue.version, len(catalogue)) == (1, 1)


async def test_each_institution_has_its_own_mapping(database: Database) -> None:
    await bring(
        database, line("XA01", 20260101, FOREVER, 1, 0), line("XB02", 20260101, FOREVER, 1, 0)
    )
    form = mapping_form({"H1": 1, "H2": 2}, "")

    async def bring_mapping(*rows: str) -> Imported:
        cells = ["institution,local_item,item,begins", *rows]
        sheet = (SheetRow(at, tuple(row.split(","))) for at, row in enumerate(cells, 1))
        clock = SystemClock()
        return await import_mapping(
            database, Source("map", sheet, form), Actor("tester", clock.now_ms()), clock
        )

    done = await bring_mapping(
        "H1,Y1,XA01,20260101", "H2,Y1,XB02,20260101", "H2,Y2,XB99,20260101",
        "H2,Y1,XA01,20270101",
    )  # fmt: skip
    assert (done.added, done.version) == (3, 1)
    (rejected,) = done.rejections
    assert (rejected.line, rejected.column) == (4, "item")
    again = await bring_mapping("H1,Y1,XA01,20260101", "H2,Y1,XB02,20260101")
    assert (again.added, again.changed, again.unchanged) == (0, 0, 2)
    await bring_mapping("H1,Y1,XB02,20260101")

    async def of(institution_no: int, since: int) -> list[tuple[str, str]]:
        asked = ListDownload("mapping", since, b"", 0)
        page = await mapping_page(database, asked, 60_000, institution_no)
        assert page.version == 2
        return [(row.local_item, row.item) for row in page.mappings]

    assert await of(1, 0) == [("Y1", "XB02")]
    assert await of(2, 0) == [("Y1", "XB02"), ("Y1", "XA01")]
    assert await of(2, 1) == []
    assert [version for version, _ in await MAPPING.history(database, 1, "Y1")] == [1, 2]


async def test_a_dry_run_changes_nothing(database: Database) -> None:
    clock = SystemClock()
    done = await import_items(
        database, source_of([line("XA01", 20260101, FOREVER, 1, 0)]), Actor("t", 0), clock,
        is_dry=True,
    )  # fmt: skip
    assert (done.added, done.version) == (1, 0)
    assert await CATALOGUE.newest(database) == 0
    assert await CATALOGUE.versions(database) == []


async def test_a_page_takes_its_rows_by_the_index(database: Database) -> None:
    """Reading changes must not look through the list: it grows for ever."""
    if database.dialect != "sqlite":
        return
    await bring(database, line("XA01", 20260101, FOREVER, 1, 0))
    text = "EXPLAIN QUERY PLAN " + CATALOGUE._page.sqlite
    plan = await database.fetch(plain("plan", postgresql=text, sqlite=text)([(1, "", 0, 1, 250)]))
    told = " ".join(str(row[3]) for row in plan)
    assert "catalogue_item_since" in told
    assert "SCAN n" not in told
