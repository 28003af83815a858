"""Several workers on one port: they decide alike, and one that dies is not missed for long."""

import asyncio
import datetime as dt
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from msgspec.structs import replace

from protocol.terminal.bodies import decode_reply_body
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import Echo, MemberQuery, MessageType, Preview, Previewed, Settled
from simulators.centre_process import CentreProcess, City, command
from simulators.postgres import PostgreSQLCluster
from simulators.raw_terminal import Closed, Credentials
from tests import in_process
from tests.cardserver.desk import Desk, open_card, settle_of
from tests.cities import CopyOnPostgreSQL, copy_city


@pytest.fixture(scope="module")
def postgres_city(
    copy_on_postgresql: CopyOnPostgreSQL, tmp_path_factory: pytest.TempPathFactory
) -> City:
    """The city of the other tests, on PostgreSQL."""
    return copy_on_postgresql(tmp_path_factory.mktemp("workers"), "workers")


@pytest.fixture(scope="module")
def desk(postgres_city: City) -> Iterator[Desk]:
    """Two workers that the tests of this file share."""
    process = CentreProcess(postgres_city.config_file, workers=2)
    asyncio.run(process.start())
    shared = Desk(postgres_city, process)
    yield shared
    pids = worker_pids(shared)
    os.kill(process.pid, signal.SIGTERM)  # and again by `stop`, which does no harm
    assert asyncio.run(process.stop()) == 0
    assert not any(is_running(pid) for pid in pids)


def worker_pids(desk: Desk) -> list[int]:
    """The processes that say they are the workers, by what each wrote when it was ready."""
    return [ready(desk, index)["pid"] for index in range(2)]


def ready(desk: Desk, index: int) -> dict[str, int]:
    file = desk.city.config_file.with_name(f"serve.json.{index}")
    content: dict[str, int] = json.loads(file.read_bytes())
    return content


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def connections_of(desk: Desk) -> list[int]:
    """How many terminals are connected to each worker, as its own page says."""
    counts = []
    for index in range(2):
        desk.centre.observe_port = ready(desk, index)["observe_port"]
        _, text = await desk.page("/metrics/worker")
        (line,) = [line for line in text.splitlines() if line.startswith("cardserver_connections ")]
        counts.append(int(float(line.split()[1])))
    return counts


async def settle_twice_everywhere(desk: Desk, credentials: Credentials, seed: int) -> None:
    """Settle, then repeat the attempt on many connections at once, so that both workers see it."""
    async with desk.client(credentials) as client:
        token = await open_card(client, desk.card())
    async with desk.raw(credentials, operator="c001") as first:
        bill = desk.bill(seed)
        shown = await first.reply_to(
            first.request(MessageType.PREVIEW, Preview(bill), card_session=token)
        )
        split = decode_reply_body(MessageType.PREVIEW, shown.code, shown.body).split
        msgid = first.msgid()

        async def attempt() -> tuple[int, bool, bytes]:
            async with desk.raw(credentials) as one:
                one.sign_no, one.operator = first.sign_no, first.operator
                reply = await one.reply_to(
                    one.request(
                        MessageType.SETTLE, settle_of(bill, split), card_session=token, msgid=msgid
                    )
                )
                return reply.code, reply.duplicate, bytes(reply.body)

        found = await asyncio.gather(*(attempt() for _ in range(16)))
    assert {code for code, _, _ in found} == {ResponseCode.APPROVED}
    assert [is_duplicate for _, is_duplicate, _ in found].count(False) == 1
    assert len({body for _, _, body in found}) == 1
    settled = decode_reply_body(MessageType.SETTLE, ResponseCode.APPROVED, found[0][2])
    assert isinstance(settled, Settled)


async def test_both_serve_one_port_and_decide_alike(desk: Desk) -> None:
    credentials = await desk.enrol("SHARED")
    held = [desk.raw(credentials) for _ in range(24)]
    terminals = [await one.__aenter__() for one in held]
    counts = await connections_of(desk)
    assert sum(counts) == 24
    assert all(counts), "the system gave all connections to one worker"
    for one in held:
        await one.__aexit__(None, None, None)
    assert len(terminals) == 24
    await settle_twice_everywhere(desk, credentials, seed=11)
    balance = await in_process.command(
        "cardserver", "trial-balance", "--config", str(desk.city.config_file), "--json"
    )
    assert balance.status == 0


