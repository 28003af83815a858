"""Statements that each serve one table and many rows, in the words of both databases.

The SQL text is made once, from the `Table`; at run time nothing is composed. PostgreSQL takes one
array a column (`= ANY`, `unnest`), so that a thousand rows are one statement and one round trip;
SQLite, where a call costs no round trip, takes the rows one by one through a prepared statement.
Not here: connections and transactions (`database_store.py`).
"""

# ruff: noqa: S608 - every name in a text is the schema's own, every value is a parameter

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, SmallInteger, String, Table
from sqlalchemy.types import TypeEngine

from ledger.months import MONTHLY, ByMonth, Span

# A row's columns have the types of the schema, which mypy can't see; whoever reads says them.
Row = tuple[Any, ...]


class Query(NamedTuple):
    """A statement and the rows that it is to be run for."""

    statement: "Statement"
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """One statement's text for both databases; calling it with rows gives a `Query`.

    Attributes:
        name: What it does to which table, for errors and logs.
        postgresql: Text with one array parameter a column, or as given to `plain`.
        sqlite: Text with one parameter a column; runs once a row.
        sqlite_many: Text with one parameter, a JSON array of keys, each an array; or empty.
        is_plain: Parameters are those of the text itself: at most one row.
        has_result: Whether rows come back.
        key_count: For a `select` by key, how many leading columns of a result are its key.
        parts: For statements put `together`, which; the rows of a query are then each part's.
        reads: For statements that read `at_once`, which; the rows of a query are each one's, and
            the result holds each one's rows as a tuple.
        opens: Whether it may go to PostgreSQL with BEGIN; nobody looks at its result.
        sealed_table: The table's name, where its group's seal covers the rows; or empty.
        span_of: For a `select` from a table that PostgreSQL keeps by month: from and below which
            value a row's month is. PostgreSQL's text has both before the arrays, so that one month
            is looked at, and it is run once for each month that the rows are of.
        numbered: For rows that get their seal's number and their line in it put before them by
            whoever seals them (`chain_store.py`): the statement that takes them then.
    """

    name: str
    postgresql: str
    sqlite: str
    has_result: bool
    sqlite_many: str = ""
    is_plain: bool = False
    key_count: int = 0
    parts: tuple["Statement", ...] = ()
    reads: tuple["Statement", ...] = ()
    opens: bool = False
    sealed_table: str = ""
    span_of: Callable[[Row], Span] | None = None
    numbered: "Statement | None" = None

    def __call__(self, rows: Sequence[Row] = ()) -> Query:
        """Return the query of this statement for these rows.

        For a `select` a row is a key; for the others it holds the columns in the order in which
        the statement was made.
        """
        return Query(self, rows)


def select(
    table: Table, columns: Sequence[str], by: Sequence[str], *, lock: bool = False
) -> Statement:
    """Read the rows that have one of the keys; the same key twice is read once.

    A result row holds the key's columns, then `columns`, in no particular order of rows. Of a table
    that is kept by month (`months.py`) only the keys' months are looked at, where a key says one.

    Args:
        table: Where from.
        columns: What comes back beside the key.
        by: The key's columns; rows of the query are keys.
        lock: Lock the rows in key order until the transaction ends, against other lockers and
            changes (PostgreSQL; on SQLite the transaction alone writes anyway).
    """
    name = _quoted(table.name)
    wanted = ", ".join(f"t.{_quoted(column)}" for column in [*by, *columns])
    tail = f" ORDER BY {_each('t.{}', by)} FOR NO KEY UPDATE OF t" if lock else ""
    span_of, within, first = _by_month(table, by)
    sqlite_many = ""
    if all(isinstance(table.c[column].type, Integer | String) for column in by):
        matches = " AND ".join(
            f"t.{_quoted(column)} = k.value->>{index}" for index, column in enumerate(by)
        )
        sqlite_many = f"SELECT {wanted} FROM json_each(?) k CROSS JOIN {name} t ON {matches}"
    if len(by) == 1:
        key = table.c[by[0]]
        postgresql = (
            f"SELECT {wanted} FROM {name} t"
            f" WHERE t.{_quoted(key.name)} = ANY(${first}::{_type_name(key.type)}[]){within}{tail}"
        )
    else:
        # OFFSET 0 keeps the inner query whole: for each key one descent of the index, whatever the
        # planner believed of the table on the day when it planned.
        assert not lock, "rows are locked by a single column"
        matches = _each_with(" AND ", "t.{0} = k.{0}", by)
        postgresql = (
            f"SELECT f.* FROM {_unnest('k', [table.c[b] for b in by], first)} CROSS JOIN LATERAL"
            f" (SELECT {wanted} FROM {name} t WHERE {matches}{within} OFFSET 0) f"
        )
    sqlite = f"SELECT {wanted} FROM {name} t WHERE {_each_with(' AND ', 't.{} = ?', by)}"
    return Statement(
        f"select {table.name}",
        postgresql=postgresql,
        sqlite=sqlite,
        sqlite_many=sqlite_many,
        has_result=True,
        key_count=len(by),
        span_of=span_of,
    )


