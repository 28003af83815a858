"""Terminals, centre and a real Mosquitto: what is said, to whom, and what losing it costs."""

import asyncio
import json
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest

from protocol.telemetry.messages import Presence, TerminalState, decode_lists, encode
from protocol.telemetry.topics import NEWS_LISTS, NEWS_STOP, TerminalName, state_topic
from simulators.centre_process import command, enrol
from simulators.fleet import FleetWish, fleet_at_work
from simulators.raw_terminal import Credentials
from tests import in_process
from tests.cardserver.desk import Desk, open_card
from tests.cardserver.telemetry.conftest import Connected
from tests.protocol.telemetry.description import check

INSTITUTION = "H11019900001"
SOON_S = 30  # generous: what is meant is "without anybody's doing"


async def said(desk: Desk) -> list[dict]:
    shown = await in_process.command(
        "cardserver", "terminals", "states", "--config", str(desk.city.config_file), "--json"
    )
    return json.loads(shown.output)


async def until_said(desk: Desk, terminal: str, presence: str) -> dict:
    async with asyncio.timeout(SOON_S):
        while True:
            for one in await said(desk):
                if one["terminal"] == terminal and one["state"]["presence"] == presence:
                    return one
            await asyncio.sleep(0.2)


@asynccontextmanager
async def counter(connected: Connected, code: str) -> AsyncIterator[Path]:
    """A terminal's folder, enrolled, signed on, with the broker in its configuration."""
    desk = connected.desk
    config = await enrol(
        desk.city, institution=INSTITUTION, terminal=code, port=desk.centre.port
    )  # fmt: skip
    with config.open("a", encoding="utf-8") as file:
        file.write(
            f'\n[mqtt]\nhost = "127.0.0.1"\nport = {connected.broker.port}\n'
            "interval_ms = 1000\nnews_spread_ms = 100\nreconnect_pause_ms_max = 1000\n"
        )
    await command(
        "cardterminal", "sign-on", "--operator", "c001", "--config", str(config),
        "--password-file", str(desk.city.password_file),
    )  # fmt: skip
    yield config


