"""An institution's day as a CSV file, read row by row and put into order without holding it whole.

The form is `protocol/RECONCILING.md`'s. A row that can't be used is given back with its reason;
a file that is no such file is refused whole.
"""

import csv
import heapq
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self, TypeVar

from msgspec import Struct, msgpack

from cardserver.reconciliation.comparison import Key, TotalKey, add_row, key_of, totals_from
from protocol.terminal import msgid as msgids
from protocol.terminal.errors import RemoteProtocolError
from protocol.terminal.messages import DayTotal, ReconcileRow, RowState

T = TypeVar("T")

COLUMNS = (
    "institution", "business_date", "terminal", "msgid", "kind", "setl_id", "clearing_type",
    "total", "fund", "account", "cash", "state",
)  # fmt: skip
ROWS_A_CHUNK = 20_000
TERMINAL_SIZE_MAX = 40
SETL_ID_SIZE_MAX = 40

_KINDS = {"settlement": False, "refund": True}
_STATES = {"stands": RowState.STANDS, "undone": RowState.UNDONE}
_CLEARING_TYPES = {"11": 11, "21": 21, "41": 41}
_AMOUNT = re.compile(r"(-?)(\d{1,11})(?:\.(\d{1,2}))?", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NUMBERED = msgpack.Decoder(tuple[int, ReconcileRow])
_ENCODER = msgpack.Encoder()
_SIZE_BYTES = 4


class DayFileError(Exception):
    """The file is no day of an institution, or can't be read; says where and why."""


class _RowError(Exception):
    """A row can't be used; says why."""


class BadRow(Struct, frozen=True):
    """A row that is not used: its line in the file, and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Expected:
    """What every row of the file must say.

    Attributes:
        terminal: Only this one's rows; empty: the whole institution's.
    """

    institution: str
    day: str
    terminal: str = ""


class SortedDay:
    """A file's rows in the order of their keys, each key once, on disk. Use it in `with`.

    Attributes:
        totals: What they add up to.
        count: How many there are.
        refused: How many rows of the file were not used.
    """

    def __init__(self) -> None:
        self.totals: tuple[DayTotal, ...] = ()
        self.count = 0
        self.refused = 0
        self._files = ExitStack()
        self._sorted = self._files.enter_context(_spool())

    @classmethod
    def read(cls, file: Path, expected: Expected, on_refused: Callable[[BadRow], None]) -> Self:
        """Read a file.

        Args:
            file: The CSV file.
            expected: What every row must say.
            on_refused: Told of each row that is not used.

        Raises:
            DayFileError: As its docstring says.
        """
        day = cls()
        try:
            day._read(file, expected, on_refused)
        except BaseException:
            day.close()
            raise
        return day

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove what is on disk."""
        self.close()

    def close(self) -> None:
        """Remove what is on disk."""
        self._files.close()

    def __iter__(self) -> Iterator[ReconcileRow]:
        """Give the rows in order; one reader at a time."""
        for _, row in _read_spool(self._sorted):
            yield row

    def _read(self, file: Path, expected: Expected, on_refused: Callable[[BadRow], None]) -> None:
        def refuse(bad: BadRow) -> None:
            self.refused += 1
            on_refused(bad)

        with ExitStack() as chunks:
            spools: list[IO[bytes]] = []
            chunk: list[tuple[int, ReconcileRow]] = []
            for one in _rows(file, expected):
                if isinstance(one, BadRow):
                    refuse(one)
                    continue
                chunk.append(one)
                if len(chunk) == ROWS_A_CHUNK:
                    spools.append(chunks.enter_context(_spool()))
                    _write_spool(spools[-1], sorted(chunk, key=_order))
                    chunk = []
            sorted_chunks = [*map(_read_spool, spools), iter(sorted(chunk, key=_order))]
            sums: dict[TotalKey, list[int]] = {}
            before: tuple[Key, int] | None = None
            for line, row in heapq.merge(*sorted_chunks, key=_order):
                key = key_of(row)
                if before is not None and before[0] == key:
                    refuse(BadRow(line, f"the same row as line {before[1]}"))
                    continue
                before = key, line
                _write_spool(self._sorted, [(line, row)])
                add_row(sums, row)
                self.count += 1
            self.totals = totals_from(sums)


def _rows(file: Path, expected: Expected) -> Iterator[tuple[int, ReconcileRow] | BadRow]:
    try:
        # A byte order mark is what spreadsheets begin with.
        with file.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.reader(opened, strict=True)
            header = next(reader, None)
            if header is None or sorted(header) != sorted(COLUMNS):
                raise DayFileError(f"{file}: its header is not {','.join(COLUMNS)}")
            for values in reader:
                if not values:
                    continue
                try:
                    yield reader.line_num, _row(header, values, expected)
                except _RowError as error:
                    yield BadRow(reader.line_num, str(error))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DayFileError(f"{file}: {error}") from error


def _row(header: list[str], values: list[str], expected: Expected) -> ReconcileRow:
    if len(values) != len(header):
        raise _RowError(f"{len(values)} columns in place of {len(header)}")
    row = dict(zip(header, values, strict=True))
    for column, wanted in (("institution", expected.institution), ("business_date", expected.day)):
        if row[column] != wanted:
            raise _RowError(f"{column} {_shown(row[column])} is not {wanted}")
    _check_names(row, expected)
    is_refund = _one_of(row, "kind", _KINDS)
    total_fen, fund_fen, account_fen, cash_fen = (
        _amount(row, column) for column in ("total", "fund", "account", "cash")
    )
    if (total_fen > 0) if is_refund else (total_fen < 0):
        raise _RowError(f"total {row['total']} has the sign of another kind")
    sign = -1 if is_refund else 1
    if sign * (fund_fen + account_fen + cash_fen) > sign * total_fen:
        raise _RowError("fund, account and cash are more than the total")
    state = _one_of(row, "state", _STATES)
    if is_refund and state is RowState.UNDONE:
        raise _RowError("a refund can't be undone")
    return ReconcileRow(
        row["msgid"], row["terminal"], is_refund, row["setl_id"],
        _one_of(row, "clearing_type", _CLEARING_TYPES), total_fen, fund_fen, account_fen,
        cash_fen, state,
    )  # fmt: skip


def _check_names(row: dict[str, str], expected: Expected) -> None:
    terminal = row["terminal"]
    if not 0 < len(terminal) <= TERMINAL_SIZE_MAX or _CONTROL.search(terminal):
        raise _RowError(f"terminal {_shown(terminal)} is no terminal's code")
    if expected.terminal and terminal != expected.terminal:
        raise _RowError(f"terminal {_shown(terminal)} is not {expected.terminal}")
    try:
        parsed = msgids.parse(row["msgid"])
    except RemoteProtocolError as error:
        raise _RowError(f"msgid {_shown(row['msgid'])}: {error.detail}") from error
    if parsed.institution != expected.institution:
        raise _RowError(f"msgid {row['msgid']} begins with another institution's code")
    setl_id = row["setl_id"]
    if len(setl_id) > SETL_ID_SIZE_MAX or _CONTROL.search(setl_id):
        raise _RowError(f"setl_id {_shown(setl_id)} is no settlement's number")


def _one_of(row: dict[str, str], column: str, words: dict[str, T]) -> T:
    if row[column] not in words:
        raise _RowError(f"{column} {_shown(row[column])} is none of {', '.join(words)}")
    return words[row[column]]


def _amount(row: dict[str, str], column: str) -> int:
    match = _AMOUNT.fullmatch(row[column])
    if match is None:
        raise _RowError(f"{column} {_shown(row[column])} is no amount in yuan")
    fen = int(match[2]) * 100 + int((match[3] or "").ljust(2, "0"))
    return -fen if match[1] else fen


def _shown(text: str) -> str:
    return repr(text[:TERMINAL_SIZE_MAX])


def _order(numbered: tuple[int, ReconcileRow]) -> tuple[Key, int]:
    line, row = numbered
    return key_of(row), line


def _spool() -> IO[bytes]:
    return tempfile.TemporaryFile(prefix="cardserver-reconciliation-")


def _write_spool(spool: IO[bytes], rows: list[tuple[int, ReconcileRow]]) -> None:
    for row in rows:
        data = _ENCODER.encode(row)
        spool.write(len(data).to_bytes(_SIZE_BYTES, "big"))
        spool.write(data)


def _read_spool(spool: IO[bytes]) -> Iterator[tuple[int, ReconcileRow]]:
    spool.seek(0)
    while size := spool.read(_SIZE_BYTES):
        yield _NUMBERED.decode(spool.read(int.from_bytes(size, "big")))
