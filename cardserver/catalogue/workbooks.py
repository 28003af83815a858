"""XLSX files: their rows, each cell as text. `sheets.py` imports this when it meets one."""

import datetime as dt
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from cardserver.registry.import_files import ImportFileError

CELLS_MAX = 200


def read_workbook(path: Path, sheet: str = "") -> Iterator[tuple[int, tuple[str, ...]]]:
    """Read a sheet's rows one by one, with their line, from 1; the first sheet unless named.

    Raises:
        ImportFileError: The file can't be read, or not any further.
    """
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
        for line, values in enumerate(page.iter_rows(values_only=True), 1):
            yield line, tuple([_text_of(value) for value in values[:CELLS_MAX]])
    finally:
        book.close()


def write_workbook(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write rows as the only sheet of a workbook."""
    book = openpyxl.Workbook(write_only=True)
    page = book.create_sheet("catalogue")
    for row in rows:
        page.append(["" if cell is None else str(cell) for cell in row])
    book.save(path)


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
