"""Accumulators recomputed: what was taken over plus what every claim moved, in a file of our own.

The sums of a city do not belong into memory: they are written into a temporary SQLite file, which
sorts and compares. Not here: reading the claims (`verify_claims.py`).
"""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from cardserver.claims.accumulators_store import AMOUNTS, KEY
from ledger.bulk_store import Row
from ledger.verify_findings import NAMED_MAX, Difference, Findings, key_of

_COLUMNS = ", ".join((*KEY, *AMOUNTS))
_MARKS = ", ".join("?" * (len(KEY) + len(AMOUNTS)))
_KEYS = ", ".join(KEY)


class Workbook:
    """Amounts by accumulator, in a file.

    Args:
        path: Of the file; made if it is new.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # What is here can be recomputed: it need not outlive a crash. A report fills it from the
        # thread that it runs in, while nobody else does.
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = OFF")
        self._connection.execute("PRAGMA synchronous = OFF")
        for table in ("moved", "kept"):
            self._connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({_COLUMNS})")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def move(self, rows: Iterable[Row]) -> None:
        """Add what was taken over or what claims moved: key and amounts."""
        self._insert("moved", rows)

    def keep(self, rows: Iterable[Row]) -> None:
        """Take in accumulators as the database has them."""
        self._insert("kept", rows)

    def take(self, path: Path) -> None:
        """Take in what another process wrote down."""
        self._connection.execute("ATTACH ? AS other", (str(path),))
        self._connection.execute("INSERT INTO moved SELECT * FROM other.moved")
        self._connection.execute("DETACH other")

    def check(self, *, from_year: int = 0) -> Findings:
        """Compare the sums with what is kept, of a year and those after it."""
        zeros = ", ".join("0" * len(AMOUNTS))
        kept = ", ".join(f"{amount} AS k_{amount}" for amount in AMOUNTS)
        made = ", ".join(f"0 AS r_{amount}" for amount in AMOUNTS)
        stored = ", ".join(f"sum(k_{amount})" for amount in AMOUNTS)
        recomputed = ", ".join(f"sum(r_{amount})" for amount in AMOUNTS)
        differ = " OR ".join(f"sum(k_{amount}) <> sum(r_{amount})" for amount in AMOUNTS)
        # One sort of both, and no join: SQLite would make a full one row by row.
        rows = self._connection.execute(
            f"""
            SELECT {_KEYS}, {stored}, {recomputed}, max(is_kept), max(is_made), count(*) OVER ()
            FROM (
                SELECT {_KEYS}, {kept}, {made}, 1 AS is_kept, 0 AS is_made FROM kept
                WHERE year >= ?1
                UNION ALL
                SELECT {_KEYS}, {zeros}, {", ".join(AMOUNTS)}, 0, 1 FROM moved WHERE year >= ?1
            ) GROUP BY {_KEYS}
            HAVING max(is_kept) = 0 OR max(is_made) = 0 OR {differ}
            ORDER BY {_KEYS} LIMIT {NAMED_MAX}
            """,  # noqa: S608 - names of our own
            (from_year,),
        ).fetchall()
        findings = Findings()
        findings.add(_difference(row) for row in rows)
        if rows:
            findings.count = rows[0][-1]
        (count,) = self._connection.execute("SELECT count(*) FROM kept").fetchone()
        findings.read("accumulator", count)
        return findings

    def _insert(self, table: str, rows: Iterable[Row]) -> None:
        self._connection.execute("BEGIN")
        self._connection.executemany(
            f"INSERT INTO {table} ({_COLUMNS}) VALUES ({_MARKS})",  # noqa: S608 - names of our own
            rows,
        )
        self._connection.execute("COMMIT")


def _difference(row: Sequence[object]) -> Difference:
    key = dict(zip(KEY, row, strict=False))
    stored = row[len(KEY) : len(KEY) + len(AMOUNTS)]
    recomputed = row[len(KEY) + len(AMOUNTS) : len(KEY) + 2 * len(AMOUNTS)]
    is_kept, is_made, _ = row[-3:]
    changed = [index for index in range(len(AMOUNTS)) if stored[index] != recomputed[index]]
    if not (is_kept and is_made):
        changed = list(range(len(AMOUNTS)))
    return Difference(
        "accumulator",
        key_of(**key),
        ", ".join(AMOUNTS[index] for index in changed),
        ", ".join(str(stored[index]) for index in changed) if is_kept else "no such row",
        ", ".join(str(recomputed[index]) for index in changed) if is_made else "no such row",
    )
