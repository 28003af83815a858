"""Does a catalogue of 200,000 items load in seconds, and is an item found as fast as in a dict?

A made-up file is imported into a database, again (nothing may change), and with a thousand prices
changed; a worker loads the whole list, looks items up for bills, and takes up the thousand. One
item in ten has limits by level, one in twenty two rows. The dict beside it holds the same items by
code alone.
"""

import argparse
import asyncio
import gc
import random
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from rich.table import Table

from benchmarks.report import console, print_machine
from cardserver.catalogue.catalogue import Catalogue
from cardserver.catalogue.catalogue_store import catch_up
from cardserver.catalogue.list_import import Imported, import_items, item_source
from cardserver.catalogue.sheets import read_sheet
from cardserver.migrations.schema import migrate
from cardserver.registry.values import Actor
from ledger.calendar import SystemClock
from ledger.database_store import Database
from simulators.postgres import PostgreSQLCluster

DAY = 20261121
_CHANGED = 1_000
_LOOKUPS = 400_000
_ROUND = 2_000
_HEADER = (
    "item,begins,ends,name,item_class,self_pay_ratio,price_limit,price_limit_1,price_limit_2,"
    "price_limit_3,kind,unit,sex,age_from,age_below,daily_quantity_max\n"
)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    arguments = parser.parse_args()
    print_machine(__doc__ or "")
    chosen = [arguments.database] if arguments.database != "both" else ["sqlite", "postgresql"]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_items(folder / "items.csv", range(arguments.items))
        write_items(folder / "news.csv", range(_CHANGED), more_yuan=1)
        for kind in chosen:
            url = f"sqlite:///{folder}/catalogue.db"
            if kind == "postgresql":
                url = stack.enter_context(PostgreSQLCluster()).create_database("catalogue")
            asyncio.run(_measure(kind, url, folder, arguments.items))


def write_items(path: Path, numbers: range, *, more_yuan: int = 0) -> None:
    """Write made-up items, the same ones each time."""
    with path.open("w", encoding="utf-8") as file:
        file.write(_HEADER)
        for number in numbers:
            file.writelines(_rows(number, more_yuan))


def code(number: int) -> str:
    """Name a made-up item in the national form of drugs, services or consumables."""
    match number % 4:
        case 0 | 1:
            return f"XA{number % 90 + 10}BA{number:06}A001010{number % 1000:03}"
        case 2:
            return f"0011{number:011}"
        case _:
            return f"C{number:019}"


def _rows(number: int, more_yuan: int) -> list[str]:
    item_class = 3 if number % 10 == 9 else 1 + number % 2
    ratio = ("0", "0.1", "1")[item_class - 1]
    limit = 10 + number % 500 + more_yuan
    levels = f"{limit},{limit + 2},{limit + 4}" if number % 10 == 0 else ",,"
    sex = 2 if number % 50 == 0 else 0
    daily = "3" if number % 5 == 0 else ""
    tail = f",盒,{sex},0,0,{daily}\n"
    name = f"复方某某注射用片剂型号{number}"
    kind = (1, 1, 2, 3)[number % 4]
    rows = [
        f"{code(number)},20200101,99991231,{name},{item_class},{ratio},{limit},{levels},{kind}{tail}"
    ]
    if number % 20 == 0:
        rows.append(
            f"{code(number)},20270101,99991231,{name},{item_class},{ratio},{limit},{levels},{kind}"
            f"{tail}"
        )
    return rows


async def _measure(kind: str, url: str, folder: Path, items: int) -> None:
    await migrate(url)
    database = Database.open(url)
    await database.start()
    table = Table(f"{kind}, {items:,} items", "seconds", "")
    took_s, done = await _import(database, folder / "items.csv")
    table.add_row(
        "import", f"{took_s:.1f}", f"{done.added:,} rows added, {took_s / items * 1e6:.0f} us each"
    )
    took_s, done = await _import(database, folder / "items.csv")
    table.add_row("the same again", f"{took_s:.1f}", f"{done.added + done.changed} rows changed")
    gc.collect()
    began = time.perf_counter()
    catalogue = await catch_up(database, Catalogue())
    table.add_row(
        "load into memory", f"{time.perf_counter() - began:.2f}", f"{len(catalogue):,} items"
    )
    del catalogue
    gc.collect()
    tracemalloc.start()
    catalogue = await catch_up(database, Catalogue())
    gc.collect()
    size, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    table.add_row("its memory", "", f"{size / 2**20:.0f} MiB, {peak / 2**20:.0f} while loading")
    took_s, done = await _import(database, folder / "news.csv")
    table.add_row("import of changes", f"{took_s:.1f}", f"{done.changed:,} rows changed")
    began = time.perf_counter()
    newer = await catch_up(database, catalogue)
    assert newer.version == catalogue.version + 1
    table.add_row("taken up", f"{time.perf_counter() - began:.3f}", "only what changed is read")
    await database.close()
    _add_look_ups(table, newer, items)
    console.print(table)


def _add_look_ups(table: Table, catalogue: Catalogue, items: int) -> None:
    numbers = random.Random(1)
    asked = [code(numbers.randrange(items)) for _ in range(_LOOKUPS)]
    plain = {name: catalogue.find(name, level=3, day=DAY) for name in set(asked)}
    assert None not in plain.values()
    find, get = catalogue.find, plain.get
    ours = _rounds_ns(lambda some: [find(name, level=3, day=DAY) for name in some], asked)
    dicts = _rounds_ns(lambda some: [get(name) for name in some], asked)
    table.add_row(
        "a look-up", "", f"{ours:.0f} ns, {1e9 / ours:,.0f} a second; a dict's {dicts:.0f} ns, x"
        f" {ours / dicts:.1f}",
    )  # fmt: skip


def _rounds_ns(work: Callable[[list[str]], object], asked: list[str]) -> float:
    """Time many short rounds, and take the middle one: memory is as cold as in use."""
    took: list[float] = []
    for start in range(0, len(asked), _ROUND):
        some = asked[start : start + _ROUND]
        began = time.perf_counter()
        work(some)
        took.append(time.perf_counter() - began)
    return sorted(took)[len(took) // 2] / _ROUND * 1e9


async def _import(database: Database, path: Path) -> tuple[float, Imported]:
    clock = SystemClock()
    began = time.perf_counter()
    done = await import_items(
        database,
        item_source(path.name, read_sheet(path)),
        Actor("benchmark", clock.now_ms()),
        clock,
    )
    assert not done.rejections, done.rejections[0]
    return time.perf_counter() - began, done


if __name__ == "__main__":
    main()
