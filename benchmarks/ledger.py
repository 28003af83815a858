"""How many settlements a second does posting alone reach, beside a bare writer of the same rows?

And beside one transaction each with the fund's balance in one shared row (`peers.py` says what the
two write). The three take turns. Durable settings on both databases; clients, writer and server
share the machine's processors, so trust the ratios, and most of all those of processor time.
"""

import argparse
import asyncio
import itertools
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from benchmarks.load import cpu_seconds, worn_in_cluster
from benchmarks.peers import (
    PERSONS_FROM,
    Submit,
    bare_postgresql,
    bare_sqlite,
    msgid_of,
    read_template,
    singly_postgresql,
    singly_sqlite,
)
from benchmarks.report import percentile
from cardserver.app import leave_to_itself_what_stays, run_on_loop
from cardserver.benefits.policy import PolicyBook, load_policy
from cardserver.catalogue.catalogue import Catalogue
from cardserver.catalogue.values import CatalogueRow
from cardserver.claims.claims_store import claims_participants, preview
from cardserver.claims.settlement import settle_work
from cardserver.claims.values import Attempt, ClaimsWork, ClaimsWriter, Presented, Rules
from cardserver.migrations.schema import migrate
from cardserver.registry import tables as registry
from ledger.accounts import Account
from ledger.bulk_store import Statement, insert, plain
from ledger.calendar import SystemClock, business_date
from ledger.database_store import Database
from ledger.decisions import Outcome
from ledger.ledger_store import OPEN_BALANCES, GroupTime
from ledger.writer import GroupWriter
from protocol.terminal import messages
from simulators.postgres import PostgreSQLCluster

TIMEZONE = ZoneInfo("Asia/Shanghai")
SECONDS = 0.6  # a turn
PERSONS = 100_000
CONNECTIONS_MAX = 64
LINES = 10
BALANCE_FEN = 10_000_000
INSTITUTIONS = 20
FOREVER = 99991231
POLICIES = Path(__file__).parents[1] / "cardserver" / "benefits" / "policies"


class Run:
    """Rounds of one kind at one number in flight."""

    def __init__(self, server_cpu_s: Callable[[], float] = lambda: 0.0) -> None:
        """Begin without rounds.

        Args:
            server_cpu_s: Tells the processor time that the database's server has used.
        """
        self._server_cpu_s = server_cpu_s
        self._times: list[float] = []
        self._took = 0.0
        self._cpu_s = 0.0

    async def round(
        self, submit: Submit, numbers: Iterator[int], in_flight: int, seconds: float = SECONDS
    ) -> None:
        """Let clients submit one after the other for a while."""
        cpu_s = time.process_time() + self._server_cpu_s()
        began = time.perf_counter()
        ends = began + seconds

        async def client() -> None:
            at = time.perf_counter()
            while at < ends:
                await submit(next(numbers))
                before, at = at, time.perf_counter()
                self._times.append(at - before)

        await asyncio.gather(*(client() for _ in range(in_flight)))
        self._took += time.perf_counter() - began
        self._cpu_s += time.process_time() + self._server_cpu_s() - cpu_s

    @property
    def per_second(self) -> float:
        """Settlements a second."""
        return len(self._times) / self._took

    @property
    def cpu_us(self) -> float:
        """Processor time of a settlement, the client's and the server's included."""
        return self._cpu_s / len(self._times) * 1e6

    def ms(self, share: float) -> float:
        """How long that share of the settlements took at most."""
        return percentile(sorted(self._times), share) * 1000


# --- ours ------------------------------------------------------------------------------------


