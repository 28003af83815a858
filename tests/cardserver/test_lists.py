"""Lists at terminals of a running centre: downloaded, gone on with, kept up to date, warned by."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec import msgpack, structs

from cardserver.registry.revocation_store import card_subject as subject_at_the_centre
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import (
    Line,
    ListDownload,
    ListPage,
    MessageType,
    Preview,
    SignedOn,
    SignOn,
)
from simulators.centre_process import CentreProcess, City, command, enrol
from terminals.client import TerminalClient
from terminals.list_updates import ListUpdates
from terminals.listed_card import CARD, card_subject
from terminals.lists import ListName, Lists
from tests import in_process
from tests.cardserver.desk import HOSPITAL, OTHER_HOSPITAL, Desk, Reader, open_card

HEADER = "item,begins,name,item_class,price_limit,price_limit_1,price_limit_2,price_limit_3\n"


async def download(client: TerminalClient, name: str, **asked: Any) -> list[ListPage]:
    """Ask for a whole list, page by page."""
    pages: list[ListPage] = []
    body = ListDownload(name, asked.get("version", 0), b"", asked.get("size_max", 0))
    while not pages or not pages[-1].is_last:
        answer = await client.request(MessageType.LIST_DOWNLOAD, body)
        assert isinstance(answer.body, ListPage), answer.reply
        pages.append(answer.body)
        body = structs.replace(body, after=answer.body.next)
    return pages


async def catalogue_command(city: City, *arguments: str, check: bool = True) -> str:
    done = await in_process.command(
        "cardserver", "catalogue", *arguments, "--config", str(city.config_file), check=check
    )
    return done.output + done.errors


@asynccontextmanager
async def held_lists(desk: Desk, terminal: str) -> AsyncIterator[tuple[TerminalClient, Lists, Any]]:
    """A signed-on terminal that keeps its lists up to date."""
    credentials = await desk.enrol(terminal)
    with Lists(credentials.key_file.parent / "lists.sqlite") as lists:
        updates = ListUpdates(lists, frame_size_max=262_144, now_ms=lambda: 1)
        async with desk.client(credentials, lists=updates) as client:
            updates.start(client)
            yield client, lists, updates
            await updates.stop()


async def test_sign_on_names_the_lists_and_each_is_downloaded(desk: Desk) -> None:
    credentials = await desk.enrol("LIST1")
    async with desk.client(credentials) as client:
        signed_on = await client.request(
            MessageType.SIGN_ON, SignOn("c001", desk.password, 1, "test", (1,))
        )
        assert isinstance(signed_on.body, SignedOn)
        newest = {one.name: one.version for one in signed_on.body.lists}
        assert set(newest) == {name.value for name in ListName}
        for name, version in newest.items():
            pages = await download(client, name)
            assert [page.based_on for page in pages] == [0] * len(pages)
            assert pages[-1].version == version
            (nothing,) = await download(client, name, version=version)
            assert (nothing.based_on, nothing.is_last) == (version, True)
            rows = nothing.revocations or nothing.items or nothing.mappings or nothing.parameters
            assert not rows


async def test_pages_fit_what_the_terminal_takes(desk: Desk) -> None:
    credentials = await desk.enrol("LIST2")
    async with desk.client(credentials) as client:
        by_size = {
            size_max: await download(client, "catalogue", size_max=size_max)
            for size_max in (4_000, 9_000, 10**6)
        }
    rows = {
        size_max: [row for page in pages for row in page.items]
        for size_max, pages in by_size.items()
    }
    assert rows[4_000] == rows[9_000] == rows[10**6]
    assert len({(row.item, row.begins) for row in rows[4_000]}) == len(rows[4_000]) == 4_000
    assert len(by_size[4_000]) > len(by_size[9_000]) > len(by_size[10**6]) > 1


async def test_what_is_no_list_and_no_position(desk: Desk) -> None:
    credentials = await desk.enrol("LIST3")
    async with desk.client(credentials) as client:
        for name, after in (
            ("", b""), ("secrets", b""), ("catalogue", b"\xc0"),
            ("revocations", b"\x93\x01\x02\x03"),
            ("mapping", b"\x00" * 64),
            ("catalogue", msgpack.encode((2**63, "", 0))),
            ("mapping", msgpack.encode((1, "a\0", 0))),
            ("revocations", msgpack.encode((1, 2**63, b""))),
        ):  # fmt: skip
            body = ListDownload(name, 0, after, 0)
            answer = await client.request(MessageType.LIST_DOWNLOAD, body)
            assert answer.code == ResponseCode.INVALID_FIELD
        assert (await client.echo(b"")).is_approved
    async with desk.raw(credentials) as terminal:
        request = terminal.request(MessageType.LIST_DOWNLOAD, ListDownload("catalogue", 0, b"", 0))
        assert (await terminal.reply_to(request)).code == ResponseCode.NOT_SIGNED_ON


async def test_parameters_say_what_is_allowed_and_every_code(desk: Desk) -> None:
    credentials = await desk.enrol("LIST4")
    async with desk.client(credentials) as client:
        (page,) = await download(client, "parameters")
    found = page.parameters
    assert found is not None
    assert found.institution_level == 3
    assert [one.name for one in found.exceptions] == ["reader-broken"]
    assert {one.code for one in found.codes} == set(ResponseCode)
    assert {"11", "21", "41"} <= {one.code for one in found.med_types}
    assert found.card_session_life_ms == desk.config.cards.session_life_ms


async def test_the_lists_come_by_themselves_and_every_request_says_which(desk: Desk) -> None:
    async with held_lists(desk, "LIST5") as (client, lists, updates):
        await updates.settle(20)
        assert updates.behind() == []
        for name in ListName:
            assert lists.held(name).after == b""
        assert lists.count(ListName.CATALOGUE) == 4_000
        assert lists.held(ListName.REVOCATIONS).version > 0
        assert lists.held(ListName.REVOCATIONS).version == updates.list_version
        token = await open_card(client, desk.card())
        answer = await desk.settle(client, token, desk.bill(77))
    done = await in_process.command(
        "cardserver", "claim", answer.msgid, "--config", str(desk.city.config_file), "--json"
    )
    (claim,) = json.loads(done.output)
    assert claim["claim"]["list_version"] == updates.list_version


async def test_a_download_goes_on_where_it_was_broken_off(desk: Desk) -> None:
    credentials = await desk.enrol("LIST6")
    with Lists(credentials.key_file.parent / "lists.sqlite") as lists:
        async with desk.client(credentials) as client:
            taken = []
            for _ in range(3):
                asked = lists.request(ListName.CATALOGUE, 8_000)
                answer = await client.request(MessageType.LIST_DOWNLOAD, asked)
                assert isinstance(answer.body, ListPage)
                assert lists.take(asked, answer.body, now_ms=1)
                # Who asked the same meanwhile leaves it alone.
                assert not lists.take(asked, answer.body, now_ms=1)
                taken.append(len(answer.body.items))
            assert lists.count(ListName.CATALOGUE) == sum(taken) < 4_000
            assert lists.held(ListName.CATALOGUE).version == 0
    with Lists(credentials.key_file.parent / "lists.sqlite") as lists:
        updates = ListUpdates(lists, frame_size_max=262_144, now_ms=lambda: 2)
        async with desk.client(credentials, lists=updates) as client:
            pages: list[ListPage] = []
            await updates.update(client, ListName.CATALOGUE, pages.append)
        assert sum(len(page.items) for page in pages) == 4_000 - sum(taken)
        assert lists.count(ListName.CATALOGUE) == 4_000
        assert not lists.held(ListName.CATALOGUE).is_behind


async def test_a_card_on_the_list_is_told_before_the_centre_is_asked(city: City) -> None:
    process = CentreProcess(city.config_file)
    await process.start()
    desk = Desk(city, process)
    try:
        async with held_lists(desk, "LIST7") as (client, lists, updates):
            await updates.settle(20)
            before = updates.list_version
            number = desk.card_data().card_number
            await command(
                "cardserver", "card", "state", "--config", str(city.config_file), number, "lost"
            )
            # The next replies name the newer list, and it comes behind them.
            while updates.list_version == before:
                await client.echo(b"")
                await asyncio.sleep(0.05)
            told: list[int] = []

            def look_up(opening: int, atr: bytes, answers: tuple[bytes, ...]) -> None:
                subject = card_subject(opening, atr, answers)
                assert subject is not None
                told.append(lists.reason(CARD, subject))

            opened = await client.open_card(Reader(desk.card()), on_first_answers=look_up)
            assert opened.answer.code == ResponseCode.CARD_REVOKED
            await client.open_card(Reader(desk.card(1)), on_first_answers=look_up)
            assert told == [2, 0]
            await command(
                "cardserver", "card", "state", "--config", str(city.config_file), number, "found"
            )
            while lists.reason(CARD, _subject(desk)):
                await client.echo(b"")
                await asyncio.sleep(0.05)
    finally:
        await process.stop()


def _subject(desk: Desk) -> bytes:
    data = desk.card_data()
    return subject_at_the_centre("social_security_card", data.region, data.historical[5:])


@pytest.fixture
async def changing(city: City) -> AsyncIterator[Desk]:
    """A running centre of one test's own, with an item that has limits by level."""
    (city.directory / "first.csv").write_text(
        HEADER + "XA01BA001,2020-01-01,阿莫西林,甲,10,8,9,10\n", encoding="utf-8"
    )
    await catalogue_command(city, "import", str(city.directory / "first.csv"))
    process = CentreProcess(city.config_file)
    await process.start()
    yield Desk(city, process)
    await process.stop()


