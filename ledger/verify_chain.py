"""The chains recomputed: every seal from the rows that it covers, and the row named that differs.

A chain is cut into pieces at its seals, which are checked one by one or by several processes. What
is sealed never changes, so that pieces need no common snapshot: the chain's heads are read once,
and nothing behind them is looked at. Not here: what is kept beside the entries
(`verify_books_store.py`).
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from ledger.accounts import ACCOUNTS
from ledger.bulk_store import Row, Statement, plain
from ledger.database_store import Database
from ledger.entries import SEQUENCE_BITS
from ledger.sealing import (
    as_sealed,
    count_checks,
    decode_checks,
    seal,
    seal_of_entries,
    table_of,
)
from ledger.verify_findings import Difference, Findings, blob, key_of

# So many entries are in memory at once, or fewer where they have many postings: one of an allotment
# has a thousand.
_SEQUENCES_MAX = 512
_ROWS_MAX = 20_000
_CHECK_SIZE = 4  # of a row, in a seal's checks
_ENTRY, _POSTING = "entry", "posting"


@dataclass(frozen=True, slots=True)
class SealedTable:
    """A table whose rows seals cover.

    Attributes:
        name: The table.
        columns: All of them, in the schema's order.
        by: The column that says by its number which seal covers a row: it lies within the seal's.
        key: The columns that name a row, for people.
        order: In which order a group wrote its rows: these columns.
    """

    name: str
    columns: tuple[str, ...]
    by: str
    key: tuple[str, ...]
    order: tuple[str, ...]

    @property
    def statement(self) -> Statement:
        """Read the rows of a range of numbers."""
        names = ", ".join(f'"{column}"' for column in self.columns)
        head = f'SELECT {names} FROM "{self.name}" WHERE "{self.by}" BETWEEN'  # noqa: S608 - ours
        return plain(
            f"verify {self.name}",
            postgresql=f"{head} $1 AND $2",
            sqlite=f"{head} ? AND ?",
        )

    def name_row(self, row: Row) -> str:
        """Return the key of a row, as people read it."""
        values = dict(zip(self.columns, row, strict=True))
        return key_of(**{column: values[column] for column in self.key})


ENTRY = SealedTable(
    _ENTRY,
    ("entry_no", "person_no", "kind", "period", "business_date", "institution_no",
     "clearing_type", "undoes", "recorded_time_ms"),
    by="entry_no", key=("entry_no",), order=("entry_no",),
)  # fmt: skip
POSTING = SealedTable(
    _POSTING,
    ("entry_no", "line", "account", "owner", "amount_fen"),
    by="entry_no", key=("entry_no", "line"), order=("entry_no", "line"),
)  # fmt: skip
REQUEST = SealedTable(
    "request",
    ("month", "institution_no", "terminal_no", "msgid", "type", "request_hash", "code", "body",
     "entry_no", "business_date", "recorded_time_ms", "seal_no"),
    by="seal_no",
    key=("month", "institution_no", "terminal_no", "msgid"),
    order=("month", "institution_no", "terminal_no", "msgid"),
)  # fmt: skip
LEDGER_TABLES = (ENTRY, POSTING, REQUEST)


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of one slot's chain.

    Attributes:
        slot: The slot.
        after: Where it begins: the last sequence of the piece before.
        previous: The seal there, as stored; zeros at the beginning.
        last: Where it ends.
    """

    slot: int
    after: int
    previous: bytes
    last: int


@dataclass(slots=True)
class SealedGroup:
    """One group's rows, by table, in the order in which they were written.

    Attributes:
        first: The first number that its seal covers.
        last: The last.
    """

    first: int
    last: int
    rows: dict[str, list[Row]] = field(default_factory=dict)


Inspect = Callable[[Database, Sequence[SealedGroup]], Awaitable[list[Difference]]]


@dataclass(frozen=True, slots=True)
class _Seal:
    last_sequence: int
    first_sequence: int
    digest: bytes
    checks: bytes
    counts: Mapping[str, int]

    @property
    def begins(self) -> int:
        """Where it begins by what it covers, whatever its row says."""
        if not self.checks:
            return self.first_sequence
        return self.last_sequence - max(self.counts.get(_ENTRY, 0), 1) + 1


_SEALS = plain(
    "verify seals",
    postgresql=(
        "SELECT last_sequence, first_sequence, digest, checks FROM seal WHERE slot = $1"
        " AND last_sequence > $2 AND last_sequence <= $3 ORDER BY last_sequence LIMIT 512"
    ),
    sqlite=(
        "SELECT last_sequence, first_sequence, digest, checks FROM seal WHERE slot = ?"
        " AND last_sequence > ? AND last_sequence <= ? ORDER BY last_sequence LIMIT 512"
    ),
)
_NEXT_SEAL = plain(
    "find a seal",
    postgresql=(
        "SELECT last_sequence, digest FROM seal WHERE slot = $1 AND last_sequence >= $2"
        " AND last_sequence < $3 ORDER BY last_sequence LIMIT 1"
    ),
    sqlite=(
        "SELECT last_sequence, digest FROM seal WHERE slot = ? AND last_sequence >= ?"
        " AND last_sequence < ? ORDER BY last_sequence LIMIT 1"
    ),
)

