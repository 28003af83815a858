"""A fleet of simulated terminals at a running centre: enrolled in bulk, signed on, at work.

Everything that they draw is drawn from a seed; what they felt depends on the machine. Not here:
what one terminal does (`fleet_terminal.py`).
"""

import asyncio
import csv
import resource
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from msgspec import structs

from protocol.telemetry.topics import TerminalName
from simulators.centre_process import command
from simulators.counter import Patient, choose_patients
from simulators.fleet_terminal import Fault, FleetFelt, FleetTerminal, Place
from simulators.made_up_bill import read_items
from terminals.config import (
    CentreSection,
    ListSection,
    MQTTSection,
    OutboxSection,
    TerminalConfig,
    TerminalSection,
)
from terminals.enrolment import key_and_request

SIGNING_ON_MAX: Final = 8
"""Passwords take a centre its time; a queue of thousands would outlast every terminal's patience.
"""
OPERATOR: Final = "c001"
_BILLING_KINDS: Final = {"1", "2"}  # hospitals and community centres: all bills are outpatients'
_DESCRIPTORS_EACH: Final = 16
_PATIENTS_MAX: Final = 4_000
_ENDING_S: Final = 60.0
_SETTLED_LOOK_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class FleetWish:
    """What fleet, where, and for how long.

    Attributes:
        config_file: The centre's `cardserver.toml`.
        population: The made-up city's folder.
        password_file: Password of the city's operators.
        folder: Where the terminals' keys, certificates, outboxes and lists are; kept by the caller.
        terminals: How many.
        seed: Draws everything.
        seconds: For how long, from when all are signed on.
        settlements_max: Ends the run sooner; 0 for no such end.
        think_s: How long a cashier takes between two patients, on average.
        fault_ratio: Which part of the terminals has a fault, evenly of each kind.
        centre: Host and port.
        broker: Host and port; host empty for none.
    """

    config_file: Path
    population: Path
    password_file: Path
    folder: Path
    terminals: int
    seed: int
    seconds: float
    settlements_max: int
    think_s: float
    fault_ratio: float
    centre: tuple[str, int]
    broker: tuple[str, int]


@dataclass(slots=True)
class FleetReport:
    """What came of it.

    Attributes:
        terminals: How many.
        faults: Terminals by fault.
        dead: Those that had died, and not been started again, as the fleet ended.
        felt: What they felt.
        enrol_s: Enrolling took so long.
        sign_on_s: Until all were signed on.
        work_s: At work.
        connected_max: Terminals that the broker had at once, at most.
        cpu_s: Processor time of this process while at work.
        resident_kib: This process' resident memory in the end.
        resident_before_kib: The same before the first terminal.
    """

    terminals: int
    faults: Counter[str] = field(default_factory=Counter)
    dead: list[TerminalName] = field(default_factory=list)
    felt: FleetFelt = field(default_factory=FleetFelt)
    enrol_s: float = 0.0
    sign_on_s: float = 0.0
    work_s: float = 0.0
    connected_max: int = 0
    cpu_s: float = 0.0
    resident_kib: int = 0
    resident_before_kib: int = 0


Progress = Callable[[str, int, int], None]
"""Is told what goes on, how far it is, and of how much."""


@dataclass(slots=True)
class Fleet:
    """A fleet at work.

    Attributes:
        terminals: The terminals.
        report: What came of it so far.
    """

    terminals: list[FleetTerminal]
    report: FleetReport

    @property
    def signed_on_count(self) -> int:
        """How many terminals are signed on now."""
        return sum(one.telemetry is not None for one in self.terminals)

    @property
    def connected_count(self) -> int:
        """How many the broker has now."""
        return sum(one.is_connected for one in self.terminals)


async def run_fleet(wish: FleetWish, progress: Progress = lambda *_: None) -> FleetReport:
    """Run a fleet to its end: by time, or by the count of settlements."""
    async with fleet_at_work(wish, progress) as fleet:
        report = fleet.report
        started, cpu_s = time.perf_counter(), time.process_time()
        while (worked_s := time.perf_counter() - started) < wish.seconds:
            settled = report.felt.settled
            if wish.settlements_max and settled >= wish.settlements_max:
                break
            report.connected_max = max(report.connected_max, fleet.connected_count)
            progress("settled", settled, wish.settlements_max)
            await asyncio.sleep(_SETTLED_LOOK_S)
        report.work_s = worked_s
        report.cpu_s = time.process_time() - cpu_s
        report.resident_kib = resident_kib()
    return report