async def over_limit(client: TerminalClient, token: bytes, desk: Desk) -> int:
    bill = desk.bill()
    line = Line("XA01BA001", "阿莫西林", 12_000_000, 10_000, 1_200)
    bill = structs.replace(bill, lines=(line,), total_fen=1_200)
    shown = await client.request(
        MessageType.PREVIEW, Preview(bill, None, wants_explanation=False), card_session=token
    )
    assert shown.is_approved, shown.reply
    found: int = shown.body.line_splits[0].over_limit_fen
    return found


async def test_a_new_version_is_taken_up_while_the_centre_runs(changing: Desk) -> None:
    desk, city = changing, changing.city
    async with held_lists(desk, "LIST8") as (client, lists, updates):
        await updates.settle(20)
        row = lists.item("XA01BA001", 20261121)
        assert row is not None
        assert lists.limit_of(row) == 10_000_000
        token = await open_card(client, desk.card())
        assert await over_limit(client, token, desk) == 200
        news = city.directory / "news.csv"
        news.write_text(HEADER + "XA01BA001,2020-01-01,阿莫西林,甲,10,8,9,11\n", encoding="utf-8")
        said = await catalogue_command(city, "import", str(news))
        assert "0 rows added, 1 changed" in said
        begun = time.monotonic()
        while await over_limit(client, token, desk) != 100:
            assert time.monotonic() - begun < 10
            await asyncio.sleep(0.1)
        pages = []
        await updates.update(client, ListName.CATALOGUE, pages.append)
        assert [len(page.items) for page in pages] == [1]
        row = lists.item("XA01BA001", 20261121)
        assert row is not None
        assert lists.limit_of(row) == 11_000_000
    said = await catalogue_command(city, "show", "XA01BA001")
    assert "first.csv" in said
    assert "news.csv" in said


