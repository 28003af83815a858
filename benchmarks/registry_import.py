"""How fast is the registry filled from files, beside a bare load of the same rows?

A made-up city is loaded twice by `cardserver registry import`: into an empty registry, and again
when every row is there. The bare load reads the same files without checking anything and gives
every row to the database at once: COPY on PostgreSQL, executemany in one transaction on SQLite,
into tables with the same indexes; balances and operators, which are no bare rows, are left out of
it. Import and server share the machine's processors with each other
and with whatever else runs: trust the ratio.
"""

import argparse
import asyncio
import csv
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import asyncpg
from rich.table import Table
from sqlalchemy import make_url

from benchmarks.report import console, print_machine
from cardserver.registry import import_files
from cardserver.registry.import_files import FileSpec
from simulators.population.city import MADE_UP_REGION, City
from simulators.population.files import write_city
from simulators.postgres import PostgreSQLCluster

# A file's rows, and the table that they go to as they are.
BARE = {
    "employers": "employer",
    "institutions": "institution",
    "persons": "person",
    "identities": "identity",
    "families": "family",
    "insurances": "insurance",
    "cards": "card",
    "filings": "filing",
}
BINARY = {"identity", "card_id", "issuer"}
TEXT = {
    "code", "name", "id_number", "id_type", "insutype", "person_type", "region", "profile",
    "card_number", "version", "card_class", "number",
}  # fmt: skip
SPECS = {one.name: one for one in vars(import_files).values() if isinstance(one, FileSpec)}


def main() -> None:
    """Measure both databases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--persons", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=5)
    arguments = parser.parse_args()
    print_machine("How fast is the registry filled, beside a bare load of the same rows?")
    console.print(f"load average {os.getloadavg()[0]:.1f} before", style="dim")
    table = Table("database", "what", "rows", "seconds", "rows a second", "beside the bare load")
    with tempfile.TemporaryDirectory() as folder:
        city = Path(folder) / "city"
        made_up = City(seed=arguments.seed, persons=arguments.persons, region=MADE_UP_REGION)
        for _ in write_city(made_up, city):
            pass
        (city / "catalogue.csv").unlink()  # the catalogue has its own benchmark
        for kind in ("sqlite", "postgresql"):
            with ExitStack() as stack:
                options = []
                if kind == "postgresql":
                    cluster = stack.enter_context(PostgreSQLCluster())
                    options = ["--database", cluster.create_database("imported")]
                measure(table, kind, Path(folder) / kind, city, options)
    console.print(table)


def measure(table: Table, kind: str, folder: Path, city: Path, options: list[str]) -> None:
    """Load a city in all ways into one kind of database."""
    rows = sum(import_files.count_rows(path) for path in city.glob("*.csv"))
    command("init", str(folder / "centre"), *options)
    config = str(folder / "centre" / "cardserver.toml")
    bare = bare_rows = 0.0
    for what in ("first import", "again, all unchanged"):
        began = time.perf_counter()
        command("registry", "import", "--config", config, str(city))
        took = time.perf_counter() - began
        if not bare:
            url = options[1] if options else ""
            bare, bare_rows = bare_load(kind, folder, city, url)
        ratio = (took / rows) / (bare / bare_rows)
        table.add_row(
            kind, what, f"{rows:,}", f"{took:.1f}", f"{rows / took:,.0f}", f"{ratio:.1f} x"
        )
    table.add_row(
        kind, "bare load", f"{bare_rows:,.0f}", f"{bare:.1f}", f"{bare_rows / bare:,.0f}", "1"
    )


def command(*words: str) -> None:
    """Run a command of the centre, as an administrator does."""
    subprocess.run(
        [sys.executable, "-m", "cardserver", *words], check=True, capture_output=True, text=True
    )


def bare_load(kind: str, folder: Path, city: Path, url: str) -> tuple[float, float]:
    """Load the same rows by the driver alone; return seconds and rows."""
    command("init", str(folder / "bare"), *(["--database", bare_url(url)] if url else []))
    began = time.perf_counter()
    if kind == "postgresql":
        count = asyncio.run(copy_rows(bare_url(url), city))
    else:
        count = insert_rows(folder / "bare" / "cardserver.db", city)
    return time.perf_counter() - began, float(count)


def bare_url(url: str) -> str:
    """Name the database of the bare load, on the same server."""
    return make_url(url).set(database="postgres").render_as_string()


async def copy_rows(url: str, city: Path) -> int:
    """COPY every file into its table, in one transaction."""
    parsed = make_url(url)
    connection = await asyncpg.connect(
        user=parsed.username, database=parsed.database, host=str(parsed.query["host"])
    )
    count = 0
    async with connection.transaction():
        for name, table in BARE.items():
            columns = stored(name)
            rows = list(read(city, name, columns))
            await connection.copy_records_to_table(table, records=rows, columns=columns)
            count += len(rows)
    await connection.close()
    return count


def insert_rows(path: Path, city: Path) -> int:
    """Insert every file into its table, in one transaction."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = -65536")
    connection.execute("BEGIN IMMEDIATE")
    count = 0
    for name, table in BARE.items():
        columns = stored(name)
        marks = ", ".join("?" * len(columns))
        text = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
        count += connection.executemany(text, read(city, name, columns)).rowcount
    connection.execute("COMMIT")
    connection.close()
    return count


def stored(name: str) -> list[str]:
    """Return a file's columns that its table has."""
    return [one for one in SPECS[name].columns if one != "historical"]


def read(city: Path, name: str, columns: list[str]) -> Iterator[tuple[object, ...]]:
    """Give a file's rows with the types of their columns, and check nothing."""
    with (city / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        header = next(reader)
        kinds = [(header.index(one) if one in header else -1, one) for one in columns]
        for fields in reader:
            yield tuple([typed(one, fields[at] if at >= 0 else "01") for at, one in kinds])


def typed(column: str, text: str) -> object:
    """Return a field as its column holds it."""
    if column in TEXT:
        return text
    if column in BINARY:
        return bytes.fromhex(text)
    return int(text) if text else None
