"""What a verification finds: rows that differ from what they must be, each named. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

# A period or year before all others, also those that a damaged row has.
BEFORE_ALL = -(2**63 - 1)
NAMED_MAX = 100


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that differs.

    Attributes:
        table: Where it is, or should be.
        key: Which row: the columns of its key.
        what: The column or fact that differs.
        stored: What the database says.
        recomputed: What it must be.
    """

    table: str
    key: str
    what: str
    stored: str
    recomputed: str

    def __str__(self) -> str:
        return (
            f"{self.table} {self.key}: {self.what}: stored {self.stored},"
            f" recomputed {self.recomputed}"
        )


@dataclass(slots=True)
class Findings:
    """All that was found, the first of them by name.

    Attributes:
        differences: The first ones, in the order in which they were found.
        count: How many there are.
        rows: How many rows were read, by table.
    """

    differences: list[Difference] = field(default_factory=list)
    count: int = 0
    rows: dict[str, int] = field(default_factory=dict)

    def add(self, differences: Iterable[Difference]) -> None:
        """Take differences in."""
        for one in differences:
            self.count += 1
            if len(self.differences) < NAMED_MAX:
                self.differences.append(one)

    def read(self, table: str, rows: int) -> None:
        """Count rows that were read."""
        self.rows[table] = self.rows.get(table, 0) + rows

    def take(self, other: "Findings") -> None:
        """Take in what another part of the verification found."""
        room = NAMED_MAX - len(self.differences)
        self.differences += other.differences[:room]
        self.count += other.count
        for table, rows in other.rows.items():
            self.read(table, rows)


def key_of(**columns: object) -> str:
    """Write a key as people read it."""
    return " ".join(f"{name}={value}" for name, value in columns.items())


def blob(value: object) -> bytes:
    """Take a column of bytes for what it is, also where a hand or a default put text into it."""
    if isinstance(value, str):
        return value.encode()
    return value if isinstance(value, bytes) else b""
