"""How much room the database takes, by table and index, parts by month together."""

from dataclasses import dataclass, field

from sqlalchemy import Connection, text

from cardserver.migrations.tables import METADATAS
from ledger.database_store import Database

_NAMES = sorted(str(table.name) for metadata in METADATAS for table in metadata.tables.values())


@dataclass(frozen=True, slots=True)
class TableSize:
    """What one table takes, all its parts together.

    Attributes:
        rows: As the database last counted (PostgreSQL), or as there are (SQLite).
        size: Of the rows themselves, in bytes.
        indexes: Of each index, in bytes; on SQLite a primary key of one number is the table's own.
    """

    table: str
    rows: int
    size: int
    indexes: dict[str, int] = field(default_factory=dict)

    @property
    def whole(self) -> int:
        """Rows and indexes together."""
        return self.size + sum(self.indexes.values())


async def read_sizes(database: Database) -> list[TableSize]:
    """Measure every table, the largest first."""
    read = _sqlite_sizes if database.dialect == "sqlite" else _postgresql_sizes
    return sorted(await database.report(read), key=lambda one: (-one.whole, one.table))


def _sqlite_sizes(connection: Connection) -> list[TableSize]:
    sizes = {
        row[0]: row[1]
        for row in connection.execute(
            text("SELECT name, sum(pgsize) FROM dbstat WHERE aggregate = 1 GROUP BY name")
        )
    }
    indexes: dict[str, dict[str, int]] = {}
    for index, table in connection.execute(
        text("SELECT name, tbl_name FROM sqlite_schema WHERE type = 'index'")
    ):
        named = index.replace(f"sqlite_autoindex_{table}_1", f"{table}_pkey")
        indexes.setdefault(table, {})[named] = sizes.get(index, 0)
    return [
        TableSize(
            name,
            connection.execute(text(f'SELECT count(*) FROM "{name}"')).scalar_one(),  # noqa: S608 - the schema's own
            sizes[name],
            indexes.get(name, {}),
        )
        for name in _NAMES
        if name in sizes
    ]


def _postgresql_sizes(connection: Connection) -> list[TableSize]:
    """Add a table's parts up; an index of a part counts for the one of the whole."""
    tables = connection.execute(
        text(
            """
            SELECT coalesce(w.relname, t.relname),
                   sum(greatest(t.reltuples, 0))::bigint, sum(pg_table_size(t.oid))::bigint
            FROM pg_class t LEFT JOIN pg_inherits h ON h.inhrelid = t.oid
            LEFT JOIN pg_class w ON w.oid = h.inhparent
            WHERE t.relkind = 'r' AND t.relnamespace = current_schema()::regnamespace GROUP BY 1
            """
        )
    ).fetchall()
    rows = connection.execute(
        text(
            """
            SELECT coalesce(w.relname, t.relname), coalesce(v.relname, i.relname),
                   sum(pg_relation_size(i.oid))::bigint
            FROM pg_class i JOIN pg_index x ON x.indexrelid = i.oid
            JOIN pg_class t ON t.oid = x.indrelid
            LEFT JOIN pg_inherits h ON h.inhrelid = t.oid
            LEFT JOIN pg_class w ON w.oid = h.inhparent
            LEFT JOIN pg_inherits g ON g.inhrelid = i.oid
            LEFT JOIN pg_class v ON v.oid = g.inhparent
            WHERE i.relkind = 'i' AND i.relnamespace = current_schema()::regnamespace
            GROUP BY 1, 2 ORDER BY 1, 2
            """
        )
    )
    indexes: dict[str, dict[str, int]] = {}
    for table, index, size in rows:
        indexes.setdefault(table, {})[index] = size
    return [
        TableSize(table, count, size, indexes.get(table, {}))
        for table, count, size in tables
        if table in _NAMES
    ]
