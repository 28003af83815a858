"""How long do sampling and flagging a month take, in how much memory?

The month is that of `month_data`; the rules are the shipped ones, some of which read every bill.
"""

import argparse
import asyncio
import resource
import secrets
import time
from collections.abc import Awaitable, Callable
from importlib import resources
from zoneinfo import ZoneInfo

from rich.table import Table

from benchmarks.month_data import databases, make_month
from benchmarks.report import console, print_machine
from cardserver.migrations.schema import migrate
from cardserver.registry.roles import Role
from cardserver.registry.values import Actor
from cardserver.review.months_store import Made, flag_month, open_month, sample_month
from cardserver.review.readiness_store import undecided
from cardserver.review.rule_file import load_review_rules
from cardserver.review.rules_store import activate_review_rules
from cardserver.review.sampling import SEED_SIZE
from cardserver.review.values import Reviewer
from ledger.calendar import SystemClock
from ledger.database_store import Database

_AUDITOR = Reviewer(1, 0, Role.AUDIT)
_FUND = ZoneInfo("Asia/Shanghai")


async def _measure(url: str, given: argparse.Namespace, table: Table, name: str) -> None:
    await migrate(url)
    database = Database.open(url)
    await database.start()
    await make_month(
        database,
        period=given.period,
        persons=given.persons,
        settlements=given.settlements,
        institutions=given.institutions,
    )
    now_ms = SystemClock().now_ms()
    text = (resources.files("cardserver.review") / "rules" / "review.toml").read_text("utf-8")
    await activate_review_rules(database, load_review_rules(text), text, Actor("bench", now_ms))
    seed = secrets.token_bytes(SEED_SIZE)
    await open_month(database, given.period, _AUDITOR, seed=seed, now_ms=now_ms)
    for verb, work in (("sample", sample_month), ("flag", flag_month)):
        made, took_s, grown_mib = await _timed(database, given.period, work)
        table.add_row(
            name, verb, f"{made.found:,}", f"{made.opened:,}", f"{took_s:.1f}",
            f"{given.settlements / took_s:,.0f}", f"{grown_mib:.0f}",
        )  # fmt: skip
    began = time.perf_counter()
    waiting = sum(one.cases for one in await undecided(database, given.period))
    took_s = time.perf_counter() - began
    table.add_row(name, "is it ready", f"{waiting:,}", "", f"{took_s:.2f}", "", "")
    await database.close()


async def _timed(
    database: Database, month: int, work: Callable[..., Awaitable[Made]]
) -> tuple[Made, float, float]:
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    made = await work(database, month, _AUDITOR, now_ms=SystemClock().now_ms(), timezone=_FUND)
    took_s = time.perf_counter() - began
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    return made, took_s, grown_kib / 1024


def main() -> None:
    """Make a month on each database, sample and flag it."""
    parser = argparse.ArgumentParser(prog="benchmarks review", description=__doc__)
    parser.add_argument("--period", type=int, default=202610)
    parser.add_argument("--persons", type=int, default=100_000)
    parser.add_argument("--settlements", type=int, default=300_000)
    parser.add_argument("--institutions", type=int, default=300)
    parser.add_argument("--database", nargs="*", default=["sqlite", "postgresql"])
    given = parser.parse_args()
    print_machine("How long do sampling and flagging a month take?")
    table = Table(
        "database", "what", "found", "cases", "s", "settlements/s", "memory +MiB",
        title=f"{given.settlements:,} settlements, {given.institutions} institutions",
    )  # fmt: skip
    with databases(given.database) as found:
        for name, url in found:
            asyncio.run(_measure(url, given, table, name))
    console.print(table)


if __name__ == "__main__":
    main()