def insert(
    table: Table,
    columns: Sequence[str],
    *,
    ignore_existing: bool = False,
    is_sealed: bool = False,
    is_numbered: bool = False,
) -> Statement:
    """Add rows; with `ignore_existing` those whose key exists are left alone.

    The result is then the primary keys of the rows that were added. Rows that a group's seal shall
    cover (`is_sealed`) are never changed, and hold every column in the table's order. Where they
    are named by their seal (`is_numbered`), the table's first two columns are the seal's number and
    the row's line in it; the rows of a query are then without these two.
    """
    if is_numbered:
        every = [column.name for column in table.columns]
        assert list(columns) == every[2:]
        whole = insert(table, every, is_sealed=True)
        return Statement(
            f"number {table.name}", postgresql="", sqlite="", has_result=False, numbered=whole
        )
    assert not is_sealed or list(columns) == [column.name for column in table.columns]
    tail = ""
    if ignore_existing:
        keys = [column.name for column in table.primary_key.columns]
        tail = f" ON CONFLICT DO NOTHING RETURNING {_each('{}', keys)}"
    head = f"INSERT INTO {_quoted(table.name)} ({_each('{}', columns)})"
    source = _unnest("v", [table.c[column] for column in columns])
    return Statement(
        f"insert {table.name}",
        postgresql=f"{head} SELECT * FROM {source}{tail}",
        sqlite=f"{head} VALUES ({_marks(columns)}){tail}",
        has_result=ignore_existing,
        sealed_table=str(table.name) if is_sealed else "",
    )


def update(table: Table, set: Sequence[str], by: Sequence[str]) -> Statement:  # noqa: A002
    """Change columns of the rows that have the key; a row holds `set`'s values, then `by`'s.

    The result is the primary keys of the rows that were found: with the old values in `by`, this
    is compare-and-set.
    """
    name = _quoted(table.name)
    keys = [column.name for column in table.primary_key.columns]
    new = [f"n{index}" for index in range(len(set))]
    old = [f"o{index}" for index in range(len(by))]
    arrays = _arrays([table.c[column] for column in [*set, *by]])
    postgresql = (
        f"UPDATE {name} t SET "
        + ", ".join(f"{_quoted(column)} = v.{to}" for column, to in zip(set, new, strict=True))
        + f" FROM unnest({arrays}) AS v({', '.join([*new, *old])}) WHERE "
        + " AND ".join(f"t.{_quoted(column)} = v.{at}" for column, at in zip(by, old, strict=True))
        + f" RETURNING {_each('t.{}', keys)}"
    )
    sqlite = (
        f"UPDATE {name} SET {_each('{} = ?', set)}"
        f" WHERE {_each_with(' AND ', '{} = ?', by)} RETURNING {_each('{}', keys)}"
    )
    return Statement(f"update {table.name}", postgresql=postgresql, sqlite=sqlite, has_result=True)


