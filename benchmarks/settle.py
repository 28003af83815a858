"""How long does a settlement take from the counter to the disk and back, and how many a second?

The whole path: client, TLS 1.3, checks, ten lines divided, postings, stored reply, a durable
commit. Client, centre and database share the machine. Closed loop: so many cashiers, each of whom
sends the next settlement when the last is answered. An ECHO over the same connections is the floor.
On PostgreSQL also in turns with a bare writer of the same rows (`peers.py`) and with the usual
design (`usual_design.py`); then with open-loop arrivals at a share of what the turns gave.
"""

import argparse
import asyncio
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from statistics import median

import uvloop
from msgspec import structs
from rich.table import Table
from sqlalchemy import make_url

from benchmarks.ledger import Run, fill, make_rules, ours
from benchmarks.load import cpu_seconds, database_urls, signed_on_terminals, today
from benchmarks.peers import Submit, bare_postgresql, connect, read_template
from benchmarks.report import console, print_latencies, print_machine, print_stages
from benchmarks.usual_counter import UsualDesign, usual_design
from cardserver.migrations.schema import migrate
from ledger.database_store import Database
from protocol.terminal.bodies import encode_body
from protocol.terminal.messages import (
    Bill,
    CardOpened,
    Echo,
    Line,
    MessageType,
    Preview,
    Previewed,
    Settle,
)
from simulators.card.social_security_card import RootKeys, print_card
from simulators.centre_process import CentreProcess, City, make_city
from simulators.counter import Patient, SimulatedReader, choose_patients
from simulators.made_up_bill import EMPLOYEES, OUTPATIENT, Item, make_bill, read_items
from terminals.client import TerminalClient

_PERSONS = 1000
_LINES = 10
_WARM_UP_S = 0.5
_DEAR_FEN = 400_000  # ten such lines take a person past the deductible and the first band


@dataclass(slots=True)
class Till:
    """One cashier's place in the closed loop: a terminal, a patient, a bill with a known split.

    A patient past the first band, whose account is empty, has the same split for the same bill
    ever after, so that no PREVIEW comes between.
    """

    client: TerminalClient
    session: bytes
    settle: Settle


@dataclass(slots=True)
class Measured:
    """What one closed loop took; processor time also of its warm-up."""

    seconds: list[float] = field(default_factory=list)
    duration_s: float = 0.0
    stages_us: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    asked: int = 0
    centre_cpu_s: float = 0.0
    client_cpu_s: float = 0.0

    @property
    def cpu_us(self) -> float:
        """Processor time of a request, the client's and the centre's."""
        return (self.centre_cpu_s + self.client_cpu_s) / self.asked * 1e6


async def open_till(
    client: TerminalClient, patient: Patient, city: City, items: Sequence[Item], random: Random
) -> Till:
    """Open the patient's card, spend what they have, and find the split of their bill."""
    card = print_card(patient.card, RootKeys.read(city.keys, patient.card.algorithm))
    opened = (await client.open_card(SimulatedReader(card))).answer.body
    assert isinstance(opened, CardOpened)
    session = opened.card_session
    settle = await shown(client, session, dear_bill(items))
    answer = await client.request(MessageType.SETTLE, settle, card_session=session)
    assert answer.is_approved, answer.code
    bill = make_bill(items, random, line_count=_LINES)
    return Till(client, session, await shown(client, session, bill))


async def shown(client: TerminalClient, session: bytes, bill: Bill) -> Settle:
    """Make the settlement of a bill as PREVIEW shows it."""
    preview = Preview(bill, wants_explanation=False)
    answer = await client.request(MessageType.PREVIEW, preview, card_session=session)
    assert isinstance(answer.body, Previewed), answer.code
    split = answer.body.split
    paid_by_accounts_fen = split.account_pay_fen + split.mutual_aid_fen
    return Settle(bill, split.fund_pay_fen, paid_by_accounts_fen, split.cash_fen)


def dear_bill(items: Sequence[Item]) -> Bill:
    """Make a bill that takes anyone into the last band."""
    line = Line(items[0].item, items[0].name, _DEAR_FEN * 10_000, 10_000, _DEAR_FEN)
    return Bill(
        insutype=EMPLOYEES, med_type=OUTPATIENT, total_fen=_LINES * _DEAR_FEN, uses_account=True,
        invoice="1", lines=(line,) * _LINES,
    )  # fmt: skip


