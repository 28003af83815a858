"""What do a thousand terminals on the broker cost settlements, and how soon is their state seen?

A fleet of simulated terminals (`cardsim fleet`, a process of its own) is signed on at the centre
and on a real Mosquitto. Beside it tills settle in a closed loop: with the broker there, while it is
away, and with it back. State changes of probes are timed until the centre's table has them; after
the broker was killed, until every terminal was heard again.
"""

import argparse
import asyncio
import resource
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import uvloop

from benchmarks.load import cpu_seconds, database_urls, enrol_many, institutions, terminal_config
from benchmarks.load import signed_on_terminals as signed_on
from benchmarks.report import console, print_latencies, print_machine
from benchmarks.settle import Measured, Till, closed_loop, open_tills, settle_once
from cardserver.commands.database import open_database
from cardserver.config import load_config
from cardserver.telemetry.terminal_states_store import terminal_states
from ledger.database_store import Database
from protocol.telemetry.messages import OutboxDepth, Presence, ReaderHealth, ReaderState
from protocol.telemetry.topics import TerminalName
from simulators.centre_process import CentreProcess, City, make_city
from simulators.fleet import memory_folder
from simulators.mosquitto import MosquittoBroker, make_broker
from terminals.broker_link import BrokerLink
from terminals.config import MQTTSection
from terminals.link import terminal_tls_context
from terminals.telemetry import FeltTimes, Telemetry

GOAL_S = 5.0
_FOREVER_S = 3_600
_TILLS = 4
_POLL_S = 0.05
_PROBES = 8
_CHANGES = 5
_RECOVERY_MAX_S = 120


@dataclass(slots=True)
class Probe:
    """A terminal of this process, whose reader changes when it is told to."""

    name: TerminalName
    telemetry: Telemetry
    reader: ReaderHealth


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks broker", description=__doc__)
    parser.add_argument("--terminals", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each closed loop")
    parser.add_argument("--think-s", type=float, default=60.0, help="of the fleet's cashiers")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="postgresql")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print_machine("What do terminals on the broker cost settlements, and how soon are they seen?")
    with (
        database_urls([options.database]) as urls,
        tempfile.TemporaryDirectory(prefix="cardserver-benchmark-") as folder,
    ):
        uvloop.run(_measure(Path(folder), urls[options.database], options))


async def _measure(folder: Path, url: str, options: argparse.Namespace) -> None:
    city = await make_city(folder, persons=5_000, database_url=url, quick_passwords=True)
    broker = await make_broker(city)
    await broker.start()
    centre = CentreProcess(city.config_file)
    await centre.start()
    try:
        async with AsyncExitStack() as stack:
            database = await stack.enter_async_context(open_database(load_config(city.config_file)))
            clients = await stack.enter_async_context(
                signed_on(city, centre, count=_TILLS, folder=folder)
            )
            tills = await open_tills(city, clients, _TILLS)
            probes = await stack.enter_async_context(_probes(city, broker, folder))
            invoices = count(1)
            loops = {"nobody on the broker": await _settle(tills, invoices, options, centre)}
            memory = stack.enter_context(memory_folder())
            fleet = await stack.enter_async_context(_fleet(city, centre, broker, options, memory))
            await _all_signed_on(database, options.terminals, fleet)
            _say_cost(centre, broker, fleet, options.terminals)
            loops["terminals on the broker"] = await _settle(tills, invoices, options, centre)
            await _time_changes(database, probes)
            await broker.kill()
            loops["the broker is away"] = await _settle(tills, invoices, options, centre)
            await _time_recovery(database, broker, options.terminals)
            loops["the broker is back"] = await _settle(tills, invoices, options, centre)
            _print_loops(loops)
    finally:
        await centre.stop()
        await broker.stop()


async def _settle(
    tills: Sequence[Till],
    invoices: "count[int]",
    options: argparse.Namespace,
    centre: CentreProcess,
) -> Measured:
    return await closed_loop(
        lambda till: settle_once(till, invoices), tills, options.seconds, centre
    )


@asynccontextmanager
async def _fleet(
    city: City,
    centre: CentreProcess,
    broker: MosquittoBroker,
    options: argparse.Namespace,
    memory: Path,
) -> AsyncIterator[subprocess.Popen[bytes]]:
    process = _spawn_fleet(city, centre, broker, options, memory)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _spawn_fleet(
    city: City,
    centre: CentreProcess,
    broker: MosquittoBroker,
    options: argparse.Namespace,
    memory: Path,
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            str(Path(sys.executable).with_name("cardsim")), "fleet",
            "--config", str(city.config_file), "--population", str(city.population),
            "--password-file", str(city.password_file), "--terminals", str(options.terminals),
            "--seconds", str(_FOREVER_S), "--think-s", str(options.think_s), "--faults", "0",
            "--port", str(centre.port), "--broker-host", "127.0.0.1",
            "--broker-port", str(broker.port), "--folder", str(memory),
        ],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


