"""Columns of tables: what every page's tables have in common."""

from collections.abc import Sequence
from typing import Any

from nicegui import ui

from cardserver.console.access import Language
from cardserver.console.words import word


def table_of(
    columns: Sequence[tuple[str, str]],
    language: Language,
    *,
    name: str,
    row_key: str,
    rows_shown: int = 50,
) -> ui.table:
    """Make a table without rows.

    Args:
        columns: Each a row's key and a heading, in their order.
        language: Of the widget's own words.
        name: What tests call it.
        row_key: Which key tells rows apart; it need not be a column.
        rows_shown: On one page of it.
    """
    shown: list[dict[str, Any]] = [
        {"name": key, "label": label, "field": key, "align": "left", "sortable": True}
        for key, label in columns
    ]
    table = ui.table(columns=shown, rows=[], row_key=row_key, pagination=rows_shown)
    table.props(f"dense wrap-cells data-table={name}")
    table.props(f'rows-per-page-label="{word("rows", language)}"')
    table.props(f'no-data-label="{word("none", language)}"')
    return table.style("max-width: 100%")
