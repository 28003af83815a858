"""Accumulators recomputed: what was taken over plus what every claim moved, in a file of our own.

The sums of a city do not belong into memory: they are written into a temporary SQLite file, which
sorts and compares. `verify-ledger` fills it from the chains, `accumulators check` from the claims,
a repair from those of one person. Not here: reading the claims (`verify_claims.py`,
`accumulators_check_store.py`).
"""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cardserver.claims.accumulators_store import AMOUNTS, KEY
from ledger.bulk_store import Row
from ledger.verify_findings import BEFORE_ALL, NAMED_MAX, Difference, Findings, key_of

_COLUMNS = ", ".join((*KEY, *AMOUNTS))
_MARKS = ", ".join("?" * (len(KEY) + len(AMOUNTS)))
_KEYS = ", ".join(KEY)
_LAST_YEAR = 2**31


@dataclass(frozen=True, slots=True)
class Uneven:
    """One accumulator that is not what it must be.

    Attributes:
        key: Person, year, insurance, scheme.
        stored: The amounts as the database has them; zeros where it has none.
        recomputed: What they must be; zeros where nothing moved them.
        is_kept: Whether the database has it.
        is_made: Whether anything moved it.
        count: How many such there are in all.
    """

    key: Row
    stored: Row
    recomputed: Row
    is_kept: bool
    is_made: bool
    count: int


class Workbook:
    """Amounts by accumulator, in a file or, without one, in memory.

    Args:
        path: Of the file; made if it is new.
    """

    def __init__(self, path: Path | None = None) -> None:
        # What is here can be recomputed: it need not outlive a crash. A report fills it from the
        # thread that it runs in, while nobody else does.
        self._connection = sqlite3.connect(
            path or ":memory:", isolation_level=None, check_same_thread=False
        )
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

    def differences(
        self, *, from_year: int = 0, until_year: int = _LAST_YEAR, limit: int = -1
    ) -> Iterator[Uneven]:
        """Compare the sums with what is kept, by key.

        Args:
            from_year: The first year that is compared.
            until_year: The last.
            limit: How many to return; -1 all.
        """
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
                WHERE year BETWEEN ?1 AND ?2
                UNION ALL
                SELECT {_KEYS}, {zeros}, {", ".join(AMOUNTS)}, 0, 1 FROM moved
                WHERE year BETWEEN ?1 AND ?2
            ) GROUP BY {_KEYS}
            HAVING max(is_kept) = 0 OR max(is_made) = 0 OR {differ}
            ORDER BY {_KEYS} LIMIT ?3
            """,  # noqa: S608 - names of our own
            (from_year, until_year, limit),
        )
        size, count = len(KEY), len(AMOUNTS)
        for row in rows:
            yield Uneven(
                row[:size], row[size : size + count], row[size + count : size + 2 * count],
                bool(row[-3]), bool(row[-2]), row[-1],
            )  # fmt: skip

    def check(self, *, from_year: int = 0) -> Findings:
        """Compare the sums with what is kept, of a year and those after it, and name the first."""
        uneven = list(self.differences(from_year=from_year, limit=NAMED_MAX))
        findings = Findings()
        findings.add(map(_difference, uneven))
        if uneven:
            findings.count = uneven[0].count
        findings.read("accumulator", self.count_kept())
        return findings

    def count_kept(self, *, from_year: int = BEFORE_ALL, until_year: int = _LAST_YEAR) -> int:
        """Count the accumulators of some years as the database has them."""
        (count,) = self._connection.execute(
            "SELECT count(*) FROM kept WHERE year BETWEEN ? AND ?", (from_year, until_year)
        ).fetchone()
        return int(count)

    def count_persons(self, *, from_year: int, until_year: int) -> int:
        """Count the persons who have something in these years."""
        (count,) = self._connection.execute(
            "SELECT count(*) FROM (SELECT person_no FROM kept WHERE year BETWEEN ?1 AND ?2"
            " UNION SELECT person_no FROM moved WHERE year BETWEEN ?1 AND ?2)",
            (from_year, until_year),
        ).fetchone()
        return int(count)

    def _insert(self, table: str, rows: Iterable[Row]) -> None:
        self._connection.execute("BEGIN")
        self._connection.executemany(
            f"INSERT INTO {table} ({_COLUMNS}) VALUES ({_MARKS})",  # noqa: S608 - names of our own
            rows,
        )
        self._connection.execute("COMMIT")


def _difference(one: Uneven) -> Difference:
    changed = [index for index in range(len(AMOUNTS)) if one.stored[index] != one.recomputed[index]]
    if not (one.is_kept and one.is_made):
        changed = list(range(len(AMOUNTS)))
    return Difference(
        "accumulator",
        key_of(**dict(zip(KEY, one.key, strict=True))),
        ", ".join(AMOUNTS[index] for index in changed),
        ", ".join(str(one.stored[index]) for index in changed) if one.is_kept else "no such row",
        ", ".join(str(one.recomputed[index]) for index in changed)
        if one.is_made
        else "no such row",
    )