async def test_every_worker_takes_up_the_revocation_list_within_seconds(desk: Desk) -> None:
    credentials = await desk.enrol("LISTENER")
    async with AsyncExitStack() as stack:
        terminals = [await stack.enter_async_context(desk.raw(credentials)) for _ in range(24)]
        assert all(await connections_of(desk))

        async def versions() -> set[int]:
            """Ask over every connection which version its worker has."""
            replies = await asyncio.gather(
                *(one.reply_to(one.request(MessageType.ECHO, Echo(b""))) for one in terminals)
            )
            return {reply.list_version for reply in replies}

        (before,) = await versions()
        for change in ("lost", "found"):
            await in_process.command(
                "cardserver", "card", "state", "--config", str(desk.city.config_file),
                desk.card_data(1).card_number, change,
            )  # fmt: skip
        changed = time.monotonic()
        while await versions() != {before + 2}:
            assert time.monotonic() - changed < 4
            await asyncio.sleep(0.1)


async def test_every_worker_takes_up_the_catalogue_within_seconds(
    desk: Desk, tmp_path: Path
) -> None:
    credentials = await desk.enrol("PRICED")
    item = desk.bill(3).lines[0]
    async with desk.client(credentials) as client:
        token = await open_card(client, desk.card())
        sign_on = client.sign_on_state
    assert sign_on is not None
    bill = replace(desk.bill(3), lines=(item,), total_fen=item.gross_fen)

    async with AsyncExitStack() as stack:
        terminals = [await stack.enter_async_context(desk.raw(credentials)) for _ in range(24)]
        for one in terminals:
            one.sign_no, one.operator = sign_on.sign_no, sign_on.operator
        assert all(await connections_of(desk))

        async def classes() -> set[int]:
            """Preview over every connection: of which class its worker takes the item to be."""
            body = Preview(bill, None, wants_explanation=False)
            replies = await asyncio.gather(
                *(
                    one.reply_to(one.request(MessageType.PREVIEW, body, card_session=token))
                    for one in terminals
                )
            )
            found = [decode_reply_body(MessageType.PREVIEW, r.code, r.body) for r in replies]
            assert all(isinstance(one, Previewed) for one in found)
            return {one.line_splits[0].item_class for one in found}

        (before,) = await classes()
        after = 3 if before != 3 else 1
        today = f"{dt.datetime.now(dt.UTC) - dt.timedelta(days=1):%Y%m%d}"
        file = tmp_path / "news.csv"
        file.write_text(
            f"item,begins,name,item_class\n{item.item},{today},药,{after}\n", encoding="utf-8"
        )
        await in_process.command(
            "cardserver", "catalogue", "import", str(file),
            "--config", str(desk.city.config_file),
        )  # fmt: skip
        changed = time.monotonic()
        while await classes() != {after}:
            assert time.monotonic() - changed < 10
            await asyncio.sleep(0.2)


async def settled_as_shown(desk: Desk, index: int) -> int:
    """How many settlements the whole centre has answered, as a worker's page says."""
    desk.centre.observe_port = ready(desk, index)["observe_port"]
    _, text = await desk.page("/metrics")
    name = 'cardserver_request_duration_seconds_count{type="settle"} '
    lines = [line for line in text.splitlines() if line.startswith(name)]
    return sum(int(float(line.split()[-1])) for line in lines)


async def test_one_page_shows_all_workers_and_no_count_falls_when_one_dies(desk: Desk) -> None:
    credentials = await desk.enrol("SUMMED")
    before = await settled_as_shown(desk, 0)
    await settle_twice_everywhere(desk, credentials, seed=21)

    async def both_show(least: int) -> int:
        async with asyncio.timeout(20):
            while True:
                shown = [await settled_as_shown(desk, index) for index in range(2)]
                if min(shown) >= least and shown[0] == shown[1]:
                    return shown[0]
                await asyncio.sleep(0.2)

    counted = await both_show(before + 2)
    killed = worker_pids(desk)[1]
    os.kill(killed, signal.SIGKILL)
    async with asyncio.timeout(20):
        while worker_pids(desk)[1] == killed:
            await asyncio.sleep(0.05)
            assert await settled_as_shown(desk, 0) >= counted
    assert await both_show(counted) == counted