async def test_an_institutions_own_codes_are_its_own(changing: Desk) -> None:
    desk, city = changing, changing.city
    file = city.directory / "map.csv"
    file.write_text(
        "local_item,item,begins,local_name\nYP1,XA01BA001,2020-01-01,本院药\nYP2,NONE,2020-01-01,?\n",
        encoding="utf-8",
    )
    said = await catalogue_command(
        city, "map", "import", str(file), "--institution", HOSPITAL, check=False
    )
    assert "1 rows added" in said
    assert "line 3: item: the catalogue has no such item" in said
    async with held_lists(desk, "LIST9") as (_client, lists, updates):
        await updates.settle(20)
        mapping = lists.mapped("YP1", 20261121)
        assert mapping is not None
        assert (mapping.item, mapping.local_name) == ("XA01BA001", "本院药")
        assert lists.mapped("YP1", 20191231) is None
    other = await desk.enrol("LIST9", institution=OTHER_HOSPITAL)
    async with desk.client(other) as client:
        (page,) = await download(client, "mapping")
        assert (page.version, page.mappings) == (1, ())


async def test_a_cashier_settles_by_own_codes_with_names_and_warnings(changing: Desk) -> None:
    desk, city = changing, changing.city
    (city.directory / "map.csv").write_text(
        "local_item,item,begins,local_name\nYP1,XA01BA001,2020-01-01,本院药\n", encoding="utf-8"
    )
    await catalogue_command(
        city, "map", "import", str(city.directory / "map.csv"), "--institution", HOSPITAL
    )
    config = await enrol(city, institution=HOSPITAL, terminal="LISTA", port=desk.centre.port)
    bill = config.with_name("bill.toml")
    bill.write_text(
        '[[lines]]\nlocal_item = "YP1"\npric = 12\n[[lines]]\nmed_list_codg = "NONE"\npric = 1\n',
        encoding="utf-8",
    )

    async def cashier(*arguments: str, check: bool = True) -> Any:
        return await command("cardterminal", *arguments, "-c", str(config), check=check)

    unknown = await cashier("preview", str(bill), "--json", check=False)
    assert "lists update" in unknown.output
    await cashier("sign-on", "--operator", "c001", "--password-file", str(city.password_file))
    updated = json.loads((await cashier("lists", "update", "--json")).output)
    assert updated["result"]["catalogue"]["version"] == 2
    previewed = await cashier("preview", str(bill), "--json", check=False)
    assert "单价 12 高于限价 10" in previewed.errors
    assert "目录外" in previewed.errors
    assert json.loads(previewed.output)["code"] == ResponseCode.CARD_SESSION_REQUIRED
    shown = await cashier("lists", "show", "YP1")
    assert "YP1 -> XA01BA001" in shown.output
    held = json.loads((await cashier("lists", "show", "--json")).output)["result"]
    assert held["lists"]["mapping"] == {
        **held["lists"]["mapping"], "version": 1, "rows": 1, "is_behind": False,
    }  # fmt: skip
