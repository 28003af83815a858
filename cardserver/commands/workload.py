"""`cardserver workload`: how much review work was done, by whom."""

import asyncio
import csv
import sys
from typing import Annotated

import typer
from msgspec import json
from msgspec.structs import astuple
from rich.table import Table

from cardserver.commands.database import ConfigFile, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.review_people import AsJSON, Month, yuan
from cardserver.commands.wide_console import wide_console
from cardserver.config import Config, load_config
from cardserver.review.workload_store import By, Workload
from cardserver.review.workload_store import workload as count_workload

_SECOND_MS = 1_000
_MINUTE_S = 60


@fail_clearly
def workload(
    config_file: ConfigFile,
    month: Month,
    *,
    by: Annotated[By, typer.Option(help="按 By whom.")] = By.OPERATOR,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, amounts in fen.")] = False,
    as_json: AsJSON = False,
) -> None:
    """Count the review work of a month: steps, cases, amounts, median time from taking to signing.

    A step counts for the department that its operator belonged to then.

    当月审核工作量：按操作员或科室统计步骤、案件、金额与中位用时。
    """
    found = asyncio.run(_counted(load_config(config_file), month, by))
    if as_json:
        typer.echo(json.encode(found).decode())
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(Workload.__struct_fields__)
        writer.writerows(astuple(one) for one in found)
    else:
        _print(found)


async def _counted(config: Config, month: int, by: By) -> list[Workload]:
    async with open_database(config) as database:
        return await count_workload(database, month, by)


def _print(found: list[Workload]) -> None:
    table = Table(
        "department 科室", "operator 操作员", "step 步骤", "steps 步数", "cases 案件",
        "looked at 审核金额", "deducted 扣减", "median 中位用时",
    )  # fmt: skip
    for one in found:
        table.add_row(
            one.department or "-", one.operator, one.kind, f"{one.steps:,}", f"{one.cases:,}",
            yuan(one.fund_pay_fen), yuan(one.deduction_fen), _duration(one.median_ms),
        )  # fmt: skip
    wide_console().print(table)


def _duration(time_ms: int) -> str:
    seconds = time_ms // _SECOND_MS
    return f"{seconds // _MINUTE_S}:{seconds % _MINUTE_S:02d}"