@asynccontextmanager
async def attending(config: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """`cardterminal attend` as a process."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("cardterminal")), "attend", "--config", str(config),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def context_of(authority: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority)
    context.load_cert_chain(certificate, key)
    return context


def client_of(connected: Connected, context: ssl.SSLContext) -> aiomqtt.Client:
    return aiomqtt.Client(
        "127.0.0.1", connected.broker.port, protocol=aiomqtt.ProtocolVersion.V5,
        tls_context=context, timeout=10,
    )  # fmt: skip


def terminal_client(connected: Connected, credentials: Credentials) -> aiomqtt.Client:
    authority = connected.desk.city.authority_file
    return client_of(
        connected, context_of(authority, credentials.certificate_file, credentials.key_file)
    )


async def test_a_counter_is_seen_and_missed_and_hears_of_a_revoked_card(
    connected: Connected,
) -> None:
    desk = connected.desk
    async with counter(connected, "SEEN") as config:
        async with attending(config) as process:
            seen = await until_said(desk, "SEEN", "signed_on")
            assert seen["is_enrolled"]
            assert not seen["is_offline"]
            assert seen["state"]["operator"] == "c001"
            assert seen["state"]["versions"]["software"].startswith("cardterminal")
            version = seen["state"]["versions"]["revocations"]

            await command(
                "cardserver", "card", "state", "--config", str(desk.city.config_file),
                desk.card_data(5).card_number, "lost",
            )  # fmt: skip
            changed_at = time.monotonic()
            held = version
            while held <= version:
                assert time.monotonic() - changed_at < SOON_S
                shown = await in_process.command(
                    "cardterminal", "lists", "show", "--config", str(config), "--json"
                )
                held = json.loads(shown.output)["result"]["lists"]["revocations"]["version"]

            await command(
                "cardserver", "stop", "plan", "--config", str(desk.city.config_file),
                "--begins", "2099-11-30T02:00", "--ends", "2099-11-30T03:00",
                "--text-zh", "换硬盘",
            )  # fmt: skip
            assert process.stderr is not None
            async with asyncio.timeout(SOON_S):
                while b"2099-11-30 02:00" not in (line := await process.stderr.readline()):
                    assert line, "the counter ended"
            assert "换硬盘" in line.decode()
            process.send_signal(signal.SIGKILL)
            await process.wait()
            lost = await until_said(desk, "SEEN", "lost")
            assert lost["is_offline"]
            assert lost["state"]["operator"] == "c001"

        async with attending(config) as process:
            again = await until_said(desk, "SEEN", "signed_on")
            assert again["state"]["session"] != seen["state"]["session"]
            await command("cardterminal", "sign-off", "--config", str(config))
            async with asyncio.timeout(SOON_S):
                assert await process.wait() == 0
        assert (await until_said(desk, "SEEN", "signed_off"))["is_offline"] is False


async def test_the_broker_lets_nobody_speak_for_another(connected: Connected) -> None:
    desk, authority = connected.desk, connected.desk.city.authority_file
    own, other = await desk.enrol("OWN"), await desk.enrol("OTHER")
    state = TerminalState(
        presence=Presence.SIGNED_ON, session="a" * 16, sequence=1,
        sent_time_ms=time.time_ns() // 1_000_000, interval_ms=60_000,
    )  # fmt: skip
    async with terminal_client(connected, own) as client:
        name = TerminalName(other.institution, other.terminal)
        with pytest.raises(aiomqtt.MqttError):
            await publish(client, state_topic(name), encode(state))
        with pytest.raises(aiomqtt.MqttError):
            await publish(client, NEWS_LISTS, b"{}")
        # Neither may it hear what others say.
        await client.subscribe("cardserver/1/terminals/#", qos=1)
        await client.subscribe("cardserver/1/news/#", qos=1)
        name = TerminalName(own.institution, own.terminal)
        await publish(client, state_topic(name), encode(state))
        await publish(client, state_topic(name), b"\xff not a state")
        heard = {}
        async with asyncio.timeout(SOON_S):
            async for message in client.messages:
                heard[str(message.topic)] = message.payload
                if len(heard) == 2:
                    break
        assert set(heard) == {NEWS_LISTS, NEWS_STOP}
        for topic, payload in heard.items():
            check(topic, payload)
        newest = decode_lists(heard[NEWS_LISTS])
        assert {one.name for one in newest.lists} >= {"revocations", "catalogue", "mapping"}
    await until_said(desk, "OWN", "signed_on")
    assert not [one for one in await said(desk) if one["terminal"] == "OTHER"]
    assert "state refused" in desk.log()

    strange = client_of(
        connected,
        context_of(
            authority, desk.city.directory / "server.crt", desk.city.directory / "server.key"
        ),
    )
    with pytest.raises(aiomqtt.MqttError):
        async with strange:
            await publish(strange, NEWS_LISTS, b"{}")
    anonymous = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anonymous.load_verify_locations(authority)
    with pytest.raises(aiomqtt.MqttError):
        async with client_of(connected, anonymous):
            pass


async def publish(client: aiomqtt.Client, topic: str, payload: bytes) -> None:
    """Publish, and raise where the broker says that this is not allowed."""
    denied: list[object] = []
    paho = client._client

    def on_publish(_c: object, _u: object, mid: int, reason: object, _p: object = None) -> None:
        if getattr(reason, "is_failure", False):
            denied.append(reason)
        client._on_publish(_c, _u, mid, reason, _p)

    paho.on_publish = on_publish
    await client.publish(topic, payload, qos=1, retain=True)
    paho.on_publish = client._on_publish
    if denied:
        raise aiomqtt.MqttError(str(denied[0]))


async def test_what_is_really_said_is_as_described(connected: Connected) -> None:
    city = connected.desk.city
    centre = client_of(
        connected,
        context_of(
            city.authority_file, city.directory / "broker" / "centre.crt",
            city.directory / "broker" / "centre.key",
        ),
    )  # fmt: skip
    async with counter(connected, "TOLD") as config, attending(config) as process:
        await until_said(connected.desk, "TOLD", "signed_on")
        process.kill()
        await until_said(connected.desk, "TOLD", "lost")
    await connected.desk.centre.stop()  # of this name there is one connection at a time
    async with centre:
        await centre.subscribe("cardserver/1/terminals/+/state", qos=1)
        async with asyncio.timeout(SOON_S):
            message = await anext(aiter(centre.messages))
        topic = str(message.topic)
        assert topic == state_topic(TerminalName(INSTITUTION, "TOLD"))
        assert isinstance(message.payload, bytes)
        check(topic, message.payload)
        assert json.loads(message.payload)["presence"] == "lost"
    await connected.desk.centre.start()


async def test_without_the_broker_everything_but_the_news_goes_on(connected: Connected) -> None:
    desk, broker = connected.desk, connected.broker
    async with counter(connected, "PATIENT") as config, attending(config) as process:
        await until_said(desk, "PATIENT", "signed_on")
        await broker.kill()
        credentials = await desk.enrol("SETTLING")
        async with desk.client(credentials) as client:
            token = await open_card(client, desk.card())
            for seed in range(5):
                assert (await desk.settle(client, token, desk.bill(seed))).is_approved
        status, _ = await desk.page("/readyz")
        assert status == 200
        back_ms = time.time_ns() // 1_000_000
        await broker.start()
        async with asyncio.timeout(SOON_S):
            while (await until_said(desk, "PATIENT", "signed_on"))["heard_time_ms"] < back_ms:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.2)
        assert process.returncode is None
    assert "broker not connected" in desk.log()
    assert desk.log().count("broker connected") >= 2


async def test_a_centre_starts_without_its_broker(connected: Connected) -> None:
    await connected.broker.kill()
    await connected.desk.centre.stop()
    await connected.desk.centre.start()
    credentials = await connected.desk.enrol("EARLY")
    async with connected.desk.client(credentials) as client:
        assert (await client.echo(b"here")).is_approved


async def test_a_fleet_with_faults_is_seen_and_every_attempt_ends(
    connected: Connected, tmp_path: Path
) -> None:
    desk, broker = connected.desk, connected.broker
    wish = FleetWish(
        config_file=desk.city.config_file,
        population=desk.city.population,
        password_file=desk.city.password_file,
        folder=tmp_path / "fleet",
        terminals=30,
        seed=5,
        seconds=60,
        settlements_max=60,
        think_s=1,
        fault_ratio=0.4,
        centre=("127.0.0.1", desk.centre.port),
        broker=("127.0.0.1", broker.port),
    )

    async with fleet_at_work(wish) as fleet, asyncio.timeout(wish.seconds):
        await broker.kill()
        await asyncio.sleep(1)
        await broker.start()
        back: set[TerminalName] = set()
        while len(back) < wish.terminals or fleet.report.felt.settled < wish.settlements_max:
            back |= {one.place.name for one in fleet.terminals if one.is_connected}
            await asyncio.sleep(0.1)
    report = fleet.report
    assert report.felt.settled > 0
    assert report.felt.in_doubt == 0
    assert sum(report.faults.values()) == 12
    assert set(report.faults) == {
        "slow_network", "dropped_connections", "dying", "broken_reader", "wrong_clock"
    }  # fmt: skip
    async with asyncio.timeout(SOON_S):
        while True:
            states = [one for one in await said(desk) if one["terminal"].startswith("F0")]
            lost = {
                (one["institution"], one["terminal"])
                for one in states
                if one["state"]["presence"] == "lost"
            }
            away = [one for one in states if one["state"]["presence"] == "signed_off"]
            # All say that they leave, but those that were dead as the fleet ended.
            if lost == set(report.dead) and len(lost) + len(away) == 30:
                break
            await asyncio.sleep(0.2)
    skewed = [one for one in states if abs(one["clock_skew_ms"]) > 50_000]
    assert len(skewed) == report.faults["wrong_clock"]
    verified = await command(
        "cardserver", "verify-ledger", "--config", str(desk.city.config_file)
    )  # fmt: skip
    assert verified.status == 0
