"""An upgrade: workers are replaced one by one, while terminals settle and see nothing of it."""

import asyncio
import csv
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import cardserver
from protocol.terminal.messages import MessageType, Preview
from simulators.centre_process import CentreProcess, City, command
from terminals.attempts import AttemptRunner
from terminals.client import TerminalClient
from terminals.outbox import Outbox
from tests.cardserver.desk import Desk, configure, open_card, settle_of
from tests.cities import CopyOnPostgreSQL, copy_city

ROOT = Path(cardserver.__file__).parents[1]
PACKAGES = ("protocol", "terminals", "ledger", "cardserver")


@dataclass
class Till:
    """One terminal that settles all the while, as its cashier sees it."""

    client: TerminalClient
    runner: AttemptRunner
    token: bytes
    settled: int = 0
    troubles: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the software, to which an upgrade can be installed."""
    folder = tmp_path_factory.mktemp("installed")
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    return folder


@pytest.fixture(scope="module")
def upgraded_city(
    copy_on_postgresql: CopyOnPostgreSQL, tmp_path_factory: pytest.TempPathFactory
) -> City:
    city = copy_on_postgresql(tmp_path_factory.mktemp("upgraded"), "upgraded")
    configure(city, "listener", retire_time_max_ms=3_000)
    return city


@asynccontextmanager
async def served(city: City, installed: Path) -> AsyncIterator[Desk]:
    """Two workers of the software that is installed."""
    process = CentreProcess(
        city.config_file,
        workers=2,
        within=("env", f"PYTHONPATH={installed}", "PYTHONDONTWRITEBYTECODE=1"),
    )
    await process.start()
    try:
        yield Desk(city, process)
    finally:
        assert await process.stop() == 0


def ready_file(desk: Desk) -> Path:
    return desk.city.config_file.with_name("serve.json")


def worker_pids(desk: Desk) -> list[int]:
    return [
        json.loads(Path(f"{ready_file(desk)}.{index}").read_bytes())["pid"] for index in range(2)
    ]


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def strangers(desk: Desk, count: int) -> list[int]:
    """Choose cards, no two of one family: who pays for another changes what the other was shown."""
    with (desk.city.population / "persons.csv").open(encoding="utf-8", newline="") as file:
        families = {row["id_number"]: row["family_no"] for row in csv.DictReader(file)}
    chosen: dict[str, int] = {}
    index = 0
    while len(chosen) < count:
        number = desk.card_data(index).holder_number
        family = families[number]
        chosen.setdefault(number if family == "0" else family, index)
        index += 1
    return list(chosen.values())


@asynccontextmanager
async def tills(desk: Desk, count: int, folder: Path) -> AsyncIterator[list[Till]]:
    async with AsyncExitStack() as stack:
        made = []
        for number, card in enumerate(strangers(desk, count)):
            credentials = await desk.enrol(f"TILL{number}")
            client = await stack.enter_async_context(desk.client(credentials))
            outbox = stack.enter_context(Outbox(folder / f"outbox{number}.sqlite"))
            token = await open_card(client, desk.card(card))
            made.append(Till(client, AttemptRunner(client, outbox), token))
        yield made


async def work(desk: Desk, till: Till, seed: int, until: asyncio.Event, pause_s: float) -> None:
    """Preview and settle, again and again; whatever a cashier would call an error is noted."""
    while not until.is_set():
        seed += 1
        bill = desk.bill(seed)
        body = Preview(bill, None, wants_explanation=False)
        shown = await till.client.request(MessageType.PREVIEW, body, card_session=till.token)
        if not shown.is_approved:
            till.troubles.append(f"preview: {shown.code}")
            continue
        outcome = await till.runner.settle(
            settle_of(bill, shown.body.split), card_session=till.token
        )
        if outcome.attempt.state.value != "settled":
            attempt, said = outcome.attempt, outcome.answer.reply if outcome.answer else None
            till.troubles.append(
                f"settle {seed}: {attempt.state.value}, {attempt.code}, {attempt.ended_by}"
                f" {outcome.reason}; {said}"
            )
        till.settled += 1
        await asyncio.sleep(pause_s)


async def test_terminals_settle_while_every_worker_is_replaced(
    upgraded_city: City, installed: Path, tmp_path: Path
) -> None:
    marked = installed / "cardserver" / "app.py"
    async with served(upgraded_city, installed) as desk, tills(desk, 6, tmp_path) as working:
        before = worker_pids(desk)
        # As new software is installed: no process that runs has read it.
        source = marked.read_text(encoding="utf-8")
        assert source.count('log.info("ready"') == 1
        marked.write_text(
            source.replace('log.info("ready"', 'log.info("ready and new"'), encoding="utf-8"
        )
        done = asyncio.Event()
        # Most pause as people do; two never do, so that their worker has to drain.
        running = [
            asyncio.create_task(work(desk, till, 1000 * n, done, 0.0 if n < 2 else 0.4))
            for n, till in enumerate(working)
        ]
        await asyncio.sleep(1)
        said = await command("cardserver", "upgrade", "--ready-file", str(ready_file(desk)))
        assert "all workers" in said.output
        counts = [till.settled for till in working]
        await asyncio.sleep(1)
        done.set()
        await asyncio.gather(*running)
        assert [till.troubles for till in working] == [[]] * len(working)
        assert all(counts)
        assert all(till.settled > count for till, count in zip(working, counts, strict=True)), (
            "nobody settles after the upgrade"
        )
        after = worker_pids(desk)
        assert not set(before) & set(after)
        assert not any(is_running(pid) for pid in before)
        assert desk.log().count("ready and new") == 2
        assert desk.log().count('"ready"') == 2
    balance = await command(
        "cardserver", "verify-ledger", "--config", str(upgraded_city.config_file)
    )
    assert balance.status == 0


async def test_a_new_worker_that_does_not_start_ends_the_upgrade(
    upgraded_city: City, installed: Path
) -> None:
    broken = installed / "cardserver" / "app.py"
    source = broken.read_text(encoding="utf-8")
    async with served(upgraded_city, installed) as desk:
        before = worker_pids(desk)
        broken.write_text(f"{source}\nraise SystemExit(7)\n", encoding="utf-8")
        try:
            refused = await command(
                "cardserver", "upgrade", "--ready-file", str(ready_file(desk)), check=False
            )
        finally:
            broken.write_text(source, encoding="utf-8")
        assert refused.status == 1
        assert "the new worker 0 ended: status 7" in refused.errors
        assert worker_pids(desk) == before
        credentials = await desk.enrol("STAYED")
        async with desk.client(credentials) as client:
            assert (await client.echo(b"here")).is_approved
        # Mended, the same centre is upgraded.
        os.kill(desk.centre.pid, signal.SIGHUP)
        async with asyncio.timeout(120):
            while set(worker_pids(desk)) & set(before):  # noqa: ASYNC110 - another process' doing
                await asyncio.sleep(0.1)


async def test_one_worker_alone_says_that_it_cannot_be_upgraded(
    made_city: City, tmp_path: Path
) -> None:
    copied = copy_city(made_city, tmp_path)
    process = CentreProcess(copied.config_file)
    await process.start()
    desk = Desk(copied, process)
    credentials = await desk.enrol("ALONE")
    async with desk.client(credentials) as client:
        os.kill(process.pid, signal.SIGHUP)
        assert (await client.echo(b"still here")).is_approved
    refused = await command(
        "cardserver", "upgrade", "--ready-file", str(ready_file(desk)), check=False
    )
    assert refused.status == 1
    assert await process.stop() == 0
    assert "needs --workers 2 or more" in desk.log()
