"""Scripts: generators that yield queries and are sent the rows.

A script says what a transaction does without knowing which database it runs on, or whether
awaiting or blocking stands between its steps.
"""

from collections.abc import Callable, Generator, Sequence
from typing import TypeAlias, TypeVar

from ledger.bulk_store import Query, Row, at_once, may_be_read_at_once, queries_of

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


def along(queries: Sequence[Query], script: Script[T]) -> Script[tuple[list[list[Row]], T]]:
    """Run a script, and with its first reading these queries; return their rows and its result."""
    rows: list[Row] | None = None

    def first_with_ours(first: Query) -> Script[list[Row]]:
        nonlocal rows
        theirs = queries_of(first)
        if not all(map(may_be_read_at_once, theirs)):
            rows = yield at_once(queries)
            return (yield first)
        found = yield at_once([*queries, *theirs])
        rows, found = found[: len(queries)], found[len(queries) :]
        return found if first.statement.reads else list(found[0])

    result = yield from _replacing_first(script, first_with_ours)
    if rows is None:  # the script read nothing
        rows = yield at_once(queries)
    return [list(some) for some in rows], result


def _replacing_first(
    script: Script[T], replacement: Callable[[Query], Script[list[Row]]]
) -> Script[T]:
    try:
        query = next(script)
        query = script.send((yield from replacement(query)))
        while True:
            query = script.send((yield query))
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        script.close()
