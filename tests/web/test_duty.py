"""On duty among two hundred terminals: the slow one, the refused institution, one request."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from protocol.telemetry.topics import TerminalName
from protocol.terminal.codes import ResponseCode
from simulators.centre_process import CentreProcess, City, command
from simulators.fleet import Fleet, FleetWish, fleet_at_work
from simulators.fleet_terminal import Fault
from simulators.mosquitto import make_broker
from tests.cities import copy_city
from tests.web.conftest import Console, ConsoleProcess, add_operators, opened, sign_on

TERMINALS = 200


@dataclass(frozen=True)
class Duty:
    """Two hundred terminals at work, one of them behind a slow network, and the console."""

    city: City
    fleet: Fleet
    console: Console

    @property
    def slow(self) -> TerminalName:
        (one,) = (one for one in self.fleet.terminals if one.place.fault is Fault.SLOW_NETWORK)
        return one.place.name


@pytest.fixture
async def duty(made_city: City, tmp_path: Path) -> AsyncIterator[Duty]:
    city = copy_city(made_city, tmp_path)
    await add_operators(city)
    broker = await make_broker(city)
    await broker.start()
    centre = CentreProcess(city.config_file)
    await centre.start()
    process = ConsoleProcess(city, [centre.observe_port])
    wish = FleetWish(
        config_file=city.config_file,
        population=city.population,
        password_file=city.password_file,
        folder=tmp_path / "fleet",
        terminals=TERMINALS,
        seed=7,
        seconds=600,
        settlements_max=0,
        think_s=8,
        fault_ratio=1 / TERMINALS,
        centre=("127.0.0.1", centre.port),
        broker=("127.0.0.1", broker.port),
    )
    try:
        console = await process.ready()
        async with fleet_at_work(wish) as fleet:
            yield Duty(city, fleet, console)
    finally:
        assert await asyncio.to_thread(process.stop) == 0
        await centre.stop()
        await broker.stop()


@pytest.mark.timeout(480)
async def test_the_slow_terminal_and_the_refused_institution_are_found(
    duty: Duty, browser: Browser
) -> None:
    console, slow = duty.console, duty.slow
    async with opened(browser, console) as page:
        await sign_on(page, console, "d001")
        await page.click("[data-page=TERMINALS]")
        tile = page.locator("[data-tile=on]")
        await expect(tile).to_have_text(f"{TERMINALS} / {TERMINALS}", timeout=60_000)
        first = page.locator("[data-table=terminals] tbody tr").first  # sorted by what was felt
        await expect(first).to_contain_text(slow.institution, timeout=60_000)
        await expect(first).to_contain_text(slow.code)

        other = next(
            one.place.name.institution
            for one in duty.fleet.terminals
            if one.place.name.institution != slow.institution
        )
        await command(
            "cardserver", "registry", "institution", "contract",
            "--config", str(duty.city.config_file), "--level", "3", "--care", "21", other,
        )  # fmt: skip
        refused = ResponseCode.CARE_TYPE_NOT_CONTRACTED
        await page.click("[data-page=REFUSALS]")
        rows = page.locator("[data-table=refusals] tbody")
        await expect(rows).to_contain_text(refused.text_zh, timeout=60_000)
        await page.locator("[data-table=institutions]").get_by_text(other).click()
        await expect(rows).to_contain_text(refused.text_zh)
        link = page.locator("[data-table=examples] a").first
        msgid = await link.inner_text()
        assert msgid.startswith(other)
        await link.click()
        await expect(page.locator("[data-chart=stages] canvas").first).to_be_visible()
        await expect(page.get_by_text(str(refused.value)).first).to_be_visible()