async def test_a_worker_that_is_killed_comes_back_while_the_other_serves(desk: Desk) -> None:
    credentials = await desk.enrol("SURVIVOR")
    before = worker_pids(desk)
    os.kill(before[1], signal.SIGKILL)

    async def is_served() -> bool:
        try:
            async with desk.raw(credentials) as terminal:
                reply = await terminal.reply_to(terminal.request(MessageType.ECHO, Echo(b"x")))
                return reply.code == ResponseCode.APPROVED
        except (OSError, Closed):
            return False

    # The dead worker's share of the port ends with it: the other takes every new connection.
    await asyncio.sleep(0.1)
    assert all([await is_served() for _ in range(8)])
    async with asyncio.timeout(20):
        while worker_pids(desk)[1] == before[1]:  # noqa: ASYNC110 - another process' doing
            await asyncio.sleep(0.05)
    after = worker_pids(desk)
    assert after[0] == before[0]
    assert all([await is_served() for _ in range(8)])
    await settle_twice_everywhere(desk, credentials, seed=12)
    assert "worker died" in desk.log()


async def test_a_database_that_is_away_ends_no_worker(
    desk: Desk, postgres_cluster: PostgreSQLCluster
) -> None:
    credentials = await desk.enrol("PATIENT")
    before = worker_pids(desk)

    def allow_connections(*, are_allowed: bool) -> None:
        statements = (
            f"ALTER DATABASE workers ALLOW_CONNECTIONS {are_allowed}",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'workers'",
        )
        for statement in statements:
            postgres_cluster._run(
                "psql", "-h", str(postgres_cluster.directory), "-U", "postgres", "-c", statement
            )

    async with desk.raw(credentials, operator="c001") as terminal:
        await asyncio.to_thread(allow_connections, are_allowed=False)
        query = terminal.request(MessageType.MEMBER_QUERY, MemberQuery("02", "1"))
        reply = await terminal.reply_to(query)
        assert reply.code == ResponseCode.STORE_UNAVAILABLE
        async with desk.raw(credentials) as another:
            assert (await another.goodbye()).code == ResponseCode.STORE_UNAVAILABLE
        await asyncio.sleep(5.5)  # policies are looked at every five seconds
        desk.centre.observe_port = ready(desk, 0)["observe_port"]
        async with asyncio.timeout(20):
            while (await desk.page("/readyz"))[0] != 503:  # noqa: ASYNC110 - another process' state
                await asyncio.sleep(0.1)
        await asyncio.to_thread(allow_connections, are_allowed=True)
        async with asyncio.timeout(10):
            while True:
                query = terminal.request(MessageType.MEMBER_QUERY, MemberQuery("02", "1"))
                if (await terminal.reply_to(query)).code == ResponseCode.PERSON_UNKNOWN:
                    break
                await asyncio.sleep(0.1)
    assert worker_pids(desk) == before
    assert "policies can't be read" in desk.log()
    await settle_twice_everywhere(desk, credentials, seed=13)


async def test_workers_do_not_outlive_their_parent(postgres_city: City, tmp_path: Path) -> None:
    """A parent that is killed leaves no orphans behind that hold the port."""
    copied = copy_city(postgres_city, tmp_path)
    process = CentreProcess(copied.config_file, workers=2)
    await process.start()
    pids = worker_pids(Desk(copied, process))
    await process.kill()
    async with asyncio.timeout(15):
        while any(is_running(pid) for pid in pids):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)


async def test_sqlite_serves_one_worker_only(made_city: City) -> None:
    refused = await command(
        "cardserver", "serve", "--config", str(made_city.config_file), "--workers", "2", check=False
    )
    assert refused.status == 1
    assert refused.errors.startswith("cardserver: SQLite serves one worker")
    assert "Traceback" not in refused.errors


async def test_a_port_in_use_is_said_in_a_sentence(desk: Desk) -> None:
    refused = await command(
        "cardserver", "serve", "--config", str(desk.city.config_file),
        "--port", str(ready(desk, 0)["observe_port"]), "--observe-port", "0", "--workers", "2",
        check=False,
    )  # fmt: skip
    assert refused.status == 1
    assert "can't listen at 127.0.0.1:" in refused.errors
    assert "Traceback" not in refused.errors
