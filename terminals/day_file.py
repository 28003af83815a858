"""A day's rows as a CSV file, for an institution that reconciles by file.

The form is described in `protocol/RECONCILING.md`; amounts are in yuan with two decimals.
"""

import csv
import datetime as dt
from collections.abc import Iterable
from typing import Final, TextIO

from protocol.terminal.messages import ReconcileRow, RowState
from terminals.receipt import yuan

COLUMNS: Final = (
    "institution", "business_date", "terminal", "msgid", "kind", "setl_id", "clearing_type",
    "total", "fund", "account", "cash", "state",
)  # fmt: skip


def write_day(file: TextIO, institution: str, day: dt.date, rows: Iterable[ReconcileRow]) -> int:
    """Write a day's rows with their header; give how many there are."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    count = 0
    for row in rows:
        writer.writerow((
            institution, day.isoformat(), row.terminal, row.msgid,
            "refund" if row.is_refund else "settlement", row.setl_id, row.clearing_type,
            yuan(row.total_fen), yuan(row.fund_pay_fen), yuan(row.account_pay_fen),
            yuan(row.cash_fen), "undone" if row.state is RowState.UNDONE else "stands",
        ))  # fmt: skip
        count += 1
    return count
