"""The files of a replay, in one folder: its report as JSON, and tables for spreadsheets.

Not here: what they hold (`replay_report.py`), the picture (`replay_plot.py`).
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from msgspec import Struct, json

from cardserver.benefits.values import yuan
from cardserver.claims.replay import Difference, Unreplayed
from cardserver.claims.replay_report import PersonRow, Report

REPORT_FILE = "report.json"
PLOT_FILE = "replay.png"


class ReportFiles:
    """The files of one replay in a folder; lists grow while it runs, sums come at the end."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._open = [
            (folder / name).open("w", encoding="utf-8-sig", newline="")  # so that Excel reads it
            for name in ("persons.csv", "not_replayed.csv", "control.csv")
        ]
        self._persons, self._not_replayed, self._control = map(csv.writer, self._open)
        self._persons.writerow(
            ("psn_no", "psn_type", "settlements", "total", "fund_before", "fund_after", "gain")
        )
        self._not_replayed.writerow(("setl_id", "what", "why", "fund_before"))
        self._control.writerow(("setl_id", "policy", "difference"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file in self._open:
            file.close()

    def persons(self, rows: Iterable[PersonRow]) -> None:
        """Add persons."""
        self._persons.writerows(
            (*row[:3], yuan(row[3]), yuan(row[4]), yuan(row[5]), yuan(row[5] - row[4]))
            for row in rows
        )

    def not_replayed(self, what: str, rows: Iterable[Unreplayed]) -> None:
        """Add settlements that were refused, or could not be decided again."""
        self._not_replayed.writerows(
            (row.entry_no, what, row.why, yuan(row.fund_pay_fen)) for row in rows
        )

    def differences(self, rows: Iterable[Difference]) -> None:
        """Add settlements that the control found decided otherwise."""
        self._control.writerows((row.entry_no, row.policy, row.what) for row in rows)

    def report(self, report: Report) -> None:
        """Write the sums: as JSON, and each table as a CSV file."""
        text = json.format(json.encode(report))
        (self.folder / REPORT_FILE).write_bytes(text)
        for name, structs in (
            ("layers", report.layers),
            ("person_types", report.person_types),
            ("institution_levels", report.levels),
            ("schemes", report.schemes),
            ("months", report.months),
            ("bands", report.bands),
            ("institutions", report.institutions),
        ):
            with (self.folder / f"{name}.csv").open("w", encoding="utf-8-sig", newline="") as file:
                csv.writer(file).writerows(_csv_rows(structs))


def _csv_rows(structs: Sequence[Struct]) -> Iterator[list[object]]:
    """Give a table's rows, amounts in yuan."""
    if not structs:
        return
    names = structs[0].__struct_fields__
    is_compared = "before_fen" in names
    yield [
        *(name.removesuffix("_fen") for name in names), *(["difference"] if is_compared else [])
    ]  # fmt: skip
    for one in structs:
        row: list[object] = []
        for name in names:
            value = getattr(one, name)
            row.append(yuan(value) if name.endswith("_fen") and value is not None else value)
        if is_compared:
            row.append(yuan(getattr(one, "after_fen", 0) - getattr(one, "before_fen", 0)))
        yield row
