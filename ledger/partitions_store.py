"""Tables by month on PostgreSQL: parts made ahead, listed, and what came early moved into them.

A table with `MONTHLY` in its `info` is divided by ranges: a part a month, one of all that was there
before it was divided, and one of whatever has no month of its own, so that no row is ever refused.
On SQLite, which keeps tables whole, there is nothing to do.
"""

# ruff: noqa: S608 - names of the schema's own, and numbers

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Table, text

from ledger.calendar import period_after
from ledger.months import MONTHLY, ByMonth

# A part is attached under a lock that waits for no report's end and lets no settlement wait long
# behind it; whoever finds it taken tries again later, as parts are made months ahead.
_LOCK_TIMEOUT_MS = 500
# A number of our own for PostgreSQL's advisory lock: one process at a time makes parts.
_MAKING_LOCK = 0x70617274


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a divided table.

    Attributes:
        table: The whole.
        name: Its own.
        bounds: As PostgreSQL says them.
        size: Of rows and indexes, in bytes.
        rows: How many there are, as last counted by ANALYZE; -1 never.
    """

    table: str
    name: str
    bounds: str
    size: int
    rows: int


def monthly(tables: Iterable[Table]) -> list[Table]:
    """Return those that are kept by month, by name."""
    return sorted((table for table in tables if MONTHLY in table.info), key=lambda one: one.name)


def part_name(table: str, month: int) -> str:
    """Return the name of a month's part."""
    return f"{table}_{month}"


def months_from(month: int, count: int) -> list[int]:
    """Return so many months, this one first."""
    months = [month]
    while len(months) < count:
        months.append(period_after(months[-1]))
    return months


