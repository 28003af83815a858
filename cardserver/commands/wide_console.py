"""A console for tables: as wide as the terminal; where there is none, as wide as they need."""

import sys

from rich.console import Console

_WIDTH = 132  # in a file, a pipe or a log: what wide paper had


def wide_console() -> Console:
    """Return a console on standard output."""
    return Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
