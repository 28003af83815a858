"""Scripts: generators that yield queries and are sent the rows.

A script says what a transaction does without knowing which database it runs on, or whether
awaiting or blocking stands between its steps.
"""

from collections.abc import Callable, Generator
from typing import TypeAlias, TypeVar

from ledger.bulk_store import Query, Row

T = TypeVar("T")

Script: TypeAlias = Generator[Query, list[Row], T]


def run_script(script: Script[T], execute: Callable[[Query], list[Row]]) -> T:
    """Run a script to its end with a function that blocks."""
    try:
        query = next(script)
        while True:
            query = script.send(execute(query))
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        script.close()
