"""Columns of tables: what every page's tables have in common."""

from collections.abc import Sequence
from typing import Any

from nicegui import ui

from cardserver.console.access import Language
from cardserver.console.words import word

# Amounts and counts by their value, with or without thousands apart; all else as text.
_SORT = """(a, b) => {
    const [x, y] = [a, b].map((one) => Number(String(one).replaceAll(",", "")));
    const text = () => String(a).localeCompare(String(b), undefined, {numeric: true});
    return Number.isNaN(x) || Number.isNaN(y) ? text() : x - y;
}"""


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
        {
            "name": key,
            "label": label,
            "field": key,
            "align": "left",
            "sortable": True,
            ":sort": _SORT,
        }
        for key, label in columns
    ]
    table = ui.table(columns=shown, rows=[], row_key=row_key, pagination=rows_shown)
    table.props(f"dense wrap-cells data-table={name}")
    table.props(f'rows-per-page-label="{word("rows", language)}"')
    table.props(':pagination-label="(first, last, all) => `${first}–${last} / ${all}`"')
    table.props(f'no-data-label="{word("none", language)}"')
    return table.style("max-width: 100%")
