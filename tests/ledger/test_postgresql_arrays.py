"""Columns as arrays: what the server reads of them is what was written."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ledger.bulk_store import plain
from ledger.database_store import Database
from ledger.postgresql_arrays import ARRAY_TYPES
from ledger.store_errors import StoreError

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=3000)
ELEMENTS = {
    "smallint": st.integers(-(2**15), 2**15 - 1),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "text": TEXTS,
    "bytea": st.binary(max_size=3000),
}
COLUMNS = st.sampled_from(sorted(ELEMENTS)).flatmap(
    lambda name: st.tuples(st.just(name), st.lists(st.none() | ELEMENTS[name], max_size=40))
)


@pytest.fixture
async def postgres_database(postgres_url: str) -> AsyncIterator[Database]:
    opened = Database.open(postgres_url)
    await opened.start()
    yield opened
    await opened.close()


def query(name: str, expression: str) -> str:
    return expression.format(f"$1::{name}[]")


@given(COLUMNS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(("bigint", []))
@example(("text", [None]))
@example(("text", ["x" * 2047, "x" * 2048, ""]))
@example(("bytea", [b"", None, bytes(5000)]))
async def test_the_server_reads_what_was_written(
    postgres_database: Database, column: tuple[str, list[object]]
) -> None:
    name, elements = column
    for expression in ("SELECT e FROM unnest({}) e", "SELECT unnest({})"):
        text = query(name, expression)
        rows = await postgres_database.fetch(plain("t", postgresql=text, sqlite="")([(elements,)]))
        assert rows == [(element,) for element in elements]
    text = query(name, "SELECT {}")
    ((back,),) = await postgres_database.fetch(
        plain("t", postgresql=text, sqlite="")([(elements,)])
    )
    assert back == elements


@pytest.mark.parametrize(
    ("name", "element"),
    [
        ("smallint", 2**15), ("integer", -(2**31) - 1), ("bigint", 2**63), ("bigint", "1"),
        ("bigint", 1.5), ("text", 1), ("text", "\0"), ("text", "\ud800"), ("bytea", "x"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("others", [[], [None]])
async def test_what_is_no_element_is_an_error_and_no_other_value(
    postgres_database: Database, name: str, element: object, others: list[None]
) -> None:
    statement = plain("t", postgresql=query(name, "SELECT unnest({})"), sqlite="")
    with pytest.raises(StoreError):
        await postgres_database.fetch(statement([([element, *others],)]))
    assert await postgres_database.fetch(statement([([None],)])) == [(None,)]


async def test_the_types_are_those_of_the_server(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
    try:
        for array in ARRAY_TYPES:
            found = await connection.fetchval(
                "SELECT typname FROM pg_type WHERE oid = $1 AND typnamespace = 11", array.oid
            )
            assert found == array.name
    finally:
        await connection.close()