def put(table: Table, set: Sequence[str], by: Sequence[str]) -> Statement:  # noqa: A002
    """Make or replace rows; a row holds `by`'s values, then `set`'s. Keys must be distinct."""
    return _upsert(table, "put", set, by, "{0} = excluded.{0}")


def add(table: Table, sums: Sequence[str], by: Sequence[str]) -> Statement:
    """Make rows or add to them; a row holds `by`'s values, then `sums`'. Keys must be distinct.

    Not for a column with a CHECK: that is tried on the summand before the sum is made.
    """
    return _upsert(table, "add", sums, by, f"{{0}} = {_quoted(table.name)}.{{0}} + excluded.{{0}}")


def delete(table: Table, by: Sequence[str]) -> Statement:
    """Remove the rows that have the key."""
    name = _quoted(table.name)
    source = _unnest("k", [table.c[column] for column in by])
    matches = _each_with(" AND ", "t.{0} = k.{0}", by)
    return Statement(
        f"delete {table.name}",
        postgresql=f"DELETE FROM {name} t USING {source} WHERE {matches}",
        sqlite=f"DELETE FROM {name} WHERE {_each_with(' AND ', '{} = ?', by)}",
        has_result=False,
    )


def plain(name: str, *, postgresql: str, sqlite: str, opens: bool = False) -> Statement:
    """Take the texts as they are, with `$1` and `?`; a query has at most one row.

    One that `opens` has no parameters and no result, and PostgreSQL is sent it with BEGIN where it
    is a transaction's first.
    """
    return Statement(
        name, postgresql=postgresql, sqlite=sqlite, has_result=True, is_plain=True, opens=opens
    )


def together(queries: Sequence[Query]) -> Query:
    """Run several changes as one statement, so that PostgreSQL takes one round trip for them.

    They see the same state, and none sees what another does. The result is the last one's. For
    queries by column arrays that have rows; texts are kept, so the combinations must be few.
    """
    if len(queries) == 1:
        return queries[0]
    parts = tuple(query.statement for query in queries)
    combined = _combined.get(parts)
    if combined is None:
        combined = _combined[parts] = _combine(parts)
    return Query(combined, [tuple(query.rows) for query in queries])


_combined: dict[tuple[Statement, ...], Statement] = {}
_PARAMETER = re.compile(r"\$\d+")


def at_once(queries: Sequence[Query]) -> Query:
    """Read by several statements as one, so that PostgreSQL takes one round trip for them.

    They see the same state, unless keys of one are of several months: then each is run for itself,
    in this order. The result holds, for each query in its order, its rows as a tuple. For queries
    that `may_be_read_at_once`; texts are kept, so the combinations must be few.
    """
    reads = tuple(query.statement for query in queries)
    combined = _combined_reads.get(reads)
    if combined is None:
        combined = _combined_reads[reads] = _combine_reads(reads)
    return Query(combined, [tuple(query.rows) for query in queries])


def may_be_read_at_once(query: Query) -> bool:
    """Tell whether `at_once` takes it: reads by key, and plain ones without parameters."""
    statement = query.statement
    return not query.rows if statement.is_plain else statement.key_count > 0


def queries_of(query: Query) -> list[Query]:
    """Return the queries that are read `at_once`; of any other, itself."""
    reads = query.statement.reads
    if not reads:
        return [query]
    return [Query(one, rows) for one, rows in zip(reads, query.rows, strict=True)]


def arrays_count(statement: Statement) -> int:
    """Tell how many arrays the text for PostgreSQL takes."""
    spans = 0 if statement.span_of is None else 2
    return len(_PARAMETER.findall(statement.postgresql)) - spans


_combined_reads: dict[tuple[Statement, ...], Statement] = {}


