"""What does the console cost the centre, and how soon does a page of it load on a busy one?

Tills settle in a closed loop, in turns: with nobody watching, and with a real browser on the live
page of the console. The centre's own processor time a settlement is compared, and how many it
settles. Browser and console would have machines of their own: here they only get what the others
leave (`nice`). Then every page is opened while the tills go on.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path

import uvloop
from playwright.async_api import Page, async_playwright

from benchmarks.load import database_urls, signed_on_terminals
from benchmarks.report import console, print_machine
from benchmarks.settle import Measured, Till, closed_loop, open_tills, settle_once
from cardserver.commands.database import acting_user, open_database
from cardserver.config import load_config
from cardserver.console.access import Page as ConsolePage
from cardserver.registry import administration_store
from cardserver.registry.passwords import hash_password
from cardserver.registry.roles import Role
from simulators.centre_process import CentreProcess, City, make_city

GOAL = 1.02
LOAD_GOAL_S = 2.0
_CHROMIUM = "/usr/bin/chromium"
_OPERATOR = "w001"
_PASSWORD = "a made-up password"
_TERMINALS = 8
_TILLS = 32
_LEAST = 19  # how nice a process can be
_READY_S = 30.0
_PAGES = (
    ConsolePage.LIVE, ConsolePage.REFUSALS, ConsolePage.REQUEST, ConsolePage.TERMINALS,
    ConsolePage.CENTRE, ConsolePage.REVIEW, ConsolePage.RECONCILIATION, ConsolePage.CLEARING,
    ConsolePage.WORKLOAD, ConsolePage.REVOCATIONS, ConsolePage.AUDIT,
)  # fmt: skip


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks watched", description=__doc__)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each turn")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="postgresql")
    options = parser.parse_args()
    print_machine("What does the console cost the centre?")
    with (
        database_urls([options.database]) as urls,
        tempfile.TemporaryDirectory(prefix="cardserver-benchmark-") as folder,
    ):
        uvloop.run(_measure(Path(folder), urls[options.database], options))


async def _measure(folder: Path, url: str, options: argparse.Namespace) -> None:
    city = await make_city(folder, persons=2_000, database_url=url)
    await _add_operator(city)
    centre = CentreProcess(city.config_file)
    await centre.start()
    try:
        async with AsyncExitStack() as stack:
            clients = await stack.enter_async_context(
                signed_on_terminals(city, centre, count=_TERMINALS, folder=folder)
            )
            tills = await open_tills(city, clients, _TILLS)
            invoices = count(1)
            alone, watched = Measured(), Measured()
            for turn in range(options.turns):
                for is_watched in (False, True) if turn % 2 == 0 else (True, False):
                    into = watched if is_watched else alone
                    if is_watched:
                        async with _watching(city, centre):
                            one = await _settle(tills, invoices, options, centre)
                    else:
                        one = await _settle(tills, invoices, options, centre)
                    _add(into, one)
            _print_cost(alone, watched)
            async with _watching(city, centre) as (page, url_of):
                await _time_pages(page, url_of, tills, invoices, centre)
    finally:
        await centre.stop()


async def _settle(
    tills: Sequence[Till],
    invoices: "count[int]",
    options: argparse.Namespace,
    centre: CentreProcess,
) -> Measured:
    return await closed_loop(
        lambda till: settle_once(till, invoices), tills, options.seconds, centre
    )


def _add(into: Measured, one: Measured) -> None:
    into.asked += one.asked
    into.centre_cpu_s += one.centre_cpu_s
    into.duration_s += one.duration_s
    into.seconds += one.seconds


def _print_cost(alone: Measured, watched: Measured) -> None:
    each = [one.centre_cpu_s / one.asked * 1e6 for one in (alone, watched)]
    rates = [len(one.seconds) / one.duration_s for one in (alone, watched)]
    console.print(
        f"the centre's processor time a settlement: {each[0]:.0f} us with nobody watching,"
        f" {each[1]:.0f} us watched: {each[1] / each[0]:.3f} times (goal {GOAL})"
    )
    console.print(
        f"settlements a second: {rates[0]:,.0f} and {rates[1]:,.0f},"
        f" {rates[1] / rates[0]:.3f} times"
    )


async def _time_pages(
    page: Page, url: str, tills: Sequence[Till], invoices: "count[int]", centre: CentreProcess
) -> None:
    """Open every page while the tills go on, until what it shows is there."""
    busy = asyncio.create_task(
        closed_loop(lambda till: settle_once(till, invoices), tills, 2.0 * len(_PAGES), centre)
    )
    for path in _PAGES:
        started = time.perf_counter()
        await page.goto(f"{url}{path}")
        await page.wait_for_selector("header")
        took_s = time.perf_counter() - started
        console.print(f"{path.name.lower():16} {took_s:5.2f} s (goal {LOAD_GOAL_S:.0f} s)")
    await busy


@asynccontextmanager
async def _watching(city: City, centre: CentreProcess) -> AsyncIterator[tuple[Page, str]]:
    """Run the console, and a browser signed on at its live page."""
    ready_file = city.directory / "console.ready"
    ready_file.unlink(missing_ok=True)
    process = _spawn_console(city, centre, ready_file)
    os.setpriority(os.PRIO_PROCESS, process.pid, _LEAST)
    try:
        async with asyncio.timeout(_READY_S):
            while not ready_file.exists():
                assert process.poll() is None, "the console has ended"
                await asyncio.sleep(0.05)
        url = f"https://127.0.0.1:{json.loads(ready_file.read_bytes())['port']}"
        async with async_playwright() as player:
            browser = await player.chromium.launch(
                executable_path=_CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
            )
            context = await browser.new_context(ignore_https_errors=True)
            page = await context.new_page()
            await page.goto(f"{url}/")
            await page.fill("[name=operator]", _OPERATOR)
            await page.fill("[name=password]", _PASSWORD)
            await page.click("button")
            await page.wait_for_selector("header")
            _leave_others_the_processors()
            yield page, url
            await browser.close()
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait, 15)


def _leave_others_the_processors() -> None:
    """Make the browser's processes nice; they are children of the player's driver."""
    for pid in _descendants(os.getpid()):
        if b"chrom" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.setpriority(os.PRIO_PROCESS, pid, _LEAST)


def _descendants(pid: int) -> Iterator[int]:
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
        yield int(child)
        yield from _descendants(int(child))


def _spawn_console(city: City, centre: CentreProcess, ready_file: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            str(Path(sys.executable).with_name("cardserver")), "console",
            "--config", str(city.config_file), "--port", "0",
            "--watch", f"http://127.0.0.1:{centre.observe_port}", "--ready-file", str(ready_file),
        ],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


async def _add_operator(city: City) -> None:
    async with open_database(load_config(city.config_file)) as database:
        await administration_store.add_operator(
            database,
            institution=None,
            code=_OPERATOR,
            name=_OPERATOR,
            role=Role.AUDIT,
            password_hash=hash_password(_PASSWORD),
            actor=acting_user(),
        )


if __name__ == "__main__":
    main()