@asynccontextmanager
async def fleet_at_work(
    wish: FleetWish, progress: Progress = lambda *_: None
) -> AsyncIterator[Fleet]:
    """Enrol a fleet, sign it on, and have it work for as long as the context lasts.

    Raises:
        CommandError: The centre's command could not enrol it.
    """
    _allow_descriptors(wish.terminals * _DESCRIPTORS_EACH)
    started = time.perf_counter()
    names = _names(wish)
    await _enrol(wish, names, progress)
    report = FleetReport(wish.terminals, enrol_s=time.perf_counter() - started)
    report.resident_before_kib = resident_kib()
    signing_on = asyncio.Semaphore(SIGNING_ON_MAX)
    places = _places(wish, names)
    report.faults.update(place.fault.value for place in places if place.fault is not None)
    fleet = Fleet([FleetTerminal(place, report.felt, signing_on) for place in places], report)
    until = asyncio.Event()
    started = time.perf_counter()
    working = [asyncio.create_task(one.work(until)) for one in fleet.terminals]
    try:
        while (count := _ever_on(fleet)) < wish.terminals:
            progress("signed on", count, wish.terminals)
            for task in working:
                if task.done():
                    task.result()
            await asyncio.sleep(_SETTLED_LOOK_S)
        report.sign_on_s = time.perf_counter() - started
        yield fleet
    finally:
        until.set()
        _, late = await asyncio.wait(working, timeout=_ENDING_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
    report.dead.extend(one.place.name for one in fleet.terminals if one.is_dead)
    for task in working:
        if not task.cancelled():
            task.result()


@contextmanager
def memory_folder() -> Iterator[Path]:
    """Give a folder in memory, where the system has such.

    Real terminals have a disk each; a thousand outboxes on one would wait for each other.
    """
    shared = Path("/dev/shm")  # noqa: S108 - where Linux keeps files in memory; the folder is ours
    with tempfile.TemporaryDirectory(
        prefix="cardsim-fleet-", dir=shared if shared.is_dir() else None
    ) as folder:
        yield Path(folder)


def resident_kib() -> int:
    """This process' resident memory."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("the process shows no memory")


def percentiles(values: Sequence[float]) -> tuple[float, float, float, float]:
    """Give median, 95th, 99th percentile and the most of some values; there is at least one."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return (
        ordered[last // 2],
        ordered[min(last, len(ordered) * 95 // 100)],
        ordered[min(last, len(ordered) * 99 // 100)],
        ordered[last],
    )


def _ever_on(fleet: Fleet) -> int:
    return sum(one.has_signed_on for one in fleet.terminals)


def _names(wish: FleetWish) -> list[tuple[str, str]]:
    """Name institution and code of each terminal, spread over the institutions in contract."""
    with (wish.population / "institutions.csv").open(encoding="utf-8", newline="") as file:
        codes = [
            row["code"]
            for row in csv.DictReader(file)
            if row["state"] == "1" and row["kind"] in _BILLING_KINDS
        ]
    return [(codes[n % len(codes)], f"F{n // len(codes):04}") for n in range(wish.terminals)]


async def _enrol(wish: FleetWish, names: list[tuple[str, str]], progress: Progress) -> None:
    """Make keys and requests for those that have none, and have the centre sign them all."""
    wish.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for done, (institution, code) in enumerate(names):
        stem = wish.folder / f"{institution}-{code}"
        if not stem.with_suffix(".key").exists():
            key, request = key_and_request(institution, code)
            stem.with_suffix(".csr").write_bytes(request)
            stem.with_suffix(".key").touch(mode=0o600)
            stem.with_suffix(".key").write_bytes(key)
        if done % 100 == 0:
            progress("keys", done, len(names))
            await asyncio.sleep(0)
    progress("enrolment", 0, len(names))
    await command(
        "cardserver", "enrol-terminals", "--config", str(wish.config_file), str(wish.folder)
    )


def _places(wish: FleetWish, names: list[tuple[str, str]]) -> list[Place]:
    random = Random(f"{wish.seed} fleet")
    today = int(time.strftime("%Y%m%d", time.gmtime(time.time() + 8 * 3600)))
    patients = choose_patients(wish.population, count=_PATIENTS_MAX, today=today)
    items = read_items(wish.population)
    password = wish.password_file.read_text(encoding="utf-8").strip()
    kinds = list(Fault)
    faulty = random.sample(range(len(names)), round(len(names) * wish.fault_ratio))
    faults = {number: kinds[place % len(kinds)] for place, number in enumerate(faulty)}
    return [
        Place(
            config=_config(wish, institution, code),
            operator=OPERATOR,
            password=password,
            patients=_few(patients, number),
            items=items,
            keys=wish.config_file.parent / "test-card-keys",
            think_s=wish.think_s,
            fault=faults.get(number),
            random=Random(f"{wish.seed} terminal {number}"),
        )
        for number, (institution, code) in enumerate(names)
    ]


def _few(patients: Sequence[Patient], number: int) -> Sequence[Patient]:
    """Give a terminal patients of its own, as far as there are enough."""
    few = max(1, min(len(patients), 8))
    start = number * few % len(patients)
    return (*patients, *patients)[start : start + few]


def _config(wish: FleetWish, institution: str, code: str) -> TerminalConfig:
    stem = wish.folder / f"{institution}-{code}"
    host, port = wish.centre
    broker_host, broker_port = wish.broker
    config = TerminalConfig(
        centre=CentreSection(
            host=host,
            port=port,
            ca_file=str(wish.config_file.parent / "authority" / "authority.crt"),
        ),
        terminal=TerminalSection(
            institution=institution,
            code=code,
            certificate_file=str(stem.with_suffix(".crt")),
            key_file=str(stem.with_suffix(".key")),
        ),
        outbox=OutboxSection(file=str(stem.with_suffix(".outbox"))),
        lists=ListSection(file=str(stem.with_suffix(".lists"))),
    )
    mqtt = MQTTSection(host=broker_host, port=broker_port) if broker_host else MQTTSection()
    return structs.replace(config, mqtt=mqtt)


def _allow_descriptors(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 1_024
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