def make_parts(connection: Connection, tables: Iterable[Table], months: Sequence[int]) -> list[str]:
    """Make the parts of these months that are not there, and move into them what is theirs.

    For `Database.administer`. It raises what PostgreSQL does where a report holds the table for
    longer than half a second: nothing is done then.

    Returns:
        The names of those made.
    """
    if connection.dialect.name != "postgresql":
        return []
    divided = monthly(tables)
    there = {part.name for part in list_parts(connection, divided)}
    wanted = [
        (table, month)
        for table in divided
        for month in months
        if part_name(table.name, month) not in there
    ]
    if not wanted:
        return []
    connection.execute(text(f"SELECT pg_advisory_xact_lock({_MAKING_LOCK})"))
    connection.execute(text(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT_MS}"))
    there = {part.name for part in list_parts(connection, divided)}
    made: list[str] = []
    for table, month in wanted:
        name = part_name(table.name, month)
        if name not in there and _make_part(connection, table, month):
            made.append(name)
    return made


def list_parts(connection: Connection, tables: Iterable[Table]) -> list[Part]:
    """List the parts that there are, by table and name; none on SQLite."""
    if connection.dialect.name != "postgresql":
        return []
    rows = connection.execute(
        text(
            """
            SELECT p.relname, c.relname, pg_get_expr(c.relpartbound, c.oid),
                   pg_total_relation_size(c.oid), c.reltuples::bigint
            FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent
            JOIN pg_class c ON c.oid = i.inhrelid
            WHERE p.relkind = 'p' AND p.relnamespace = current_schema()::regnamespace
            ORDER BY 1, 2
            """
        )
    )
    names = {str(table.name) for table in tables}
    return [Part(*row) for row in rows if row[0] in names]


def divide(connection: Connection, table: Table, *, month: int) -> None:
    """Divide a table that was whole: what it held becomes its first part, without being copied.

    Args:
        connection: On PostgreSQL.
        table: With its indexes as they are to be.
        month: The present one; what is of a later month is moved away from the first part.
    """
    by, name = _by_month(table), str(table.name)
    before, other = f"{name}_before", f"{name}_other"
    indexes = connection.execute(
        text(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = :name"
            " AND schemaname = current_schema() ORDER BY indexname"
        ),
        {"name": name},
    ).fetchall()
    connection.execute(text(f"ALTER TABLE {name} RENAME TO {before}"))
    key = ", ".join(column.name for column in table.primary_key.columns)
    for index, _ in indexes:
        renamed = index.replace(name, before, 1)
        connection.execute(text(f"ALTER INDEX {index} RENAME TO {renamed}"))
    connection.execute(
        text(
            f"CREATE TABLE {name} (LIKE {before} INCLUDING DEFAULTS INCLUDING CONSTRAINTS"
            f" INCLUDING STORAGE INCLUDING COMPRESSION) PARTITION BY RANGE ({by.column})"
        )
    )
    connection.execute(text(f"ALTER TABLE {name} ADD PRIMARY KEY ({key})"))
    for index, definition in indexes:
        if index != f"{name}_pkey":
            connection.execute(text(definition))
    connection.execute(text(f"CREATE TABLE {other} PARTITION OF {name} DEFAULT"))
    _, end = by.of_month(month)
    late = f"{by.column} >= {end}"
    connection.execute(
        text(
            f"WITH moved AS (DELETE FROM {before} WHERE {late} RETURNING *)"
            f" INSERT INTO {other} SELECT * FROM moved"
        )
    )
    first = connection.execute(text(f"SELECT max({by.column}) FROM {before}")).scalar()
    if first is None:
        connection.execute(text(f"DROP TABLE {before}"))
        return
    _, end = by.span_of(first)
    connection.execute(
        text(f"ALTER TABLE {name} ATTACH PARTITION {before} FOR VALUES FROM (MINVALUE) TO ({end})")
    )


def replace_part(connection: Connection, table: Table, part: str, rows: str) -> None:
    """Put a part written anew in an old one's place, at once or not at all.

    While it is written nothing is added to the month, which is over; readers go on. Only when the
    one takes the other's place does anyone wait, for milliseconds.

    Args:
        connection: In a transaction, of `Database.administer`.
        table: The whole.
        part: The part's name.
        rows: A query of the new rows, in the table's order of columns.
    """
    name, new = str(table.name), f"{part}_new"
    connection.execute(text(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT_MS}"))
    connection.execute(text(f"LOCK TABLE {part} IN SHARE MODE"))
    bounds = connection.execute(
        text(
            "SELECT pg_get_expr(relpartbound, oid), pg_get_partition_constraintdef(oid)"
            " FROM pg_class WHERE oid = to_regclass(:part)"
        ),
        {"part": part},
    ).one()
    indexes = connection.execute(
        text(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = :part"
            " AND schemaname = current_schema() ORDER BY indexname"
        ),
        {"part": part},
    ).fetchall()
    connection.execute(text(f"CREATE TABLE {new} (LIKE {part} INCLUDING ALL EXCLUDING INDEXES)"))
    connection.execute(text(f"INSERT INTO {new} {rows}"))
    key = ", ".join(column.name for column in table.primary_key.columns)
    connection.execute(text(f"ALTER TABLE {new} ADD CONSTRAINT {new}_pkey PRIMARY KEY ({key})"))
    renamed = [(f"{new}_pkey", f"{part}_pkey")]
    for number, (index, definition) in enumerate(indexes):
        if index != f"{part}_pkey":
            beside = f"{new}_{number}"
            renamed.append((beside, index))
            connection.execute(
                text(
                    definition.replace(f" {index} ON ", f" {beside} ON ", 1).replace(
                        f".{part} ", f".{new} ", 1
                    )
                )
            )
    # What is checked here is not checked again where the table is locked.
    connection.execute(text(f"ALTER TABLE {new} ADD CONSTRAINT {new}_month CHECK ({bounds[1]})"))
    connection.execute(text(f"ALTER TABLE {name} DETACH PARTITION {part}"))
    connection.execute(text(f"DROP TABLE {part}"))
    connection.execute(text(f"ALTER TABLE {new} RENAME TO {part}"))
    for beside, index in renamed:
        connection.execute(text(f"ALTER INDEX {beside} RENAME TO {index}"))
    connection.execute(text(f"ALTER TABLE {name} ATTACH PARTITION {part} {bounds[0]}"))
    connection.execute(text(f"ALTER TABLE {part} DROP CONSTRAINT {new}_month"))
    connection.execute(text(f"ANALYZE {part}"))


def _make_part(connection: Connection, table: Table, month: int) -> bool:
    """Make a month's part beside the table, fill it with what is its own, and attach it."""
    by, name = _by_month(table), str(table.name)
    first, end = by.of_month(month)
    if _is_before(connection, name, first, end):
        return False
    part, other = part_name(name, month), f"{name}_other"
    connection.execute(text(f"CREATE TABLE {part} (LIKE {name} INCLUDING ALL)"))
    connection.execute(
        text(
            f"WITH moved AS (DELETE FROM {other} WHERE {by.column} >= {first}"
            f" AND {by.column} < {end} RETURNING *) INSERT INTO {part} SELECT * FROM moved"
        )
    )
    connection.execute(
        text(f"ALTER TABLE {name} ATTACH PARTITION {part} FOR VALUES FROM ({first}) TO ({end})")
    )
    return True


def _is_before(connection: Connection, name: str, first: int, end: int) -> bool:
    """Tell whether the part of what was there before the table was divided holds the month."""
    bounds = connection.execute(
        text(
            "SELECT pg_get_expr(c.relpartbound, c.oid) FROM pg_class c"
            " WHERE c.relname = :name AND c.relispartition"
            " AND c.relnamespace = current_schema()::regnamespace"
        ),
        {"name": f"{name}_before"},
    ).scalar()
    if bounds is None:
        return False
    until = int(bounds.rsplit("(", 1)[1].strip("')"))
    assert until <= first or until >= end, "parts begin and end with months"
    return until >= end


def _by_month(table: Table) -> ByMonth:
    by = table.info[MONTHLY]
    assert isinstance(by, ByMonth)
    return by
