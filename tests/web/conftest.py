"""A centre with traffic, the console beside it, and a real browser in front."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from cardserver.commands.database import acting_user, open_database
from cardserver.config import load_config
from cardserver.registry import administration_store as administration
from cardserver.registry.passwords import hash_password
from cardserver.registry.roles import Role
from simulators.centre_process import CentreProcess, City
from terminals.answer import Answer
from terminals.client import TerminalClient
from tests.cardserver.desk import Desk
from tests.cities import copy_city

expect.set_options(timeout=20_000)  # what is meant is whether it happens, not how fast
PASSWORD = "a made-up password"
CHROMIUM = "/usr/bin/chromium"
_ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
OPERATORS = {
    "d001": Role.RESOLVER,
    "r001": Role.REGISTRAR,
    "a001": Role.ACCEPTANCE,
    "k001": Role.CALCULATION,
    "s001": Role.AUDIT,
}


@dataclass(frozen=True)
class Console:
    """A running console."""

    port: int
    log_file: Path

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"


class ConsoleProcess:
    """`cardserver console`, until it is told to stop."""

    def __init__(self, city: City, observe_ports: list[int]) -> None:
        self.log_file = city.directory / "console.log"
        self._ready_file = city.directory / "console.ready"
        self._ready_file.unlink(missing_ok=True)
        watches = [f"--watch=http://127.0.0.1:{port}" for port in observe_ports]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(Path(sys.executable).with_name("cardserver")), "console",
                    "--config", str(city.config_file), "--port", "0", *watches,
                    "--ready-file", str(self._ready_file),
                ],
                stdout=log, stderr=log,
            )  # fmt: skip

    async def ready(self) -> Console:
        async with asyncio.timeout(30):
            while not self._ready_file.exists():
                assert self._process.poll() is None, self.log_file.read_text(encoding="utf-8")
                await asyncio.sleep(0.02)
        return Console(json.loads(self._ready_file.read_bytes())["port"], self.log_file)

    def stop(self) -> int:
        self._process.terminate()
        return self._process.wait(timeout=15)


async def add_operators(city: City) -> None:
    """Give the fund an operator of each role."""
    async with open_database(load_config(city.config_file)) as database:
        for code, role in OPERATORS.items():
            await administration.add_operator(
                database,
                institution=None,
                code=code,
                name=code,
                role=role,
                password_hash=hash_password(PASSWORD),
                actor=acting_user(),
            )


@pytest.fixture(scope="session")
def web_desk(made_city: City, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A running centre whose fund has operators of every role."""
    city = copy_city(made_city, tmp_path_factory.mktemp("web"))
    asyncio.run(add_operators(city))
    process = CentreProcess(city.config_file)
    asyncio.run(process.start())
    yield Desk(city, process)
    assert asyncio.run(process.stop()) == 0


@pytest.fixture(scope="session")
def console(web_desk: Desk) -> Iterator[Console]:
    """A running console that watches it."""
    process = ConsoleProcess(web_desk.city, [web_desk.centre.observe_port])
    yield asyncio.run(process.ready())
    assert process.stop() == 0
    assert "Traceback" not in process.log_file.read_text(encoding="utf-8")


async def settle_with_fund(desk: Desk, client: TerminalClient, token: bytes) -> Answer:
    """Settle bills until the fund pays on one, whatever others did with the family's accounts."""
    for seed in range(60):
        settled = await desk.settle(client, token, desk.bill(seed, lines=8))
        assert settled.is_approved
        if settled.body.split.fund_pay_fen >= 1_000:
            return settled
    raise AssertionError("the fund paid on none")


@asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    """A real Chromium without a screen."""
    async with async_playwright() as player:
        chromium = await player.chromium.launch(executable_path=CHROMIUM, args=list(_ARGUMENTS))
        yield chromium
        await chromium.close()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A browser of this test's own."""
    async with launched() as chromium:
        yield chromium


@asynccontextmanager
async def opened(
    browser: Browser, console: Console, *, locale: str = "zh-CN"
) -> AsyncIterator[Page]:
    """Open a page that nobody is signed on at; nothing may be asked of any other machine."""
    context: BrowserContext = await browser.new_context(
        ignore_https_errors=True, locale=locale, viewport={"width": 1400, "height": 1000}
    )
    page = await context.new_page()
    outside: list[str] = []
    mistakes: list[str] = []
    own = (console.url, console.url.replace("https", "wss"), "data:", "blob:")

    def note(url: str) -> None:
        if not url.startswith(own):
            outside.append(url)

    page.on("request", lambda request: note(request.url))
    page.on("websocket", lambda socket: note(socket.url))
    page.on("pageerror", lambda error: mistakes.append(str(error)))
    yield page
    await context.close()
    assert not outside
    assert not mistakes


async def sign_on(page: Page, console: Console, operator: str, password: str = PASSWORD) -> None:
    """Fill in the form."""
    await page.goto(f"{console.url}/")
    await page.fill("[name=operator]", operator)
    await page.fill("[name=password]", password)
    await page.click("button")