async def closed_loop(
    ask: Callable[[Till], Awaitable[dict[str, int]]],
    tills: Sequence[Till],
    seconds: float,
    centre: CentreProcess,
) -> Measured:
    """Have every till ask again and again."""
    measured = Measured()
    clock = time.perf_counter
    warm_at = clock() + _WARM_UP_S
    end_at = warm_at + seconds
    cpu_s = cpu_seconds(centre.pid), time.process_time()

    async def go_on(till: Till) -> None:
        while (started := clock()) < end_at:
            stages = await ask(till)
            measured.asked += 1
            if started >= warm_at:
                measured.seconds.append(clock() - started)
                for stage, microseconds in stages.items():
                    measured.stages_us[stage].append(microseconds)

    await asyncio.gather(*(go_on(till) for till in tills))
    measured.duration_s = clock() - warm_at
    measured.centre_cpu_s = cpu_seconds(centre.pid) - cpu_s[0]
    measured.client_cpu_s = time.process_time() - cpu_s[1]
    return measured


async def settle_once(till: Till, invoices: "count[int]") -> dict[str, int]:
    """Settle the till's bill under a new invoice."""
    bill = structs.replace(till.settle.bill, invoice=f"{next(invoices):010d}")
    body = encode_body(structs.replace(till.settle, bill=bill))
    answer = await till.client.exchange(MessageType.SETTLE, body, card_session=till.session)
    assert answer.is_approved, answer.code
    return answer.stages_us


async def open_loop(
    ask: Callable[[Till], Awaitable[dict[str, int]]],
    tills: Sequence[Till],
    seconds: float,
    per_second: float,
) -> Measured:
    """Let settlements arrive at random, whether or not earlier ones are answered.

    A settlement's time begins when it should have arrived, so that what holds up the sender counts.
    """
    measured = Measured()
    clock = time.perf_counter
    random = Random(2)
    due = began = clock()

    async def arrive(till: Till, due: float) -> None:
        stages = await ask(till)
        measured.seconds.append(clock() - due)
        for stage, microseconds in stages.items():
            measured.stages_us[stage].append(microseconds)

    async with asyncio.TaskGroup() as group:
        while due < began + seconds:
            due += random.expovariate(per_second)
            await asyncio.sleep(max(0.0, due - clock()))
            group.create_task(arrive(tills[measured.asked % len(tills)], due))
            measured.asked += 1
    measured.duration_s = clock() - began
    return measured


async def beside_peers(
    tills: Sequence[Till],
    centre: CentreProcess,
    folder: Path,
    url: str,
    options: argparse.Namespace,
) -> None:
    """Take turns with the bare writer and the usual design, then let settlements arrive."""
    invoices = count(10**9)  # beyond those of the loops before
    runs: dict[str, list[tuple[float, float]]] = {"ours": [], "bare": [], "usual": []}
    times: list[float] = []

    async with _peers(folder, url, options, cashiers=len(tills)) as (bare, usual):
        peers = (
            ("bare", bare, count(1), lambda: 0.0),
            ("usual", usual.submit, count(1), usual.cpu_s),
        )
        for turn in range(1 + options.turns):
            one = await closed_loop(
                lambda till: settle_once(till, invoices), tills, options.seconds, centre
            )
            found = {"ours": (len(one.seconds) / one.duration_s, one.cpu_us)}
            for name, submit, numbers, cpu_s in peers:
                run = Run(cpu_s)
                await run.round(submit, numbers, len(tills), options.seconds)
                found[name] = run.per_second, run.cpu_us
                if name == "usual" and turn:
                    times.append(run.ms(0.99))
            if turn:  # the first is to get warm
                for name, pair in found.items():
                    runs[name].append(pair)
    table = Table("", "per second", "ours : this", "processor us, database apart")
    for name, pairs in runs.items():
        ratios = [mine[0] / one[0] for mine, one in zip(runs["ours"], pairs, strict=True)]
        table.add_row(
            name,
            f"{median(rate for rate, _ in pairs):,.0f}",
            f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
            f"{median(cpu for _, cpu in pairs):,.0f}",
        )
    console.print(f"{len(tills)} in flight, {options.turns} turns of each; the median of the turns")
    console.print(table)
    console.print(f"the usual design's p99: {median(times):.0f} ms")
    rate = options.arrivals * median(rate for rate, _ in runs["ours"])
    arrived = await open_loop(
        lambda till: settle_once(till, invoices), tills, options.seconds * 2, rate
    )
    console.print(f"open loop at {rate:,.0f} a second ({options.arrivals:.0%} of ours)")
    print_latencies({"open loop": (arrived.seconds, arrived.duration_s)})
    print_stages(arrived.stages_us)


def _no_server() -> float:
    """The bare writer has no process of its own."""
    return 0.0


