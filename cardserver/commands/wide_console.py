"""A console for tables: as wide as the terminal; where there is none, as wide as they need."""

import sys

from rich.console import Console
from rich.table import Table

_WIDTH = 132  # in a file, a pipe or a log: what wide paper had
_WIDTH_MAX = 1_000


def wide_console() -> Console:
    """Return a console on standard output."""
    return Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else _WIDTH)


def print_whole(table: Table) -> None:
    """Print a table whose figures must be read whole: lines may be wrapped, no cell is cut."""
    console = wide_console()
    room = console.options.update(max_width=_WIDTH_MAX)
    console.width = max(console.width, console.measure(table, options=room).maximum)
    console.print(table)