def _combine_reads(reads: tuple[Statement, ...]) -> Statement:
    # Rows of several shapes in one result: each as a record, with the number of its statement.
    texts = [
        f"SELECT {number} AS read, r AS row FROM ({text}) r"
        for number, text in enumerate(_numbered_on(reads))
    ]
    return Statement(
        ", ".join(one.name for one in reads),
        postgresql=" UNION ALL ".join(texts),
        sqlite="",
        has_result=True,
        key_count=1,  # shared with those of the same moment
        reads=reads,
    )


def _numbered_on(statements: Sequence[Statement]) -> list[str]:
    """Return PostgreSQL's texts with their parameters numbered through."""
    texts: list[str] = []
    count = 0
    for one in statements:
        # Each parameter stands once in its text, in order.
        pieces = _PARAMETER.split(one.postgresql)
        texts.append(pieces[0] + "".join(f"${count + n}{p}" for n, p in enumerate(pieces[1:], 1)))
        count += len(pieces) - 1
    return texts


def _combine(parts: tuple[Statement, ...]) -> Statement:
    for part in parts:
        assert not part.is_plain, "only changes by column arrays"
        assert not part.parts, "no part is itself put together"
    *first, last = _numbered_on(parts)
    named = ", ".join(f"s{index} AS ({text})" for index, text in enumerate(first))
    return Statement(
        " + ".join(part.name for part in parts),
        postgresql=f"WITH {named} {last}",
        sqlite="",
        has_result=parts[-1].has_result,
        parts=parts,
    )


def _upsert(
    table: Table, verb: str, values: Sequence[str], by: Sequence[str], change: str
) -> Statement:
    columns = [*by, *values]
    head = f"INSERT INTO {_quoted(table.name)} ({_each('{}', columns)})"
    tail = f" ON CONFLICT ({_each('{}', by)}) DO UPDATE SET {_each(change, values)}"
    source = _unnest("v", [table.c[column] for column in columns])
    return Statement(
        f"{verb} {table.name}",
        postgresql=f"{head} SELECT * FROM {source}{tail}",
        sqlite=f"{head} VALUES ({_marks(columns)}){tail}",
        has_result=False,
    )


def _by_month(table: Table, by: Sequence[str]) -> tuple[Callable[[Row], Span] | None, str, int]:
    """Return how to find a key's month, the condition for it, and the first array's number."""
    monthly = table.info.get(MONTHLY)
    if not isinstance(monthly, ByMonth) or monthly.column not in by:
        return None, "", 1
    place, span_of = list(by).index(monthly.column), monthly.span_of
    column = f"t.{_quoted(monthly.column)}"
    return lambda row: span_of(row[place]), f" AND {column} >= $1 AND {column} < $2", 3


def _quoted(name: str) -> str:
    assert '"' not in name
    return f'"{name}"'


def _each_with(separator: str, template: str, names: Sequence[str]) -> str:
    return separator.join(template.format(_quoted(name)) for name in names)


def _each(template: str, names: Sequence[str]) -> str:
    return _each_with(", ", template, names)


def _marks(names: Sequence[str]) -> str:
    return ", ".join("?" * len(names))


def _arrays(
    columns: Sequence[Column[Any]],  # of whatever type each column has
    first: int = 1,
) -> str:
    return ", ".join(
        f"${number}::{_type_name(column.type)}[]" for number, column in enumerate(columns, first)
    )


def _unnest(
    alias: str,
    columns: Sequence[Column[Any]],  # of whatever type each column has
    first: int = 1,
) -> str:
    names = ", ".join(_quoted(column.name) for column in columns)
    return f"unnest({_arrays(columns, first)}) AS {alias}({names})"


def _type_name(type_: TypeEngine[Any]) -> str:  # of whatever type the column has
    """Return PostgreSQL's name of the type; the schema uses no others than these."""
    match type_:
        case BigInteger():
            return "bigint"
        case SmallInteger():
            return "smallint"
        case String():
            return "text"
        case LargeBinary():
            return "bytea"
        case _:
            return "integer"