@asynccontextmanager
async def _peers(
    folder: Path, url: str, options: argparse.Namespace, *, cashiers: int
) -> AsyncIterator[tuple[Submit, UsualDesign]]:
    """Make a database of their own beside the centre's, with a settlement of ours to copy."""
    connection = await connect(url)
    await connection.execute("CREATE DATABASE peers")
    await connection.close()
    own = make_url(url).set(database="peers").render_as_string(hide_password=False)
    await migrate(own)
    database = Database.open(own)
    await database.start()
    await fill(database)
    async with ours(database, make_rules()) as submit:
        await submit(1)
    template = await read_template(database)
    async with (
        bare_postgresql(own, template) as bare,
        usual_design(
            database, own, folder, workers=options.usual_workers, cashiers=cashiers
        ) as usual,
    ):
        yield bare, usual
    await database.close()


async def echo_once(till: Till) -> dict[str, int]:
    """Have bytes of a bill's size sent back."""
    answer = await till.client.exchange(MessageType.ECHO, Echo(bytes(600)))
    assert answer.is_approved, answer.code
    return answer.stages_us


async def measure(name: str, url: str, options: argparse.Namespace) -> None:
    """Measure on one database."""
    in_flight = [int(number) for number in options.in_flight.split(",")]
    with tempfile.TemporaryDirectory(prefix="cardserver-benchmark-") as folder:
        city = await make_city(Path(folder), persons=_PERSONS, database_url=url)
        centre = CentreProcess(city.config_file, workers=options.workers)
        await centre.start()
        try:
            async with signed_on_terminals(
                city, centre, count=options.terminals, folder=Path(folder)
            ) as clients:
                tills = await open_tills(city, clients, max(in_flight))
                console.print(f"{name}: the centre is process {centre.pid}", style="dim")
                await measure_loops(name, tills, in_flight, options.seconds, centre)
                if options.turns and name == "postgresql":
                    await beside_peers(tills, centre, Path(folder), url, options)
        finally:
            await centre.stop()


async def open_tills(city: City, clients: Sequence[TerminalClient], number: int) -> list[Till]:
    """Open so many, each with a patient of its own."""
    items = read_items(city.population)
    random = Random(1)
    tills = [
        await open_till(clients[index % len(clients)], patient, city, items, random)
        for index, patient in enumerate(
            choose_patients(city.population, count=number, today=today())
        )
    ]
    for till in tills:  # once more, as somebody's account may have aided somebody else's
        till.settle = await shown(till.client, till.session, till.settle.bill)
    return tills


async def measure_loops(
    name: str,
    tills: Sequence[Till],
    in_flight: Sequence[int],
    seconds: float,
    centre: CentreProcess,
) -> None:
    """Measure settlements at each number in flight, and ECHO at the greatest."""
    invoices = count(1)
    done: dict[str, Measured] = {}
    for number in in_flight:
        done[f"{name}, {number} in flight"] = await closed_loop(
            lambda till: settle_once(till, invoices), tills[:number], seconds, centre
        )
    stages_us = done[f"{name}, {in_flight[-1]} in flight"].stages_us
    echo = await closed_loop(echo_once, tills, seconds / 2, centre)
    done[f"ECHO, {len(tills)} in flight"] = echo
    print_latencies({what: (one.seconds, one.duration_s) for what, one in done.items()})
    for what, one in done.items():
        console.print(
            f"{what}: processor time a request: centre {one.centre_cpu_s / one.asked * 1e6:.0f} us,"
            f" client {one.client_cpu_s / one.asked * 1e6:.0f} us"
        )
    console.print(f"{name}, {in_flight[-1]} in flight: where the centre's time goes")
    print_stages(stages_us)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--seconds", type=float, default=4.0, help="for each closed loop")
    parser.add_argument("--terminals", type=int, default=16)
    parser.add_argument("--in-flight", default="1,16,64", help="cashiers at once, ascending")
    parser.add_argument("--workers", type=int, default=1, help="of the centre (PostgreSQL)")
    parser.add_argument("--turns", type=int, default=3, help="with the peers (PostgreSQL); 0 none")
    parser.add_argument("--usual-workers", type=int, default=2, help="of the usual design")
    parser.add_argument("--arrivals", type=float, default=0.7, help="share of ours, open loop")
    options = parser.parse_args()
    print_machine("How long does a settlement take, and how many a second?")
    names = ["sqlite", "postgresql"] if options.database == "both" else [options.database]
    with database_urls(names) as urls:
        for name, url in urls.items():
            uvloop.run(measure(name, url, options))
