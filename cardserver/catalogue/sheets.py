"""Tables in files: the rows of a CSV or XLSX file, each cell as text.

Not here: what the columns mean (`columns.py`).
"""

import csv
import datetime as dt
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from cardserver.registry.import_files import ImportFileError

UTF_8 = "utf-8-sig"
CELLS_MAX = 200


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
            rows = _xlsx_rows(path, sheet)
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


def _xlsx_rows(path: Path, sheet: str) -> Iterator[SheetRow]:
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except OSError as error:
        raise ImportFileError(f"{path}: {error.strerror or error}") from error
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ImportFileError(f"{path}: not an XLSX file: {error}") from error
    try:
        if sheet and sheet not in book.sheetnames:
            raise ImportFileError(f"{path}: no sheet {sheet!r} among {', '.join(book.sheetnames)}")
        page = book[sheet or book.sheetnames[0]]
        rows = page.iter_rows(values_only=True, max_col=CELLS_MAX)
        for line, values in enumerate(rows, 1):
            yield SheetRow(line, tuple([_text_of(value) for value in values]))
    finally:
        book.close()


def _text_of(value: object) -> str:
    """Write a cell's value as a person would have typed it into a CSV file."""
    match value:
        case None:
            return ""
        case bool():
            return str(int(value))
        case float() if value.is_integer():
            return str(int(value))
        case float():
            # A spreadsheet shows fifteen digits, and keeps 0.1 + 0.2 as a little more than 0.3.
            return f"{value:.15g}"
        case dt.datetime() | dt.date():
            return f"{value:%Y%m%d}"
        case _:
            return str(value).strip()


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
                book = openpyxl.Workbook(write_only=True)
                page = book.create_sheet("catalogue")
                for row in rows:
                    page.append(["" if cell is None else str(cell) for cell in row])
                book.save(part)
            case other:
                raise ImportFileError(f"{path}: expected a name in .csv or .xlsx, not {other!r}")
        part.replace(path)
    except OSError as error:
        raise ImportFileError(f"{path}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
