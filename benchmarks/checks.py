"""What do the checks at the counter cost: trying them, and posting with what was bought before?

First the trying alone, by the shipped rules, for bills and pasts of many lines. Then posting
without a network, in turns: without rules, with the shipped ones for persons who never bought
anything, and for persons with so many settlements of the month behind them.
"""

import argparse
import itertools
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources

import uvloop
from rich.table import Table

from benchmarks.ledger import (
    INSTITUTIONS,
    PERSONS,
    Run,
    fill,
    make_rules,
    ours,
)
from benchmarks.peers import Submit
from benchmarks.report import console, print_machine
from cardserver.checks.counter_checks import CounterChecks
from cardserver.checks.evaluation import evaluate
from cardserver.checks.rule_book import RuleBook, RulesVersion, load_rules
from cardserver.checks.values import (
    CheckedLine,
    CheckedPlace,
    ItemFacts,
    Occasion,
    Patient,
    Position,
    Situation,
)
from cardserver.claims import tables as claims
from cardserver.migrations.schema import migrate
from ledger import tables as ledger
from ledger.bulk_store import Query, insert, plain
from ledger.calendar import SystemClock
from ledger.database_store import Database
from simulators.postgres import PostgreSQLCluster

_LINES = (1, 10, 100, 1000)
_PAST = (0, 20, 200)
_LINES_OF_PAST = 10
_IN_FLIGHT = (1, 16, 64)
_ROUNDS = 2
_TODAY = 20261121
_SLOT = 4_000_001
_DAY_MS = 86_400_000


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(prog="benchmarks checks", description=__doc__)
    parser.add_argument("--earlier", type=int, default=12, help="settlements of the month before")
    parser.add_argument("--in-flight", type=int, nargs="*", default=list(_IN_FLIGHT))
    arguments = parser.parse_args()
    print_machine((__doc__ or "").splitlines()[0])
    version = load_rules(
        resources.files("cardserver.checks")
        .joinpath("rules/counter_checks.toml")
        .read_text(encoding="utf-8")
    )
    _print_trying(version)
    with tempfile.TemporaryDirectory() as folder, PostgreSQLCluster() as cluster:
        for name, url in (
            ("SQLite", f"sqlite:///{folder}/ledger.db"),
            ("PostgreSQL", cluster.create_database("checks")),
        ):
            uvloop.run(
                _print_posting(
                    name, url, version, earlier=arguments.earlier, in_flight=arguments.in_flight
                )
            )


# --- trying alone ----------------------------------------------------------------------------


def _print_trying(version: RulesVersion) -> None:
    table = Table(title=f"{len(version.document.rules)} rules tried, in microseconds a bill")
    table.add_column("lines", justify="right")
    for past in _PAST:
        table.add_column(f"{past} settlements before", justify="right")
    for lines in _LINES:
        times = [_try_us(version, lines, past) for past in _PAST]
        table.add_row(str(lines), *(f"{one:,.0f}" for one in times))
    console.print(table)


def _try_us(version: RulesVersion, line_count: int, past_count: int) -> float:
    situation = Situation(
        Patient("11", "110105", 1, 45),
        _occasion(0, line_count, 0),
        [_occasion(number, _LINES_OF_PAST, number % 28) for number in range(1, past_count + 1)],
        lambda _item: ItemFacts(1, 1, 0, 0, 0, 10**9),
        {},
    )
    count, took = 0, 0.0
    while took < 0.2 or count < 3:
        began = time.process_time()
        evaluate(version.document.rules, situation, today=_TODAY)
        took += time.process_time() - began
        count += 1
    return took / count * 1e6


def _occasion(number: int, line_count: int, days_ago: int) -> Occasion:
    return Occasion(
        claim_no=number,
        time_ms=1_795_226_400_000 - days_ago * _DAY_MS,
        day=_TODAY - days_ago if days_ago < 21 else _TODAY - days_ago - 69,
        insutype="310",
        med_type="11",
        place=CheckedPlace(number % INSTITUTIONS, 1, 3),
        is_card_present=True,
        lines=tuple(CheckedLine(f"I{number}-{n}", 10_000, 100) for n in range(line_count)),
        total_fen=100 * line_count,
        fund_pay_fen=0,
    )