_SEAL_BEFORE = plain(
    "find the seal before",
    postgresql=(
        "SELECT last_sequence, digest FROM seal WHERE slot = $1 AND last_sequence < $2"
        " ORDER BY last_sequence DESC LIMIT 1"
    ),
    sqlite=(
        "SELECT last_sequence, digest FROM seal WHERE slot = ? AND last_sequence < ?"
        " ORDER BY last_sequence DESC LIMIT 1"
    ),
)
_NEXT_ENTRY = plain(
    "find an entry",
    postgresql=(
        "SELECT entry_no, period FROM entry WHERE entry_no BETWEEN $1 AND $2"
        " ORDER BY entry_no LIMIT 1"
    ),
    sqlite=(
        "SELECT entry_no, period FROM entry WHERE entry_no BETWEEN ? AND ?"
        " ORDER BY entry_no LIMIT 1"
    ),
)


async def cut(
    database: Database, slot: int, *, after: int, previous: bytes, last: int, size: int
) -> list[Piece]:
    """Cut a chain into pieces of about `size` sequences, each ending at a seal.

    Args:
        database: Started.
        slot: Whose chain.
        after: Where to begin.
        previous: The seal there; zeros at the beginning.
        last: The head's sequence.
        size: Of a piece.
    """
    pieces: list[Piece] = []
    while after < last:
        found = await database.fetch(_NEXT_SEAL([(slot, after + size, last)]))
        end, digest = found[0] if found else (last, b"")
        pieces.append(Piece(slot, after, previous, end))
        after, previous = end, blob(digest)
    return pieces


async def begin_at(database: Database, slot: int, *, last: int, period: int) -> tuple[int, bytes]:
    """Find the seal after which a slot's entries are of a period or later; its sequence and digest.

    A slot's periods only grow, so a dozen look-ups by number find it.
    """
    base = slot << SEQUENCE_BITS
    low, high = 1, last + 1  # the first entry of the period is not before `low`
    while low < high:
        middle = (low + high) // 2
        found = await database.fetch(_NEXT_ENTRY([(base + middle, base + last)]))
        if found and found[0][1] < period:
            low = found[0][0] - base + 1
        else:
            high = middle
    before = await database.fetch(_SEAL_BEFORE([(slot, low)]))
    return (before[0][0], blob(before[0][1])) if before else (0, bytes(32))


async def check_piece(
    database: Database,
    piece: Piece,
    tables: Sequence[SealedTable],
    inspect: Inspect,
    on_progress: Callable[[int], None],
) -> Findings:
    """Recompute a piece's seals, and have each group's rows looked at.

    Args:
        database: Started.
        piece: Of a chain.
        tables: All whose rows are sealed.
        inspect: Looks at what groups' rows say; it is given some at a time.
        on_progress: Told how many sequences are done with.
    """
    findings = Findings()
    after, previous = piece.after, piece.previous
    while after < piece.last:
        rows = await database.fetch(_SEALS([(piece.slot, after, piece.last)]))
        if not rows:
            findings.add([_missing_seals(piece.slot, after, piece.last)])
            break
        findings.read("seal", len(rows))
        for seals in _batches([_seal_of(row) for row in rows]):
            base = piece.slot << SEQUENCE_BITS
            numbers = (base + after + 1, base + seals[-1].last_sequence)
            found = {table.name: await _read(database, table, numbers) for table in tables}
            for name, of_table in found.items():
                findings.read(name, len(of_table))
            groups = _group(piece.slot, after, seals, tables, found)
            for one, group in zip(seals, groups, strict=True):
                findings.add(_check_seal(piece.slot, after, previous, one, group, tables))
                after, previous = one.last_sequence, one.digest
            findings.add(await inspect(database, groups))
            on_progress(seals[-1].last_sequence - numbers[0] + base + 1)
    return findings


def _seal_of(row: Row) -> _Seal:
    last_sequence, first_sequence, digest, checks = row
    checks = blob(checks)
    return _Seal(last_sequence, first_sequence, blob(digest), checks, count_checks(checks))


async def _read(database: Database, table: SealedTable, numbers: tuple[int, int]) -> list[Row]:
    rows = await database.fetch(table.statement([numbers]))
    # Not by the database, whose texts may be in another order than ours.
    return sorted(rows, key=itemgetter(*(table.columns.index(column) for column in table.order)))


def _batches(seals: Sequence[_Seal]) -> Iterator[list[_Seal]]:
    batch: list[_Seal] = []
    rows_count = 0
    for one in seals:
        batch.append(one)
        rows_count += len(one.checks) // _CHECK_SIZE
        is_full = one.last_sequence - batch[0].first_sequence >= _SEQUENCES_MAX
        if is_full or rows_count >= _ROWS_MAX:
            yield batch
            batch, rows_count = [], 0
    if batch:
        yield batch


