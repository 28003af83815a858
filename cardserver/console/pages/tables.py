"""Columns of tables: what every page's tables have in common."""

from collections.abc import Sequence
from typing import Any

from nicegui import ui


def table_of(
    columns: Sequence[tuple[str, str]], *, name: str, row_key: str, rows_shown: int = 50
) -> ui.table:
    """Make a table without rows.

    Args:
        columns: Each a row's key and a heading, in their order.
        name: What tests call it.
        row_key: Which key tells rows apart; it need not be a column.
        rows_shown: On one page of it.
    """
    shown: list[dict[str, Any]] = [
        {"name": key, "label": label, "field": key, "align": "left", "sortable": True}
        for key, label in columns
    ]
    table = ui.table(columns=shown, rows=[], row_key=row_key, pagination=rows_shown)
    return table.style("max-width: 100%").props(f"dense wrap-cells data-table={name}")
