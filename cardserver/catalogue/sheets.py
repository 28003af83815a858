"""Tables in files: the rows of a CSV or XLSX file, each cell as text.

Not here: what the columns mean (`columns.py`); how a workbook is read (`workbooks.py`).
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cardserver.registry.import_files import ImportFileError
from cardserver.when_called import when_called

UTF_8 = "utf-8-sig"

_read_workbook: Callable[[Path, str], Iterator[tuple[int, tuple[str, ...]]]] = when_called(
    "cardserver.catalogue.workbooks:read_workbook"
)
_write_workbook: Callable[[Path, Iterable[Sequence[object]]], None] = when_called(
    "cardserver.catalogue.workbooks:write_workbook"
)


@dataclass(frozen=True, slots=True)
class SheetRow:
    """A row and where it stood: lines count from 1, as editors and spreadsheets count them."""

    line: int
    cells: tuple[str, ...]


def count_lines(path: Path) -> int | None:
    """Count a file's rows roughly, for a progress bar; None where that costs too much."""
    if path.suffix.lower() == ".xlsx":
        return None
    lines = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            lines += block.count(b"\n")
    return lines


def read_sheet(path: Path, *, encoding: str = UTF_8, sheet: str = "") -> Iterator[SheetRow]:
    """Read the rows one by one; empty ones are left out.

    Args:
        path: A file whose name ends in .csv or .xlsx.
        encoding: Of a CSV file.
        sheet: Which one of an XLSX file; the first unless given.

    Raises:
        ImportFileError: The file can't be read, or not any further.
    """
    match path.suffix.lower():
        case ".csv":
            rows = _csv_rows(path, encoding)
        case ".xlsx":
            rows = (SheetRow(line, cells) for line, cells in _read_workbook(path, sheet))
        case other:
            raise ImportFileError(f"{path}: expected a name in .csv or .xlsx, not {other!r}")
    for row in rows:
        if any(row.cells):
            yield row


def _csv_rows(path: Path, encoding: str) -> Iterator[SheetRow]:
    try:
        with path.open(encoding=encoding, newline="") as file:
            reader = csv.reader(file, strict=True)
            for fields in reader:
                yield SheetRow(reader.line_num, tuple([field.strip() for field in fields]))
    except UnicodeDecodeError as error:
        hint = "; Excel may have written it in --encoding gb18030" if encoding == UTF_8 else ""
        raise ImportFileError(f"{path}: not {encoding}: {error.reason}{hint}") from error
    except LookupError as error:
        raise ImportFileError(f"{path}: {error}") from error
    except csv.Error as error:
        raise ImportFileError(f"{path}: not CSV: {error}") from error
    except OSError as error:
        raise ImportFileError(f"{path}: {error.strerror}") from error


def write_sheet(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write rows, the header first; whole, or not at all.

    Raises:
        ImportFileError: It can't be written, or its name ends in something else.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        match path.suffix.lower():
            case ".csv":
                with part.open("w", encoding="utf-8", newline="") as file:
                    csv.writer(file, lineterminator="\n").writerows(rows)
            case ".xlsx":
                _write_workbook(part, rows)
            case other:
                raise ImportFileError(f"{path}: expected a name in .csv or .xlsx, not {other!r}")
        part.replace(path)
    except OSError as error:
        raise ImportFileError(f"{path}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