async def fill(database: Database) -> None:
    """Make a city: every person has an account, every settlement another person."""

    def everything(table_name: str) -> Statement:
        table = registry.metadata.tables[table_name]
        return insert(table, [one.name for one in table.columns if one.server_default is None])

    persons = range(1, PERSONS + 1)
    for start in range(0, PERSONS, 5_000):
        some = persons[start : start + 5_000]
        await database.execute(
            everything("person")(
                [(n, f"{n:018d}", "张三", 1, 19810101, None, 0, 0) for n in some]
            ),
            everything("insurance")(
                [(n, "310", 20200101, FOREVER, 1, "11", "110105") for n in some]
            ),
            everything("card")([
                (n, "social_security", n.to_bytes(8, "big"), "110000", f"T{n:08d}", bytes(16),
                 n, "3.00", 3, "3", bytes(12), 20200101, 20991231, 1)
                for n in some
            ]),
            OPEN_BALANCES([
                (n + start, int(Account.PERSONAL_ACCOUNT), BALANCE_FEN)
                for start in (0, PERSONS_FROM) for n in some
            ]),
        )  # fmt: skip
    places = range(1, INSTITUTIONS + 1)
    await database.execute(
        everything("institution")(
            [(n, f"H{n:011d}", "医院", 1, 3, 1, 20200101, FOREVER) for n in places]
        ),
        everything("terminal")([(n, n, "T1", bytes(32), 1) for n in places]),
    )
    analyze = plain("analyze", postgresql="ANALYZE", sqlite="ANALYZE")
    await database.execute(analyze())


def make_rules() -> Rules:
    """Take the shipped policies and a catalogue of ten items."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(POLICIES.glob("*.toml"))]
    catalogue = Catalogue.of(
        CatalogueRow(f"I{n}", 20200101, FOREVER, "药", 1 + n % 2, n % 2 * 1000)
        for n in range(LINES)
    )
    return Rules(PolicyBook([load_policy(text) for text in texts]), catalogue)


BILL = messages.Bill(
    insutype="310",
    med_type="11",
    total_fen=LINES * 30_000,
    uses_account=True,
    invoice="I1",
    lines=tuple(
        messages.Line(f"I{n}", f"药品{n}", 30_000 * 10_000, 10_000, 30_000) for n in range(LINES)
    ),
)


async def shown_split(database: Database, rules: Rules, person_no: int) -> messages.Split:
    """Divide the bill as it is for anyone's first of the year; the person had none."""
    clock = SystemClock()
    when = GroupTime(business_date(clock.now_ms(), TIMEZONE), 0, clock.now_ms())
    shown = await preview(
        database, terminal_no=1, request=messages.Preview(BILL),
        presented=Presented(person_no, person_no, 2), rules=rules, when=when,
    )  # fmt: skip
    assert isinstance(shown, messages.Previewed)
    return shown.split


@asynccontextmanager
async def ours(database: Database, rules: Rules) -> AsyncIterator[Submit]:
    """Start the posting writer."""
    clock = SystemClock()
    today = business_date(clock.now_ms(), TIMEZONE)
    split = await shown_split(database, rules, PERSONS)
    body = messages.Settle(BILL, split.fund_pay_fen, split.account_pay_fen, split.cash_fen)

    def work(number: int) -> ClaimsWork:
        place = 1 + number % INSTITUTIONS
        attempt = Attempt(
            institution_no=place, terminal_no=place, operator_no=1,
            msgid=msgid_of(number, place),
            request_hash=bytes(32), deadline_ms=clock.monotonic_ms() + 60_000,
        )  # fmt: skip
        return settle_work(attempt, body, Presented(number, number, 2), rules, today=today)

    writer: ClaimsWriter = GroupWriter(
        database, claims_participants(), clock=clock, timezone=TIMEZONE
    )
    await writer.start()

    async def submit(number: int) -> None:
        outcome = await writer.submit(work(number))
        assert isinstance(outcome, Outcome)
        assert outcome.code == 0, outcome

    yield submit
    await writer.stop()


# --- both ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """A database to measure on."""

    name: str
    url: str
    path: Path
    server: PostgreSQLCluster | None

    def server_cpu_s(self) -> float:
        """Processor time of the server's processes that are still there."""
        if self.server is None or self.server.process is None:
            return 0.0
        return cpu_seconds(self.server.process.pid)


