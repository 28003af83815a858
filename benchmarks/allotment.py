"""How long does a month's allotment to 500,000 accounts take, and how much slower do others settle?

The whole of both: `cardserver allotment run` as a process of its own, on PostgreSQL, while a centre
serves counters over TLS. Bills arrive at their own pace (an open loop), so that none waits for the
one before. Before, during, after: the same bills; their p99 during the run beside that without.
"""

import argparse
import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import uvloop
from msgspec import json, structs
from rich.table import Table

from benchmarks.load import cpu_seconds, database_urls, signed_on_terminals, today
from benchmarks.report import console, percentile, print_machine
from benchmarks.settle import Till, open_tills, settle_once, shown
from cardserver.commands.funding_run import RunShown
from cardserver.config import load_config
from cardserver.funding.rules import load_rules
from cardserver.funding.rules_store import activate_rules
from cardserver.registry import tables as registry
from cardserver.registry.passwords import hash_password
from cardserver.registry.roles import Role
from cardserver.registry.values import Actor
from ledger.bulk_store import insert, plain
from ledger.database_store import Database
from simulators.centre_process import CentreProcess, City, make_city

_PATIENTS = 1000
_FIRST_PERSON = 2_000_000_001
_OFFICER, _PASSWORD = "F01", "made up for a benchmark"
_RULES = """
name = "benchmark"
title_zh = "基准"
title_en = "benchmark"
begins = 2020-01-01
sources = ["made up"]
[[allotments]]
name = "retired"
title_zh = "退休"
title_en = "retired"
insutype = "310"
person_types = ["12"]
source = "pooled_fund"
monthly = 100
[[allotments]]
name = "everybody-else"
title_zh = "在职"
title_en = "active"
insutype = "310"
source = "contributions"
share = "2%"
of = "amount"
amount = 6000
"""
# Three in ten are retired.
_PERSONS_SQL = (
    "INSERT INTO person (person_no, id_number, name, sex, birth_date, family_no, employer_no)"
    " SELECT n, 'B' || n, '张三', 1, 19600101 + (n % 40) * 10000, 0, 0"
    " FROM generate_series({first}::bigint, {last}::bigint) n"
)
_INSURANCES_SQL = (
    "INSERT INTO insurance (person_no, insutype, begins, ends, state, person_type, region)"
    " SELECT n, '310', 20200101, 99991231, 1, CASE WHEN n % 10 < 3 THEN '12' ELSE '11' END,"
    " '110199' FROM generate_series({first}::bigint, {last}::bigint) n"
)


@dataclass(slots=True)
class Felt:
    """How long settlements took, in seconds."""

    seconds: list[float] = field(default_factory=list)

    def ms(self, share: float) -> float:
        """How long that share of them took at most."""
        return percentile(sorted(self.seconds), share) * 1000


async def fill(city: City, persons: int) -> None:
    """Add persons, an officer and rules of funding."""
    config = load_config(city.config_file)
    database = Database.open(config.database_url, config.database_password)
    await database.start()
    try:
        last = _FIRST_PERSON + persons - 1
        for text in (_PERSONS_SQL, _INSURANCES_SQL):
            sql = text.format(first=_FIRST_PERSON, last=last)
            await database.execute(plain("fill", postgresql=sql, sqlite=sql)())
        await database.execute(plain("analyze", postgresql="ANALYZE", sqlite="ANALYZE")())
        names = ("operator_no", "institution_no", "code", "name", "role", "password_hash", "state",
                 "failures")  # fmt: skip
        row = (
            999_999, 0, _OFFICER, "李四", Role.FUNDING_OFFICER.value, hash_password(_PASSWORD), 1, 0
        )  # fmt: skip
        await database.execute(insert(registry.operator, names)([row]))
        actor = Actor("benchmark", time.time_ns() // 1_000_000)
        await activate_rules(database, load_rules(_RULES), _RULES, actor)
    finally:
        await database.close()


async def arrive(tills: Sequence[Till], per_second: float, stop: asyncio.Event) -> Felt:
    """Let bills arrive at their own pace until told to stop; each till's turn comes round."""
    felt = Felt()
    invoices = count(1)
    clock = time.perf_counter
    under_way: set[asyncio.Task[None]] = set()

    async def settle(till: Till, due: float) -> None:
        await settle_once(till, invoices)
        felt.seconds.append(clock() - due)

    began = clock()
    for number in count():
        due = began + number / per_second
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), max(due - clock(), 0))
        if stop.is_set():
            break
        task = asyncio.create_task(settle(tills[number % len(tills)], due))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)
    return felt


