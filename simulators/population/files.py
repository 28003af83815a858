"""Write a made-up city as the CSV files that `cardserver registry import` reads.

UTF-8, a comma, a header line, LF; only a password's hash holds commas, and is quoted. Written as
it is made up, in constant memory.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from simulators.population import households, places
from simulators.population.city import City


def write_city(city: City, directory: Path) -> Iterator[int]:
    """Write all files of a city, and tell now and then how many persons are done."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, rows in (
        ("employers", places.make_employers(city)),
        ("institutions", places.make_institutions(city)),
        ("operators", places.make_operators(city)),
        ("catalogue", places.make_catalogue(city)),
    ):
        with (directory / f"{name}.csv").open("w", encoding="utf-8", newline="\n") as file:
            file.write(f"{places.HEADERS[name]}\n")
            file.writelines(rows)
    with ExitStack() as stack:
        files = {}
        for name, header in households.HEADERS.items():
            path = directory / f"{name}.csv"
            files[name] = stack.enter_context(path.open("w", encoding="utf-8", newline="\n"))
            files[name].write(f"{header}\n")
        for done, lines in households.make_households(city):
            for name, new_rows in lines.by_file().items():
                files[name].writelines(new_rows)
            yield done