@contextmanager
def places(names: Sequence[str]) -> Iterator[list[Place]]:
    """Make the databases asked for."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="cardserver-bench-"))
        found: list[Place] = []
        for name in names:
            if name == "sqlite":
                path = Path(folder) / "bench.db"
                found.append(Place("SQLite", f"sqlite:///{path}", path, None))
            else:
                server = stack.enter_context(worn_in_cluster({"shared_buffers": "256MB"}))
                found.append(Place("PostgreSQL", server.create_database("b"), Path(), server))
        yield found


async def compare(place: Place, in_flight: Sequence[int], *, rounds: int, seconds: float) -> None:
    """Measure ours, the bare writer and one transaction each, in turns; print."""
    await migrate(place.url)
    database = Database.open(place.url)
    await database.start()
    await fill(database)
    numbers, peer_numbers = itertools.count(2), itertools.count(1)
    results: list[tuple[Run, Run, Run]] = []
    async with AsyncExitStack() as stack:
        submit = await stack.enter_async_context(ours(database, make_rules()))
        await submit(1)
        template = await read_template(database)
        if place.server is None:
            bare = await stack.enter_async_context(bare_sqlite(place.path, template))
            singly = await stack.enter_async_context(singly_sqlite(place.path, template))
        else:
            bare = await stack.enter_async_context(bare_postgresql(place.url, template))
            singly = await stack.enter_async_context(
                singly_postgresql(place.url, template, min(max(in_flight), CONNECTIONS_MAX))
            )
        leave_to_itself_what_stays()
        kinds = ((submit, numbers), (bare, peer_numbers), (singly, peer_numbers))
        for write, kind_numbers in kinds:  # not counted: statements are prepared and planned
            await Run().round(write, kind_numbers, max(in_flight), seconds)
        for number in in_flight:
            cpu_s = place.server_cpu_s
            runs = Run(cpu_s), Run(cpu_s), Run(cpu_s)
            for _ in range(rounds):
                for run, (write, kind_numbers) in zip(runs, kinds, strict=True):
                    await run.round(write, kind_numbers, number, seconds)
            results.append(runs)
    await database.close()
    print_results(place.name, in_flight, results)


def print_results(name: str, in_flight: Sequence[int], results: Sequence[Sequence[Run]]) -> None:
    """Print a row for each number in flight; processor time is clients' and server's together."""
    table = Table(
        "in flight", "ours/s", "p50 ms", "p99 ms", "bare/s", "each/s", "p99 ms",
        "ours : bare", "ours : each", "us ours", "us bare", "us each", "us bare : ours",
        title=f"{name}: settlements of {LINES} lines a second",
    )  # fmt: skip
    for number, (one, bare, each) in zip(in_flight, results, strict=True):
        table.add_row(
            str(number),
            f"{one.per_second:,.0f}", f"{one.ms(0.5):.2f}", f"{one.ms(0.99):.2f}",
            f"{bare.per_second:,.0f}", f"{each.per_second:,.0f}", f"{each.ms(0.99):.2f}",
            f"{one.per_second / bare.per_second:.2f}", f"{one.per_second / each.per_second:.1f}",
            f"{one.cpu_us:.0f}", f"{bare.cpu_us:.0f}", f"{each.cpu_us:.0f}",
            f"{bare.cpu_us / one.cpu_us:.2f}",
        )  # fmt: skip
    Console(width=140).print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--in-flight", default="1,16,64,256", help="clients at once")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each writer")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each turn")
    options = parser.parse_args()
    in_flight = [int(number) for number in options.in_flight.split(",")]
    names = ["sqlite", "postgresql"] if options.database == "both" else [options.database]
    with places(names) as found:
        for place in found:
            run_on_loop(compare(place, in_flight, rounds=options.rounds, seconds=options.seconds))


if __name__ == "__main__":
    main()