@asynccontextmanager
async def _probes(city: City, broker: MosquittoBroker, folder: Path) -> AsyncIterator[list[Probe]]:
    codes = institutions(city.population)
    names = [TerminalName(codes[n % len(codes)], f"PROBE{n}") for n in range(_PROBES)]
    folders = await enrol_many(city, names, folder=folder)
    section = MQTTSection(host="127.0.0.1", port=broker.port)
    made: list[Probe] = []
    running: list[asyncio.Task[None]] = []
    for name, own in zip(names, folders, strict=True):
        probe = _probe(name)
        context = terminal_tls_context(terminal_config(own, port=1))
        link = BrokerLink(section, context, name, probe.telemetry)
        running.append(asyncio.create_task(link.run()))
        made.append(probe)
    try:
        yield made
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _probe(name: TerminalName) -> Probe:
    telemetry = Telemetry(
        session=secrets.token_hex(8), interval_ms=30_000, news_spread_ms=0,
        operator=lambda: "c001", clock_offset_ms=lambda: 0, reader=lambda: probe.reader,
        outbox=OutboxDepth, felt=FeltTimes(), now_ms=lambda: time.time_ns() // 1_000_000,
        jitter=lambda: 1.0,
    )  # fmt: skip
    probe = Probe(name, telemetry, ReaderHealth(ReaderState.EMPTY, "probe"))
    return probe


async def _all_signed_on(
    database: Database, terminals: int, fleet: subprocess.Popen[bytes]
) -> None:
    """Wait until the centre knows that all are there."""
    started = time.perf_counter()
    while True:
        views = await terminal_states(database)
        if sum(view.state.presence is Presence.SIGNED_ON for view in views) >= terminals + _PROBES:
            break
        assert fleet.poll() is None, "the fleet has ended"
        await asyncio.sleep(1)
    console.print(f"{terminals:,} terminals signed on after {time.perf_counter() - started:.0f} s")
    await asyncio.sleep(2)


def _say_cost(
    centre: CentreProcess, broker: MosquittoBroker, fleet: subprocess.Popen[bytes], terminals: int
) -> None:
    for what, pid in (("centre", centre.pid), ("broker", broker.pid), ("fleet", fleet.pid)):
        kib = _resident_kib(pid)
        console.print(
            f"{what}: {kib / 1024:,.0f} MiB resident ({kib / terminals:,.0f} KiB a terminal),"
            f" {cpu_seconds(pid):.1f} s of processor time so far"
        )


async def _time_changes(database: Database, probes: Sequence[Probe]) -> None:
    """Have probes' readers fail and work again, and time until the table says so."""
    took_s: list[float] = []
    for number in range(_CHANGES):
        state = ReaderState.FAULTY if number % 2 == 0 else ReaderState.EMPTY
        changed_at = time.perf_counter()
        for probe in probes:
            probe.reader = ReaderHealth(state, "probe")
            probe.telemetry.touch()
        waiting = {probe.name for probe in probes}
        while waiting:
            await asyncio.sleep(_POLL_S)
            for view in await terminal_states(database):
                if view.name in waiting and view.state.reader.state is state:
                    waiting.discard(view.name)
                    took_s.append(time.perf_counter() - changed_at)
        await asyncio.sleep(0.3)
    took_s.sort()
    console.print(
        f"state changes seen in the centre's table: {len(took_s)}, median"
        f" {took_s[len(took_s) // 2]:.2f} s, last {took_s[-1]:.2f} s (goal {GOAL_S:.0f} s)"
    )


async def _time_recovery(database: Database, broker: MosquittoBroker, terminals: int) -> None:
    """Start the broker again and time until every terminal was heard."""
    back_ms = time.time_ns() // 1_000_000
    started = time.perf_counter()
    await broker.start()
    while True:
        await asyncio.sleep(0.5)
        views = await terminal_states(database)
        heard = sum(view.heard_time_ms >= back_ms for view in views)
        if heard >= terminals + _PROBES:
            break
        assert time.perf_counter() - started < _RECOVERY_MAX_S, f"{heard} came back"
    console.print(
        f"the broker was killed and came back: all {heard:,} terminals heard again after"
        f" {time.perf_counter() - started:.1f} s"
    )


def _print_loops(loops: dict[str, Measured]) -> None:
    print_latencies({what: (one.seconds, one.duration_s) for what, one in loops.items()})
    base = sorted(loops["the broker is away"].seconds)
    there = sorted(loops["terminals on the broker"].seconds)
    console.print(
        "settlement latency with the terminals on the broker, to that with the broker away:"
        f" median {there[len(there) // 2] / base[len(base) // 2]:.2f},"
        f" 99th percentile {there[len(there) * 99 // 100] / base[len(base) * 99 // 100]:.2f}"
    )
    spent = {what: one.centre_cpu_s / one.asked for what, one in loops.items()}
    console.print(
        "the centre's processor time a settlement, to that with nobody on the broker: "
        + ", ".join(
            f"{what} {each / spent['nobody on the broker']:.2f}" for what, each in spent.items()
        )
    )


def _resident_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("the process shows no memory")
