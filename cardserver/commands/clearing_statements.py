"""`cardserver clearing statement`: one a institution, as PDF and CSV."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated

import typer

from cardserver.commands.clearing_desk import Month, month_of
from cardserver.commands.database import ConfigFile
from cardserver.commands.faults import fail_clearly
from cardserver.config import Config, load_config
from cardserver.when_called import when_called

_write_files: Callable[
    [Config, int, str, Path, tuple[bool, bool]], Coroutine[object, object, tuple[int, int]]
] = when_called("cardserver.commands.clearing_statement_files:write_files")


@fail_clearly
def write_statements(
    config_file: ConfigFile,
    month: Month,
    *,
    out: Annotated[Path, typer.Option(file_okay=False, help="A folder, made if need be.")],
    institution: Annotated[str, typer.Option(help="One institution's, by its code.")] = "",
    pdf: Annotated[bool, typer.Option(help="Print PDFs too.")] = True,
    entries: Annotated[bool, typer.Option(help="Write every entry too.")] = True,
) -> None:
    """Write statements of what was cleared: PDF, CSV, and every entry of the month as CSV.

    生成机构月度清算单。
    """
    config = load_config(config_file)
    out.mkdir(parents=True, exist_ok=True)
    count, lines = asyncio.run(
        _write_files(config, month_of(month), institution, out, (pdf, entries))
    )
    typer.echo(f"{out}: {count} institutions 机构, {lines:,} entries 明细")