# --- posting ---------------------------------------------------------------------------------


async def _print_posting(
    name: str, url: str, version: RulesVersion, *, earlier: int, in_flight: list[int]
) -> None:
    await migrate(url)
    database = Database.open(url)
    await database.start()
    await fill(database)
    plain_rules = make_rules()
    checks = CounterChecks(
        RuleBook([version]),
        {number: Position(39_900_000 + number, 116_400_000) for number in range(INSTITUTIONS)},
    )
    checked_rules = replace(plain_rules, checks=checks)
    # Persons of the first half have bought before, those of the second half have not.
    half = PERSONS // 2
    fresh, known = iter(range(half + 1, PERSONS + 1)), iter(range(2, half + 1))
    async with (
        ours(database, plain_rules) as without,
        ours(database, checked_rules) as checked,
    ):
        await without(1)
        await _settle_before(database, half, earlier)
        kinds: list[tuple[str, Submit, Iterator[int]]] = [
            ("no rules", without, fresh),
            ("shipped rules, nothing before", checked, fresh),
            (f"shipped rules, {earlier} settlements before", checked, known),
            (f"no rules, {earlier} settlements before", without, known),
        ]
        table = Table(title=f"{name}: settlements of ten lines posted, without a network")
        for heading in ("in flight", "", "a second", "p50 ms", "p99 ms", "our processor us each"):
            table.add_column(heading, justify="left" if not heading else "right")
        for clients in in_flight:
            runs = [Run() for _ in kinds]
            for _ in range(_ROUNDS):
                for run, (_, submit, numbers) in zip(runs, kinds, strict=True):
                    await run.round(submit, numbers, clients)
            for run, (what, _, _) in zip(runs, kinds, strict=True):
                table.add_row(
                    str(clients), what, f"{run.per_second:,.0f}",
                    f"{run.ms(0.5):.2f}", f"{run.ms(0.99):.2f}", f"{run.cpu_us:,.0f}",
                )  # fmt: skip
    console.print(table)
    await database.close()


async def _settle_before(database: Database, persons: int, earlier: int) -> None:
    """Give everyone copies of the first settlement on earlier days of the last four weeks."""
    now_ms = SystemClock().now_ms()
    columns = [column.name for column in claims.claim.columns]
    entry_columns = [column.name for column in ledger.entry.columns]
    ((*claim,),) = await database.fetch(_all_of("claim", columns))
    ((*entry,),) = await database.fetch(_all_of("entry", entry_columns))
    insert_claims, insert_entries = (
        insert(claims.claim, columns), insert(ledger.entry, entry_columns)
    )  # fmt: skip
    numbers = itertools.count((_SLOT << 40) + 1)
    for start in range(1, persons + 1, 2_000):
        claim_rows, entry_rows = [], []
        for person in range(start, min(start + 2_000, persons + 1)):
            for back in range(earlier):
                days = 4 + back * 24 // max(earlier, 1)
                moment = time.localtime((now_ms - days * _DAY_MS) / 1000)
                day = moment.tm_year * 10_000 + moment.tm_mon * 100 + moment.tm_mday
                number = next(numbers)
                changed = {
                    "entry_no": number, "person_no": person, "business_date": day,
                    "care_date": day, "institution_no": 1 + back % INSTITUTIONS,
                    "recorded_time_ms": now_ms - days * _DAY_MS, "msgid": f"before{number}",
                }  # fmt: skip
                claim_rows.append(
                    tuple(changed.get(c, v) for c, v in zip(columns, claim, strict=True))
                )
                entry_rows.append(
                    tuple(changed.get(c, v) for c, v in zip(entry_columns, entry, strict=True))
                )
        await database.execute(insert_claims(claim_rows), insert_entries(entry_rows))
    analyze = plain("analyze", postgresql="ANALYZE", sqlite="ANALYZE")
    await database.execute(analyze())


def _all_of(table: str, columns: list[str]) -> Query:
    names = ", ".join(f'"{column}"' for column in columns)
    text = f'SELECT {names} FROM "{table}"'
    return plain(text, postgresql=text, sqlite=text)()


if __name__ == "__main__":
    main()