async def arrive_for(tills: Sequence[Till], per_second: float, seconds: float) -> Felt:
    """The same for a while."""
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, stop.set)
    return await arrive(tills, per_second, stop)


async def allot(city: City) -> tuple[float, float, RunShown]:
    """Run the command; return its time, its processor time and what it gave."""
    password = city.directory / "officer.password"
    password.write_text(_PASSWORD, encoding="utf-8")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cardserver", "allotment", "run", str(today() // 100), "--config",
        str(city.config_file), "--by", _OFFICER, "--password-file", str(password), "--json",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    took = time.perf_counter() - began
    assert process.returncode == 0, out
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return took, cpu_s, json.decode(out, type=RunShown)


async def measure(url: str, options: argparse.Namespace) -> None:
    """Measure on one database."""
    with tempfile.TemporaryDirectory(prefix="cardserver-benchmark-") as folder:
        city = await make_city(Path(folder), persons=_PATIENTS, database_url=url)
        await fill(city, options.persons)
        centre = CentreProcess(city.config_file)
        await centre.start()
        try:
            async with signed_on_terminals(
                city, centre, count=options.terminals, folder=Path(folder)
            ) as clients:
                tills = await open_tills(city, clients, options.terminals)
                for till in tills:
                    # The allotment fills their accounts: a bill that these pay would divide anew.
                    bill = structs.replace(till.settle.bill, uses_account=False)
                    till.settle = await shown(till.client, till.session, bill)
                await compare(city, centre, tills, options)
        finally:
            await centre.stop()


async def compare(
    city: City, centre: CentreProcess, tills: Sequence[Till], options: argparse.Namespace
) -> None:
    """Settle before, during and after an allotment, and print it."""
    await arrive_for(tills, options.per_second, 1.0)  # to warm up
    before = await arrive_for(tills, options.per_second, options.seconds)
    stop = asyncio.Event()
    settling = asyncio.create_task(arrive(tills, options.per_second, stop))
    centre_cpu_s = cpu_seconds(centre.pid)
    took, cpu_s, ran = await allot(city)
    centre_cpu_s = cpu_seconds(centre.pid) - centre_cpu_s
    stop.set()
    during = await settling
    after = await arrive_for(tills, options.per_second, options.seconds)
    table = Table("settlements", "count", "p50 ms", "p99 ms", "p99.9 ms")
    for column in table.columns[1:]:
        column.justify = "right"
    without = Felt(before.seconds + after.seconds)
    for name, felt in (
        ("before", before), ("during", during), ("after", after), ("before and after", without),
    ):  # fmt: skip
        table.add_row(
            name, f"{len(felt.seconds):,}", f"{felt.ms(0.5):.1f}", f"{felt.ms(0.99):.1f}",
            f"{felt.ms(0.999):.1f}",
        )  # fmt: skip
    console.print(table)
    each_us = 1e6 / ran.persons_count
    console.print(
        f"{ran.persons_count:,} accounts in {took:.1f} s (to be reached: 60),"
        f" {ran.steps_done:,} steps; a person costs the command's process"
        f" {cpu_s * each_us:.0f} us, all {took * each_us:.0f} us"
    )
    console.print(
        f"settlements' p99 during / without: {during.ms(0.99) / without.ms(0.99):.2f}"
        f" (to be reached: 2.00), at {options.per_second:g} a second;"
        f" the centre used {centre_cpu_s / took:.2f} processors meanwhile"
    )


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--persons", type=int, default=500_000)
    parser.add_argument("--per-second", type=float, default=100.0, help="bills that arrive")
    parser.add_argument("--terminals", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=8.0, help="before, and again after")
    options = parser.parse_args()
    print_machine("How long does a month's allotment take, and how much slower do others settle?")
    with database_urls(["postgresql"]) as urls:
        uvloop.run(measure(urls["postgresql"], options))


if __name__ == "__main__":
    main()