def _group(
    slot: int,
    after: int,
    seals: Sequence[_Seal],
    tables: Sequence[SealedTable],
    found: Mapping[str, Sequence[Row]],
) -> list[SealedGroup]:
    """Deal rows out to the seals whose numbers they bear."""
    base = slot << SEQUENCE_BITS
    groups: list[SealedGroup] = []
    number_of: dict[int, SealedGroup] = {}
    for one in seals:
        # What lies before a seal's own beginning was covered by one that is missing.
        group = SealedGroup(base + max(after + 1, one.begins), base + one.last_sequence)
        groups.append(group)
        number_of.update(dict.fromkeys(range(group.first, group.last + 1), group))
        after = one.last_sequence
    for table in tables:
        place = table.columns.index(table.by)
        for row in found[table.name]:
            group_or_none = number_of.get(row[place])
            if group_or_none is not None:
                group_or_none.rows.setdefault(table.name, []).append(row)
    return groups


def _check_seal(
    slot: int,
    after: int,
    previous: bytes,
    stored: _Seal,
    group: SealedGroup,
    tables: Sequence[SealedTable],
) -> Iterator[Difference]:
    key, begins_at = key_of(slot=slot, last_sequence=stored.last_sequence), stored.begins
    yield from _check_entries(group)
    if begins_at > after + 1:
        yield _missing_seals(slot, after, begins_at - 1)
    if stored.first_sequence != begins_at or begins_at <= after:
        begins = str(max(begins_at, after + 1))
        yield Difference("seal", key, "first_sequence", str(stored.first_sequence), begins)
    if not stored.checks:
        digest = seal_of_entries(previous, group.rows.get(_ENTRY, []), group.rows.get(_POSTING, []))
        if digest != stored.digest:
            yield Difference("seal", key, "digest", stored.digest.hex(), digest.hex())
        return
    rows = dict(
        # Seals of before knew stored outcomes whole, under their table's name.
        (name, of_table) if name in stored.counts else as_sealed(name, of_table)
        for name, of_table in group.rows.items()
    )
    digest, checks = seal(previous, rows)
    if checks == stored.checks:
        # Of a seal whose predecessor is missing, its rows' checks are all that can be compared.
        if digest != stored.digest and begins_at <= after + 1:
            yield Difference("seal", key, "digest", stored.digest.hex(), digest.hex())
    elif digest == stored.digest:
        yield Difference("seal", key, "checks", stored.checks.hex(), checks.hex())
    else:
        sealed, found = decode_checks(stored.checks), decode_checks(checks)
        named = list(
            _changed_rows(key, sealed, found, group, {table.name: table for table in tables})
        )
        yield from named
        if not named:
            yield Difference("seal", key, "digest", stored.digest.hex(), digest.hex())


def _changed_rows(
    key: str,
    sealed: Mapping[str, Sequence[int]],
    found: Mapping[str, Sequence[int]],
    group: SealedGroup,
    tables: Mapping[str, SealedTable],
) -> Iterator[Difference]:
    """Name the rows that are not as they were sealed, by their checks."""
    for sealed_as in sorted(sealed.keys() | found.keys()):
        name = table_of(sealed_as)
        left = Counter(sealed.get(sealed_as, ()))
        strange: list[tuple[Row, int]] = []
        checked = found.get(sealed_as, ())
        for row, check in zip(group.rows.get(name, ()) if checked else (), checked, strict=True):
            if left[check]:
                left[check] -= 1
            else:
                strange.append((row, check))
        missing = list(left.elements())
        for row, check in strange:
            was = f"{missing.pop(0):08x}" if missing else "no such row"
            yield Difference(name, tables[name].name_row(row), "row as sealed", f"{check:08x}", was)
        for check in missing:
            where = f"of seal {key}"
            if name == _ENTRY:
                where = ", ".join(_missing_numbers(group)) or where
            yield Difference(name, where, "row as sealed", "no such row", f"{check:08x}")


def _missing_numbers(group: SealedGroup) -> list[str]:
    there = {row[0] for row in group.rows.get(_ENTRY, ())}
    return [
        key_of(entry_no=number)
        for number in range(group.first, group.last + 1)
        if number not in there
    ]


def _check_entries(group: SealedGroup) -> Iterator[Difference]:
    """Every posting has its entry and an account of the chart, and entries add up to zero."""
    sums = {row[0]: 0 for row in group.rows.get(_ENTRY, ())}
    for number, line, account, _, amount_fen in group.rows.get(_POSTING, ()):
        if number not in sums:
            key = key_of(entry_no=number, line=line)
            yield Difference(_POSTING, key, "entry", "no such entry", "an entry")
        else:
            sums[number] += amount_fen
        if account not in ACCOUNTS:
            key = key_of(entry_no=number, line=line)
            yield Difference(_POSTING, key, "account", str(account), "one of the chart")
    for number, sum_fen in sums.items():
        if sum_fen:
            key = key_of(entry_no=number)
            yield Difference(_ENTRY, key, "sum of its postings", str(sum_fen), "0")


def _missing_seals(slot: int, after: int, last: int) -> Difference:
    return Difference(
        "seal", key_of(slot=slot, last_sequence=last), "row", "no such row",
        f"a seal of {after + 1} to {last}",
    )  # fmt: skip
