"""How long is it from a card in the reader to the person on the screen, the chip's time apart?

Challenge, authentication, registry, insurances, balance and accumulators, over TLS at a remote
terminal on loopback: first with simulated cards in this process, one terminal and then many at
once; then with a simulated card in the virtual reader behind the real pcscd, one after another.
To be reached: p50 under 10 ms and p99 under 50 ms beyond the chip's own time.
"""

import argparse
import asyncio
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from benchmarks.load import database_urls, signed_on_terminals, today
from benchmarks.report import console, print_latencies, print_machine, print_stages
from protocol.terminal.messages import CardOpened
from simulators.card.simulated_card import SimulatedCard
from simulators.card.social_security_card import CardData, RootKeys, print_card
from simulators.card.virtual_reader import VirtualReaderCard
from simulators.centre_process import CentreProcess, City, make_city
from simulators.counter import SimulatedReader, choose_patients
from simulators.pcscd import virtual_reader
from terminals.card_reader import CardReader
from terminals.client import TerminalClient
from terminals.readers.channel import BatchAnswers, StepLike
from terminals.readers.pcsc import PCSCReader

_PERSONS = 1000
_WARM_UP = 20
_CHIP = "chip"  # within the round trips already
_VERSION = "2.00"  # one round trip; 3.00 takes two


@dataclass(slots=True)
class Opened:
    """What openings took.

    Attributes:
        beyond_s: Without powering the card up and without its commands.
        whole_s: With both.
    """

    beyond_s: list[float] = field(default_factory=list)
    whole_s: list[float] = field(default_factory=list)
    stages_us: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    duration_s: float = 0.0


class TimedReader:
    """A reader, and how long it has been at work."""

    def __init__(self, reader: CardReader) -> None:
        """Measure this one."""
        self._reader = reader
        self.seconds = 0.0

    @property
    def name(self) -> str:
        """The reader's."""
        return self._reader.name

    async def connect(self) -> bytes:
        """Power the card up."""
        started = time.perf_counter()
        atr = await self._reader.connect()
        self.seconds += time.perf_counter() - started
        return atr

    async def run_batch(self, steps: Sequence[StepLike], challenge: bytes, /) -> BatchAnswers:
        """Run the commands."""
        started = time.perf_counter()
        answers = await self._reader.run_batch(steps, challenge)
        self.seconds += time.perf_counter() - started
        return answers


async def open_once(client: TerminalClient, reader: CardReader, into: Opened) -> None:
    """Open the card in a reader once."""
    timed = TimedReader(reader)
    started = time.perf_counter()
    opening = await client.open_card(timed)
    whole_s = time.perf_counter() - started
    assert isinstance(opening.answer.body, CardOpened), opening.answer.code
    into.whole_s.append(whole_s)
    into.beyond_s.append(whole_s - timed.seconds)
    for stage, microseconds in opening.answer.stages_us.items():
        if stage != _CHIP:
            into.stages_us[stage].append(microseconds)


async def open_again_and_again(
    pairs: Sequence[tuple[TerminalClient, CardReader]], seconds: float
) -> Opened:
    """Have every terminal open its card, again as soon as it is open."""
    opened = Opened()
    await asyncio.gather(*(warm_up(client, reader) for client, reader in pairs))
    started = time.perf_counter()

    async def go_on(client: TerminalClient, reader: CardReader) -> None:
        while time.perf_counter() - started < seconds:
            await open_once(client, reader, opened)

    await asyncio.gather(*(go_on(client, reader) for client, reader in pairs))
    opened.duration_s = time.perf_counter() - started
    return opened


async def warm_up(client: TerminalClient, reader: CardReader) -> None:
    """Open some without counting them."""
    for _ in range(_WARM_UP):
        await open_once(client, reader, Opened())


def cards_of(city: City, count: int, version: str) -> list[CardData]:
    """Choose cards of one version."""
    patients = choose_patients(city.population, count=_PERSONS, today=today())
    return [patient.card for patient in patients if patient.card.version == version][:count]


def printed(city: City, card: CardData) -> SimulatedCard:
    """Print a card with the city's keys."""
    return print_card(card, RootKeys.read(city.keys, card.algorithm))


async def measure(name: str, url: str, options: argparse.Namespace) -> None:
    """Measure on one database."""
    with tempfile.TemporaryDirectory(prefix="cardserver-benchmark-") as folder:
        city = await make_city(Path(folder), persons=_PERSONS, database_url=url)
        centre = CentreProcess(city.config_file)
        await centre.start()
        try:
            async with signed_on_terminals(
                city, centre, count=options.terminals, folder=Path(folder)
            ) as clients:
                await measure_kinds(name, city, clients, options)
        finally:
            await centre.stop()


async def measure_kinds(
    name: str, city: City, clients: Sequence[TerminalClient], options: argparse.Namespace
) -> None:
    """Measure simulated cards in process, and behind pcscd."""
    done: dict[str, Opened] = {}
    for version in ("2.00", "3.00"):
        cards = cards_of(city, len(clients), version)
        if not cards:
            continue
        pairs = [
            (client, SimulatedReader(printed(city, card)))
            for client, card in zip(clients, cards, strict=False)
        ]
        done[f"{name}, {version} in process"] = await open_again_and_again(
            pairs[:1], options.seconds
        )
        if version == _VERSION and len(pairs) > 1:
            many = await open_again_and_again(pairs, options.seconds)
            done[f"{name}, {version}, {len(pairs)} at once"] = many
    if not options.without_reader:
        (card,) = cards_of(city, 1, _VERSION)
        done[f"{name}, {_VERSION} behind pcscd"] = await behind_pcscd(
            clients[0], printed(city, card), options.seconds
        )
    console.print("Beyond the chip's own time and powering up:")
    print_latencies({what: (one.beyond_s, one.duration_s) for what, one in done.items()})
    console.print("Everything:")
    print_latencies({what: (one.whole_s, one.duration_s) for what, one in done.items()})
    what, one = list(done.items())[-1]
    console.print(f"{what}: where the centre's time goes")
    print_stages(one.stages_us)


async def behind_pcscd(client: TerminalClient, card: SimulatedCard, seconds: float) -> Opened:
    """Open one card in the virtual reader, whose insertion it polls for and isn't counted."""
    with virtual_reader() as virtual:
        async with PCSCReader(virtual.slots[0]) as reader, VirtualReaderCard(card):
            opened = await open_again_and_again([(client, reader)], seconds)
            await reader.disconnect()
            return opened


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="sqlite")
    parser.add_argument("--seconds", type=float, default=4.0, help="for each way")
    parser.add_argument("--terminals", type=int, default=16)
    parser.add_argument("--without-reader", action="store_true", help="leave pcscd out")
    options = parser.parse_args()
    print_machine("How long is it from a card in the reader to the person on the screen?")
    names = ["sqlite", "postgresql"] if options.database == "both" else [options.database]
    with database_urls(names) as urls:
        for name, url in urls.items():
            uvloop.run(measure(name, url, options))
