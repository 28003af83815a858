"""Visits as a cashier types them, at a real centre that is killed in between, on both databases."""

import asyncio
import csv
import datetime as dt
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from protocol.terminal.codes import ResponseCode
from simulators.centre_process import CentreProcess, City, Commanded, command
from simulators.raw_terminal import Credentials
from terminals.state import KeptCard, load_state, save_state
from tests import in_process
from tests.cardserver.desk import OTHER_HOSPITAL, Desk, open_card
from tests.cities import ON_POSTGRESQL, ON_SQLITE, city_on

CHINA = dt.timezone(dt.timedelta(hours=8))
EXCEPTION = (
    '\n[[exceptions]]\nname = "no-card"\nmed_types = ["11", "21"]\ntotal_max_fen = 9000000\n'
)


@dataclass
class Till:
    """`cardterminal` of one terminal, as processes of their own or within the test's."""

    config: Path
    certificate: tuple[str, ...]
    are_processes: bool = True

    async def run(self, *arguments: str, check: bool = True) -> Commanded:
        run = command if self.are_processes else in_process.command
        return await run("cardterminal", *arguments, "-c", str(self.config), check=check)

    async def json(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        said = await self.run(*arguments, "--json", check=False)
        document: dict[str, Any] = json.loads(said.output)
        assert document["code"] == code, (arguments, document)
        result: dict[str, Any] = document["result"]
        return result

    async def visit(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        return await self.json("visit", *arguments, code=code)

    async def by_exception(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        return await self.visit(*arguments, *self.certificate, code=code)


def today() -> dt.date:
    return dt.datetime.now(CHINA).date()


def ago(days: int) -> str:
    return (today() - dt.timedelta(days=days)).isoformat()


def lines_file(folder: Path, desk: Desk, *, count: int, first: int = 0, day: str = "") -> Path:
    """A CSV with so many lines of made-up items."""
    file = folder / f"lines-{first}-{count}-{day}.csv"
    items = class_a(desk)
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["feedetl_sn", "fee_ocur_time", "med_list_codg", "name", "pric", "cnt"])
        for number in range(first, first + count):
            item = items[number % len(items)]
            writer.writerow([f"F{number:06}", day, item["item"], item["name"], "12.50", "2"])
    return file


async def till_of(desk: Desk, credentials: Credentials, folder: Path) -> Till:
    till = make_till(desk, credentials, folder)
    password = str(desk.city.password_file)
    await till.run("sign-on", "--operator", "c001", "--password-file", password)
    return till


def make_till(desk: Desk, credentials: Credentials, folder: Path) -> Till:
    folder.mkdir()
    file = folder / "terminal.toml"
    file.write_text(
        f"""
        [centre]
        host = "127.0.0.1"
        port = {desk.centre.port}
        ca_file = "{desk.city.authority_file}"
        [terminal]
        institution = "{credentials.institution}"
        code = "{credentials.terminal}"
        certificate_file = "{credentials.certificate_file}"
        key_file = "{credentials.key_file}"
        [limits]
        request_timeout_ms = 4000
        connect_timeout_ms = 1000
        [lists]
        is_automatic = false
        [outbox]
        resolve_timeout_ms = 3000
        """,
        encoding="utf-8",
    )
    number = patient(desk)["id_number"]
    return Till(
        file,
        ("--exception", "no-card", "--certificate-type", "02", "--certificate-number", number),
    )


def patient(desk: Desk) -> dict[str, str]:
    """The registry's row of the holder of the city's first valid card."""
    number = desk.card_data().holder_number
    with (desk.city.population / "persons.csv").open(encoding="utf-8", newline="") as file:
        return next(row for row in csv.DictReader(file) if row["id_number"] == number)


def class_a(desk: Desk) -> list[dict[str, str]]:
    """Items of the catalogue that are wholly in scope, without a limit."""
    with (desk.city.population / "catalogue.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row, _ in zip(csv.DictReader(file), range(500), strict=False)]
    return [row for row in rows if row["item_class"] == "1" and not row["price_limit_microyuan"]][
        :40
    ]


@pytest.fixture(params=["sqlite", "postgresql"])
def own_city(request: pytest.FixtureRequest, tmp_path: Path) -> City:
    """A city of this test's own on either database; it is made before any loop runs."""
    return city_on(request.param, request, tmp_path, f"visits{time.time_ns()}")


@pytest.fixture
async def place(own_city: City) -> AsyncIterator[Desk]:
    """The centre of that city."""
    city = own_city
    with city.config_file.open("a", encoding="utf-8") as file:
        file.write(EXCEPTION)
    process = CentreProcess(city.config_file)
    await process.start()
    yield Desk(city, process)
    await process.stop()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("own_city", ON_POSTGRESQL, indirect=True)
async def test_a_stay_from_admission_to_its_receipt(place: Desk, tmp_path: Path) -> None:
    here = await till_of(place, await place.enrol("WARD1"), tmp_path / "here")
    there = await till_of(
        place, await place.enrol("WARD2", institution=OTHER_HOSPITAL), tmp_path / "there"
    )
    here.are_processes = there.are_processes = False
    admitted = await here.by_exception("admit", "--number", "ZY1", "--date", ago(9),
                                       "--diagnosis", "急性阑尾炎")  # fmt: skip
    stay = admitted["mdtrt_id"]
    refused = await there.by_exception("admit", "--number", "ZY9", code=ResponseCode.STAY_OVERLAPS)
    assert "mdtrt_id" not in refused

    first = lines_file(tmp_path, place, count=700, day=ago(9))
    sent = await here.visit("lines", stay, str(first))
    assert (sent["sent"], sent["visit"]["unsettled_fen"]) == (700, 700 * 2500)
    again = await here.visit("lines", stay, str(first))
    assert (again["sent"], again["known"]) == (0, 700)
    back = await here.visit("refund-line", stay, "F000003", "--number", "R1", "--count", "1")
    assert back["line_splits"][0]["in_scope_fen"] == -1250
    await here.visit("cancel-lines", stay, "F000004")

    # Nothing can be settled for good before the discharge; an interim can.
    early = await here.run("visit", "settle", stay, "--yes", *here.certificate, check=False)
    assert early.status == 3
    assert "interim" in early.output
    shown = await here.by_exception("preview", stay, "--until", ago(9))
    interim = await here.by_exception("interim", stay, "--until", ago(9), "--yes")
    assert interim["split"] == shown["split"]
    assert interim["split"]["total_fen"] == 700 * 2500 - 1250 - 2500
    text = (await here.run("receipt")).output
    for words in ("中途结算单", "INTERIM", stay, ago(9)):
        assert words in text

    await here.visit("lines", stay, str(lines_file(tmp_path, place, count=3, first=900,
                                                    day=ago(5))))  # fmt: skip
    late = await here.visit("cancel-lines", stay, "F000001", code=ResponseCode.SETTLED_ALREADY)
    assert "visit" not in late
    ended = await here.visit("discharge", stay, "--date", ago(2), "--diagnosis", "已治愈")
    assert ended["visit"]["state"] == 2
    final = await here.by_exception("settle", stay, "--yes")
    assert final["split"]["deductible_fen"] == 0
    text = (await here.run("receipt")).output
    assert "住院结算单" in text
    assert stay in text
    found = await here.visit("show", stay)
    assert found["visits"][0]["state"] == 3
    assert [one["is_final"] for one in found["settlements"]] == [False, True]
    assert len(found["lines"]) == 704

    await goes_on_elsewhere(place, tmp_path, there, stay)
    # All is taken back in the other order, and a cancelled discharge opens the stay again.
    await here.visit("discharge-cancel", stay, "--yes", code=ResponseCode.SETTLED_ALREADY)
    await here.json("cancel", interim["setl_id"], "--yes")
    await here.json("cancel", final["setl_id"], "--yes")
    await here.visit("cancel", stay, "--yes", code=ResponseCode.TRANSFER_NOT_VALID)
    await there.visit("cancel", "last", "--yes")
    await here.visit("discharge-cancel", stay, "--yes")
    gone = await here.visit("cancel", stay, "--yes")
    assert gone["visit"]["state"] == 4
    await books_agree(place)


async def goes_on_elsewhere(place: Desk, tmp_path: Path, there: Till, stay: str) -> None:
    """Transferred the next day, a stay is one with the first: no second deductible."""
    moved = await there.by_exception(
        "admit", "--number", "ZY2", "--date", ago(1), "--from", stay, "--emergency"
    )
    one = lines_file(tmp_path, place, count=2, day=ago(1))
    await there.visit("lines", "last", str(one))
    elsewhere = await there.by_exception("preview", moved["mdtrt_id"])
    assert elsewhere["split"]["deductible_fen"] == 0
    await there.visit("show", stay, code=ResponseCode.VISIT_UNKNOWN)


async def books_agree(place: Desk) -> None:
    said = await command(
        "cardserver", "trial-balance", "--config", str(place.city.config_file), "--json"
    )
    assert json.loads(said.output)["differences"] == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("own_city", ON_SQLITE, indirect=True)
async def test_an_outpatient_visit_with_a_card(place: Desk, tmp_path: Path) -> None:
    credentials = await place.enrol("WARD1")
    till = await till_of(place, credentials, tmp_path / "here")
    async with place.client(credentials) as client:
        session = await open_card(client, place.card())
    state_file = till.config.with_name("terminal-state.json")
    state = load_state(state_file)
    person = patient(place)["person_no"]
    card = KeptCard(session, int(time.time() * 1000) + 300_000, person, "张*")
    save_state(state_file, replace(state, card=card))

    visit = (await till.visit("register", "--number", "MZ1"))["mdtrt_id"]
    file = tmp_path / "lines.toml"
    item = class_a(place)[0]["item"]
    file.write_text(
        f"""
        [[lines]]
        feedetl_sn = "1"
        med_list_codg = "{item}"
        pric = "0.335"
        cnt = 3
        [[lines]]
        feedetl_sn = "2"
        init_feedetl_sn = "1"
        med_list_codg = "{item}"
        pric = "0.335"
        cnt = -1
        """,
        encoding="utf-8",
    )
    sent = await till.visit("lines", visit, str(file))
    assert sent["visit"]["unsettled_fen"] == 67  # 2 x 0.335, rounded once
    settled = await till.visit("settle", "last", "--yes", "--invoice", "INV-1")
    assert settled["split"]["total_fen"] == 67
    assert settled["psn_no"] == person
    listed = await till.visit("show")
    assert [one["mdtrt_id"] for one in listed["visits"]] == [visit]
    text = (await till.run("receipt")).output
    assert "INV-1" in text
    assert visit in text
    screen = (await till.run("visit", "show", visit)).output
    assert "门诊 outpatient" in screen
    assert settled["setl_id"] in screen


@pytest.mark.timeout(600)
@pytest.mark.parametrize("own_city", ON_SQLITE, indirect=True)
async def test_killed_in_between_nothing_is_lost_or_doubled(place: Desk, tmp_path: Path) -> None:
    """Commands under way when the centre dies are given again until they are through."""
    random = Random(20261121)
    till = await till_of(place, await place.enrol("WARD1"), tmp_path / "here")

    async def insist(*arguments: str) -> dict[str, Any]:
        """Have the centre killed under a command, and give the command again."""
        attempt = asyncio.create_task(till.run("visit", *arguments, "--json", check=False))
        await asyncio.sleep(random.uniform(0.3, 1.2))
        await place.centre.kill()
        await place.centre.start()
        said = await attempt
        for _ in range(5):
            document: dict[str, Any] = json.loads(said.output)
            if document["exit_status"] == 0:
                result: dict[str, Any] = document["result"]
                return result
            assert document["exit_status"] in {2, 3}, document
            said = await till.run("visit", *arguments, "--json", check=False)
        raise AssertionError(said)

    stay = (await insist("admit", "--number", "ZY1", "--date", ago(3), *till.certificate))[
        "mdtrt_id"
    ]
    file = lines_file(tmp_path, place, count=2200, day=ago(3))  # five messages
    taken = await insist("lines", stay, str(file))
    (visit,) = taken.get("visits") or [taken["visit"]]
    assert (visit["lines_count"], visit["unsettled_fen"]) == (2200, 2200 * 2500)
    too_many = await till.by_exception("preview", stay, code=ResponseCode.TOO_MANY_LINES)
    assert "split" not in too_many
    await insist("cancel-lines", stay, *(f"F{n:06}" for n in range(2000, 2200)))
    await insist("discharge", stay, "--date", ago(1))
    final = await insist("settle", stay, "--yes", *till.certificate)
    assert final["split"]["total_fen"] == 2000 * 2500
    found = await till.visit("show", stay)
    assert found["visits"][0]["state"] == 3
    assert [one["setl_id"] for one in found["settlements"]] == [final["setl_id"]]
    outbox = await till.run("outbox", "--json", check=False)
    assert json.loads(outbox.output)["result"]["open"] == 0
    await books_agree(place)
